//! Names: the directories as the cache has them, as the platter has them, and the journal between the two.

use super::draw;
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::ErrorKind;

/// The inode of the root directory.
pub(super) const ROOT: u32 = 0;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) inode: u32,
    pub(super) is_dir: bool,
}

#[derive(Debug, Default)]
struct Dir {
    now: BTreeMap<String, Entry>,
    durable: BTreeMap<String, Entry>,
}

/// In what order changes of names reach the platter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Each directory its own.
    Directory,
    /// None but that of changes of one name or one inode.
    Loose,
}

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) dir: u32,
    pub(super) name: String,
}

/// A change of names that is not on the platter: `entry` leaves `from` and appears at `to`.
#[derive(Debug)]
struct Change {
    sequence: u64,
    since_ns: u64,
    from: Option<Place>,
    to: Option<Place>,
    entry: Entry,
    /// What had the new name.
    replaced: Option<u32>,
}

impl Change {
    /// The inodes that it binds together.
    fn touched(&self) -> impl Iterator<Item = u32> + '_ {
        let places = [&self.from, &self.to].into_iter().flatten().map(|place| place.dir);
        places.chain([self.entry.inode]).chain(self.replaced)
    }

    /// The same where directories bind nothing: what it moves and replaces, and the names.
    fn bonds(&self) -> impl Iterator<Item = Bond> + '_ {
        let places = [&self.from, &self.to].into_iter().flatten().cloned().map(Bond::Place);
        places.chain([Bond::Inode(self.entry.inode)]).chain(self.replaced.map(Bond::Inode))
    }

    /// The inodes that lose a name by it for good.
    fn ended(&self) -> impl Iterator<Item = u32> + '_ {
        self.replaced.into_iter().chain(self.to.is_none().then_some(self.entry.inode))
    }

    /// Whether it rests on that one of these directories is there.
    fn rests_on(&self, dirs: &BTreeSet<u32>) -> bool {
        [&self.from, &self.to].into_iter().flatten().any(|place| dirs.contains(&place.dir))
    }
}

/// What binds two changes to their order.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Bond {
    Inode(u32),
    Place(Place),
}

#[derive(Debug)]
pub(super) struct Tree {
    dirs: BTreeMap<u32, Dir>,
    journal: VecDeque<Change>,
    /// By how many names, changes and directories an inode is held; at 0 it is gone.
    holds: BTreeMap<u32, u32>,
    /// Inodes that nothing holds any more, for the model to free.
    pub(super) released: Vec<u32>,
}

impl Tree {
    pub(super) fn new() -> Self {
        let dirs = BTreeMap::from([(ROOT, Dir::default())]);
        Self { dirs, journal: VecDeque::new(), holds: BTreeMap::new(), released: vec![] }
    }

    /// What a path stands for. `NotADirectory` where it leads through a file.
    pub(super) fn lookup(&self, path: &str) -> Result<Option<Entry>, ErrorKind> {
        let mut entry = Entry { inode: ROOT, is_dir: true };
        for part in parts(path)? {
            if !entry.is_dir {
                return Err(ErrorKind::NotADirectory);
            }
            match self.dirs[&entry.inode].now.get(part) {
                Some(next) => entry = *next,
                None => return Ok(None),
            }
        }
        Ok(Some(entry))
    }

    /// The directory that a path's last part is in, and that part. `NotFound` if the directory is not there.
    pub(super) fn place(&self, path: &str) -> Result<Place, ErrorKind> {
        if parts(path)?.next().is_none() {
            return Err(ErrorKind::InvalidInput);
        }
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
        match self.lookup(dir)? {
            Some(Entry { inode, is_dir: true }) => Ok(Place { dir: inode, name: name.to_owned() }),
            Some(_) => Err(ErrorKind::NotADirectory),
            None => Err(ErrorKind::NotFound),
        }
    }

    pub(super) fn entry(&self, place: &Place) -> Option<Entry> {
        self.dirs[&place.dir].now.get(&place.name).copied()
    }

    /// Names of a directory in order, with what they stand for.
    pub(super) fn entries(&self, dir: u32) -> impl Iterator<Item = (&str, Entry)> {
        self.dirs[&dir].now.iter().map(|(name, entry)| (name.as_str(), *entry))
    }

    pub(super) fn add_dir(&mut self, inode: u32) {
        let fresh = self.dirs.insert(inode, Dir::default()).is_none();
        assert!(fresh, "inode {inode} is taken");
    }

