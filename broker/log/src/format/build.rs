//! When a segment's offset and time index get an entry.

use super::{OffsetEntry, TimeEntry};
use klamm_wire::records::BatchHeader;

/// What a write put at the end of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Where it begins in the `.log`, in bytes.
    pub position: u32,
    /// Its length in bytes.
    pub bytes: u64,
    /// Offset of its last record.
    pub last_offset: i64,
    /// Its greatest timestamp, in milliseconds since 1970; -1 without one.
    pub max_timestamp: i64,
    /// Offset of the last record of the batch that has it (the first of such batches).
    pub offset_of_max: i64,
}

impl Appended {
    /// One batch at `position`.
    pub fn batch(header: &BatchHeader, position: u32) -> Appended {
        Appended {
            position,
            bytes: header.size() as u64,
            last_offset: header.last_offset(),
            max_timestamp: header.max_timestamp,
            offset_of_max: header.last_offset(),
        }
    }

    /// This one and the one behind it, as one write.
    pub fn and(self, next: Appended) -> Appended {
        let newer = next.max_timestamp > self.max_timestamp;
        let (max_timestamp, offset_of_max) =
            if newer { (next.max_timestamp, next.offset_of_max) } else { (self.max_timestamp, self.offset_of_max) };
        Appended { bytes: self.bytes + next.bytes, last_offset: next.last_offset, max_timestamp, offset_of_max, ..self }
    }
}

/// The entries that a write brings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IndexEntries {
    /// For the `.index`.
    pub offset: Option<OffsetEntry>,
    /// For the `.timeindex`.
    pub time: Option<TimeEntry>,
}

/// Decides which batches of a segment get an entry in its `.index` and `.timeindex`, exactly as Kafka does.
///
/// * Before a batch is counted: if *more than* `index.interval.bytes` were written since the batch of the last entry began (since
///   the segment began, where there is none), the batch gets an entry: its last offset, and the position where it begins. The
///   count starts anew with this batch's own bytes. So the first batch of a segment never has an entry.
/// * With it the time index gets the greatest timestamp so far, this batch included, and the last offset of the first batch that
///   has it, but only if that is newer than what the time index ends with. A batch without a timestamp (-1) changes nothing.
/// * When the segment is closed (rolled, or a clean stop), the greatest timestamp so far is added once more under the same
///   condition ([`IndexBuilder::close`]), with no entry in the offset index. A segment with a timestamp thus has at least one.
/// * A restart loads both indexes and goes on with a count of zero ([`IndexBuilder::resume`]): where brokers were restarted
///   between two batches is seen in the index. A recovery builds both anew from the first batch and closes them; the count is zero
///   after it. The metadata log is recovered at every start.
///
/// What is decided about is a batch since Kafka 4.1 (KAFKA-806). Before, it was a whole write: what one produce request had for the
/// partition (always one batch), one fetch response, one buffer of the cleaner. [`IndexBuilder::push_write`] does that, for
/// comparison with files of an older broker; who wants to write files has [`IndexBuilder::push`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexBuilder {
    interval: u32,
    since: u64,
    newest: Option<TimeEntry>,
    indexed: Option<TimeEntry>,
}

impl IndexBuilder {
    /// For an empty segment; `interval` is `index.interval.bytes`.
    pub fn new(interval: u32) -> Self {
        Self { interval, since: 0, newest: None, indexed: None }
    }

    /// For a segment that was loaded with its indexes: `indexed` is the last entry of its time index, `newest` the greatest
    /// timestamp of all its batches with the last offset of the first batch that has it.
    pub fn resume(interval: u32, indexed: Option<TimeEntry>, newest: Option<TimeEntry>) -> Self {
        Self { interval, since: 0, newest, indexed }
    }

    /// The batch `header` was put at `position`. Batches come in the order of the log.
    pub fn push(&mut self, header: &BatchHeader, position: u32) -> IndexEntries {
        self.push_write(Appended::batch(header, position))
    }

