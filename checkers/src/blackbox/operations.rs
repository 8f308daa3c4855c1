//! What clients did, as flat arrays: forty bytes an operation, sixteen a record.

use super::Settings;
use klamm_base::TopicPartition;
use std::collections::BTreeMap;

/// The offset of a send that was told none.
pub const NO_OFFSET: i64 = -1;
/// A value that no workload wrote.
pub const FOREIGN: u32 = u32::MAX;

const SEND: u32 = 1 << 31;

/// What an operation does: Jepsen's `:f`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Does {
    Send,
    Poll,
    Txn,
    Assign,
    Subscribe,
    Crash,
    /// Asks about the cluster; no judge looks at it.
    Describe,
}

/// How it ended: Jepsen's `:type` of a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It happened.
    Ok,
    /// It did not happen.
    Fail,
    /// Nobody knows.
    Info,
}

/// One operation of one process, from its invocation to its completion.
#[derive(Clone, Copy, Debug)]
pub struct Op {
    /// Dense number of the process. A process does one thing at a time.
    pub process: u32,
    /// Place of the invocation in the history.
    pub invoked: u32,
    /// Place of the completion in the history.
    pub completed: u32,
    records_end: u32,
    /// Nanoseconds since the run began.
    pub invoked_ns: u64,
    /// Nanoseconds since the run began.
    pub completed_ns: u64,
    /// Its function.
    pub does: Does,
    /// Its outcome.
    pub ended: Ended,
    /// An `assign` that begins at the first record of each key.
    pub from_beginning: bool,
    has_keys: bool,
}

impl Op {
    /// An operation from `invoked` to `completed`, both a place in the history and a time in nanoseconds.
    pub fn new(process: u32, does: Does, ended: Ended, invoked: (u32, u64), completed: (u32, u64)) -> Op {
        Op {
            process,
            invoked: invoked.0,
            completed: completed.0,
            records_end: 0,
            invoked_ns: invoked.1,
            completed_ns: completed.1,
            does,
            ended,
            from_beginning: false,
            has_keys: false,
        }
    }
}

/// One value sent to or polled from one key at one offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// [`NO_OFFSET`] if nobody was told it.
    pub offset: i64,
    /// Dense number of the value, or [`FOREIGN`].
    pub value: u32,
    key: u32,
}

impl Record {
    /// Sent to `key`.
    pub fn sent(key: u32, offset: i64, value: u32) -> Record {
        Record { offset: offset.max(NO_OFFSET), value, key: key | SEND }
    }

    /// Polled from `key`.
    pub fn polled(key: u32, offset: i64, value: u32) -> Record {
        Record { offset: offset.max(NO_OFFSET), value, key: key & !SEND }
    }

    /// Dense number of the key: one partition.
    pub fn key(self) -> u32 {
        self.key & !SEND
    }

    /// True if it was sent, false if it was polled.
    pub fn is_sent(self) -> bool {
        self.key & SEND != 0
    }
}

/// What a process is called, and what its producer asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Jepsen's number of it.
    pub number: i64,
    /// The client's name; empty if it has none.
    pub client: String,
    /// Settings, as far as they are known.
    pub settings: Settings,
}

/// What a key is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Jepsen's number of it.
    pub number: i64,
    /// The partition and its topic's name, if the history is ours.
    pub partition: Option<(TopicPartition, String)>,
}

/// Everything that clients did and were told. Operations stand in the order in which they completed.
#[derive(Clone, Debug, Default)]
pub struct Operations {
    ops: Vec<Op>,
    records: Vec<Record>,
    /// Of an `assign` or `subscribe`: its keys. Of another operation: the keys that moved meanwhile.
    lists: Vec<u32>,
    /// Operation with a list, and where the list ends; ascending.
    listed: Vec<(u32, u32)>,
    pub(super) processes: Vec<Process>,
    pub(super) keys: Vec<Key>,
    /// Name of each value; unique within its key.
    values: Vec<i64>,
    /// Below this a key's leader deleted by rule, as far as the history tells.
    pub(super) begins: BTreeMap<u32, i64>,
}

impl Operations {
    /// None yet, with room for `ops` with `records`.
    pub fn with_room(ops: usize, records: usize) -> Operations {
        Operations { ops: Vec::with_capacity(ops), records: Vec::with_capacity(records), ..Operations::default() }
    }

    /// A new process.
    pub fn add_process(&mut self, process: Process) -> u32 {
        self.processes.push(process);
        self.processes.len() as u32 - 1
    }

    /// A new key.
    pub fn add_key(&mut self, key: Key) -> u32 {
        assert!(self.keys.len() < SEND as usize, "a key has thirty-one bits");
        self.keys.push(key);
        self.keys.len() as u32 - 1
    }

