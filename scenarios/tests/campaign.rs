//! Campaigns as CI and schedulers meet them: shards, kills, resumption, merges, signals, papers.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "test files, and deadlines in real time")]

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Waits at most so long for what another process should do soon.
const PATIENCE: Duration = Duration::from_secs(300);
/// A bug that some of the first seeds find.
const BUG: [&str; 3] = ["--without", "epoch-truncation", "--keep-going"];

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_klamm"));
    command.args(args);
    for variable in ["RUST_LOG", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"] {
        command.env_remove(variable);
    }
    command
}

fn klamm(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

fn campaign(args: &[&str], more: &[&str]) -> Output {
    klamm(&[&["campaign"], args, more].concat())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Exit 2; the message.
fn refused(output: &Output) -> String {
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{message}{}", text(&output.stdout));
    assert!(!message.contains("panicked"), "{message}");
    message
}

/// The last line's object, without the one thing that two machines never share.
fn json(output: &Output) -> Value {
    let stdout = text(&output.stdout);
    let mut json: Value = serde_json::from_str(stdout.lines().last().unwrap_or_default())
        .unwrap_or_else(|error| panic!("{error}: {stdout}{}", text(&output.stderr)));
    json.as_object_mut().unwrap().remove("wall_seconds").expect("it is told");
    json
}

struct Folders(TempDir);

impl Folders {
    fn new() -> Folders {
        Folders(TempDir::new().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn name(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }
}

/// Whole lines of `seeds.jsonl`.
fn lines(dir: &Path) -> Vec<String> {
    let text = fs::read_to_string(dir.join("seeds.jsonl")).unwrap_or_default();
    text.split_inclusive('\n').filter(|line| line.ends_with('\n')).map(str::to_owned).collect()
}

fn result(dir: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(dir.join("result.json")).unwrap()).unwrap()
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "{what} never happened");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

fn ended(child: &mut Child) -> Option<i32> {
    until("the end of a child", || child.try_wait().unwrap().is_some());
    child.try_wait().unwrap().unwrap().code()
}

fn signal(child: &Child, name: &str) {
    let kill = format!("kill -{name} {}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
}

#[test]
fn four_shards_as_four_processes_merge_to_what_one_campaign_says() {
    let folders = Folders::new();
    let dirs: Vec<String> = (1..=4).map(|number| folders.name(&format!("part-{number}"))).collect();
    let shards: Vec<String> = (1..=4).map(|number| format!("{number}/4")).collect();
    let mut children: Vec<Child> = dirs
        .iter()
        .zip(&shards)
        .map(|(dir, shard)| {
            let args =
                [&["campaign", "--seeds", "12", "--jobs", "1", "--shard", shard, "--out", dir][..], &BUG].concat();
            command(&args).stdout(Stdio::null()).spawn().unwrap()
        })
        .collect();
    let (one_xml, merged_xml) = (folders.name("one.xml"), folders.name("merged.xml"));
    let one = campaign(&["--seeds", "12", "--json", "--junit", &one_xml, "--out", &folders.name("whole")], &BUG);
    let codes: Vec<_> = children.iter_mut().map(ended).collect();
    let args: Vec<&str> = dirs.iter().rev().map(String::as_str).collect();
    let merged = klamm(&[&["merge", "--json", "--junit", &merged_xml], args.as_slice()].concat());

    let whole = json(&one);
    assert_eq!(json(&merged), whole);
    assert_eq!((whole["seeds"].as_u64(), whole["seed_range"].as_str()), (Some(12), Some("0..12")));
    assert!(!whole["findings"].as_array().unwrap().is_empty(), "a bug is found in some seed: {whole}");
    assert_eq!((one.status.code(), merged.status.code()), (Some(1), Some(1)));
    assert!(codes.iter().all(|code| matches!(code, Some(0 | 1))) && codes.contains(&Some(1)), "{codes:?}");
    assert_eq!(fs::read(&merged_xml).unwrap(), fs::read(&one_xml).unwrap());
    let shared = |output: &Output| text(&output.stdout).lines().filter(|line| !line.starts_with("time ")).count();
    assert_eq!(shared(&merged), shared(&one), "people read the same");
    let seeds = |dir: &Path| lines(dir).split_off(1);
    let all: Vec<String> = (1..=4).flat_map(|number| seeds(&folders.path(&format!("part-{number}")))).collect();
    assert_eq!(all, seeds(&folders.path("whole")));
}

#[test]
fn a_shard_that_was_killed_goes_on_where_it_was_and_nothing_is_counted_twice() {
    let folders = Folders::new();
    let (one, two) = (folders.name("one"), folders.name("two"));
    let all = ["--seeds", "12", "--jobs", "1", "--json"];
    let whole = campaign(&all, &BUG);
    let first = campaign(&all, &[&["--shard", "1/2", "--out", &one], &BUG[..]].concat());
    assert!(matches!(first.status.code(), Some(0 | 1)), "{first:?}");

    let second = [&all[..], &["--shard", "2/2", "--out", &two], &BUG].concat();
    let mut child = command(&[&["campaign"], second.as_slice()].concat()).stdout(Stdio::null()).spawn().unwrap();
    until("a second seed", || lines(&folders.path("two")).len() >= 3);
    child.kill().unwrap();
    child.wait().unwrap();
    let kept = lines(&folders.path("two"));
    assert!((3..7).contains(&kept.len()) && !folders.path("two").join("result.json").exists(), "{}", kept.len());
    let message = refused(&klamm(&["merge", &one, &two]));
    assert!(
        message.contains(&format!("..12 are missing: {two} is not finished; go on with it: --resume")),
        "{message}"
    );
    // A kill in the middle of a write leaves half a line.
    let torn = format!("{}{}", kept.concat(), r#"{"seed":11,"merged":{"se"#);
    fs::write(folders.path("two").join("seeds.jsonl"), torn).unwrap();

    let resumed = campaign(&second, &["--resume"]);
    assert!(matches!(resumed.status.code(), Some(0 | 1)), "{resumed:?}");
    let after = lines(&folders.path("two"));
    assert_eq!((after.len(), &after[..kept.len()]), (7, kept.as_slice()), "what was kept was not run again");
    let merged = klamm(&["merge", &one, &two, "--json"]);
    assert_eq!((json(&merged), merged.status.code()), (json(&whole), whole.status.code()));

    let before = fs::read(folders.path("two").join("result.json")).unwrap();
    let again = campaign(&second, &["--resume"]);
    assert_eq!(json(&again), json(&resumed), "a finished shard is told again, not run");
    assert_eq!(lines(&folders.path("two")), after);
    assert_eq!(fs::read(folders.path("two").join("result.json")).unwrap(), before);
}

#[test]
fn a_folder_of_another_campaign_is_refused_with_both_values() {
    let folders = Folders::new();
    let dir = folders.name("dir");
    let run = |more: &[&str]| campaign(&["--out", &dir], more);
    let ran = run(&["--seeds", "3", "--shard", "1/3"]);
    assert_eq!(ran.status.code(), Some(0), "{ran:?}");
    let message = refused(&run(&["--seeds", "3", "--shard", "1/3"]));
    assert!(
        message.contains(&format!("{dir}: holds a campaign already (core 0..1, 1 seeds done); --resume")),
        "{message}"
    );
    for (args, expected) in [
        (vec!["--seeds", "4", "--shard", "1/3"], "its seeds is 0..3, and 0..4 is wanted now"),
        (vec!["--seeds", "3", "--shard", "2/3"], "its shard is 1/3, and 2/3 is wanted now"),
        (vec!["--seeds", "3", "--shard", "1/3", "--profile", "storm"], "its profile is core, and storm is wanted now"),
        (
            vec!["--seeds", "3", "--shard", "1/3", "--without", "duplicate-window", "--keep-going"],
            "its guards off is none, and duplicate-window is wanted now",
        ),
    ] {
        let message = refused(&run(&[&args[..], &["--resume"]].concat()));
        assert!(message.contains(expected), "{message}");
    }
    let path = folders.path("dir").join("seeds.jsonl");
    let good = fs::read_to_string(&path).unwrap();
    let tampered = |from: &str, to: &str| {
        fs::write(&path, good.replacen(from, to, 1)).unwrap();
        refused(&run(&["--seeds", "3", "--shard", "1/3", "--resume"]))
    };
    let commit: Value = serde_json::from_str(good.lines().next().unwrap()).unwrap();
    let commit = commit["commit"].as_str().unwrap();
    let message = tampered(&format!("\"commit\":\"{commit}\""), "\"commit\":\"0123\"");
    assert!(message.contains(&format!("its commit is 0123, and {commit} is wanted now")), "{message}");
    assert!(tampered("\"format\":1", "\"format\":2").contains("is of format 2; this klamm reads format 1"));
    assert!(
        tampered("\"seed\":0", "\"seed\":1").contains("seeds.jsonl: line 2: seed 1 stands where seed 0 of 0..1 is due")
    );
    assert!(
        tampered("\"merged\"", "\"merge\"")
            .contains("seeds.jsonl: line 2: is not what is kept of a seed: unknown field")
    );
}

#[test]
fn parts_that_do_not_make_a_whole_are_refused_with_the_folder_and_the_seeds() {
    let folders = Folders::new();
    let part = |name: &str, args: &[&str]| {
        let dir = folders.name(name);
        assert_eq!(campaign(args, &["--out", &dir]).status.code(), Some(0), "{args:?}");
        dir
    };
    let one = part("one", &["--seeds", "3", "--shard", "1/3"]);
    let three = part("three", &["--seeds", "3", "--shard", "3/3"]);
    let half = part("half", &["--seeds", "3", "--shard", "1/2"]);
    let storm = part("storm", &["--seeds", "3", "--shard", "2/3", "--profile", "storm"]);
    let longer = part("longer", &["--seeds", "6", "--shard", "2/6"]);
    let merge = |dirs: &[&str]| refused(&klamm(&[&["merge"], dirs].concat()));
    let gap = merge(&[&one, &three]);
    assert!(gap.contains("seeds 1..2 are missing: no folder here is their shard's"), "{gap}");
    let end = merge(&[&one]);
    assert!(end.contains("seeds 1..3 are missing"), "{end}");
    let twice = merge(&[&one, &half]);
    assert!(twice.contains("both hold seeds 0..1") && twice.contains(&one) && twice.contains(&half), "{twice}");
    let other = merge(&[&one, &storm]);
    let both = format!("{one} and {storm} are not parts of one campaign: their profile are core and storm");
    assert!(other.contains(&both), "{other}");
    assert!(merge(&[&one, &longer]).contains("their seeds are 0..3 and 0..6"));
    let path = folders.path("three").join("seeds.jsonl");
    let commit: Value = serde_json::from_str(&lines(&folders.path("three"))[0]).unwrap();
    let commit = commit["commit"].as_str().unwrap();
    fs::write(&path, fs::read_to_string(&path).unwrap().replacen(&format!("\"{commit}\""), "\"0123\"", 1)).unwrap();
    assert!(merge(&[&one, &three]).contains(&format!("their commit are {commit} and 0123")));
    assert!(merge(&[&folders.name("nowhere")]).contains("holds no results of a campaign"));
}

#[test]
fn what_makes_no_campaign_is_bad_usage() {
    for (args, expected) in [
        (vec!["--shard", "5/4"], "write I/N with I from 1 to N"),
        (vec!["--shard", "1/2", "--for", "1s"], "give --seeds or --seed-range"),
        (vec!["--shard", "1/2", "--without", "epoch-truncation"], "add --keep-going"),
        (vec!["--resume"], "--out"),
        (vec!["--fresh", "--shard", "1/2"], "cannot be used with"),
        (vec!["--seeds", "0"], "0 is not in"),
        (vec!["--known", "no-such-file.toml"], "no-such-file.toml"),
    ] {
        let message = refused(&campaign(&args, &[]));
        assert!(message.contains(expected), "{args:?}: {message}");
    }
}

/// Starts a campaign without end, and waits for its first seed.
fn endless(dir: &str, jobs: &str) -> Child {
    let args = ["campaign", "--for", "30m", "--jobs", jobs, "--out", dir, "--json"];
    let child = command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    until("the first seed", || lines(Path::new(dir)).len() >= 2);
    child
}

#[test]
fn ctrl_c_finishes_the_running_seeds_and_reports_what_was_run() {
    let folders = Folders::new();
    let dir = folders.name("dir");
    let child = endless(&dir, "2");
    signal(&child, "INT");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let (json, seeds) = (json(&output), lines(Path::new(&dir)).len() as u64 - 1);
    assert_eq!((json["seeds"].as_u64(), json["seed_range"].as_str()), (Some(seeds), Some(&*format!("0..{seeds}"))));
    let stdout = text(&output.stdout);
    assert!(stdout.contains(&format!("interrupted: 0..{seeds} of 0.. were run")), "{stdout}");
    assert!(!stdout.contains("though required"), "what it had no time to test is no news: {stdout}");
    let result = result(Path::new(&dir));
    assert_eq!((&result["ended"], &result["campaign"]["seeds"]), (&"interrupted".into(), &"0..".into()), "{result}");
}

#[test]
fn sigterm_is_not_taken_for_a_finished_campaign() {
    let folders = Folders::new();
    let dir = folders.name("dir");
    let child = endless(&dir, "2");
    signal(&child, "TERM");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(143), "{output:?}");
    assert_eq!(json(&output)["seeds"].as_u64(), Some(lines(Path::new(&dir)).len() as u64 - 1));
}

#[test]
fn a_second_ctrl_c_ends_at_once_and_what_was_run_is_kept() {
    use std::io::{BufRead, BufReader};
    let folders = Folders::new();
    let dir = folders.name("dir");
    // So many seeds run beside each other that none of them is over in a moment.
    let mut child = endless(&dir, "24");
    signal(&child, "INT");
    let mut said = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said, "finishing the seeds that run; once more ends at once\n");
    signal(&child, "INT");
    assert_eq!(ended(&mut child), Some(130));
    assert!(!Path::new(&dir).join("result.json").exists());
    assert!(lines(Path::new(&dir)).len() >= 2);
}

#[test]
fn fresh_seeds_are_drawn_told_first_and_can_be_repeated() {
    let folders = Folders::new();
    let (dir, other) = (folders.name("dir"), folders.name("other"));
    let fresh = campaign(&["--fresh", "--seeds", "2", "--json", "--out", &dir], &[]);
    let stdout = text(&fresh.stdout);
    let result = result(Path::new(&dir));
    let (seeds, asked) = (result["seeds"].as_u64(), &result["campaign"]);
    assert_eq!((seeds, asked["fresh"].as_bool()), (Some(2), Some(true)), "{result}");
    let range = asked["seeds"].as_str().unwrap();
    let told = format!(
        "fresh seeds {range}; repeat them with: cargo run --release -- campaign --profile core --seed-range {range}"
    );
    assert_eq!(stdout.lines().next(), Some(told.as_str()));
    let repeated = campaign(&["--seed-range", range, "--json"], &[]);
    assert_eq!(json(&repeated), json(&fresh));
    let resumed = campaign(&["--fresh", "--seeds", "2", "--json", "--out", &dir, "--resume"], &[]);
    assert_eq!(json(&resumed), json(&fresh), "resumed, it draws no other seeds");
    let another = campaign(&["--fresh", "--seeds", "2", "--json", "--out", &other], &[]);
    assert_ne!(json(&another)["seed_range"], json(&fresh)["seed_range"]);
}

#[test]
fn a_campaign_that_stops_at_its_first_finding_does_not_complain_of_what_it_had_no_time_to_test() {
    let output = campaign(&["--seeds", "30", "--without", "epoch-truncation", "--json"], &[]);
    assert_eq!(output.status.code(), Some(1));
    let stdout = text(&output.stdout);
    assert!(!stdout.contains("though required"), "{stdout}");
    let fields = "seeds acked refused unknown sent read faults allowed_losses held violated not_tested obligations \
                  sim_seconds deterministic findings profile seed_range without commit";
    let json = json(&output);
    for field in fields.split_whitespace() {
        assert!(json.get(field).is_some(), "{field} is missing in {json}");
    }
    assert_eq!(json["findings"].as_array().unwrap().len(), 1);
}

/// A campaign that finds something, with a list of known failures.
fn with_known(folders: &Folders, known: &str) -> (Output, String) {
    let (list, xml) = (folders.path("known.toml"), folders.name("junit.xml"));
    fs::write(&list, known).unwrap();
    let list = list.display().to_string();
    let output = campaign(&["--seeds", "6", "--known", &list, "--junit", &xml, "--json"], &BUG);
    (output, fs::read_to_string(&xml).unwrap())
}

#[test]
fn known_failures_are_counted_and_not_red_and_one_that_is_new_is() {
    let folders = Folders::new();
    let (found, _) = with_known(&folders, "");
    assert_eq!(found.status.code(), Some(1));
    let all = json(&found)["violated"].as_array().unwrap().clone();
    let entry = |property: &Value| format!("[[known]]\nproperty = {property}\nwhy = \"as we know\"\nlink = \"#7\"\n");
    let list: String = all.iter().map(entry).collect();
    let unmet = "[[known]]\nproperty = \"no-panic\"\nwhy = \"once\"\nlink = \"#8\"\n";
    let (known, xml) = with_known(&folders, &format!("{list}{unmet}"));
    let stdout = text(&known.stdout);
    assert_eq!(known.status.code(), Some(0), "{stdout}");
    let findings = json(&known)["findings"].as_array().unwrap().clone();
    assert!(findings.iter().all(|finding| finding["known"] == "as we know (#7)") && !findings.is_empty());
    assert!(stdout.contains(&format!("known: {0} of {0} findings", findings.len())), "{stdout}");
    assert!(stdout.contains("no-panic was not met; take it off "), "{stdout}");
    assert!(xml.contains("failures=\"0\"") && xml.contains("<skipped message=\"known in "), "{xml}");
    let (other_seed, _) = with_known(&folders, &list.replace("why", "seed = 999\nwhy"));
    assert_eq!(other_seed.status.code(), Some(1), "an entry for another seed excuses nothing");
    let list = folders.name("known.toml");
    fs::write(&list, "[[known]]\npropperty = 3").unwrap();
    let message = refused(&campaign(&["--known", &list], &[]));
    assert!(message.contains(&format!("{list}:2:1: unknown key `propperty`; did you mean `property`?")), "{message}");
}

#[test]
fn a_seed_on_which_klamm_itself_failed_is_told_with_its_line_and_accuses_no_guarantee() {
    let folders = Folders::new();
    let (dir, xml) = (folders.name("dir"), folders.name("junit.xml"));
    assert_eq!(campaign(&["--seeds", "2", "--out", &dir], &[]).status.code(), Some(0));
    let kept = lines(&folders.path("dir"));
    let failed = "{\"seed\":1,\"fault\":\"checkers/src/x.rs:7:1: index out of bounds\"}\n";
    fs::write(folders.path("dir").join("seeds.jsonl"), [&kept[0], &kept[1], failed].concat()).unwrap();
    let merged = klamm(&["merge", &dir, "--json", "--junit", &xml]);
    assert_eq!(merged.status.code(), Some(3), "that seed tested nothing");
    let told = "klamm itself failed in seed 1: checkers/src/x.rs:7:1: index out of bounds\n  repeat   cargo run --release -- run core --seed 1\n";
    assert!(text(&merged.stdout).contains(told), "{}", text(&merged.stdout));
    let json = json(&merged);
    assert_eq!((json["klamm_faults"][0]["seed"].as_u64(), json["seeds"].as_u64()), (Some(1), Some(1)), "{json}");
    assert!(json["violated"].as_array().unwrap().is_empty() && json["seed_range"] == "0..2");
    assert!(fs::read_to_string(&xml).unwrap().contains("errors=\"1\""));
}

#[test]
fn on_github_findings_are_annotations_and_the_table_is_the_summary() {
    let folders = Folders::new();
    let summary = folders.path("summary.md");
    fs::write(&summary, "what another step said\n").unwrap();
    let args = [&["campaign", "--seeds", "6", "--json"][..], &BUG].concat();
    let output = command(&args).env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", &summary).output().unwrap();
    let (stdout, json) = (text(&output.stdout), json(&output));
    let finding = &json["findings"][0];
    let (property, repro) = (finding["property"].as_str().unwrap(), finding["repro"].as_str().unwrap());
    let start =
        format!("::error file=scenarios/profiles/core.toml,title={property} broken%3A core 0..6%2C without epoch");
    let annotation = stdout.lines().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("{stdout}"));
    assert!(annotation.contains(&format!("%0Arepeat: {repro}")), "{annotation}");
    let summary = fs::read_to_string(&summary).unwrap();
    assert!(summary.starts_with("what another step said\n### klamm core 0..6"), "{summary}");
    assert!(summary.contains(&format!("| {property} | **violated** |")) && summary.contains(repro), "{summary}");
    assert!(!text(&klamm(&args).stdout).contains("::error"), "elsewhere nothing of it is printed");
}
