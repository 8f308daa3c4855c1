//! Crashes at every disk operation, and the equality of live state, replayed log and what observers fetch.

mod common;

use common::disk::{Crash, Disk};
use common::{Proposal, Wish, World, allocation, alteration, config, counted, creation, heartbeat, registration};
use klamm_base::{NodeId, Observation, TopicPartition, Uuid};
use klamm_controller::{ControllerRequest, ControllerResponse, Event};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// All that brokers and clients were promised, over all lives of a controller.
#[derive(Clone, Debug, Default)]
struct Promises {
    blocks: BTreeSet<i64>,
    broker_epochs: BTreeSet<i64>,
    topics: BTreeMap<String, Uuid>,
    partition_epochs: BTreeMap<TopicPartition, (i32, i32)>,
}

impl Promises {
    /// Takes note of every reply; a promise given twice fails the test.
    fn take(&mut self, world: &mut World) {
        for response in std::mem::take(&mut world.replies).into_values() {
            match response {
                ControllerResponse::AllocateProducerIds(it) if it.error_code == 0 => {
                    let ids = it.producer_id_start..it.producer_id_start + i64::from(it.producer_id_len);
                    assert!(self.blocks.range(ids).next().is_none(), "ids {} are granted twice", it.producer_id_start);
                    assert!(self.blocks.insert(it.producer_id_start));
                }
                ControllerResponse::BrokerRegistration(it) if it.error_code == 0 => {
                    assert!(self.broker_epochs.insert(it.broker_epoch), "epoch {} is given twice", it.broker_epoch);
                }
                ControllerResponse::CreateTopics(it) => {
                    for topic in it.topics.into_iter().filter(|topic| topic.error_code == 0) {
                        self.topics.insert(topic.name.to_string(), topic.topic_id);
                    }
                }
                ControllerResponse::AlterPartition(it) => {
                    for (topic, partition) in
                        it.topics.iter().flat_map(|topic| topic.partitions.iter().map(move |it| (topic, it)))
                    {
                        let tp = TopicPartition { topic: topic.topic_id, partition: partition.partition_index };
                        if partition.error_code == 0 {
                            self.partition_epochs.insert(tp, (partition.leader_epoch, partition.partition_epoch));
                        }
                    }
                }
                _ => {}
            }
        }
    }

    fn assert_kept(&self, world: &World) {
        let image = world.controller.image();
        for (name, id) in &self.topics {
            assert_eq!(image.topic_ids.get(name.as_str()), Some(id), "topic {name} is lost");
        }
        assert!(self.blocks.iter().all(|start| *start < image.next_producer_id), "a block is forgotten");
        let newest = image.brokers.values().map(|broker| broker.epoch).max();
        assert!(self.broker_epochs.last().copied() <= newest, "a registration is lost");
        for (tp, (leader_epoch, partition_epoch)) in &self.partition_epochs {
            let partition = image.partition(*tp).expect("its topic was acknowledged");
            assert!(partition.leader_epoch >= *leader_epoch && partition.partition_epoch >= *partition_epoch);
        }
    }
}

/// One request, made when its turn comes; none if what it is about is not there.
type Step = Box<dyn Fn(&World) -> Option<ControllerRequest>>;

/// The requests of one life, each made from what the controller says at that time.
fn script(life: u128) -> Vec<Step> {
    let of = |id: i32, request: fn(i32, i64) -> ControllerRequest| -> Step {
        Box::new(move |world: &World| {
            let broker = world.controller.image().brokers.get(&NodeId(id))?;
            Some(request(id, broker.epoch))
        })
    };
    let serve = |id, epoch| heartbeat(id, epoch, epoch, Wish::Serve);
    let name = format!("topic-{life}");
    vec![
        Box::new(move |_| Some(registration(1, 100 + life))),
        of(1, serve),
        Box::new(move |_| Some(registration(2, 200 + life))),
        of(2, serve),
        of(1, allocation),
        Box::new(move |_| Some(creation(vec![counted(&name, 3, 2)]))),
        Box::new(shrink),
        of(2, allocation),
    ]
}