    /// A new value.
    pub fn add_value(&mut self, name: i64) -> u32 {
        assert!(self.values.len() + 2 < FOREIGN as usize, "fewer than 2^32 values in one history");
        self.values.push(name);
        self.values.len() as u32 - 1
    }

    /// Adds an operation with what it sent and polled, in that order, and its keys: of an `assign` or `subscribe` those that
    /// it asks for, of another one those that moved while it ran.
    pub fn push(&mut self, mut op: Op, records: &[Record], keys: &[u32]) {
        self.records.extend_from_slice(records);
        op.records_end = u32::try_from(self.records.len()).expect("fewer than 2^32 records in one history");
        op.has_keys = !keys.is_empty();
        if op.has_keys {
            self.lists.extend_from_slice(keys);
            self.listed.push((self.ops.len() as u32, self.lists.len() as u32));
        }
        self.ops.push(op);
    }

    /// How many operations.
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// True if nobody did anything.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// How many records were sent and polled.
    pub fn records_len(&self) -> usize {
        self.records.len()
    }

    /// How many values have a name.
    pub fn values_len(&self) -> usize {
        self.values.len()
    }

    /// The operation of this number.
    pub fn op(&self, op: u32) -> &Op {
        &self.ops[op as usize]
    }

    /// What an operation sent and polled.
    pub fn records(&self, op: u32) -> &[Record] {
        let op = op as usize;
        let from = if op == 0 { 0 } else { self.ops[op - 1].records_end };
        &self.records[from as usize..self.ops[op].records_end as usize]
    }

    /// All operations, each with its number and records.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Op, &[Record])> {
        let mut from = 0;
        self.ops.iter().enumerate().map(move |(number, op)| {
            let to = op.records_end as usize;
            let records = &self.records[from..to];
            from = to;
            (number as u32, op, records)
        })
    }

    /// The keys of an operation (see [`Self::push`]).
    pub fn keys_of(&self, op: u32) -> &[u32] {
        if !self.ops[op as usize].has_keys {
            return &[];
        }
        let at = self.listed.partition_point(|(other, _)| *other < op);
        let from = if at == 0 { 0 } else { self.listed[at - 1].1 };
        &self.lists[from as usize..self.listed[at].1 as usize]
    }

    /// The process that did it.
    pub fn process_of(&self, op: u32) -> &Process {
        &self.processes[self.op(op).process as usize]
    }

    /// The name of a value; `None` if no workload wrote it.
    pub fn value_name(&self, value: u32) -> Option<i64> {
        self.values.get(value as usize).copied()
    }
}

/// Finds the dense number of what is named by a key and a number: open addressing, since the names may be anything.
#[derive(Debug, Default)]
pub(super) struct Interner {
    slots: Vec<u32>,
    names: Vec<(u32, i64)>,
}

impl Interner {
    /// The number of a name, and whether it is new. Numbers are dense from 0.
    pub fn number(&mut self, key: u32, name: i64) -> (u32, bool) {
        if self.names.len() * 2 >= self.slots.len() {
            self.grow();
        }
        let at = self.slot(key, name);
        if self.slots[at] != u32::MAX {
            return (self.slots[at], false);
        }
        let number = self.names.len() as u32;
        self.slots[at] = number;
        self.names.push((key, name));
        (number, true)
    }

    /// Where a name stands or belongs. Sixteen neighbours share a cache line: names of a key are mostly counted.
    fn slot(&self, key: u32, name: i64) -> usize {
        let mask = self.slots.len() - 1;
        let mut hash = ((name >> 4) as u64 ^ u64::from(key) << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^= hash >> 32;
        let mut at = ((hash as usize) << 4 | (name & 15) as usize) & mask;
        while self.slots[at] != u32::MAX && self.names[self.slots[at] as usize] != (key, name) {
            at = (at + 1) & mask;
        }
        at
    }

    fn grow(&mut self) {
        self.slots = vec![u32::MAX; (self.slots.len() * 2).max(1024)];
        for number in 0..self.names.len() {
            let (key, name) = self.names[number];
            let at = self.slot(key, name);
            self.slots[at] = number as u32;
        }
    }
}

/// Numbers things of any ordered kind densely, in the order of their first appearance.
#[derive(Debug)]
pub(super) struct Numbers<T> {
    known: BTreeMap<T, u32>,
    recent: Option<(T, u32)>,
}

impl<T> Default for Numbers<T> {
    fn default() -> Self {
        Self { known: BTreeMap::new(), recent: None }
    }
}

impl<T: Ord + Copy> Numbers<T> {
    /// The number of a thing; `make` gives it its number when it is new.
    pub fn number(&mut self, thing: T, make: impl FnOnce() -> u32) -> u32 {
        if let Some((recent, number)) = self.recent
            && recent == thing
        {
            return number;
        }
        let number = *self.known.entry(thing).or_insert_with(make);
        self.recent = Some((thing, number));
        number
    }
}
