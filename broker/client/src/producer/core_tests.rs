//! Dialogues with the producer's core: a hand-played broker answers its asks.

use super::core::{Command, Core, Event, Submitted};
use super::{Pending, ProducerConfig};
use crate::connection::{CallError, CallFailure, CallResult};
use crate::request;
use bytes::Bytes;
use klamm_base::{ClientId, ErrorCode, Now, Observe, Outbox, Outcome, Properties, Source, Uuid};
use klamm_env::Address;
use klamm_wire::frame::LENGTH;
use klamm_wire::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use klamm_wire::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use klamm_wire::messages::{InitProducerIdResponse, MetadataResponse, ProduceRequest, ProduceResponse};
use klamm_wire::records::{Batch, BatchHeader, Codec};
use klamm_wire::{ApiKey, Message, RequestHeader, Str, response_header_encode};

/// An ask as the broker sees it.
struct Asked {
    id: u64,
    api: ApiKey,
    version: i16,
    body: Bytes,
}

struct Play {
    core: Core,
    now: Now,
    asked: Vec<Asked>,
    settled: Vec<(u64, Outcome)>,
}

impl Play {
    fn new(settings: &[(&str, &str)]) -> Play {
        let given: Properties = settings.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        let config = ProducerConfig::from_properties(&given).expect("legal settings");
        let observe = Observe::nobody(Source::Client(ClientId(1)));
        let core = Core::new(config, vec![Address::new("b1", 9092)], observe);
        Play { core, now: Now { mono_ns: 1, wall_ms: 1 }, asked: Vec::new(), settled: Vec::new() }
    }

    /// A producer that knows its topic (one partition, led by broker 1) and, if it needs one, its id 7.
    fn ready(settings: &[(&str, &str)]) -> Play {
        let mut play = Play::new(settings);
        play.send(0);
        let metadata = play.take(ApiKey::Metadata);
        play.answer(&metadata, &metadata_answer());
        if play.asked.iter().any(|ask| ask.api == ApiKey::InitProducerId) {
            let init = play.take(ApiKey::InitProducerId);
            play.answer(&init, &InitProducerIdResponse { producer_id: 7, producer_epoch: 0, ..Default::default() });
        }
        play
    }

    /// As [`Play::ready`], its first record acknowledged at offset 0: more may be in flight from now on.
    fn under_way(settings: &[(&str, &str)]) -> Play {
        let mut play = Play::ready(settings);
        let (ask, _) = play.produced().pop().expect("a batch");
        play.produce_answer(&ask, ErrorCode::None, 0);
        play
    }

    fn step(&mut self, event: Event) {
        let mut out = Outbox::new();
        self.core.step(self.now, event, &mut out);
        for command in out.drain() {
            match command {
                Command::Ask { id, request, .. } => {
                    let mut body = request.frame(0).slice(LENGTH..);
                    let header = RequestHeader::decode(&mut body).expect("a request header");
                    self.asked.push(Asked { id, api: header.api_key, version: header.api_version, body });
                }
                Command::Settle { handle, outcome } => self.settled.push((handle, outcome)),
                Command::TopicKnown { .. } => {}
            }
        }
    }

    fn send(&mut self, handle: u64) {
        let value = Some(Bytes::from_static(b"value"));
        let record = Pending { handle, timestamp_ms: 1, key: None, value, headers: Vec::new() };
        self.step(Event::Send(Submitted { topic: Str::from("orders"), partition: Some(0), record }));
    }

    fn wait_ms(&mut self, ms: u64) {
        self.now.mono_ns += ms * 1_000_000;
        self.step(Event::Deadline);
    }

    fn take(&mut self, api: ApiKey) -> Asked {
        let at = self.asked.iter().position(|ask| ask.api == api).unwrap_or_else(|| panic!("no {api} was asked"));
        self.asked.remove(at)
    }

    /// The batches asked to be produced, each with its ask.
    fn produced(&mut self) -> Vec<(Asked, BatchHeader)> {
        let (produce, others) = std::mem::take(&mut self.asked).into_iter().partition(|ask| ask.api == ApiKey::Produce);
        self.asked = others;
        let header = |ask: &Asked| {
            let request = ProduceRequest::decode(&mut ask.body.clone(), ask.version).expect("a produce request");
            let records = request.topic_data[0].partition_data[0].records.clone().expect("records");
            Batch::parse(&records).expect("a batch").header
        };
        let produce: Vec<Asked> = produce;
        produce.into_iter().map(|ask| (header(&ask), ask)).map(|(header, ask)| (ask, header)).collect()
    }

