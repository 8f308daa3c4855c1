//! Nodes in a world driven by hand.

mod world;

use klamm_base::{ErrorCode, Uuid};
use klamm_node::{Refusal, decode_request};
use klamm_wire::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use klamm_wire::messages::{
    ApiVersionsRequest, ApiVersionsResponse, FetchResponse, InitProducerIdRequest, InitProducerIdResponse,
    OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, ProduceResponse,
};
use klamm_wire::records::{BatchBuilder, Codec};
use world::client::{FETCH, PRODUCE, batch, code, fetch_request, only_fetched, only_produced, produce_request, values};
use world::{Outcome, World, frame};

fn dev() -> World {
    let mut world = World::new(1, true, &[]);
    world.await_unfenced(1);
    world.run(1_000);
    world
}

fn three() -> World {
    let mut world = World::new(3, false, &[("min.insync.replicas", "2")]);
    world.await_unfenced(3);
    world.run(1_000);
    world
}

#[test]
fn a_node_may_move_between_threads() {
    fn assert_send<T: Send>() {}
    assert_send::<klamm_node::Node>();
    assert_send::<klamm_node::Command>();
}

#[test]
fn one_process_creates_a_topic_produces_and_fetches_back() {
    let mut world = dev();
    assert_eq!(world.create(1, "orders", 1), ErrorCode::None);
    assert_eq!(world.await_leader(1, "orders", |_| true), 1);
    assert_eq!(world.produce_surely(1, "orders", -1, "a"), 0);
    assert_eq!(world.produce_surely(1, "orders", 1, "b"), 1);
    let data = world.fetch(1, "orders", 0);
    assert_eq!((values(&data), data.high_watermark), (vec!["a".into(), "b".into()], 2));
    assert_eq!((world.list_offset(1, "orders", -2), world.list_offset(1, "orders", -1)), (0, 2));
}

#[test]
fn a_topic_that_exists_is_not_created_again() {
    let mut world = dev();
    assert_eq!(world.create(1, "orders", 1), ErrorCode::None);
    assert_eq!(world.create(1, "orders", 1), ErrorCode::TopicAlreadyExists);
}

#[test]
fn a_process_that_was_killed_has_everything_it_acknowledged() {
    let mut world = dev();
    world.create(1, "orders", 1);
    for value in ["a", "b", "c"] {
        world.await_leader(1, "orders", |_| true);
        world.produce_surely(1, "orders", -1, value);
    }
    world.kill(1);
    world.start(1);
    world.await_leader(1, "orders", |_| true);
    assert_eq!(world.produce_surely(1, "orders", -1, "d"), 3);
    assert_eq!(values(&world.fetch(1, "orders", 0)), ["a", "b", "c", "d"]);
}

#[test]
fn a_clean_stop_leaves_the_mark_and_the_next_start_spends_it() {
    let mut world = dev();
    world.create(1, "orders", 1);
    world.await_leader(1, "orders", |_| true);
    world.produce_surely(1, "orders", -1, "a");
    world.stop(1);
    world.until(20_000, "stop", |world| world.has_stopped(1));
    assert!(world.files(1).contains_key("data/.kafka_cleanshutdown"));
    world.start(1);
    world.settle();
    assert!(!world.files(1).contains_key("data/.kafka_cleanshutdown"));
    world.await_leader(1, "orders", |_| true);
    assert_eq!(world.produce_surely(1, "orders", -1, "b"), 1);
    assert_eq!(values(&world.fetch(1, "orders", 0)), ["a", "b"]);
}

#[test]
fn a_stop_before_the_logs_are_recovered_leaves_no_mark() {
    let mut world = dev();
    world.create(1, "orders", 1);
    world.await_leader(1, "orders", |_| true);
    world.produce_surely(1, "orders", -1, "a");
    world.kill(1);
    world.start(1);
    world.stop(1);
    world.until(20_000, "stop", |world| world.has_stopped(1));
    assert!(!world.files(1).contains_key("data/.kafka_cleanshutdown"), "nobody looked through the logs");
    world.start(1);
    world.await_leader(1, "orders", |_| true);
    world.stop(1);
    world.until(20_000, "stop", |world| world.has_stopped(1));
    assert!(world.files(1).contains_key("data/.kafka_cleanshutdown"));
}

