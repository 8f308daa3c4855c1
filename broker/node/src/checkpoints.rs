//! The checkpoints of a log directory: offsets by partition, written now and then and at a clean stop [L10] [L11].

use crate::dirs::Step;
use crate::node::{Cx, Node};
use crate::timers::Timer;
use klamm_base::DiskOp;
use klamm_log::format::{PartitionOffset, file, parse_offsets, render_offsets};
use std::collections::BTreeMap;

/// Offsets by topic and partition.
type Offsets = BTreeMap<(String, i32), i64>;
/// What there is to say of a partition; `None`: nothing.
pub(crate) type Known = ((String, i32), Option<i64>);

/// What the checkpoints of one directory say.
#[derive(Debug, Default)]
pub(crate) struct Checkpoints {
    by_name: BTreeMap<&'static str, Offsets>,
    /// What was read so far of a file.
    gathered: BTreeMap<&'static str, Vec<u8>>,
}

impl Checkpoints {
    /// The files.
    pub(crate) const NAMES: [&'static str; 4] =
        [file::RECOVERY_POINTS, file::LOG_STARTS, file::HIGH_WATERMARKS, file::CLEANER_OFFSETS];

    /// Takes the next piece of a file; how many bytes of it were read.
    pub(crate) fn gather(&mut self, name: &'static str, piece: &[u8]) -> u64 {
        let gathered = self.gathered.entry(name).or_default();
        gathered.extend_from_slice(piece);
        gathered.len() as u64
    }

    /// Takes what was gathered of a file. One that is damaged says nothing: recovery looks at everything then.
    pub(crate) fn load(&mut self, name: &'static str) {
        let data = self.gathered.remove(name).unwrap_or_default();
        let entries = parse_offsets(&String::from_utf8_lossy(&data)).unwrap_or_default();
        let offsets = entries.into_iter().map(|entry| ((entry.topic, entry.partition), entry.offset)).collect();
        self.by_name.insert(name, offsets);
    }

    /// What a file said of a partition.
    pub(crate) fn loaded(&self, name: &str, topic: &str, partition: i32) -> Option<i64> {
        self.by_name.get(name)?.get(&(topic.to_owned(), partition)).copied()
    }

    /// The new content of a file; `None` if it has that already. `known` are the partitions that were asked, with `None` for
    /// those that have nothing to say; of others what was said before stays.
    fn renew(&mut self, name: &'static str, known: Vec<Known>) -> Option<String> {
        let is_new = !self.by_name.contains_key(name);
        let offsets = self.by_name.entry(name).or_default();
        let before = offsets.clone();
        for (key, offset) in known {
            match offset {
                Some(offset) => offsets.insert(key, offset),
                None => offsets.remove(&key),
            };
        }
        (is_new || *offsets != before).then(|| {
            let entry = |((topic, partition), offset): (&(String, i32), &i64)| PartitionOffset {
                topic: topic.clone(),
                partition: *partition,
                offset: *offset,
            };
            render_offsets(&offsets.iter().map(entry).collect::<Vec<_>>())
        })
    }
}

impl Node {
    /// Sets the clocks of the checkpoints, of the retention and of the cleaning, after which its own checkpoint is written.
    pub(crate) fn start_housekeeping(&mut self, cx: &mut Cx) {
        for name in [file::RECOVERY_POINTS, file::LOG_STARTS, file::HIGH_WATERMARKS] {
            self.checkpoint_later(name, cx);
        }
        self.timers.set(cx.now.after_ms(self.config.housekeeping.initial_delay_ms), Timer::Retention);
        if self.config.cleaner.enable {
            self.timers.set(cx.now.after_ms(self.config.cleaner.backoff_ms), Timer::Clean);
        }
    }

    fn checkpoint_later(&mut self, name: &'static str, cx: &mut Cx) {
        let housekeeping = &self.config.housekeeping;
        let ms = match name {
            file::RECOVERY_POINTS => housekeeping.recovery_point_ms,
            file::LOG_STARTS => housekeeping.log_start_ms,
            _ => housekeeping.high_watermark_ms,
        };
        self.timers.set(cx.now.after_ms(ms), Timer::Checkpoint(name));
    }

