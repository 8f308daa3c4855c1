//! The order of each partition, as everybody together saw it: which value stands at which offset.

use super::named;
use super::operations::{Ended, FOREIGN, NO_OFFSET, Operations, Record};
use std::collections::BTreeMap;

/// No operation, or no value.
pub(super) const NONE: u32 = u32::MAX - 1;

/// What is known of one value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value {
    /// The lowest and the highest offset at which it was seen; `NO_OFFSET`: none.
    pub first: i64,
    pub last: i64,
    /// The operation that sent it, or `NONE`.
    pub writer: u32,
    pub key: u32,
    /// How that operation ended.
    pub wrote: Option<Ended>,
    /// Some operation that surely happened polled it.
    pub read: bool,
    /// Surely written, and jumped over by everybody.
    pub lost: bool,
}

const UNHEARD: Value =
    Value { first: NO_OFFSET, last: NO_OFFSET, writer: NONE, key: 0, wrote: None, read: false, lost: false };

/// A value that was seen at an offset where another one had been seen before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Conflict {
    pub key: u32,
    pub offset: i64,
    pub value: u32,
    pub op: u32,
}

/// Offsets of one key that somebody saw, and where they are kept.
#[derive(Clone, Debug, Default)]
struct Log {
    /// Lowest and highest offset.
    low: i64,
    high: i64,
    seen: u64,
    /// Its first slot.
    from: usize,
    /// If they lie too far apart: every offset, ascending. Else there is a slot for each from `low` to `high`.
    sparse: Option<Vec<i64>>,
    /// The highest offset at which a value that was surely read begins, and that value.
    bound: (i64, u32),
}

/// All partitions, and every value's place.
#[derive(Debug)]
pub(super) struct Order {
    logs: Vec<Log>,
    /// Value at each slot, or `NONE`.
    slots: Vec<u32>,
    /// How many slots of the same key before this one hold a value. Holes are markers and what was aborted.
    ranks: Vec<u32>,
    pub values: Vec<Value>,
    /// Of each operation: it surely happened.
    pub committed: Vec<bool>,
    pub conflicts: Vec<Conflict>,
    /// Polls of a value whose send failed, or that the same operation sent.
    pub suspects: Vec<(u32, Record)>,
    /// Operations that both sent and polled.
    pub mixed: Vec<u32>,
    /// Values seen at a slot where one had been seen before.
    pub seen_again: u64,
}

impl Order {
    pub fn of(operations: &Operations) -> Order {
        let mut order = Order {
            logs: vec![Log { bound: (NO_OFFSET, NONE), ..Log::default() }; operations.keys.len()],
            slots: Vec::new(),
            ranks: Vec::new(),
            values: vec![UNHEARD; operations.values_len()],
            committed: Vec::with_capacity(operations.len()),
            conflicts: Vec::new(),
            suspects: Vec::new(),
            mixed: Vec::new(),
            seen_again: 0,
        };
        order.meet_values(operations);
        order.commit(operations);
        order.lay_out(operations);
        order.place(operations);
        order.rank();
        order.bound();
        order.lose();
        order
    }

    /// Who sent and who polled each value, and between which offsets each key lies.
    fn meet_values(&mut self, operations: &Operations) {
        for (at, op, records) in operations.iter() {
            for record in records {
                let log = &mut self.logs[record.key() as usize];
                if record.offset >= 0 {
                    log.low = if log.seen == 0 { record.offset } else { log.low.min(record.offset) };
                    log.high = log.high.max(record.offset);
                    log.seen += 1;
                }
                if record.value == FOREIGN {
                    continue;
                }
                let value = &mut self.values[record.value as usize];
                value.key = record.key();
                if !record.is_sent() {
                    value.read |= op.ended == Ended::Ok;
                } else if value.writer == NONE || op.ended == Ended::Ok {
                    (value.writer, value.wrote) = (at, Some(op.ended));
                }
            }
        }
    }

    /// Nobody knows how an `info` ended, unless something of it was read: then all of it happened.
    fn commit(&mut self, operations: &Operations) {
        for (_, op, records) in operations.iter() {
            let seen = |record: &Record| {
                record.is_sent() && record.value != FOREIGN && self.values[record.value as usize].read
            };
            self.committed.push(match op.ended {
                Ended::Ok => true,
                Ended::Fail => false,
                Ended::Info => records.iter().any(seen),
            });
        }
    }

