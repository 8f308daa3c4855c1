//! Biases that string several faults together: each prepares the ground on which the next one hurts. They follow the schedules
//! of documented bugs (A05, A06, A09), whichever protection those are about.

use super::draft::Draft;
use crate::script::{Action, Cut, Link, Partition, Span, Step, Target, Trigger};
use klamm_sim::LinkState;

/// A lag longer than this outlives what a short run can wait for.
const LAG_MOST_MS: u64 = 10_000;

fn leader(partition: &Partition) -> Target {
    Target::Leader(partition.clone())
}

fn cut(link: Link, state: LinkState) -> Step {
    Step::new(Action::Cut(Cut { link, state }))
}

/// A request arrives and its answer does not: the way back is silent for less than a session, from the controller to a leader
/// whose in-sync set changes, from a leader to its followers, or from the controller to a broker during an election.
pub fn lost_answers(draft: &mut Draft) -> Vec<Step> {
    let partition = draft.partition();
    let (at, lasts) = (draft.instant(), draft.of_session(5, 90));
    let smaller = draft.replication(&partition) - 1;
    let nth = draft.draws.between(1, 30);
    let (link, trigger) = match draft.draws.below(3) {
        0 => {
            let link = Link::one_way(Target::Controller, leader(&partition));
            (link, Trigger::IsrHas { on: partition, size: smaller.max(1) })
        }
        1 => {
            let link = Link::one_way(leader(&partition), Target::Followers(partition.clone()));
            (link, Trigger::Append { nth, on: partition })
        }
        _ => (Link::one_way(Target::Controller, draft.broker()), Trigger::Election { on: partition }),
    };
    vec![cut(link, LinkState::BlackHole).at(at).when(trigger).lasting(lasts)]
}

/// A follower falls behind, its leader drops it and is not heard by the controller, and then the leader dies: whoever counts
/// the smaller in-sync set before it is confirmed loses what the dropped one has not got (A09).
pub fn unheard_shrink(draft: &mut Draft) -> Vec<Step> {
    let lag_ms = draft.lag_ms();
    if lag_ms > LAG_MOST_MS {
        return Vec::new();
    }
    let partition = draft.partition();
    let at = draft.instant();
    // A leader looks every half of the lag, so that it drops the follower after one to one and a half of it. It dies before
    // the controller misses it: else another one would lead.
    let silent = Span::ms(lag_ms * draft.draws.between(95, 145) / 100);
    let death = Span(silent.0 + draft.of_session(30, 90).0);
    let rest = draft.soon();
    let slow = Link::one_way(Target::Follower(partition.clone()), leader(&partition));
    let unheard = Link::one_way(leader(&partition), Target::Controller);
    let dead_for = draft.beyond_session(3_000);
    vec![
        cut(slow, LinkState::BlackHole).at(at).lasting(Span(death.0 + rest.0)),
        cut(unheard, LinkState::BlackHole).at(at).after(silent).lasting(Span(death.0 - silent.0 + rest.0)),
        Step::new(Action::Crash(leader(&partition))).at(at).after(death).lasting(dead_for),
    ]
}

/// A broker comes back, and what its leader says of it to the controller is held while the broker dies once more, with its disk
/// now and then: an in-sync set that is accepted late names an incarnation that is no more (A06).
pub fn held_proposal(draft: &mut Draft) -> Vec<Step> {
    let partition = draft.partition();
    let replication = draft.replication(&partition);
    let at = draft.instant();
    let number = draft.draws.between(1, u64::from(draft.script.cluster.brokers)) as u32;
    let broker = Target::Broker(number);
    let smaller = Trigger::IsrHas { on: partition.clone(), size: replication.saturating_sub(1).max(1) };
    let extra = Span::ms(draft.draws.between(100, 600));
    let (gone, hold) = (Span(draft.session_ms() * 1_000_000 + extra.0), draft.of_session(40, 95));
    let again = Span(extra.0 + hold.0 * draft.draws.between(30, 95) / 100);
    let short = draft.of_session(2, 60);
    let wiped = draft.on.has("wipe") && number == draft.victim && replication > 2 && draft.draws.chance(1, 2);
    let last = if wiped { Action::Wipe(broker.clone()) } else { Action::Crash(broker.clone()) };
    let held = cut(Link::one_way(leader(&partition), Target::Controller), LinkState::Stalled);
    vec![
        Step::new(Action::Crash(broker)).at(at).lasting(gone),
        held.at(at).when(smaller.clone()).after(extra).lasting(hold),
        Step::new(last).at(at).when(smaller).after(again).lasting(short),
    ]
}

/// Leaders die one after the other while a follower lags: each fresh leader knows less of what is committed than the one
/// before, and the lagging one may join too early (A05).
pub fn leader_chain(draft: &mut Draft) -> Vec<Step> {
    let partition = draft.partition();
    let (at, lasts) = (draft.instant(), Span::ms(draft.draws.between(300, 4_000)));
    let slow = Link::one_way(Target::Follower(partition.clone()), leader(&partition));
    let mut steps = vec![cut(slow, LinkState::BlackHole).at(at).lasting(lasts)];
    let deaths = draft.draws.between(2, 3);
    let mut armed = Span(at.0 + draft.soon().0);
    let dead_for = draft.beyond_session(3_000);
    steps.push(Step::new(Action::Crash(leader(&partition))).at(at).after(Span(armed.0 - at.0)).lasting(dead_for));
    for _ in 1..deaths {
        if armed >= draft.script.duration {
            break;
        }
        let (after, dead_for) = (draft.within_backoff(), draft.beyond_session(3_000));
        let trigger = Trigger::Election { on: partition.clone() };
        steps.push(Step::new(Action::Crash(leader(&partition))).at(armed).when(trigger).after(after).lasting(dead_for));
        // The next one waits for the election after this one.
        armed = Span(armed.0 + (draft.session_ms() + 500) * 1_000_000);
    }
    steps
}
