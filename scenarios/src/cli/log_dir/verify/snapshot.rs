//! Snapshots of the metadata log: batches between a header and a footer (KIP-630).

use super::super::batches::{Batches, Found, Piece};
use super::super::tree::{Dir, FileEntry};
use super::Checks;
use crate::cli::Bad;
use klamm_log::format::SnapshotName;
use klamm_wire::records::{ControlType, records};

impl Checks {
    /// Checks a `.checkpoint`.
    pub(super) fn metadata_snapshot(&mut self, dir: &Dir, entry: &FileEntry) -> Result<(), Bad> {
        let told = dir.told(&entry.name);
        if SnapshotName::parse(&entry.name).is_some_and(|name| name.partial || name.deleted) {
            self.findings.note(&told, 0, "left on its way in or out; the next start deals with it".to_owned());
            return Ok(());
        }
        let (mut batches, mut next, mut end) = (Batches::open(entry)?, 0, 0);
        let mut last = None;
        while let Some(piece) = batches.next()? {
            match piece {
                Piece::Torn { position, why, bytes } => {
                    self.watch.add(bytes);
                    self.findings.damage(&told, position, why);
                    return Ok(());
                }
                Piece::Batch(found) => {
                    self.watch.add(found.header.size() as u64);
                    self.of_snapshot(&told, &found, next);
                    next = found.header.next_offset();
                    end = found.position + found.header.size() as u64;
                    last = Some(found);
                }
            }
        }
        if last.and_then(|found| control(&found)) != Some(ControlType::SnapshotFooter) {
            self.findings.damage(
                &told,
                end,
                "the snapshot's footer was expected: it was not written to its end".to_owned(),
            );
        }
        Ok(())
    }

    fn of_snapshot(&mut self, told: &str, found: &Found, next: i64) {
        self.findings.batches += 1;
        let header = &found.header;
        if !found.is_valid() {
            let (stands, computed) = (header.crc, found.computed_crc);
            let what = format!("checksum {stands:#010x} stands there, the batch's content gives {computed:#010x}");
            return self.findings.damage(told, found.position, what);
        }
        if header.base_offset != next {
            let what = format!("offset {}, but {next} was expected", header.base_offset);
            self.findings.damage(told, found.position, what);
        }
        if next == 0 && control(found) != Some(ControlType::SnapshotHeader) {
            self.findings.damage(told, found.position, "the snapshot's header was expected".to_owned());
        }
        let Some(batch) = &found.batch else { return };
        for record in records(batch) {
            match record {
                Ok(_) => self.findings.records += 1,
                Err(error) => {
                    return self.findings.damage(told, found.position, format!("its records cannot be read: {error}"));
                }
            }
        }
    }
}

/// What a control batch is for.
fn control(found: &Found) -> Option<ControlType> {
    let batch = found.batch.as_ref().filter(|batch| batch.header.is_control())?;
    records(batch).next()?.ok().and_then(|record| ControlType::of(&record).ok().flatten())
}
