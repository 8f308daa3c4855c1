//! AlterPartition and elections.

mod common;

use common::{Proposal, Wish, World};
use klamm_base::{Election, ErrorCode, Observation, TopicPartition, Uuid};

const UNCLEAN: &[(&str, &str)] = &[("unclean.leader.election.enable", "true")];

#[test]
fn a_leader_shrinks_and_expands_its_isr_and_each_change_raises_the_partition_epoch() {
    let (mut world, [one, two, three]) = World::three();
    let tp = world.create_on("orders", &[1, 2, 3], &[]);
    let shrunk = Proposal::at(world.partition(tp), &[(1, one), (3, three)]);
    let answer = world.alter((1, one), tp, shrunk).unwrap();
    assert_eq!((answer.leader_id, answer.leader_epoch, answer.partition_epoch), (1, 0, 1));
    assert_eq!(answer.isr, [1, 3]);
    let whole = Proposal::at(world.partition(tp), &[(1, one), (3, three), (2, two)]);
    world.alter((1, one), tp, whole.clone()).unwrap();
    assert_eq!(world.state(tp), "leader 1 isr 1,3,2 epochs 0/2");
    let again = Proposal { partition_epoch: 2, ..whole };
    assert_eq!(world.alter((1, one), tp, again).unwrap().partition_epoch, 2, "no change, no epoch");
}

#[test]
fn a_proposal_is_checked_in_kafkas_order() {
    let (mut world, [one, two, three]) = World::three();
    let tp = world.create_on("orders", &[1, 2], &[]);
    let shrink = Proposal::at(world.partition(tp), &[(1, one)]);
    world.alter((1, one), tp, shrink).unwrap();
    // Partition epoch 1 now; leader epoch 0.
    let good = Proposal::at(world.partition(tp), &[(1, one), (2, two)]);
    let with = |change: &dyn Fn(&mut Proposal)| {
        let mut proposal = good.clone();
        change(&mut proposal);
        proposal
    };
    let nowhere = TopicPartition { topic: Uuid(5), partition: 0 };
    let beyond = TopicPartition { partition: 9, ..tp };
    let cases = [
        ((1, one + 77), tp, good.clone(), ErrorCode::StaleBrokerEpoch),
        ((1, one), nowhere, good.clone(), ErrorCode::UnknownTopicId),
        ((1, one), beyond, good.clone(), ErrorCode::UnknownTopicOrPartition),
        ((2, two), tp, with(&|it| it.leader_epoch = 1), ErrorCode::NotController),
        ((2, two), tp, with(&|it| it.partition_epoch = 2), ErrorCode::NotController),
        ((2, two), tp, with(&|it| it.leader_epoch = -1), ErrorCode::FencedLeaderEpoch),
        ((2, two), tp, with(&|it| it.partition_epoch = 0), ErrorCode::InvalidRequest),
        ((1, one), tp, with(&|it| it.partition_epoch = 0), ErrorCode::InvalidUpdateVersion),
        ((1, one), tp, with(&|it| it.isr.push((3, three))), ErrorCode::InvalidRequest),
        ((1, one), tp, with(&|it| it.isr = vec![(2, two)]), ErrorCode::InvalidRequest),
        ((1, one), tp, with(&|it| it.isr.push((2, two))), ErrorCode::InvalidRequest),
        ((1, one), tp, with(&|it| it.isr.clear()), ErrorCode::InvalidRequest),
        ((1, one), tp, with(&|it| it.recovering = true), ErrorCode::InvalidRequest),
        ((1, one), tp, with(&|it| it.isr[1].1 += 1), ErrorCode::IneligibleReplica),
    ];
    for (broker, tp, proposal, code) in cases {
        let shown = format!("{broker:?} {proposal:?}");
        assert_eq!(world.alter(broker, tp, proposal).unwrap_err(), code as i16, "{shown}");
    }
    world.alter((1, one), tp, good).expect("the good one is good");
}

#[test]
fn a_fenced_a_leaving_and_a_reborn_broker_may_not_join_an_isr() {
    let (mut world, [one, two, three]) = World::three();
    let tp = world.create_on("orders", &[1, 2, 3], &[]);
    let alone = Proposal::at(world.partition(tp), &[(1, one)]);
    world.alter((1, one), tp, alone).unwrap();
    let with_two = Proposal::at(world.partition(tp), &[(1, one), (2, two)]);
    let with_three = Proposal::at(world.partition(tp), &[(1, one), (3, three)]);
    // Broker 3 leads something, so that it stays in controlled shutdown.
    let led = world.create_on("led", &[3, 1], &[]);
    world.beat(3, three, world.controller.image().offset, Wish::ShutDown);
    assert_eq!(world.state(led), "leader 1 isr 1 epochs 1/1");
    assert_eq!(world.alter((1, one), tp, with_three), Err(ErrorCode::IneligibleReplica as i16));
    world.pass_with(10_000, &[(1, one)]);
    assert_eq!(world.alter((1, one), tp, with_two.clone()), Err(ErrorCode::IneligibleReplica as i16));
    // Its successor is unfenced, but the leader saw its predecessor (A06).
    let reborn = world.join(2, 22);
    assert_eq!(world.alter((1, one), tp, with_two.clone()), Err(ErrorCode::IneligibleReplica as i16));
    let caught_up = Proposal { isr: vec![(1, one), (2, reborn)], ..with_two };
    world.alter((1, one), tp, caught_up).unwrap();
}

