//! One fault on several hosts at the same instant. None of these destroys bytes that were synced, and a loss of power leaves
//! at least one replica of each partition.

use super::for_a_while;
use crate::campaign::draft::Draft;
use crate::script::{Action, Cut, Link, Step, Target};
use klamm_sim::LinkState;

pub fn rack(draft: &mut Draft) -> Vec<Step> {
    let racks = draft.script.racks();
    if racks.is_empty() {
        return Vec::new();
    }
    let name = draft.draws.pick(&racks).clone();
    let power = leaves_a_replica(draft, draft.script.brokers_in_rack(&name));
    place(draft, Target::Rack(name), power)
}

pub fn data_centre(draft: &mut Draft) -> Vec<Step> {
    let centres = draft.script.data_centres();
    if centres.is_empty() {
        return Vec::new();
    }
    let name = draft.draws.pick(&centres).clone();
    let power = leaves_a_replica(draft, draft.script.brokers_in_data_centre(&name));
    place(draft, Target::DataCentre(name), power)
}

/// True if no partition has all of its replicas on so many brokers.
fn leaves_a_replica(draft: &Draft, brokers: usize) -> bool {
    draft.script.topics.iter().all(|topic| brokers < topic.replication as usize)
}

/// A place loses power (if some broker is elsewhere), its processes, or its links to everywhere.
fn place(draft: &mut Draft, target: Target, may_lose_power: bool) -> Vec<Step> {
    match draft.draws.below(4) {
        0 if may_lose_power => {
            let partition = draft.partition();
            let steps = for_a_while(draft, Action::PowerOff(target));
            let Some(trigger) = draft.in_sync(partition) else { return Vec::new() };
            steps.into_iter().map(|step| step.when(trigger.clone())).collect()
        }
        0 | 1 => for_a_while(draft, Action::Crash(target)),
        2 => for_a_while(draft, Action::Pause(target)),
        _ => {
            let state = if draft.draws.chance(1, 2) { LinkState::BlackHole } else { LinkState::Stalled };
            for_a_while(draft, Action::Cut(Cut { link: Link::between(target, Target::All), state }))
        }
    }
}

pub fn replicas(draft: &mut Draft) -> Vec<Step> {
    let target = Target::Replicas(draft.partition());
    match draft.draws.below(3) {
        0 => for_a_while(draft, Action::Crash(target)),
        1 => for_a_while(draft, Action::Pause(target)),
        _ => {
            let link = Link::between(target.clone(), target);
            for_a_while(draft, Action::Cut(Cut { link, state: LinkState::BlackHole }))
        }
    }
}
