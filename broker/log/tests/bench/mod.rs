//! A log on a disk in memory, stepped by hand.
#![allow(dead_code, reason = "each test uses its part")]

use crate::disk::Disk;
use klamm_base::{
    DiskDone, DiskRequest, Draws, Guard, Guards, NodeId, Now, Observation, Observe, Observer, Outbox, Source,
    TopicPartition, Uuid,
};
use klamm_log::{CleanError, CleanOrders, Cleaned, Cleaner, LastKnown, Loader, Log, LogConfig, Progress};
use klamm_wire::records::{Batch, BatchBuilder, end_txn_value};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

pub const DIR: &str = "data/orders-0";
pub const TP: TopicPartition = TopicPartition { topic: Uuid(9), partition: 0 };

/// Keeps what it sees.
#[derive(Default)]
pub struct Seen(pub Mutex<Vec<Observation>>);

impl Observer for Seen {
    fn observe(&self, _source: Source, observation: Observation) {
        self.0.lock().unwrap().push(observation);
    }
}

/// A log, its disk, and the operations that the disk has not done yet.
pub struct Bench {
    pub disk: Disk,
    pub log: Log,
    pub out: Outbox<DiskRequest>,
    pub queue: VecDeque<DiskRequest>,
    pub cleaner: Option<Cleaner>,
    /// How the last clean ended.
    pub cleaned: Option<Result<Cleaned, CleanError>>,
    pub seen: Arc<Seen>,
    pub now: Now,
}

impl Bench {
    pub fn new(config: LogConfig) -> Bench {
        Bench::on(Disk::default(), config, false)
    }

    pub fn on(disk: Disk, config: LogConfig, clean: bool) -> Bench {
        Bench::knowing(disk, config, LastKnown { clean, ..LastKnown::default() })
    }

    pub fn knowing(mut disk: Disk, config: LogConfig, known: LastKnown) -> Bench {
        let seen = Arc::new(Seen::default());
        let observe = Observe::new(Source::Node(NodeId(1)), seen.clone());
        let log = load(&mut disk, config, known, observe, u64::MAX).expect("it is not stopped").0;
        let now = Now { mono_ns: 0, wall_ms: 1_000 };
        let (out, queue) = (Outbox::new(), VecDeque::new());
        Bench { disk, log, out, queue, cleaner: None, cleaned: None, seen, now }
    }

    pub fn lead(&mut self, epoch: i32, batches: Vec<Batch>) -> (i64, i64) {
        let placed = self.log.append_as_leader(self.now, batches, epoch, &mut self.out).expect("it takes them");
        self.queue.extend(self.out.drain());
        placed
    }

    pub fn truncate(&mut self, offset: i64) -> i64 {
        let end = self.log.truncate_to(offset, &mut self.out);
        self.queue.extend(self.out.drain());
        end
    }

    pub fn flush(&mut self) -> bool {
        let asked = self.log.flush(&mut self.out);
        self.queue.extend(self.out.drain());
        asked
    }

    /// Lets the disk do `count` operations, and tells the log.
    pub fn pump(&mut self, count: usize) -> Vec<Progress> {
        let mut progress = Outbox::new();
        for _ in 0..count {
            let Some(DiskRequest { ticket, op }) = self.queue.pop_front() else { break };
            let result = self.disk.perform(op);
            self.done(DiskDone { ticket, result }, &mut progress);
        }
        progress.drain().collect()
    }

    fn done(&mut self, done: DiskDone, progress: &mut Outbox<Progress>) {
        if let Some(cleaner) = self.cleaner.as_mut().filter(|cleaner| cleaner.owns(done.ticket)) {
            let ended = cleaner.step(&mut self.log, self.now, done, &mut self.out).err().map(Err);
            self.clean_ended(ended);
            return;
        }
        let mut all = Outbox::new();
        self.log.disk_done(done, &mut all);
        for one in all.drain() {
            if let (Progress::Swapped, Some(cleaner)) = (&one, &mut self.cleaner) {
                let ended = cleaner.swapped(&mut self.log, self.now, &mut self.out).transpose();
                self.clean_ended(ended);
            }
            progress.push(one);
        }
    }

    fn clean_ended(&mut self, ended: Option<Result<Cleaned, CleanError>>) {
        if ended.is_some() {
            self.cleaner = None;
            self.cleaned = ended;
        }
        self.queue.extend(self.out.drain());
    }

    /// Begins to clean all that can be cleaned; false if nothing can.
    pub fn clean(&mut self, checkpoint: Option<i64>, orders: CleanOrders) -> bool {
        let stable = self.log.last_stable_offset(self.log.log_end_offset());
        let survey = self.log.survey(stable, checkpoint, self.now.wall_ms);
        if survey.dirty_bytes == 0 {
            return false;
        }
        self.cleaned = None;
        self.cleaner = Some(Cleaner::start(&mut self.log, &survey, orders, self.now, &mut self.out));
        self.queue.extend(self.out.drain());
        true
    }

