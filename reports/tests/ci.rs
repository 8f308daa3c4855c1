//! What CI reads: JUnit XML that a second parser understands, GitHub's annotations within their limits, and its summary.

mod common;

use common::{REPRO, broken};
use klamm_checkers::{Merged, Report, Verdict, merge, properties};
use klamm_reports::{BugJson, Campaign, CampaignJson, CampaignName, FindingJson, SeedJson, github, junit};

/// A campaign of these reports, seeds from 16 on.
struct Ran {
    merged: Merged,
    json: CampaignJson,
    failed: Vec<Report>,
}

fn ran(reports: &[Report]) -> Ran {
    let mut merged = Merged::default();
    let mut findings = Vec::new();
    let mut failed = Vec::new();
    for (seed, report) in (16..).zip(reports) {
        merge(&mut merged, seed, report);
        if let Some(property) = report.violated().first() {
            let (property, script) = ((*property).to_owned(), "core".to_owned());
            findings.push(FindingJson {
                property,
                seed,
                script,
                repro: REPRO.replace("17", &seed.to_string()),
                known: None,
            });
            failed.push(report.clone());
        }
    }
    let mut json = CampaignJson::new(&merged, 4.0, true, findings);
    json.name = Some(CampaignName {
        profile: "core".to_owned(),
        seed_range: format!("16..{}", 16 + reports.len()),
        without: vec!["epoch-truncation".to_owned()],
        commit: "0123abcd".to_owned(),
    });
    Ran { merged, json, failed }
}

impl Ran {
    fn tell<T>(&self, not_tested: &[&str], tell: impl Fn(&Campaign) -> T) -> T {
        let reports: Vec<&Report> = self.failed.iter().collect();
        let (json, merged) = (&self.json, &self.merged);
        tell(&Campaign { name: json.name.as_ref().unwrap(), json, merged, reports: &reports, not_tested })
    }
}

fn good() -> Report {
    let mut good = broken();
    good.verdicts.insert("acked-survive", Verdict::Held { obligations: 6 });
    good
}

fn klamm_fault(what: &str) -> SeedJson {
    SeedJson { seed: 19, what: what.to_owned(), repro: "klamm run core --seed 19".to_owned() }
}

#[test]
fn a_campaign_becomes_a_suite_with_a_case_for_each_guarantee() {
    let ran = ran(&[good(), broken(), broken()]);
    let text = ran.tell(&[], junit);
    assert_eq!(text, include_str!("golden/junit.xml"), "{text}");
}

