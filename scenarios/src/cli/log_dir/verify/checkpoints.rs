//! The files of a log directory itself: what they claim of its partitions.

use super::super::tree::{Dir, FileEntry, is_known};
use super::texts::line_positions;
use super::{Checks, Ends};
use crate::cli::Bad;
use klamm_log::format::{CleanShutdown, MetaProperties, PartitionOffset, file, parse_offsets};
use std::collections::BTreeSet;

impl Checks {
    /// Checks the files beside the partitions' directories.
    pub(super) fn own_files(&mut self, dir: &Dir, ends: &Ends) -> Result<(), Bad> {
        for entry in &dir.files {
            self.findings.files += 1;
            self.findings.bytes += entry.bytes;
            let told = dir.told(&entry.name);
            match entry.name.as_str() {
                file::RECOVERY_POINTS => self.claims(dir, entry, "recovery point", ends)?,
                file::HIGH_WATERMARKS => self.claims(dir, entry, "high watermark", ends)?,
                file::LOG_STARTS => self.claims(dir, entry, "log start", ends)?,
                file::CLEANER_OFFSETS => self.claims(dir, entry, "cleaner's offset", ends)?,
                file::META_PROPERTIES => drop(self.text(dir, entry, MetaProperties::parse)?),
                file::CLEAN_SHUTDOWN => drop(self.text(dir, entry, CleanShutdown::parse)?),
                file::BOOTSTRAP => self.metadata_snapshot(dir, entry)?,
                name if name.ends_with(file::TEMPORARY) => {
                    self.findings.note(&told, 0, "left half written; the next start deals with it".to_owned());
                }
                name if !is_known(name) => self.findings.note(&told, 0, "no file of Kafka's".to_owned()),
                _ => {}
            }
        }
        Ok(())
    }

    /// An offset for each partition, none of which may lie behind its log's end.
    fn claims(&mut self, dir: &Dir, entry: &FileEntry, what: &str, ends: &Ends) -> Result<(), Bad> {
        let Some((text, offsets)) = self.text(dir, entry, parse_offsets)? else { return Ok(()) };
        let told = dir.told(&entry.name);
        let mut seen = BTreeSet::new();
        for (at, claim) in line_positions(&text).skip(2).zip(offsets) {
            let PartitionOffset { topic, partition, offset } = claim;
            let which = format!("{what} {offset} of {topic}-{partition}");
            if !seen.insert((topic.clone(), partition)) {
                self.findings.damage(&told, at, format!("{which}: the partition stands there twice"));
            }
            if self.alone {
                continue;
            }
            match ends.get(&(topic, partition)) {
                None => self.findings.note(&told, at, format!("{which}, which is not in this directory")),
                Some(log) if offset <= log.end => {}
                Some(log) if log.sound_to < i64::MAX => {
                    let what = format!("{which}, but the log ends at {} (follows from its damage)", log.end);
                    self.findings.note(&told, at, what);
                }
                Some(log) => self.findings.damage(&told, at, format!("{which}, but the log ends at {}", log.end)),
            }
        }
        Ok(())
    }
}
