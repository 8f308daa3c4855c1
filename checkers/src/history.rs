//! What happened in one run, in one order: the only thing that judges look at.

use klamm_base::{NodeId, Observation, Source};
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, Write};

/// One run: every observation of the stack and every event of the world, in the order in which they happened.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// Ascending by `seq`; `at_ns` never falls.
    pub entries: Vec<Entry>,
}

/// One fact with its place in the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Place in the run; unique, ascending.
    pub seq: u64,
    /// World time in nanoseconds since the run began. No node's clock.
    pub at_ns: u64,
    /// What happened.
    pub event: Event,
}

/// Who speaks: the stack of itself, or the world of what it did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// A core or a client observed something.
    Stack {
        /// Who observed it.
        source: Source,
        /// What it observed.
        observation: Observation,
    },
    /// The stage did or saw something.
    World(World),
}

/// What the stage did or saw, in plain words of the field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum World {
    /// A machine was switched on for the first time.
    HostStarted { node: NodeId },
    /// Its process died at once; the page cache stays.
    Killed { node: NodeId },
    /// The machine lost power: what was not synced may be gone, `lost_bytes` of it are.
    PoweredOff { node: NodeId, lost_bytes: u64 },
    /// The process ended by itself, in good order or with an error that it told.
    Stopped { node: NodeId, why: String, in_order: bool },
    /// A machine that was down runs again, with the disk that it has.
    Restarted { node: NodeId },
    /// Nothing runs there, time passes, bytes pile up.
    Paused { node: NodeId },
    /// It runs on.
    Resumed { node: NodeId },
    /// Its disk was emptied: every copy on it is destroyed.
    DiskWiped { node: NodeId },
    /// The whole machine is gone, and silent; `disk` says whether it may come back with its own. What it lost by that is told
    /// beside it, as lost power and a wiped disk.
    MachineLost { node: NodeId, disk: String },
    /// Bytes `from..to` of a file, as its path was then, are not what their writer believes. `silent`: nobody was told.
    DiskDamaged { node: NodeId, path: String, from: u64, to: u64, kind: Damage, silent: bool },
    /// An episode of a disk fault began or ended on a device (empty: on all), or a fault struck an operation on `path`.
    DiskFault { node: NodeId, device: String, fault: String, path: String, phase: Phase },
    /// A byte of a connection between two parties arrived other than it was sent: byte `at_byte` of that direction. `role`
    /// is what the connection was for.
    BytesCorrupted { from: Party, to: Party, role: String, at_byte: u64 },
    /// Something befell connections between two named hosts, told in words.
    Connection { from: String, to: String, role: String, what: String },
    /// Something else was done to a machine, told in words: its timers, its limits, its speed. No judge excuses anything by it.
    Disturbed { node: NodeId, what: String },
    /// A directed link between two named hosts is now in `state` (up, stalled, black hole, slow …).
    LinkChanged { from: String, to: String, state: String },
    /// A node's wall clock now stands so far from the world's.
    ClockSet { node: NodeId, offset_ms: i64 },
    /// A node's wall clock goes wrong from now on otherwise (a drift, a leap second), told in words.
    ClockWrong { node: NodeId, what: String },
    /// Something was done to a client, told in words. `killed` and `powered off` end what it had in flight.
    ClientDisturbed { client: String, what: String },
    /// A step of the script fired.
    Step { text: String },
    /// A fault of the script or the campaign took effect. Counted; the events above say what it did.
    FaultStruck { what: String },
    /// Of the last heal this broker is left out: it stays away for ever, dead or cut off. Told before it.
    LeftOut { node: NodeId, how: String },
    /// All faults were taken back: from here on the cluster must come to rest and serve.
    Healed,
    /// The cluster came to rest after the heal (`ok`), or did not within its bound; `why` says what was still amiss.
    Settled { ok: bool, why: String },
    /// A panic in the stack (`node`, if it was on one) or in a client.
    Panicked { node: Option<NodeId>, task: String, message: String, location: String },
    /// The entry before this one breaks this promise, whatever comes later: the run was ended there.
    Halted { property: String },
}

/// One end of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Party {
    /// A broker or controller.
    Node(NodeId),
    /// A client, by its name.
    Client(String),
}

/// What happened to bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Damage {
    /// Bits flipped at rest.
    BitRot,
    /// Bytes of another place were written over them.
    Overwritten,
    /// They were written elsewhere: the page cache shows them, the device has not got them.
    Missing,
    /// A failed sync forgot them: the page cache shows them until it lets go of them.
    Forgotten,
    /// A sync lied about them: power loss takes them although their writer was told that they are durable.
    NotDurable,
    /// A sync lied about the names in the directory that is the path (no bytes): power loss takes those, and what they name.
    NamesNotDurable,
    /// They are the part of a short write that arrived.
    Partial,
    /// Bytes of another place were read instead; nothing is wrong with them at rest.
    Misread,
    /// Their device was unplugged: what was not synced is gone, as with power.
    Removed,
    /// Their device was wiped under the running process.
    Wiped,
}

impl Damage {
    /// As in a saved history.
    pub fn name(self) -> &'static str {
        match self {
            Damage::BitRot => "bit-rot",
            Damage::Overwritten => "overwritten",
            Damage::Missing => "missing",
            Damage::Forgotten => "forgotten",
            Damage::NotDurable => "not-durable",
            Damage::NamesNotDurable => "names-not-durable",
            Damage::Partial => "partial",
            Damage::Misread => "misread",
            Damage::Removed => "removed",
            Damage::Wiped => "wiped",
        }
    }
}