/// The first partition's leader proposes to be alone.
fn shrink(world: &World) -> Option<ControllerRequest> {
    let image = world.controller.image();
    let (tp, partition) = image.partitions().find(|(_, partition)| partition.leader.is_some())?;
    let leader = partition.leader?;
    let epoch = image.brokers.get(&leader)?.epoch;
    Some(alteration((leader.0, epoch), tp, Proposal::at(partition, &[(leader.0, epoch)])))
}

/// One life: it ends after `stop_after` disk operations, the last of which takes effect without being reported. True if
/// the script was cut short.
fn live(mut world: World, life: u128, stop_after: usize, promises: &mut Promises) -> (World, bool) {
    let limit = world.disk.performed.saturating_add(stop_after);
    world.event(Event::Start);
    let mut script = script(life).into_iter();
    let mut checked = false;
    loop {
        promises.take(&mut world);
        if world.controller.is_active() && !checked {
            promises.assert_kept(&world);
            checked = true;
            // The predecessors of this life's brokers are gone; their sessions must end before anybody else registers.
            world.now.mono_ns = world.now.after_ms(9000);
            world.event(Event::Deadline);
        }
        if world.disk.performed == limit {
            return (world, true);
        }
        if world.disk.idle() {
            match script.next() {
                Some(step) => {
                    if let Some(request) = step(&world) {
                        world.ask(request);
                    }
                    continue;
                }
                None => return (world, false),
            }
        }
        if world.disk.performed + 1 == limit {
            world.disk.perform();
        } else {
            world.tick();
        }
    }
}

#[test]
fn every_promise_survives_a_crash_at_every_disk_operation_of_two_lives() {
    for crash in Crash::ALL {
        for stop_after in 0.. {
            let mut promises = Promises::default();
            let (first, more) = live(World::fresh(), 1, stop_after, &mut promises);
            let (second, _) = live(first.crashed(crash), 2, stop_after, &mut promises);
            let (last, unfinished) = live(second.crashed(crash), 3, usize::MAX, &mut promises);
            assert!(!unfinished && last.failed.is_none());
            promises.assert_kept(&last);
            assert!(promises.topics.contains_key("topic-3") && promises.blocks.len() >= 2);
            if !more {
                assert!(stop_after > 30, "a life has only {stop_after} operations");
                break;
            }
        }
    }
}

/// One random request; numbers are taken modulo what there is.
#[derive(Clone, Debug)]
enum Move {
    Register { broker: i32, incarnation: u128 },
    Beat { broker: i32, wish: u8, behind: i64 },
    Create { name: u8, partitions: i32, factor: i16, unclean: bool },
    Alter { partition: usize, members: u8, epoch_error: i32 },
    Allocate { broker: i32 },
    Pass { ms: u64 },
    Tick,
    Settle,
    Crash { how: usize },
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        3 => (1..5, 0..3u128).prop_map(|(broker, incarnation)| Move::Register { broker, incarnation }),
        6 => (1..5, 0..8u8, 0..3i64).prop_map(|(broker, wish, behind)| Move::Beat { broker, wish, behind }),
        2 => (0..6u8, 1..4, 1..4i16, any::<bool>())
            .prop_map(|(name, partitions, factor, unclean)| Move::Create { name, partitions, factor, unclean }),
        4 => (0..20usize, any::<u8>(), -1..2).prop_map(|(partition, members, epoch_error)| Move::Alter { partition, members, epoch_error }),
        1 => (1..5).prop_map(|broker| Move::Allocate { broker }),
        3 => (1..5000u64).prop_map(|ms| Move::Pass { ms }),
        3 => Just(Move::Tick),
        3 => Just(Move::Settle),
        1 => (0..3usize).prop_map(|how| Move::Crash { how }),
    ];
    proptest::collection::vec(one, 1..120)
}

fn epoch_of(world: &World, broker: i32) -> i64 {
    world.controller.image().brokers.get(&NodeId(broker)).map_or(0, |broker| broker.epoch)
}

