//! What the checkpoints of a log directory say, and when.

mod world;

use klamm_base::ErrorCode;
use world::World;
use world::client::{code, values};

/// Everything is synced at once, and checkpoints are written often.
const EAGER: &[(&str, &str)] = &[
    ("log.flush.interval.messages", "1"),
    ("log.flush.offset.checkpoint.interval.ms", "200"),
    ("log.flush.start.offset.checkpoint.interval.ms", "200"),
    ("replica.high.watermark.checkpoint.interval.ms", "200"),
];

/// A process with a topic of three records.
fn three_records(settings: &[(&str, &str)]) -> World {
    let mut world = World::new(1, true, settings);
    world.await_unfenced(1);
    world.create(1, "orders", 1);
    world.await_leader(1, "orders", |_| true);
    for value in ["a", "b", "c"] {
        world.produce_surely(1, "orders", -1, value);
    }
    world
}

/// What a checkpoint says of the topic's first partition.
fn says(world: &mut World, id: i32, name: &str) -> Option<i64> {
    let text = String::from_utf8(world.files(id).get(&format!("data/{name}-offset-checkpoint"))?.clone()).unwrap();
    text.lines().find_map(|line| line.strip_prefix("orders 0 ")?.parse().ok())
}

fn stop(world: &mut World, id: i32) {
    world.stop(id);
    world.until(20_000, "stop", |world| world.has_stopped(id));
}

#[test]
fn deleted_records_stay_deleted_after_a_restart() {
    let mut world = three_records(EAGER);
    assert_eq!(world.delete_records(1, "orders", 4), Err(ErrorCode::OffsetOutOfRange));
    assert_eq!(world.delete_records(1, "nothing", 0), Err(ErrorCode::UnknownTopicOrPartition));
    assert_eq!(world.delete_records(1, "orders", 2), Ok(2));
    assert_eq!(code(world.fetch(1, "orders", 1).error_code), ErrorCode::OffsetOutOfRange);
    world.run(500);
    world.kill(1);
    assert_eq!(says(&mut world, 1, "log-start"), Some(2));
    world.start(1);
    world.await_leader(1, "orders", |_| true);
    assert_eq!(world.list_offset(1, "orders", -2), 2);
    assert_eq!(code(world.fetch(1, "orders", 1).error_code), ErrorCode::OffsetOutOfRange);
    assert_eq!(values(&world.fetch(1, "orders", 2)), ["c"]);
    assert_eq!(world.delete_records(1, "orders", -1), Ok(3));
    assert_eq!((world.list_offset(1, "orders", -2), world.list_offset(1, "orders", -1)), (3, 3));
}

#[test]
fn deleted_records_stay_deleted_when_a_stop_comes_while_logs_are_loaded() {
    let mut world = three_records(&[]);
    world.delete_records(1, "orders", 2).unwrap();
    stop(&mut world, 1);
    assert_eq!(says(&mut world, 1, "log-start"), Some(2));
    world.asked(1);
    world.stall_disk(1, Some("data/orders-0"));
    world.start(1);
    world.run(2_000);
    assert!(world.asked(1).contains(&"CreateDir data/orders-0".to_owned()), "the load has begun");
    stop(&mut world, 1);
    assert_eq!((says(&mut world, 1, "log-start"), says(&mut world, 1, "replication")), (Some(2), Some(3)));
    world.stall_disk(1, None);
    world.start(1);
    world.await_leader(1, "orders", |_| true);
    assert_eq!(world.list_offset(1, "orders", -2), 2);
}

#[test]
fn a_high_watermark_is_remembered_over_a_restart() {
    let mut world = World::new(3, false, &[EAGER, &[("min.insync.replicas", "2")]].concat());
    world.await_unfenced(3);
    world.create(1, "orders", 3);
    let leader = world.await_leader(1, "orders", |_| true);
    for value in ["a", "b", "c"] {
        world.produce_surely(leader, "orders", -1, value);
    }
    world.run(2_000);
    (1..=3).for_each(|id| world.kill(id));
    assert_eq!((1..=3).map(|id| says(&mut world, id, "replication")).collect::<Vec<_>>(), [Some(3); 3]);
    world.start(leader);
    world.run(15_000);
    let last = world.metadata(leader, "orders", false).1.partitions[0].isr_nodes[0];
    world.kill(leader);
    world.start(last);
    world.await_leader(last, "orders", |leader| leader == last);
    assert_eq!(code(world.produce(last, "orders", -1, "d").error_code), ErrorCode::NotEnoughReplicas);
    let data = world.fetch(last, "orders", 0);
    assert_eq!((values(&data).len(), data.high_watermark), (3, 3), "one alone could not commit them again");
}

