//! Real processes: the broker, and kcat beside it. Everything that is waited for has a deadline.

use std::fmt::Debug;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// For everything that a working broker does. Ample: the tests of a workspace share its cores.
pub const DEADLINE: Duration = Duration::from_secs(60);
/// Between two looks where no event tells.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// False, and a word about it past the test harness's capture, if there is no kcat.
pub fn has_kcat(test: &str) -> bool {
    let found = Command::new("kcat").arg("-V").output().is_ok();
    if !found {
        let _ = writeln!(std::io::stderr(), "SKIPPED {test}: kcat is not installed");
    }
    found
}

/// `klamm broker --dev` with these further words.
pub fn klamm(dir: &Path, listen: &str, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_klamm"));
    command.args(["broker", "--dev", "--listen", listen, "--dir"]).arg(dir).args(words).env_remove("RUST_LOG");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A running broker; killed when dropped.
pub struct Broker {
    child: Child,
    errors: ChildStderr,
    pub address: String,
}

impl Broker {
    pub fn start(dir: &Path) -> Self {
        Self::start_with(dir, "127.0.0.1:0", &[])
    }

    /// Started again where it was. Somebody may hold its port for a moment: a client's attempt to connect takes a port of its
    /// own from the same range.
    pub fn start_with(dir: &Path, listen: &str, words: &[&str]) -> Self {
        let end = Instant::now() + DEADLINE;
        loop {
            match Self::try_start(dir, listen, words) {
                Err(error) if error.contains("Address already in use") && Instant::now() < end => {
                    thread::sleep(LOOK_AGAIN);
                }
                started => return started.unwrap_or_else(|error| panic!("the broker does not start: {error}")),
            }
        }
    }

    fn try_start(dir: &Path, listen: &str, words: &[&str]) -> Result<Self, String> {
        let mut child = klamm(dir, listen, words).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut errors = child.stderr.take().unwrap();
        let first = spawn(move || {
            let mut line = String::new();
            lines.read_line(&mut line).map(|_| (line, lines))
        });
        let (line, rest) = received(&first, &mut child, "the broker's first line").unwrap();
        // Its end of the pipe must stay open for as long as it may print.
        thread::spawn(move || std::io::copy(&mut { rest }, &mut std::io::sink()));
        match line.trim_end().strip_prefix("listening on ") {
            Some(address) => Ok(Self { child, errors, address: address.to_owned() }),
            None => {
                let mut text = line;
                errors.read_to_string(&mut text).unwrap();
                child.wait().unwrap();
                Err(text)
            }
        }
    }

    /// SIGKILL: no time for a last word.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks for a stop in good order and waits until it is done.
    pub fn stop(mut self, signal: &str) -> ExitStatus {
        let sent = Command::new("sh").args(["-c", &format!("kill -{signal} {}", self.child.id())]).status().unwrap();
        assert!(sent.success());
        ended(&mut self.child)
    }

    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Bytes of memory that the process holds, where the system tells.
    pub fn resident_bytes(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
    }

    /// What it said on its error stream, once it is dead.
    pub fn errors(mut self) -> String {
        let _ = self.child.kill();
        let mut text = String::new();
        self.errors.read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `work` beside; its result arrives on the channel.
fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Receiver<T> {
    let (tell, told) = channel();
    thread::spawn(move || tell.send(work()));
    told
}

/// What arrives within the deadline; past it the process is killed and the test fails.
fn received<T>(from: &Receiver<T>, child: &mut Child, what: &str) -> T {
    from.recv_timeout(DEADLINE).unwrap_or_else(|_| {
        let _ = child.kill();
        panic!("no {what} within {DEADLINE:?}")
    })
}

/// Waits for a process to end by itself.
fn ended(child: &mut Child) -> ExitStatus {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() > end {
            let _ = child.kill();
            panic!("the process does not end within {DEADLINE:?}");
        }
        thread::sleep(LOOK_AGAIN);
    }
}

/// Runs a command to its end: how it ended, what it said, what it complained of.
pub fn run(mut command: Command, input: Vec<u8>) -> (ExitStatus, Vec<u8>, String) {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut stdin, mut stdout, mut stderr) =
        (child.stdin.take().unwrap(), child.stdout.take().unwrap(), child.stderr.take().unwrap());
    // One that ends early does not read all of it.
    thread::spawn(move || stdin.write_all(&input));
    let output = spawn(move || {
        let mut bytes = Vec::new();
        stdout.read_to_end(&mut bytes).map(|_| bytes)
    });
    let errors = spawn(move || {
        let mut bytes = Vec::new();
        stderr.read_to_end(&mut bytes).map(|_| String::from_utf8_lossy(&bytes).into_owned())
    });
    let output = received(&output, &mut child, "end of the output").unwrap();
    let errors = received(&errors, &mut child, "end of the errors").unwrap();
    (ended(&mut child), output, errors)
}

/// kcat at this broker, to its good end: what it printed.
pub fn kcat(address: &str, words: &[&str], input: &[u8]) -> Vec<u8> {
    let mut command = Command::new("kcat");
    command.args(["-b", address]).args(words);
    let (status, output, errors) = run(command, input.to_vec());
    assert!(status.success(), "kcat {words:?}: {status}: {errors}");
    output
}

/// Sends lines to a topic, acks=all.
pub fn produce(address: &str, topic: &str, words: &[&str], input: &[u8]) {
    kcat(address, &[&["-P", "-t", topic, "-X", "acks=all"], words].concat(), input);
}

/// A topic's whole content, a line a record.
pub fn consume(address: &str, topic: &str) -> Vec<u8> {
    kcat(address, &["-C", "-t", topic, "-o", "beginning", "-e", "-q", "-f", "%s\n"], b"")
}

/// Compares long outputs without printing them.
pub fn assert_same(got: &[u8], wanted: &[u8], what: impl Debug) {
    let lines = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'\n').count();
    if got != wanted {
        let line = got.split(|b| *b == b'\n').zip(wanted.split(|b| *b == b'\n')).take_while(|(a, b)| a == b).count();
        panic!("{what:?}: {} lines came of {}; the first that differs is line {line}", lines(got), lines(wanted));
    }
}

