//! Several log directories, and one that fails.

mod world;

use klamm_base::{ErrorCode, NodeId, TopicPartition, Uuid};
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

/// Three brokers with two directories each, and a topic in `a` and one in `b`, everywhere.
fn three() -> (World, [&'static str; 2]) {
    let mut world = World::new(3, false, &[TWO, &[("min.insync.replicas", "2")]].concat());
    world.await_unfenced(3);
    for topic in ["first", "second"] {
        world.create(1, topic, 3);
        let leader = world.await_leader(1, topic, |_| true);
        world.produce_surely(leader, topic, -1, topic);
    }
    world.run(1_000);
    for id in 1..=3 {
        for (dir, topic) in [("a", "first"), ("b", "second")] {
            assert!(lies_in(&mut world, id, dir, topic), "{topic} is in {dir} of {id}: there were the fewest");
        }
    }
    (world, ["first", "second"])
}

fn lies_in(world: &mut World, id: i32, dir: &str, topic: &str) -> bool {
    world.files(id).contains_key(&format!("{dir}/{topic}-0/00000000000000000000.log"))
}

/// What metadata says, as `at` knows it: the leader, and how many replicas are in sync.
fn state(world: &mut World, at: i32, topic: &str) -> (i32, usize) {
    let partition = world.metadata(at, topic, false).1.partitions[0].clone();
    (partition.leader_id, partition.isr_nodes.len())
}

/// Asks again every 100 ms until so many replicas are in sync.
fn await_isr(world: &mut World, at: i32, topic: &str, count: usize) {
    for _ in 0..600 {
        if state(world, at, topic).1 == count {
            return;
        }
        world.run(100);
    }
    panic!("{topic}: {:?}, {count} in sync are wanted", state(world, at, topic));
}

/// The ids in a directory's `meta.properties` and, in metadata, of the directory where a replica lies.
fn ids(world: &mut World, id: i32, dir: &str, topic: &str) -> (Uuid, Uuid) {
    let text = String::from_utf8(world.files(id)[&format!("{dir}/meta.properties")].clone()).unwrap();
    let own = text.lines().find_map(|line| line.strip_prefix("directory.id=")).expect("an id");
    let image = world.node(id).image();
    let (topic, _) = image.topic_by_name(topic).expect("the topic");
    let partition = image.partition(TopicPartition { topic, partition: 0 }).expect("the partition");
    (Uuid::try_from(own.to_owned()).unwrap(), partition.directory(NodeId(id)))
}

#[test]
fn metadata_says_in_which_directory_each_replica_lies() {
    let (mut world, topics) = three();
    for (dir, topic) in ["a", "b"].into_iter().zip(topics) {
        for id in 1..=3 {
            let (own, known) = ids(&mut world, id, dir, topic);
            assert_eq!(own, known, "{topic} on {id}");
        }
    }
}

#[test]
fn a_failed_directory_hands_its_leaderships_over_and_its_broker_carries_on() {
    let (mut world, [lives, fails]) = three();
    let leader = world.await_leader(1, fails, |_| true);
    let other = leader % 3 + 1;
    world.break_disk(leader, "b");
    world.produce(leader, fails, 1, "perhaps");
    let next = world.await_leader(other, fails, |next| next != leader);
    await_isr(&mut world, other, fails, 2);
    let offset = world.produce_surely(next, fails, -1, "more");
    assert_eq!(values(&world.fetch(next, fails, offset)), ["more"]);
    assert_eq!(code(world.produce(leader, fails, 1, "x").error_code), ErrorCode::KafkaStorageError);
    world.run(60_000);
    assert!(world.is_up(leader), "longer than log.dir.failure.timeout.ms: {:?}", world.fatal(leader));
    assert_eq!((state(&mut world, other, lives).1, state(&mut world, other, fails).1), (3, 2));
    assert_eq!(world.metadata(other, fails, false).1.partitions[0].offline_replicas, [leader]);
    world.stop(leader);
    world.until(20_000, "stop", |world| world.has_stopped(leader));
    world.mend_disk(leader);
    world.start(leader);
    await_isr(&mut world, other, fails, 3);
}

#[test]
fn a_failure_that_no_controller_can_be_told_ends_the_broker_in_time() {
    let (mut world, [_, fails]) = three();
    world.cut.insert((1, 9));
    world.run(1_000);
    world.break_disk(1, "b");
    world.produce(1, fails, 1, "lost");
    world.run(25_000);
    assert!(world.is_up(1), "{:?}", world.fatal(1));
    world.run(10_000);
    assert_eq!(world.fatal(1), Some("node 1: the log directory b failed, and no controller could be told"));
}

#[test]
fn a_directory_that_fails_at_the_start_is_not_fatal_while_another_lives() {
    let (mut world, [lives, fails]) = three();
    let away = world.await_leader(1, fails, |_| true);
    let other = away % 3 + 1;
    world.stop(away);
    world.until(20_000, "stop", |world| world.has_stopped(away));
    world.break_disk(away, "b");
    world.start(away);
    await_isr(&mut world, other, lives, 3);
    assert_eq!(state(&mut world, other, fails).1, 2);
    assert!(!lies_in(&mut world, away, "a", fails), "it may lie in the directory that cannot be read");
    assert_eq!(code(world.fetch(away, fails, 0).error_code), ErrorCode::KafkaStorageError);
    world.create(other, "third", 3);
    let leader = world.await_leader(other, "third", |_| true);
    await_isr(&mut world, other, "third", 3);
    world.produce_surely(leader, "third", -1, "x");
    world.run(1_000);
    assert!(lies_in(&mut world, away, "a", "third"), "what is new lies where it can");
    world.kill(away);
    world.mend_disk(away);
    world.start(away);
    await_isr(&mut world, other, fails, 3);
    assert!(lies_in(&mut world, away, "b", fails));
}

#[test]
fn a_new_disk_in_the_place_of_an_old_one_is_filled_again() {
    let (mut world, [_, fails]) = three();
    let away = world.await_leader(1, fails, |_| true);
    let other = away % 3 + 1;
    let (before, _) = ids(&mut world, away, "b", fails);
    world.stop(away);
    world.until(20_000, "stop", |world| world.has_stopped(away));
    world.files(away).retain(|path, _| !path.starts_with("b/"));
    world.start(away);
    await_isr(&mut world, other, fails, 3);
    world.run(1_000);
    let dir = if lies_in(&mut world, away, "b", fails) { "b" } else { "a" };
    let (own, known) = ids(&mut world, away, dir, fails);
    assert!(own == known && own != before, "{before} is no more");
}

#[test]
fn a_directory_from_before_directories_had_ids_gets_one() {
    let (mut world, topics) = two_dirs(true, &[]);
    world.kill(1);
    let meta = world.files(1).get_mut("b/meta.properties").unwrap();
    let text = String::from_utf8(meta.clone()).unwrap();
    *meta = text
        .lines()
        .filter(|line| !line.starts_with("directory.id"))
        .map(|line| format!("{line}\n"))
        .collect::<String>()
        .into();
    world.start(1);
    world.await_leader(1, topics[1], |_| true);
    world.run(1_000);
    let (own, known) = ids(&mut world, 1, "b", topics[1]);
    assert_eq!(own, known);
    assert_eq!(values(&world.fetch(1, topics[1], 0)), [topics[1]]);
}

#[test]
fn two_directories_of_one_id_are_refused() {
    let (mut world, _) = two_dirs(true, &[]);
    world.kill(1);
    let meta = world.files(1)["a/meta.properties"].clone();
    world.files(1).insert("b/meta.properties".to_owned(), meta);
    world.start(1);
    world.settle();
    let reason = world.fatal(1).expect("it must not guess");
    assert!(reason.starts_with("two log directories have the directory.id "), "{reason}");
}

/// The topic id that a partition's directory names.
fn named(world: &mut World, path: &str) -> Option<String> {
    let text = String::from_utf8(world.files(1).get(path)?.clone()).unwrap();
    Some(text.strip_prefix("version: 0\ntopic_id: ").expect("Kafka's own text").to_owned())
}

#[test]
fn every_partitions_directory_names_its_topic() {
    let (mut world, topics) = two_dirs(true, &[]);
    for (dir, topic) in ["a", "b"].into_iter().zip(topics) {
        let id = world.node(1).image().topic_by_name(topic).unwrap().0;
        assert_eq!(named(&mut world, &format!("{dir}/{topic}-0/partition.metadata")), Some(id.to_string()));
    }
    let metadata = named(&mut world, "a/__cluster_metadata-0/partition.metadata");
    assert_eq!(metadata.as_deref(), Some("AAAAAAAAAAAAAAAAAAAAAQ"));
}

#[test]
fn a_directory_without_a_name_gets_one_and_keeps_its_log() {
    let (mut world, topics) = two_dirs(true, &[]);
    let path = format!("b/{}-0/partition.metadata", topics[1]);
    let before = named(&mut world, &path);
    for text in [None, Some(&b"version: 0\ntopic_id: dam"[..])] {
        world.kill(1);
        world.files(1).remove(&path);
        text.into_iter().for_each(|text| _ = world.files(1).insert(path.clone(), text.to_vec()));
        world.start(1);
        world.await_leader(1, topics[1], |_| true);
        assert_eq!(values(&world.fetch(1, topics[1], 0)), [topics[1]]);
        assert_eq!(named(&mut world, &path), before);
    }
}

#[test]
fn the_log_of_another_topic_of_that_name_is_put_aside() {
    let (mut world, topics) = two_dirs(true, &[]);
    let dir = format!("b/{}-0", topics[1]);
    world.produce_surely(1, topics[1], -1, "another");
    assert_eq!(world.delete_records(1, topics[1], 1), Ok(1));
    world.run(1_000);
    world.kill(1);
    let log = world.files(1)[&format!("{dir}/00000000000000000000.log")].clone();
    let other = format!("version: 0\ntopic_id: {}", Uuid(u128::MAX / 3));
    world.files(1).insert(format!("{dir}/partition.metadata"), other.clone().into_bytes());
    world.start(1);
    world.await_leader(1, topics[1], |_| true);
    assert_eq!(values(&world.fetch(1, topics[1], 0)), [""; 0], "another topic's records are not this one's");
    assert_eq!((world.list_offset(1, topics[1], -2), world.list_offset(1, topics[1], -1)), (0, 0));
    assert_eq!(world.produce_surely(1, topics[1], -1, "first"), 0);
    let stray = |path: &&String| path.starts_with(&format!("{dir}.")) && path.ends_with("-stray/partition.metadata");
    let stray = world.files(1).keys().find(stray).expect("it is still there").clone();
    assert_eq!(world.files(1)[&stray], other.into_bytes());
    let aside = stray.replace("partition.metadata", "00000000000000000000.log");
    assert_eq!(world.files(1)[&aside], log);
}

#[test]
fn a_metadata_log_of_another_topic_is_refused() {
    let (mut world, _) = two_dirs(true, &[]);
    world.kill(1);
    let path = "a/__cluster_metadata-0/partition.metadata";
    world.files(1).insert(path.to_owned(), format!("version: 0\ntopic_id: {}", Uuid(7_777)).into_bytes());
    world.start(1);
    world.settle();
    let reason = world.fatal(1).expect("it is somebody else's");
    assert!(reason.starts_with(&format!("{path}: belongs to the topic ")), "{reason}");
}
