//! What each file system may lose, and what it never does.

use super::test_help::*;
use super::*;
use rand_chacha::rand_core::SeedableRng;
use std::collections::BTreeSet;

const SEEDS: u64 = 200;
const ALL: [FileSystem; 4] = [FileSystem::Ext4Ordered, FileSystem::Xfs, FileSystem::PerDirectory, FileSystem::Strict];

fn disk(file_system: FileSystem) -> DiskModel {
    DiskModel::new(DiskConfig::of(file_system))
}

/// A file whose content and name are durable on every file system.
fn durable(disk: &mut DiskModel, path: &str, data: &[u8]) -> FileId {
    let file = disk.open(path, true, 0).unwrap();
    disk.append(file, data, 0).unwrap();
    sync(disk, file);
    disk.commit_names();
    file
}

/// What is left after power losses of many seeds.
fn outcomes<T: Ord>(
    file_system: FileSystem,
    before: impl Fn(&mut DiskModel),
    look: impl Fn(&mut DiskModel) -> T,
) -> BTreeSet<T> {
    let one = |seed| {
        let mut disk = disk(file_system);
        before(&mut disk);
        disk.power_loss(0, &mut ChaCha8Rng::seed_from_u64(seed));
        look(&mut disk)
    };
    (0..SEEDS).map(one).collect()
}

#[test]
fn one_journal_keeps_a_prefix_of_all_creations_and_strict_any_of_them() {
    let before = |disk: &mut DiskModel| {
        ["a", "b"].iter().for_each(|dir| disk.create_dir(dir, 0).unwrap());
        disk.commit_names();
        for path in ["a/1", "b/2", "a/3"] {
            disk.open(path, true, 0).unwrap();
        }
    };
    let look = |disk: &mut DiskModel| {
        ["a/1", "b/2", "a/3"].iter().filter(|path| disk.exists(path)).copied().collect::<Vec<_>>()
    };
    let prefixes: BTreeSet<Vec<&str>> = [vec![], vec!["a/1"], vec!["a/1", "b/2"], vec!["a/1", "b/2", "a/3"]].into();
    assert_eq!(outcomes(FileSystem::Ext4Ordered, before, look), prefixes);
    assert_eq!(outcomes(FileSystem::Xfs, before, look), prefixes);
    let by_directory = outcomes(FileSystem::PerDirectory, before, look);
    assert!(by_directory.contains(&vec!["b/2"]) && !by_directory.iter().any(|found| found == &["a/3"]));
    assert_eq!(outcomes(FileSystem::Strict, before, look).len(), 8, "every subset");
}

#[test]
fn a_sync_of_one_file_carries_earlier_creations_only_where_there_is_one_journal() {
    let before = |disk: &mut DiskModel| {
        disk.open("early", true, 0).unwrap();
        let file = disk.open("synced", true, 0).unwrap();
        disk.append(file, b"1", 0).unwrap();
        sync(disk, file);
    };
    let look = |disk: &mut DiskModel| (disk.exists("early"), content(disk, "synced").is_some());
    for journal in [FileSystem::Ext4Ordered, FileSystem::Xfs] {
        assert_eq!(outcomes(journal, before, look), [(true, true)].into());
    }
    // One directory is in order in the mixture, so the earlier name comes with the later one; strict promises neither.
    assert_eq!(outcomes(FileSystem::PerDirectory, before, look), [(true, true)].into());
    assert_eq!(outcomes(FileSystem::Strict, before, look).len(), 4);
}

#[test]
fn strict_keeps_a_synced_entry_but_not_the_unsynced_directory_that_it_is_in() {
    let before = |disk: &mut DiskModel| {
        disk.create_dir("d", 0).unwrap();
        let file = disk.open("d/f", true, 0).unwrap();
        disk.append(file, b"1", 0).unwrap();
        sync(disk, file);
        sync_dir(disk, "d");
    };
    let look = |disk: &mut DiskModel| content(disk, "d/f");
    assert_eq!(outcomes(FileSystem::Strict, before, look), [None, Some(b"1".to_vec())].into());
    for kept in [FileSystem::Ext4Ordered, FileSystem::Xfs, FileSystem::PerDirectory] {
        assert_eq!(outcomes(kept, before, look), [Some(b"1".to_vec())].into());
    }
}

#[test]
fn a_rename_over_an_old_file_brings_unsynced_content_with_it_only_on_ext4() {
    let before = |disk: &mut DiskModel| {
        durable(disk, "state", b"old");
        let file = disk.open("tmp", true, 0).unwrap();
        disk.append(file, b"new", 0).unwrap();
        disk.rename("tmp", "state", 0).unwrap();
    };
    let look = |disk: &mut DiskModel| content(disk, "state");
    let (old, new, empty) = (Some(b"old".to_vec()), Some(b"new".to_vec()), Some(vec![]));
    assert_eq!(outcomes(FileSystem::Ext4Ordered, before, look), [old.clone(), new.clone()].into());
    for harsh in [FileSystem::Xfs, FileSystem::PerDirectory, FileSystem::Strict] {
        let found = outcomes(harsh, before, look);
        assert!([&old, &new, &empty].iter().all(|state| found.contains(state)), "{harsh:?}: {found:?}");
    }
}