/// The cases of a JUnit file as another parser sees them: name, what became of it, and the text within.
fn cases(text: &str) -> Vec<(String, String, String)> {
    let file = roxmltree::Document::parse(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let suites = file.root_element();
    assert_eq!(suites.tag_name().name(), "testsuites");
    let suite = suites.first_element_child().unwrap();
    let cases: Vec<_> = suite.children().filter(|node| node.has_tag_name("testcase")).collect();
    let counted = |outcome: &str| cases.iter().filter(|case| case.children().any(|c| c.has_tag_name(outcome))).count();
    for (attribute, outcome) in [("failures", "failure"), ("errors", "error"), ("skipped", "skipped")] {
        assert_eq!(suite.attribute(attribute), Some(counted(outcome).to_string().as_str()), "{text}");
    }
    assert_eq!(suite.attribute("tests"), Some(cases.len().to_string().as_str()));
    let told = |case: &roxmltree::Node| {
        let outcome = case.children().find(|c| ["failure", "error", "skipped"].contains(&c.tag_name().name()));
        let name = case.attribute("name").unwrap().to_owned();
        assert_eq!(case.attribute("classname"), Some("klamm.core"));
        let Some(outcome) = outcome else { return (name, "passed".to_owned(), String::new()) };
        let message = outcome.attribute("message").unwrap();
        (name, outcome.tag_name().name().to_owned(), format!("{message}\n{}", outcome.text().unwrap_or_default()))
    };
    cases.iter().map(told).collect()
}

fn case(text: &str, name: &str) -> (String, String) {
    let found = cases(text).into_iter().find(|(case, ..)| case == name);
    let (_, outcome, told) = found.unwrap_or_else(|| panic!("no case {name}: {text}"));
    (outcome, told)
}

#[test]
fn a_second_parser_finds_held_violated_and_skipped_where_they_belong() {
    let text = ran(&[good(), broken(), broken()]).tell(&[], junit);
    let (outcome, told) = case(&text, "acked-survive");
    assert_eq!(outcome, "failure");
    for part in ["Node 3 leads without it.", "then     at 2.000 s", "--seed 17 --without", "--seed 18 --without"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let (outcome, told) = case(&text, "recovery");
    assert_eq!(outcome, "skipped");
    assert!(told.starts_with("not tested: no seed met its premise ("), "{told}");
    for name in ["log-matching", "consumers-read-committed", "deterministic", "klamm-itself"] {
        assert_eq!(case(&text, name).0, "passed", "{name}");
    }
}

#[test]
fn what_klamm_got_wrong_itself_is_an_error_and_a_difference_a_failure() {
    let mut ran = ran(&[good()]);
    ran.json.klamm_faults = vec![klamm_fault("checkers/src/x.rs:1:1: <&> \"\u{1b}[31m]]>\u{0}")];
    ran.json.differences = vec![klamm_fault("first: a; second: b")];
    let text = ran.tell(&[], junit);
    let (outcome, told) = case(&text, "klamm-itself");
    assert_eq!(outcome, "error");
    assert!(told.contains("1 seed could not be run or judged, first seed 19") && told.contains("<&> \""), "{told}");
    assert_eq!(case(&text, "deterministic").0, "failure");
}

#[test]
fn a_run_of_the_bug_base_that_is_not_as_it_should_be_is_told_everywhere() {
    let mut ran = ran(&[good()]);
    assert!(!ran.tell(&[], junit).contains("bug-base"), "most campaigns have nothing to tell of it");
    let bug =
        |name: &str| BugJson { name: name.to_owned(), what: "it <fails>".to_owned(), repro: "klamm replay".to_owned() };
    ran.json.bug_base = vec![bug("one"), bug("two")];
    let (outcome, told) = case(&ran.tell(&[], junit), "bug-base");
    assert_eq!(outcome, "failure");
    assert!(told.starts_with("2 runs not as they should be, first one: it <fails>\nrepeat   klamm replay"), "{told}");
    let lines = ran.tell(&[], github::annotations);
    assert_eq!(lines.len(), 2);
    assert!(
        lines[1].contains("title=not as it should be in the bug base%3A two::it <fails>%0Arepeat: klamm replay"),
        "{lines:?}"
    );
    assert!(ran.tell(&[], github::summary).contains("* not as it should be in the bug base: one: `klamm replay`\n"));
}

#[test]
fn a_case_is_skipped_if_all_its_failures_are_known_and_red_if_one_is_new() {
    let mut ran = ran(&[broken(), broken()]);
    ran.json.findings[0].known = Some("too slow a disk (#7)".to_owned());
    let (outcome, told) = case(&ran.tell(&[], junit), "acked-survive");
    assert_eq!(outcome, "failure");
    assert!(told.starts_with("broken in 1 seed, first in seed 17") && !told.contains("--seed 16"), "{told}");
    ran.json.findings[1].known = Some("too slow a disk (#7)".to_owned());
    let (outcome, told) = case(&ran.tell(&[], junit), "acked-survive");
    assert_eq!((outcome.as_str(), told.trim_end()), ("skipped", "known in 2 seeds: too slow a disk (#7)"));
    assert!(ran.tell(&[], github::annotations).is_empty(), "and GitHub is told of none");
    assert!(ran.tell(&[], github::summary).contains("broken in 2 seeds, first in seed 16, 2 of them known"));
}

#[test]
fn one_root_cause_is_one_annotation_with_what_github_would_misread_escaped() {
    let mut ran = ran(&[good(), broken(), broken()]);
    let Some(Verdict::Violated { witness, .. }) = ran.failed[0].verdicts.get_mut("acked-survive") else {
        unreachable!()
    };
    witness.text = "100% of\r\n::error::it: a, b".to_owned();
    let expected = "::error file=scenarios/profiles/core.toml,title=acked-survive broken%3A core 16..19%2C without \
                    epoch-truncation seed 17::An acknowledged record survives.%0A100%25 of%0D%0A::error::it: a, b%0A\
                    repeat: klamm run core --seed 17 --without epoch-truncation%0Aand in 1 seed more";
    assert_eq!(ran.tell(&[], github::annotations), [expected]);
}

#[test]
fn no_more_annotations_than_github_shows() {
    let witness = broken().verdicts["acked-survive"].clone();
    let reports: Vec<Report> = properties()
        .iter()
        .map(|property| {
            let mut report = Report::default();
            report.verdicts.insert(property.name, witness.clone());
            report
        })
        .collect();
    let mut ran = ran(&reports);
    ran.json.klamm_faults = vec![klamm_fault("it broke")];
    let names: Vec<&str> = properties().iter().map(|property| property.name).collect();
    let lines = ran.tell(&names, github::annotations);
    for kind in ["::error ", "::warning "] {
        assert_eq!(lines.iter().filter(|line| line.starts_with(kind)).count(), 10, "{lines:#?}");
    }
    let rest = properties().len() + 1 - 9;
    assert!(lines[9].contains(&format!("title=and {rest} more::")), "{}", lines[9]);
    assert!(lines[9].contains("klamm itself failed"), "what is not shown is named: {}", lines[9]);
    assert!(lines.iter().all(|line| !line.contains('\n')));
}

#[test]
fn the_summary_is_a_table_that_no_text_can_break() {
    let mut ran = ran(&[good(), broken()]);
    ran.json.findings[0].known = Some("a | b\n<script>`".to_owned());
    ran.json.klamm_faults = vec![klamm_fault("it broke")];
    let text = ran.tell(&["recovery"], github::summary);
    let expected = "### klamm core 16..18, without epoch-truncation

| guarantee | verdict | obligations | |
|---|---|--:|---|
| recovery | not-tested | 0 | required, and no seed tested it |
| log-matching | held | 11,356 |  |
| acked-survive | **violated** | 1,240 | broken in 1 seed, first in seed 17, 1 of them known |
| consumers-read-committed | allowed | 16 | losses that a setting allows in 2 seeds |

2 seeds, 3,000 records acked, 8 faults, commit `0123abcd`

* klamm itself failed in seed 19: `klamm run core --seed 19`
* acked-survive in seed 17 (known: a \\| b \\<script\\>\\`): `klamm run core --seed 17 --without epoch-truncation`
";
    assert_eq!(text, expected);
    let many: Vec<Report> = (0..200).map(|_| broken()).collect();
    let text = self::ran(&many).tell(&[], github::summary);
    assert!(text.ends_with("* and 150 more\n") && text.len() < 20_000, "{}", text.len());
}