    fn lay_out(&mut self, operations: &Operations) {
        let mut scattered = BTreeMap::new();
        for (key, log) in self.logs.iter_mut().enumerate() {
            if log.seen > 0 && (log.high - log.low) as u64 > log.seen * 4 + 1024 {
                scattered.insert(key as u32, Vec::new());
            }
        }
        if !scattered.is_empty() {
            for record in operations.iter().flat_map(|(_, _, records)| records).filter(|record| record.offset >= 0) {
                if let Some(offsets) = scattered.get_mut(&record.key()) {
                    offsets.push(record.offset);
                }
            }
        }
        let mut from = 0;
        for (key, log) in self.logs.iter_mut().enumerate() {
            log.from = from;
            log.sparse = scattered.remove(&(key as u32)).map(|mut offsets: Vec<i64>| {
                offsets.sort_unstable();
                offsets.dedup();
                offsets
            });
            from += log.slots();
        }
        self.slots = vec![NONE; from];
    }

    /// Puts every value that must be there where it was seen. What a consumer polled counts whatever became of the operation: it
    /// should never have been shown anything unsafe.
    fn place(&mut self, operations: &Operations) {
        for (at, op, records) in operations.iter() {
            let committed = self.committed[at as usize];
            let (mut sends, mut polls) = (false, false);
            for record in records {
                if record.is_sent() {
                    sends = true;
                } else {
                    polls = true;
                    self.suspect(at, op.ended, *record);
                }
                if record.offset >= 0 && (committed || !record.is_sent()) {
                    self.see(at, *record);
                }
            }
            if sends && polls {
                self.mixed.push(at);
            }
        }
        self.conflicts.sort_unstable();
        self.conflicts.dedup_by_key(|conflict| (conflict.key, conflict.offset, conflict.value));
    }

    fn suspect(&mut self, at: u32, ended: Ended, record: Record) {
        if record.value == FOREIGN {
            return;
        }
        let value = &self.values[record.value as usize];
        if value.writer == at || (value.wrote == Some(Ended::Fail) && ended == Ended::Ok) {
            self.suspects.push((at, record));
        }
    }

    fn see(&mut self, op: u32, record: Record) {
        if record.value != FOREIGN {
            let value = &mut self.values[record.value as usize];
            value.first = if value.first == NO_OFFSET { record.offset } else { value.first.min(record.offset) };
            value.last = value.last.max(record.offset);
        }
        let (key, offset, value) = (record.key(), record.offset, record.value);
        let slot = self.slot(key, offset).expect("every offset was laid out");
        let stands = self.slots[slot];
        if stands == NONE {
            self.slots[slot] = value;
            return;
        }
        self.seen_again += 1;
        if stands != value {
            self.conflicts.push(Conflict { key, offset, value, op });
        }
    }

    fn rank(&mut self) {
        self.ranks = Vec::with_capacity(self.slots.len());
        for log in &self.logs {
            let mut rank = 0;
            for slot in &self.slots[log.from..log.from + log.slots()] {
                self.ranks.push(rank);
                rank += u32::from(*slot != NONE);
            }
        }
    }

    fn bound(&mut self) {
        for (number, value) in self.values.iter().enumerate().filter(|(_, value)| value.read) {
            let log = &mut self.logs[value.key as usize];
            if value.first > log.bound.0 {
                log.bound = (value.first, number as u32);
            }
        }
    }

    fn lose(&mut self) {
        for number in 0..self.values.len() {
            let value = self.values[number];
            self.values[number].lost = self.must_be_read(&value) && !value.read;
        }
    }

    /// True if it was surely written and somebody read past it: then it must have been read.
    pub fn must_be_read(&self, value: &Value) -> bool {
        let written = value.writer != NONE && self.committed[value.writer as usize];
        written && value.last >= 0 && value.last <= self.logs[value.key as usize].bound.0
    }

    /// The value that was read farthest in a key.
    pub fn farthest_read(&self, key: u32) -> u32 {
        self.logs[key as usize].bound.1
    }

    /// Where an offset is kept.
    fn slot(&self, key: u32, offset: i64) -> Option<usize> {
        let log = &self.logs[key as usize];
        match &log.sparse {
            Some(offsets) => offsets.binary_search(&offset).ok().map(|at| log.from + at),
            None => {
                (log.seen > 0 && (log.low..=log.high).contains(&offset)).then(|| log.from + (offset - log.low) as usize)
            }
        }
    }

    /// The value at an offset, if it is known to hold one.
    pub fn at(&self, key: u32, offset: i64) -> Option<u32> {
        self.slot(key, offset).map(|slot| self.slots[slot]).filter(|value| *value != NONE)
    }