    fn end(&mut self, ask: &Asked, result: CallResult) {
        self.step(Event::Answer { ask: ask.id, result });
    }

    fn answer<M: Message>(&mut self, ask: &Asked, message: &M) {
        let mut frame = Vec::new();
        response_header_encode(&mut frame, ask.api, ask.version, 0);
        message.encode(&mut frame, ask.version);
        let frame = Bytes::from(frame);
        assert!(request::decode::<M>(frame.clone(), ask.version).is_some());
        self.end(ask, Ok(frame));
    }

    fn produce_answer(&mut self, ask: &Asked, error: ErrorCode, base_offset: i64) {
        let partition =
            PartitionProduceResponse { index: 0, error_code: error as i16, base_offset, ..Default::default() };
        let topic =
            TopicProduceResponse { name: "orders".into(), partition_responses: vec![partition], ..Default::default() };
        self.answer(ask, &ProduceResponse { responses: vec![topic], ..Default::default() });
    }

    fn lose(&mut self, ask: &Asked) {
        self.end(ask, Err(CallError { maybe_sent: true, failure: CallFailure::Disconnected }));
    }
}

fn metadata_answer() -> MetadataResponse {
    let partition =
        MetadataResponsePartition { partition_index: 0, leader_id: 1, leader_epoch: 3, ..Default::default() };
    let topic = MetadataResponseTopic {
        name: Some("orders".into()),
        topic_id: Uuid(9),
        partitions: vec![partition],
        ..Default::default()
    };
    let broker = MetadataResponseBroker { node_id: 1, host: "b1".into(), port: 9092, ..Default::default() };
    MetadataResponse { brokers: vec![broker], topics: vec![topic], ..Default::default() }
}

const NO_LINGER: (&str, &str) = ("linger.ms", "0");

#[test]
fn an_acknowledged_record_learns_its_offset() {
    let mut play = Play::ready(&[NO_LINGER]);
    let (ask, header) = play.produced().pop().expect("a batch");
    assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (7, 0, 0));
    play.produce_answer(&ask, ErrorCode::None, 41);
    assert_eq!(play.settled, [(0, Outcome::Acked(41))]);
    assert!(play.core.is_idle());
}

#[test]
fn a_lost_answer_is_asked_for_again_with_the_same_bytes() {
    let mut play = Play::ready(&[NO_LINGER]);
    let (ask, first) = play.produced().pop().expect("a batch");
    play.lose(&ask);
    assert!(play.produced().is_empty(), "a retry waits for its back-off");
    play.wait_ms(100);
    let (ask, again) = play.produced().pop().expect("the batch again");
    assert_eq!(first, again);
    play.produce_answer(&ask, ErrorCode::None, 5);
    assert_eq!(play.settled, [(0, Outcome::Acked(5))]);
}

#[test]
fn at_most_five_batches_of_a_partition_are_in_flight() {
    let mut play = Play::under_way(&[NO_LINGER]);
    (1..9).for_each(|handle| play.send(handle));
    let sequences: Vec<i32> = play.produced().iter().map(|(_, header)| header.base_sequence).collect();
    assert_eq!(sequences, [1, 2, 3, 4, 5]);
}

#[test]
fn batches_behind_a_lost_one_are_sent_again_in_order() {
    let mut play = Play::under_way(&[NO_LINGER]);
    play.send(1);
    play.send(2);
    let asks = play.produced();
    play.lose(&asks[0].0);
    play.produce_answer(&asks[1].0, ErrorCode::OutOfOrderSequenceNumber, -1);
    play.wait_ms(100);
    let again = play.produced();
    assert_eq!(
        again.iter().map(|(_, header)| header.base_sequence).collect::<Vec<_>>(),
        [1],
        "the second waits for the first"
    );
    play.produce_answer(&again[0].0, ErrorCode::None, 1);
    let second = play.produced();
    assert_eq!(second[0].1.base_sequence, 2);
    assert_eq!(second[0].1.producer_epoch, 0, "no epoch was spent");
}

