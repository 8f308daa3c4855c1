//! One seed, one history: in two threads and in two processes, byte for byte.

use klamm_base::Guard;
use klamm_checkers::{Event, World};
use klamm_scenarios::campaign::{difference, judge_seed};
use klamm_scenarios::library;
use klamm_scenarios::script::Script;
use klamm_scenarios::stage::{RunOptions, RunResult, room, run};
use std::process::Command;

fn core(seed: u64) -> Script {
    library::find("core").unwrap().script(Some(seed))
}

fn bytes(result: &RunResult) -> Vec<u8> {
    let mut bytes = Vec::new();
    result.history.to_json_lines(&mut bytes).unwrap();
    bytes
}

#[test]
#[allow(clippy::disallowed_methods, reason = "two threads are the point")]
fn a_seed_gives_the_same_history_and_trace_in_two_threads() {
    for seed in [1, 7, 23] {
        let other = std::thread::spawn(move || {
            run(&core(seed), RunOptions { seed: None, trace: true, ..RunOptions::default() })
        });
        let here = run(&core(seed), RunOptions { seed: None, trace: true, ..RunOptions::default() });
        let there = other.join().unwrap();
        assert_eq!(here.trace_hash, there.trace_hash);
        assert_eq!(here.trace, there.trace);
        assert!(bytes(&here) == bytes(&there), "{:?}", difference(&here, &there));
    }
}

#[test]
#[allow(clippy::disallowed_methods, reason = "test files")]
fn a_seed_gives_the_same_history_in_two_processes_and_in_this_one() {
    let folder = tempfile::tempdir().unwrap();
    let files: Vec<_> = (0..2).map(|n| folder.path().join(format!("{n}.jsonl"))).collect();
    for file in &files {
        let mut command = Command::new(env!("CARGO_BIN_EXE_klamm"));
        let status = command.args(["run", "core", "--seed", "7", "--history"]).arg(file).output().unwrap().status;
        assert!(status.success(), "{status}");
    }
    let written: Vec<_> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    assert!(written[0] == written[1], "two processes wrote different histories");
    assert!(written[0] == bytes(&run(&core(7), RunOptions::default())), "a process and a thread differ");
}

#[test]
fn different_seeds_give_different_worlds_and_a_difference_names_its_first_event() {
    let (one, two) = (run(&core(1), RunOptions::default()), run(&core(2), RunOptions::default()));
    assert_ne!(one.trace_hash, two.trace_hash);
    let difference = difference(&one, &two).unwrap();
    assert!(difference.starts_with("first: Entry"), "{difference}");
}

/// The first seed of `core` in which a property is violated without this guard.
fn found(guard: Guard, seeds: std::ops::Range<u64>) -> Option<(u64, Vec<&'static str>)> {
    seeds.into_iter().find_map(|seed| {
        let script = Script { without: vec![guard], ..core(seed) };
        let violated = judge_seed(script, seed, false, &mut room()).report.violated();
        (!violated.is_empty()).then_some((seed, violated))
    })
}

#[test]
fn without_a_guard_the_generic_campaign_finds_its_bug_and_the_seed_repeats_it() {
    let wanted: [(Guard, &[&str]); 3] = [
        (Guard::EpochTruncation, &["acked-survive", "log-matching", "high-watermark"]),
        (Guard::DuplicateWindow, &["idempotence", "producer-order"]),
        (Guard::ConfirmedIsrShrink, &["high-watermark"]),
    ];
    for (guard, names) in wanted {
        let (seed, violated) = found(guard, 0..40).unwrap_or_else(|| panic!("{guard} was not missed in 40 seeds"));
        assert!(names.contains(&violated[0]), "{guard}: {violated:?}");
        assert_eq!(found(guard, seed..seed + 1), Some((seed, violated)), "the seed repeats it");
        assert!(
            judge_seed(core(seed), seed, true, &mut room()).report.violated().is_empty(),
            "with the guard the seed is clean"
        );
    }
}

#[test]
fn a_run_ends_at_the_first_broken_promise_and_is_the_whole_run_up_to_there() {
    let (seed, violated) = found(Guard::EpochTruncation, 0..40).expect("the guard is missed");
    let script = Script { without: vec![Guard::EpochTruncation], ..core(seed) };
    let short = run(&script, RunOptions::default());
    let whole = run(&script, RunOptions { to_the_end: true, ..RunOptions::default() });
    let halted = short.history.entries.last().expect("something happened");
    let kept = short.history.entries.len() - 1;
    assert_eq!(halted.event, Event::World(World::Halted { property: violated[0].to_owned() }));
    assert!(kept < whole.history.entries.len() && short.sim_ns < whole.sim_ns, "it ended early");
    assert!(short.history.entries[..kept] == whole.history.entries[..kept], "up to there it is the same");
    let breach = klamm_checkers::first_breach(&whole.history).map(|(at, property)| (at, property.name));
    assert_eq!(breach, Some((kept - 1, violated[0])), "no sooner and no later");
    assert_eq!(klamm_checkers::judge(&short.history), short.report, "a saved history is judged the same");
}
