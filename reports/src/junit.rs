//! JUnit XML: a suite is a profile, a case a guarantee; what was not tested is skipped. No times and no paths, so that the
//! same campaign gives the same bytes.

use crate::campaign::{Broken, Campaign};
use crate::json::SeedJson;
use crate::layout::count;
use crate::text::{allowed_remark, witness_text};
use klamm_checkers::{Property, Standing, properties};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

/// Lines that repeat a seed, of each case.
const LISTED: usize = 10;

/// The file.
pub fn junit(campaign: &Campaign) -> String {
    let mut suite = TestSuite::new(&campaign.name.profile);
    properties_of(&mut suite, campaign);
    suite.add_test_cases(properties().iter().filter_map(|property| guarantee(campaign, property)));
    suite.add_test_cases(bug_base(campaign));
    suite.add_test_case(repeatable(campaign));
    suite.add_test_case(soundness(campaign));
    let mut report = Report::new("klamm");
    report.add_test_suite(suite);
    report.to_string().expect("texts become XML")
}

fn properties_of(suite: &mut TestSuite, campaign: &Campaign) {
    let name = campaign.name;
    suite.add_property(("seeds", name.seed_range.as_str()));
    suite.add_property(("commit", name.commit.as_str()));
    suite.add_property(("guards-off", name.without.join(", ").as_str()));
    for (property, obligations) in &campaign.json.obligations {
        suite.add_property((format!("obligations.{property}"), obligations.to_string()));
    }
}

fn case(campaign: &Campaign, name: &str, status: TestCaseStatus) -> TestCase {
    let mut case = TestCase::new(name, status);
    case.set_classname(format!("klamm.{}", campaign.name.profile));
    case
}

fn guarantee(campaign: &Campaign, property: &Property) -> Option<TestCase> {
    let verdict = campaign.merged.verdicts.get(property.name)?;
    let status = match verdict.standing {
        Standing::Violated => violated(campaign, property),
        Standing::NotTested => skipped(&format!("not tested: no seed met its premise ({})", property.premise)),
        Standing::Held | Standing::Allowed => TestCaseStatus::success(),
    };
    let mut case = case(campaign, property.name, status);
    case.add_property(("obligations", verdict.obligations.to_string().as_str()));
    if let Some(told) = allowed_remark(verdict) {
        case.set_system_out(told);
    }
    Some(case)
}

fn skipped(message: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::skipped();
    status.set_message(message);
    status
}

/// A failure if any seed of it is new; skipped if all are known.
fn violated(campaign: &Campaign, property: &Property) -> TestCaseStatus {
    let broken = campaign.broken(property.name);
    let new: Vec<&Broken> = broken.iter().filter(|broken| broken.finding.known.is_none()).collect();
    let Some(first) = new.first() else {
        let mut whys = broken.iter().filter_map(|broken| broken.finding.known.as_deref());
        return skipped(&format!(
            "known in {}: {}",
            count(broken.len() as u64, "seed"),
            whys.next().unwrap_or_default()
        ));
    };
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
    status.set_type(property.name);
    let seeds = count(new.len() as u64, "seed");
    status.set_message(format!("broken in {seeds}, first in seed {}: {}", first.finding.seed, first.witness.rule));
    let lines = new.iter().map(|broken| broken.finding.repro.as_str());
    status.set_description(format!("{}\n{}", witness_text(property.name, first.witness), repeat(lines)));
    status
}

fn repeat<'a>(lines: impl Iterator<Item = &'a str> + Clone) -> String {
    let all = lines.clone().count();
    let mut text: String = lines.take(LISTED).map(|line| format!("repeat   {line}\n")).collect();
    if all > LISTED {
        text.push_str(&format!("and {} more seeds\n", all - LISTED));
    }
    text
}

/// Only where there is something to tell: shards and merges do not play the bug base, and have the same cases for the same seeds.
fn bug_base(campaign: &Campaign) -> Option<TestCase> {
    let bugs = &campaign.json.bug_base;
    let first = bugs.first()?;
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
    status.set_type("bug-base");
    let runs = count(bugs.len() as u64, "run");
    status.set_message(format!("{runs} not as they should be, first {}: {}", first.name, first.what));
    status.set_description(repeat(bugs.iter().map(|bug| bug.repro.as_str())));
    Some(case(campaign, "bug-base", status))
}

fn repeatable(campaign: &Campaign) -> TestCase {
    told(
        campaign,
        "deterministic",
        NonSuccessKind::Failure,
        "ran differently a second time",
        &campaign.json.differences,
    )
}

/// What Klamm itself got wrong is an error, not a failure of what it tests.
fn soundness(campaign: &Campaign) -> TestCase {
    told(campaign, "klamm-itself", NonSuccessKind::Error, "could not be run or judged", &campaign.json.klamm_faults)
}

fn told(campaign: &Campaign, name: &str, kind: NonSuccessKind, what: &str, seeds: &[SeedJson]) -> TestCase {
    let Some(first) = seeds.first() else { return case(campaign, name, TestCaseStatus::success()) };
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(name);
    status.set_message(format!("{} {what}, first seed {}", count(seeds.len() as u64, "seed"), first.seed));
    let lines = seeds.iter().map(|seed| seed.repro.as_str());
    status.set_description(format!("{}\n\n{}", first.what, repeat(lines)));
    case(campaign, name, status)
}
