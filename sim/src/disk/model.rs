//! The disk of one machine.

use super::config::{DiskConfig, FileSystem};
use super::draw;
use super::file::{FileData, PAGE, Rule};
use super::tree::{Entry, Order, Place, ROOT, Tree};
use bytes::Bytes;
use rand_chacha::ChaCha8Rng;
use std::collections::VecDeque;
use std::io::ErrorKind;

/// An open file. It stays good when the file is renamed or removed, until `close`, `close_all`, `power_loss` or `wipe`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId {
    pub(super) inode: u32,
    /// Which life of the process opened it.
    life: u32,
}

/// What the cache held when a sync was issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncMark {
    inode: u32,
    sequence: u64,
}

/// What a loss of power did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PowerLoss {
    /// Files whose content or name is not what it was.
    pub files: u32,
    /// Bytes that were readable before and are not now, or read otherwise.
    pub lost_bytes: u64,
    /// Pending bytes that survived.
    pub kept_bytes: u64,
    /// Directory changes that did not survive.
    pub lost_entries: u32,
}

/// One machine's file system. Paths are relative to its root, `/` between parts; `""` is the root. `now_ns` is world time
/// and must not run backwards.
#[derive(Debug)]
pub struct DiskModel {
    config: DiskConfig,
    /// By inode; an inode number is never used again, so a handle of an earlier life finds nothing.
    files: Vec<Option<Box<FileData>>>,
    tree: Tree,
    /// Every record of pending content: since when, whose, which. Those that a sync made durable are skipped when met.
    aging: VecDeque<(u64, u32, u64)>,
    sequence: u64,
    life: u32,
    dirty: u64,
    used: u64,
    /// Of a file system with one journal: the last change that it holds for certain.
    committed: u64,
    /// Renames over old files whose journal entry must not come before the content: sequence and inode.
    ordered: Vec<(u64, u32)>,
    /// Files that are gone, for who keeps account of memory.
    pub(super) freed: Vec<u32>,
}

impl DiskModel {
    /// An empty disk.
    pub fn new(config: DiskConfig) -> Self {
        let files = vec![None]; // the root directory's number
        Self {
            config,
            files,
            tree: Tree::new(),
            aging: VecDeque::new(),
            sequence: 0,
            life: 0,
            dirty: 0,
            used: 0,
            committed: 0,
            ordered: vec![],
            freed: vec![],
        }
    }

    /// Makes a directory and its parents; fine if it is there. `NotADirectory` where a file is in the way.
    pub fn create_dir(&mut self, path: &str, now_ns: u64) -> Result<(), ErrorKind> {
        self.write_back(now_ns);
        self.tree.lookup(path)?; // a path that is none makes nothing
        let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
        for end in ends.filter(|end| *end > 0) {
            match self.tree.lookup(&path[..end])? {
                Some(Entry { is_dir: true, .. }) => {}
                Some(_) => return Err(ErrorKind::NotADirectory),
                None => self.make_dir(&path[..end], now_ns)?,
            }
        }
        Ok(())
    }

    fn make_dir(&mut self, path: &str, now_ns: u64) -> Result<(), ErrorKind> {
        let place = self.tree.place(path)?;
        let entry = Entry { inode: self.new_inode(None), is_dir: true };
        self.tree.add_dir(entry.inode);
        self.change(None, Some(place), entry, now_ns);
        Ok(())
    }

    /// Removes a directory with all it holds; fine if it is not there.
    pub fn remove_dir(&mut self, path: &str, now_ns: u64) -> Result<(), ErrorKind> {
        self.write_back(now_ns);
        match self.tree.lookup(path)? {
            None => Ok(()),
            Some(Entry { is_dir: false, .. }) => Err(ErrorKind::NotADirectory),
            Some(entry) => {
                let place = self.tree.place(path)?;
                self.empty_dir(entry.inode, now_ns);
                self.change(Some(place), None, entry, now_ns);
                Ok(())
            }
        }
    }

