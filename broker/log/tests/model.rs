//! A log is what a list of batches is: whatever is appended, cut, deleted, cleaned and loaded again, a reader finds what a simple
//! model says.

mod bench;
mod disk;

use bench::{Bench, DIR, load_on};
use klamm_base::{Draws, Guards, Outbox, StartCause};
use klamm_log::{CleanOrders, Compaction, LastKnown, LogConfig, Progress};
use klamm_wire::records::{Batch, BatchBuilder, Codec, ControlType, Record, records, split};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use std::collections::{BTreeMap, BTreeSet};

const DELETE_RETENTION: i64 = 300;

fn config(compact: bool, delete: bool) -> LogConfig {
    LogConfig {
        segment_bytes: 600,
        segment_ms: 50,
        index_interval_bytes: 100,
        compact,
        delete,
        retention_ms: 500,
        retention_bytes: 3_000,
        compaction: Compaction { delete_retention_ms: DELETE_RETENTION, ..Compaction::KAFKAS },
        ..LogConfig::default()
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// A batch with these keys and values, by a producer in its transaction or by nobody.
    Append {
        producer: Option<i64>,
        pairs: Vec<Pair>,
        codec: u8,
    },
    /// Ends the transaction of a producer.
    End {
        producer: i64,
        committed: bool,
    },
    Epoch,
    Cut(u8),
    Start(u8),
    Expire,
    Clean,
    /// So many milliseconds pass.
    Pass(u16),
    /// With a clean stop, or by a kill.
    Restart(bool),
}

/// A key, if the record has one, and whether it has a value.
type Pair = (Option<u8>, bool);

fn step() -> impl Strategy<Value = Step> {
    let pairs = prop::collection::vec((prop::option::weighted(0.95, 0..4_u8), any::<bool>()), 1..5);
    let producer = prop::option::weighted(0.6, 1..3_i64);
    prop_oneof![
        10 => (producer, pairs, 0..5_u8).prop_map(|(producer, pairs, codec)| Step::Append { producer, pairs, codec }),
        6 => (1..3_i64, any::<bool>()).prop_map(|(producer, committed)| Step::End { producer, committed }),
        1 => Just(Step::Epoch),
        1 => (0..101_u8).prop_map(Step::Cut),
        1 => (0..101_u8).prop_map(Step::Start),
        1 => Just(Step::Expire),
        3 => Just(Step::Clean),
        1 => (0..400_u16).prop_map(Step::Pass),
        2 => any::<bool>().prop_map(Step::Restart),
    ]
}

/// Offset, key and value of a record; of a marker its key and value as they are.
type Kept = (i64, Option<Vec<u8>>, Option<Vec<u8>>);

/// A batch as a reader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    base: i64,
    last: i64,
    epoch: i32,
    /// Whose transaction it belongs to; -1 nobody's.
    producer: i64,
    is_marker: bool,
    records: Vec<Kept>,
    /// From when on its deletions, or the marker in it, may go.
    horizon: Option<i64>,
    /// Of its bytes, for a batch that no clean has changed.
    identity: Option<u64>,
}

impl Seen {
    fn of(batch: &Batch) -> Seen {
        let header = &batch.header;
        let kept = |record: Record| {
            (record.offset, record.key.map(|key| key.to_vec()), record.value.map(|value| value.to_vec()))
        };
        Seen {
            base: header.base_offset,
            last: header.last_offset(),
            epoch: header.partition_leader_epoch,
            producer: header.producer_id,
            is_marker: header.is_control(),
            records: records(batch).map(|record| kept(record.expect("sound records"))).collect(),
            horizon: header.delete_horizon(),
            identity: Some(header.identity()),
        }
    }

    fn commits(&self) -> bool {
        self.records.first().is_some_and(|(_, key, _)| key.as_deref() == Some(&[0, 0, 0, ControlType::Commit as u8]))
    }

    fn is_data_of(&self, producer: i64) -> bool {
        self.producer == producer && producer >= 0 && !self.is_marker
    }
}

/// Everything that was ever written and is not cut, less what cleans took; and where reading begins.
#[derive(Default)]
struct Model {
    batches: Vec<Seen>,
    start: i64,
    end: i64,
    /// No cut goes below: all of it was committed when a clean looked at it.
    committed: i64,
}

