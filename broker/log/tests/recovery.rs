//! A log survives a crash at every write.

mod bench;
mod disk;

use bench::{Bench, DIR, batch, load, nobody};
use disk::Disk;
use klamm_base::{DiskOp, Draws, Now, chain};
use klamm_log::{LastKnown, Log, LogConfig};
use klamm_wire::records::BatchHeader;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// Small limits, so that a short run meets them.
const SMALL: LogConfig = LogConfig {
    segment_bytes: 600,
    segment_ms: 1 << 40,
    index_interval_bytes: 100,
    max_index_bytes: 1 << 20,
    max_message_bytes: 1 << 20,
    flush_messages: i64::MAX,
    flush_ms: i64::MAX,
    delete: true,
    compact: false,
    retention_ms: -1,
    retention_bytes: -1,
    file_delete_delay_ms: 60_000,
};

/// No word of an earlier life.
const UNCLEAN: LastKnown = LastKnown { clean: false, recovery_point: 0, log_start: 0 };

/// What happens to a log before it crashes.
#[derive(Clone, Debug)]
enum Step {
    /// Batches of so many record pairs.
    Append(Vec<u64>),
    /// A new leader epoch, with a record or without.
    Epoch,
    /// To so many percent of the log.
    Cut(u8),
    /// Begins anew, so far behind the end.
    BeginAnew(u8),
    Flush,
    /// The disk does so many operations.
    Disk(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec(1..4_u64, 1..4).prop_map(Step::Append),
        2 => Just(Step::Epoch),
        2 => (0..100_u8).prop_map(Step::Cut),
        1 => (0..5_u8).prop_map(Step::BeginAnew),
        2 => Just(Step::Flush),
        6 => (1..12_u8).prop_map(Step::Disk),
    ]
}

/// A batch as a log holds it: base and last offset, epoch, identity.
type Held = (i64, i64, i32, u64);

/// Every content that the log was ever meant to have, the present one last: start and batches.
struct Versions(Vec<(i64, Vec<Held>)>);

impl Versions {
    fn now(&mut self) -> &mut (i64, Vec<Held>) {
        self.0.last_mut().unwrap()
    }

    fn change(&mut self) -> &mut (i64, Vec<Held>) {
        let copy = self.now().clone();
        self.0.push(copy);
        self.now()
    }

    /// True if some version, cut to `end`, has this start and digest.
    fn hold(&self, start: i64, end: i64, digest: u64) -> bool {
        self.0.iter().any(|(first, batches)| *first == start && prefix_digest(batches, *first, end) == Some(digest))
    }
}

/// The digest of the batches below `end`; `None` if there is no boundary.
fn prefix_digest(batches: &[Held], start: i64, end: i64) -> Option<u64> {
    let prefix: Vec<&Held> = batches.iter().filter(|held| held.1 < end).collect();
    let ends = prefix.last().map_or(start, |held| held.1 + 1);
    (ends == end).then(|| prefix.iter().fold(0, |digest, held| chain(digest, held.0, held.2, held.3)))
}

struct Life {
    bench: Bench,
    versions: Versions,
    epoch: i32,
    draws: Draws,
}

impl Life {
    fn new(seed: u64, config: LogConfig) -> Life {
        let versions = Versions(vec![(0, Vec::new())]);
        Life { bench: Bench::new(config), versions, epoch: 1, draws: Draws::from_seed(seed) }
    }

    fn live(&mut self, step: &Step) {
        match step {
            Step::Append(pairs) => {
                let sizes: Vec<u64> = pairs.iter().map(|_| self.draws.below(150)).collect();
                let batches =
                    pairs.iter().zip(sizes).map(|(pairs, size)| batch(&mut self.draws, *pairs, size)).collect();
                self.append(batches);
            }
            Step::Epoch => {
                self.epoch += 1;
                let (log, out) = (&mut self.bench.log, &mut self.bench.out);
                log.assign_epoch(self.epoch, log.next_offset(), out);
            }
            Step::Cut(percent) => {
                let (start, end) = (self.bench.log.log_start_offset(), self.bench.log.next_offset());
                let end = self.bench.truncate(start + (end - start) * i64::from(*percent) / 100);
                self.versions.change().1.retain(|held| held.1 < end);
                assert_eq!(end, self.versions.now().1.last().map_or(start, |held| held.1 + 1));
            }
            Step::BeginAnew(further) => {
                let start = self.bench.log.next_offset() + i64::from(*further);
                self.bench.log.truncate_fully_and_start_at(start, &mut self.bench.out);
                *self.versions.change() = (start, Vec::new());
            }
            Step::Flush => _ = self.bench.flush(),
            Step::Disk(count) => _ = self.bench.pump(usize::from(*count)),
        }
        self.bench.queue.extend(self.bench.out.drain());
    }

