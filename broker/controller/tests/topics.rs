//! CreateTopics.

mod common;

use common::{World, assigned, counted, creation, settings};
use klamm_base::{ErrorCode, NodeId, TopicPartition};
use klamm_controller::{ControllerRequest, ControllerResponse};
use klamm_wire::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig};

#[test]
fn every_illegal_topic_is_refused_with_its_own_error() {
    let (mut world, _) = World::three();
    world.create_on("taken", &[1], &[]);
    world.create_on("dotted.name", &[1], &[]);
    let long = "x".repeat(250);
    let assignment = |topic: CreatableTopic, change: &dyn Fn(&mut Vec<CreatableReplicaAssignment>)| {
        let mut topic = topic;
        change(&mut topic.assignments);
        topic
    };
    let with_config = |name: &str, value: Option<&str>| {
        let mut topic = counted("t", 1, 1);
        topic.configs = vec![CreatableTopicConfig { name: name.into(), value: value.map(Into::into) }];
        topic
    };
    let cases = [
        (counted("", 1, 1), ErrorCode::InvalidTopicException),
        (counted("..", 1, 1), ErrorCode::InvalidTopicException),
        (counted("a/b", 1, 1), ErrorCode::InvalidTopicException),
        (counted("größe", 1, 1), ErrorCode::InvalidTopicException),
        (counted(&long, 1, 1), ErrorCode::InvalidTopicException),
        (counted("dotted_name", 1, 1), ErrorCode::InvalidTopicException),
        (counted("__cluster_metadata", 1, 1), ErrorCode::InvalidRequest),
        (counted("taken", 1, 1), ErrorCode::TopicAlreadyExists),
        (counted("t", 0, 1), ErrorCode::InvalidPartitions),
        (counted("t", -2, 1), ErrorCode::InvalidPartitions),
        (counted("t", i32::MAX, 1), ErrorCode::PolicyViolation),
        (counted("t", 1, 0), ErrorCode::InvalidReplicationFactor),
        (counted("t", 1, 4), ErrorCode::InvalidReplicationFactor),
        (CreatableTopic { num_partitions: 1, ..assigned("t", &[&[1]]) }, ErrorCode::InvalidRequest),
        (CreatableTopic { replication_factor: 1, ..assigned("t", &[&[1]]) }, ErrorCode::InvalidRequest),
        (assigned("t", &[&[1, 2], &[3]]), ErrorCode::InvalidReplicaAssignment),
        (assigned("t", &[&[1, 1]]), ErrorCode::InvalidReplicaAssignment),
        (assigned("t", &[&[]]), ErrorCode::InvalidReplicaAssignment),
        (assigned("t", &[&[1, 9]]), ErrorCode::InvalidReplicaAssignment),
        (assignment(assigned("t", &[&[1]]), &|it| it[0].partition_index = 1), ErrorCode::InvalidReplicaAssignment),
        (assignment(assigned("t", &[&[1]]), &|it| it.push(it[0].clone())), ErrorCode::InvalidReplicaAssignment),
        (with_config("no.such.key", Some("1")), ErrorCode::InvalidConfig),
        (with_config("min.insync.replicas", None), ErrorCode::InvalidConfig),
    ];
    let before = world.controller.image().clone();
    for (topic, code) in cases {
        let shown = format!("{topic:?}");
        let refused = world.create(topic);
        assert_eq!(refused.error_code, code as i16, "{shown}");
        assert!(refused.error_message.is_some_and(|text| !text.is_empty()), "{shown}");
    }
    assert_eq!(*world.controller.image(), before, "a refused topic leaves nothing behind");
}

#[test]
fn minus_one_takes_the_defaults() {
    let (mut world, _) = World::three();
    let created = world.create(counted("orders", -1, -1));
    assert_eq!((created.error_code, created.num_partitions, created.replication_factor), (0, 1, 3));
    let (id, topic) = world.controller.image().topic_by_name("orders").unwrap();
    assert_eq!((id, topic.partitions.len()), (created.topic_id, 1));
}

