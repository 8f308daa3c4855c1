//! What the model promises, claim by claim; then whatever a drawn history does to it.

use super::test_help::*;
use super::*;
use proptest::prelude::*;
use rand_chacha::rand_core::SeedableRng;
use std::collections::BTreeMap;
use std::io::ErrorKind;

fn rng(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

fn disk() -> DiskModel {
    DiskModel::new(DiskConfig::default())
}

/// A file with a durable name and content.
fn durable_file(disk: &mut DiskModel, path: &str, data: &[u8]) -> FileId {
    let file = disk.open(path, true, 0).unwrap();
    disk.append(file, data, 0).unwrap();
    sync(disk, file);
    file
}

#[test]
fn a_process_reads_what_it_wrote() {
    let mut disk = disk();
    let file = disk.open("a", true, 0).unwrap();
    disk.append(file, b"hello", 0).unwrap();
    disk.append(file, b" world", 0).unwrap();
    disk.write_at(file, 1, b"E", 0).unwrap();
    assert_eq!(disk.read_at(file, 0, 100).unwrap(), &b"hEllo world"[..]);
    assert_eq!(disk.read_at(file, 6, 3).unwrap(), &b"wor"[..]);
    assert_eq!(disk.read_at(file, 11, 1).unwrap(), &b""[..]);
    assert_eq!(disk.read_at(file, u64::MAX, 1).unwrap(), &b""[..]);
    disk.write_at(file, 13, b"!", 0).unwrap();
    assert_eq!(disk.read_at(file, 10, 9).unwrap(), &b"d\0\0!"[..]);
    disk.truncate(file, 2, 0).unwrap();
    disk.truncate(file, 4, 0).unwrap();
    assert_eq!(content(&mut disk, "a").unwrap(), b"hE\0\0");
}

#[test]
fn errors_name_their_kind() {
    let mut disk = DiskModel::new(DiskConfig { capacity: 10, ..DiskConfig::default() });
    assert_eq!(disk.open("a", false, 0), Err(ErrorKind::NotFound));
    assert_eq!(disk.open("d/a", true, 0), Err(ErrorKind::NotFound));
    assert_eq!(disk.open("../a", true, 0), Err(ErrorKind::InvalidInput));
    assert_eq!(disk.rename("a", "b", 0), Err(ErrorKind::NotFound));
    assert_eq!(disk.remove("a", 0), Ok(()));
    assert_eq!(disk.remove_dir("d", 0), Ok(()));
    assert_eq!(disk.list("d"), Ok(vec![]));
    assert_eq!(disk.sync_dir_begin("d"), Err(ErrorKind::NotFound));
    let file = disk.open("a", true, 0).unwrap();
    assert_eq!(disk.rename("a", "/b", 0), Err(ErrorKind::InvalidInput));
    assert_eq!(disk.remove_dir("", 0), Err(ErrorKind::InvalidInput));
    assert_eq!(disk.create_dir("a/b", 0), Err(ErrorKind::NotADirectory));
    disk.create_dir("d", 0).unwrap();
    assert_eq!(disk.open("d", true, 0), Err(ErrorKind::IsADirectory));
    assert_eq!(disk.remove("d", 0), Err(ErrorKind::IsADirectory));
    assert_eq!(disk.rename("a", "d", 0), Err(ErrorKind::IsADirectory));
    assert_eq!(disk.append(file, &[1; 11], 0), Err(ErrorKind::StorageFull));
    assert_eq!(disk.len(file), Ok(0), "a write that does not fit leaves nothing");
    assert_eq!(disk.append(file, &[1; 10], 0), Ok(()));
    assert_eq!(disk.truncate(file, 11, 0), Err(ErrorKind::StorageFull));
}

#[test]
fn a_handle_outlives_a_rename_and_a_removal_and_the_space_comes_back_at_its_close() {
    let mut disk = disk();
    let file = durable_file(&mut disk, "a", b"one");
    disk.rename("a", "b", 0).unwrap();
    disk.append(file, b"two", 0).unwrap();
    assert_eq!(content(&mut disk, "b").unwrap(), b"onetwo");
    disk.remove("b", 0).unwrap();
    sync_dir(&mut disk, "");
    disk.append(file, b"three", 0).unwrap();
    assert_eq!(disk.read_at(file, 3, 100).unwrap(), &b"twothree"[..]);
    assert_eq!(disk.used_bytes(), 11);
    disk.close(file);
    assert_eq!((disk.used_bytes(), disk.dirty_bytes()), (0, 0));
    assert_eq!(disk.len(file), Err(ErrorKind::NotFound));
}

#[test]
fn a_removed_directory_takes_all_it_holds_and_can_be_made_anew() {
    let mut disk = disk();
    disk.create_dir("t/p-0/x", 0).unwrap();
    durable_file(&mut disk, "t/p-0/log", b"1");
    durable_file(&mut disk, "t/p-0/x/y", b"2");
    assert_eq!(disk.list("t/p-0").unwrap(), ["log", "x"]);
    disk.rename("t/p-0", "t/p-1", 0).unwrap();
    assert_eq!(disk.files(), [("t/p-1/log".to_owned(), 1), ("t/p-1/x/y".to_owned(), 1)]);
    disk.close_all();
    disk.remove_dir("t", 0).unwrap();
    assert_eq!(disk.files(), []);
    sync_dir(&mut disk, "");
    assert_eq!(disk.used_bytes(), 0);
    disk.create_dir("t", 0).unwrap();
    assert_eq!(disk.list("t").unwrap(), Vec::<String>::new());
}

#[test]
fn a_kill_keeps_the_page_cache_and_ends_the_handles() {
    let mut disk = disk();
    let file = disk.open("a", true, 0).unwrap();
    disk.append(file, b"cached", 0).unwrap();
    disk.close_all();
    assert_eq!(disk.append(file, b"late", 0), Err(ErrorKind::NotFound));
    disk.close(file);
    assert_eq!(content(&mut disk, "a").unwrap(), b"cached");
    assert_eq!(disk.dirty_bytes(), 6);
}

#[test]
fn a_write_cut_by_a_kill_ends_at_a_page_boundary() {
    let mut seen = [false; 4];
    for seed in 0..200 {
        let mut disk = disk();
        let file = disk.open("a", true, 0).unwrap();
        disk.append(file, &[1; 1000], 0).unwrap();
        let written = disk.kill_cut(file, None, &[2; 10_000], 0, &mut rng(seed)).unwrap();
        let len = disk.len(file).unwrap();
        assert_eq!(len, 1000 + written);
        assert!(matches!(len, 1000 | 4096 | 8192 | 11_000), "{len}");
        seen[[1000, 4096, 8192, 11_000].iter().position(|end| *end == len).unwrap()] = true;
    }
    assert_eq!(seen, [true; 4]);
}

#[test]
fn a_sync_covers_what_was_in_the_cache_when_it_was_issued() {
    let mut kept_more = 0;
    for seed in 0..100 {
        let mut disk = disk();
        let file = disk.open("a", true, 0).unwrap();
        disk.append(file, b"before", 0).unwrap();
        let mark = disk.sync_begin(file).unwrap();
        disk.append(file, b"after", 0).unwrap();
        disk.write_at(file, 0, b"X", 0).unwrap();
        disk.sync_finish(mark);
        assert_eq!(disk.dirty_bytes(), 6);
        disk.power_loss(0, &mut rng(seed));
        let after = content(&mut disk, "a").expect("its name was synced with it");
        assert_eq!(&after[1..6], b"efore");
        assert!(matches!(after[0], b'b' | b'X'));
        kept_more += u32::from(after.len() > 6);
    }
    assert!((1..100).contains(&kept_more), "what came later may stay or not, {kept_more}");
}

#[test]
fn a_sync_that_power_loss_overtook_does_nothing() {
    let mut disk = disk();
    let file = durable_file(&mut disk, "a", b"base");
    let mark = disk.sync_begin(file).unwrap();
    disk.power_loss(0, &mut rng(1));
    let file = disk.open("a", false, 0).unwrap();
    disk.append(file, b"new", 0).unwrap();
    disk.sync_finish(mark);
    assert_eq!(disk.dirty_bytes(), 3);
}

#[test]
fn pending_bytes_become_durable_with_age_and_beyond_the_background_limit() {
    let config = DiskConfig { background_bytes: 1000, hard_bytes: 2000, ..DiskConfig::default() };
    let mut disk = DiskModel::new(config);
    let file = disk.open("a", true, 0).unwrap();
    disk.append(file, &[1; 600], 0).unwrap();
    disk.append(file, &[2; 300], 10 * SECOND).unwrap();
    disk.write_back(29 * SECOND);
    assert_eq!(disk.dirty_bytes(), 900);
    disk.write_back(30 * SECOND);
    assert_eq!(disk.dirty_bytes(), 300);
    disk.append(file, &[3; 900], 30 * SECOND).unwrap();
    assert_eq!(disk.dirty_bytes(), 1200);
    disk.write_back(30 * SECOND);
    assert_eq!(disk.dirty_bytes(), 900, "the oldest goes first");
    disk.append(file, &[4; 1200], 31 * SECOND).unwrap();
    assert!(disk.throttled());
}

#[test]
fn without_a_sync_everything_may_be_lost_and_everything_may_stay() {
    let (mut gone, mut whole, mut empty, mut torn) = (0, 0, 0, 0);
    for seed in 0..300 {
        let mut disk = disk();
        let file = disk.open("a", true, 0).unwrap();
        (0..20).for_each(|i| disk.append(file, &[i + 1; 300], u64::from(i) * SECOND / 5).unwrap());
        disk.power_loss(4 * SECOND, &mut rng(seed));
        match content(&mut disk, "a") {
            None => gone += 1,
            Some(bytes) if bytes.is_empty() => empty += 1,
            Some(bytes) if bytes.len() == 6000 && !bytes.contains(&0) => whole += 1,
            Some(_) => torn += 1,
        }
    }
    assert!([gone, whole, empty, torn].iter().all(|n| *n > 10), "{gone} {whole} {empty} {torn}");
}

#[test]
fn a_rename_of_synced_content_is_atomic_and_after_a_directory_sync_durable() {
    let (mut old, mut new) = (0, 0);
    for seed in 0..100 {
        for synced in [false, true] {
            let mut disk = disk();
            disk.create_dir("d", 0).unwrap();
            durable_file(&mut disk, "d/state", b"old");
            durable_file(&mut disk, "d/state.tmp", b"the new one");
            disk.rename("d/state.tmp", "d/state", 0).unwrap();
            if synced {
                sync_dir(&mut disk, "d");
            }
            disk.power_loss(0, &mut rng(seed));
            let state = content(&mut disk, "d/state").expect("one of the two is there");
            let is_new = state == b"the new one";
            assert!(is_new || state == b"old" && !synced, "{state:?}");
            assert_eq!(content(&mut disk, "d/state.tmp").is_some(), !is_new);
            new += u32::from(is_new && !synced);
            old += u32::from(!is_new);
        }
    }
    assert!(old > 10 && new > 10, "{old} {new}");
}

#[test]
fn changes_of_one_directory_survive_in_order() {
    let mut lengths = [0; 6];
    for seed in 0..300 {
        let mut disk = disk();
        (0..5).for_each(|i| {
            disk.open(&format!("f{i}"), true, 0).unwrap();
        });
        let loss = disk.power_loss(0, &mut rng(seed));
        let names = disk.list("").unwrap();
        assert_eq!(names, (0..names.len()).map(|i| format!("f{i}")).collect::<Vec<_>>());
        assert_eq!(loss.lost_entries as usize, 5 - names.len());
        lengths[names.len()] += 1;
    }
    assert!(lengths.iter().all(|n| *n > 0), "{lengths:?}");
}

#[test]
fn a_move_between_directories_leaves_the_file_in_one_of_them() {
    let (mut here, mut there) = (0, 0);
    for seed in 0..100 {
        let mut disk = disk();
        disk.create_dir("a", 0).unwrap();
        disk.create_dir("b", 0).unwrap();
        durable_file(&mut disk, "a/f", b"1");
        sync_dir(&mut disk, "b");
        disk.rename("a/f", "b/f", 0).unwrap();
        disk.power_loss(0, &mut rng(seed));
        let places = [content(&mut disk, "a/f").is_some(), content(&mut disk, "b/f").is_some()];
        assert!(places[0] != places[1], "{places:?}");
        here += u32::from(places[0]);
        there += u32::from(places[1]);
    }
    assert!(here > 10 && there > 10);
}

#[test]
fn a_file_sync_keeps_its_name_only_where_the_file_system_does_that() {
    let lost = |keeps: bool| {
        (0..60).any(|seed| {
            let mut disk = DiskModel::new(DiskConfig { sync_keeps_entry: keeps, ..DiskConfig::default() });
            disk.create_dir("d", 0).unwrap();
            durable_file(&mut disk, "d/f", b"1");
            disk.power_loss(0, &mut rng(seed));
            content(&mut disk, "d/f").is_none()
        })
    };
    assert!(!lost(true));
    assert!(lost(false));
}

#[test]
fn names_are_durable_after_the_commit_interval() {
    for seed in 0..60 {
        let mut disk = disk();
        disk.open("a", true, 0).unwrap();
        disk.power_loss(5 * SECOND, &mut rng(seed));
        assert!(content(&mut disk, "a").is_some());
    }
}

#[test]
fn a_truncation_never_mixes_old_bytes_with_new_ones() {
    let mut seen = [false; 3];
    for seed in 0..400 {
        let mut disk = disk();
        let file = durable_file(&mut disk, "a", &[1; 5000]);
        disk.truncate(file, 0, 0).unwrap();
        disk.append(file, &[2; 5000], 0).unwrap();
        disk.power_loss(0, &mut rng(seed));
        let bytes = content(&mut disk, "a").unwrap();
        let (old, new) = (bytes.contains(&1), bytes.contains(&2));
        assert!(!(old && new));
        assert!(!old || bytes == [1; 5000]);
        seen[usize::from(old) + 2 * usize::from(new)] = true;
    }
    assert_eq!(seen, [true; 3]);
}

#[test]
fn a_wiped_disk_is_empty_and_takes_new_files() {
    let mut disk = disk();
    let file = durable_file(&mut disk, "a", b"1");
    disk.wipe();
    assert_eq!(disk.len(file), Err(ErrorKind::NotFound));
    assert_eq!((disk.files(), disk.used_bytes()), (vec![], 0));
    durable_file(&mut disk, "a", b"22");
    disk.power_loss(0, &mut rng(3));
    assert_eq!(content(&mut disk, "a").unwrap(), b"22");
}

#[test]
fn an_empty_disk_and_an_idle_one_lose_nothing() {
    let mut disk = disk();
    assert_eq!(disk.power_loss(0, &mut rng(1)), PowerLoss::default());
    durable_file(&mut disk, "a", b"1");
    assert_eq!(disk.power_loss(0, &mut rng(1)), PowerLoss::default());
}

/// One step of a drawn history.
#[derive(Clone, Debug)]
enum Step {
    Append { file: u8, len: usize },
    Write { file: u8, position: usize, len: usize },
    Truncate { file: u8, len: usize },
    Sync { file: u8 },
    Rename { from: u8, to: u8 },
    Remove { file: u8 },
    SyncDir,
    Wait { ms: u64 },
    Kill,
    PowerLoss { seed: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let file = 0..4u8;
    prop_oneof![
        6 => (file.clone(), 0..3000usize).prop_map(|(file, len)| Step::Append { file, len }),
        2 => (file.clone(), 0..6000usize, 1..2000usize)
            .prop_map(|(file, position, len)| Step::Write { file, position, len }),
        2 => (file.clone(), 0..6000usize).prop_map(|(file, len)| Step::Truncate { file, len }),
        3 => file.clone().prop_map(|file| Step::Sync { file }),
        2 => (file.clone(), file.clone()).prop_map(|(from, to)| Step::Rename { from, to }),
        1 => file.prop_map(|file| Step::Remove { file }),
        1 => Just(Step::SyncDir),
        2 => (1..20_000u64).prop_map(|ms| Step::Wait { ms }),
        1 => Just(Step::Kill),
        2 => any::<u64>().prop_map(|seed| Step::PowerLoss { seed }),
    ]
}

/// What a reader may find in one file: each state that it had since it was last synced.
#[derive(Clone, Debug, Default)]
struct Expected {
    now: Vec<u8>,
    since_sync: Vec<Vec<u8>>,
}

impl Expected {
    fn changed(&mut self) {
        self.since_sync.push(self.now.clone());
    }

    fn synced(&mut self) {
        self.since_sync = vec![self.now.clone()];
    }

    /// Every sector is as in one of the states, cut or filled with zeros.
    fn allows(&self, found: &[u8]) -> bool {
        found.chunks(512).enumerate().all(|(i, sector)| {
            let states = self.since_sync.iter().map(|state| state.get(i * 512..).unwrap_or_default());
            states.chain([&[][..]]).any(|state| like(sector, &state[..state.len().min(512)]))
        })
    }

    /// Bytes that no change since the last sync touched are as they were.
    fn keeps(&self, found: &[u8]) -> bool {
        let shortest = self.since_sync.iter().map(Vec::len).min().unwrap_or(0);
        let same = |i: &usize| self.since_sync.iter().all(|state| state[*i] == self.since_sync[0][*i]);
        found.len() >= shortest && (0..shortest).filter(same).all(|i| found[i] == self.since_sync[0][i])
    }
}

/// `found` is a prefix of `state`, or of `state` cut somewhere and filled with zeros.
fn like(found: &[u8], state: &[u8]) -> bool {
    let common = found.iter().zip(state).take_while(|(a, b)| a == b).count();
    found[common..].iter().all(|byte| *byte == 0)
}

fn name(file: u8) -> String {
    format!("d/f{file}")
}

struct History {
    disk: DiskModel,
    expected: BTreeMap<String, Expected>,
    now_ns: u64,
    fill: u8,
}

impl History {
    fn new(file_system: FileSystem) -> Self {
        let mut disk = DiskModel::new(DiskConfig::of(file_system));
        disk.create_dir("d", 0).unwrap();
        sync_dir(&mut disk, "d");
        Self { disk, expected: BTreeMap::new(), now_ns: 0, fill: 0 }
    }

    fn data(&mut self, len: usize) -> Vec<u8> {
        self.fill = self.fill % 250 + 1;
        vec![self.fill; len]
    }

    /// Runs `change` on a file and its expectation.
    fn on(&mut self, file: u8, change: impl FnOnce(&mut DiskModel, FileId, &mut Expected, u64)) {
        let id = self.disk.open(&name(file), true, self.now_ns).unwrap();
        let expected = self.expected.entry(name(file)).or_insert_with(|| {
            let mut fresh = Expected::default();
            fresh.changed();
            fresh
        });
        change(&mut self.disk, id, expected, self.now_ns);
        assert_eq!(self.disk.len(id).unwrap(), expected.now.len() as u64);
        self.disk.close(id);
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Append { file, len } => {
                let data = self.data(len);
                self.on(file, |disk, id, expected, now| {
                    disk.append(id, &data, now).unwrap();
                    expected.now.extend(&data);
                    expected.changed();
                });
            }
            Step::Write { file, position, len } => {
                let data = self.data(len);
                self.on(file, |disk, id, expected, now| {
                    disk.write_at(id, position as u64, &data, now).unwrap();
                    let end = position + len;
                    expected.now.resize(expected.now.len().max(end), 0);
                    expected.now[position..end].copy_from_slice(&data);
                    expected.changed();
                });
            }
            Step::Truncate { file, len } => self.on(file, |disk, id, expected, now| {
                disk.truncate(id, len as u64, now).unwrap();
                expected.now.resize(len, 0);
                expected.changed();
            }),
            Step::Sync { file } => self.on(file, |disk, id, expected, _| {
                sync(disk, id);
                expected.synced();
            }),
            Step::Rename { from, to } => self.rename(&name(from), &name(to)),
            Step::Remove { file } => {
                self.disk.remove(&name(file), self.now_ns).unwrap();
                self.expected.remove(&name(file));
                sync_dir(&mut self.disk, "d");
            }
            Step::SyncDir => sync_dir(&mut self.disk, "d"),
            Step::Wait { ms } => self.now_ns += ms * 1_000_000,
            Step::Kill => self.disk.close_all(),
            Step::PowerLoss { seed } => self.power_loss(seed),
        }
    }

    /// Renames and syncs the directory, so that the expectation knows every name.
    fn rename(&mut self, from: &str, to: &str) {
        let renamed = self.disk.rename(from, to, self.now_ns);
        assert_eq!(renamed.is_ok(), self.expected.contains_key(from));
        if renamed.is_ok() && from != to {
            let moved = self.expected.remove(from).unwrap();
            self.expected.insert(to.to_owned(), moved);
            sync_dir(&mut self.disk, "d");
        }
    }

    fn power_loss(&mut self, seed: u64) {
        sync_dir(&mut self.disk, "d");
        let loss = self.disk.power_loss(self.now_ns, &mut rng(seed));
        assert_eq!(loss.lost_entries, 0, "every name was synced");
        for (path, expected) in &mut self.expected {
            let found = content(&mut self.disk, path).expect("its name was synced");
            assert!(expected.allows(&found), "{path} holds bytes that it never had");
            assert!(expected.keeps(&found), "{path} lost synced bytes");
            expected.now = found;
            expected.synced();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn synced_bytes_survive_and_the_rest_is_made_of_sectors_that_were_written(
        file_system in prop::sample::select(vec![FileSystem::Ext4Ordered, FileSystem::Xfs, FileSystem::PerDirectory]),
        steps in proptest::collection::vec(step(), 1..40),
    ) {
        let mut history = History::new(file_system);
        steps.iter().for_each(|step| history.step(step));
        history.power_loss(1);
        let used: u64 = history.disk.files().iter().map(|(_, len)| len).sum();
        prop_assert_eq!(history.disk.used_bytes(), used);
        prop_assert_eq!(history.disk.dirty_bytes(), 0);
    }

    #[test]
    fn names_form_a_tree_that_was_there_at_some_time_in_each_directory(
        moves in proptest::collection::vec((0..4u8, 0..4u8, any::<bool>()), 1..20),
        seed in any::<u64>(),
    ) {
        let mut disk = disk();
        ["a", "b"].iter().for_each(|dir| disk.create_dir(dir, 0).unwrap());
        let place = |n: u8| format!("{}/f{}", if n < 2 { "a" } else { "b" }, n % 2);
        let mut states = vec![[vec![], vec![]]];
        for (from, to, make) in moves {
            if make {
                let file = disk.open(&place(from), true, 0).unwrap();
                disk.close(file);
            } else if disk.rename(&place(from), &place(to), 0).is_err() {
                continue;
            }
            states.push([disk.list("a").unwrap(), disk.list("b").unwrap()]);
        }
        disk.power_loss(0, &mut rng(seed));
        for (dir, path) in ["a", "b"].iter().enumerate() {
            let found = disk.list(path).unwrap();
            prop_assert!(states.iter().any(|state| state[dir] == found), "{path}: {found:?}");
        }
    }
}
