//! What reports say, word for word, and that nothing in a history can break their form.

mod common;

use common::{REPRO, broken, stretch};
use klamm_base::Mark;
use klamm_checkers::{Fact, Merged, Places, Report, Standing, Verdict, merge, properties};
use klamm_reports::{CampaignJson, FindingJson, RunJson, campaign_report, findings, marks_line, run_report};
use std::collections::BTreeMap;

#[test]
fn a_run_is_told_as_verdicts_two_facts_and_a_rule() {
    let text = run_report("core, seed 17", &broken(), REPRO, false);
    let expected = "\
core, seed 17

  recovery                 not-tested           0   no replica was loaded again
  log-matching             held             5,678
  acked-survive            violated         1,234   see below, and 2 more
  consumers-read-committed allowed              8   1 record by acks=1

VIOLATED acked-survive
  promise  what a producer was told is written is there at the end, at the offset it was told
  rule     An acknowledged record survives.
  first    at 1.500 s (entry 12): p1 was told that its record 417 is written
  then     at 2.000 s (entry 40): node 3 took up epoch 3
  so       Node 3 leads without it.
  records  orders-0 at 417..420 (client/number: 3/417 3/418 3/419)
  further  2 breaches of it follow, most with the same cause

ALLOWED consumers-read-committed
  lost     1 record of orders-0 that only its leader had
  setting  acks=1
  cause    epoch 2 was taken up at 1.000 s by a leader without it
  records  orders-0 at 9 (client/number: 3/9)

records  1,500 acked, 1 refused, 2 unknown, 0 sent, 3,000 read
faults   4 faults struck, 1 record lost as a setting allows
time     20.000 s simulated, 9,876 observations
repeat   klamm run core --seed 17 --without epoch-truncation
";
    assert_eq!(text, expected);
}

#[test]
fn a_campaign_is_told_as_a_merged_table_with_findings() {
    let mut merged = Merged::default();
    let mut good = broken();
    good.verdicts.insert("acked-survive", Verdict::Held { obligations: 6 });
    merge(&mut merged, 16, &good);
    merge(&mut merged, 17, &broken());
    let found = findings(17, &broken(), "core", REPRO);
    let text = campaign_report("core, seeds 16..18", &merged, &found, Some(4.0), false);
    let expected = "\
core, seeds 16..18

  recovery                 not-tested           0
  log-matching             held            11,356
  acked-survive            violated         1,240   broken in 1 seed, first in seed 17
  consumers-read-committed allowed             16   losses that a setting allows in 2 seeds

records  3,000 acked, 2 refused, 4 unknown, 0 sent, 6,000 read
faults   8 faults struck, 2 records lost as a setting allows
time     40.0 s simulated in 4.0 s (10 simulated seconds a second), 19,752 observations
seeds    2

FOUND acked-survive in seed 17
  script   core
  repeat   klamm run core --seed 17 --without epoch-truncation
";
    assert_eq!(text, expected);
}

#[test]
fn merging_puts_violated_before_held_before_allowed_before_not_tested() {
    let verdict = |standing| match standing {
        Standing::Held => Verdict::Held { obligations: 1 },
        Standing::Allowed => Verdict::Allowed { obligations: 1, losses: Vec::new() },
        Standing::NotTested => Verdict::NotTested { reason: String::new() },
        Standing::Violated => broken().verdicts["acked-survive"].clone(),
    };
    let order = [Standing::NotTested, Standing::Allowed, Standing::Held, Standing::Violated];
    for (low, one) in order.iter().enumerate() {
        for (high, other) in order.iter().enumerate() {
            let mut merged = Merged::default();
            for standing in [one, other] {
                let mut report = Report::default();
                report.verdicts.insert("recovery", verdict(*standing));
                merge(&mut merged, 0, &report);
            }
            assert_eq!(merged.verdicts["recovery"].standing, order[low.max(high)]);
        }
    }
}

#[test]
fn campaigns_of_parts_that_were_written_and_read_again_add_up_to_the_whole() {
    let mut good = broken();
    good.verdicts.insert("acked-survive", Verdict::Held { obligations: 6 });
    let reports = [good, broken(), Report::default(), broken()];
    let (mut whole, mut parts) = (Merged::default(), Merged::default());
    for (seed, report) in (0..).zip(&reports) {
        merge(&mut whole, seed, report);
        let saved = serde_json::to_string(&Merged::of(seed, report)).unwrap();
        parts.add(&serde_json::from_str(&saved).unwrap());
        assert_eq!(&serde_json::from_str::<Report>(&serde_json::to_string(report).unwrap()).unwrap(), report);
    }
    assert_eq!(parts, whole);
    assert_eq!(whole.verdicts["acked-survive"].violated_seeds, [1, 3]);
}

