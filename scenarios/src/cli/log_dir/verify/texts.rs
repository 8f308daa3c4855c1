//! The small files of a partition's directory.

use super::super::tree::{Dir, FileEntry, read_whole};
use super::Checks;
use crate::cli::Bad;
use klamm_base::Uuid;
use klamm_log::format::{EpochStart, FormatError, PartitionMetadata, QuorumState, file, parse_epochs};
use std::collections::BTreeMap;

impl Checks {
    /// Reads a text with `parse`; what is wrong with it is a damage.
    pub(super) fn text<T>(
        &mut self,
        dir: &Dir,
        entry: &FileEntry,
        parse: impl FnOnce(&str) -> Result<T, FormatError>,
    ) -> Result<Option<(String, T)>, Bad> {
        let bytes = self.bytes(entry)?;
        let told = dir.told(&entry.name);
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let at = error.utf8_error().valid_up_to() as u64;
                self.findings.damage(&told, at, "text in UTF-8 was expected".to_owned());
                return Ok(None);
            }
        };
        match parse(&text) {
            Ok(read) => Ok(Some((text, read))),
            Err(error) => {
                self.wrong(&told, error);
                Ok(None)
            }
        }
    }

    /// The content of a file that is not a log.
    pub(super) fn bytes(&mut self, entry: &FileEntry) -> Result<Vec<u8>, Bad> {
        let bytes = read_whole(entry)?;
        self.watch.add(entry.bytes);
        Ok(bytes)
    }

    /// A file whose own content is wrong.
    pub(super) fn wrong(&mut self, told: &str, error: FormatError) {
        let text = error.to_string();
        let what = text.split_once(": ").map_or(text.as_str(), |(_, what)| what);
        self.findings.damage(told, error.at(), what.to_owned());
    }

    /// The epochs of a partition's checkpoint, each with the byte of its line.
    pub(super) fn epochs(&mut self, dir: &Dir) -> Result<Vec<(u64, EpochStart)>, Bad> {
        let Some(entry) = dir.get(file::LEADER_EPOCHS) else { return Ok(Vec::new()) };
        let Some((text, epochs)) = self.text(dir, entry, parse_epochs)? else { return Ok(Vec::new()) };
        Ok(line_positions(&text).skip(2).zip(epochs).collect())
    }

    /// The topic's id, and a voter's state, if they are there.
    pub(super) fn identity(&mut self, dir: &Dir) -> Result<Option<Uuid>, Bad> {
        if let Some(entry) = dir.get(file::QUORUM_STATE) {
            self.text(dir, entry, QuorumState::parse)?;
        }
        let Some(entry) = dir.get(file::PARTITION_METADATA) else { return Ok(None) };
        Ok(self.text(dir, entry, PartitionMetadata::parse)?.map(|(_, read)| read.topic_id))
    }

    /// All partitions of a topic are of the same topic.
    pub(super) fn one_topic_one_id(
        &mut self,
        dir: &Dir,
        topic: &str,
        id: Option<Uuid>,
        ids: &mut BTreeMap<String, Uuid>,
    ) {
        let Some(id) = id else { return };
        let first = *ids.entry(topic.to_owned()).or_insert(id);
        if first != id {
            let what = format!(
                "topic id {id}, but another partition of {topic} has {first}: one of them is of a deleted topic"
            );
            self.findings.damage(&dir.told(file::PARTITION_METADATA), 0, what);
        }
    }
}

/// Where the lines of a text begin.
pub(super) fn line_positions(text: &str) -> impl Iterator<Item = u64> {
    text.split_inclusive('\n').scan(0, |at, line| {
        let begin = *at;
        *at += line.len() as u64;
        Some(begin)
    })
}