/// What a clean is told by its log.
struct Clean {
    /// Where the first segment begins: what lies before is deleted.
    first: i64,
    first_dirty: i64,
    upper_bound: i64,
    now_ms: i64,
}

impl Model {
    fn readable(&self) -> Vec<Seen> {
        self.batches.iter().filter(|batch| batch.last >= self.start).cloned().collect()
    }

    /// Below this every transaction has its marker.
    fn stable(&self) -> i64 {
        let mut open = BTreeMap::new();
        for batch in self.batches.iter().filter(|batch| batch.producer >= 0 && !batch.records.is_empty()) {
            match batch.is_marker {
                true => _ = open.remove(&batch.producer),
                false => _ = open.entry(batch.producer).or_insert(batch.base),
            }
        }
        open.into_values().min().unwrap_or(self.end).max(self.start)
    }

    /// True if the transaction that this batch belongs to was aborted.
    fn is_aborted(&self, at: usize) -> bool {
        let producer = self.batches[at].producer;
        let mut markers = self.batches[at..].iter().filter(|batch| batch.is_marker && batch.producer == producer);
        producer >= 0 && !self.batches[at].is_marker && markers.next().is_some_and(|marker| !marker.commits())
    }

    /// True if a batch of the transaction that this marker ends is left, or was deleted with its records.
    fn ends_something(&self, at: usize, first: i64) -> bool {
        let producer = self.batches[at].producer;
        let before = self.batches[..at].iter().rev().filter(|batch| batch.producer == producer);
        before.take_while(|batch| !batch.is_marker).any(|batch| batch.base >= first || !batch.records.is_empty())
    }

    /// The last batch of each producer stays, and the one that ends the cleaned part, if only as a header.
    fn must_stay(&self, upper_bound: i64) -> BTreeSet<i64> {
        let producers: BTreeSet<i64> = self.batches.iter().map(|batch| batch.producer).collect();
        let last_of = |producer| self.batches.iter().rev().find(|batch| batch.is_data_of(producer));
        let last = producers.into_iter().filter_map(last_of).map(|batch| batch.last);
        last.chain([upper_bound - 1]).collect()
    }

    /// Of the records that were looked at, each key's last one stays, and no aborted one; a deletion or a marker that nobody
    /// needs goes when its horizon, which the first clean sets that finds it so, has passed.
    fn clean(&mut self, clean: &Clean) {
        let cleaned = |batch: &Seen| (clean.first..clean.upper_bound).contains(&batch.base);
        let aborted: Vec<bool> = (0..self.batches.len()).map(|at| self.is_aborted(at)).collect();
        let needed: Vec<bool> = (0..self.batches.len()).map(|at| self.ends_something(at, clean.first)).collect();
        let stay = self.must_stay(clean.upper_bound);
        let mut last: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
        for (batch, aborted) in self.batches.iter().zip(&aborted) {
            let counts = cleaned(batch) && !aborted && !batch.is_marker;
            for (offset, key, _) in batch.records.iter().filter(|(offset, ..)| counts && *offset >= clean.first_dirty) {
                last.extend(key.clone().map(|key| (key, *offset)));
            }
        }
        for (at, batch) in self.batches.iter_mut().enumerate().filter(|(_, batch)| cleaned(batch)) {
            let before = batch.clone();
            let has_passed = batch.horizon.is_some_and(|horizon| horizon <= clean.now_ms);
            let goes_whole = if batch.is_marker { !needed[at] && has_passed } else { aborted[at] };
            let is_last = |offset: &i64, key: &Vec<u8>| last.get(key).is_none_or(|last| offset >= last);
            let is_marker = batch.is_marker;
            batch.records.retain(|(offset, key, value)| {
                let stays = key.as_ref().is_some_and(|key| is_last(offset, key)) && (value.is_some() || !has_passed);
                !goes_whole && (is_marker || stays)
            });
            let waits = batch.records.iter().any(|(_, _, value)| value.is_none()) || (is_marker && !needed[at]);
            let horizon = batch.horizon.or_else(|| waits.then_some(clean.now_ms + DELETE_RETENTION));
            batch.horizon = horizon.filter(|_| !batch.records.is_empty());
            if *batch != before {
                batch.identity = None;
            }
        }
        self.batches.retain(|batch| !cleaned(batch) || !batch.records.is_empty() || stay.contains(&batch.last));
        self.committed = self.end;
    }
}

