//! What a log does while it lives.

mod bench;
mod disk;

use bench::{Bench, DIR, TP, batch, sequenced};
use klamm_base::{DiskDone, DiskError, Draws, ErrorCode, Observation, Outbox};
use klamm_log::{LogConfig, ProducerCheck, Progress, ReadError};
use klamm_wire::records::{Batch, records, split};

fn small(segment_bytes: u32) -> LogConfig {
    LogConfig { segment_bytes, index_interval_bytes: 100, ..LogConfig::default() }
}

fn offsets(progress: &Option<Progress>) -> Vec<i64> {
    let Some(Progress::Read { result: Ok(data), .. }) = progress else { panic!("no records: {progress:?}") };
    let batches: Vec<Batch> = split(data).collect::<Result<_, _>>().unwrap();
    batches.iter().flat_map(|batch| records(batch).map(|record| record.unwrap().offset)).collect()
}

#[test]
fn the_end_moves_at_the_completion_of_the_write() {
    let mut bench = Bench::new(LogConfig::default());
    let mut draws = Draws::from_seed(1);
    assert_eq!(bench.lead(4, vec![batch(&mut draws, 2, 5)]), (0, 3));
    assert_eq!((bench.log.log_end_offset(), bench.log.next_offset()), (0, 4));
    assert!(!bench.log.quiet());
    assert!(bench.log.plan_read(0, 1 << 20, i64::MAX, true).is_none(), "nothing is readable yet");
    assert_eq!(bench.pump_all(), [Progress::Appended { to: 4 }]);
    assert_eq!((bench.log.log_end_offset(), bench.log.quiet()), (4, true));
    let seen = bench.seen.0.lock().unwrap();
    assert!(matches!(seen[0], Observation::LogLoaded { tp: TP, log_start: 0, log_end: 0, digest: 0 }));
    let appended = Observation::Appended {
        keys: Vec::new(),
        tp: TP,
        base_offset: 0,
        last_offset: 3,
        leader_epoch: 4,
        batch: match seen[2] {
            Observation::Appended { batch, .. } => batch,
            ref other => panic!("{other:?}"),
        },
        as_leader: true,
        position: 0,
        bytes: match seen[2] {
            Observation::Appended { bytes, .. } if bytes > 61 => bytes,
            ref other => panic!("{other:?}"),
        },
        producer: None,
        max_timestamp: 1_000,
    };
    assert_eq!(seen[1], Observation::ProducersLoaded { tp: TP, producers: Vec::new() });
    assert_eq!(seen[2..], [appended]);
}

#[test]
fn completions_of_voided_appends_do_not_move_the_end() {
    let mut bench = Bench::new(LogConfig::default());
    let mut draws = Draws::from_seed(1);
    bench.lead(1, vec![batch(&mut draws, 1, 5)]);
    bench.pump_all();
    bench.lead(1, vec![batch(&mut draws, 1, 5), batch(&mut draws, 1, 5)]);
    bench.lead(1, vec![batch(&mut draws, 1, 5)]);
    assert_eq!(bench.truncate(5), 4, "the batch 4..6 straddles the cut");
    assert_eq!((bench.log.log_end_offset(), bench.log.next_offset()), (2, 4));
    bench.lead(2, vec![batch(&mut draws, 3, 5)]);
    assert_eq!(bench.pump(1), [Progress::Appended { to: 4 }], "only the half that was not cut");
    assert_eq!(bench.pump(1), [], "void");
    assert!(!bench.log.quiet());
    let rest = bench.pump_all();
    assert!(rest.contains(&Progress::Appended { to: 10 }), "{rest:?}");
    assert!(bench.log.quiet());
    assert_eq!(offsets(&bench.read(0, 1 << 20, i64::MAX)), (0..10).collect::<Vec<_>>());
    assert_eq!(bench.log.end_offset_for(1), Some((1, 4)));
}

