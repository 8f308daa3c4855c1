use super::*;
use crate::library;
use crate::script::Script;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

fn drawn(seed: u64) -> Script {
    let profile = library::profile("core").unwrap();
    let mut script = generate(&profile, seed);
    script.duration = crate::script::Span(200_000_000);
    script.steps.clear();
    script
}

fn swept(script: impl Fn(u64) -> Script + Send + Sync + 'static, seeds: Range<u64>) -> Tally {
    let mut tally = Tally::default();
    sweep(&Sweep::new(Arc::new(script), seeds, 3), |answer| {
        tally.add(SeedLine::of(&answer));
        ControlFlow::Continue(())
    });
    tally
}

#[test]
fn a_seed_on_which_klamm_itself_fails_is_named_and_the_campaign_goes_on() {
    let tally = swept(|seed| if seed == 4 { panic!("cannot draw") } else { drawn(seed) }, 3..7);
    assert_eq!((tally.done, tally.merged.seeds), (4, 3));
    let [fault] = tally.faults.as_slice() else { panic!("{:?}", tally.faults) };
    assert_eq!(fault.seed, 4);
    assert!(fault.what.contains("sweep_tests.rs:") && fault.what.ends_with("cannot draw"), "{}", fault.what);
    assert!(tally.findings.is_empty(), "a fault of Klamm accuses no guarantee");
}

#[test]
fn a_sweep_that_is_stopped_finishes_what_it_began_and_nothing_else() {
    let stop: Arc<AtomicBool> = Arc::default();
    let told = stop.clone();
    let script = move |seed| {
        told.fetch_or(seed == 8, Relaxed);
        drawn(seed)
    };
    let mut seeds = Vec::new();
    sweep(&Sweep { stop, ..Sweep::new(Arc::new(script), 5..u64::MAX, 1) }, |answer| {
        seeds.push(answer.unwrap().seed);
        ControlFlow::Continue(())
    });
    assert_eq!(seeds, [5, 6, 7, 8], "asked while seed 8 runs");
}
