//! What a fault is: the milder one, if it does as well; the one host, if it does as well as the group.

use super::edited;
use crate::script::{Action, Cut, Heal, Link, LinkHarm, Script, Slow, Span, Target};
use klamm_sim::LinkState;

/// Milder faults, on fewer hosts.
pub fn kinds(script: &Script) -> Vec<Script> {
    let mut all = Vec::new();
    for (index, step) in script.steps.iter().enumerate() {
        let actions = milder(&step.action).into_iter().chain(narrower(&step.action, script.cluster.brokers));
        all.extend(actions.map(|action| edited(script, |script| script.steps[index].action = action)));
        if step.forever {
            all.push(edited(script, |script| script.steps[index].forever = false));
        }
    }
    if !script.heal.is_all() {
        all.push(edited(script, |script| script.heal = Heal::All));
    }
    all
}

/// Lost machine or wiped disk > lost power > crash > pause > cut > slow link.
fn milder(action: &Action) -> Vec<Action> {
    match action {
        Action::Lose(lose) => vec![Action::PowerOff(lose.target.clone()), Action::Crash(lose.target.clone())],
        Action::Wipe(target) => vec![Action::PowerOff(target.clone()), Action::Crash(target.clone())],
        Action::PowerOff(target) => vec![Action::Crash(target.clone())],
        Action::Stop(stop) => vec![Action::Crash(stop.target.clone())],
        Action::Crash(target) => vec![Action::Pause(target.clone())],
        Action::Gc(gc) => vec![Action::Pause(gc.target.clone())],
        Action::Pause(target) => {
            let link = Link::between(target.clone(), Target::All);
            vec![Action::Cut(Cut { link, state: LinkState::BlackHole })]
        }
        Action::Cut(cut) => milder_cut(cut),
        _ => Vec::new(),
    }
}

fn milder_cut(cut: &Cut) -> Vec<Action> {
    let Cut { link, state } = cut;
    if *state != LinkState::BlackHole {
        return vec![Action::Cut(Cut { link: link.clone(), state: LinkState::BlackHole })];
    }
    if link.both {
        let there = Link::one_way(link.from.clone(), link.to.clone());
        let back = Link::one_way(link.to.clone(), link.from.clone());
        return [there, back].map(|link| Action::Cut(Cut { link, state: *state })).into();
    }
    let half_a_second = Span::ms(500);
    vec![Action::Slow(Slow::Link(LinkHarm::slow(link.clone(), half_a_second, half_a_second)))]
}

/// One broker instead of a group.
fn narrower(action: &Action, brokers: u32) -> Vec<Action> {
    let mut all = Vec::new();
    for end in 0..action.targets().len() {
        if !is_group(action.targets()[end]) {
            continue;
        }
        for broker in 1..=brokers {
            let mut action = action.clone();
            *action.targets_mut()[end] = Target::Broker(broker);
            all.push(action);
        }
    }
    all
}

fn is_group(target: &Target) -> bool {
    matches!(
        target,
        Target::Rack(_) | Target::DataCentre(_) | Target::Brokers | Target::All | Target::Replicas(_) | Target::Isr(_)
    )
}