    fn empty_dir(&mut self, dir: u32, now_ns: u64) {
        let entries: Vec<(String, Entry)> = self.tree.entries(dir).map(|(name, e)| (name.to_owned(), e)).collect();
        for (name, entry) in entries {
            if entry.is_dir {
                self.empty_dir(entry.inode, now_ns);
            }
            self.change(Some(Place { dir, name }), None, entry, now_ns);
        }
    }

    /// Names in a directory, sorted; empty if it is not there.
    pub fn list(&self, path: &str) -> Result<Vec<String>, ErrorKind> {
        match self.tree.lookup(path)? {
            None => Ok(vec![]),
            Some(Entry { is_dir: false, .. }) => Err(ErrorKind::NotADirectory),
            Some(dir) => Ok(self.tree.entries(dir.inode).map(|(name, _)| name.to_owned()).collect()),
        }
    }

    /// Opens a file, or makes it. `NotFound` if it (or, with `create`, its directory) is not there.
    pub fn open(&mut self, path: &str, create: bool, now_ns: u64) -> Result<FileId, ErrorKind> {
        self.write_back(now_ns);
        let inode = match self.tree.lookup(path)? {
            Some(Entry { is_dir: true, .. }) => return Err(ErrorKind::IsADirectory),
            Some(entry) => entry.inode,
            None if !create => return Err(ErrorKind::NotFound),
            None => {
                let place = self.tree.place(path)?;
                let entry = Entry { inode: self.new_inode(Some(Box::default())), is_dir: false };
                self.change(None, Some(place), entry, now_ns);
                entry.inode
            }
        };
        let file = FileId { inode, life: self.life };
        self.file_mut(file)?.opens += 1;
        Ok(file)
    }

    /// Closes what one `open` gave. A handle of an earlier life is ignored.
    pub fn close(&mut self, file: FileId) {
        if let Ok(data) = self.file_mut(file) {
            assert!(data.opens > 0, "{file:?} is closed more often than opened");
            data.opens -= 1;
            self.free_if_unused(file.inode);
        }
    }

    /// Closes every file: the process died. Its handles answer `NotFound` from now on.
    pub fn close_all(&mut self) {
        self.life += 1;
        for inode in 0..self.files.len() as u32 {
            if let Some(data) = &mut self.files[inode as usize] {
                data.opens = 0;
                self.free_if_unused(inode);
            }
        }
    }

    /// Length in bytes.
    pub fn len(&self, file: FileId) -> Result<u64, ErrorKind> {
        Ok(self.file(file)?.len() as u64)
    }

    /// Appends at the end, whole or not at all.
    pub fn append(&mut self, file: FileId, data: &[u8], now_ns: u64) -> Result<(), ErrorKind> {
        let end = self.len(file)?;
        self.write_at(file, end, data, now_ns)
    }

    /// Writes at a position, whole or not at all; a gap before it reads as zeros.
    pub fn write_at(&mut self, file: FileId, position: u64, data: &[u8], now_ns: u64) -> Result<(), ErrorKind> {
        self.write_piece(file, position, &Bytes::copy_from_slice(data), now_ns)
    }

    /// The same from shared bytes, which are kept as they are where they are appended.
    pub fn write_piece(&mut self, file: FileId, position: u64, data: &Bytes, now_ns: u64) -> Result<(), ErrorKind> {
        self.write_back(now_ns);
        let before = self.file(file)?.len() as u64;
        if data.is_empty() {
            return Ok(());
        }
        let end = position.checked_add(data.len() as u64).ok_or(ErrorKind::InvalidInput)?;
        let grown = end.saturating_sub(before);
        self.make_room(grown)?;
        let sequence = self.next_sequence();
        let changed = self.file_mut(file)?.write(position as usize, data, now_ns, sequence);
        self.used += grown;
        self.dirty += changed.dirty;
        if changed.new_record {
            self.aging.push_back((now_ns, file.inode, sequence));
        }
        Ok(())
    }