#[test]
fn a_read_gives_whole_batches_from_the_one_asked_for() {
    let mut bench = Bench::new(small(600));
    let mut draws = Draws::from_seed(1);
    (0..10).for_each(|_| _ = bench.lead(1, vec![batch(&mut draws, 1, 100)]));
    bench.pump_all();
    let size = bench.log.plan_read(0, 0, i64::MAX, true).unwrap().bytes() as u32;
    assert!(bench.log.plan_read(0, size - 1, i64::MAX, false).is_none(), "the first batch does not fit");
    assert_eq!(offsets(&bench.read(3, 0, i64::MAX)), [2, 3], "the first batch comes though it does not fit");
    assert_eq!(offsets(&bench.read(0, 2 * size, i64::MAX)), [0, 1, 2, 3]);
    assert_eq!(offsets(&bench.read(0, 1 << 20, 3)), [0, 1], "none reaches the bound");
    let first_segment = offsets(&bench.read(0, 1 << 20, i64::MAX));
    assert!(first_segment.len() < 20, "a read stays in its segment");
    let next = first_segment.len() as i64;
    assert_eq!(offsets(&bench.read(next, 1 << 20, i64::MAX))[0], next);
    assert!(bench.log.plan_read(20, 1 << 20, i64::MAX, true).is_none());
}

#[test]
fn a_read_takes_as_many_batches_as_fit_however_many_there_are() {
    let mut bench = Bench::new(LogConfig::default());
    (0..100).for_each(|i| _ = bench.lead(1, vec![sequenced(0, i, 1, 1_000)]));
    bench.pump_all();
    let size = bench.log.readable_bytes(0, 0, i64::MAX, true);
    for from in [0, 1, 50, 99] {
        for count in (1..40).chain([63, 64, 65, 100, 101]) {
            let left = 100 - from as u64;
            for (room, below) in [(count * size, 100), (count * size + size - 1, 100), (1 << 20, from + count as i64)] {
                let read = bench.log.readable_bytes(from, room as u32, below, false);
                assert_eq!(read, count.min(left) * size, "{count} from {from} on, below {below}");
            }
        }
    }
}

#[test]
fn a_read_from_before_a_cut_is_asked_anew() {
    let mut bench = Bench::new(LogConfig::default());
    let mut draws = Draws::from_seed(1);
    bench.lead(1, vec![batch(&mut draws, 1, 5), batch(&mut draws, 1, 5)]);
    bench.pump_all();
    let plan = bench.log.plan_read(0, 1 << 20, i64::MAX, true).unwrap();
    let ticket = bench.log.start_read(plan, &mut bench.out);
    let read: Vec<_> = bench.out.drain().collect();
    bench.truncate(2);
    bench.queue.extend(read);
    let progress = bench.pump_all();
    assert!(progress.contains(&Progress::Read { ticket, result: Err(ReadError::Again) }), "{progress:?}");
}

#[test]
fn one_read_serves_all_who_want_the_same_range_meanwhile() {
    let mut bench = Bench::new(LogConfig::default());
    let mut draws = Draws::from_seed(1);
    bench.lead(1, vec![batch(&mut draws, 1, 5)]);
    bench.pump_all();
    let plan = |bench: &Bench| bench.log.plan_read(0, 1 << 20, i64::MAX, true).unwrap();
    let (first, second) = (plan(&bench), plan(&bench));
    let first = bench.log.start_read(first, &mut bench.out);
    let second = bench.log.start_read(second, &mut bench.out);
    assert_eq!(bench.out.len(), 1);
    bench.queue.extend(bench.out.drain());
    let progress = bench.pump_all();
    let [Progress::Read { ticket: a, result: Ok(one) }, Progress::Read { ticket: b, result: Ok(other) }] =
        &progress[..]
    else {
        panic!("two reads end: {progress:?}");
    };
    assert_eq!((*a, *b, one), (first, second, other));
    let later = plan(&bench);
    bench.log.start_read(later, &mut bench.out);
    assert_eq!(bench.out.len(), 1, "a read that has ended serves nobody else");
}