    fn append(&mut self, batches: Vec<klamm_wire::records::Batch>) {
        let mut base = self.bench.log.next_offset();
        for batch in &batches {
            let header = BatchHeader { base_offset: base, ..batch.header };
            self.versions.now().1.push((base, header.last_offset(), self.epoch, header.identity()));
            base = header.next_offset();
        }
        self.bench.lead(self.epoch, batches);
        assert_eq!(self.bench.log.next_offset(), base);
    }

    /// The process dies while the disk does its next operation: of an append some bytes may be there.
    fn kill(self) -> Crashed {
        let Life { mut bench, versions, mut draws, .. } = self;
        if let Some(DiskOp::Append { path, data }) = bench.queue.pop_front().map(|request| request.op) {
            let part = data.slice(..draws.below(data.len() as u64) as usize);
            bench.disk.perform(DiskOp::Append { path, data: part }).unwrap();
        }
        Crashed { start: bench.log.log_start_offset(), least: bench.log.log_end_offset(), disk: bench.disk, versions }
    }

    fn power_off(self) -> Crashed {
        let Life { mut bench, versions, mut draws, .. } = self;
        bench.disk.lose_power(&mut draws);
        Crashed { start: bench.log.log_start_offset(), least: bench.log.durable_end(), disk: bench.disk, versions }
    }
}

struct Crashed {
    disk: Disk,
    /// Where the log began, and the end that it may not fall below.
    start: i64,
    least: i64,
    versions: Versions,
}

impl Crashed {
    fn judge(&self, log: &Log) {
        let (start, end) = (log.log_start_offset(), log.log_end_offset());
        assert!(self.versions.hold(start, end, log.digest()), "{start}..{end} was never in the log");
        if self.least > self.start {
            assert_eq!(start, self.start, "the log begins elsewhere");
            assert!(end >= self.least, "it ends at {end}, but {} was promised", self.least);
        }
        assert_epochs_fit(log);
    }
}

/// The epoch cache says what the batches say.
fn assert_epochs_fit(log: &Log) {
    let epochs: Vec<i32> = (log.log_start_offset()..log.log_end_offset()).map(|at| log.epoch_at(at).unwrap()).collect();
    assert!(epochs.is_sorted(), "epochs go back: {epochs:?}");
    assert_eq!(log.latest_epoch(), epochs.last().copied(), "an epoch without records came back");
}

fn crash(seed: u64, config: LogConfig, steps: &[Step], power: bool) -> Crashed {
    let mut life = Life::new(seed, config);
    steps.iter().for_each(|step| life.live(step));
    if power { life.power_off() } else { life.kill() }
}

/// Loads, loads again, and goes on.
fn recover(mut crashed: Crashed) {
    let (log, _) = load(&mut crashed.disk, SMALL, UNCLEAN, nobody(), u64::MAX).unwrap();
    crashed.judge(&log);
    let again = load(&mut crashed.disk, SMALL, UNCLEAN, nobody(), u64::MAX).unwrap();
    assert_eq!(again.0.digest(), log.digest(), "loading twice is not loading once");
    assert_eq!(again.0.log_end_offset(), log.log_end_offset());
    assert_eq!(again.1, if log.latest_epoch().is_some() { 1 } else { again.1 }, "the second load repaired again");
    go_on(crashed.disk);
}

