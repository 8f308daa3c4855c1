//! Frames of real clients and brokers are decoded to the fields that Kafka itself saw in them, and come back byte for byte.

mod common;

use bytes::Bytes;
use common::debug::{assert_has, to_json};
use common::table::entry;
use klamm_wire::{ApiKey, RequestHeader, api, response_header_decode, response_header_encode};
use serde_json::Value;
use std::collections::BTreeMap;

const CLIENTS: [&str; 4] = ["confluent-kafka", "kafka-internal", "kafkajs", "kcat"];

struct Exchange {
    place: String,
    api: ApiKey,
    version: i16,
    line: Value,
}

fn exchanges() -> Vec<Exchange> {
    let mut all = Vec::new();
    for client in CLIENTS {
        for (at, line) in common::unzip_text(&format!("{client}.jsonl.gz")).lines().enumerate() {
            let line: Value = serde_json::from_str(line).expect("a JSON object");
            let number = |name: &str| line[name].as_i64().expect("a number") as i16;
            let api = ApiKey::from_code(number("api_key")).expect("an API that exists");
            let (place, version) = (format!("{client}:{} {api}", at + 1), number("api_version"));
            all.push(Exchange { place, api, version, line });
        }
    }
    all
}

/// Round trip of a body; returns the bytes that were left over and how many values were compared.
fn body(exchange: &Exchange, side: &str, version: i16, rest: &mut Bytes, out: &mut Vec<u8>) -> usize {
    let name = format!("{}{side}", exchange.api);
    let trip = (entry(&name).trip)(rest, version).unwrap_or_else(|error| panic!("{}: {error}", exchange.place));
    out.extend_from_slice(&trip.encoded);
    assert_eq!(trip.lost, None, "{}", exchange.place);
    let kafka = &exchange.line["decoded"][side.to_lowercase()];
    assert_has(&to_json(&trip.debug), kafka, &format!("{} {side}", exchange.place))
}

#[test]
fn every_captured_request_decodes_to_what_kafka_saw_and_encodes_to_the_same_bytes() {
    let (mut frames, mut compared) = (BTreeMap::<(ApiKey, i16), usize>::new(), 0);
    for exchange in exchanges() {
        let frame = Bytes::from(common::unhex(exchange.line["request"].as_str().expect("hex")));
        let mut rest = frame.clone();
        let header = RequestHeader::decode(&mut rest).unwrap_or_else(|error| panic!("{}: {error}", exchange.place));
        assert_eq!((header.api_key, header.api_version), (exchange.api, exchange.version));
        assert_eq!(Value::from(header.correlation_id), exchange.line["correlation_id"]);
        assert_eq!(header.client_id.as_deref(), exchange.line["client_id"].as_str());
        let mut out = Vec::new();
        header.encode(&mut out);
        compared += body(&exchange, "Request", exchange.version, &mut rest, &mut out);
        out.extend_from_slice(&rest);
        assert_eq!(out, frame, "{}", exchange.place);
        assert!(rest.is_empty() || exchange.place.starts_with("kafkajs"), "{}: {rest:?} left", exchange.place);
        *frames.entry((exchange.api, exchange.version)).or_default() += 1;
    }
    println!("{} requests, {compared} values: {frames:?}", frames.values().sum::<usize>());
    assert_eq!(frames.values().sum::<usize>(), 131);
    assert!(compared > 1000, "{compared} values compared");
}

#[test]
fn every_captured_response_decodes_to_what_kafka_wrote_and_encodes_to_the_same_bytes() {
    let (mut frames, mut compared) = (0, 0);
    for exchange in exchanges() {
        let Some(hex) = exchange.line["response"].as_str() else {
            continue;
        };
        let frame = Bytes::from(common::unhex(hex));
        let mut rest = frame.clone();
        // A version that the broker does not have is answered in version 0.
        let refused = exchange.api == ApiKey::ApiVersions && frame[4..6] == [0, 35];
        let version = if refused { 0 } else { exchange.version };
        let id = response_header_decode(&mut rest, exchange.api, version).expect("a response header");
        assert_eq!(Value::from(id), exchange.line["correlation_id"], "{}", exchange.place);
        let mut out = Vec::new();
        response_header_encode(&mut out, exchange.api, version, id);
        compared += body(&exchange, "Response", version, &mut rest, &mut out);
        assert_eq!(out, frame, "{}", exchange.place);
        assert!(rest.is_empty(), "{}: {rest:?} left over", exchange.place);
        frames += 1;
    }
    println!("{frames} responses, {compared} values");
    assert!(frames > 100 && compared > 2000, "{frames} responses, {compared} values compared");
}

#[test]
fn every_api_has_both_its_messages_in_the_table_of_the_tests() {
    for (api, min, max) in api::SUPPORTED {
        for side in ["Request", "Response"] {
            let entry = entry(&format!("{api}{side}"));
            assert_eq!((entry.key, entry.versions), (api.code(), *min..=*max));
            assert_eq!(entry.flexible_from, api.flexible_from());
        }
        assert_eq!(ApiKey::from_code(api.code()), Some(*api));
    }
    assert_eq!(ApiKey::from_code(4), None);
}
