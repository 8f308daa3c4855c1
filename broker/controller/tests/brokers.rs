//! Registration, sessions, fencing, controlled shutdown.

mod common;

use common::disk::Crash;
use common::{Wish, World, allocation, heartbeat, registration};
use klamm_base::{ErrorCode, NodeId};
use klamm_controller::{ControllerRequest, ControllerResponse, Event};

fn code(code: ErrorCode) -> i16 {
    code as i16
}

#[test]
fn a_broker_begins_fenced_under_an_epoch_that_is_its_records_offset() {
    let mut world = World::started();
    let first = world.register(1, 11);
    let second = world.register(2, 22);
    assert_eq!((first.broker_epoch, second.broker_epoch), (1, 2));
    let image = world.controller.image();
    assert!(image.brokers.values().all(|broker| broker.fenced));
    assert_eq!((&*image.brokers[&NodeId(1)].host, image.brokers[&NodeId(1)].port), ("b1", 9092));
}

#[test]
fn a_repeated_registration_of_one_incarnation_gets_the_same_epoch() {
    let mut world = World::started();
    assert_eq!(world.register(1, 11), world.register(1, 11));
}

#[test]
fn another_incarnation_waits_until_the_session_of_the_first_ends() {
    let mut world = World::started();
    let epoch = world.join(1, 11);
    world.pass_ms(8999);
    assert_eq!(world.register(1, 12).error_code, code(ErrorCode::DuplicateBrokerRegistration));
    assert!(!world.controller.image().brokers[&NodeId(1)].fenced);
    world.pass_ms(1);
    assert!(world.controller.image().brokers[&NodeId(1)].fenced);
    let second = world.register(1, 12);
    assert!(second.error_code == 0 && second.broker_epoch > epoch);
    assert_eq!(world.beat(1, epoch, 99, Wish::Serve).error_code, code(ErrorCode::StaleBrokerEpoch));
}

#[test]
fn a_broker_is_unfenced_once_it_has_replayed_its_own_registration() {
    let mut world = World::started();
    let epoch = world.register(1, 11).broker_epoch;
    let behind = world.beat(1, epoch, epoch - 1, Wish::Serve);
    assert!(behind.is_fenced && !behind.is_caught_up);
    assert!(world.beat(1, epoch, epoch, Wish::Fence).is_fenced, "it does not want to");
    let beat = world.beat(1, epoch, epoch, Wish::Serve);
    assert!(!beat.is_fenced && beat.is_caught_up && !beat.should_shut_down);
}

#[test]
fn requests_of_unknown_and_stale_brokers_are_refused() {
    let mut world = World::started();
    assert_eq!(world.beat(7, 1, 1, Wish::Serve).error_code, code(ErrorCode::BrokerIdNotRegistered));
    assert_eq!(world.allocate(7, 1).error_code, code(ErrorCode::StaleBrokerEpoch));
    let epoch = world.join(1, 11);
    assert_eq!(world.allocate(1, epoch - 1).error_code, code(ErrorCode::StaleBrokerEpoch));
    let ControllerRequest::BrokerRegistration(mut other) = registration(2, 22) else { unreachable!() };
    other.cluster_id = "village".into();
    let answer = world.call(ControllerRequest::BrokerRegistration(other));
    let ControllerResponse::BrokerRegistration(answer) = answer else { panic!("{answer:?}") };
    assert_eq!((answer.error_code, answer.broker_epoch), (code(ErrorCode::InconsistentClusterId), -1));
}

#[test]
fn a_silent_broker_leaves_every_isr_and_its_leaderships_move_in_a_new_epoch() {
    let (mut world, [one, two, three]) = World::three();
    let led = world.create_on("led", &[1, 2, 3], &[]);
    let followed = world.create_on("followed", &[2, 1, 3], &[]);
    let alone = world.create_on("alone", &[1], &[]);
    world.pass_with(10_000, &[(2, two), (3, three)]);
    assert_eq!(world.state(led), "leader 2 isr 2,3 epochs 1/1");
    assert_eq!(world.state(followed), "leader 2 isr 2,3 epochs 0/1");
    assert_eq!(world.state(alone), "leader none isr 1 epochs 1/1", "the last member stays");
    assert_eq!(world.allocate(1, one).error_code, 0, "fencing does not change the broker epoch");
    world.beat(1, one, world.controller.image().offset, Wish::Serve);
    assert_eq!(world.state(alone), "leader 1 isr 1 epochs 2/2");
    assert_eq!(world.state(led), "leader 2 isr 2,3 epochs 1/1", "it comes back into an ISR by catching up only");
}

#[test]
fn sessions_run_on_the_monotonic_clock() {
    let mut world = World::started();
    world.join(1, 11);
    world.now.wall_ms += 3_600_000;
    world.event(Event::Deadline);
    world.settle();
    assert!(!world.controller.image().brokers[&NodeId(1)].fenced);
}