    /// How many values stand from `from` to `to`, `to` not included.
    pub fn between(&self, key: u32, from: i64, to: i64) -> u32 {
        match (self.slot(key, from), self.slot(key, to)) {
            (Some(from), Some(to)) => self.ranks[to].saturating_sub(self.ranks[from]),
            _ => 0,
        }
    }

    /// The first offset after this one that holds a value, and the value.
    pub fn next_after(&self, key: u32, offset: i64) -> Option<(i64, u32)> {
        let log = &self.logs[key as usize];
        let end = log.from + log.slots();
        let slot = (self.slot(key, offset)? + 1..end).find(|slot| self.slots[*slot] != NONE)?;
        let at = slot - log.from;
        Some((log.sparse.as_ref().map_or(log.low + at as i64, |offsets| offsets[at]), self.slots[slot]))
    }

    /// Pairs of a value and the next one of its key.
    pub fn neighbours(&self) -> impl Iterator<Item = (u32, u32)> {
        self.logs.iter().flat_map(|log| {
            let held = self.slots[log.from..log.from + log.slots()].iter().copied().filter(|value| *value != NONE);
            held.clone().zip(held.skip(1))
        })
    }

    /// Which slots hold what explains that somebody jumps over them or comes back to them.
    pub fn explained(&self) -> Explained {
        let mut explained = Explained::default();
        let lost = self.values.iter().filter(|value| value.lost);
        for value in lost {
            self.mark(&mut explained, value.key, value.first, true);
            self.mark(&mut explained, value.key, value.last, true);
        }
        for conflict in &self.conflicts {
            self.mark(&mut explained, conflict.key, conflict.offset, false);
        }
        explained.keys.values_mut().for_each(Sums::add_up);
        explained
    }

    fn mark(&self, explained: &mut Explained, key: u32, offset: i64, lost: bool) {
        let Some(slot) = self.slot(key, offset) else { return };
        let log = &self.logs[key as usize];
        let sums = explained.keys.entry(key).or_insert_with(|| Sums::of(log.slots()));
        sums.any[slot - log.from + 1] = 1;
        sums.lost[slot - log.from + 1] |= u32::from(lost);
    }

    /// The class of which a skip from one offset to another is the mere consequence: everything in between is lost, or is not
    /// what it was.
    pub fn why_skipped(&self, explained: &Explained, key: u32, from: i64, to: i64) -> Option<&'static str> {
        let (sums, from_slot, to_slot) = self.sums(explained, key, from, to)?;
        let jumped = self.between(key, from, to).saturating_sub(1);
        let (any, lost) = sums.within(from_slot + 1, to_slot);
        (any >= jumped).then_some(if lost > 0 { named::LOST_WRITE } else { named::INCONSISTENT })
    }

    /// The class of which going back from one offset to another is the mere consequence: something there is lost, or is not
    /// what it was.
    pub fn why_back(&self, explained: &Explained, key: u32, from: i64, to: i64) -> Option<&'static str> {
        let (sums, to_slot, from_slot) = self.sums(explained, key, to, from)?;
        let (any, lost) = sums.within(to_slot, from_slot + 1);
        (any > 0).then_some(if lost > 0 { named::LOST_WRITE } else { named::INCONSISTENT })
    }

    fn sums<'a>(&self, explained: &'a Explained, key: u32, low: i64, high: i64) -> Option<(&'a Sums, usize, usize)> {
        let base = self.logs[key as usize].from;
        Some((explained.keys.get(&key)?, self.slot(key, low)? - base, self.slot(key, high)? - base))
    }
}

impl Log {
    fn slots(&self) -> usize {
        match &self.sparse {
            Some(offsets) => offsets.len(),
            None if self.seen == 0 => 0,
            None => (self.high - self.low) as usize + 1,
        }
    }
}

/// Slots that explain other findings, of the keys that have some.
#[derive(Debug, Default)]
pub(super) struct Explained {
    keys: BTreeMap<u32, Sums>,
}

/// How many slots before each one are lost or inconsistent, and how many are lost.
#[derive(Debug)]
struct Sums {
    any: Vec<u32>,
    lost: Vec<u32>,
}

impl Sums {
    fn of(slots: usize) -> Sums {
        Sums { any: vec![0; slots + 1], lost: vec![0; slots + 1] }
    }

    fn add_up(&mut self) {
        for sums in [&mut self.any, &mut self.lost] {
            let mut sum = 0;
            for each in sums {
                sum += *each;
                *each = sum;
            }
        }
    }

    /// Of the slots `from..to`.
    fn within(&self, from: usize, to: usize) -> (u32, u32) {
        let (from, to) = (from.min(to), to);
        (self.any[to] - self.any[from], self.lost[to] - self.lost[from])
    }
}