    /// Up to `len` bytes; fewer at the end of the file, none beyond it.
    pub fn read_at(&self, file: FileId, position: u64, len: u32) -> Result<Bytes, ErrorKind> {
        Ok(self.file(file)?.read(position, len))
    }

    /// Cuts or extends (with zeros).
    pub fn truncate(&mut self, file: FileId, len: u64, now_ns: u64) -> Result<(), ErrorKind> {
        self.write_back(now_ns);
        let before = self.file(file)?.len() as u64;
        self.make_room(len.saturating_sub(before))?;
        let sequence = self.next_sequence();
        self.file_mut(file)?.resize(len as usize, now_ns, sequence);
        self.used = self.used - before + len;
        self.aging.push_back((now_ns, file.inode, sequence));
        Ok(())
    }

    /// A sync of a file's content is issued.
    pub fn sync_begin(&mut self, file: FileId) -> Result<SyncMark, ErrorKind> {
        let sequence = self.sequence;
        self.file_mut(file)?.seal();
        Ok(SyncMark { inode: file.inode, sequence })
    }

    /// A sync of a directory's entries is issued. `NotFound` if it is not there.
    pub fn sync_dir_begin(&mut self, path: &str) -> Result<SyncMark, ErrorKind> {
        match self.tree.lookup(path)? {
            None => Err(ErrorKind::NotFound),
            Some(Entry { is_dir: false, .. }) => Err(ErrorKind::NotADirectory),
            Some(dir) => Ok(SyncMark { inode: dir.inode, sequence: self.sequence }),
        }
    }

    /// The sync is done: all that its mark covers is durable. Nothing if power was lost or the disk wiped meanwhile.
    pub fn sync_finish(&mut self, mark: SyncMark) {
        let is_dir = match self.files.get_mut(mark.inode as usize) {
            Some(Some(data)) => {
                self.dirty -= data.harden(mark.sequence);
                false
            }
            _ => true,
        };
        match self.config.file_system {
            FileSystem::Ext4Ordered | FileSystem::Xfs => self.commit_journal(mark.sequence),
            FileSystem::Strict if is_dir => self.tree.commit_entries(mark.inode, mark.sequence),
            FileSystem::Strict => {}
            FileSystem::PerDirectory if is_dir || self.config.sync_keeps_entry => {
                self.tree.commit_touching(mark.inode, mark.sequence);
            }
            FileSystem::PerDirectory => {}
        }
        self.free_released();
    }

    /// The one journal is on the platter up to `sequence`, with the content that has to come before.
    fn commit_journal(&mut self, sequence: u64) {
        self.committed = self.committed.max(sequence);
        self.tree.commit_all(sequence);
        self.ordered.retain(|(rename, inode)| {
            if *rename > sequence {
                return true;
            }
            if let Some(Some(data)) = self.files.get_mut(*inode as usize) {
                self.dirty -= data.harden(*rename);
            }
            false
        });
    }

    /// A sync of a file fails: what its mark covers is not dirty any more and will not become durable. Answers which bytes,
    /// as start and length.
    pub fn sync_fail(&mut self, mark: SyncMark) -> Vec<(u64, u64)> {
        let Some(Some(data)) = self.files.get_mut(mark.inode as usize) else { return vec![] };
        let forgotten = data.forget(mark.sequence);
        self.dirty -= forgotten.iter().map(|(_, len)| len).sum::<u64>();
        forgotten
    }

    /// The bytes that a sync with this mark would make durable, as start and length.
    pub(super) fn covered(&self, mark: SyncMark) -> Vec<(u64, u64)> {
        let data = self.files.get(mark.inode as usize).and_then(Option::as_ref);
        data.map(|data| data.pending_ranges(mark.sequence)).unwrap_or_default()
    }

    /// A write that the device puts elsewhere: the cache has it, the platter never will. What was pending before it becomes
    /// durable.
    pub(super) fn write_lost(&mut self, file: FileId, position: u64, data: &[u8], now: u64) -> Result<(), ErrorKind> {
        let mark = self.sync_begin(file)?;
        self.write_at(file, position, data, now)?;
        self.dirty -= self.file_mut(file)?.harden(mark.sequence);
        let sequence = self.sequence;
        self.sync_fail(SyncMark { sequence, ..mark });
        Ok(())
    }

