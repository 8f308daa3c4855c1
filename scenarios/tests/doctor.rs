//! `klamm doctor` as its user meets it: seeds repeat, and a leak that is planted is found and named.

use serde_json::Value;
use std::process::Command;

/// Exit code, all of stdout, and the JSON object of its last line.
fn doctor(args: &[&str]) -> (Option<i32>, String, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_klamm"));
    let output = command.args(["doctor", "--json"]).args(args).env_remove("RUST_LOG").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let json = text.lines().last().map(|line| serde_json::from_str(line).unwrap_or_default()).unwrap_or_default();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), text + &stderr, json)
}

#[test]
#[allow(clippy::disallowed_methods, reason = "test files")]
fn every_seed_is_the_same_in_every_way_and_its_hashes_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hashes");
    let name = path.display().to_string();
    let (code, text, json) = doctor(&["--seeds", "3", "--hashes", &name]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!((json["seeds"].as_u64(), json["equal"].as_bool()), (Some(3), Some(true)), "{json}");
    assert!(json["first_difference"].is_null() && json.as_object().unwrap().contains_key("first_difference"));
    let modes = ["reverse order", "parallel threads", "other processes", "tracing on"];
    assert_eq!(json["modes"], serde_json::json!(modes));
    for mode in modes {
        assert!(text.contains(&format!("  {mode:<18} 3 of 3 equal")), "{text}");
    }
    let hashes = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = hashes.lines().collect();
    assert_eq!(lines.len(), 3, "{hashes}");
    for (seed, line) in lines.iter().enumerate() {
        assert!(line.starts_with(&format!("core {seed} trace=")) && line.contains(" history="), "{line}");
    }
}

/// The leak is found, and the first differing event is what the planted task sent.
fn found(plant: &str) {
    let (code, text, json) = doctor(&["--seed-range", "3..5", "--plant", plant]);
    assert_eq!(code, Some(4), "{text}");
    assert_eq!(json["equal"], false, "{json}");
    let first = &json["first_difference"];
    assert_eq!((first["seed"].as_u64(), first["node"].as_str()), (Some(3), Some("admin")), "{first}");
    let events = [&first["event"], &first["other"]].map(|event| event.as_str().unwrap().to_owned());
    assert_ne!(events[0], events[1]);
    for event in events {
        assert!(event.contains(&format!(" send admin/planted-{plant} admin:")), "{event}");
    }
    let cause = first["cause"].as_str().unwrap();
    assert!(cause.starts_with(&format!("admin/planted-{plant} ran; before that: ")), "{cause}");
    let at = first["at_ns"].as_u64().unwrap();
    assert!(
        cause.contains(&format!(": {at} syn world b1:9092 > admin established")),
        "its connection was there: {cause}"
    );
    assert!(text.contains("first differing event: at ") && text.contains(" on admin"), "{text}");
    assert!(text.contains(&format!("doctor --profile core --seed-range 3..4 --plant {plant}")), "{text}");
}

#[test]
fn a_map_whose_state_was_made_outside_the_run_is_found() {
    found("hashmap");
}

#[test]
fn real_time_told_by_a_thread_outside_the_run_is_found() {
    found("clock");
}

#[test]
fn bytes_of_dev_urandom_are_found() {
    found("entropy");
}

#[test]
fn a_profile_or_a_plant_that_is_not_there_is_bad_input() {
    for args in [["--profile", "cor"], ["--plant", "moon"], ["--seeds", "0"], ["--seed-range", "5..5"]] {
        let (code, text, _) = doctor(&args);
        assert_eq!(code, Some(2), "{args:?}: {text}");
        assert!(!text.contains("panicked"), "{text}");
    }
}