    /// Lets the disk do everything but what the cleaner asked for.
    pub fn pump_all_but_the_cleaner(&mut self) {
        let mut progress = Outbox::new();
        let mut left = VecDeque::new();
        while let Some(request) = self.queue.pop_front() {
            if self.cleaner.as_ref().is_some_and(|cleaner| cleaner.owns(request.ticket)) {
                left.push_back(request);
                continue;
            }
            let result = self.disk.perform(request.op);
            self.done(DiskDone { ticket: request.ticket, result }, &mut progress);
        }
        self.queue = left;
    }

    pub fn pump_all(&mut self) -> Vec<Progress> {
        self.pump(usize::MAX)
    }

    /// Reads as a fetch would: the batches that hold `from` and what follows below `below`.
    pub fn read(&mut self, from: i64, max_bytes: u32, below: i64) -> Option<Progress> {
        let plan = self.log.plan_read(from, max_bytes, below, true)?;
        self.log.start_read(plan, &mut self.out);
        self.queue.extend(self.out.drain());
        self.pump_all().pop()
    }
}

/// Loads whole, without these guards.
pub fn load_without(off: &[Guard], disk: &mut Disk, config: LogConfig, known: LastKnown) -> Log {
    load_guarded(Guards::without(off), disk, config, known, nobody(), u64::MAX).expect("it is not stopped").0
}

/// Loads; stops after `limit` mutating operations (then `None`). Also how many there were.
pub fn load(disk: &mut Disk, config: LogConfig, known: LastKnown, observe: Observe, limit: u64) -> Option<(Log, u64)> {
    load_guarded(Guards::default(), disk, config, known, observe, limit)
}

fn load_guarded(
    guards: Guards,
    disk: &mut Disk,
    config: LogConfig,
    known: LastKnown,
    observe: Observe,
    limit: u64,
) -> Option<(Log, u64)> {
    let mut loader = Loader::new(TP, DIR.to_owned(), config, known, guards, observe);
    let (mut out, mut queue) = (Outbox::new(), VecDeque::new());
    let mut mutations = 0;
    loader.start(&mut out);
    queue.extend(out.drain());
    while let Some(DiskRequest { ticket, op }) = queue.pop_front() {
        if op.mutates() {
            if mutations == limit {
                return None;
            }
            mutations += 1;
        }
        let result = disk.perform(op);
        let now = Now { mono_ns: 0, wall_ms: 1_000 };
        if let Some(log) = loader.step(now, DiskDone { ticket, result }, &mut out).expect("the disk is fine") {
            assert!(queue.is_empty() && out.is_empty(), "loaded before its repairs were done");
            return Some((log, mutations));
        }
        queue.extend(out.drain());
    }
    panic!("the loader asks for nothing and is not done")
}

/// Loads whole; also how many mutating operations that took.
pub fn load_on(disk: &mut Disk, config: LogConfig, known: LastKnown) -> (Log, u64) {
    load(disk, config, known, nobody(), u64::MAX).expect("it is not stopped")
}

pub fn nobody() -> Observe {
    Observe::nobody(Source::Node(NodeId(1)))
}

/// A batch of `count` records with values of `size` bytes; the content is drawn, so that no two are equal.
pub fn batch(draws: &mut Draws, count: u64, size: u64) -> Batch {
    let mut builder = BatchBuilder::new(1_000);
    for _ in 0..count {
        let value: Vec<u8> = (0..size).map(|_| draws.next_u64() as u8).collect();
        builder.push(1_000, None, Some(&draws.next_u64().to_be_bytes()), &[]);
        builder.push(1_000, None, Some(&value), &[]);
    }
    builder.build()
}

/// A batch of `count` records of producer 7.
pub fn sequenced(epoch: i16, base_sequence: i32, count: i32, timestamp: i64) -> Batch {
    let mut builder = BatchBuilder::new(timestamp);
    for i in 0..count {
        builder.push(timestamp, None, Some(&(base_sequence + i).to_be_bytes()), &[]);
    }
    builder.producer(7, epoch, base_sequence);
    builder.build()
}

/// A batch of two records of a producer in its epoch 0.
pub fn written(producer: i64, base_sequence: i32, transactional: bool, salt: u64) -> Batch {
    let mut builder = BatchBuilder::new(1_000);
    for i in 0..2 {
        builder.push(1_000 + i, None, Some(&salt.to_be_bytes()), &[]);
    }
    builder.producer(producer, 0, base_sequence);
    if transactional {
        builder.transactional();
    }
    builder.build()
}

/// The marker that ends a producer's transaction.
pub fn marker(producer: i64, committed: bool) -> Batch {
    let kind: i16 = if committed { 1 } else { 0 };
    let mut key = [0; 4];
    key[2..].copy_from_slice(&kind.to_be_bytes());
    let mut builder = BatchBuilder::new(1_000);
    builder.push(1_000, Some(&key), Some(&end_txn_value(7)), &[]);
    builder.producer(producer, 0, -1).transactional().control();
    builder.build()
}
