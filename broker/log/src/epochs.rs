//! Which leader epoch wrote which offsets: the leader-epoch cache (KIP-101, KIP-279).

use crate::format::EpochStart;
use std::fmt::Write;

/// An epoch and the offset of its first record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    epoch: i32,
    start: i64,
}

/// Epochs and their first offsets, strictly growing in both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Epochs {
    entries: Vec<Entry>,
}

impl Epochs {
    pub(crate) fn latest(&self) -> Option<i32> {
        self.entries.last().map(|entry| entry.epoch)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn start_of(&self, epoch: i32) -> Option<i64> {
        self.entries.iter().find(|entry| entry.epoch == epoch).map(|entry| entry.start)
    }

    /// The epoch that `offset` was written in, as far as it is known.
    pub(crate) fn at(&self, offset: i64) -> Option<i32> {
        self.entries.iter().rev().find(|entry| entry.start <= offset).map(|entry| entry.epoch)
    }

    /// `epoch` begins at `start`. True if that is news. What contradicts it goes: a newer epoch, or one that would begin
    /// at or behind `start` and so has no record.
    pub(crate) fn assign(&mut self, epoch: i32, start: i64) -> bool {
        assert!(start >= 0, "epoch {epoch} begins at {start}");
        if self.entries.last().is_some_and(|last| last.epoch == epoch && last.start <= start) {
            return false;
        }
        self.entries.retain(|entry| entry.epoch < epoch && entry.start < start);
        self.entries.push(Entry { epoch, start });
        self.assert_growing();
        true
    }

    /// Where `epoch` ends in a log that ends at `log_end`: the largest known epoch that is not above it, and the end of that
    /// one [L14]. `None` if nothing is known of it: the cache is empty, or every epoch in it is older.
    pub(crate) fn end_offset_for(&self, epoch: i32, log_end: i64) -> Option<(i32, i64)> {
        let (first, last) = (self.entries.first()?, self.entries.last()?);
        if epoch == last.epoch {
            return Some((epoch, log_end));
        }
        if epoch > last.epoch {
            return None;
        }
        if epoch < first.epoch {
            return Some((epoch, first.start));
        }
        let above = self.entries.partition_point(|entry| entry.epoch <= epoch);
        assert!(above > 0 && above < self.entries.len(), "epoch {epoch} lies between {first:?} and {last:?}");
        Some((self.entries[above - 1].epoch, self.entries[above].start))
    }

    /// The log begins at `start` now: the epoch that wrote there begins there, older ones have no record. True if any changed.
    pub(crate) fn raise_start(&mut self, start: i64) -> bool {
        let below = self.entries.partition_point(|entry| entry.start <= start);
        let Some(oldest) = below.checked_sub(1) else { return false };
        let changed = oldest > 0 || self.entries[oldest].start < start;
        self.entries.drain(..oldest);
        self.entries[0].start = self.entries[0].start.max(start);
        self.assert_growing();
        changed
    }

    /// Adds what else is known of epochs: none of it contradicts a record.
    pub(crate) fn recall(&mut self, known: impl Iterator<Item = EpochStart>) {
        let mut all: Vec<Entry> = std::mem::take(&mut self.entries);
        all.extend(known.map(|known| Entry { epoch: known.epoch, start: known.start }));
        all.sort_unstable_by_key(|entry| (entry.start, entry.epoch));
        for Entry { epoch, start } in all {
            self.assign(epoch, start);
        }
    }

    /// Nothing is known. True if anything was.
    pub(crate) fn clear(&mut self) -> bool {
        !std::mem::take(&mut self.entries).is_empty()
    }

    /// The log was cut to `end`: epochs that begin there or later have no record. True if any went.
    pub(crate) fn cut(&mut self, end: i64) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.start < end);
        self.entries.len() != before
    }

    /// The checkpoint file: version, count, then a line for each epoch.
    pub(crate) fn render(&self) -> String {
        let mut text = format!("0\n{}\n", self.entries.len());
        for Entry { epoch, start } in &self.entries {
            writeln!(text, "{epoch} {start}").expect("a string takes all");
        }
        text
    }

    fn assert_growing(&self) {
        let grows = self.entries.is_sorted_by(|a, b| a.epoch < b.epoch && a.start < b.start);
        assert!(grows, "epochs do not grow: {:?}", self.entries);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(entries: &[(i32, i64)]) -> Epochs {
        let mut epochs = Epochs::default();
        for (epoch, start) in entries {
            assert!(epochs.assign(*epoch, *start));
        }
        epochs
    }

    #[test]
    fn an_epoch_ends_where_the_next_one_begins() {
        let epochs = cache(&[(1, 0), (3, 10), (6, 30)]);
        assert_eq!(epochs.end_offset_for(1, 50), Some((1, 10)));
        assert_eq!(epochs.end_offset_for(2, 50), Some((1, 10)), "unknown: the largest below it");
        assert_eq!(epochs.end_offset_for(3, 50), Some((3, 30)));
        assert_eq!(epochs.end_offset_for(6, 50), Some((6, 50)), "the latest ends with the log");
        assert_eq!(epochs.end_offset_for(7, 50), None);
        assert_eq!(epochs.end_offset_for(0, 50), Some((0, 0)), "below the first: ends where that begins");
        assert_eq!(Epochs::default().end_offset_for(0, 50), None);
    }

    #[test]
    fn an_epoch_without_records_makes_room_for_the_next() {
        let mut epochs = cache(&[(1, 0), (2, 10)]);
        assert!(epochs.assign(3, 10));
        assert_eq!(epochs, cache(&[(1, 0), (3, 10)]));
        assert!(!epochs.assign(3, 12), "its later records are no news");
    }

    #[test]
    fn a_cut_takes_the_epochs_behind_it() {
        let mut epochs = cache(&[(1, 0), (2, 10), (4, 20)]);
        assert!(epochs.cut(20));
        assert_eq!(epochs.latest(), Some(2));
        assert!(!epochs.cut(11));
    }

    #[test]
    fn a_raised_start_takes_the_epochs_before_it_and_moves_the_one_it_falls_into() {
        let mut epochs = cache(&[(1, 0), (2, 10), (4, 20)]);
        assert!(epochs.raise_start(15));
        assert_eq!(epochs, cache(&[(2, 15), (4, 20)]));
        assert!(!epochs.raise_start(15));
        assert!(epochs.raise_start(20));
        assert_eq!(epochs, cache(&[(4, 20)]));
        assert!(!Epochs::default().raise_start(3));
    }

    #[test]
    fn the_checkpoint_names_version_count_and_epochs() {
        assert_eq!(cache(&[(1, 0), (4, 20)]).render(), "0\n2\n1 0\n4 20\n");
    }
}
