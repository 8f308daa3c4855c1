use super::sweep::sorted;
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
fn a_panic_of_the_stage_is_klamms_own_fault() {
    let tally = swept(
        |seed| {
            let mut script = drawn(seed);
            match seed {
                0 => script.producers.iter_mut().for_each(|p| _ = p.config.insert("acks".to_owned(), "7".to_owned())),
                1 => script.cluster.brokers = 200,
                _ => {}
            }
            script
        },
        0..3,
    );
    let places: Vec<_> = tally.faults.iter().map(|fault| (fault.seed, fault.what.as_str())).collect();
    let [(0, client), (1, node)] = places.as_slice() else { panic!("{places:?}") };
    assert!(
        client.contains("scenarios/src/stage/workload.rs:") && client.contains("the script was checked"),
        "{client}"
    );
    assert!(node.contains("scenarios/src/stage/show.rs:"), "{node}");
    assert_eq!((tally.merged.seeds, tally.findings.len()), (1, 0));
}

#[test]
fn a_panic_of_the_stack_is_a_verdict_of_its_seed() {
    let panicked = |location: &str| {
        let mut judged = judge_seed(drawn(3), 3, false, &mut crate::stage::room());
        let mut history = klamm_checkers::History::default();
        let (message, task) = ("a leader never cuts its log".to_owned(), "node".to_owned());
        let told = klamm_checkers::World::Panicked {
            node: None,
            task: task.clone(),
            message: message.clone(),
            location: location.to_owned(),
        };
        history.entries.push(klamm_checkers::Entry { seq: 0, at_ns: 1, event: klamm_checkers::Event::World(told) });
        judged.report = klamm_checkers::judge(&history);
        let (node, location) = (Some("b1".to_owned()), location.to_owned());
        judged.panic = Some(klamm_sim::Panic { node, task, message, location, at_ns: 1 });
        let mut tally = Tally::default();
        tally.add(SeedLine::of(&sorted(judged)));
        tally
    };
    let stack = panicked("broker/replica/src/replica.rs:335:9");
    assert_eq!((stack.findings[0].violated.as_slice(), stack.faults.len()), (["no-panic"].as_slice(), 0));
    for ours in ["scenarios/src/stage/show.rs:53:9", "checkers/src/ledger/mod.rs:1:1"] {
        let tally = panicked(ours);
        assert_eq!((tally.findings.len(), tally.faults[0].seed, tally.merged.seeds), (0, 3, 0));
    }
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