/// Where in its course a fault is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Its episode began.
    Began,
    /// It struck one operation.
    Struck,
    /// Its episode ended.
    Ended,
}

/// Why a history could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The file itself failed.
    #[error("line {line}: {source}")]
    Io {
        /// From 1.
        line: usize,
        /// What failed.
        source: io::Error,
    },
    /// A line is not an entry.
    #[error("line {line}: not an entry of a history: {message}")]
    Malformed {
        /// From 1.
        line: usize,
        /// What is wrong, and at which column.
        message: String,
    },
    /// It was cut: a whole history tells at its end how many entries it has.
    #[error(
        "line {line}: the history is cut: {entries} entries, and then a last line `{{\"entries\":{entries}}}` was expected \
         but the file ends"
    )]
    Cut {
        /// From 1: where the file ends.
        line: usize,
        /// How many whole entries came before.
        entries: usize,
    },
    /// The end of a history says that it has another number of entries, or something follows it.
    #[error("line {line}: the history ends here with {told} entries, but {found} are in the file")]
    Miscounted {
        /// From 1.
        line: usize,
        /// As the end says.
        told: usize,
        /// As read.
        found: usize,
    },
    /// Entries must ascend: a judge's answer depends on their order.
    #[error(
        "line {line}: entry {seq} at {at_ns} ns comes after entry {previous} at {previous_ns} ns; a history is in order"
    )]
    OutOfOrder {
        /// From 1.
        line: usize,
        /// Of this line.
        seq: u64,
        /// Of this line.
        at_ns: u64,
        /// Of the line before.
        previous: u64,
        /// Of the line before.
        previous_ns: u64,
    },
    /// Judges hold sets of nodes in one machine word.
    #[error("line {line}: node {node} is one node too many; a history has at most {limit}")]
    TooManyNodes {
        /// From 1.
        line: usize,
        /// The first that does not fit.
        node: i32,
        /// How many fit.
        limit: usize,
    },
}

impl History {
    /// Adds one entry at the end; its sequence number follows the last one.
    pub fn push(&mut self, at_ns: u64, event: Event) {
        let seq = self.entries.last().map_or(0, |last| last.seq + 1);
        assert!(self.entries.last().is_none_or(|last| last.at_ns <= at_ns), "world time never falls");
        self.entries.push(Entry { seq, at_ns, event });
    }

    /// Writes one JSON object a line, and a last one that tells how many they are. The same history always gives the same bytes.
    pub fn to_json_lines(&self, mut to: impl Write) -> Result<(), HistoryError> {
        for (index, entry) in self.entries.iter().enumerate() {
            let line = index + 1;
            serde_json::to_writer(&mut to, entry).map_err(|error| HistoryError::Io { line, source: error.into() })?;
            to.write_all(b"\n").map_err(|source| HistoryError::Io { line, source })?;
        }
        let entries = self.entries.len();
        let end = writeln!(to, "{{\"entries\":{entries}}}").and_then(|()| to.flush());
        end.map_err(|source| HistoryError::Io { line: entries + 1, source })
    }

    /// Reads what [`Self::to_json_lines`] wrote; empty lines are skipped.
    pub fn from_json_lines(from: impl BufRead) -> Result<History, HistoryError> {
        let mut history = History::default();
        let mut nodes = crate::NodeNames::default();
        let (mut line, mut end) = (0, None);
        for (index, text) in from.lines().enumerate() {
            line = index + 1;
            let text = text.map_err(|source| HistoryError::Io { line, source })?;
            if text.trim().is_empty() {
                continue;
            }
            let found = history.entries.len();
            if let Some(told) = end {
                return Err(HistoryError::Miscounted { line, told, found: found + 1 });
            }
            match parse(&text, line, found)? {
                Line::End { entries } if entries != found => {
                    return Err(HistoryError::Miscounted { line, told: entries, found });
                }
                Line::End { entries } => end = Some(entries),
                Line::Entry(entry) => {
                    check(&history, &entry, line)?;
                    nodes.learn_all(&entry).map_err(|node| HistoryError::TooManyNodes {
                        line,
                        node,
                        limit: crate::NODES,
                    })?;
                    history.entries.push(entry);
                }
            }
        }
        end.map(|_| ()).ok_or(HistoryError::Cut { line: line + 1, entries: history.entries.len() })?;
        Ok(history)
    }
}

/// A line of a saved history.
enum Line {
    Entry(Entry),
    /// The last one.
    End {
        entries: usize,
    },
}

/// Reads a line; `entries` came before it.
fn parse(text: &str, line: usize, entries: usize) -> Result<Line, HistoryError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct End {
        entries: usize,
    }
    let parsed = if text.starts_with("{\"entries\"") {
        serde_json::from_str(text).map(|End { entries }| Line::End { entries })
    } else {
        serde_json::from_str(text).map(Line::Entry)
    };
    parsed.map_err(|error| match error.is_eof() {
        true => HistoryError::Cut { line, entries },
        false => HistoryError::Malformed { line, message: error.to_string() },
    })
}

fn check(history: &History, entry: &Entry, line: usize) -> Result<(), HistoryError> {
    let Some(last) = history.entries.last() else { return Ok(()) };
    if entry.seq > last.seq && entry.at_ns >= last.at_ns {
        return Ok(());
    }
    let (previous, previous_ns) = (last.seq, last.at_ns);
    Err(HistoryError::OutOfOrder { line, seq: entry.seq, at_ns: entry.at_ns, previous, previous_ns })
}