#[test]
fn a_new_controller_gives_every_broker_a_fresh_session() {
    let (mut world, [_, two, _]) = World::three();
    world.pass_ms(8000);
    let mut world = world.crashed(Crash::Kill).start();
    world.pass_ms(8000);
    assert!(world.controller.image().brokers.values().all(|broker| !broker.fenced));
    assert_eq!(world.register(1, 12).error_code, code(ErrorCode::DuplicateBrokerRegistration));
    world.beat_all(&[(2, two)]);
    world.pass_ms(1000);
    let fenced: Vec<bool> = world.controller.image().brokers.values().map(|broker| broker.fenced).collect();
    assert_eq!(fenced, [true, false, true]);
}

#[test]
fn a_broker_that_shuts_down_gives_its_leaderships_away_first() {
    let (mut world, [one, two, three]) = World::three();
    let led = world.create_on("led", &[1, 2, 3], &[]);
    let asked = world.beat(1, one, world.controller.image().offset, Wish::ShutDown);
    assert!(!asked.should_shut_down && !asked.is_fenced);
    assert_eq!(world.state(led), "leader 2 isr 2,3 epochs 1/1");
    let moved = world.controller.image().offset;
    assert!(!world.beat(1, one, moved, Wish::ShutDown).should_shut_down, "the others do not know yet");
    world.beat(2, two, moved, Wish::Serve);
    assert!(!world.beat(1, one, moved, Wish::ShutDown).should_shut_down, "one of them does not know yet");
    world.beat(3, three, moved, Wish::Serve);
    let granted = world.beat(1, one, moved, Wish::ShutDown);
    assert!(granted.should_shut_down && granted.is_fenced);
    assert_eq!(world.register(1, 12).error_code, 0, "its successor need not wait");
}

#[test]
fn a_broker_without_leaderships_and_a_fenced_one_may_shut_down_at_once() {
    let (mut world, [one, ..]) = World::three();
    assert!(world.beat(1, one, 99, Wish::ShutDown).should_shut_down);
    assert!(world.controller.image().brokers[&NodeId(1)].fenced);
    assert!(world.beat(1, one, 99, Wish::ShutDown).should_shut_down);
    assert_eq!(world.register(1, 12).error_code, 0, "its successor need not wait");
}

#[test]
fn a_successor_that_registers_in_the_instant_its_predecessors_session_ends_inherits_no_place_in_an_isr() {
    let (mut world, [_, two, three]) = World::three();
    let led = world.create_on("led", &[1, 2, 3], &[]);
    world.pass_ms(5000);
    world.beat_all(&[(2, two), (3, three)]);
    // The session is over, but the deadline is not stepped yet.
    world.now.mono_ns = world.now.after_ms(4000);
    let successor = world.register(1, 12);
    assert_eq!(successor.error_code, 0);
    assert_eq!(world.state(led), "leader 2 isr 2,3 epochs 1/1");
    assert_eq!(world.controller.image().brokers[&NodeId(1)].epoch, successor.broker_epoch);
}

#[test]
fn producer_id_blocks_follow_each_other() {
    let (mut world, [one, two, _]) = World::three();
    let starts = [(1, one), (2, two), (1, one)].map(|(id, epoch)| {
        let block = world.allocate(id, epoch);
        assert_eq!((block.error_code, block.producer_id_len), (0, 1000));
        block.producer_id_start
    });
    assert_eq!(starts, [0, 1000, 2000]);
}

#[test]
fn nothing_is_answered_before_its_records_are_durable() {
    let (mut world, [one, ..]) = World::three();
    let token = world.ask(allocation(1, one));
    let late = world.ask(heartbeat(1, one, 1, Wish::Serve));
    let mut syncs = 0;
    while !world.replies.contains_key(&token) {
        assert!(!world.replies.contains_key(&late), "it must not overtake what it may have seen");
        assert!(world.tick());
        syncs += 1;
    }
    assert_eq!(syncs, 2, "an append and a sync");
    assert!(world.replies.contains_key(&late));
}

#[test]
fn while_it_loads_a_controller_refuses_everything() {
    let mut world = World::fresh();
    world.event(Event::Start);
    let requests = [registration(1, 1), heartbeat(1, 1, 1, Wish::Serve), allocation(1, 1)];
    for request in requests {
        let refusal = request.refused(ErrorCode::NotController);
        let token = world.ask(request);
        assert_eq!(world.replies[&token], refusal);
    }
    let token = world.ask(common::creation(vec![common::counted("orders", 1, 1)]));
    let ControllerResponse::CreateTopics(answer) = &world.replies[&token] else { panic!("not CreateTopics") };
    assert_eq!(answer.topics[0].error_code, code(ErrorCode::NotController));
}

#[test]
fn a_stopped_controller_has_flushed_and_answers_nobody_that_it_controls() {
    let (mut world, [one, ..]) = World::three();
    let granted = world.allocate(1, one).producer_id_start;
    world.event(Event::Stop);
    world.settle();
    assert!(world.stopped && !world.controller.is_active());
    let token = world.ask(allocation(1, one));
    let ControllerResponse::AllocateProducerIds(answer) = &world.replies[&token] else { panic!("another kind") };
    assert_eq!(answer.error_code, code(ErrorCode::NotController));
    let mut world = world.crashed(Crash::PowerLoss).start();
    assert!(world.allocate(1, one).producer_id_start > granted);
}
