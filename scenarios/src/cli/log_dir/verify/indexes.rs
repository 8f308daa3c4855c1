//! Offset and time index of a segment, against its batches.

use klamm_log::format::{IndexBuilder, OFFSET_ENTRY_BYTES, OffsetEntry, TIME_ENTRY_BYTES, TimeEntry};
use klamm_wire::records::BatchHeader;

/// Something at a byte of an index; `offset` is where in the log it belongs.
pub struct Wrong {
    pub position: u64,
    pub offset: i64,
    pub what: String,
}

/// Walks an offset index beside the batches.
///
/// Which batches have an entry depends on `index.interval.bytes`, on restarts, and before Kafka 4.1 on how batches were written
/// together, none of which a directory tells. So each entry is held against the batch that it names: one that a rebuild would not
/// have there, whatever the interval, is damage.
pub struct OffsetCheck {
    entries: Vec<OffsetEntry>,
    next: usize,
    /// An entry whose write began with an earlier batch than the one that ends with its offset (before Kafka 4.1).
    open: Option<usize>,
    wrong: Vec<Wrong>,
}

impl OffsetCheck {
    pub fn new(entries: Vec<OffsetEntry>) -> Self {
        Self { entries, next: 0, open: None, wrong: Vec::new() }
    }

    fn say(&mut self, at: usize, what: String) {
        let offset = self.entries[at].offset;
        self.wrong.push(Wrong { position: (at * OFFSET_ENTRY_BYTES) as u64, offset, what });
    }

    /// The next batch.
    pub fn batch(&mut self, header: &BatchHeader, position: u64) {
        let (last, end) = (header.last_offset(), position + header.size() as u64);
        while let Some(entry) = self.entries.get(self.next).copied().filter(|entry| u64::from(entry.position) < end) {
            if let Some(open) = self.open.take() {
                self.say(
                    open,
                    format!("offset {}, but no batch before the next entry ends there", self.entries[open].offset),
                );
            }
            if u64::from(entry.position) == position {
                self.open = Some(self.next);
            } else {
                let at = entry.position;
                self.say(
                    self.next,
                    format!("position {at} lies inside of the batch at {position} (offset {})", header.base_offset),
                );
            }
            self.next += 1;
        }
        let Some(open) = self.open else { return };
        let entry = self.entries[open];
        if entry.offset <= last {
            self.open = None;
        }
        if entry.offset < last {
            let at = entry.position;
            self.say(
                open,
                format!("offset {} at position {at}, but a batch there ends with offset {last}", entry.offset),
            );
        }
    }

    /// The log ends after `bytes`: all that was wrong.
    pub fn end(mut self, bytes: u64) -> Vec<Wrong> {
        if let Some(open) = self.open.take() {
            self.say(open, format!("offset {}, but the log ends before it", self.entries[open].offset));
        }
        for at in self.next..self.entries.len() {
            let position = self.entries[at].position;
            self.say(at, format!("position {position}, but the log's batches end at {bytes}"));
        }
        self.wrong
    }
}

/// Walks a time index beside the batches: each entry names the greatest timestamp up to its offset, and the first batch with it.
pub struct TimeCheck {
    entries: Vec<TimeEntry>,
    next: usize,
    /// Knows the greatest timestamp so far; when it would have written an entry does not matter.
    builder: IndexBuilder,
    wrong: Vec<Wrong>,
}

impl TimeCheck {
    pub fn new(entries: Vec<TimeEntry>) -> Self {
        Self { entries, next: 0, builder: IndexBuilder::new(u32::MAX), wrong: Vec::new() }
    }

    fn say(&mut self, at: usize, offset: i64, what: String) {
        self.wrong.push(Wrong { position: (at * TIME_ENTRY_BYTES) as u64, offset, what });
    }

    /// The next batch.
    pub fn batch(&mut self, header: &BatchHeader) {
        let last = header.last_offset();
        self.builder.push(header, 0);
        let newest = self.builder.newest();
        while let Some(entry) = self.entries.get(self.next).copied().filter(|entry| entry.offset <= last) {
            if Some(entry) != newest {
                let expected = newest.map_or("no batch with a timestamp".to_owned(), told);
                self.say(self.next, entry.offset, format!("{}, but up to there the log has {expected}", told(entry)));
            }
            self.next += 1;
        }
    }

    /// The segment ends: all that was wrong. `closed` if its index must name its greatest timestamp.
    pub fn end(mut self, end_offset: i64, closed: bool) -> Vec<Wrong> {
        for at in self.next..self.entries.len() {
            let entry = self.entries[at];
            self.say(at, entry.offset, format!("{}, but the segment ends at offset {end_offset}", told(entry)));
        }
        let last = self.entries.last().map(|entry| entry.timestamp);
        if let Some(newest) = self.builder.newest().filter(|newest| closed && last < Some(newest.timestamp)) {
            let what = format!("it must end with {}, the segment's greatest", told(newest));
            self.say(self.entries.len(), newest.offset, what);
        }
        self.wrong
    }
}

fn told(entry: TimeEntry) -> String {
    format!("timestamp {} at offset {}", entry.timestamp, entry.offset)
}