    /// Clean bytes of a file change at rest. False, and nothing changed, if they are not clean or not there.
    pub(super) fn damage(&mut self, inode: u32, start: u64, change: impl FnOnce(&mut [u8]), len: u64) -> bool {
        let Some(Some(data)) = self.files.get_mut(inode as usize) else { return false };
        if start + len > data.len() as u64 || !data.is_clean(start, start + len) {
            return false;
        }
        data.evict(start, start + len);
        let mut bytes = data.read(start, len as u32).to_vec();
        change(&mut bytes);
        data.damage(start, &bytes);
        true
    }

    /// Bytes of a file by its inode; empty if it is gone.
    pub(super) fn peek(&self, inode: u32, start: u64, len: u32) -> Bytes {
        let data = self.files.get(inode as usize).and_then(Option::as_ref);
        data.map(|data| data.read(start, len)).unwrap_or_default()
    }

    /// The page cache lets go of these bytes. False if some of them are dirty.
    pub(super) fn evict(&mut self, inode: u32, start: u64, end: u64) -> bool {
        let Some(Some(data)) = self.files.get_mut(inode as usize) else { return true };
        let clean = data.is_clean(start, end);
        if clean {
            data.evict(start, end);
        }
        clean
    }

    /// Every clean byte reads as on the platter: nothing of it is in memory any more.
    pub(super) fn evict_all(&mut self) {
        let page = PAGE as u64;
        for data in self.files.iter_mut().flatten() {
            for start in (0..data.len() as u64).step_by(PAGE) {
                if data.is_clean(start, start + page) {
                    data.evict(start, start + page);
                }
            }
        }
    }

    /// A path of a file, if it has one.
    pub(super) fn path_of(&self, inode: u32) -> Option<String> {
        self.tree.path_of(inode)
    }

    /// Every file that has a name, with its inode, in the order of their paths.
    pub(super) fn named(&self) -> Vec<(String, u32)> {
        let named = self.files().into_iter().filter_map(|(path, _)| {
            let inode = self.tree.lookup(&path).ok()??.inode;
            Some((path, inode))
        });
        named.collect()
    }

    /// Whether that path stands for something.
    pub(super) fn exists(&self, path: &str) -> bool {
        self.tree.lookup(path).is_ok_and(|entry| entry.is_some())
    }

    /// All names are on the platter.
    pub(super) fn commit_names(&mut self) {
        self.tree.commit_all(self.sequence);
        self.free_released();
    }

    /// True without any file, open ones that have no name included.
    pub(super) fn has_no_file(&self) -> bool {
        self.files.iter().flatten().next().is_none()
    }

    /// Size and habits.
    pub(super) fn config(&self) -> &DiskConfig {
        &self.config
    }

    /// Renames a file or directory, replacing a file (or empty directory) that has the new name.
    pub fn rename(&mut self, from: &str, to: &str, now_ns: u64) -> Result<(), ErrorKind> {
        self.write_back(now_ns);
        let entry = self.tree.lookup(from)?.ok_or(ErrorKind::NotFound)?;
        let (from_place, to_place) = (self.tree.place(from)?, self.tree.place(to)?);
        match self.tree.entry(&to_place) {
            Some(same) if same == entry => return Ok(()),
            Some(Entry { is_dir: true, .. }) if !entry.is_dir => return Err(ErrorKind::IsADirectory),
            Some(Entry { is_dir: false, .. }) if entry.is_dir => return Err(ErrorKind::NotADirectory),
            Some(dir) if dir.is_dir && self.tree.entries(dir.inode).next().is_some() => {
                return Err(ErrorKind::DirectoryNotEmpty);
            }
            _ => {}
        }
        if entry.is_dir && to.strip_prefix(from).is_some_and(|rest| rest.starts_with('/')) {
            return Err(ErrorKind::InvalidInput);
        }
        let replaces = self.tree.entry(&to_place).is_some();
        self.change(Some(from_place), Some(to_place), entry, now_ns);
        if replaces && !entry.is_dir && self.config.file_system == FileSystem::Ext4Ordered {
            self.ordered.push((self.sequence, entry.inode));
        }
        Ok(())
    }

