//! Two judges of one run: what clients alone could see, and what the properties know.

use klamm_base::Guard;
use klamm_checkers::blackbox::{self, Looking, Operations, edn};
use klamm_checkers::{History, Verdict};
use klamm_scenarios::library;
use klamm_scenarios::script::Script;
use klamm_scenarios::stage::{RunOptions, RunResult, run};

fn core(seed: u64) -> Script {
    library::find("core").unwrap().script(Some(seed))
}

fn played(script: &Script) -> RunResult {
    run(script, RunOptions { to_the_end: true, ..RunOptions::default() })
}

fn seen(history: &History) -> blackbox::Report {
    blackbox::judge(&Operations::of(history).unwrap(), Looking::default())
}

/// By way of a file in Jepsen's format.
fn seen_by_jepsen(history: &History) -> blackbox::Report {
    let mut text = Vec::new();
    edn::write(history, &mut text).unwrap();
    blackbox::judge(&edn::read(&String::from_utf8(text).unwrap()).unwrap(), Looking::default())
}

fn shapes(report: &blackbox::Report) -> Vec<(&'static str, &'static str, u64)> {
    report.verdicts.iter().map(|(name, verdict)| (*name, verdict.standing().name(), verdict.obligations())).collect()
}

#[test]
fn clients_see_nothing_that_the_properties_do_not_know_and_an_export_says_the_same() {
    let mut tested = 0;
    for seed in 0..SEEDS {
        let result = played(&core(seed));
        let report = seen(&result.history);
        assert!(
            report.violated().is_empty() || result.report.explains_anomalies(),
            "seed {seed}: {:?}",
            report.violated().into_iter().map(|name| report.verdict(name)).collect::<Vec<_>>()
        );
        assert_eq!(shapes(&seen_by_jepsen(&result.history)), shapes(&report), "seed {seed}");
        tested += report.verdict("lost-write").obligations();
    }
    assert!(tested > 1_000, "{tested} values could have been lost");
}

#[test]
fn without_faults_clients_see_no_anomaly_at_all() {
    for seed in 0..3 {
        let script = Script { steps: Vec::new(), ..core(seed) };
        let report = seen(&played(&script).history);
        for (name, verdict) in &report.verdicts {
            assert!(
                matches!(verdict, Verdict::Held { .. } | Verdict::NotTested { .. }),
                "seed {seed}: {name} {verdict:?}"
            );
        }
    }
}

#[test]
fn a_loss_that_breaks_a_promise_is_seen_by_clients_too() {
    let lost = (0..40).find(|seed| {
        let script = Script { without: vec![Guard::EpochTruncation], ..core(*seed) };
        let result = played(&script);
        seen(&result.history).violated().contains(&"lost-write") && result.report.explains_anomalies()
    });
    assert!(lost.is_some(), "no seed without truncation by epoch lost a record that others were read past");
}

const SEEDS: u64 = 12;
