//! A real client at the real broker: confluent-kafka (librdkafka) from Python, over TCP, on real files.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "real processes, files, sockets and time are what is tested"
)]

mod session;
#[allow(dead_code, reason = "kcat's tests use more of it")]
#[path = "../kcat/stage.rs"]
mod stage;

use serde_json::{Value, json};
use session::{Session, Stream, has_confluent};
use stage::Broker;
use std::time::{SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
/// What confluent-kafka calls the two types of timestamps.
const CREATE_TIME: i64 = 1;
const LOG_APPEND_TIME: i64 = 2;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

/// A broker on a folder of its own and a client beside it; `None` without confluent-kafka.
fn serving(test: &str) -> Option<(TempDir, Broker, Session)> {
    has_confluent(test).then(|| {
        let folder = TempDir::new().unwrap();
        let broker = Broker::start(folder.path());
        let session = Session::start(&broker.address);
        (folder, broker, session)
    })
}

/// Records of many shapes: keys and values that are null, empty, binary or long; headers that repeat, are empty or null.
fn varied(count: usize) -> Vec<Value> {
    let blob = |n: usize, len: usize| hex(&(0..len).map(|i| ((n * 31 + i) % 7) as u8).collect::<Vec<u8>>());
    let headers = [json!([]), json!([["a", null], ["a", ""], ["b", "00ff"], ["a", "61"]]), json!([["ключ", "c3a9"]])];
    let record = |n: usize| {
        let key = [Value::Null, json!(""), json!(blob(n, 3))][n % 3].clone();
        let value = [json!(blob(n, n % 900)), Value::Null, json!("")][n % 11 % 3].clone();
        json!({ "key": key, "value": value, "headers": headers[n % 5 % 3] })
    };
    (0..count).map(record).collect()
}

/// Every record as it was sent, at consecutive offsets from `first` on.
fn assert_read(read: &[Value], sent: &[Value], first: i64, what: &str) {
    assert_eq!(read.len(), sent.len(), "{what}");
    for (place, (read, sent)) in read.iter().zip(sent).enumerate() {
        assert_eq!(read["offset"], first + place as i64, "{what}");
        for field in ["key", "value", "headers"] {
            assert_eq!(read[field], sent[field], "{what}: {field} of record {place}");
        }
    }
}

#[test]
fn every_codec_comes_back_as_it_went_with_keys_nulls_and_headers() {
    let Some((_folder, _broker, mut session)) =
        serving("every_codec_comes_back_as_it_went_with_keys_nulls_and_headers")
    else {
        return;
    };
    let sent = varied(700);
    for codec in CODECS {
        for idempotent in [false, true] {
            let topic = format!("{codec}-{idempotent}");
            session.create(&topic, json!({}));
            let config = json!({ "compression.type": codec, "enable.idempotence": idempotent, "linger.ms": 20 });
            let offsets = session.produce_all(&topic, config, &sent);
            assert_eq!(offsets, (0..700).collect::<Vec<_>>(), "{topic}");
            assert_read(&session.read(&topic, 0), &sent, 0, &topic);
        }
    }
}

#[test]
fn what_the_broker_packs_anew_is_read_in_every_codec() {
    let Some((_folder, _broker, mut session)) = serving("what_the_broker_packs_anew_is_read_in_every_codec") else {
        return;
    };
    let sent = varied(300);
    for kept in CODECS {
        for codec in CODECS {
            let topic = format!("{codec}-kept-in-{kept}");
            let kept = if kept == "none" { "uncompressed" } else { kept };
            session.create(&topic, json!({ "compression.type": kept }));
            session.produce_all(&topic, json!({ "compression.type": codec, "linger.ms": 20 }), &sent);
            assert_read(&session.read(&topic, 0), &sent, 0, &topic);
        }
    }
}

#[test]
fn reading_begins_where_it_is_assigned_by_offset_and_by_time() {
    let Some((_folder, _broker, mut session)) = serving("reading_begins_where_it_is_assigned_by_offset_and_by_time")
    else {
        return;
    };
    let start = now_ms() - 1_000_000;
    let sent: Vec<Value> = (0..500)
        .map(|n| json!({ "key": null, "value": hex(&[7; 40]), "headers": [], "timestamp": start + n }))
        .collect();
    for codec in CODECS {
        session.create(codec, json!({}));
        let config = json!({ "compression.type": codec, "batch.num.messages": 37 });
        session.produce_all(codec, config, &sent);
        // In the middle of a batch, at its borders, at the last record and at the end.
        for from in [0, 1, 36, 37, 250, 499, 500] {
            assert_read(&session.read(codec, from), &sent[from as usize..], from, codec);
            let read = session.read_from_time(codec, start + from);
            assert_read(&read, &sent[from as usize..], from, codec);
        }
        let early = session.read_from_time(codec, start - 1);
        assert_read(&early, &sent, 0, codec);
        assert!(early.iter().zip(&sent).all(|(read, sent)| read["timestamp"] == sent["timestamp"]), "{codec}");
    }
}

#[test]
fn create_time_is_the_producers_and_append_time_is_the_brokers() {
    let Some((_folder, _broker, mut session)) = serving("create_time_is_the_producers_and_append_time_is_the_brokers")
    else {
        return;
    };
    session.create("created", json!({}));
    session.create("appended", json!({ "message.timestamp.type": "LogAppendTime" }));
    let times: Vec<i64> = (0..20).map(|n| 1_000_000_000_000 + (n * 7919) % 1000).collect();
    let sent: Vec<Value> = times.iter().map(|time| json!({ "value": "61", "timestamp": time })).collect();
    for codec in CODECS {
        let config = json!({ "compression.type": codec, "linger.ms": 20 });
        let first = session.produce_all("created", config.clone(), &sent)[0];
        let read = session.read("created", first);
        assert!(read.iter().all(|record| record["kind"] == CREATE_TIME));
        let stamps: Vec<i64> = read.iter().map(|record| record["timestamp"].as_i64().unwrap()).collect();
        assert_eq!(stamps, times, "{codec}");

        let before = now_ms();
        let reports = session.produce("appended", config, &sent);
        let after = now_ms();
        let read = session.read("appended", reports[0]["offset"].as_i64().unwrap());
        assert_eq!(read.len(), sent.len());
        for (read, report) in read.iter().zip(&reports) {
            let stamp = read["timestamp"].as_i64().unwrap();
            assert!((before..=after).contains(&stamp), "{codec}: {stamp} of {before} to {after}");
            assert_eq!((&read["kind"], &report["kind"]), (&json!(LOG_APPEND_TIME), &json!(LOG_APPEND_TIME)));
            assert_eq!(report["timestamp"], stamp, "{codec}: the report says what is kept");
        }
    }
}

#[test]
fn batches_may_be_tiny_and_as_large_as_the_topic_allows_and_no_larger() {
    let Some((_folder, _broker, mut session)) =
        serving("batches_may_be_tiny_and_as_large_as_the_topic_allows_and_no_larger")
    else {
        return;
    };
    session.create("tiny", json!({}));
    let sent: Vec<Value> =
        (0..300_u32).map(|n| json!({ "key": null, "value": hex(&[n as u8]), "headers": [] })).collect();
    session.produce_all("tiny", json!({ "batch.num.messages": 1 }), &sent);
    assert_read(&session.read("tiny", 0), &sent, 0, "tiny");

    session.create("large", json!({}));
    let of = |bytes: usize| json!({ "key": null, "value": hex(&vec![b'x'; bytes]), "headers": [] });
    let config = json!({ "message.max.bytes": 4_000_000, "compression.type": "none" });
    // A batch's header takes 61 bytes, the record's own fields 11: this one fills max.message.bytes to the last byte.
    let largest = 1_048_588 - 61 - 11;
    let reports = session.produce("large", config.clone(), &[of(largest)]);
    assert_eq!(reports[0]["offset"], 0, "{}", reports[0]["message"]);
    let refused = session.produce("large", config, &[of(largest + 1)]);
    assert_eq!(refused[0]["error"], "MSG_SIZE_TOO_LARGE", "{}", refused[0]);
    assert_read(&session.read("large", 0), &[of(largest)], 0, "large");
}

#[test]
fn a_record_without_a_key_is_refused_on_a_compacted_topic() {
    let Some((_folder, _broker, mut session)) = serving("a_record_without_a_key_is_refused_on_a_compacted_topic")
    else {
        return;
    };
    session.create("compacted", json!({ "cleanup.policy": "compact" }));
    for codec in CODECS {
        let config = json!({ "compression.type": codec });
        let with_key = json!({ "key": "6b", "value": "76", "headers": [] });
        session.produce_all("compacted", config.clone(), std::slice::from_ref(&with_key));
        let refused = session.produce("compacted", config, &[json!({ "value": hex(&[7; 300]) })]);
        assert_eq!(refused[0]["error"], "INVALID_RECORD", "{}", refused[0]);
    }
    assert_eq!(session.read("compacted", 0).len(), CODECS.len(), "nothing of what was refused is kept");
}

#[test]
fn a_timestamp_too_far_ahead_is_refused() {
    let Some((_folder, _broker, mut session)) = serving("a_timestamp_too_far_ahead_is_refused") else { return };
    session.create("t", json!({}));
    let refused = session.produce("t", json!({}), &[json!({ "value": "61", "timestamp": now_ms() + 2 * 3_600_000 })]);
    assert_eq!(refused[0]["code"], 32, "{}", refused[0]);
}

const KILLS: usize = 50;
/// Acknowledgements that are awaited from each producer between two kills.
const ACKED: usize = 40;

/// As `numbered` in `client.py`.
fn numbered(n: u64) -> Vec<u8> {
    let mut value = format!("{n}:").into_bytes();
    value.extend((0..n % 300).map(|i| (n * 7 + i) as u8));
    value
}

/// The number of each record in the log, in order. Every value is what the number says, byte for byte.
fn numbers(session: &mut Session, topic: &str) -> Vec<u64> {
    let read = session.read(topic, 0);
    let number = |(place, record): (usize, &Value)| {
        let bytes = record["value"].as_str().unwrap();
        let digits: Vec<u8> = (0..bytes.len() / 2)
            .map(|i| u8::from_str_radix(&bytes[2 * i..2 * i + 2], 16).unwrap())
            .take_while(|byte| *byte != b':')
            .collect();
        let n: u64 = String::from_utf8(digits).unwrap().parse().unwrap();
        assert_eq!(bytes, hex(&numbered(n)), "{topic}: record {n}");
        assert_eq!(record["offset"], place as i64, "{topic}");
        n
    };
    read.iter().enumerate().map(number).collect()
}

/// Every acknowledged record stands at its offset. With idempotence the log is what was sent, each record once and in order.
/// Without it librdkafka, one request in flight or not, lets a later batch overtake one that waits for its retry, and a
/// broker that dies between writing a batch and saying so gets it twice: order is then that of the acknowledgements.
fn assert_kept(log: &[u64], acked: &[(u64, i64)], idempotent: bool, what: &str) {
    for (n, offset) in acked {
        assert_eq!(log.get(*offset as usize), Some(n), "{what}: record {n} was acknowledged at {offset}");
    }
    if idempotent {
        assert!(log.iter().copied().eq(0..log.len() as u64), "{what}: the log is not what was sent: {log:?}");
    }
    let swapped = acked.windows(2).find(|pair| pair[0].1 >= pair[1].1);
    assert_eq!(swapped, None, "{what}: acknowledged in another order than they stand in");
}

#[test]
fn fifty_kills_in_a_row_lose_no_acknowledged_record() {
    if !has_confluent("fifty_kills_in_a_row_lose_no_acknowledged_record") {
        return;
    }
    let folder = TempDir::new().unwrap();
    let mut broker = Broker::start(folder.path());
    let address = broker.address.clone();
    let mut session = Session::start(&address);
    let settings = json!({
        "linger.ms": 1, "batch.num.messages": 20, "queue.buffering.max.messages": 200, "message.timeout.ms": 600_000,
        "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 100, "retry.backoff.ms": 20, "compression.type": "lz4",
    });
    let mut streams: Vec<(&str, bool, Stream)> = Vec::new();
    for (topic, idempotent) in [("plain", false), ("idempotent", true)] {
        session.create(topic, json!({}));
        let mut config = settings.clone();
        config["enable.idempotence"] = json!(idempotent);
        // Without sequences only one request at a time is acknowledged in the order in which it is written.
        config["max.in.flight.requests.per.connection"] = json!(if idempotent { 5 } else { 1 });
        streams.push((topic, idempotent, Stream::start(&address, topic, &config)));
    }
    for kill in 1..=KILLS {
        streams.iter_mut().for_each(|(_, _, stream)| stream.wait_for_more(ACKED));
        broker.kill();
        // What came before the kill is acknowledged; what comes later was acknowledged by the next broker.
        streams.iter_mut().for_each(|(_, _, stream)| stream.drain());
        broker = Broker::start_with(folder.path(), &address, &[]);
        for (topic, idempotent, stream) in &streams {
            let log = numbers(&mut session, topic);
            assert_kept(&log, &stream.acked, *idempotent, &format!("{topic} after kill {kill}"));
        }
    }
    for (topic, idempotent, stream) in streams {
        let (sent, acked) = stream.finish();
        let log = numbers(&mut session, topic);
        assert_kept(&log, &acked, idempotent, topic);
        assert_eq!(acked.len() as u64, sent, "{topic}: in the end each record is acknowledged");
        println!("{topic}: {KILLS} kills, {sent} records sent and acknowledged, {} in the log", log.len());
    }
}