    /// A checkpoint is due in every directory.
    pub(crate) fn checkpoint_due(&mut self, name: &'static str, cx: &mut Cx) {
        for dir in 0..self.dirs.all.len() {
            if self.dirs.all[dir].is_online() {
                self.write_checkpoint(dir, name, cx);
            }
        }
        self.checkpoint_later(name, cx);
    }

    /// A log was cut, or came out of its load: no checkpoint may say more than is there when the log grows again, as what grows is
    /// neither synced nor committed. Files that say no more of it stay as they are.
    pub(crate) fn checkpoint_cut(&mut self, slot: u32, cx: &mut Cx) {
        let place = self.partitions.slot(slot);
        let (dir, end) = (place.dir, place.replica.log_end_offset());
        let said = |name: &str| self.dirs.all[dir].checkpoints.loaded(name, place.topic(), place.tp.partition);
        let untrue = Checkpoints::NAMES.map(|name| said(name).is_some_and(|said| said > end).then_some(name));
        untrue.into_iter().flatten().for_each(|name| self.write_checkpoint(dir, name, cx));
    }

    /// Writes a checkpoint if it has news.
    pub(crate) fn write_checkpoint(&mut self, dir: usize, name: &'static str, cx: &mut Cx) {
        let known = self.partitions.offsets_in(dir, name);
        self.renew_checkpoint(dir, name, known, cx);
    }

    /// What checkpoints said of the log in this place was another log's.
    pub(crate) fn forget_checkpoints(&mut self, slot: u32, cx: &mut Cx) {
        let place = self.partitions.slot(slot);
        let (dir, key) = (place.dir, (place.topic().to_owned(), place.tp.partition));
        for name in Checkpoints::NAMES {
            if self.dirs.all[dir].checkpoints.loaded(name, &key.0, key.1).is_some() {
                self.renew_checkpoint(dir, name, vec![(key.clone(), None)], cx);
            }
        }
    }

    fn renew_checkpoint(&mut self, dir: usize, name: &'static str, known: Vec<Known>, cx: &mut Cx) {
        if let Some(text) = self.dirs.all[dir].checkpoints.renew(name, known) {
            self.replace_file(dir, name, text, Step::Part, cx);
            let path = self.dirs.all[dir].path.clone();
            self.dir_disk(dir, Step::Part, DiskOp::SyncDir { path }, cx);
        }
    }

    /// Every replica looks for what has gone out of date.
    pub(crate) fn retention_due(&mut self, cx: &mut Cx) {
        for slot in 0..self.partitions.len() as u32 {
            self.step_replica(slot, klamm_replica::Event::Expire, cx);
        }
        self.timers.set(cx.now.after_ms(self.config.housekeeping.retention_check_ms), Timer::Retention);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(partition: i32) -> (String, i32) {
        ("orders".to_owned(), partition)
    }

    #[test]
    fn a_checkpoint_is_written_when_it_has_news_and_keeps_what_nobody_was_asked_for() {
        let mut checkpoints = Checkpoints::default();
        checkpoints.gather(file::RECOVERY_POINTS, b"0\n2\norders 0 7\nor");
        checkpoints.gather(file::RECOVERY_POINTS, b"ders 1 9\n");
        checkpoints.load(file::RECOVERY_POINTS);
        assert_eq!(checkpoints.loaded(file::RECOVERY_POINTS, "orders", 1), Some(9));
        let mut renew = |known| checkpoints.renew(file::RECOVERY_POINTS, known);
        assert_eq!(renew(vec![(key(0), Some(7))]), None);
        assert_eq!(renew(vec![(key(0), Some(8))]).as_deref(), Some("0\n2\norders 0 8\norders 1 9\n"));
        assert_eq!(renew(vec![(key(1), None)]).as_deref(), Some("0\n1\norders 0 8\n"));
    }

    #[test]
    fn a_damaged_checkpoint_says_nothing() {
        let mut checkpoints = Checkpoints::default();
        checkpoints.gather(file::HIGH_WATERMARKS, b"0\n2\norders 0 7\n");
        checkpoints.load(file::HIGH_WATERMARKS);
        assert_eq!(checkpoints.loaded(file::HIGH_WATERMARKS, "orders", 0), None);
    }
}