#[test]
fn a_sequence_that_the_broker_forgot_begins_anew_under_a_higher_epoch() {
    let mut play = Play::ready(&[NO_LINGER]);
    let (ask, _) = play.produced().pop().expect("a batch");
    play.produce_answer(&ask, ErrorCode::OutOfOrderSequenceNumber, -1);
    play.wait_ms(100);
    let (_, header) = play.produced().pop().expect("the batch again");
    assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (7, 1, 0));
}

#[test]
fn the_delivery_time_ends_in_unknown_if_an_attempt_may_have_landed_and_in_refused_if_none_can() {
    let settings = [NO_LINGER, ("delivery.timeout.ms", "2000"), ("request.timeout.ms", "1000")];
    let mut play = Play::ready(&settings);
    let (ask, _) = play.produced().pop().expect("a batch");
    play.lose(&ask);
    play.send(1);
    play.wait_ms(2000);
    assert!(play.settled.contains(&(0, Outcome::Unknown(ErrorCode::NetworkException))), "{:?}", play.settled);

    let mut play = Play::new(&settings);
    play.send(0);
    play.wait_ms(2000);
    assert_eq!(play.settled, [(0, Outcome::Refused(ErrorCode::RequestTimedOut))]);
}

#[test]
fn a_batch_in_flight_at_its_delivery_time_is_unknown_and_spends_the_epoch() {
    let mut play = Play::ready(&[NO_LINGER, ("delivery.timeout.ms", "2000"), ("request.timeout.ms", "1000")]);
    let (ask, _) = play.produced().pop().expect("a batch");
    play.wait_ms(2000);
    assert_eq!(play.settled, [(0, Outcome::Unknown(ErrorCode::RequestTimedOut))]);
    play.lose(&ask);
    play.send(1);
    let (_, header) = play.produced().pop().expect("the next batch");
    assert_eq!((header.producer_epoch, header.base_sequence), (1, 0));
}

#[test]
fn a_definite_refusal_is_refused() {
    let mut play = Play::ready(&[NO_LINGER, ("enable.idempotence", "false"), ("acks", "1")]);
    let (ask, header) = play.produced().pop().expect("a batch");
    assert_eq!((header.producer_id, header.base_sequence), (-1, -1));
    play.produce_answer(&ask, ErrorCode::MessageTooLarge, -1);
    assert_eq!(play.settled, [(0, Outcome::Refused(ErrorCode::MessageTooLarge))]);
}

#[test]
fn without_acks_a_record_is_sent_and_nothing_more_is_known() {
    let mut play = Play::ready(&[NO_LINGER, ("acks", "0")]);
    let (ask, _) = play.produced().pop().expect("a batch");
    play.end(&ask, Ok(Bytes::new()));
    assert_eq!(play.settled, [(0, Outcome::Sent)]);
}

#[test]
fn a_lost_leader_is_asked_for_at_once() {
    let mut play = Play::ready(&[NO_LINGER]);
    let (ask, _) = play.produced().pop().expect("a batch");
    play.produce_answer(&ask, ErrorCode::NotLeaderOrFollower, -1);
    play.take(ApiKey::Metadata);
}

#[test]
fn records_go_in_the_codec_that_was_asked_for_and_without_a_word_in_none() {
    let codec = |settings: &[(&str, &str)]| {
        let (ask, header) = Play::ready(settings).produced().pop().expect("a batch");
        let request = ProduceRequest::decode(&mut ask.body.clone(), ask.version).expect("a produce request");
        let records = request.topic_data[0].partition_data[0].records.clone().expect("records");
        assert!(Batch::parse(&records).expect("a batch").crc_ok());
        header.codec()
    };
    assert_eq!(codec(&[NO_LINGER]), Ok(Codec::None));
    for (name, wanted) in ["none", "gzip", "snappy", "lz4", "zstd"].into_iter().zip(Codec::ALL) {
        assert_eq!(codec(&[NO_LINGER, ("compression.type", name)]), Ok(wanted));
    }
    let given = Properties::from([("compression.type".to_owned(), "uncompressed".to_owned())]);
    let error = ProducerConfig::from_properties(&given).expect_err("that is a topic's word").to_string();
    assert!(error.contains("one of none, gzip, snappy, lz4, zstd is wanted"), "{error}");
}
