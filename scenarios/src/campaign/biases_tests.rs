//! Each bias does what its name says, over many draws.

use super::biases::{
    Bias, after_ack, anywhere, during_election, fresh_leader, lost_acks, restart_in_session, weighted,
};
use super::chains::{held_proposal, leader_chain, lost_answers, unheard_shrink};
use super::draft::{Draft, On};
use super::{Profile, generate};
use crate::script::{Action, Script, Span, Step, Target, Trigger};
use klamm_base::Draws;
use std::collections::BTreeSet;

const FIRST: [&str; 7] = ["kill", "power-off", "pause", "cut", "one-way-cut", "slow", "skew"];
const FROM: Span = Span(4_000_000_000);
const UNTIL: Span = Span(7_000_000_000);

fn core() -> Profile {
    Profile::from_toml("core.toml", include_str!("../../profiles/core.toml")).unwrap()
}

/// Two hundred draws of one bias, each on a script of its own, with the script.
fn drawn(bias: Bias, on: &[&'static str]) -> Vec<(Script, Vec<Step>)> {
    let on = &On::these(on);
    let draw = |seed: u64| {
        let script = Script { steps: Vec::new(), ..generate(&core(), seed) };
        let mut draws = Draws::named(seed, "test");
        let steps = bias(&mut Draft { draws: &mut draws, on, victim: 1, script: &script, from: FROM, until: UNTIL });
        (script, steps)
    };
    (0..200).map(draw).collect()
}

fn session(script: &Script) -> Span {
    Span::ms(script.cluster.config["broker.session.timeout.ms"].parse().unwrap())
}

#[test]
fn restart_in_session_restarts_before_the_controller_can_notice() {
    for (script, steps) in drawn(restart_in_session, &FIRST) {
        let [step] = steps.as_slice() else { panic!("{steps:?}") };
        assert!(matches!(step.action, Action::Crash(_)), "{step:?}");
        assert!(step.lasts.unwrap() < session(&script), "{step:?}");
    }
}

#[test]
fn after_ack_strikes_the_leader_at_an_acknowledgement_or_a_moment_later() {
    let mut immediately = 0;
    for (_, steps) in drawn(after_ack, &["kill", "pause", "cut", "one-way-cut", "slow", "skew"]) {
        let [step] = steps.as_slice() else { panic!("{steps:?}") };
        assert!(matches!(step.when, Some(Trigger::Ack { .. })), "{step:?}");
        assert!(matches!(step.action.targets()[0], Target::Leader(_)), "{step:?}");
        assert!(step.after.unwrap_or_default() <= Span::ms(1_000));
        immediately += u64::from(step.after.is_none());
    }
    assert!((50..150).contains(&immediately), "{immediately}");
}

#[test]
fn during_election_strikes_while_a_partition_has_no_leader_or_a_new_one() {
    for on in [&FIRST[..], &["cut"], &["pause"]] {
        for (_, steps) in drawn(during_election, on) {
            let [step] = steps.as_slice() else { panic!("{steps:?}") };
            assert!(matches!(step.when, Some(Trigger::NoLeader { .. } | Trigger::Election { .. })), "{step:?}");
        }
    }
}

#[test]
fn fresh_leader_kills_the_leader_and_then_the_next_one_within_its_first_second() {
    let mut triggers = BTreeSet::new();
    for (script, steps) in drawn(fresh_leader, &FIRST) {
        let [first, second] = steps.as_slice() else { panic!("{steps:?}") };
        assert!(
            matches!((&first.action, &second.action), (Action::Crash(Target::Leader(a)), Action::Crash(Target::Leader(b))) if a == b)
        );
        let trigger = second.when.as_ref().unwrap();
        assert!(matches!(trigger, Trigger::Election { .. } | Trigger::FreshAppend { .. } | Trigger::Truncation { .. }));
        let backoff: u64 = script.cluster.config["replica.fetch.backoff.ms"].parse().unwrap();
        assert!(second.after.unwrap() <= Span::ms(backoff), "{second:?}");
        assert!(first.lasts.unwrap() > session(&script), "the first must stay away or nobody else is elected");
        triggers.insert(trigger.to_string().split_whitespace().next().map(str::to_owned));
    }
    assert_eq!(triggers.len(), 3, "every way to know a fresh leader is drawn");
}

#[test]
fn lost_acks_silences_the_leader_towards_a_producer_for_longer_than_it_waits() {
    let mut cuts = 0;
    for (script, steps) in drawn(lost_acks, &FIRST) {
        let [step] = steps.as_slice() else { panic!("{steps:?}") };
        assert!(matches!(step.when, Some(Trigger::Append { .. })), "{step:?}");
        let Action::Cut(cut) = &step.action else {
            assert!(matches!(step.action, Action::Crash(Target::Leader(_))), "{step:?}");
            continue;
        };
        let Target::Producer(name) = &cut.link.to else { panic!("{cut:?}") };
        let producer = script.producers.iter().find(|p| p.name == *name).unwrap();
        let patience = Span::ms(producer.config["request.timeout.ms"].parse().unwrap());
        assert!(!cut.link.both && matches!(cut.link.from, Target::Leader(_)));
        assert!(step.lasts.unwrap() > patience, "{step:?}");
        cuts += 1;
    }
    assert!(cuts > 20, "{cuts}");
}

#[test]
fn anywhere_draws_every_family_that_is_on_and_no_other() {
    let verbs = |on: &[&'static str]| {
        let steps = drawn(anywhere, on).into_iter().flat_map(|(_, steps)| steps);
        steps.map(|step| step.action.verb()).collect::<BTreeSet<_>>()
    };
    assert_eq!(verbs(&FIRST), BTreeSet::from(["crash", "pause", "power-off", "cut", "slow", "skew"]));
    assert_eq!(verbs(&["pause"]), BTreeSet::from(["pause"]));
    assert_eq!(verbs(&["one-way-cut"]), BTreeSet::from(["cut"]));
    assert!(verbs(&[]).is_empty());
}

#[test]
fn power_is_lost_only_while_every_other_copy_is_in_sync() {
    for seed in 0..300 {
        let script = generate(&core(), seed);
        for step in script.steps.iter().filter(|step| matches!(step.action, Action::PowerOff(_))) {
            let Some(Trigger::IsrHas { on, size }) = &step.when else { panic!("{step:?}") };
            let topic = script.topics.iter().find(|topic| topic.name == on.topic).unwrap();
            assert_eq!(topic.replication, *size, "{step:?}");
            assert!(!matches!(step.action.targets()[0], Target::Brokers | Target::Replicas(_) | Target::Followers(_)));
        }
    }
}

#[test]
fn without_families_no_bias_is_left() {
    assert!(weighted(&On::these(&[]), &core().biases).is_empty());
    assert_eq!(weighted(&On::these(&FIRST), &core().biases).len(), 10);
    assert_eq!(weighted(&On::these(&["skew"]), &core().biases).len(), 1);
}

#[test]
fn a_seed_draws_the_same_script_always_and_every_script_reads_back() {
    for seed in 0..100 {
        let script = generate(&core(), seed);
        assert_eq!(script, generate(&core(), seed));
        let written = script.to_toml();
        let read = Script::from_toml("core.toml", &written).unwrap_or_else(|error| panic!("{error}\n{written}"));
        assert_eq!(read, script, "{written}");
    }
}

#[test]
fn swarm_families_are_on_in_half_of_the_seeds_and_a_quarter_of_the_periods_is_quiet() {
    let profile = core();
    let on: Vec<On> = (0..1000).map(|seed| On::draw(&mut Draws::named(seed, "faults"), seed, &profile)).collect();
    for family in ["kill", "power-off", "skew", "one-way-cut"] {
        let share = on.iter().filter(|on| on.has(family)).count();
        assert!((430..570).contains(&share), "{share}");
    }
    let steps: usize = (0..200).map(|seed| generate(&profile, seed).steps.len()).sum();
    assert!(steps > 200 * 5, "five faults a seed are wanted, {steps} were drawn in 200");
}

#[test]
fn a_profile_with_an_unknown_key_or_property_is_refused_with_the_nearest_name() {
    let text = include_str!("../../profiles/core.toml");
    let error = |from: &str, to: &str| Profile::from_toml("p.toml", &text.replace(from, to)).unwrap_err().to_string();
    assert!(error("quiet = 25", "quite = 25").contains("unknown key `quite`; did you mean `quiet`?"));
    assert!(
        error("\"replica.lag.time.max.ms\"", "\"replica.lag.time.ms\"")
            .contains("did you mean `replica.lag.time.max.ms`?")
    );
    assert!(error("rate = [40, 150]", "rate = [150, 40]").contains("`rate` must be a range"));
}

#[test]
fn a_quarter_of_the_periods_is_quiet() {
    let profile = core();
    let script = generate(&profile, 1);
    let on = On::these(&FIRST);
    let mut draws = Draws::named(1, "test");
    let quiet =
        (0..1000).filter(|_| super::generate::period(&mut draws, &profile, &on, &script, FROM, UNTIL).is_empty());
    let quiet = quiet.count();
    assert!((210..300).contains(&quiet), "{quiet} of a thousand");
}

#[test]
fn chains_never_begin_beyond_the_end_and_strike_partitions_of_the_script() {
    for bias in [lost_answers, unheard_shrink, held_proposal, leader_chain] {
        let mut steps = 0;
        for (script, drawn) in drawn(bias, &FIRST) {
            steps += drawn.len();
            assert!(drawn.iter().all(|step| step.at.unwrap() < script.duration), "{drawn:?}");
        }
        assert!(steps > 100, "{steps}");
    }
}
