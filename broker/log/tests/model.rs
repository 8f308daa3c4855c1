//! A log is what a list of batches is: whatever is appended, cut, deleted and loaded again, a reader finds what a simple model says.

mod bench;
mod disk;

use bench::{Bench, DIR, batch, load_on, marker, written};
use klamm_base::{Draws, Outbox, StartCause};
use klamm_log::{LastKnown, LogConfig, Progress};
use klamm_wire::records::{Batch, BatchHeader, split};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 600,
        segment_ms: 50,
        index_interval_bytes: 100,
        retention_ms: 500,
        retention_bytes: 3_000,
        ..LogConfig::default()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Append(u64),
    Sequenced(i64),
    End(i64),
    Epoch,
    Cut(u8),
    Start(u8),
    Expire,
    /// So many milliseconds pass.
    Pass(u16),
    /// With a clean stop, or by a kill.
    Restart(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..4_u64).prop_map(Step::Append),
        3 => (1..4_i64).prop_map(Step::Sequenced),
        1 => (1..4_i64).prop_map(Step::End),
        1 => Just(Step::Epoch),
        2 => (0..101_u8).prop_map(Step::Cut),
        1 => (0..101_u8).prop_map(Step::Start),
        1 => Just(Step::Expire),
        1 => (0..400_u16).prop_map(Step::Pass),
        2 => any::<bool>().prop_map(Step::Restart),
    ]
}

/// A batch as a reader sees it: base and last offset, epoch, identity.
type Seen = (i64, i64, i32, u64);

fn seen(batch: &Batch, base_offset: i64, epoch: i32) -> Seen {
    let header = BatchHeader { base_offset, partition_leader_epoch: epoch, ..batch.header };
    (base_offset, header.last_offset(), epoch, header.identity())
}

/// All that is not deleted, and where reading begins.
#[derive(Default)]
struct Model {
    batches: Vec<Seen>,
    start: i64,
    end: i64,
}

impl Model {
    fn readable(&self) -> Vec<Seen> {
        self.batches.iter().copied().filter(|batch| batch.1 >= self.start).collect()
    }
}

struct Pair {
    bench: Bench,
    model: Model,
    draws: Draws,
    epoch: i32,
    sequences: [i32; 4],
}

impl Pair {
    fn append(&mut self, batch: Batch) {
        self.model.batches.push(seen(&batch, self.model.end, self.epoch));
        self.model.end = self.model.batches.last().unwrap().1 + 1;
        self.bench.lead(self.epoch, vec![batch]);
    }

    fn live(&mut self, step: &Step) {
        match step {
            Step::Append(pairs) => {
                let made = batch(&mut self.draws, *pairs, 60);
                self.append(made);
            }
            Step::Sequenced(producer) => {
                let sequence = &mut self.sequences[*producer as usize];
                let made = written(*producer, *sequence, true, self.draws.next_u64());
                *sequence += 2;
                self.append(made);
            }
            Step::End(producer) => self.append(marker(*producer, true)),
            Step::Epoch => self.epoch += 1,
            Step::Cut(percent) => self.cut(*percent),
            Step::Start(percent) => {
                let to = self.model.start + (self.model.end - self.model.start) * i64::from(*percent) / 100;
                let (now, log) = (self.bench.now, &mut self.bench.log);
                log.raise_log_start(now, to, StartCause::DeleteRecords, &mut self.bench.out);
                self.model.start = to;
            }
            Step::Expire => self.expire(),
            Step::Pass(ms) => {
                self.bench.now.wall_ms += i64::from(*ms);
                self.bench.now.mono_ns += u64::from(*ms) * 1_000_000;
            }
            Step::Restart(clean) => self.restart(*clean),
        }
        self.bench.queue.extend(self.bench.out.drain());
        self.bench.pump_all();
    }

    /// A batch that straddles the cut goes whole.
    fn cut(&mut self, percent: u8) {
        let to = self.model.start + (self.model.end - self.model.start) * i64::from(percent) / 100;
        self.bench.truncate(to);
        self.model.batches.retain(|batch| batch.1 < to);
        self.model.end = self.model.batches.last().map_or(0, |batch| batch.1 + 1);
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
        self.model.start = start;
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
        self.bench.log = load_on(&mut self.bench.disk, config(), known).0;
    }

    fn compare(&mut self) -> Result<(), TestCaseError> {
        let log = &self.bench.log;
        prop_assert_eq!((log.log_start_offset(), log.log_end_offset()), (self.model.start, self.model.end));
        prop_assert_eq!(self.read_all(), self.model.readable());
        let mut files = self.bench.disk.list(DIR).into_iter();
        prop_assert!(files.all(|name| !name.ends_with(".tmp")));
        Ok(())
    }

    fn read_all(&mut self) -> Vec<Seen> {
        let (mut at, mut found) = (self.bench.log.log_start_offset(), Vec::new());
        while let Some(Progress::Read { result, .. }) = self.bench.read(at, 300, i64::MAX) {
            for batch in split(&result.expect("a sound disk")) {
                let batch = batch.expect("whole batches");
                found.push(seen(&batch, batch.header.base_offset, batch.header.partition_leader_epoch));
            }
            at = found.last().expect("a read brings something").1 + 1;
        }
        found
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(23),
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_log_is_a_list_of_batches(seed: u64, steps in prop::collection::vec(step(), 1..60)) {
        let (bench, draws) = (Bench::new(config()), Draws::from_seed(seed));
        let mut pair = Pair { bench, model: Model::default(), draws, epoch: 1, sequences: [0; 4] };
        for step in &steps {
            pair.live(step);
            pair.compare()?;
        }
    }
}