#[test]
fn a_restarted_broker_says_nothing_to_clients_before_it_knows_what_was_committed() {
    let mut world = dev();
    world.create(1, "orders", 1);
    world.await_leader(1, "orders", |_| true);
    assert_eq!(world.produce_surely(1, "orders", -1, "a"), 0);
    world.kill(1);
    world.start(1);
    let gone = world.ask(1, &fetch_request("orders", 0, 0), FETCH);
    world.hang_up(gone);
    assert!(!world.node(1).is_unfenced(), "nothing happened yet");
    let (_, topic) = world.metadata(1, "orders", false);
    assert_eq!(code(topic.error_code), ErrorCode::None);
    assert_eq!(topic.partitions.len(), 1);
}

#[test]
fn a_data_directory_of_another_node_is_refused() {
    let mut world = dev();
    world.kill(1);
    let meta = world.files(1).get_mut("data/meta.properties").expect("it was written");
    *meta = String::from_utf8(meta.clone()).unwrap().replace("node.id=1", "node.id=4").into_bytes();
    world.start(1);
    world.settle();
    assert_eq!(world.fatal(1), Some("data/meta.properties: belongs to node.id 4, this is 1"));
}

#[test]
fn three_brokers_replicate_and_commit_with_acks_all() {
    let mut world = three();
    assert_eq!(world.create(2, "orders", 3), ErrorCode::None);
    let leader = world.await_leader(1, "orders", |_| true);
    for (offset, value) in ["a", "b", "c"].iter().enumerate() {
        assert_eq!(world.produce_surely(leader, "orders", -1, value), offset as i64);
    }
    let (_, topic) = world.metadata(leader, "orders", false);
    assert_eq!(topic.partitions[0].isr_nodes.len(), 3);
    let data = world.fetch(leader, "orders", 0);
    assert_eq!((values(&data).len(), data.high_watermark), (3, 3));
    for id in 1..=3 {
        let log = world.files(id).get("data/orders-0/00000000000000000000.log").expect("every replica has a log");
        assert!(log.windows(1).any(|byte| byte == b"c"), "node {id} has the record");
    }
}

#[test]
fn when_the_leader_dies_another_leads_and_has_every_acknowledged_record() {
    let mut world = three();
    world.create(1, "orders", 3);
    let old = world.await_leader(1, "orders", |_| true);
    for value in ["a", "b"] {
        world.produce_surely(old, "orders", -1, value);
    }
    world.kill(old);
    let other = if old == 1 { 2 } else { 1 };
    let new = world.await_leader(other, "orders", |leader| leader != old);
    assert_eq!(world.produce_surely(new, "orders", -1, "c"), 2);
    assert_eq!(values(&world.fetch(new, "orders", 0)), ["a", "b", "c"]);
    world.start(old);
    let whole = |world: &mut World| world.metadata(new, "orders", false).1.partitions[0].isr_nodes.len() == 3;
    for _ in 0..300 {
        if whole(&mut world) {
            break;
        }
        world.run(100);
    }
    assert!(whole(&mut world), "the old leader is in sync again");
}

#[test]
fn below_min_insync_replicas_acks_all_is_refused_and_acks_one_is_not() {
    let mut world = three();
    world.create(1, "orders", 3);
    let leader = world.await_leader(1, "orders", |_| true);
    world.produce_surely(leader, "orders", -1, "a");
    for id in (1..=3).filter(|id| *id != leader) {
        world.kill(id);
    }
    let shrunk = |world: &mut World| world.metadata(leader, "orders", false).1.partitions[0].isr_nodes == [leader];
    for _ in 0..400 {
        if shrunk(&mut world) {
            break;
        }
        world.run(100);
    }
    assert_eq!(code(world.produce(leader, "orders", -1, "b").error_code), ErrorCode::NotEnoughReplicas);
    assert_eq!(code(world.produce(leader, "orders", 1, "c").error_code), ErrorCode::None);
    assert_eq!(world.fetch(leader, "orders", 1).high_watermark, 1);
}