/// A kcat that is still producing, and its delivery reports.
pub struct Producing {
    child: Child,
    offsets: Receiver<i64>,
    /// Offsets that the broker acknowledged, as reported so far.
    pub acked: Vec<i64>,
    go_on: Sender<()>,
}

impl Producing {
    /// Produces `first` at once and `rest` when told, idempotent, acks=all, lz4, in many small batches. kcat takes a line only
    /// when it has room, so what it was given is acknowledged but for the last few hundred lines.
    pub fn start(address: &str, topic: &str, first: Vec<u8>, rest: Vec<u8>) -> Self {
        let settings = [
            "acks=all",
            "enable.idempotence=true",
            "linger.ms=0",
            "batch.num.messages=50",
            "queue.buffering.max.messages=400",
            "reconnect.backoff.max.ms=200",
        ];
        let mut command = Command::new("kcat");
        // -E: brokers that are down are no reason to give up; -vvv: a line for each acknowledged record.
        command.args(["-b", address, "-P", "-t", topic, "-E", "-vvv", "-z", "lz4"]);
        command.args(settings.iter().flat_map(|setting| ["-X", setting]));
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (mut stdin, stderr) = (child.stdin.take().unwrap(), child.stderr.take().unwrap());
        let (go_on, told) = channel();
        thread::spawn(move || feed(&mut stdin, &first, &told, &rest));
        let (report, offsets) = channel();
        thread::spawn(move || report_deliveries(stderr, &report));
        Self { child, offsets, acked: Vec::new(), go_on }
    }

    /// Waits until so many records are acknowledged.
    pub fn wait_for(&mut self, count: usize) {
        while self.acked.len() < count {
            let offset = received(&self.offsets, &mut self.child, "delivery report");
            self.acked.push(offset);
        }
    }

    pub fn is_producing(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// The rest may go, and kcat comes to its end by itself. Returns all acknowledged offsets.
    pub fn finish(mut self) -> Vec<i64> {
        self.go_on.send(()).unwrap();
        let status = ended(&mut self.child);
        assert!(status.success(), "kcat ended with {status}");
        self.acked.extend(self.offsets.iter());
        self.acked
    }

    /// SIGKILL. Returns all offsets that it had reported.
    pub fn kill(mut self) -> Vec<i64> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.acked.extend(self.offsets.iter());
        self.acked
    }
}

/// A kcat that was killed does not read to the end, which is fine.
fn feed(stdin: &mut ChildStdin, first: &[u8], told: &Receiver<()>, rest: &[u8]) {
    if stdin.write_all(first).and_then(|()| stdin.flush()).is_ok() && told.recv().is_ok() {
        let _ = stdin.write_all(rest);
    }
}

/// Reads `% Message delivered to partition 0 (offset N)…`.
fn report_deliveries(stderr: ChildStderr, report: &Sender<i64>) {
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        let Some((_, rest)) = line.split_once("Message delivered to partition 0 (offset ") else { continue };
        let Some(offset) = rest.split(')').next().and_then(|number| number.parse().ok()) else { continue };
        if report.send(offset).is_err() {
            return;
        }
    }
}
