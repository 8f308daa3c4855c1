//! confluent-kafka in a Python process beside: asked line by line, every answer within a deadline.

use crate::stage::DEADLINE;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

/// The release whose behaviour the tests were written against; `.ci/run` installs it.
pub const VERSION: &str = "2.16.1";
/// Which Python has it. Where this is set, as in `.ci/run`, the tests fail without confluent-kafka; elsewhere they are skipped.
const PYTHON: &str = "KLAMM_PYTHON";
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/confluent/client.py");

/// The Python that has confluent-kafka of the wanted release, or what is wrong.
fn python() -> &'static Result<String, String> {
    static PYTHON_FOUND: OnceLock<Result<String, String>> = OnceLock::new();
    PYTHON_FOUND.get_or_init(|| {
        let python = std::env::var(PYTHON).unwrap_or_else(|_| "python3".to_owned());
        let words = ["-c", "import confluent_kafka; print(confluent_kafka.__version__)"];
        let output = Command::new(&python).args(words).output().map_err(|error| format!("{python}: {error}"))?;
        match String::from_utf8_lossy(&output.stdout).trim() {
            VERSION => Ok(python),
            "" => Err(format!("{python} has no module confluent_kafka")),
            other => Err(format!("{python} has confluent-kafka {other}, {VERSION} is wanted")),
        }
    })
}

/// False, and a word about it past the test harness's capture, if there is no confluent-kafka and none was promised.
pub fn has_confluent(test: &str) -> bool {
    let Err(reason) = python() else { return true };
    let way = format!("python3 -m venv V && V/bin/pip install confluent-kafka=={VERSION}, then {PYTHON}=V/bin/python");
    assert!(std::env::var_os(PYTHON).is_none(), "{reason}; the way out: {way}");
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {reason}; the way out: {way}");
    false
}

/// The process, and its lines as they come.
struct Lines {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<Value>,
}

impl Lines {
    fn start(words: &[&str]) -> Self {
        let python = python().as_ref().expect("the test asked whether there is one");
        let mut command = Command::new(python);
        command.arg(SCRIPT).args(words).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().unwrap());
        let (tell, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
                if tell.send(value).is_err() {
                    return;
                }
            }
        });
        Self { child, stdin, lines }
    }

    fn next(&mut self) -> Value {
        self.lines.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("confluent-kafka says nothing within {DEADLINE:?}"))
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client that does what it is asked.
pub struct Session(Lines);

impl Session {
    pub fn start(address: &str) -> Self {
        Self(Lines::start(&[address]))
    }

    fn ask(&mut self, request: &Value) -> Value {
        writeln!(self.0.stdin.as_mut().expect("open"), "{request}").unwrap();
        let answer = self.0.next();
        assert!(answer.get("failed").is_none(), "{} failed: {}", request["verb"], answer["failed"]);
        answer
    }

    /// A topic of one partition.
    pub fn create(&mut self, topic: &str, config: Value) {
        let answer = self.ask(&json!({ "verb": "create", "topic": topic, "config": config }));
        assert_eq!(answer, json!({}), "{topic} was not created");
    }

    /// The delivery report of each record.
    pub fn produce(&mut self, topic: &str, config: Value, records: &[Value]) -> Vec<Value> {
        let request = json!({ "verb": "produce", "topic": topic, "config": config, "records": records });
        let mut answer = self.ask(&request);
        assert_eq!(answer["left"], 0, "{topic}: records without a report");
        match answer["reports"].take() {
            Value::Array(reports) => reports,
            other => panic!("no reports: {other}"),
        }
    }

    /// As [`Self::produce`], all acknowledged: their offsets.
    pub fn produce_all(&mut self, topic: &str, config: Value, records: &[Value]) -> Vec<i64> {
        let reports = self.produce(topic, config, records);
        let offset = |report: &Value| report["offset"].as_i64().unwrap_or_else(|| panic!("{topic}: {report}"));
        reports.iter().map(offset).collect()
    }

    /// All records from `offset` to the log's end, assigned and not subscribed.
    pub fn read(&mut self, topic: &str, offset: i64) -> Vec<Value> {
        records(self.ask(&json!({ "verb": "consume", "topic": topic, "offset": offset })))
    }

    /// All records from the first one at or after a time on.
    pub fn read_from_time(&mut self, topic: &str, time_ms: i64) -> Vec<Value> {
        records(self.ask(&json!({ "verb": "consume", "topic": topic, "time": time_ms })))
    }
}

fn records(mut answer: Value) -> Vec<Value> {
    match answer["records"].take() {
        Value::Array(records) => records,
        other => panic!("no records: {other}"),
    }
}

/// A producer that produces until it is told to stop.
pub struct Stream {
    lines: Lines,
    /// Number and offset of each record that was acknowledged, as reported so far.
    pub acked: Vec<(u64, i64)>,
}

impl Stream {
    pub fn start(address: &str, topic: &str, config: &Value) -> Self {
        Self { lines: Lines::start(&[address, "stream", topic, &config.to_string()]), acked: Vec::new() }
    }

    /// One line; the number of records and of those without a report if it was the last one.
    fn take(&mut self, line: &Value) -> Option<(u64, u64)> {
        assert!(line.get("error").is_none(), "a record was given up: {line}");
        if let (Some(end), Some(left)) = (line["end"].as_u64(), line["left"].as_u64()) {
            return Some((end, left));
        }
        self.acked.push((line["n"].as_u64().unwrap(), line["offset"].as_i64().unwrap()));
        None
    }

    /// Waits until `count` more records are acknowledged.
    pub fn wait_for_more(&mut self, count: usize) {
        let wanted = self.acked.len() + count;
        while self.acked.len() < wanted {
            let line = self.lines.next();
            assert_eq!(self.take(&line), None, "it produces until it is told to stop");
        }
    }

    /// Takes what has been reported meanwhile.
    pub fn drain(&mut self) {
        while let Ok(line) = self.lines.lines.try_recv() {
            assert_eq!(self.take(&line), None, "it produces until it is told to stop");
        }
    }

    /// Ends it in good order: everything that it sent is acknowledged. How many there are.
    pub fn finish(mut self) -> (u64, Vec<(u64, i64)>) {
        drop(self.lines.stdin.take());
        loop {
            let line = self.lines.next();
            if let Some((end, left)) = self.take(&line) {
                assert_eq!(left, 0, "records without a report");
                return (end, std::mem::take(&mut self.acked));
            }
        }
    }
}
