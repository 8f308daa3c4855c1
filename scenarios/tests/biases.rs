//! The biases measured on runs: that they strike where they say, and not only that they ask for it.

use klamm_base::{Mark, NodeId, Observation, Outcome, Source};
use klamm_checkers::{Event, World};
use klamm_scenarios::campaign::{Profile, generate};
use klamm_scenarios::script::{Script, broker_ms};
use klamm_scenarios::stage::{RunOptions, RunResult, run};

const SEEDS: u64 = 24;
const MS: u64 = 1_000_000;

/// Small short seeds of `core` in which only these families and one bias are on.
fn runs(bias: &str, families: &[&str]) -> impl Iterator<Item = (Script, RunResult)> {
    let core = include_str!("../profiles/core.toml");
    let (head, _) = core.split_once("[families]").unwrap();
    let families: String = families.iter().map(|family| format!("{family} = 100\n")).collect();
    let others = ["anywhere", "restart-in-session", "after-ack", "during-election", "fresh-leader", "lost-acks"];
    let others: String = others.iter().filter(|other| **other != bias).map(|other| format!("{other} = 0\n")).collect();
    let mut text = format!("{head}[families]\n{families}[biases]\n{bias} = 1\n{others}");
    let small = [
        ("duration = [\"20s\", \"30s\"]", "duration = [\"8s\", \"10s\"]"),
        ("quiet = 25", "quiet = 0"),
        ("fault-free = 5", "fault-free = 0"),
        ("core-heal = 20", "core-heal = 0"),
        ("scales = [1, 2, 3]", "scales = [0, 0, 1]"),
        ("topics = [1, 3]", "topics = [1, 1]"),
        ("consumers = [1, 3]", "consumers = [1, 1]"),
    ];
    for (usual, wanted) in small {
        assert!(text.contains(usual), "{usual}");
        text = text.replace(usual, wanted);
    }
    let profile = Profile::from_toml("bias.toml", &text).unwrap_or_else(|error| panic!("{error}"));
    (0..SEEDS).map(move |seed| {
        let script = generate(&profile, seed);
        let result = run(&script, RunOptions::default());
        assert_eq!(result.report.violated(), Vec::<&str>::new(), "seed {seed}");
        (script, result)
    })
}

/// Instants and subjects of what the world or the stack did.
fn instants<T>(result: &RunResult, wanted: impl Fn(&Event) -> Option<T>) -> Vec<(u64, T)> {
    result.history.entries.iter().filter_map(|entry| Some((entry.at_ns, wanted(&entry.event)?))).collect()
}

fn killed(result: &RunResult) -> Vec<(u64, NodeId)> {
    instants(result, |event| match event {
        Event::World(World::Killed { node }) => Some(*node),
        _ => None,
    })
}

fn took_the_lead(result: &RunResult) -> Vec<(u64, NodeId)> {
    instants(result, |event| match event {
        Event::Stack { source: Source::Node(node), observation: Observation::BecameLeader { .. } } => Some(*node),
        _ => None,
    })
}

/// How many of `later` came at most so long after one of `earlier` of the same node.
fn close(earlier: &[(u64, NodeId)], later: &[(u64, NodeId)], within_ns: u64) -> usize {
    let soon = |(at, node): &&(u64, NodeId)| {
        earlier.iter().any(|(before, same)| same == node && before <= at && at - before <= within_ns)
    };
    later.iter().filter(soon).count()
}

#[test]
fn fresh_leader_kills_leaders_within_one_fetch_backoff_of_taking_the_lead() {
    let mut struck = 0;
    for (script, result) in runs("fresh-leader", &["kill"]) {
        let backoff = broker_ms(&script.cluster.config, "replica.fetch.backoff.ms") * MS;
        struck += usize::from(close(&took_the_lead(&result), &killed(&result), backoff) > 0);
    }
    assert!(struck * 2 >= SEEDS as usize, "{struck} of {SEEDS} seeds");
}

