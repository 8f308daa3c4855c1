//! Where faults cluster: each function draws the steps of one incident in one period. Most histories that break a broken
//! stack are rare under even draws; these are the places at which the documented bugs struck.

use super::chains::{held_proposal, leader_chain, lost_answers, unheard_shrink};
use super::draft::{Draft, On};
use super::profile::Biases;
use crate::script::{Action, Cut, Link, LinkHarm, Skew, SkewKind, Slow, Span, Step, Target, Trigger};
use klamm_sim::LinkState;

/// A generator of one incident; nothing if the families that it needs are off.
pub type Bias = fn(&mut Draft) -> Vec<Step>;

/// The biases with their weights under these families; those that could draw nothing have none.
pub fn weighted(on: &On, weights: &Biases) -> Vec<(u64, Bias)> {
    let usable = |usable: bool, weight: u64| if usable { weight } else { 0 };
    let kills = on.has("kill");
    let all: [(u64, Bias); 10] = [
        (usable(on.any_first(), weights.anywhere), anywhere),
        (usable(on.has("kill"), weights.restart_in_session), restart_in_session),
        (usable(on.any_process() || on.any_cut(), weights.after_ack), after_ack),
        (usable(on.any_process() || on.any_cut(), weights.during_election), during_election),
        (usable(on.has("kill"), weights.fresh_leader), fresh_leader),
        (usable(on.any_cut() || on.has("kill"), weights.lost_acks), lost_acks),
        (usable(on.any_cut(), weights.lost_answers), lost_answers),
        (usable(on.any_cut() && kills, weights.unheard_shrink), unheard_shrink),
        (usable(on.any_cut() && kills, weights.held_proposal), held_proposal),
        (usable(on.any_cut() && kills, weights.leader_chain), leader_chain),
    ];
    all.into_iter().filter(|(weight, _)| *weight > 0).collect()
}

/// One fault of some family that is on, at any instant of the period, on anybody.
pub fn anywhere(draft: &mut Draft) -> Vec<Step> {
    let on = draft.on;
    let kinds: Vec<u64> = [on.any_process(), on.has("power-off"), on.any_cut(), on.has("slow"), on.has("skew")]
        .into_iter()
        .zip(0..)
        .filter_map(|(on, kind)| on.then_some(kind))
        .collect();
    if kinds.is_empty() {
        return Vec::new();
    }
    let at = draft.instant();
    let step = match *draft.draws.pick(&kinds) {
        0 => anybody(draft).and_then(|target| draft.outage(target)),
        1 => {
            let target = draft.broker();
            draft.power_loss(target)
        }
        2 => Some(cut_anywhere(draft)),
        3 => Some(slow_anywhere(draft)),
        _ => Some(skew_anywhere(draft)),
    };
    step.into_iter().map(|step| step.at(at)).collect()
}

/// A broker, the leader or a follower of a partition, the controller; rarely a producer.
fn anybody(draft: &mut Draft) -> Option<Target> {
    let partition = draft.partition();
    Some(match draft.draws.below(8) {
        0 | 1 => draft.broker(),
        2 | 3 => Target::Leader(partition),
        4 | 5 => Target::Follower(partition),
        6 => Target::Controller,
        _ => Target::Producer(draft.producer()),
    })
}

fn cut_anywhere(draft: &mut Draft) -> Step {
    let partition = draft.partition();
    let (from, to) = match draft.draws.below(5) {
        0 => (Target::Leader(partition.clone()), Target::Followers(partition)),
        1 => (Target::Followers(partition.clone()), Target::Leader(partition)),
        2 => (draft.broker(), Target::Controller),
        3 => (Target::Controller, draft.broker()),
        _ => (draft.broker(), Target::All),
    };
    let action = draft.cut(from, to);
    let lasts = draft.around_session();
    Step::new(action).lasting(lasts)
}

fn slow_anywhere(draft: &mut Draft) -> Step {
    let partition = draft.partition();
    let (from, to) = match draft.draws.below(3) {
        0 => (Target::Leader(partition.clone()), Target::Followers(partition)),
        1 => (draft.broker(), Target::All),
        _ => (Target::Brokers, Target::Clients),
    };
    let min = Span::ms(draft.draws.between(5, 100));
    let max = Span::ms(min.as_ms() + draft.draws.between(1, 400));
    let lasts = Span::ms(draft.draws.between(500, 4_000));
    Step::new(Action::Slow(Slow::Link(LinkHarm::slow(Link::between(from, to), min, max)))).lasting(lasts)
}

fn skew_anywhere(draft: &mut Draft) -> Step {
    let sign = if draft.draws.chance(1, 2) { 1 } else { -1 };
    let by_ms = sign * draft.draws.between(100, 60_000) as i64;
    let target = if draft.draws.chance(1, 4) { Target::Controller } else { draft.broker() };
    let lasts = Span::ms(draft.draws.between(500, 8_000));
    Step::new(Action::Skew(Skew { target, how: SkewKind::By(by_ms) })).lasting(lasts)
}