#[test]
fn bytes_that_are_not_what_was_written_are_corrupt() {
    let mut bench = Bench::new(LogConfig::default());
    let mut draws = Draws::from_seed(1);
    bench.lead(1, vec![batch(&mut draws, 1, 5)]);
    bench.pump_all();
    let path = format!("{DIR}/{:020}.log", 0);
    bench.disk.perform(klamm_base::DiskOp::Truncate { path: path.clone(), len: 30 }).unwrap();
    let Some(Progress::Read { result, .. }) = bench.read(0, 1 << 20, i64::MAX) else { panic!("no read") };
    assert_eq!(result, Err(ReadError::Corrupt { path, position: 0 }));
}

#[test]
fn producers_are_known_again_after_a_cut_and_after_a_load() {
    let mut bench = Bench::new(small(300));
    for i in 0..6 {
        bench.lead(1, vec![sequenced(0, i * 2, 2, 1_000)]);
    }
    let check = |bench: &Bench, seq| bench.log.check_producer(&sequenced(0, seq, 2, 1_000), bench.now);
    let again =
        |base_offset| ProducerCheck::Duplicate { base_offset, last_offset: base_offset + 1, max_timestamp: 1_000 };
    assert_eq!(check(&bench, 10), again(10), "in flight counts");
    bench.truncate(8);
    assert_eq!(check(&bench, 8), ProducerCheck::Accept, "what was cut is not known");
    assert_eq!(check(&bench, 2), again(2));
    assert_eq!(check(&bench, 10), ProducerCheck::Refuse(ErrorCode::OutOfOrderSequenceNumber));
    bench.pump_all();
    let bench = Bench::on(bench.disk, small(300), false);
    assert_eq!(check(&bench, 8), ProducerCheck::Accept);
    assert_eq!(check(&bench, 6), again(6));
}

#[test]
fn a_segment_rolls_by_size_and_by_the_time_of_its_records() {
    let mut bench = Bench::new(LogConfig { segment_ms: 5_000, ..small(400) });
    bench.lead(1, vec![sequenced(0, 0, 1, 1_000)]);
    bench.lead(1, vec![sequenced(0, 1, 1, 6_000)]);
    bench.lead(1, vec![sequenced(0, 2, 1, 6_001)]);
    bench.lead(1, vec![sequenced(0, 3, 40, 6_001)]);
    let progress = bench.pump_all();
    assert!(progress.contains(&Progress::Flushed { to: 2 }), "a full segment is synced: {progress:?}");
    let logs: Vec<String> = bench.disk.list(DIR).into_iter().filter(|name| name.ends_with(".log")).collect();
    let bases = [0, 2, 3].map(|base: i64| format!("{base:020}.log"));
    assert_eq!(logs, bases);
}

#[test]
fn a_segment_rolls_before_its_time_index_is_full() {
    // Room for three entries of twelve bytes, one of which may come when the segment is closed; for four of eight.
    let mut bench = Bench::new(LogConfig { max_index_bytes: 36, ..small(1 << 20) });
    (0..12).for_each(|i| _ = bench.lead(1, vec![sequenced(0, i, 1, 1_000 + i64::from(i))]));
    bench.pump_all();
    let sizes = bench.disk.list(DIR).into_iter().filter(|name| name.ends_with(".timeindex"));
    let sizes: Vec<usize> = sizes.map(|name| bench.disk.content(&format!("{DIR}/{name}")).unwrap().len()).collect();
    assert_eq!(sizes, [24, 24]);
}

#[test]
fn a_batch_without_a_time_rolls_no_segment_that_has_one() {
    let mut bench = Bench::new(LogConfig { segment_ms: 5_000, ..small(1 << 20) });
    bench.lead(1, vec![sequenced(0, 0, 1, 1_000)]);
    bench.now.wall_ms += 10_000;
    bench.lead(1, vec![sequenced(0, 1, 1, -1)]);
    bench.pump_all();
    assert_eq!(bench.disk.list(DIR).iter().filter(|name| name.ends_with(".log")).count(), 1);
}