#[test]
fn leader_chain_kills_one_leader_after_the_other_soon_after_each_election() {
    let (mut chains, mut killed_soon) = (0, 0);
    for (_, result) in runs("leader-chain", &["kill", "one-way-cut"]) {
        let soon = close(&took_the_lead(&result), &killed(&result), 200 * MS);
        killed_soon += soon;
        chains += usize::from(soon >= 1 && killed(&result).len() >= 2);
    }
    assert!(chains * 2 >= SEEDS as usize, "{chains} of {SEEDS} seeds, {killed_soon} fresh leaders");
}

#[test]
fn after_ack_strikes_at_the_instant_of_an_acknowledgement_or_within_a_second_of_one() {
    let (mut at_once, mut strikes) = (0, 0);
    for (_, result) in runs("after-ack", &["kill"]) {
        let acks = instants(&result, |event| match event {
            Event::Stack { observation: Observation::Ended { outcome: Outcome::Acked(_), .. }, .. } => Some(()),
            _ => None,
        });
        for (at, _) in killed(&result) {
            let before = acks.iter().map(|(ack, ())| *ack).take_while(|ack| *ack <= at).last();
            let since = before.map_or(u64::MAX, |ack| at - ack);
            strikes += 1;
            at_once += u64::from(since == 0);
            assert!(since <= 1_000 * MS, "{since} ns");
        }
    }
    assert!(strikes > SEEDS && at_once * 3 > strikes, "{at_once} of {strikes} at the very instant");
}

#[test]
fn restart_in_session_brings_brokers_back_before_their_session_is_over() {
    let mut within = 0;
    for (_, result) in runs("restart-in-session", &["kill"]) {
        within += u64::from(result.marks.has(Mark::RegisteredWithinSession));
    }
    assert!(within * 3 >= SEEDS * 2, "{within} of {SEEDS} seeds");
}

#[test]
fn lost_acks_makes_producers_send_again_what_is_in_the_log() {
    let mut again = 0;
    for (_, result) in runs("lost-acks", &["kill", "one-way-cut"]) {
        again += u64::from(result.marks.has(Mark::DuplicateAnswered));
    }
    assert!(again * 2 >= SEEDS, "{again} of {SEEDS} seeds");
}

#[test]
fn unheard_shrink_kills_leaders_while_the_controller_does_not_hear_them() {
    let mut unheard = 0;
    for (_, result) in runs("unheard-shrink", &["kill", "one-way-cut"]) {
        let cuts = instants(&result, |event| match event {
            Event::World(World::LinkChanged { from, to, state }) if to == "c1" => {
                let node = from.strip_prefix('b')?.parse().ok().map(NodeId)?;
                Some((node, state == "black hole"))
            }
            _ => None,
        });
        let silent = |(at, node): &(u64, NodeId)| {
            cuts.iter().rfind(|(cut, (from, _))| cut < at && from == node).is_some_and(|(_, (_, is_cut))| *is_cut)
        };
        unheard += usize::from(killed(&result).iter().any(silent));
    }
    assert!(unheard * 2 >= SEEDS as usize, "{unheard} of {SEEDS} seeds");
}

#[test]
fn held_proposal_kills_a_broker_again_while_its_leader_is_held() {
    let (mut twice, mut refused) = (0, 0);
    for (_, result) in runs("held-proposal", &["kill", "one-way-cut"]) {
        let deaths = killed(&result);
        let again = |(at, node): &(u64, NodeId)| {
            deaths.iter().any(|(before, same)| same == node && before < at && at - before < 3_000 * MS)
        };
        twice += usize::from(deaths.iter().any(again));
        let marks = [Mark::IsrProposalRefused, Mark::IncarnationRefused];
        refused += u64::from(marks.iter().any(|mark| result.marks.has(*mark)));
    }
    assert!(twice * 2 >= SEEDS as usize, "{twice} of {SEEDS} seeds, in {refused} a proposal was refused");
}