    /// Moves `entry`: out of `from`, into `to` (replacing what is there).
    pub(super) fn change(&mut self, from: Option<Place>, to: Option<Place>, entry: Entry, now_ns: u64, sequence: u64) {
        self.hold(entry.inode);
        let mut replaced = None;
        if let Some(place) = &to {
            self.hold(entry.inode);
            replaced = self.now(place.dir).insert(place.name.clone(), entry).map(|old| old.inode);
        }
        if let Some(place) = &from {
            let moved = self.now(place.dir).remove(&place.name);
            assert_eq!(moved, Some(entry), "only what is there can move");
            self.release(entry.inode);
        }
        replaced.into_iter().for_each(|inode| self.release(inode));
        self.journal.push_back(Change { sequence, since_ns: now_ns, from, to, entry, replaced });
    }

    fn now(&mut self, dir: u32) -> &mut BTreeMap<String, Entry> {
        &mut self.dirs.get_mut(&dir).expect("a directory in use is there").now
    }

    /// The oldest change that is not durable.
    pub(super) fn oldest_ns(&self) -> Option<u64> {
        self.journal.front().map(|change| change.since_ns)
    }

    /// Changes made at `until_ns` or before become durable. Answers the sequence of the last one, 0 for none.
    pub(super) fn commit_until(&mut self, until_ns: u64) -> u64 {
        let mut last = 0;
        while self.journal.front().is_some_and(|change| change.since_ns <= until_ns) {
            let change = self.journal.pop_front().expect("there is a front");
            last = change.sequence;
            self.commit(change);
        }
        last
    }

    /// All changes up to `sequence` become durable.
    pub(super) fn commit_all(&mut self, sequence: u64) {
        while self.journal.front().is_some_and(|change| change.sequence <= sequence) {
            let change = self.journal.pop_front().expect("there is a front");
            self.commit(change);
        }
    }

