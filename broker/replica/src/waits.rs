//! Produces that wait for their records to be in the log, or to be committed.

use std::collections::{BTreeMap, BTreeSet};

/// One produce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wait {
    pub(crate) ticket: u64,
    pub(crate) base_offset: i64,
    pub(crate) last_offset: i64,
    pub(crate) acks: i16,
    /// The batch was in the log before.
    pub(crate) duplicate: bool,
    /// What the answer says of the append time, in milliseconds; -1 nothing.
    pub(crate) append_time: i64,
    /// Monotonic nanoseconds; counts for acks=all only, as in Kafka.
    pub(crate) deadline_ns: u64,
}

impl Wait {
    fn key(&self) -> (i64, u64) {
        (self.last_offset, self.ticket)
    }

    fn for_commit(&self) -> bool {
        self.acks == -1
    }
}

/// Produces by what they wait for, each group by last offset.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    for_write: BTreeMap<(i64, u64), Wait>,
    for_commit: BTreeMap<(i64, u64), Wait>,
    /// Deadline and key of those in `for_commit`.
    deadlines: BTreeSet<(u64, (i64, u64))>,
}

impl Waits {
    pub(crate) fn add(&mut self, wait: Wait) {
        let group = if wait.for_commit() { &mut self.for_commit } else { &mut self.for_write };
        let before = group.insert(wait.key(), wait);
        assert!(before.is_none(), "produce {} waits twice", wait.ticket);
        if wait.for_commit() {
            self.deadlines.insert((wait.deadline_ns, wait.key()));
        }
    }

    /// Takes out the next produce whose records are written (below `log_end`) or, with acks=all, committed.
    pub(crate) fn pop_ready(&mut self, log_end: i64, high_watermark: i64) -> Option<Wait> {
        if let Some(entry) = self.for_write.first_entry().filter(|entry| entry.get().last_offset < log_end) {
            return Some(entry.remove());
        }
        let wait = *self.for_commit.first_key_value().filter(|(key, _)| key.0 < high_watermark)?.1;
        self.remove(wait);
        Some(wait)
    }

    /// Takes out the next produce whose deadline has come.
    pub(crate) fn pop_expired(&mut self, now_ns: u64) -> Option<Wait> {
        let (_, key) = *self.deadlines.first().filter(|(deadline, _)| *deadline <= now_ns)?;
        let wait = self.for_commit[&key];
        self.remove(wait);
        Some(wait)
    }

    /// Takes out all.
    pub(crate) fn take_all(&mut self) -> Vec<Wait> {
        self.deadlines.clear();
        let (written, committed) = (std::mem::take(&mut self.for_write), std::mem::take(&mut self.for_commit));
        written.into_values().chain(committed.into_values()).collect()
    }

    pub(crate) fn deadline(&self) -> Option<u64> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.for_write.is_empty() && self.for_commit.is_empty()
    }

    /// None waits for what has come.
    pub(crate) fn assert_none_ready(&self, log_end: i64, high_watermark: i64) {
        let written = self.for_write.first_key_value().is_some_and(|(key, _)| key.0 < log_end);
        let committed = self.for_commit.first_key_value().is_some_and(|(key, _)| key.0 < high_watermark);
        assert!(!written && !committed, "a produce was forgotten: {self:?} at {log_end}, {high_watermark}");
    }

    fn remove(&mut self, wait: Wait) {
        let known = self.for_commit.remove(&wait.key()).is_some();
        let timed = self.deadlines.remove(&(wait.deadline_ns, wait.key()));
        assert!(known && timed, "produce {} waited nowhere", wait.ticket);
    }
}