#[test]
fn new_partitions_are_led_by_their_first_replica_in_epoch_zero() {
    let (mut world, _) = World::three();
    let created = world.create(counted("orders", 6, 2));
    assert_eq!(created.error_code, 0);
    let mut led = [0; 4];
    for partition in 0..6 {
        let state = world.partition(TopicPartition { topic: created.topic_id, partition });
        assert_eq!((state.leader, state.leader_epoch, state.partition_epoch), (Some(state.replicas[0]), 0, 0));
        assert_eq!(state.isr, state.replicas);
        led[state.replicas[0].0 as usize] += 1;
    }
    assert_eq!(led, [0, 2, 2, 2]);
}

#[test]
fn a_fenced_broker_gets_replicas_but_is_not_in_sync() {
    let (mut world, _) = World::three();
    let fenced = world.register(4, 44);
    assert_eq!(fenced.error_code, 0);
    let tp = world.create_on("orders", &[4, 2], &[]);
    assert_eq!(world.state(tp), "leader 2 isr 2 epochs 0/0");
    let refused = world.create(assigned("alone", &[&[4]]));
    assert_eq!(refused.error_code, ErrorCode::InvalidReplicaAssignment as i16);
    let four = world.create(counted("four", 1, 4));
    assert_eq!(four.error_code, 0);
    let state = world.partition(TopicPartition { topic: four.topic_id, partition: 0 });
    assert_eq!((state.replicas[3], state.isr.len()), (NodeId(4), 3));
}

#[test]
fn settings_are_kept_and_answered() {
    let (mut world, _) = World::three();
    let mut topic = counted("orders", 1, 1);
    topic.configs = settings(&[("min.insync.replicas", "2"), ("unclean.leader.election.enable", "true")]);
    let created = world.create(topic);
    assert_eq!(created.configs.map(|configs| configs.len()), Some(2));
    assert_eq!(world.controller.image().topic_config("orders", "min.insync.replicas"), Some("2"));
    assert_eq!(world.controller.image().topic_config("orders", "retention.ms"), None);
}

#[test]
fn a_dry_run_answers_and_creates_nothing() {
    let (mut world, _) = World::three();
    let ControllerRequest::CreateTopics(mut request, version) = creation(vec![counted("orders", 2, 2)]) else {
        unreachable!()
    };
    request.validate_only = true;
    let ControllerResponse::CreateTopics(answer) = world.call(ControllerRequest::CreateTopics(request, version)) else {
        panic!("another kind")
    };
    assert_eq!((answer.topics[0].error_code, answer.topics[0].num_partitions), (0, 2));
    assert!(world.controller.image().topics.is_empty());
}

#[test]
fn a_name_given_twice_in_one_request_is_refused_once_and_the_others_are_created() {
    let (mut world, _) = World::three();
    let topics = vec![counted("a", 1, 1), counted("b", 1, 1), counted("a", 2, 1)];
    let ControllerResponse::CreateTopics(answer) = world.call(creation(topics)) else { panic!("another kind") };
    let codes: Vec<_> = answer.topics.iter().map(|topic| (topic.name.as_str(), topic.error_code)).collect();
    assert_eq!(codes, [("a", ErrorCode::InvalidRequest as i16), ("b", 0)]);
}

#[test]
fn of_two_requests_for_one_name_in_one_batch_the_second_sees_the_first() {
    let (mut world, epochs) = World::three();
    // The first request is in flight while the other two wait.
    let first = world.ask(common::allocation(1, epochs[0]));
    let second = world.ask(creation(vec![counted("orders", 1, 1)]));
    let third = world.ask(creation(vec![counted("orders", 1, 1)]));
    world.settle();
    assert!(world.replies.contains_key(&first));
    let code = |token| match &world.replies[&token] {
        ControllerResponse::CreateTopics(answer) => answer.topics[0].error_code,
        other => panic!("{other:?}"),
    };
    assert_eq!((code(second), code(third)), (0, ErrorCode::TopicAlreadyExists as i16));
}

#[test]
fn no_brokers_or_only_fenced_ones_mean_no_topic() {
    let mut world = World::started();
    assert_eq!(world.create(counted("t", 1, 1)).error_code, ErrorCode::InvalidReplicationFactor as i16);
    world.register(1, 11);
    assert_eq!(world.create(counted("t", 1, 1)).error_code, ErrorCode::InvalidReplicationFactor as i16);
}
