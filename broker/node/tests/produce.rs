//! Batches on their way into a topic: under its settings, whether they were checked before the step or in it.

mod world;

use klamm_base::ErrorCode;
use klamm_wire::messages::ProduceResponse;
use klamm_wire::messages::produce_response::PartitionProduceResponse;
use klamm_wire::records::{Batch, BatchBuilder, Codec, Record, records, split};
use world::World;
use world::client::{code, only_produced, produce_request};

/// The version whose answers name records (KIP-467).
const VERSION: i16 = 9;

/// A broker with topic `t` under these settings.
fn serving(settings: &[(&str, &str)], checks_before: bool) -> World {
    let mut world = World::new(1, true, &[]);
    world.checks_before = checks_before;
    world.await_unfenced(1);
    world.run(1_000);
    assert_eq!(world.create_with(1, "t", 1, settings), ErrorCode::None);
    world.await_leader(1, "t", |_| true);
    world.run(1_000);
    world
}

fn send(world: &mut World, batch: &Batch) -> PartitionProduceResponse {
    let answer: ProduceResponse = world.call(1, &produce_request("t", -1, batch.bytes.clone()), VERSION);
    only_produced(answer)
}

/// The batches that a consumer gets.
fn stored(world: &mut World) -> Vec<Batch> {
    let data = world.fetch(1, "t", 0).records.expect("records");
    split(&data).map(|batch| batch.expect("a sound batch")).collect()
}

fn read(batch: &Batch) -> Vec<Record> {
    records(batch).map(|record| record.expect("a sound record")).collect()
}

/// Two records of two times, the second without a key.
fn two(world: &World) -> BatchBuilder {
    let now = world.wall_ms();
    let mut builder = BatchBuilder::new(now);
    builder.push(now, Some(b"k"), Some(&[7; 300]), &[]).push(now - 50, None, Some(b"v"), &[]);
    builder
}

fn both(story: impl Fn(bool)) {
    [true, false].into_iter().for_each(story);
}

#[test]
fn without_settings_the_producers_bytes_are_kept_but_for_place_and_epoch() {
    both(|before| {
        let mut world = serving(&[], before);
        for codec in Codec::ALL {
            let batch = two(&world).compressed(codec).build();
            let answer = send(&mut world, &batch);
            assert_eq!((code(answer.error_code), answer.log_append_time_ms), (ErrorCode::None, -1));
            let kept = stored(&mut world).pop().expect("a batch");
            assert_eq!(kept.bytes[16..], batch.bytes[16..], "{codec:?}");
        }
    });
}

#[test]
fn under_append_time_every_record_carries_the_brokers_and_the_answer_tells_it() {
    both(|before| {
        let mut world = serving(&[("message.timestamp.type", "LogAppendTime")], before);
        let batch = two(&world).compressed(Codec::Lz4).producer(4, 0, 0).build();
        let earliest = world.wall_ms();
        let answer = send(&mut world, &batch);
        let stamp = answer.log_append_time_ms;
        assert!((earliest..=world.wall_ms()).contains(&stamp), "{stamp}");
        let kept = stored(&mut world).pop().expect("a batch");
        assert!(kept.crc_ok() && read(&kept).iter().all(|record| record.timestamp == stamp));
        assert_eq!(kept.payload(), batch.payload(), "nothing was unpacked");
        world.run(1_000);
        let again = send(&mut world, &batch);
        assert_eq!((again.base_offset, again.log_append_time_ms), (0, stamp), "a retry is told the first one's");
    });
}

#[test]
fn a_retry_is_told_the_greatest_timestamp_where_producers_times_stand() {
    let mut world = serving(&[], true);
    let batch = two(&world).producer(4, 0, 0).build();
    assert_eq!(send(&mut world, &batch).log_append_time_ms, -1);
    assert_eq!(send(&mut world, &batch).log_append_time_ms, batch.header.max_timestamp);
}

#[test]
fn a_topics_codec_is_what_consumers_get() {
    both(|before| {
        let mut world = serving(&[("compression.type", "zstd")], before);
        for codec in Codec::ALL {
            let batch = two(&world).compressed(codec).build();
            let offset = send(&mut world, &batch).base_offset;
            let kept = stored(&mut world).pop().expect("a batch");
            assert_eq!((kept.header.codec(), kept.header.base_offset, kept.crc_ok()), (Ok(Codec::Zstd), offset, true));
            let values = |batch: &Batch| read(batch).into_iter().map(|record| record.value).collect::<Vec<_>>();
            assert_eq!(values(&kept), values(&batch));
        }
    });
}

#[test]
fn a_batch_is_measured_again_when_it_was_unpacked() {
    both(|before| {
        let mut world = serving(&[("compression.type", "uncompressed"), ("max.message.bytes", "300")], before);
        let batch = two(&world).compressed(Codec::Zstd).build();
        assert!(batch.bytes.len() < 300);
        assert_eq!(code(send(&mut world, &batch).error_code), ErrorCode::MessageTooLarge);
    });
}

#[test]
fn a_keyless_record_on_a_compacted_topic_is_named_in_the_answer() {
    both(|before| {
        let mut world = serving(&[("cleanup.policy", "compact")], before);
        let batch = two(&world).compressed(Codec::Gzip).build();
        let answer = send(&mut world, &batch);
        assert_eq!((code(answer.error_code), answer.base_offset), (ErrorCode::InvalidRecord, -1));
        assert_eq!(answer.log_start_offset, 0);
        let named: Vec<_> = answer.record_errors.iter().map(|record| record.batch_index).collect();
        assert_eq!(named, [1]);
        let message = answer.error_message.expect("a message");
        assert!(message.contains("record 1: it has no key"), "{message}");
    });
}

#[test]
fn a_timestamp_beyond_the_topics_bounds_is_refused() {
    both(|before| {
        let mut world = serving(&[("message.timestamp.before.max.ms", "1000")], before);
        let batch = two(&world).build();
        assert_eq!(code(send(&mut world, &batch).error_code), ErrorCode::None);
        world.run(990);
        let answer = send(&mut world, &batch);
        assert_eq!((code(answer.error_code), answer.record_errors.len()), (ErrorCode::InvalidTimestamp, 1));
    });
}

#[test]
fn a_setting_that_cannot_be_is_refused_when_the_topic_is_made() {
    let mut world = serving(&[], true);
    for (key, value) in [("compression.type", "brotli"), ("message.timestamp.type", "createtime")] {
        assert_eq!(world.create_with(1, "other", 1, &[(key, value)]), ErrorCode::InvalidConfig);
    }
}
