//! A node compacts its logs.

mod world;

use bytes::Bytes;
use klamm_base::ErrorCode;
use klamm_wire::messages::ProduceResponse;
use klamm_wire::records::{BatchBuilder, records, split};
use std::collections::BTreeMap;
use world::World;
use world::client::{PRODUCE, code, only_produced, produce_request};

const COMPACT: &[(&str, &str)] = &[
    ("log.cleanup.policy", "compact"),
    ("log.segment.bytes", "1000"),
    ("log.cleaner.backoff.ms", "200"),
    ("log.cleaner.min.cleanable.ratio", "0.01"),
    ("log.cleaner.delete.retention.ms", "0"),
    ("log.flush.offset.checkpoint.interval.ms", "200"),
    ("log.segment.delete.delay.ms", "1000"),
    ("log.initial.task.delay.ms", "0"),
];

fn keyed(key: &str, value: Option<&str>) -> Bytes {
    BatchBuilder::new(0).push(1_000, Some(key.as_bytes()), value.map(str::as_bytes), &[]).build().bytes
}

fn put(world: &mut World, leader: i32, key: &str, value: Option<&str>) {
    let request = produce_request("table", -1, keyed(key, value));
    let answer: ProduceResponse = world.call(leader, &request, PRODUCE);
    assert_eq!(code(only_produced(answer).error_code), ErrorCode::None);
}

/// Offset, key and value of all that a reader gets from the start on.
fn read(world: &mut World, leader: i32) -> Vec<(i64, String, Option<String>)> {
    let (mut from, mut all) = (0, Vec::new());
    loop {
        let data = world.fetch(leader, "table", from);
        let bytes = data.records.clone().unwrap_or_default();
        if bytes.is_empty() {
            assert_eq!(from, data.high_watermark, "a reader comes to the end");
            return all;
        }
        for batch in split(&bytes).map(Result::unwrap) {
            from = batch.header.next_offset();
            let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
            all.extend(
                records(&batch)
                    .map(Result::unwrap)
                    .map(|record| (record.offset, text(record.key.unwrap()), record.value.map(text))),
            );
        }
    }
}

fn table(all: &[(i64, String, Option<String>)]) -> BTreeMap<String, String> {
    let mut table = BTreeMap::new();
    for (_, key, value) in all {
        match value {
            Some(value) => table.insert(key.clone(), value.clone()),
            None => table.remove(key),
        };
    }
    table
}

fn segments(world: &mut World, id: i32) -> usize {
    world.files(id).keys().filter(|path| path.contains("/table-0/") && path.ends_with(".log")).count()
}

/// A hundred writes to five keys, one of which is deleted in the end.
fn fill(world: &mut World, leader: i32) -> BTreeMap<String, String> {
    for i in 0..100 {
        put(world, leader, &format!("key-{}", i % 5), Some(&format!("value {i} {}", "x".repeat(60))));
    }
    put(world, leader, "key-0", None);
    put(world, leader, "last", Some(&"x".repeat(900)));
    table(&read(world, leader))
}

fn clean_to(world: &mut World, id: i32) -> Option<i64> {
    let text = String::from_utf8(world.files(id).get("data/cleaner-offset-checkpoint")?.clone()).unwrap();
    text.lines().find_map(|line| line.strip_prefix("table 0 ")?.parse().ok())
}

#[test]
fn a_compacted_topic_keeps_the_last_value_of_each_key_and_a_restart_changes_nothing() {
    let mut world = World::new(1, true, COMPACT);
    world.await_unfenced(1);
    world.create(1, "table", 1);
    world.await_leader(1, "table", |_| true);
    let wanted = fill(&mut world, 1);
    let before = segments(&mut world, 1);
    world.run(5_000);
    let all = read(&mut world, 1);
    assert_eq!((table(&all), clean_to(&mut world, 1)), (wanted.clone(), Some(101)));
    assert!(all.iter().any(|(_, key, _)| key == "key-0"), "the first clean keeps the deletion, and sets its time");
    put(&mut world, 1, "last", Some(&"x".repeat(900)));
    world.run(5_000);
    let all = read(&mut world, 1);
    assert_eq!((table(&all), clean_to(&mut world, 1)), (wanted, Some(102)));
    assert!(all.iter().all(|(_, key, _)| key != "key-0"), "a deletion is gone when its time is over");
    assert!(all.len() < 10 && before > 10 && segments(&mut world, 1) <= 3, "{} of {before}: {all:?}", all.len());
    assert!(world.files(1).keys().all(|path| !path.contains(".deleted") && !path.contains(".cleaned")));
    world.kill(1);
    world.start(1);
    world.await_leader(1, "table", |_| true);
    assert_eq!(read(&mut world, 1), all);
    put(&mut world, 1, "key-0", Some("again"));
    assert_eq!(read(&mut world, 1).last().map(|last| last.0), Some(103));
}

#[test]
fn a_follower_that_comes_late_gets_what_compaction_left() {
    let more = [COMPACT, &[("min.insync.replicas", "1")]].concat();
    let mut world = World::new(3, false, &more);
    world.await_unfenced(3);
    world.create(1, "table", 3);
    let leader = world.await_leader(1, "table", |_| true);
    let late = (1..=3).find(|id| *id != leader).unwrap();
    world.kill(late);
    world.run(12_000);
    let wanted = fill(&mut world, leader);
    world.run(10_000);
    let all = read(&mut world, leader);
    assert_eq!(table(&all), wanted);
    world.start(late);
    world.run(30_000);
    let other = (1..=3).find(|id| ![leader, late].contains(id)).unwrap();
    world.kill(leader);
    world.kill(other);
    world.start(other);
    world.run(15_000);
    let next = world.await_leader(late, "table", |next| next != leader);
    assert_eq!(table(&read(&mut world, next)), wanted);
    assert!(clean_to(&mut world, late).is_some(), "each replica cleans its own log");
}

#[test]
fn a_compacted_topic_takes_no_record_without_a_key() {
    let mut world = World::new(1, true, COMPACT);
    world.await_unfenced(1);
    world.create(1, "table", 1);
    world.await_leader(1, "table", |_| true);
    assert_eq!(code(world.produce(1, "table", -1, "keyless").error_code), ErrorCode::InvalidRecord);
    put(&mut world, 1, "key", Some("value"));
}

#[test]
fn a_node_that_is_told_so_compacts_nothing() {
    let more = [COMPACT, &[("log.cleaner.enable", "false")]].concat();
    let mut world = World::new(1, true, &more);
    world.await_unfenced(1);
    world.create(1, "table", 1);
    world.await_leader(1, "table", |_| true);
    fill(&mut world, 1);
    let before = read(&mut world, 1);
    world.run(10_000);
    assert_eq!(read(&mut world, 1), before);
    assert_eq!(clean_to(&mut world, 1), None);
}