/// A log and its model.
struct Twins {
    bench: Bench,
    model: Model,
    draws: Draws,
    config: LogConfig,
    epoch: i32,
    sequences: [i32; 3],
    /// The first offset that no clean has reached.
    checkpoint: Option<i64>,
}

impl Twins {
    fn new(seed: u64, config: LogConfig) -> Twins {
        Twins {
            bench: Bench::new(config),
            model: Model::default(),
            draws: Draws::from_seed(seed),
            config,
            epoch: 1,
            sequences: [0; 3],
            checkpoint: None,
        }
    }

    fn append(&mut self, batch: Batch) {
        let seen = Seen::of(&batch.clone().into_placed(self.model.end, self.epoch));
        self.model.end = seen.last + 1;
        self.model.batches.push(seen);
        self.bench.lead(self.epoch, vec![batch]);
    }

    fn write(&mut self, producer: Option<i64>, pairs: &[Pair], codec: u8) {
        let mut builder = BatchBuilder::new(1_000);
        for (key, has_value) in pairs {
            // Values differ, so that records do; some are long enough to fill segments.
            let value = has_value.then(|| format!("{:0width$}", self.draws.next_u64(), width = 20 + pairs.len() * 15));
            let key = key.map(|key| [key]);
            builder.push(1_000, key.as_ref().map(<[u8; 1]>::as_slice), value.as_ref().map(String::as_bytes), &[]);
        }
        if let Some(producer) = producer {
            let sequence = &mut self.sequences[producer as usize];
            builder.producer(producer, 0, *sequence).transactional();
            *sequence += pairs.len() as i32;
        }
        builder.compressed(Codec::from_bits(codec).expect("one of five"));
        self.append(builder.build());
    }

    /// Coordinators write markers to whom wrote here.
    fn end(&mut self, producer: i64, committed: bool) {
        if self.model.batches.iter().any(|batch| batch.is_data_of(producer)) {
            self.append(bench::marker(producer, committed));
        }
    }

    fn live(&mut self, step: &Step) {
        match step {
            Step::Append { producer, pairs, codec } => self.write(*producer, pairs, *codec),
            Step::End { producer, committed } => self.end(*producer, *committed),
            Step::Epoch => self.epoch += 1,
            Step::Cut(percent) => self.cut(*percent),
            Step::Start(percent) => {
                let to = self.model.start + (self.model.end - self.model.start) * i64::from(*percent) / 100;
                let (now, log) = (self.bench.now, &mut self.bench.log);
                log.raise_log_start(now, to, StartCause::DeleteRecords, &mut self.bench.out);
                self.model.start = to;
            }
            Step::Expire => self.expire(),
            Step::Clean if self.config.compact => self.clean(),
            Step::Clean => {}
            Step::Pass(ms) => {
                self.bench.now.wall_ms += i64::from(*ms);
                self.bench.now.mono_ns += u64::from(*ms) * 1_000_000;
            }
            Step::Restart(clean) => self.restart(*clean),
        }
        self.bench.queue.extend(self.bench.out.drain());
        self.bench.pump_all();
    }

    /// A batch that straddles the cut goes whole. What was committed is never cut.
    fn cut(&mut self, percent: u8) {
        let from = self.model.start.max(self.model.committed);
        let to = from + (self.model.end - from) * i64::from(percent) / 100;
        self.bench.truncate(to);
        self.model.batches.retain(|batch| batch.last < to);
        self.model.end = self.model.batches.last().map_or(0, |batch| batch.last + 1);
        self.model.start = self.model.start.min(self.model.end);
    }

    /// The model does not know of segments: it is told how far the log went, and holds it to whole segments that were due.
    fn expire(&mut self) {
        let before = self.bench.log.log_start_offset();
        let end = self.bench.log.log_end_offset();
        self.bench.log.expire(self.bench.now, end, &mut self.bench.out);
        let start = self.bench.log.log_start_offset();
        assert!(before <= start && start <= end);
        assert!(start == before || start == self.bench.log.first_segment_offset(), "whole segments go");
        assert!(start == before || self.config.delete, "only what is below the start goes");
        self.model.start = start;
    }