#[test]
fn a_produce_to_a_broker_that_does_not_lead_is_told_so_and_where_to_go() {
    let mut world = three();
    world.create(1, "orders", 3);
    let leader = world.await_leader(1, "orders", |_| true);
    world.run(1_000);
    let other = if leader == 1 { 2 } else { 1 };
    let answer: ProduceResponse = world.call(other, &produce_request("orders", 1, batch("a")), 10);
    assert_eq!(answer.node_endpoints.iter().map(|node| node.node_id).collect::<Vec<_>>(), [leader]);
    let partition = only_produced(answer);
    assert_eq!(code(partition.error_code), ErrorCode::NotLeaderOrFollower);
    assert_eq!(partition.current_leader.leader_id, leader);
}

#[test]
fn an_unknown_topic_is_three_by_name_and_a_hundred_by_id() {
    let mut world = dev();
    assert_eq!(code(world.produce(1, "nothing", 1, "a").error_code), ErrorCode::UnknownTopicOrPartition);
    let mut request = fetch_request("", 0, 500);
    request.topics[0].topic_id = Uuid(77);
    let answer: FetchResponse = world.call(1, &request, 16);
    assert_eq!(code(only_fetched(answer).error_code), ErrorCode::UnknownTopicId);
}

#[test]
fn a_long_poll_wakes_on_an_append_and_not_before() {
    let mut world = dev();
    world.create(1, "orders", 1);
    world.await_leader(1, "orders", |_| true);
    world.produce_surely(1, "orders", 1, "a");
    let began = world.now_ns;
    let poll = world.ask(1, &fetch_request("orders", 1, 10_000), FETCH);
    world.run(300);
    assert!(!world.outcomes.contains_key(&poll), "nothing to tell yet");
    world.produce(1, "orders", 1, "b");
    world.settle();
    let data = only_fetched(world.answer(poll, FETCH));
    assert_eq!(values(&data), ["b"]);
    assert!(world.now_ns - began < 1_000_000_000, "it did not wait for its deadline");
}

#[test]
fn a_long_poll_without_data_ends_at_its_deadline() {
    let mut world = dev();
    world.create(1, "orders", 1);
    world.await_leader(1, "orders", |_| true);
    world.produce_surely(1, "orders", 1, "a");
    let began = world.now_ns;
    let data = world.fetch(1, "orders", 1);
    assert_eq!((code(data.error_code), values(&data).len()), (ErrorCode::None, 0));
    assert_eq!(world.now_ns - began, 500_000_000);
}

#[test]
fn a_parked_fetch_of_a_closed_connection_is_forgotten() {
    let mut world = dev();
    world.create(1, "orders", 1);
    world.await_leader(1, "orders", |_| true);
    world.produce_surely(1, "orders", 1, "a");
    let poll = world.ask(1, &fetch_request("orders", 1, 10_000), FETCH);
    world.run(100);
    world.hang_up(poll);
    world.produce(1, "orders", 1, "b");
    world.run(11_000);
    assert!(!world.outcomes.contains_key(&poll));
}

#[test]
fn a_metadata_request_brings_a_topic_about() {
    let mut world = dev();
    let (_, topic) = world.metadata(1, "fresh", false);
    world.run(2_000);
    assert_eq!(code(topic.error_code), ErrorCode::UnknownTopicOrPartition);
    assert_eq!(world.leader(1, "fresh"), None, "it was not to be created");
    let (_, topic) = world.metadata(1, "fresh", true);
    assert_eq!(code(topic.error_code), ErrorCode::UnknownTopicOrPartition);
    assert_eq!(world.await_leader(1, "fresh", |_| true), 1);
    assert_eq!(world.produce_surely(1, "fresh", -1, "a"), 0);
    let (_, topic) = world.metadata(1, "not legal", true);
    assert_eq!(code(topic.error_code), ErrorCode::InvalidTopicException);
}

