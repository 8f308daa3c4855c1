//! Shrinking: what the edits leave is a script, what the search leaves is small and fails in the same way.

use klamm_base::Guard;
use klamm_scenarios::campaign::generate;
use klamm_scenarios::failures::{Again, again, expecting, failure};
use klamm_scenarios::library;
use klamm_scenarios::script::{Failure, Script};
use klamm_scenarios::shrink::{Edits, Search, Shrunk, Size, shrink};
use klamm_scenarios::stage::{RunOptions, RunResult, run};
use klamm_scenarios::strategy::strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

fn play(script: &Script) -> RunResult {
    run(script, RunOptions::default())
}

/// The first of the seeds of `core` that fails without the guard.
fn found(guard: Guard) -> (Script, RunResult) {
    let core = library::profile("core").expect("it is listed");
    let scripts = (0..guard.budget()).map(|seed| Script { without: vec![guard], ..generate(&core, seed) });
    let mut failing = scripts.map(|script| (play(&script), script)).filter(|(run, _)| run.report.signature().is_some());
    let (run, script) = failing.next().unwrap_or_else(|| panic!("{guard} is not missed in its budget"));
    (script, run)
}

fn shrunk(script: &Script, first: &RunResult, seeds: u64) -> Shrunk {
    let goal = first.report.signature().expect("it fails");
    shrink(script, &Search { goal, seeds: (1..=seeds).collect(), jobs: 1, over: &|| false }, &mut |_| ())
}

#[test]
fn every_candidate_of_a_drawn_script_reads_back_as_it_is_written() {
    let storm = library::profile("storm").expect("it is listed");
    let mut read = 0;
    for seed in 0..6 {
        let mut edits = Edits::new(generate(&storm, seed));
        let mut passes = 0;
        while edits.first().is_some() {
            let candidates = edits.candidates();
            for candidate in &candidates {
                let text = candidate.to_toml();
                let again =
                    Script::from_toml("candidate.toml", &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
                assert_eq!(again, *candidate);
                read += 1;
            }
            passes += 1;
            edits.reject(candidates.len());
        }
        assert!(passes >= 8, "seed {seed} had {passes} passes with candidates");
    }
    assert!(read > 1_000, "{read} candidates");
}

#[test]
fn a_walk_that_accepts_everything_ends_with_next_to_nothing() {
    let storm = library::profile("storm").expect("it is listed");
    let mut edits = Edits::new(generate(&storm, 3));
    let mut accepted = 0;
    while let Some(candidate) = edits.first().cloned() {
        edits.accept(0, candidate);
        accepted += 1;
        assert!(accepted < 1_000, "the edits go in a circle: {}", edits.base().to_toml());
    }
    let left = edits.base();
    assert_eq!((left.steps.len(), left.producers.len(), left.consumers.len(), left.cluster.brokers), (0, 0, 0, 1));
}

#[test]
fn a_failure_shrinks_to_a_few_events_and_replays_byte_for_byte_and_not_with_its_guard() {
    // A torn batch needs bytes, and so more records: `recovery-crc` shrinks to 19.
    for guard in [Guard::EpochTruncation, Guard::DuplicateWindow, Guard::ConfirmedIsrShrink] {
        let (script, first) = found(guard);
        let shrunk = shrunk(&script, &first, 8);
        assert!(shrunk.complete && shrunk.runs > 20);
        let last = play(&shrunk.script);
        assert_eq!(last.report.signature(), first.report.signature(), "{guard}");
        let (before, after) = (Size::of(&script, &first), Size::of(&shrunk.script, &last));
        assert!(after.faults <= 3 && after.clients <= 2 && after.records <= 10, "{guard}: {before} became {after}");
        let kept = expecting(failure(&shrunk.script, &last, None).expect("it fails"), &last);
        let read = Failure::from_toml("kept.toml", &kept.to_toml()).expect("a failure reads back");
        assert_eq!(read, kept);
        let verdict = again(&read.failed, &play(&read.script));
        assert!(matches!(verdict, Again::ByteForByte(_)), "{guard}: {verdict}");
        let guarded = Script { without: Vec::new(), ..read.script };
        let verdict = again(&read.failed, &play(&guarded));
        assert!(matches!(verdict, Again::Holds { .. } | Again::NotTested { .. }), "{guard}: {verdict}");
    }
}

#[test]
fn proptest_finds_what_a_guard_keeps_away_and_shrinks_it_to_a_few_events() {
    let guard = Guard::ConfirmedIsrShrink;
    let config =
        Config { cases: guard.budget() as u32, max_shrink_iters: 400, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let without = |script: Script| Script { without: vec![guard], ..script };
    let ended = runner.run(&strategy(library::profile("core").expect("it is listed")), |script| {
        match play(&without(script)).report.signature() {
            Some(signature) if signature.property == "high-watermark" => {
                Err(TestCaseError::fail(signature.to_string()))
            }
            _ => Ok(()),
        }
    });
    let Err(TestError::Fail(reason, script)) = ended else { panic!("{guard} is not missed: {ended:?}") };
    assert!(reason.message().starts_with("high-watermark: "), "{reason}");
    let script = without(script);
    let size = Size::of(&script, &play(&script));
    assert!(size.faults <= 3 && size.clients <= 2 && size.records <= 10, "{size}: {}", script.to_toml());
}