    /// One write was put at the end, as brokers before Kafka 4.1 count.
    pub fn push_write(&mut self, write: Appended) -> IndexEntries {
        if write.max_timestamp > self.newest.map_or(-1, |newest| newest.timestamp) {
            self.newest = Some(TimeEntry { timestamp: write.max_timestamp, offset: write.offset_of_max });
        }
        let due = self.since > u64::from(self.interval);
        if !due {
            self.since += write.bytes;
            return IndexEntries::default();
        }
        self.since = write.bytes;
        let offset = OffsetEntry { offset: write.last_offset, position: write.position };
        IndexEntries { offset: Some(offset), time: self.newest_if_due() }
    }

    /// The segment is closed or rolled: the time index's last entry, if one is missing.
    pub fn close(&mut self) -> Option<TimeEntry> {
        self.newest_if_due()
    }

    /// The greatest timestamp so far, with the last offset of the batch that brought it.
    pub fn newest(&self) -> Option<TimeEntry> {
        self.newest
    }

    fn newest_if_due(&mut self) -> Option<TimeEntry> {
        let indexed = self.indexed.map_or(-1, |indexed| indexed.timestamp);
        let due = self.newest.filter(|newest| newest.timestamp > indexed)?;
        self.indexed = Some(due);
        Some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(position: u32, bytes: u64, last_offset: i64, max_timestamp: i64) -> Appended {
        Appended { position, bytes, last_offset, max_timestamp, offset_of_max: last_offset }
    }

    fn at(offset: i64, position: u32) -> Option<OffsetEntry> {
        Some(OffsetEntry { offset, position })
    }

    #[test]
    fn an_entry_comes_with_the_first_batch_after_more_than_the_interval() {
        let mut builder = IndexBuilder::new(200);
        assert_eq!(builder.push_write(write(0, 100, 0, 10)), IndexEntries::default());
        assert_eq!(builder.push_write(write(100, 100, 1, 30)), IndexEntries::default());
        assert_eq!(builder.push_write(write(200, 300, 2, 20)), IndexEntries::default(), "200 is not more than 200");
        let third = builder.push_write(write(500, 10, 3, 25));
        let time = Some(TimeEntry { timestamp: 30, offset: 1 });
        assert_eq!(third, IndexEntries { offset: at(3, 500), time });
        assert_eq!(builder.push_write(write(510, 500, 4, 30)), IndexEntries::default(), "10 bytes since the last");
        let fifth = builder.push_write(write(1010, 10, 5, 30));
        assert_eq!(fifth, IndexEntries { offset: at(5, 1010), time: None }, "nothing newer than 30");
        assert_eq!(builder.close(), None);
    }

    #[test]
    fn a_closed_segment_names_its_greatest_timestamp_once() {
        let mut builder = IndexBuilder::new(200);
        builder.push_write(write(0, 100, 0, 10));
        assert_eq!(builder.close(), Some(TimeEntry { timestamp: 10, offset: 0 }));
        assert_eq!(builder.close(), None);
        let mut without = IndexBuilder::new(200);
        without.push_write(write(0, 100, 0, -1));
        assert_eq!(without.close(), None, "no timestamp, no entry");
    }

    #[test]
    fn a_restart_counts_from_zero_and_knows_what_is_indexed() {
        let newest = Some(TimeEntry { timestamp: 10, offset: 0 });
        let mut builder = IndexBuilder::resume(200, newest, newest);
        assert_eq!(builder.push_write(write(900, 300, 1, 10)), IndexEntries::default());
        assert_eq!(builder.push_write(write(1200, 10, 2, 10)), IndexEntries { offset: at(2, 1200), time: None });
    }

    #[test]
    fn a_write_of_two_batches_names_the_first_with_the_greatest_timestamp() {
        let both = write(0, 100, 4, 10).and(write(100, 50, 9, 10));
        assert_eq!(both, Appended { position: 0, bytes: 150, last_offset: 9, max_timestamp: 10, offset_of_max: 4 });
        assert_eq!(write(0, 100, 4, 10).and(write(100, 50, 9, 11)).offset_of_max, 9);
    }
}