#[test]
fn a_fenced_broker_is_not_told_to_clients() {
    let mut world = three();
    let (answer, _) = world.metadata(1, "nothing", false);
    assert_eq!(answer.brokers.iter().map(|broker| broker.node_id).collect::<Vec<_>>(), [1, 2, 3]);
    world.kill(3);
    world.run(15_000);
    let (answer, _) = world.metadata(1, "nothing", false);
    assert_eq!(answer.brokers.iter().map(|broker| broker.node_id).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn idempotent_producers_get_ids_that_differ_and_their_retries_are_recognised() {
    let mut world = three();
    world.create(1, "orders", 3);
    let leader = world.await_leader(1, "orders", |_| true);
    let mut ids = Vec::new();
    for at in [1, 2, 1, 3] {
        let request = InitProducerIdRequest { transactional_id: None, ..Default::default() };
        let answer: InitProducerIdResponse = world.call(at, &request, 4);
        assert_eq!((answer.error_code, answer.producer_epoch), (0, 0));
        ids.push(answer.producer_id);
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 4);
    let records =
        BatchBuilder::new(0).push(1_767_225_600_000, None, Some(b"a"), &[]).producer(ids[0], 0, 0).build().bytes;
    world.produce_surely(leader, "orders", -1, "first");
    for _ in 0..2 {
        let answer: ProduceResponse = world.call(leader, &produce_request("orders", -1, records.clone()), PRODUCE);
        let answer = only_produced(answer);
        assert_eq!((answer.error_code, answer.base_offset), (0, 1));
    }
    assert_eq!(world.list_offset(leader, "orders", -1), 2);
}

#[test]
fn transactions_have_no_coordinator_yet() {
    let mut world = dev();
    let request = InitProducerIdRequest { transactional_id: Some("t".into()), ..Default::default() };
    let answer: InitProducerIdResponse = world.call(1, &request, 4);
    assert_eq!(code(answer.error_code), ErrorCode::CoordinatorNotAvailable);
}

#[test]
fn acks_zero_has_no_answer_and_its_failure_closes_the_connection() {
    let mut world = dev();
    world.create(1, "orders", 1);
    world.await_leader(1, "orders", |_| true);
    world.produce_surely(1, "orders", 1, "a");
    let good = world.ask(1, &produce_request("orders", 0, batch("b")), PRODUCE);
    let bad = world.ask(1, &produce_request("nothing", 0, batch("b")), PRODUCE);
    world.run(10);
    assert_eq!(world.outcomes.get(&good), Some(&Outcome::NoReply));
    assert_eq!(world.outcomes.get(&bad), Some(&Outcome::Closed));
    assert_eq!(world.list_offset(1, "orders", -1), 2);
}

#[test]
fn a_batch_whose_checksum_fails_is_refused_and_the_others_are_not() {
    let mut world = dev();
    world.create(1, "orders", 1);
    world.await_leader(1, "orders", |_| true);
    world.produce_surely(1, "orders", 1, "a");
    let mut bytes = batch("b").to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    let answer: ProduceResponse = world.call(1, &produce_request("orders", 1, bytes.into()), PRODUCE);
    assert_eq!(code(only_produced(answer).error_code), ErrorCode::CorruptMessage);
    let two = [batch("b"), batch("c")].concat();
    let answer: ProduceResponse = world.call(1, &produce_request("orders", 1, two.into()), PRODUCE);
    assert_eq!(code(only_produced(answer).error_code), ErrorCode::InvalidRecord);
    let zstd = BatchBuilder::new(0).push(1, None, Some(b"z"), &[]).compressed(Codec::Zstd).build().bytes;
    let answer: ProduceResponse = world.call(1, &produce_request("orders", 1, zstd), 6);
    assert_eq!(code(only_produced(answer).error_code), ErrorCode::UnsupportedCompressionType);
    let large = "x".repeat(1_048_588);
    assert_eq!(code(world.produce(1, "orders", 1, &large).error_code), ErrorCode::MessageTooLarge);
    assert_eq!(world.produce(1, "orders", 1, "d").base_offset, 1);
}

#[test]
fn an_old_produce_is_advertised_and_answered_with_unsupported_version() {
    let mut world = dev();
    let answer: ApiVersionsResponse = world.call(1, &ApiVersionsRequest::default(), 3);
    let produce = answer.api_keys.iter().find(|api| api.api_key == 0).expect("Produce");
    assert_eq!(produce.min_version, 0);
    // Version 2: acks 1, 1000 ms, topic "t", partition 4, no records.
    let mut old = vec![0, 0, 0, 2, 0, 0, 0, 9, 0, 1, b'c'];
    old.extend([0, 1, 0, 0, 3, 232, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 0]);
    let token = world.ask_frame(1, old.into());
    world.settle();
    let mut expected = vec![0, 0, 0, 9, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1, 0, 0, 0, 4, 0, 35];
    expected.extend([255; 16]);
    expected.extend([0; 4]);
    assert_eq!(world.outcomes.get(&token), Some(&Outcome::Reply(expected.into())));
}

#[test]
fn a_future_api_versions_is_answered_in_version_zero() {
    let mut world = dev();
    let token = world.ask_frame(1, vec![0, 18, 0, 99, 0, 0, 0, 7, 1, 2, 3].into());
    world.settle();
    let Some(Outcome::Reply(frame)) = world.outcomes.remove(&token) else { panic!("an answer") };
    let answer: ApiVersionsResponse = world::read(frame, 0);
    assert_eq!(code(answer.error_code), ErrorCode::UnsupportedVersion);
    assert!(answer.api_keys.iter().any(|api| api.api_key == 18));
}

#[test]
fn a_hostile_frame_closes_the_connection() {
    let good = frame(&fetch_request("orders", 0, 1), FETCH);
    for cut in 0..good.len() {
        let Err(Refusal::Close(reason)) = decode_request(good.slice(..cut)) else { continue };
        assert!(!reason.is_empty());
    }
    let close = |bytes: &[u8]| matches!(decode_request(bytes.to_vec().into()), Err(Refusal::Close(_)));
    assert!(close(&[]), "nothing");
    assert!(close(&good[..good.len() / 2]), "half a request");
    assert!(close(&[127, 127, 0, 0, 0, 0, 0, 1, 255, 255]), "an unknown API");
    assert!(close(&[0, 1, 0, 99, 0, 0, 0, 1, 255, 255]), "an unknown version");
    assert!(close(&[0, 3, 0, 1, 0, 0, 0, 1, 255, 255, 127, 255, 255, 255]), "two thousand million topics");
}

#[test]
fn a_broker_tells_where_leader_epochs_end() {
    let mut world = dev();
    world.create(1, "orders", 1);
    world.await_leader(1, "orders", |_| true);
    world.produce_surely(1, "orders", 1, "a");
    let partition = OffsetForLeaderPartition { partition: 0, current_leader_epoch: -1, leader_epoch: 0 };
    let topics = vec![OffsetForLeaderTopic { topic: "orders".into(), partitions: vec![partition] }];
    let request = OffsetForLeaderEpochRequest { replica_id: -1, topics };
    let answer: OffsetForLeaderEpochResponse = world.call(1, &request, 3);
    let end = &answer.topics[0].partitions[0];
    assert_eq!((end.error_code, end.leader_epoch, end.end_offset), (0, 0, 1));
}

#[test]
fn a_broker_cut_off_from_the_controller_is_fenced_and_comes_back() {
    let mut world = three();
    world.create(1, "orders", 3);
    world.await_leader(1, "orders", |_| true);
    world.cut.insert((3, 9));
    world.run(30_000);
    let (answer, _) = world.metadata(1, "orders", false);
    assert!(answer.brokers.iter().all(|broker| broker.node_id != 3));
    world.cut.clear();
    world.run(60_000);
    let (answer, _) = world.metadata(1, "orders", false);
    assert!(answer.brokers.iter().any(|broker| broker.node_id == 3));
}
