//! Several log directories, and one that fails.

mod world;

use klamm_base::ErrorCode;
use world::World;
use world::client::{PRODUCE, batch, code, produce_request, values};

const TWO: &[(&str, &str)] = &[
    ("log.dirs", "a,b"),
    ("log.flush.offset.checkpoint.interval.ms", "200"),
    ("log.flush.start.offset.checkpoint.interval.ms", "200"),
    ("replica.high.watermark.checkpoint.interval.ms", "200"),
];

/// A process with two directories, and a topic in each: the topic in `a`, and the one in `b`.
fn two_dirs(combined: bool, settings: &[(&str, &str)]) -> (World, [&'static str; 2]) {
    let mut world = World::new(1, combined, &[TWO, settings].concat());
    world.await_unfenced(1);
    for topic in ["first", "second"] {
        world.create(1, topic, 1);
        world.await_leader(1, topic, |_| true);
        world.produce_surely(1, topic, -1, topic);
    }
    world.run(1_000);
    let mut lies_in = |dir: &str| {
        let path = |topic: &str| format!("{dir}/{topic}-0/00000000000000000000.log");
        let files = world.files(1);
        let inside: Vec<_> = ["first", "second"].into_iter().filter(|topic| files.contains_key(&path(topic))).collect();
        assert_eq!(inside.len(), 1, "new partitions go where the fewest are");
        inside[0]
    };
    let topics = [lies_in("a"), lies_in("b")];
    (world, topics)
}

fn stop(world: &mut World, id: i32) {
    world.stop(id);
    world.until(20_000, "stop", |world| world.has_stopped(id));
}

#[test]
fn a_partition_stays_in_its_directory() {
    let (mut world, topics) = two_dirs(true, &[]);
    stop(&mut world, 1);
    for dir in ["a", "b"] {
        assert!(world.files(1).contains_key(&format!("{dir}/.kafka_cleanshutdown")));
    }
    world.start(1);
    for topic in topics {
        world.await_leader(1, topic, |_| true);
        assert_eq!(values(&world.fetch(1, topic, 0)), [topic]);
    }
    let logs = world.files(1).keys().filter(|path| path.ends_with(".log") && !path.contains("metadata")).count();
    assert_eq!(logs, 2, "each log is there once");
}

#[test]
fn a_failed_directory_takes_its_own_partitions_along_and_no_other() {
    let (mut world, [lives, fails]) = two_dirs(true, &[]);
    world.break_disk(1, "b");
    let first = world.produce(1, fails, 1, "lost");
    assert_eq!(code(first.error_code), ErrorCode::NotLeaderOrFollower, "it may be there");
    assert_eq!(code(world.produce(1, fails, 1, "refused").error_code), ErrorCode::KafkaStorageError);
    assert_eq!(code(world.fetch(1, fails, 0).error_code), ErrorCode::KafkaStorageError);
    assert_eq!(world.produce_surely(1, lives, -1, "more"), 1);
    assert_eq!(values(&world.fetch(1, lives, 0)), [lives, "more"]);
}

#[test]
fn the_last_directory_takes_the_process_along() {
    let (mut world, [other, fails]) = two_dirs(false, &[]);
    world.break_disk(1, "b");
    world.produce(1, fails, 1, "lost");
    assert!(world.is_up(1), "one is left");
    world.break_disk(1, "a");
    world.ask(1, &produce_request(other, 1, batch("lost")), PRODUCE);
    world.settle();
    let reason = world.fatal(1).expect("the process has ended");
    assert!(reason.starts_with("node 1: the log directory a failed: a/"), "{reason}");
}

#[test]
fn a_stop_ends_though_the_mark_of_a_directory_cannot_be_written() {
    let (mut world, _) = two_dirs(true, &[]);
    world.break_disk(1, "SyncDir b");
    stop(&mut world, 1);
    assert!(world.files(1).contains_key("a/.kafka_cleanshutdown"));
}

#[test]
fn a_log_in_a_directory_that_failed_meanwhile_is_not_looked_for() {
    let (mut world, [lives, fails]) = two_dirs(false, &[]);
    world.kill(1);
    world.cut.insert((1, 9));
    // So that something is written before metadata comes.
    world.files(1).remove("b/log-start-offset-checkpoint");
    world.start(1);
    world.settle();
    world.break_disk(1, "b");
    world.run(1_000);
    world.mend_disk(1);
    world.asked(1);
    world.cut.clear();
    world.await_leader(1, lives, |_| true);
    assert_eq!(values(&world.fetch(1, lives, 0)), [lives]);
    assert_eq!(code(world.fetch(1, fails, 0).error_code), ErrorCode::KafkaStorageError);
    let asked = world.asked(1);
    assert!(asked.iter().all(|op| !op.contains("b/")), "{asked:#?}");
}