#[test]
fn checkpoints_do_not_outlive_what_a_load_did_not_find() {
    let mut world = three_records(EAGER);
    world.run(500);
    world.kill(1);
    assert_eq!((says(&mut world, 1, "recovery-point"), says(&mut world, 1, "replication")), (Some(3), Some(3)));
    let log = world.files(1).get_mut("data/orders-0/00000000000000000000.log").unwrap();
    log.truncate(log.len() / 3 + 10);
    let seldom: Vec<(&str, &str)> = EAGER[1..].iter().map(|(key, _)| (*key, "60000")).collect();
    world.configure(1, &seldom);
    world.start(1);
    world.await_leader(1, "orders", |_| true);
    assert_eq!((says(&mut world, 1, "recovery-point"), says(&mut world, 1, "replication")), (Some(1), Some(1)));
}

#[test]
fn a_load_that_finds_all_writes_no_checkpoint() {
    let mut world = three_records(EAGER);
    world.run(500);
    world.kill(1);
    let seldom: Vec<(&str, &str)> = EAGER[1..].iter().map(|(key, _)| (*key, "60000")).collect();
    world.configure(1, &seldom);
    world.asked(1);
    world.start(1);
    world.await_leader(1, "orders", |_| true);
    let asked = world.asked(1);
    assert!(asked.iter().any(|op| op.starts_with("Read data/orders-0/")), "the log was loaded");
    let written: Vec<_> =
        asked.iter().filter(|op| op.starts_with("Write data/") && op.ends_with("-offset-checkpoint.tmp")).collect();
    assert!(written.is_empty(), "{written:?}");
}

/// b1 alone has a record that was never committed, and that its checkpoints know to be durable; another leads meanwhile.
#[test]
fn no_checkpoint_is_above_a_cut_not_even_before_it() {
    let mut world = World::new(2, false, &[EAGER, &[("replica.lag.time.max.ms", "100000")]].concat());
    world.await_unfenced(2);
    world.create(1, "orders", 2);
    let old = world.await_leader(1, "orders", |_| true);
    let new = 3 - old;
    world.produce_surely(old, "orders", -1, "a");
    world.cut.insert((new, old));
    // The fetch that waits at the old leader comes back before that.
    world.run(1_000);
    world.produce_surely(old, "orders", 1, "alone");
    world.run(1_000);
    world.kill(old);
    assert_eq!(says(&mut world, old, "recovery-point"), Some(2));
    world.cut.clear();
    world.await_leader(new, "orders", |leader| leader == new);
    world.produce_surely(new, "orders", 1, "b");
    world.asked(old);
    let seldom: Vec<(&str, &str)> = EAGER[1..].iter().map(|(key, _)| (*key, "60000")).collect();
    world.configure(old, &seldom);
    world.start(old);
    world.run(5_000);
    let asked = world.asked(old);
    let at = |op: &str| asked.iter().position(|asked| asked == op).unwrap_or_else(|| panic!("no {op} in {asked:#?}"));
    let cut = at("Truncate data/orders-0/00000000000000000000.log");
    assert!(at("Rename data/recovery-point-offset-checkpoint.tmp") < cut, "{asked:#?}");
    assert!(!asked.iter().any(|op| op.contains("log-start-offset-checkpoint.tmp")), "it said no more than there is");
    assert_eq!(values(&world.fetch(new, "orders", 0)), ["a", "b"]);
}

#[test]
fn intervals_of_zero_come_to_an_end() {
    let keys = [
        "log.cleaner.backoff.ms",
        "log.initial.task.delay.ms",
        "log.segment.delete.delay.ms",
        "log.flush.interval.ms",
        "replica.fetch.backoff.ms",
    ];
    let mut world = three_records(&keys.map(|key| (key, "0")));
    world.run(10_000);
    assert_eq!(values(&world.fetch(1, "orders", 0)), ["a", "b", "c"]);
    assert_eq!(says(&mut world, 1, "replication"), Some(3));
}

#[test]
fn a_checkpoint_is_read_however_long_it_is() {
    let mut world = three_records(EAGER);
    world.delete_records(1, "orders", 2).unwrap();
    world.run(500);
    world.kill(1);
    let others: String = (0..50_000).map(|i| format!("another-topic-with-a-long-name-{i:06} 0 7\n")).collect();
    let text = format!("0\n50001\n{others}orders 0 2\n");
    assert!(text.len() > 1 << 20);
    world.files(1).insert("data/log-start-offset-checkpoint".to_owned(), text.into_bytes());
    world.start(1);
    world.await_leader(1, "orders", |_| true);
    assert_eq!(world.list_offset(1, "orders", -2), 2);
}
