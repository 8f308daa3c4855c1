//! Every family beyond the first ones: one small generator for each line of [`klamm_sim::FAULTS`]. They draw from streams of
//! their own, so that a profile without them draws what it always drew.
//!
//! A campaign destroys every copy of a committed record only when a script says so. What damages bytes for good therefore
//! strikes one broker of a seed, the victim, and only while every replica of some partition is in sync.

mod disk;
mod groups;
mod machine;
mod network;
#[cfg(test)]
mod tests;

use super::draft::{Draft, On};
use super::profile::Profile;
use crate::script::{Action, Script, Span, Step, Target};
use klamm_base::Draws;

/// Draws the steps of one incident.
type Harm = fn(&mut Draft) -> Vec<Step>;

/// The generator of each family.
const HARMS: &[(&str, Harm)] = &[
    ("stall", network::stall),
    ("reset", network::reset),
    ("jitter", network::jitter),
    ("narrow", network::narrow),
    ("loss", network::loss),
    ("corrupt", network::corrupt),
    ("partial", network::partial),
    ("connection-reset", network::connection_reset),
    ("connection-stall", network::connection_stall),
    ("half-open", network::half_open),
    ("slow-close", network::slow_close),
    ("connection-corrupt", network::connection_corrupt),
    ("connection-delay", network::connection_delay),
    ("refuse", network::refuse),
    ("no-answer", network::no_answer),
    ("read-error", disk::read_error),
    ("write-error", disk::write_error),
    ("sync-error", disk::sync_error),
    ("no-space", disk::no_space),
    ("short-write", disk::short_write),
    ("bit-rot", disk::bit_rot),
    ("misdirected-write", disk::misdirected_write),
    ("misdirected-read", disk::misdirected_read),
    ("lying-sync", disk::lying_sync),
    ("disk-stuck", disk::stuck),
    ("disk-slow", disk::slow),
    ("disk-throttled", disk::throttled),
    ("disk-removed", disk::removed),
    ("disk-wiped", disk::wiped),
    ("clock-jump", machine::clock_jump),
    ("clock-drift", machine::clock_drift),
    ("timer-drift", machine::timer_drift),
    ("leap-second", machine::leap_second),
    ("leap-smear", machine::leap_smear),
    ("stop", machine::stop),
    ("gc", machine::gc),
    ("slow-cpu", machine::slow_cpu),
    ("open-files", machine::open_files),
    ("out-of-memory", machine::out_of_memory),
    ("oom-kill", machine::oom_kill),
    ("machine-loss", machine::machine_loss),
    ("machine-and-disk-loss", machine::machine_and_disk_loss),
    ("wipe", machine::wipe),
    ("rack", groups::rack),
    ("data-centre", groups::data_centre),
    ("replicas", groups::replicas),
];

/// The one broker whose bytes may be damaged for good.
pub fn victim(script: &Script) -> u32 {
    victim_and_draws(script).0
}

/// The victim is the first draw of its stream; the periods draw what follows.
fn victim_and_draws(script: &Script) -> (u32, Draws) {
    let mut draws = Draws::named(script.seed, "harms");
    let victim = draws.between(1, u64::from(script.cluster.brokers)) as u32;
    (victim, draws)
}

/// The steps of all periods: none in a quiet one, else one to three incidents of families that are on.
pub fn draw(profile: &Profile, on: &On, script: &Script, periods: &[(Span, Span)]) -> Vec<Step> {
    let others = on.others();
    let usable: Vec<Harm> = HARMS.iter().filter(|(name, _)| others.contains(name)).map(|(_, harm)| *harm).collect();
    if usable.is_empty() {
        return Vec::new();
    }
    let (victim, mut draws) = victim_and_draws(script);
    let mut steps = Vec::new();
    for (from, until) in periods {
        if draws.chance(profile.quiet, 100) {
            continue;
        }
        for _ in 0..draws.between(1, 3) {
            let harm = *draws.pick(&usable);
            let draft = &mut Draft { draws: &mut draws, on, victim, script, from: *from, until: *until };
            steps.extend(harm(draft));
        }
    }
    steps
}

/// A step at an instant of the period, for a while.
fn for_a_while(draft: &mut Draft, action: Action) -> Vec<Step> {
    let (at, lasts) = (draft.instant(), draft.around_session());
    vec![Step::new(action).at(at).lasting(lasts)]
}

/// A broker, the leader or a follower of a partition.
fn some_broker(draft: &mut Draft) -> Target {
    let partition = draft.partition();
    match draft.draws.below(4) {
        0 | 1 => draft.broker(),
        2 => Target::Leader(partition),
        _ => Target::Follower(partition),
    }
}

/// A broker, or now and then the controller.
fn some_node(draft: &mut Draft) -> Target {
    if draft.draws.chance(1, 6) { Target::Controller } else { some_broker(draft) }
}

/// The victim, while every replica of some partition is in sync, for a while.
fn on_the_victim(draft: &mut Draft, action: fn(Target) -> Action) -> Vec<Step> {
    let (at, lasts) = (draft.instant(), draft.around_session());
    let partition = draft.partition();
    let step = Step::new(action(Target::Broker(draft.victim))).at(at).lasting(lasts);
    draft.in_sync(partition).map(|trigger| step.when(trigger)).into_iter().collect()
}