fn perform(world: World, step: &Move) -> World {
    let mut world = world;
    let request = match step {
        Move::Register { broker, incarnation } => registration(*broker, incarnation + 1),
        Move::Beat { broker, wish, behind } => {
            let wish = [Wish::Serve, Wish::Fence, Wish::ShutDown][usize::from(*wish).saturating_sub(5)];
            heartbeat(*broker, epoch_of(&world, *broker), world.controller.image().offset - behind, wish)
        }
        Move::Create { name, partitions, factor, unclean } => {
            let mut topic = counted(&format!("topic-{name}"), *partitions, *factor);
            topic.configs =
                common::settings(&[("unclean.leader.election.enable", if *unclean { "true" } else { "false" })]);
            creation(vec![topic])
        }
        Move::Alter { partition, members, epoch_error } => {
            let image = world.controller.image();
            let Some((tp, state)) = image.partitions().nth(*partition) else { return world };
            let leader = state.leader.map_or(1, |leader| leader.0);
            let chosen = state.replicas.iter().filter(|id| id.0 == leader || members & (1 << id.0) != 0);
            let isr: Vec<_> = chosen.map(|id| (id.0, epoch_of(&world, id.0))).collect();
            let mut proposal = Proposal::at(state, &isr);
            proposal.partition_epoch += epoch_error;
            alteration((leader, epoch_of(&world, leader)), tp, proposal)
        }
        Move::Allocate { broker } => allocation(*broker, epoch_of(&world, *broker)),
        Move::Pass { ms } => {
            world.pass_ms(*ms);
            return world;
        }
        Move::Tick => {
            world.tick();
            return world;
        }
        Move::Settle => {
            world.settle();
            return world;
        }
        Move::Crash { how } => return world.crashed(Crash::ALL[*how]).start(),
    };
    world.ask(request);
    world
}

/// What must be so of any committed metadata.
fn assert_sound(world: &World) {
    let image = world.controller.image();
    for (tp, partition) in image.partitions() {
        assert!(!partition.isr.is_empty() && partition.isr.iter().all(|id| partition.replicas.contains(id)), "{tp:?}");
        if let Some(leader) = partition.leader {
            assert!(partition.isr.contains(&leader) && image.is_active(leader), "{tp:?}: {partition:?}");
            assert!(partition.isr.iter().all(|id| image.is_active(*id)), "{tp:?}: {partition:?}");
        } else {
            assert!(!partition.isr.iter().any(|id| image.is_active(*id)), "{tp:?} could be led: {partition:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn live_state_equals_the_replayed_log_and_what_observers_fetch(steps in moves()) {
        let mut world = World::on(Disk::with_dir("data"), config(), 1).start();
        for step in &steps {
            world = perform(world, step);
            prop_assert!(world.failed.is_none());
            assert_sound(&world);
        }
        world.settle();
        assert_sound(&world);
        let live = world.controller.image().clone();
        prop_assert_eq!(&world.fetched_image(), &live);
        let replayed = world.crashed(Crash::PowerLoss).start();
        let mut replayed = replayed.controller.image().clone();
        // Only the new epoch's LeaderChange came on top.
        prop_assert_eq!((replayed.offset, replayed.epoch), (live.offset + 1, live.epoch + 1));
        (replayed.offset, replayed.epoch) = (live.offset, live.epoch);
        prop_assert_eq!(replayed, live);
    }

    #[test]
    fn observations_tell_each_partitions_whole_story(steps in moves()) {
        let mut world = World::on(Disk::with_dir("data"), config(), 1).start();
        let mut told: BTreeMap<TopicPartition, i32> = BTreeMap::new();
        let mut look = |world: &World, told_again: bool| {
            for note in world.observed() {
                if let Observation::PartitionChanged { tp, partition_epoch, .. } = note {
                    let before = told.insert(tp, partition_epoch).map_or(-1, |epoch| epoch);
                    let again = told_again && partition_epoch <= before;
                    assert!(again || partition_epoch == before + 1, "{tp:?}: {before}, then {partition_epoch}");
                }
            }
        };
        for step in &steps {
            if let Move::Crash { .. } = step {
                look(&world, false);
            }
            world = perform(world, step);
            look(&world, matches!(step, Move::Crash { .. }));
        }
        world.settle();
        look(&world, false);
        let image = world.controller.image();
        for (tp, partition) in image.partitions() {
            assert_eq!(told.get(&tp), Some(&partition.partition_epoch), "the last change of {tp:?} was not told");
        }
    }
}