/// The recovered log takes records, and has them after the next kill.
fn go_on(disk: Disk) {
    let mut bench = Bench::on(disk, SMALL, false);
    let mut draws = Draws::from_seed(5);
    bench.lead(1_000_000, vec![batch(&mut draws, 2, 10), batch(&mut draws, 1, 500)]);
    assert!(bench.flush());
    bench.pump_all();
    let (end, digest) = (bench.log.log_end_offset(), bench.log.digest());
    assert_eq!(bench.log.durable_end(), end);
    bench.disk.lose_power(&mut draws);
    let (log, _) = load(&mut bench.disk, SMALL, UNCLEAN, nobody(), u64::MAX).unwrap();
    assert_eq!((log.log_end_offset(), log.digest()), (end, digest), "flushed records were lost");
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 500,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(17),
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_killed_process_loses_nothing_that_was_in_the_log(seed: u64, steps in prop::collection::vec(step(), 1..40)) {
        recover(crash(seed, SMALL, &steps, false));
    }

    #[test]
    fn a_power_loss_loses_nothing_that_was_durable(seed: u64, steps in prop::collection::vec(step(), 1..40)) {
        recover(crash(seed, SMALL, &steps, true));
    }

    #[test]
    fn a_forced_sync_makes_the_end_durable(seed: u64, steps in prop::collection::vec(step(), 1..30)) {
        let config = LogConfig { flush_messages: 1, ..SMALL };
        let mut life = Life::new(seed, config);
        for step in &steps {
            life.live(step);
            let log = &life.bench.log;
            // A batch before a roll may show before its sync; whole appends may not.
            if log.quiet() && life.bench.queue.is_empty() {
                prop_assert_eq!(log.durable_end(), log.log_end_offset());
            }
        }
        recover(life.power_off());
    }

    #[test]
    fn a_crash_at_every_write_of_the_recovery_changes_nothing(
        seed: u64,
        steps in prop::collection::vec(step(), 1..40),
        power: bool,
    ) {
        let crashed = crash(seed, SMALL, &steps, true);
        let mut draws = Draws::from_seed(seed ^ 1);
        for limit in 0.. {
            let mut disk = crashed.disk.clone();
            if load(&mut disk, SMALL, UNCLEAN, nobody(), limit).is_some() {
                break;
            }
            if power {
                disk.lose_power(&mut draws);
            }
            let (log, _) = load(&mut disk, SMALL, UNCLEAN, nobody(), u64::MAX).unwrap();
            crashed.judge(&log);
        }
    }
}

#[test]
fn a_damaged_batch_ends_the_log_and_later_segments_go() {
    let mut life = Life::new(3, SMALL);
    (0..20).for_each(|_| life.live(&Step::Append(vec![1])));
    life.bench.pump_all();
    let segments: Vec<String> = life.bench.disk.list(DIR).into_iter().filter(|name| name.ends_with(".log")).collect();
    assert!(segments.len() > 3, "{segments:?}");
    let path = format!("{DIR}/{}", segments[1]);
    let mut content = life.bench.disk.content(&path).unwrap().to_vec();
    let last = content.len() - 1;
    content[last] ^= 1;
    life.bench.disk.perform(DiskOp::Write { path, data: content.into() }).unwrap();
    let crashed = life.kill();
    let mut disk = crashed.disk.clone();
    let (log, _) = load(&mut disk, SMALL, UNCLEAN, nobody(), u64::MAX).unwrap();
    assert!(crashed.versions.hold(0, log.log_end_offset(), log.digest()));
    let left: Vec<String> = disk.list(DIR).into_iter().filter(|name| name.ends_with(".log")).collect();
    assert_eq!(left, segments[..2]);
    assert!(log.log_end_offset() > segments[1][..20].parse().unwrap(), "batches before the damage stay");
}

#[test]
fn a_batch_larger_than_a_piece_is_loaded() {
    let config = LogConfig { max_message_bytes: 4 << 20, ..LogConfig::default() };
    let mut bench = Bench::new(config);
    let mut draws = Draws::from_seed(1);
    bench.lead(1, vec![batch(&mut draws, 1, 3 << 20), batch(&mut draws, 1, 10)]);
    bench.pump_all();
    let digest = bench.log.digest();
    let (log, _) = load(&mut bench.disk, config, UNCLEAN, nobody(), u64::MAX).unwrap();
    assert_eq!((log.log_end_offset(), log.digest()), (4, digest));
}

#[test]
fn a_clean_load_trusts_what_was_synced() {
    let mut bench = Bench::new(SMALL);
    let mut draws = Draws::from_seed(2);
    (0..8).for_each(|_| _ = bench.lead(3, vec![batch(&mut draws, 1, 100)]));
    assert!(bench.log.close(bench.now, &mut bench.out));
    bench.queue.extend(bench.out.drain());
    bench.pump_all();
    let reloaded = Bench::on(bench.disk, SMALL, true);
    assert_eq!(reloaded.log.durable_end(), 16);
    assert_eq!(reloaded.log.digest(), bench.log.digest());
    assert_eq!(reloaded.now, Now { mono_ns: 0, wall_ms: 1_000 });
}