    /// Of segments the model is told here, too: where the cleanable ones begin and end.
    fn clean(&mut self) {
        self.bench.flush();
        self.bench.pump_all();
        let (log, now_ms) = (&self.bench.log, self.bench.now.wall_ms);
        let survey = log.survey(log.last_stable_offset(log.log_end_offset()), self.checkpoint, now_ms);
        assert!(survey.upper_bound <= self.model.stable().max(survey.first_dirty), "undecided records are not cleaned");
        let (first, first_dirty, upper_bound) = (log.first_segment_offset(), survey.first_dirty, survey.upper_bound);
        if self.bench.clean(self.checkpoint, CleanOrders { dedupe_buffer_bytes: 1 << 20, guards: Guards::default() }) {
            self.bench.pump_all();
            let cleaned = self.bench.cleaned.clone().expect("it has ended").expect("nothing went wrong");
            assert_eq!(cleaned.first_dirty, upper_bound, "all of it fits the map");
            self.checkpoint = Some(upper_bound);
            self.model.clean(&Clean { first, first_dirty, upper_bound, now_ms });
        }
    }

    fn restart(&mut self, clean: bool) {
        let log = &mut self.bench.log;
        if clean {
            let mut out = Outbox::new();
            log.close(self.bench.now, &mut out);
            self.bench.queue.extend(out.drain());
            self.bench.pump_all();
        }
        let log = &self.bench.log;
        let known = LastKnown { clean, recovery_point: log.durable_end(), log_start: log.log_start_offset() };
        self.bench.log = load_on(&mut self.bench.disk, self.config, known).0;
    }

    fn compare(&mut self) -> Result<(), TestCaseError> {
        let log = &self.bench.log;
        let (start, end) = (log.log_start_offset(), log.log_end_offset());
        prop_assert_eq!((start, end), (self.model.start, self.model.end));
        prop_assert_eq!(log.last_stable_offset(end), self.model.stable());
        prop_assert_eq!(self.read_all(), self.model.readable());
        let mut files = self.bench.disk.list(DIR).into_iter();
        let is_left = |name: &String| [".tmp", ".cleaned", ".swap"].iter().any(|suffix| name.ends_with(suffix));
        prop_assert_eq!(files.find(is_left), None);
        Ok(())
    }

    fn read_all(&mut self) -> Vec<Seen> {
        let (mut at, mut found) = (self.bench.log.log_start_offset(), Vec::new());
        while let Some(Progress::Read { result, .. }) = self.bench.read(at, 300, i64::MAX) {
            for batch in split(&result.expect("a sound disk")) {
                found.push(Seen::of(&batch.expect("whole batches")));
            }
            at = found.last().expect("a read brings something").last + 1;
        }
        // What no clean has touched is the same to the last bit; of the rest the records count.
        let touched = self.model.batches.iter().filter(|batch| batch.identity.is_none()).map(|batch| batch.base);
        let touched: BTreeSet<i64> = touched.collect();
        found.iter_mut().filter(|seen| touched.contains(&seen.base)).for_each(|seen| seen.identity = None);
        found
    }
}

fn cases(cases: u32) -> ProptestConfig {
    let rng_seed = RngSeed::Fixed(23);
    ProptestConfig { cases, failure_persistence: None, rng_seed, ..ProptestConfig::default() }
}

fn live_and_compare(seed: u64, config: LogConfig, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut twins = Twins::new(seed, config);
    for step in steps {
        twins.live(step);
        twins.compare()?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases(800))]

    #[test]
    fn a_log_is_a_list_of_batches(seed: u64, steps in prop::collection::vec(step(), 1..80)) {
        live_and_compare(seed, config(false, true), &steps)?;
    }

    #[test]
    fn a_compacted_log_is_a_list_of_batches_of_which_each_key_keeps_the_last_record(
        seed: u64,
        steps in prop::collection::vec(step(), 1..80),
    ) {
        live_and_compare(seed, config(true, false), &steps)?;
    }

    #[test]
    fn so_is_one_that_is_compacted_and_deleted(seed: u64, steps in prop::collection::vec(step(), 1..80)) {
        live_and_compare(seed, config(true, true), &steps)?;
    }
}