    /// Removes a file; fine if it is not there. Open handles keep working.
    pub fn remove(&mut self, path: &str, now_ns: u64) -> Result<(), ErrorKind> {
        self.write_back(now_ns);
        match self.tree.lookup(path)? {
            None => Ok(()),
            Some(Entry { is_dir: true, .. }) => Err(ErrorKind::IsADirectory),
            Some(entry) => {
                let place = self.tree.place(path)?;
                self.change(Some(place), None, entry, now_ns);
                Ok(())
            }
        }
    }

    /// What is old enough, or beyond the background limit, becomes durable. Every mutating operation does this by itself.
    pub fn write_back(&mut self, now_ns: u64) {
        while let Some((since_ns, inode, sequence)) = self.aging.front().copied() {
            if since_ns + self.config.dirty_age_ns > now_ns && self.dirty <= self.config.background_bytes {
                break;
            }
            self.aging.pop_front();
            if let Some(data) = &mut self.files[inode as usize] {
                self.dirty -= data.harden(sequence);
            }
        }
        if self.tree.oldest_ns().is_some_and(|oldest| oldest + self.config.commit_age_ns <= now_ns) {
            let last = self.tree.commit_until(now_ns - self.config.commit_age_ns);
            if matches!(self.config.file_system, FileSystem::Ext4Ordered | FileSystem::Xfs) {
                self.commit_journal(last);
            }
            self.free_released();
        }
    }

    /// A write (at the end for `None`) that a kill cuts: a prefix that ends at a page boundary, nothing, or all of it is
    /// written, as drawn. Answers how many bytes.
    pub fn kill_cut(
        &mut self,
        file: FileId,
        position: Option<u64>,
        data: &[u8],
        now_ns: u64,
        rng: &mut ChaCha8Rng,
    ) -> Result<u64, ErrorKind> {
        let start = position.unwrap_or(self.len(file)?);
        let first_page = PAGE - (start % PAGE as u64) as usize;
        let pages = 1 + data.len().saturating_sub(first_page).div_ceil(PAGE);
        let cut = match draw(rng, pages as u64 + 1) as usize {
            0 => 0,
            pages => (first_page + (pages - 1) * PAGE).min(data.len()),
        };
        self.write_at(file, start, &data[..cut], now_ns)?;
        Ok(cut as u64)
    }

    /// Power is lost: what was synced stays, with a drawn part of the rest. Closes every file.
    pub fn power_loss(&mut self, now_ns: u64, rng: &mut ChaCha8Rng) -> PowerLoss {
        self.write_back(now_ns);
        self.close_all();
        let (lost_entries, rule) = self.lose_names(rng);
        let mut loss = PowerLoss { lost_entries, ..PowerLoss::default() };
        for inode in std::mem::take(&mut self.tree.released) {
            if let Some(data) = self.files[inode as usize].take() {
                loss.files += 1;
                loss.lost_bytes += data.len() as u64;
            }
        }
        for data in self.files.iter_mut().flatten() {
            let file = data.lose_power(rule, rng);
            loss.files += u32::from(file.lost > 0);
            loss.lost_bytes += file.lost;
            loss.kept_bytes += file.kept;
        }
        self.aging.clear();
        self.dirty = 0;
        self.used = self.files.iter().flatten().map(|data| data.len() as u64).sum();
        loss
    }

    /// Names after a loss of power, how many changes of them are lost, and what that means for contents.
    fn lose_names(&mut self, rng: &mut ChaCha8Rng) -> (u32, Rule) {
        let holes = match self.config.file_system {
            FileSystem::PerDirectory => return (self.tree.lose_power(Order::Directory, rng), Rule::Own),
            FileSystem::Strict => return (self.tree.lose_power(Order::Loose, rng), Rule::Loose),
            FileSystem::Ext4Ordered => false,
            FileSystem::Xfs => true,
        };
        let until = self.draw_journal_end(rng);
        self.commit_journal(until);
        self.ordered.clear();
        (self.tree.lose_rest(), Rule::Journal { until, holes })
    }

