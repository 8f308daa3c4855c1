//! What the tests of the model share.

use super::{DiskModel, FileId};

pub(super) const SECOND: u64 = 1_000_000_000;

pub(super) fn sync(disk: &mut DiskModel, file: FileId) {
    let mark = disk.sync_begin(file).unwrap();
    disk.sync_finish(mark);
}

pub(super) fn sync_dir(disk: &mut DiskModel, path: &str) {
    let mark = disk.sync_dir_begin(path).unwrap();
    disk.sync_finish(mark);
}

/// The content of a named file, `None` if there is none.
pub(super) fn content(disk: &mut DiskModel, path: &str) -> Option<Vec<u8>> {
    let file = disk.open(path, false, 0).ok()?;
    let bytes = disk.read_at(file, 0, u32::MAX).unwrap().to_vec();
    disk.close(file);
    Some(bytes)
}