#[test]
fn nothing_in_a_history_breaks_the_form_of_a_report() {
    let mut report = broken();
    let Some(Verdict::Violated { witness, .. }) = report.verdicts.get_mut("acked-survive") else { unreachable!() };
    witness.text = format!("line\nbreak \x1b[2J and {} {}", "y".repeat(300), "many words ".repeat(60));
    witness.records = (0..100).map(|base| stretch(base * 1000, base * 1000 + 900)).collect();
    let text = run_report(&"t".repeat(400), &report, REPRO, false);
    assert!(text.lines().all(|line| line.chars().count() <= 120), "a line is too long");
    assert!(!text.contains('\x1b'));
    assert!(text.contains("and 88 more ranges") && text.contains("and 888 more"));
}

#[test]
fn colours_change_nothing_but_colours() {
    let coloured = run_report("core, seed 17", &broken(), REPRO, true);
    assert!(coloured.contains("\x1b[1;31mviolated"));
    let mut plain = coloured;
    for code in ["\x1b[32m", "\x1b[1;31m", "\x1b[33m", "\x1b[2m", "\x1b[0m"] {
        plain = plain.replace(code, "");
    }
    assert_eq!(plain, run_report("core, seed 17", &broken(), REPRO, false));
}

#[test]
fn json_has_the_promised_fields_and_comes_back() {
    let run = RunJson::new(17, &broken(), 0.5, true, "core", REPRO);
    let line = run.line();
    assert!(!line.contains('\n'));
    assert_eq!(serde_json::from_str::<RunJson>(&line).unwrap(), run);
    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
    let fields = "seeds acked refused unknown sent read faults allowed_losses held violated not_tested obligations \
                  sim_seconds wall_seconds deterministic findings verdicts";
    for field in fields.split_whitespace() {
        assert!(value.get(field).is_some(), "{field} is missing in {line}");
    }
    assert_eq!(value["violated"], serde_json::json!(["acked-survive"]));
    assert_eq!(value["verdicts"]["recovery"], "not-tested");
    assert_eq!(value["verdicts"]["consumers-read-committed"], "allowed");
    assert_eq!(value["obligations"]["acked-survive"], 1234);
    assert_eq!(value["findings"][0]["repro"], REPRO);
    assert_eq!(value["findings"][0]["seed"], 17);

    let campaign = CampaignJson::new(&Merged::default(), 0.0, true, Vec::<FindingJson>::new());
    let value: serde_json::Value = serde_json::from_str(&campaign.line()).unwrap();
    assert!(value.get("verdicts").is_none() && value["findings"] == serde_json::json!([]));
}

#[test]
fn every_property_explains_itself_in_a_table_row() {
    for property in properties() {
        assert!(property.name.len() <= 24, "{} does not fit its column", property.name);
        assert!(property.name.chars().all(|letter| letter.is_ascii_lowercase() || letter == '-'), "{}", property.name);
        assert!(!property.summary.is_empty() && !property.premise.is_empty() && !property.explanation.is_empty());
        assert!(!property.summary.ends_with('.'), "{}", property.name);
    }
}

#[test]
fn marks_are_counted_and_the_ones_that_no_seed_hit_are_named() {
    let wanted = [Mark::DuplicateAnswered, Mark::TornTailCut];
    let hit = BTreeMap::from([(Mark::DuplicateAnswered, 3), (Mark::Leaderless, 9)]);
    assert_eq!(marks_line(&hit, &wanted, false), "marks    1 of 2 hit\n");
    assert_eq!(marks_line(&hit, &wanted[..1], false), "marks    1 of 1 hit\n");
    assert_eq!(marks_line(&hit, &[], false), "");
    let json = CampaignJson::new(&Merged::default(), 1.0, true, Vec::new()).with_marks(&hit);
    assert_eq!((json.marks["leaderless"], json.marks["torn-tail-cut"]), (9, 0));
}

#[test]
fn what_clients_were_told_and_how_a_promise_broke_stand_in_the_report() {
    let mut report = broken();
    report.confusion.acked = Places { in_log: 1497, gone: 3, ..Places::default() };
    report.confusion.unknown = Places { in_log: 1, never_seen: 1, ..Places::default() };
    let fact = |seq, text: &str| Fact { seq, at_ns: seq * 1_000_000_000, text: text.into() };
    report.stories.insert("acked-survive", vec![fact(12, "node 1 appended 417..420"), fact(13, "node 1 was killed")]);
    let text = run_report("core, seed 17", &report, REPRO, false);
    assert!(text.contains("told as  acked: 1,497 in the log, 3 gone; unknown: 1 in the log, 1 never seen\n"), "{text}");
    let story = "  story    12.000 s: node 1 appended 417..420\n           13.000 s: node 1 was killed\n";
    assert!(text.contains(story), "{text}");
    let json = RunJson::new(17, &report, 0.5, true, "core", REPRO).line();
    assert!(json.contains(r#""confusion":{"acked":{"in_log":1497,"gone":3,"never_seen":0,"not_known":0}"#), "{json}");
}
