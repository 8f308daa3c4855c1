//! A log survives a crash at every write.

mod bench;
mod disk;
mod life;

use bench::{Bench, DIR, batch, load_on, load_without, marker, written};
use klamm_base::{DiskOp, Draws, Guard, Now};
use klamm_log::{LastKnown, LogConfig};
use life::{Crashed, Life, SMALL, Step, UNCLEAN, recover, recover_with_every_cut, step};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

fn crash(seed: u64, config: LogConfig, steps: &[Step], power: bool) -> Crashed {
    let mut life = Life::new(seed, config);
    steps.iter().for_each(|step| life.live(step));
    if power { life.power_off(seed ^ 2) } else { life.kill() }
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
        recover(life.power_off(seed ^ 2));
    }

    #[test]
    fn a_crash_at_every_write_of_the_recovery_changes_nothing(
        seed: u64,
        steps in prop::collection::vec(step(), 1..40),
        power: bool,
    ) {
        let crashed = crash(seed, SMALL, &steps, true);
        recover_with_every_cut(&crashed, power, &mut Draws::from_seed(seed ^ 1));
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
    let mut disk = life.kill().disk;
    let (log, _) = load_on(&mut disk, SMALL, UNCLEAN);
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
    let (log, _) = load_on(&mut bench.disk, config, UNCLEAN);
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

#[test]
fn an_offset_that_no_index_of_the_segment_can_name_ends_the_log_even_where_it_is_trusted() {
    let mut bench = Bench::new(LogConfig::default());
    let mut draws = Draws::from_seed(2);
    let path = format!("{DIR}/00000000000000000000.log");
    bench.lead(3, vec![batch(&mut draws, 1, 100)]);
    bench.pump_all();
    let second = bench.disk.content(&path).unwrap().len();
    bench.lead(3, vec![batch(&mut draws, 1, 100)]);
    bench.pump_all();
    assert!(bench.log.close(bench.now, &mut bench.out));
    bench.queue.extend(bench.out.drain());
    bench.pump_all();
    let mut content = bench.disk.content(&path).unwrap().to_vec();
    content[second + 1] ^= 8;
    bench.disk.perform(DiskOp::Write { path, data: content.into() }).unwrap();
    assert_eq!(Bench::on(bench.disk, LogConfig::default(), true).log.log_end_offset(), 2);
}

#[test]
fn without_checksums_a_torn_batch_is_taken_for_one() {
    let mut bench = Bench::new(SMALL);
    let mut draws = Draws::from_seed(4);
    (0..2).for_each(|_| _ = bench.lead(1, vec![batch(&mut draws, 1, 50)]));
    bench.pump_all();
    let path = format!("{DIR}/00000000000000000000.log");
    let mut content = bench.disk.content(&path).unwrap().to_vec();
    let torn = content.len() - 20;
    content[torn..].fill(0);
    bench.disk.perform(DiskOp::Write { path, data: content.into() }).unwrap();
    let mut other = bench.disk.clone();
    assert_eq!(load_on(&mut other, SMALL, UNCLEAN).0.log_end_offset(), 2);
    assert_eq!(load_without(&[Guard::RecoveryCrc], &mut bench.disk, SMALL, UNCLEAN).log_end_offset(), 4);
}

#[test]
fn without_its_guard_a_snapshot_beyond_the_end_is_believed_and_stays() {
    let mut bench = Bench::new(LogConfig::default());
    let mut draws = Draws::from_seed(5);
    bench.lead(1, vec![batch(&mut draws, 1, 50)]);
    assert!(bench.log.close(bench.now, &mut bench.out));
    bench.queue.extend(bench.out.drain());
    bench.pump_all();
    let names = |disk: &disk::Disk| disk.list(DIR).into_iter().filter(|name| name.ends_with(".snapshot")).count();
    let path = format!("{DIR}/00000000000000000000.log");
    bench.disk.perform(DiskOp::Truncate { path, len: 0 }).unwrap();
    let mut other = bench.disk.clone();
    load_on(&mut other, LogConfig::default(), UNCLEAN);
    load_without(&[Guard::SnapshotWithinLog], &mut bench.disk, LogConfig::default(), UNCLEAN);
    assert_eq!((names(&other), names(&bench.disk)), (0, 1));
}

/// Spoils the file of the segment that begins the log.
fn spoil(bench: &mut Bench, change: impl Fn(&mut Vec<u8>)) {
    let path = format!("{DIR}/{:020}.log", 0);
    let mut content = bench.disk.content(&path).unwrap().to_vec();
    change(&mut content);
    bench.disk.perform(DiskOp::Write { path, data: content.into() }).unwrap();
}

#[test]
fn a_segment_that_was_trusted_for_those_behind_it_is_checked_when_they_go() {
    let mut bench = Bench::new(SMALL);
    let mut draws = Draws::from_seed(6);
    (0..12).for_each(|_| _ = bench.lead(1, vec![batch(&mut draws, 1, 100)]));
    bench.flush();
    bench.pump_all();
    // A record of the first batch, which only a checksum tells, and then what stands behind the last one.
    spoil(&mut bench, |content| content[70] ^= 1);
    let synced = LastKnown { recovery_point: bench.log.durable_end(), ..UNCLEAN };
    assert_eq!(load_on(&mut bench.disk.clone(), SMALL, synced).0.log_end_offset(), 24, "nobody looks");
    spoil(&mut bench, |content| content.extend([1; 8]));
    for _ in 0..2 {
        assert_eq!(load_on(&mut bench.disk, SMALL, synced).0.log_end_offset(), 0);
    }
}

#[test]
fn a_log_that_ends_below_its_start_begins_anew_and_knows_no_producer() {
    let mut bench = Bench::new(SMALL);
    bench.lead(1, vec![written(3, 0, true, 1)]);
    bench.log.close(bench.now, &mut bench.out);
    bench.queue.extend(bench.out.drain());
    bench.pump_all();
    let known = LastKnown { log_start: 100, ..UNCLEAN };
    for _ in 0..2 {
        let (log, _) = load_on(&mut bench.disk, SMALL, known);
        assert_eq!((log.log_start_offset(), log.log_end_offset(), log.producers()), (100, 100, Vec::new()));
    }
    let mut bench = Bench::knowing(bench.disk, SMALL, known);
    bench.lead(2, vec![written(4, 0, false, 2)]);
    bench.pump_all();
    assert_eq!(bench.log.last_stable_offset(102), 102, "nobody waits for a transaction that is gone");
}

#[test]
fn a_log_that_was_loaded_empty_leaves_no_file_where_it_began() {
    let mut bench = Bench::knowing(disk::Disk::default(), SMALL, LastKnown { log_start: 10, ..UNCLEAN });
    bench.log.truncate_fully_and_start_at(20, &mut bench.out);
    bench.lead(1, vec![batch(&mut Draws::from_seed(7), 1, 10)]);
    bench.pump_all();
    let (log, _) = load_on(&mut bench.disk, SMALL, UNCLEAN);
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (20, 22));
}