/// A crash whose restart falls inside the session: the controller has not noticed that the broker was gone.
pub fn restart_in_session(draft: &mut Draft) -> Vec<Step> {
    let partition = draft.partition();
    let target = if draft.draws.chance(1, 2) { Target::Leader(partition) } else { draft.broker() };
    let (at, lasts) = (draft.instant(), draft.of_session(2, 80));
    vec![Step::new(Action::Crash(target)).at(at).lasting(lasts)]
}

/// The leader is struck at the very instant of an acknowledgement, or a moment later.
pub fn after_ack(draft: &mut Draft) -> Vec<Step> {
    let partition = draft.partition();
    let (at, nth) = (draft.instant(), draft.draws.between(1, 40));
    let trigger = Trigger::Ack { nth, producer: None };
    let leader = Target::Leader(partition.clone());
    let step = if draft.on.any_process() && (draft.draws.chance(2, 3) || !draft.on.any_cut()) {
        draft.outage(leader)
    } else {
        let action = draft.cut(leader, Target::Followers(partition));
        let lasts = draft.around_session();
        Some(Step::new(action).lasting(lasts))
    };
    let Some(mut step) = step else { return Vec::new() };
    if step.when.is_none() {
        step.when = Some(trigger);
        step.after = draft.draws.chance(1, 2).then(|| draft.soon());
    }
    vec![step.at(at)]
}

/// Something is struck while a partition changes its leader.
pub fn during_election(draft: &mut Draft) -> Vec<Step> {
    let partition = draft.partition();
    let at = draft.from;
    let trigger = match draft.draws.below(2) {
        0 => Trigger::NoLeader { on: partition.clone() },
        _ => Trigger::Election { on: partition.clone() },
    };
    let victim = match draft.draws.below(4) {
        0 => Target::Controller,
        1 => Target::Leader(partition.clone()),
        _ => Target::Follower(partition.clone()),
    };
    let step = if draft.on.has("kill") || draft.on.has("pause") {
        draft.outage(victim)
    } else if draft.on.any_cut() {
        let victim = victim_of(partition, draft);
        let action = draft.cut(Target::Controller, victim);
        let lasts = draft.around_session();
        Some(Step::new(action).lasting(lasts))
    } else {
        return Vec::new();
    };
    let after = draft.soon();
    step.into_iter().map(|step| step.at(at).when(trigger.clone()).after(after)).collect()
}

fn victim_of(partition: crate::script::Partition, draft: &mut Draft) -> Target {
    if draft.draws.chance(1, 2) { Target::Leader(partition) } else { Target::Followers(partition) }
}

/// The leader dies under load, and then the fresh leader within one fetch back-off of its election, before its followers have
/// fetched from it: what the survivors cut from their logs in between is gone (A01).
pub fn fresh_leader(draft: &mut Draft) -> Vec<Step> {
    let partition = draft.partition();
    let leader = Target::Leader(partition.clone());
    let at = draft.instant();
    let (first_lasts, second_lasts) = (draft.beyond_session(3_000), draft.beyond_session(3_000));
    let first = Step::new(Action::Crash(leader.clone())).at(at).lasting(first_lasts);
    let first = match draft.draws.below(3) {
        0 => first.when(Trigger::Ack { nth: draft.draws.between(1, 30), producer: None }),
        1 => first.when(Trigger::Append { nth: draft.draws.between(1, 20), on: partition.clone() }),
        _ => first,
    };
    let (trigger, after) = match draft.draws.below(4) {
        0 => (Trigger::FreshAppend { on: partition }, draft.within_backoff()),
        1 => (Trigger::Truncation { on: partition }, Span(draft.draws.between(0, 3_000) * 1_000)),
        _ => (Trigger::Election { on: partition }, draft.within_backoff()),
    };
    let second = Step::new(Action::Crash(leader)).at(at).when(trigger).after(after).lasting(second_lasts);
    vec![first, second]
}

/// Batches are appended and their acknowledgements lost, with several in flight: the way from the leader to a producer is
/// silent for longer than the producer waits, or the leader dies right after an append. All of them are sent again.
pub fn lost_acks(draft: &mut Draft) -> Vec<Step> {
    let partition = draft.partition();
    let producer = draft.producer();
    let at = draft.instant();
    let trigger = Trigger::Append { nth: draft.draws.between(1, 30), on: partition.clone() };
    let leader = Target::Leader(partition);
    let patience = draft.request_timeout_ms(&producer);
    let cut_is_possible = draft.on.any_cut() && patience <= 5_000;
    if !cut_is_possible && !draft.on.has("kill") {
        return Vec::new();
    }
    if cut_is_possible && (draft.draws.chance(2, 3) || !draft.on.has("kill")) {
        let lasts = Span::ms(patience * draft.draws.between(102, 140) / 100);
        let link = Link::one_way(leader, Target::Producer(producer));
        return vec![
            Step::new(Action::Cut(Cut { link, state: LinkState::BlackHole })).at(at).when(trigger).lasting(lasts),
        ];
    }
    let after = Span(draft.draws.between(0, 30_000) * 1_000);
    let lasts = draft.around_session();
    vec![Step::new(Action::Crash(leader)).at(at).when(trigger).after(after).lasting(lasts)]
}