#[test]
fn a_full_segment_gets_an_index_of_kafkas_form() {
    let mut bench = Bench::new(small(500));
    (0..8).for_each(|i| _ = bench.lead(1, vec![sequenced(0, i, 1, 1_000)]));
    bench.pump_all();
    let size = bench.log.plan_read(0, 0, i64::MAX, true).unwrap().bytes() as i32;
    let index = bench.disk.content(&format!("{DIR}/{:020}.index", 0)).unwrap();
    let entries: Vec<(i32, i32)> = index
        .chunks(8)
        .map(|entry| {
            let (offset, position) = entry.split_at(4);
            (i32::from_be_bytes(offset.try_into().unwrap()), i32::from_be_bytes(position.try_into().unwrap()))
        })
        .collect();
    assert_eq!(entries, [(2, 2 * size), (4, 4 * size)], "one for about every hundred bytes");
}

#[test]
fn epochs_are_kept_in_their_file() {
    let mut bench = Bench::new(LogConfig::default());
    let mut draws = Draws::from_seed(1);
    bench.lead(1, vec![batch(&mut draws, 1, 5)]);
    bench.lead(3, vec![batch(&mut draws, 1, 5)]);
    bench.log.assign_epoch(5, 4, &mut bench.out);
    bench.queue.extend(bench.out.drain());
    bench.pump_all();
    let file = |bench: &Bench| {
        String::from_utf8(bench.disk.content(&format!("{DIR}/leader-epoch-checkpoint")).unwrap().to_vec()).unwrap()
    };
    assert_eq!(file(&bench), "0\n3\n1 0\n3 2\n5 4\n");
    assert_eq!(bench.log.end_offset_for(4), Some((3, 4)));
    assert_eq!(bench.truncate(4), 4, "an epoch without records goes");
    assert_eq!(bench.log.latest_epoch(), Some(3));
    bench.truncate(1);
    bench.pump_all();
    assert_eq!(file(&bench), "0\n0\n");
}

#[test]
fn a_forced_sync_holds_the_end_back() {
    let mut bench = Bench::new(LogConfig { flush_messages: 1, ..LogConfig::default() });
    let mut draws = Draws::from_seed(1);
    bench.lead(1, vec![batch(&mut draws, 1, 5)]);
    let written =
        bench.queue.iter().position(|request| matches!(request.op, klamm_base::DiskOp::Append { .. })).unwrap();
    assert_eq!(bench.pump(written + 1), [], "written, but not synced");
    assert_eq!(bench.pump_all(), [Progress::Appended { to: 2 }, Progress::Flushed { to: 2 }]);
}

#[test]
fn a_flush_of_what_is_durable_asks_for_nothing() {
    let mut bench = Bench::new(LogConfig::default());
    assert!(!bench.flush());
    let mut draws = Draws::from_seed(1);
    bench.lead(1, vec![batch(&mut draws, 1, 5)]);
    assert!(bench.flush());
    assert!(bench.flush(), "the first one is still under way");
    assert_eq!(bench.pump_all().last(), Some(&Progress::Flushed { to: 2 }));
    assert!(!bench.flush());
}

#[test]
fn a_failed_write_ends_the_log() {
    let mut bench = Bench::new(LogConfig::default());
    let mut draws = Draws::from_seed(1);
    bench.lead(1, vec![batch(&mut draws, 1, 5)]);
    let ticket = bench.queue.pop_back().unwrap().ticket;
    let error = DiskError::NoSpace { path: "data".to_owned() };
    let done = DiskDone { ticket, result: Err(error.clone()) };
    let mut progress = Outbox::new();
    bench.log.disk_done(done, &mut progress);
    assert_eq!(progress.drain().collect::<Vec<_>>(), [Progress::Failed(error)]);
    let refused = bench.log.append_as_leader(bench.now, vec![batch(&mut draws, 1, 5)], 1, &mut bench.out);
    assert_eq!(refused, Err(ErrorCode::KafkaStorageError));
}

