//! Log directories: registration, assignment, failure of one (KIP-858).

mod common;

use common::{World, assigned, dir, registration};
use klamm_base::{ErrorCode, NodeId, TopicPartition, Uuid};
use klamm_controller::{ControllerRequest, ControllerResponse, directory};
use klamm_wire::messages::assign_replicas_to_dirs_request::{DirectoryData, PartitionData, TopicData};
use klamm_wire::messages::{AssignReplicasToDirsRequest, BrokerHeartbeatRequest};

/// The second directory of a broker.
fn second(id: i32) -> Uuid {
    Uuid(2_000 + id as u128)
}

/// Registers a broker with these directories and lets it serve; its epoch, or why not.
fn join(world: &mut World, id: i32, incarnation: u128, dirs: &[Uuid]) -> Result<i64, ErrorCode> {
    let ControllerRequest::BrokerRegistration(mut request) = registration(id, incarnation) else { unreachable!() };
    request.log_dirs = dirs.to_vec();
    let answer = match world.call(ControllerRequest::BrokerRegistration(request)) {
        ControllerResponse::BrokerRegistration(answer) => answer,
        other => panic!("{other:?}"),
    };
    match ErrorCode::from_code(answer.error_code) {
        ErrorCode::None => {
            beat(world, id, answer.broker_epoch, &[]);
            Ok(answer.broker_epoch)
        }
        error => Err(error),
    }
}

/// A heartbeat that names directories that are offline.
fn beat(world: &mut World, id: i32, epoch: i64, offline: &[Uuid]) {
    let request = BrokerHeartbeatRequest {
        broker_id: id,
        broker_epoch: epoch,
        current_metadata_offset: world.controller.image().offset.max(epoch),
        offline_log_dirs: offline.to_vec(),
        ..Default::default()
    };
    match world.call(ControllerRequest::BrokerHeartbeat(request)) {
        ControllerResponse::BrokerHeartbeat(answer) => assert_eq!(answer.error_code, 0),
        other => panic!("{other:?}"),
    }
}

/// Broker 1 with two directories, 2 and 3 with one; their epochs.
fn three() -> (World, [i64; 3]) {
    let mut world = World::started();
    let first = join(&mut world, 1, 1, &[dir(1), second(1)]).unwrap();
    let others = [2, 3].map(|id| join(&mut world, id, id as u128, &[dir(id)]).unwrap());
    (world, [first, others[0], others[1]])
}