#[test]
fn without_unclean_election_a_partition_waits_for_its_last_in_sync_replica() {
    let (mut world, [one, two, three]) = World::three();
    let tp = world.create_on("orders", &[1, 2, 3], &[]);
    let alone = Proposal::at(world.partition(tp), &[(1, one)]);
    world.alter((1, one), tp, alone).unwrap();
    world.pass_with(10_000, &[(2, two), (3, three)]);
    assert_eq!(world.state(tp), "leader none isr 1 epochs 1/2");
    let back = world.join(1, 12);
    assert_eq!(world.state(tp), "leader 1 isr 1 epochs 2/3");
    assert!(back > one);
}

#[test]
fn an_unclean_election_makes_the_new_leader_the_whole_isr_and_it_recovers_alone() {
    let (mut world, [one, two, three]) = World::three();
    let tp = world.create_on("orders", &[1, 2, 3], UNCLEAN);
    let alone = Proposal::at(world.partition(tp), &[(1, one)]);
    world.alter((1, one), tp, alone).unwrap();
    world.observed();
    world.pass_with(10_000, &[(2, two), (3, three)]);
    assert_eq!(world.state(tp), "leader 2 isr 2 epochs 1/2 recovering");
    let unclean = |it: &Observation| matches!(it, Observation::PartitionChanged { election: Election::Unclean, .. });
    assert_eq!(world.observed().iter().filter(|it| unclean(it)).count(), 1);
    let greedy = Proposal { recovering: true, ..Proposal::at(world.partition(tp), &[(2, two), (3, three)]) };
    assert_eq!(world.alter((2, two), tp, greedy), Err(ErrorCode::InvalidRequest as i16));
    let recovered = Proposal::at(world.partition(tp), &[(2, two)]);
    assert_eq!(world.alter((2, two), tp, recovered).unwrap().leader_recovery_state, 0);
    assert_eq!(world.state(tp), "leader 2 isr 2 epochs 1/3");
    let relapsed = Proposal { recovering: true, ..Proposal::at(world.partition(tp), &[(2, two)]) };
    assert_eq!(world.alter((2, two), tp, relapsed), Err(ErrorCode::InvalidRequest as i16));
}

#[test]
fn a_leaderless_partition_that_allows_it_takes_the_first_replica_that_returns() {
    let (mut world, [one, _, three]) = World::three();
    let clean = world.create_on("clean", &[1, 2], &[]);
    let unclean = world.create_on("unclean", &[1, 2], UNCLEAN);
    for tp in [clean, unclean] {
        let alone = Proposal::at(world.partition(tp), &[(1, one)]);
        world.alter((1, one), tp, alone).unwrap();
    }
    world.pass_with(10_000, &[(3, three)]);
    assert_eq!(world.state(clean), "leader none isr 1 epochs 1/2");
    assert_eq!(world.state(unclean), "leader none isr 1 epochs 1/2");
    world.join(2, 22);
    assert_eq!(world.state(clean), "leader none isr 1 epochs 1/2");
    assert_eq!(world.state(unclean), "leader 2 isr 2 epochs 2/3 recovering");
}

#[test]
fn the_whole_life_of_a_partition_as_a_judge_sees_it() {
    let (mut world, [one, two, three]) = World::three();
    let tp = world.create_on("orders", &[1, 2, 3], &[("min.insync.replicas", "2")]);
    world.pass_with(10_000, &[(2, two), (3, three)]);
    let both = Proposal::at(world.partition(tp), &[(2, two), (3, three)]);
    world.alter((2, two), tp, both).unwrap();
    world.join(1, 12);
    let one_again = world.controller.image().brokers[&klamm_base::NodeId(1)].epoch;
    let all = Proposal::at(world.partition(tp), &[(2, two), (3, three), (1, one_again)]);
    world.alter((2, two), tp, all).unwrap();
    world.pass_ms(20_000);
    assert!(one_again > one);
    let topic = tp.topic.to_string();
    let shown: Vec<String> =
        world.observed().iter().map(|it| format!("{it:?}").replace(&format!("{:?}", tp.topic), &topic)).collect();
    insta::assert_snapshot!("life_of_a_partition", shown.join("\n"));
}