#[test]
fn a_batch_is_found_by_its_time() {
    let mut bench = Bench::new(small(300));
    for (i, time) in [1_000, 3_000, 2_000, 5_000].into_iter().enumerate() {
        bench.lead(1, vec![sequenced(0, i as i32 * 2, 2, time)]);
    }
    bench.pump_all();
    let found = |time| bench.log.find_by_timestamp(time, 0, i64::MAX).map(|hit| hit.base_offset);
    assert_eq!([found(0), found(1_001), found(3_001), found(5_001)], [Some(0), Some(2), Some(6), None]);
    assert_eq!(bench.log.find_by_timestamp(3_001, 0, 7), None, "not below the bound");
    assert_eq!(bench.log.find_max_timestamp(i64::MAX, None).unwrap().base_offset, 6);
    assert_eq!(bench.log.find_max_timestamp(6, None).unwrap().base_offset, 2);
    let from = |from| bench.log.find_by_timestamp(2_000, from, i64::MAX).map(|hit| hit.base_offset);
    assert_eq!([from(3), from(4), from(6), from(8)], [Some(2), Some(4), Some(6), None]);
    let mut after = None;
    let order = std::iter::from_fn(|| {
        after = bench.log.find_max_timestamp(i64::MAX, after.as_ref());
        after.map(|hit| hit.base_offset)
    });
    assert_eq!(order.collect::<Vec<_>>(), [6, 2, 4, 0]);
}

#[test]
fn a_follower_takes_only_what_continues_its_log() {
    let mut bench = Bench::new(LogConfig::default());
    let mut draws = Draws::from_seed(1);
    let far = batch(&mut draws, 1, 5).placed(7, 2);
    let refused = bench.log.append_as_follower(bench.now, vec![far], false, &mut bench.out);
    assert_eq!(refused, Err(ErrorCode::CorruptMessage));
    let next = vec![batch(&mut draws, 1, 5).placed(0, 2), batch(&mut draws, 2, 5).placed(2, 4)];
    assert_eq!(bench.log.append_as_follower(bench.now, next, false, &mut bench.out), Ok(()));
    assert_eq!((bench.log.next_offset(), bench.log.epoch_start(4)), (6, Some(2)));
}

#[test]
fn a_log_that_begins_anew_knows_no_epoch_of_before() {
    let mut bench = Bench::new(LogConfig::default());
    let mut draws = Draws::from_seed(1);
    bench.lead(3, vec![batch(&mut draws, 1, 5)]);
    bench.log.truncate_fully_and_start_at(90, &mut bench.out);
    bench.queue.extend(bench.out.drain());
    bench.pump_all();
    assert_eq!((bench.log.latest_epoch(), bench.log.end_offset_for(3)), (None, None));
    let path = format!("{DIR}/leader-epoch-checkpoint");
    assert_eq!(bench.disk.content(&path), Some(&b"0\n0\n"[..]));
}

#[test]
fn segments_go_out_of_date_while_the_log_is_written_to() {
    let mut bench = Bench::new(LogConfig { retention_ms: 1_000, ..small(300) });
    for i in 0..5 {
        bench.lead(1, vec![sequenced(0, i * 2, 2, 1_000)]);
    }
    bench.pump_all();
    bench.lead(1, vec![sequenced(0, 10, 2, 1_000)]);
    bench.now.wall_ms = 9_500;
    assert!(!bench.log.quiet(), "a write is in flight");
    assert!(!bench.log.expire(bench.now, 10, &mut bench.out), "all that is written is out of date");
    assert_eq!(bench.log.first_segment_offset(), 0, "it waits, and goes whole");
    assert!(bench.log.expire(bench.now, 9, &mut bench.out), "the segment that is written to is not committed whole");
    bench.queue.extend(bench.out.drain());
    bench.pump_all();
    assert_eq!((bench.log.log_start_offset(), bench.log.log_end_offset()), (6, 12));
    let load = Bench::on(bench.disk.clone(), LogConfig::default(), false).log;
    assert_eq!((load.log_start_offset(), load.log_end_offset()), (6, 12));
    assert!(bench.log.expire(bench.now, 12, &mut bench.out));
    assert_eq!(bench.log.log_start_offset(), 12);
}