    /// The sequences of the changes that are not durable, in order.
    pub(super) fn pending(&self) -> impl Iterator<Item = u64> + '_ {
        self.journal.iter().map(|change| change.sequence)
    }

    /// Changes up to `sequence` of the entries of one directory become durable, with the earlier ones that they rest on,
    /// but not the name of the directory itself.
    pub(super) fn commit_entries(&mut self, dir: u32, sequence: u64) {
        let mut bound = BTreeSet::new();
        let mut dirs = BTreeSet::from([dir]);
        let (mut commit, mut keep) = (VecDeque::new(), VecDeque::new());
        while let Some(change) = self.journal.pop_back() {
            let wanted = change.rests_on(&dirs) || change.bonds().any(|bond| bound.contains(&bond));
            if change.sequence <= sequence && wanted {
                bound.extend(change.bonds());
                dirs.extend(change.ended()); // a directory goes after all that happened in it
                commit.push_front(change);
            } else {
                keep.push_front(change);
            }
        }
        self.journal = keep;
        commit.into_iter().for_each(|change| self.commit(change));
    }

    /// Changes up to `sequence` that touch `inode` become durable, with the earlier ones that they rest on.
    pub(super) fn commit_touching(&mut self, inode: u32, sequence: u64) {
        if self.journal.is_empty() {
            return;
        }
        let mut bound = BTreeSet::from([inode]);
        let (mut commit, mut keep) = (VecDeque::new(), VecDeque::new());
        while let Some(change) = self.journal.pop_back() {
            if change.sequence <= sequence && change.touched().any(|inode| bound.contains(&inode)) {
                bound.extend(change.touched());
                commit.push_front(change);
            } else {
                keep.push_front(change);
            }
        }
        self.journal = keep;
        commit.into_iter().for_each(|change| self.commit(change));
    }

    fn commit(&mut self, change: Change) {
        let entry = change.entry;
        if let Some(place) = change.to {
            self.hold(entry.inode);
            let replaced = self.durable(place.dir).insert(place.name, entry);
            replaced.into_iter().for_each(|old| self.release(old.inode));
        }
        if let Some(place) = change.from {
            let moved = self.durable(place.dir).remove(&place.name);
            assert_eq!(moved, Some(entry), "changes of one directory become durable in order");
            self.release(entry.inode);
        }
        self.release(entry.inode);
    }

    fn durable(&mut self, dir: u32) -> &mut BTreeMap<String, Entry> {
        &mut self.dirs.get_mut(&dir).expect("a directory with durable changes is there").durable
    }

    /// Power is lost: of the pending changes survive what a journal of that order may hold, as drawn. Answers how many did
    /// not.
    pub(super) fn lose_power(&mut self, order: Order, rng: &mut ChaCha8Rng) -> u32 {
        let lost = match order {
            Order::Directory => self.lose_by_directory(rng),
            Order::Loose => self.lose_loosely(rng),
        };
        self.forget_cache();
        lost
    }

    /// What is still pending is lost. Answers how many changes that was.
    pub(super) fn lose_rest(&mut self) -> u32 {
        let lost = self.journal.len() as u32;
        self.journal.clear();
        self.forget_cache();
        lost
    }

    fn lose_loosely(&mut self, rng: &mut ChaCha8Rng) -> u32 {
        let lose_of_four = [0, 1, 2, 4][draw(rng, 4) as usize];
        let (mut cut, mut gone) = (BTreeSet::new(), BTreeSet::new());
        let mut lost = 0;
        while let Some(change) = self.journal.pop_front() {
            let bound = change.bonds().any(|bond| cut.contains(&bond)) || change.rests_on(&gone);
            if bound || draw(rng, 4) < lose_of_four {
                if change.from.is_none() && change.entry.is_dir {
                    gone.insert(change.entry.inode);
                }
                cut.extend(change.bonds());
                lost += 1;
            } else {
                self.commit(change);
            }
        }
        lost
    }

    fn lose_by_directory(&mut self, rng: &mut ChaCha8Rng) -> u32 {
        let lose_of_four = [0, 1, 2, 4][draw(rng, 4) as usize];
        let mut cut = BTreeSet::new();
        let mut lost = 0;
        while let Some(change) = self.journal.pop_front() {
            if change.touched().any(|inode| cut.contains(&inode)) || draw(rng, 4) < lose_of_four {
                cut.extend(change.touched());
                lost += 1;
            } else {
                self.commit(change);
            }
        }
        lost
    }

    /// The cache is gone: names are what the platter says; what has no name is gone.
    fn forget_cache(&mut self) {
        let before: BTreeSet<u32> = self.holds.keys().copied().collect();
        self.holds.clear();
        let mut reached = BTreeMap::new();
        let mut todo = vec![ROOT];
        while let Some(inode) = todo.pop() {
            let durable = self.dirs.remove(&inode).expect("a durable name leads to a directory").durable;
            todo.extend(durable.values().filter(|entry| entry.is_dir).map(|entry| entry.inode));
            durable.values().for_each(|entry| *self.holds.entry(entry.inode).or_default() += 2);
            reached.insert(inode, Dir { now: durable.clone(), durable });
        }
        self.dirs = reached;
        let gone = before.into_iter().filter(|inode| !self.holds.contains_key(inode)).collect::<Vec<_>>();
        self.released.extend(gone);
    }

    /// A path that leads to an inode, if one does.
    pub(super) fn path_of(&self, inode: u32) -> Option<String> {
        self.find(ROOT, inode)
    }

    fn find(&self, dir: u32, inode: u32) -> Option<String> {
        self.dirs[&dir].now.iter().find_map(|(name, entry)| match entry {
            entry if entry.inode == inode => Some(name.clone()),
            Entry { is_dir: true, inode: inner } => self.find(*inner, inode).map(|rest| format!("{name}/{rest}")),
            _ => None,
        })
    }

    /// True while a name or a pending change leads to the inode.
    pub(super) fn holds(&self, inode: u32) -> bool {
        self.holds.contains_key(&inode)
    }

    fn hold(&mut self, inode: u32) {
        *self.holds.entry(inode).or_default() += 1;
    }

    fn release(&mut self, inode: u32) {
        let held = self.holds.get_mut(&inode).expect("what is released was held");
        *held -= 1;
        if *held == 0 {
            self.holds.remove(&inode);
            self.dirs.remove(&inode);
            self.released.push(inode);
        }
    }
}

/// The parts of a path; `""` has none. `InvalidInput` for an absolute path, an empty part, `.` or `..`.
fn parts(path: &str) -> Result<impl Iterator<Item = &str>, ErrorKind> {
    let bad = |part: &str| matches!(part, "" | "." | "..");
    if !path.is_empty() && path.split('/').any(bad) {
        return Err(ErrorKind::InvalidInput);
    }
    Ok(path.split('/').filter(|part| !part.is_empty()))
}
