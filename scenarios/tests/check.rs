//! `klamm check` as its user meets it: both formats, and what is no history.

mod given;

use given::file;
use serde_json::Value;
use std::process::{Command, Output};

fn klamm(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_klamm")).args(args).env_remove("RUST_LOG").output().unwrap()
}

#[allow(clippy::disallowed_methods, reason = "test files")]
fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// Exit code, all that was printed, and the JSON of the last line.
fn checked(path: &str) -> (Option<i32>, String, Value) {
    checked_with(path, &[])
}

fn checked_with(path: &str, more: &[&str]) -> (Option<i32>, String, Value) {
    let output = klamm(&[&["check", path, "--json"], more].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    let json = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    (output.status.code(), text, json)
}

/// Exit 2, and a message that names file and line.
fn refused(name: &str, text: &str, line: usize, words: &str) {
    let path = file(name, text);
    let output = klamm(&["check", &path]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains(&format!("{path}: line {line}")) && message.contains(words), "{message}");
    assert!(output.stdout.is_empty(), "nothing is judged");
}

const SENT: &str = "{:index 0 :time 1 :type :invoke :process 0 :f :send :value [[:send 1 10]]}
{:index 1 :time 2 :type :ok :process 0 :f :send :value [[:send 1 [0 10]]]}
{:index 2 :time 3 :type :invoke :process 0 :f :send :value [[:send 1 11]]}
{:index 3 :time 4 :type :ok :process 0 :f :send :value [[:send 1 [1 11]]]}
{:index 4 :time 5 :type :invoke :process 1 :f :poll :value [[:poll]]}
";

#[test]
fn a_history_of_jepsens_is_judged_by_what_its_clients_saw() {
    let good =
        format!("{SENT}{{:index 5 :time 6 :type :ok :process 1 :f :poll :value [[:poll {{1 [[0 10] [1 11]]}}]]}}\n");
    let (exit, text, json) = checked(&file("good.edn", &good));
    assert_eq!(exit, Some(0), "{text}");
    assert_eq!((&json["operations"], &json["verdicts"]["lost-write"]), (&3.into(), &"held".into()));
    assert!(json["seconds"].is_f64());
    // Told by its content, whatever its name.
    let bad = good.replace("[0 10] [1 11]", "[1 11]");
    let (exit, text, json) = checked(&file("bad.history", &bad));
    assert_eq!((exit, &json["verdicts"]["lost-write"]), (Some(1), &"violated".into()), "{text}");
    assert!(text.contains("VIOLATED lost-write") && text.contains("process 0 sent value 10 to key 1"), "{text}");
}

#[test]
fn the_order_of_writes_is_looked_at_if_asked_and_breaks_no_promise() {
    let txn = |index: usize, process: u32, value: &str| {
        let line = |kind: &str, index| {
            format!("{{:index {index} :time {index} :type {kind} :process {process} :f :txn :value {value}}}\n")
        };
        line(":invoke", index) + &line(":ok", index + 1)
    };
    // Two transactions, each before the other in one of two keys.
    let text = txn(0, 0, "[[:send 1 [0 10]] [:send 2 [1 20]]]")
        + &txn(2, 1, "[[:send 1 [1 11]] [:send 2 [0 21]]]")
        + &txn(4, 2, "[[:poll {1 [[0 10] [1 11]] 2 [[0 21] [1 20]]}]]");
    let path = file("cross.edn", &text);
    let (exit, text, json) = checked(&path);
    assert_eq!((exit, &json["verdicts"]["G0"]), (Some(0), &"not-tested".into()), "{text}");
    let (exit, text, json) = checked_with(&path, &["--write-order"]);
    assert_eq!((exit, &json["verdicts"]["G0"]), (Some(0), &"allowed".into()), "{text}");
    assert!(text.contains(&format!("-- check {path} --write-order")), "{text}");
}

#[test]
fn a_run_is_exported_and_judged_from_either_format() {
    let (ours, jepsens) = (file("run.jsonl", ""), file("run.edn", ""));
    for path in [&ours, &jepsens] {
        let output = klamm(&["run", "killing-every-process-loses-nothing", "--history", path]);
        assert!(output.status.success());
    }
    let (exit, text, json) = checked(&ours);
    assert_eq!(exit, Some(0), "{text}");
    assert!(text.contains("what clients alone could see"), "{text}");
    let (exit, text, exported) = checked(&jepsens);
    assert_eq!(exit, Some(0), "{text}");
    assert_eq!(exported["verdicts"], json["clients"]);
    assert!(read(&jepsens).starts_with("{:index 0 :time "));
}

#[test]
fn a_cut_history_is_refused_in_both_formats() {
    let path = file("whole.jsonl", "");
    klamm(&["run", "killing-every-process-loses-nothing", "--history", &path]);
    let whole = read(&path);
    let lines: Vec<&str> = whole.lines().take(20).collect();
    refused("cut.jsonl", &format!("{}\n", lines.join("\n")), 21, "the history is cut");
    let half = lines.join("\n");
    refused("half.jsonl", &half[..half.len() - 9], 20, "the history is cut");
    refused("open.edn", SENT, 5, "the history is cut");
    refused("half.edn", &SENT[..SENT.len() - 9], 5, "the history is cut");
    refused("empty.edn", "", 1, "no operation is in this file");
    refused("empty.jsonl", "", 1, "the history is cut");
}

#[test]
fn an_operation_that_ends_before_it_begins_is_refused_in_both_formats() {
    let client = "\"source\":{\"client\":5}";
    let record = "\"tp\":{\"topic\":\"AAAAAAAAAAAAAAAAAAAAAQ\",\"partition\":0},\"record\":{\"client\":5,\"number\":0}";
    let entry = |seq: u32, at_ns: u32, what: &str| {
        format!(
            "{{\"seq\":{seq},\"at_ns\":{at_ns},\"event\":{{\"stack\":{{{client},\"observation\":{{{what},{record}}}}}}}}}\n"
        )
    };
    let (invoked, ended) = ("\"what\":\"invoked\"", "\"what\":\"ended\",\"outcome\":{\"acked\":3}");
    let end = |entries: u32| format!("{{\"entries\":{entries}}}\n");
    let good = format!("\n{}{}{}", entry(1, 1, invoked), entry(2, 2, ended), end(2));
    assert_eq!(checked(&file("good.jsonl", &good)).0, Some(0));
    refused("early.jsonl", &format!("\n{}{}", entry(1, 1, ended), end(1)), 2, "ends before it begins");
    let twice = format!("{}{}{}{}", entry(1, 1, invoked), entry(2, 2, ended), entry(3, 3, ended), end(3));
    refused("twice.jsonl", &twice, 3, "ends a second time");
    let fallen = format!("{}{}{}", entry(1, 5, invoked), entry(2, 4, ended), end(2));
    refused("fallen.jsonl", &fallen, 2, "a history is in order");
    let again = format!("{}{}{}", entry(1, 5, invoked), entry(2, 6, invoked), end(2));
    refused("again.jsonl", &again, 2, "a second time");
    let unknown = format!("{}{}", entry(1, 5, "\"what\":\"invented\""), end(1));
    refused("unknown.jsonl", &unknown, 1, "unknown variant `invented`");
    refused("early.edn", "{:type :ok :process 3 :f :poll :value nil}\n", 1, "expected its `:type :invoke` first");
    refused("fallen.edn", &format!("{SENT}{}", SENT.lines().nth(4).unwrap()), 6, "indexes ascend");
    let late = SENT.replace(":time 4", ":time 2");
    refused("time.edn", &late, 4, "before it begins at 3 ns");
    let two = SENT.replace(":index 4 :time 5 :type :invoke :process 1", ":index 4 :time 5 :type :invoke :process 0");
    refused(
        "two.edn",
        &format!("{two}{}", two.lines().nth(4).unwrap().replace(":index 4", ":index 5")),
        6,
        "of line 5 is open",
    );
    refused("kind.edn", &SENT.replace(":type :ok", ":type :done"), 2, "`:type` cannot be `:done`");
    refused("function.edn", &SENT.replace(":f :send", ":f :produce"), 1, "`:f` cannot be `:produce`");
    refused("shape.edn", &SENT.replace("[0 10]", "{0 10}"), 2, "expected a value, or `[offset value]`");
}
