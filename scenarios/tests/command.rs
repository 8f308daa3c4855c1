//! The command as its user meets it: exit codes and messages.

mod given;

use given::file;
use std::process::{Command, Output};

fn klamm(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_klamm")).args(args).env_remove("RUST_LOG").output().unwrap()
}

/// Bad input: exit 2, a message on stderr, nothing panics.
fn refused(args: &[&str]) -> String {
    let output = klamm(args);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
    assert!(!text.contains("panicked"), "{text}");
    text
}

#[test]
fn bad_input_gives_exit_2_and_one_message_with_the_nearest_name() {
    assert!(
        refused(&["run", "acked-records-survive-a-leader-crsh"])
            .contains("did you mean `acked-records-survive-a-leader-crash`?")
    );
    assert!(refused(&["run", "core", "--without", "duplicate-windw"]).contains("did you mean `duplicate-window`?"));
    assert!(refused(&["campaign", "--profile", "cor"]).contains("did you mean `core`?"));
    assert!(refused(&["campaign", "--seed-range", "9..3"]).contains("empty"));
    assert!(
        refused(&["run", "core", "--set", "broker.sesion.timeout.ms=3"])
            .contains("did you mean `broker.session.timeout.ms`?")
    );
    assert!(refused(&["run", "core", "--set", "duration=-3s"]).contains("cannot be negative"));
    assert!(refused(&["run", "no-such-file.toml"]).contains("no-such-file.toml"));
    assert!(refused(&["check", "no-such-file.jsonl"]).contains("no-such-file.jsonl"));
    refused(&["run"]);
    refused(&["frobnicate"]);
}

#[test]
fn a_guard_that_no_campaign_can_meet_is_not_hunted_and_lists_say_why() {
    let told = |args: &[&str]| String::from_utf8(klamm(args).stdout).unwrap();
    for guard in klamm_base::Guard::ALL {
        let why = klamm_scenarios::campaign::out_of_reach(guard);
        let listed = told(&["list", "guards"]).lines().find(|line| line.starts_with(guard.name())).unwrap().to_owned();
        assert_eq!(why.is_some(), listed.contains("not hunted: "), "{listed}");
        let Some(why) = why else { continue };
        assert!(refused(&["bugs", "--guard", guard.name()]).contains(why), "{guard}");
        assert!(told(&["explain", guard.name()]).contains(why), "{guard}");
    }
}

#[test]
fn a_wrong_script_is_refused_with_file_line_value_and_the_nearest_name() {
    let path = file("bad.toml", "duration = \"-2s\"\n");
    assert!(
        refused(&["run", &path])
            .contains(&format!("{path}:1:12: `duration` cannot be \"-2s\": a duration cannot be negative"))
    );
    let path =
        file("target.toml", "[[topic]]\nname = \"orders\"\n[[step]]\nat = \"1s\"\ncrash = \"leader(ordrs-0)\"\n");
    assert!(
        refused(&["run", &path])
            .contains(&format!("{path}:5:9: there is no partition `ordrs-0`; did you mean `orders-0`?"))
    );
    for (name, step) in [
        ("loss.toml", "drop = { between = \"b1\", and = \"b2\", loss = 2.0 }"),
        ("rack.toml", "crash = \"rack(nowhere)\""),
        ("latency.toml", "slow = { between = \"b1\", and = \"b2\", min = \"-1ms\", max = \"1ms\" }"),
    ] {
        let path = file(name, &format!("[[step]]\nat = \"1s\"\n{step}\n"));
        assert!(refused(&["run", &path]).contains(&format!("{path}:3:")), "{step}");
    }
    let path = file("drive.toml", "[cluster]\ndisk = { capacity = 0 }\n");
    assert!(refused(&["run", &path]).contains("a drive of zero bytes holds no file"));
    let path = file("malformed.toml", "[[topic]\nname = 3");
    assert!(refused(&["run", &path]).contains(&format!("{path}:1:")));
    let path = file("setting.toml", "[[topic]]\nname = \"orders\"\n[topic.config]\nmin.insync.replica = 2\n");
    assert!(refused(&["run", &path]).contains(&format!(
        "{path}:4:1: unknown topic setting `min.insync.replica`; did you mean `min.insync.replicas`?"
    )));
}

#[test]
fn lists_have_one_item_a_line_with_its_name_first() {
    for (what, first) in
        [("guards", "epoch-truncation"), ("profiles", "core"), ("faults", "cut"), ("properties", ""), ("scripts", "")]
    {
        let output = klamm(&["list", what]);
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(!text.is_empty() && text.starts_with(first), "{what}: {text}");
        assert!(text.lines().all(|line| line.contains("  ")), "{text}");
    }
}

#[test]
fn a_run_writes_a_history_that_can_be_judged_again_and_prints_json_last() {
    let path = file("history.jsonl", "");
    let output = klamm(&["run", "killing-every-process-loses-nothing", "--history", &path, "--json"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    let json: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(json["verdicts"]["acked-survive"], "held", "{json}");
    let again = klamm(&["check", &path, "--json"]);
    let text = String::from_utf8(again.stdout).unwrap();
    assert_eq!(again.status.code(), Some(0), "{text}");
    let checked: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(checked["verdicts"], json["verdicts"]);
}

#[test]
fn a_campaign_without_a_guard_exits_1_with_one_line_that_repeats_the_finding() {
    let output = klamm(&["campaign", "--seeds", "30", "--without", "duplicate-window", "--json"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    let json: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let repro = json["findings"][0]["repro"].as_str().unwrap();
    assert!(text.contains(repro), "people see the line too");
    assert!(text.contains("\n  first ") && text.contains("\n  then "), "and the two facts: {text}");
    let args: Vec<&str> = repro.strip_prefix("cargo run --release -- ").unwrap().split(' ').collect();
    let repeated = klamm(&args);
    assert_eq!(repeated.status.code(), Some(1), "{repro}");
}

#[test]
fn a_script_whose_named_step_never_struck_tested_nothing_and_exits_3() {
    let story = "duration = \"2s\"\n[[topic]]\nname = \"orders\"\n[[step]]\nname = \"never\"\nwhen = \"no leader on orders-0\"\ncrash = \"b1\"\n";
    let output = klamm(&["run", &file("never.toml", story)]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("never struck: never: crash b1"), "{text}");
}

#[test]
fn a_failing_seed_is_stored_as_a_script_that_fails_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path().join("findings").display().to_string();
    klamm(&["campaign", "--seeds", "30", "--without", "epoch-truncation", "--out", &dir]);
    #[allow(clippy::disallowed_methods, reason = "test files")]
    let mut stored = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path());
    let stored = stored.find(|path| path.extension().is_some_and(|kind| kind == "toml")).expect("a finding");
    let again = klamm(&["run", stored.to_str().unwrap()]);
    assert_eq!(again.status.code(), Some(1), "the guard that is off stands in the script");
}

#[test]
fn a_generated_script_can_be_printed_and_run_from_the_file() {
    let printed = String::from_utf8(klamm(&["run", "core", "--seed", "3", "--print"]).stdout).unwrap();
    let path = file("printed.toml", &printed);
    let (one, two) = (file("one.jsonl", ""), file("two.jsonl", ""));
    klamm(&["run", "core", "--seed", "3", "--history", &one]);
    klamm(&["run", &path, "--history", &two]);
    #[allow(clippy::disallowed_methods, reason = "test files")]
    let same = std::fs::read(&*one).unwrap() == std::fs::read(&*two).unwrap();
    assert!(same, "the printed script is the drawn one");
}