#[test]
fn what_was_replaced_goes_before_what_stands_for_it() {
    let mut disk = disk::Disk::default();
    for (base, data) in [(0, batches(&[0, 1])), (1, batches(&[1, 2, 3]))] {
        disk.perform(DiskOp::Write { path: format!("{DIR}/{base:020}.log"), data: data.into() }).unwrap();
    }
    let known = LastKnown { log_start: 3, ..UNCLEAN };
    for limit in 0..4 {
        let mut disk = disk.clone();
        bench::load(&mut disk, SMALL, known, bench::nobody(), limit);
        let (log, _) = load_on(&mut disk, SMALL, known);
        assert_eq!((log.first_segment_offset(), log.log_end_offset()), (3, 3), "cut after {limit}");
    }
}

/// A file with a marker at each of these offsets.
fn batches(bases: &[i64]) -> Vec<u8> {
    bases.iter().flat_map(|base| marker(1, true).into_placed(*base, 1).bytes.to_vec()).collect()
}

#[test]
fn a_batch_whose_offset_fits_no_index_ends_the_log_and_stops_no_load() {
    let config = LogConfig { index_interval_bytes: 1, compact: true, ..SMALL };
    let mut disk = disk::Disk::default();
    let far = 1 << 40;
    for (base, data) in [(0, batches(&[0, 1, 2, far])), (far + 1, batches(&[far + 1]))] {
        disk.perform(DiskOp::Write { path: format!("{DIR}/{base:020}.log"), data: data.into() }).unwrap();
    }
    assert_eq!(load_on(&mut disk, config, UNCLEAN).0.log_end_offset(), 3);
    assert_eq!(load_on(&mut disk, config, UNCLEAN).0.log_end_offset(), 3, "again");
}
