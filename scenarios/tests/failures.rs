//! Failure files and `klamm replay`, as their user meets them.

mod given;

use given::file;
use klamm_scenarios::script::{Failure, Script};
use std::process::{Command, Output};

const STORY: &str = r#"format = 1
name = "kept"
seed = 7
duration = "2s"
without = ["confirmed-isr-shrink"]

[[topic]]
name = "orders"

[failure]
property = "high-watermark"
rule = "What the high watermark covers is in the log of every member of the maximal ISR."
first = "at 1.000 s (entry 1): this"
then = "at 2.000 s (entry 2): that"
so = "They contradict."
drawn-from = "storm seed 9"
klamm = "0.0.9 (0123456789ab)"
history = "0000000000000001"
trace = "0000000000000002"
"#;

fn klamm(args: &[&str]) -> (Option<i32>, String) {
    let output: Output = Command::new(env!("CARGO_BIN_EXE_klamm")).args(args).output().expect("klamm runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).expect("text"))
}

#[test]
fn a_failure_reads_as_it_is_written_and_is_a_script_too() {
    let failure = Failure::from_toml("kept.toml", STORY).expect("it is right");
    assert_eq!(Failure::from_toml("kept.toml", &failure.to_toml()).expect("it reads back"), failure);
    assert_eq!(Script::from_toml("kept.toml", STORY).expect("a script too"), failure.script);
    assert!(failure.to_toml().starts_with("format = 1\n"));
}

#[test]
fn what_no_failure_says_is_refused_with_its_line_and_what_was_expected() {
    let wrong = |from: &str, to: &str| {
        let text = STORY.replace(from, to);
        assert_ne!(text, STORY);
        Failure::from_toml("kept.toml", &text).expect_err(to).to_string()
    };
    let newer = wrong("format = 1", "format = 2");
    assert!(
        newer.starts_with("kept.toml:1:10: `format` cannot be 2: klamm 0.1.0 reads scripts of format 1"),
        "{newer}"
    );
    // A newer file may hold anything: the format is what is told.
    assert_eq!(wrong("format = 1", "colour = \"red\"\nformat = 2").replace(":2:", ":1:"), newer);
    assert!(wrong("format = 1", "format = \"one\"").contains("`format` cannot be \"one\""));
    assert!(wrong("history = \"0000000000000001\"\n", "").starts_with("kept.toml:10:1: `[failure]` needs `history`"));
    assert!(wrong("rule =", "ruel =").contains("did you mean `rule`?"));
    let head = STORY.split("[failure]").next().expect("a head");
    assert!(Failure::from_toml("kept.toml", head).expect_err("no table").to_string().contains("no table `[failure]`"));
}

#[test]
fn replay_says_in_words_what_became_of_a_failure_and_exits_by_it() {
    let path = file("holds.toml", STORY);
    let (code, text) = klamm(&["replay", &path]);
    assert!(text.contains("no longer fails: high-watermark holds, its premise occurred"), "{text}");
    assert_eq!(code, Some(0));
    let path = file("newer.toml", &STORY.replace("format = 1", "format = 9"));
    let (code, text) = klamm(&["replay", &path]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains(&format!("{path}:1:10: `format` cannot be 9")), "{text}");
    let (code, text) = klamm(&["replay", "no-such-failure"]);
    assert_eq!(code, Some(2), "{text}");
}

#[test]
fn settings_that_contradict_each_other_are_refused_where_they_stand() {
    let config = "[cluster.config]\n\"broker.session.timeout.ms\" = \"900\"\n\n[[topic]]";
    let path = file("session.toml", &STORY.replace("[[topic]]", config));
    for command in ["run", "replay", "shrink"] {
        let (code, text) = klamm(&[command, &path]);
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains("broker.heartbeat.interval.ms") && text.contains(&format!("{path}:8:")), "{text}");
    }
    let (code, text) = klamm(&["run", "core", "--set", "broker.session.timeout.ms=5", "--set", "duration=1s"]);
    assert_eq!(code, Some(2), "{text}");
}

#[test]
fn an_instant_is_told_with_leaders_and_high_watermarks() {
    let path = file("moment.toml", STORY);
    let (_, text) = klamm(&["replay", &path, "--at", "1s"]);
    assert!(text.contains("at 1.000 s") && text.contains("orders-0: node "), "{text}");
    assert!(text.contains("leads in epoch 0, in sync") && text.contains("high watermark"), "{text}");
}

#[test]
fn what_breaks_no_promise_cannot_be_shrunk() {
    let path = file("sound.toml", STORY);
    let (code, text) = klamm(&["shrink", &path]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("breaks no promise: there is nothing to shrink"), "{text}");
}

#[test]
fn a_failure_that_a_campaign_stored_repeats_its_verdict_byte_for_byte() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path().display().to_string();
    let (code, text) = klamm(&["campaign", "--without", "confirmed-isr-shrink", "--seeds", "20", "--out", &dir]);
    assert_eq!(code, Some(1), "{text}");
    let seed = text.split("FOUND high-watermark in seed ").nth(1).and_then(|rest| rest.split_whitespace().next());
    let seed = seed.unwrap_or_else(|| panic!("no finding: {text}"));
    assert!(text.contains(&format!("-- shrink core --seed {seed} --without confirmed-isr-shrink")), "{text}");
    let (code, text) = klamm(&["replay", &format!("{dir}/core-{seed}.toml")]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("the same verdict, byte for byte: high-watermark: "), "{text}");
}

#[test]
fn the_table_of_a_guard_says_what_it_needed_and_that_nothing_else_is_found() {
    let few = ["--ranges", "2", "--clean-seeds", "2", "--shrink-for", "5s", "--json"];
    let (code, text) = klamm(&[&["bugs", "--guard", "confirmed-isr-shrink"][..], &few[..]].concat());
    assert_eq!(code, Some(0), "{text}");
    let last: serde_json::Value = serde_json::from_str(text.lines().last().expect("a line")).expect("JSON");
    let guard = &last["guards"][0];
    assert_eq!((guard["guard"].as_str(), guard["depth"].as_u64()), (Some("confirmed-isr-shrink"), Some(2)), "{last}");
    assert_eq!((guard["budget"].as_u64(), guard["found"].as_u64()), (Some(200), Some(2)), "{last}");
    assert!(guard["seeds_needed"].as_u64().is_some_and(|needed| needed <= 200), "{last}");
    assert_eq!(guard["property"].as_str(), Some("high-watermark"), "{last}");
    // A follower that may fetch little lags without any fault.
    assert!(guard["script_faults"].as_u64().is_some_and(|faults| faults <= 3), "{last}");
    assert_eq!((last["clean_seeds"].as_u64(), last["false_alarms"].as_u64()), (Some(2), Some(0)), "{last}");
}