#[test]
fn a_file_that_grew_has_holes_on_xfs_and_none_on_ext4() {
    let before = |disk: &mut DiskModel| {
        let file = durable(disk, "log", &[1; 700]);
        disk.append(file, &[2; 5000], 0).unwrap();
    };
    let holes = |disk: &mut DiskModel| {
        let bytes = content(disk, "log").unwrap();
        assert_eq!(bytes[..700], [1; 700], "what was synced stays");
        bytes.contains(&0)
    };
    assert_eq!(outcomes(FileSystem::Ext4Ordered, before, holes), [false].into());
    assert_eq!(outcomes(FileSystem::Xfs, before, holes), [false, true].into());
    let lengths = outcomes(FileSystem::Ext4Ordered, before, |disk| content(disk, "log").unwrap().len());
    assert!(lengths.len() > 3 && lengths.contains(&700) && lengths.contains(&5700), "{lengths:?}");
}

#[test]
fn a_truncation_is_in_the_journal_and_strict_mixes_old_bytes_with_new_ones() {
    let before = |disk: &mut DiskModel| {
        let file = durable(disk, "log", &[1; 4000]);
        disk.truncate(file, 0, 0).unwrap();
        disk.append(file, &[2; 3000], 0).unwrap();
        disk.open("later", true, 0).unwrap();
    };
    let look = |disk: &mut DiskModel| {
        let (later, bytes) = (disk.exists("later"), content(disk, "log").unwrap());
        (later, bytes.contains(&1), bytes.contains(&2))
    };
    for journal in [FileSystem::Ext4Ordered, FileSystem::Xfs] {
        let found = outcomes(journal, before, look);
        assert!(found.contains(&(false, true, false)), "the truncation may be lost: {found:?}");
        assert!(!found.contains(&(true, true, false)), "not if what came after it is there");
        assert!(found.iter().all(|(_, old, new)| !(*old && *new)), "{found:?}");
    }
    assert!(outcomes(FileSystem::Strict, before, look).iter().any(|(_, old, new)| *old && *new));
}

#[test]
fn every_file_system_commits_names_in_its_own_time() {
    let left = |file_system, at| {
        let mut disk = disk(file_system);
        disk.open("f", true, 0).unwrap();
        disk.power_loss(at, &mut ChaCha8Rng::seed_from_u64(4));
        disk.power_loss(at, &mut ChaCha8Rng::seed_from_u64(5));
        disk.exists("f")
    };
    assert!(ALL.into_iter().all(|file_system| left(file_system, 30 * SECOND)));
    assert!(left(FileSystem::Ext4Ordered, 5 * SECOND));
    let lost_at_20 = |file_system| {
        (0..SEEDS).any(|seed| {
            let mut disk = disk(file_system);
            disk.open("f", true, 0).unwrap();
            disk.power_loss(20 * SECOND, &mut ChaCha8Rng::seed_from_u64(seed));
            !disk.exists("f")
        })
    };
    assert_eq!(ALL.map(lost_at_20), [false, true, false, true]);
}

#[test]
fn after_a_failed_sync_the_next_one_succeeds_and_the_bytes_are_gone_with_their_pages() {
    for file_system in ALL {
        let mut disk = disk(file_system);
        let file = durable(&mut disk, "log", &[1; 5000]);
        disk.append(file, &[2; 10_000], 0).unwrap();
        let mark = disk.sync_begin(file).unwrap();
        assert_eq!(disk.sync_fail(mark), [(5000, 10_000)]);
        assert_eq!(disk.dirty_bytes(), 0);
        assert!(content(&mut disk, "log").unwrap()[5000..].iter().all(|byte| *byte == 2), "the cache still shows them");
        disk.append(file, &[3; 100], 0).unwrap();
        sync(&mut disk, file);
        disk.power_loss(0, &mut ChaCha8Rng::seed_from_u64(1));
        let after = content(&mut disk, "log").unwrap();
        assert_eq!(after.len(), 15_100, "the later write took the length along");
        let page = 15_000 / 4096 * 4096;
        assert!(after[5000..page].iter().all(|byte| *byte == 0), "forgotten bytes are a hole");
        assert!(after[page..15_000].iter().all(|byte| *byte == 2), "but for those on the page that was written again");
        assert_eq!(after[15_000..], [3; 100]);
    }
}

#[test]
fn an_evicted_page_shows_what_the_platter_holds() {
    let mut disk = disk(FileSystem::Ext4Ordered);
    let file = durable(&mut disk, "log", &[1; 8192]);
    disk.write_at(file, 0, &[2; 8192], 0).unwrap();
    let mark = disk.sync_begin(file).unwrap();
    disk.sync_fail(mark);
    disk.write_at(file, 4096, &[3; 10], 0).unwrap();
    assert!(!disk.evict(file.inode, 0, 8192), "a dirty page stays");
    assert!(disk.evict(file.inode, 0, 4096));
    let bytes = content(&mut disk, "log").unwrap();
    assert_eq!((bytes[0], bytes[4096], bytes[4106]), (1, 3, 2));
}
