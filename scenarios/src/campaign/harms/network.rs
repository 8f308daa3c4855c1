//! Links, connections and listeners.

use super::{for_a_while, some_broker, some_node};
use crate::campaign::draft::Draft;
use crate::script::{Action, ConnectionHarm, Corrupt, Cut, Link, LinkHarm, Listen, ROLES, Slow, Step, Target};
use klamm_sim::{ConnectionFault, LinkChange, LinkState, Listening};

/// A link in one direction or in both: between replicas, to the controller, to clients, or to everybody.
fn link(draft: &mut Draft) -> Link {
    let partition = draft.partition();
    let (from, to) = match draft.draws.below(5) {
        0 => (Target::Leader(partition.clone()), Target::Followers(partition)),
        1 => (draft.broker(), Target::Controller),
        2 => (draft.broker(), Target::Clients),
        3 => (Target::Producer(draft.producer()), Target::Brokers),
        _ => (draft.broker(), Target::All),
    };
    if draft.draws.chance(1, 2) { Link::between(from, to) } else { Link::one_way(from, to) }
}

fn changed(draft: &mut Draft, change: LinkChange, action: fn(LinkHarm) -> Action) -> Vec<Step> {
    let link = link(draft);
    for_a_while(draft, action(LinkHarm { link, change }))
}

pub fn stall(draft: &mut Draft) -> Vec<Step> {
    let link = link(draft);
    for_a_while(draft, Action::Cut(Cut { link, state: LinkState::Stalled }))
}

pub fn reset(draft: &mut Draft) -> Vec<Step> {
    let link = link(draft);
    for_a_while(draft, Action::Cut(Cut { link, state: LinkState::Reset }))
}

pub fn jitter(draft: &mut Draft) -> Vec<Step> {
    let ns = draft.draws.between(1, 300) * 1_000_000;
    changed(draft, LinkChange::Jitter { ns }, |harm| Action::Slow(Slow::Link(harm)))
}

pub fn narrow(draft: &mut Draft) -> Vec<Step> {
    let bytes_per_second = draft.draws.between(5_000, 200_000);
    let queue_bytes = if draft.draws.chance(1, 2) { 0 } else { draft.draws.between(3_000, 60_000) };
    changed(draft, LinkChange::Narrow { bytes_per_second, queue_bytes }, |harm| Action::Slow(Slow::Link(harm)))
}

pub fn loss(draft: &mut Draft) -> Vec<Step> {
    let ppm = *draft.draws.pick(&[1_000, 20_000, 100_000, 400_000]);
    changed(draft, LinkChange::Loss { ppm }, Action::Drop)
}

pub fn partial(draft: &mut Draft) -> Vec<Step> {
    let ppm = *draft.draws.pick(&[50_000, 500_000, 1_000_000]);
    changed(draft, LinkChange::Partial { ppm }, Action::Split)
}

/// Bytes of the victim's links with clients and with other brokers. Frames carry no checksum but the one of their records, so
/// that a flipped bit may mean anything: the one controller's links stay clean.
pub fn corrupt(draft: &mut Draft) -> Vec<Step> {
    let victim = Target::Broker(draft.victim);
    let producer = Target::Producer(draft.producer());
    let link = match draft.draws.below(3) {
        0 => Link::one_way(producer, victim),
        1 => Link::one_way(victim, Target::Clients),
        _ => Link::one_way(victim, Target::Brokers),
    };
    let ppm = *draft.draws.pick(&[1_000, 10_000]);
    let action = Action::Corrupt(Corrupt::InTransit(LinkHarm { link, change: LinkChange::Corrupt { ppm } }));
    for_a_while(draft, action)
}

/// Connections of a role to or from somebody.
fn connection(draft: &mut Draft, what: ConnectionFault) -> Vec<Step> {
    let role = *draft.draws.pick(&ROLES);
    let node = some_broker(draft);
    let producer = Target::Producer(draft.producer());
    let (from, to) = match role {
        "producer" => (Some(producer), Some(Target::Brokers)),
        "admin" | "consumer" => (None, Some(node)),
        "fetch" => (Some(node), None),
        _ => (Some(node), Some(Target::Controller)),
    };
    let role = draft.draws.chance(4, 5).then(|| role.to_owned());
    for_a_while(draft, Action::Connection(ConnectionHarm { from, to, role, what }))
}

pub fn connection_reset(draft: &mut Draft) -> Vec<Step> {
    connection(draft, ConnectionFault::Reset)
}

pub fn connection_stall(draft: &mut Draft) -> Vec<Step> {
    connection(draft, ConnectionFault::Stall)
}

pub fn half_open(draft: &mut Draft) -> Vec<Step> {
    connection(draft, ConnectionFault::HalfOpen)
}

pub fn slow_close(draft: &mut Draft) -> Vec<Step> {
    let ns = draft.draws.between(10, 5_000) * 1_000_000;
    connection(draft, ConnectionFault::SlowClose { ns })
}

pub fn connection_delay(draft: &mut Draft) -> Vec<Step> {
    let ns = draft.draws.between(5, 2_000) * 1_000_000;
    connection(draft, ConnectionFault::Delay { ns })
}

/// As [`corrupt`], for what carries records.
pub fn connection_corrupt(draft: &mut Draft) -> Vec<Step> {
    let victim = Some(Target::Broker(draft.victim));
    let producer = Target::Producer(draft.producer());
    let (from, to, role) = match draft.draws.below(3) {
        0 => (Some(producer), victim, "producer"),
        1 => (None, victim, "consumer"),
        _ => (Some(Target::Brokers), victim, "fetch"),
    };
    let ppm = *draft.draws.pick(&[1_000, 10_000]);
    let what = ConnectionFault::Corrupt { ppm };
    for_a_while(draft, Action::Connection(ConnectionHarm { from, to, role: Some(role.to_owned()), what }))
}

pub fn refuse(draft: &mut Draft) -> Vec<Step> {
    let target = some_node(draft);
    for_a_while(draft, Action::Listen(Listen { target, answer: Listening::Refuse }))
}

pub fn no_answer(draft: &mut Draft) -> Vec<Step> {
    let target = some_node(draft);
    for_a_while(draft, Action::Listen(Listen { target, answer: Listening::Silent }))
}