    /// How far the journal came, as a sequence. Draws nothing where nothing is pending.
    fn draw_journal_end(&self, rng: &mut ChaCha8Rng) -> u64 {
        let cuts = self.files.iter().flatten().flat_map(|data| data.pending_cuts());
        let mut journalled: Vec<u64> = self.tree.pending().chain(cuts).filter(|at| *at > self.committed).collect();
        journalled.sort_unstable();
        if journalled.is_empty() {
            return self.committed;
        }
        match draw(rng, journalled.len() as u64 + 1) {
            0 => self.committed,
            kept => journalled[kept as usize - 1],
        }
    }

    /// A new, empty disk in the same machine.
    pub fn wipe(&mut self) {
        self.life += 1;
        self.files.iter_mut().for_each(|data| *data = None);
        self.tree = Tree::new();
        self.aging.clear();
        self.ordered.clear();
        (self.dirty, self.used) = (0, 0);
    }

    /// Pending bytes, all files together.
    pub fn dirty_bytes(&self) -> u64 {
        self.dirty
    }

    /// True beyond the hard limit: a real kernel would make writers wait now.
    pub fn throttled(&self) -> bool {
        self.dirty > self.config.hard_bytes
    }

    /// Bytes in all files together, those without a name that are still open included.
    pub fn used_bytes(&self) -> u64 {
        self.used
    }

    /// Every file that has a name, with its length, sorted by path.
    pub fn files(&self) -> Vec<(String, u64)> {
        let mut files = vec![];
        self.collect_files(ROOT, "", &mut files);
        files.sort();
        files
    }

    fn collect_files(&self, dir: u32, prefix: &str, files: &mut Vec<(String, u64)>) {
        for (name, entry) in self.tree.entries(dir) {
            match &self.files[entry.inode as usize] {
                Some(data) => files.push((format!("{prefix}{name}"), data.len() as u64)),
                None => self.collect_files(entry.inode, &format!("{prefix}{name}/"), files),
            }
        }
    }

    fn file(&self, file: FileId) -> Result<&FileData, ErrorKind> {
        let data = self.files[file.inode as usize].as_deref();
        data.filter(|_| file.life == self.life).ok_or(ErrorKind::NotFound)
    }

    fn file_mut(&mut self, file: FileId) -> Result<&mut FileData, ErrorKind> {
        let data = self.files[file.inode as usize].as_deref_mut();
        data.filter(|_| file.life == self.life).ok_or(ErrorKind::NotFound)
    }

    fn make_room(&self, bytes: u64) -> Result<(), ErrorKind> {
        let room = self.config.capacity.saturating_sub(self.used);
        if bytes > room { Err(ErrorKind::StorageFull) } else { Ok(()) }
    }

    fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    fn new_inode(&mut self, data: Option<Box<FileData>>) -> u32 {
        self.files.push(data);
        (self.files.len() - 1) as u32
    }

    fn change(&mut self, from: Option<Place>, to: Option<Place>, entry: Entry, now_ns: u64) {
        let sequence = self.next_sequence();
        self.tree.change(from, to, entry, now_ns, sequence);
        self.free_released();
    }

    fn free_released(&mut self) {
        for inode in std::mem::take(&mut self.tree.released) {
            self.free_if_unused(inode);
        }
    }

    /// Frees a file that has neither a name, in the cache or on the platter, nor an open handle.
    fn free_if_unused(&mut self, inode: u32) {
        if self.tree.holds(inode) {
            return;
        }
        if let Some(data) = self.files[inode as usize].take_if(|data| data.opens == 0) {
            self.used -= data.len() as u64;
            self.dirty -= data.dirty();
            self.freed.push(inode);
        }
    }
}