fn assign(world: &mut World, (id, epoch): (i32, i64), dir: Uuid, tp: TopicPartition) -> ErrorCode {
    let partitions = vec![PartitionData { partition_index: tp.partition }];
    let topics = vec![TopicData { topic_id: tp.topic, partitions }];
    let directories = vec![DirectoryData { id: dir, topics }];
    let request = AssignReplicasToDirsRequest { broker_id: id, broker_epoch: epoch, directories };
    match world.call(ControllerRequest::AssignReplicasToDirs(request)) {
        ControllerResponse::AssignReplicasToDirs(answer) if answer.error_code != 0 => {
            ErrorCode::from_code(answer.error_code)
        }
        ControllerResponse::AssignReplicasToDirs(answer) => {
            assert_eq!((answer.directories[0].id, answer.directories[0].topics[0].topic_id), (dir, tp.topic));
            ErrorCode::from_code(answer.directories[0].topics[0].partitions[0].error_code)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_broker_names_each_of_its_directories_once_and_nobody_elses() {
    let mut world = World::started();
    let refused = Err(ErrorCode::InvalidRegistration);
    assert_eq!(join(&mut world, 1, 1, &[]), refused);
    assert_eq!(join(&mut world, 1, 1, &[dir(1), dir(1)]), refused);
    assert_eq!(join(&mut world, 1, 1, &[dir(1), directory::LOST]), refused);
    assert!(join(&mut world, 1, 1, &[dir(1)]).is_ok());
    assert_eq!(join(&mut world, 2, 2, &[dir(2), dir(1)]), refused);
    assert!(join(&mut world, 2, 2, &[dir(2)]).is_ok());
}

#[test]
fn a_replica_lies_in_its_brokers_only_directory_or_where_the_broker_says() {
    let (mut world, epochs) = three();
    let tp = world.create_on("orders", &[1, 2], &[]);
    assert_eq!(world.partition(tp).directories, [directory::UNASSIGNED, dir(2)]);
    let before = world.partition(tp).clone();
    assert_eq!(assign(&mut world, (1, epochs[0]), second(1), tp), ErrorCode::None);
    let after = world.partition(tp).clone();
    assert_eq!(after.directories, [second(1), dir(2)]);
    assert_eq!((after.leader_epoch, after.partition_epoch), (before.leader_epoch, before.partition_epoch + 1));
    assert_eq!(assign(&mut world, (1, epochs[0]), second(1), tp), ErrorCode::None);
    assert_eq!(world.partition(tp), &after, "it is known already");
    assert_eq!(&world.fetched_image(), world.controller.image());
}

#[test]
fn an_assignment_of_what_is_not_the_brokers_is_refused() {
    let (mut world, epochs) = three();
    let tp = world.create_on("orders", &[1, 2], &[]);
    assert_eq!(assign(&mut world, (1, epochs[0] - 1), dir(1), tp), ErrorCode::StaleBrokerEpoch);
    assert_eq!(assign(&mut world, (3, epochs[2]), dir(3), tp), ErrorCode::NotLeaderOrFollower);
    let other = TopicPartition { partition: 1, ..tp };
    assert_eq!(assign(&mut world, (1, epochs[0]), dir(1), other), ErrorCode::UnknownTopicOrPartition);
    let other = TopicPartition { topic: Uuid(77), ..tp };
    assert_eq!(assign(&mut world, (1, epochs[0]), dir(1), other), ErrorCode::UnknownTopicId);
}

#[test]
fn a_failed_directory_gives_up_its_leaderships_and_its_broker_keeps_the_others() {
    let (mut world, epochs) = three();
    let [here, there] = [dir(1), second(1)].map(|dir| {
        let name = format!("in-{}", dir.0);
        let tp = world.create_on(&name, &[1, 2, 3], &[]);
        assert_eq!(assign(&mut world, (1, epochs[0]), dir, tp), ErrorCode::None);
        tp
    });
    beat(&mut world, 1, epochs[0], &[second(1)]);
    assert_eq!(world.state(here), "leader 1 isr 1,2,3 epochs 0/1");
    assert_eq!(world.state(there), "leader 2 isr 2,3 epochs 1/2");
    let broker = &world.controller.image().brokers[&NodeId(1)];
    assert_eq!((broker.log_dirs.as_slice(), broker.fenced), ([dir(1)].as_slice(), false));
    let offset = world.controller.image().offset;
    beat(&mut world, 1, epochs[0], &[second(1), Uuid(9_999)]);
    assert_eq!(world.controller.image().offset, offset, "that was known, or nobody's");
    assert_eq!(&world.fetched_image(), world.controller.image());
}

#[test]
fn the_last_in_sync_replica_waits_for_its_directory_without_a_leader() {
    let (mut world, epochs) = three();
    let tp = world.create_on("orders", &[1], &[]);
    assert_eq!(assign(&mut world, (1, epochs[0]), second(1), tp), ErrorCode::None);
    beat(&mut world, 1, epochs[0], &[second(1)]);
    assert_eq!(world.state(tp), "leader none isr 1 epochs 1/2");
    world.pass_with(10_000, &[(2, epochs[1]), (3, epochs[2])]);
    let again = join(&mut world, 1, 11, &[dir(1)]).unwrap();
    assert_eq!(world.state(tp), "leader none isr 1 epochs 1/2", "the directory failed at the start, too");
    world.pass_with(10_000, &[(2, epochs[1]), (3, epochs[2])]);
    assert!(join(&mut world, 1, 12, &[dir(1), second(1)]).unwrap() > again);
    assert_eq!(world.state(tp), "leader 1 isr 1 epochs 2/3");
}

#[test]
fn a_replica_that_is_found_in_another_directory_leads_again() {
    let (mut world, epochs) = three();
    let tp = world.create_on("orders", &[1], &[]);
    assert_eq!(assign(&mut world, (1, epochs[0]), second(1), tp), ErrorCode::None);
    world.pass_with(10_000, &[(2, epochs[1]), (3, epochs[2])]);
    let epoch = join(&mut world, 1, 11, &[dir(1)]).unwrap();
    assert_eq!(world.state(tp), "leader none isr 1 epochs 1/2");
    assert_eq!(assign(&mut world, (1, epoch), dir(1), tp), ErrorCode::None);
    assert_eq!(world.state(tp), "leader 1 isr 1 epochs 2/4");
}

#[test]
fn a_replica_in_a_directory_that_has_failed_by_then_leaves_the_isr() {
    let (mut world, epochs) = three();
    let created = world.create(assigned("orders", &[&[1, 2]]));
    let tp = TopicPartition { topic: created.topic_id, partition: 0 };
    beat(&mut world, 1, epochs[0], &[second(1)]);
    assert_eq!(world.state(tp), "leader 1 isr 1,2 epochs 0/0", "nobody knows that it lies there");
    assert_eq!(assign(&mut world, (1, epochs[0]), second(1), tp), ErrorCode::None);
    assert_eq!(world.state(tp), "leader 2 isr 2 epochs 1/2");
}
