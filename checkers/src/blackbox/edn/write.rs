//! Our history as Jepsen writes its own, so that Jepsen's checker can judge it too.

use super::super::gather::Broken;
use super::super::operations::{Does, Ended, NO_OFFSET, Op, Operations, Record};
use crate::{Event, History, World};
use std::io::{self, Write};

/// Writes what clients did in Jepsen's format, faults as operations of the nemesis. The same history always gives the same bytes.
/// Beyond Jepsen's words an invocation tells its `:client`, and `:acks` and `:idempotence` where they promise less than all.
///
/// # Errors
/// If the writer fails; a history in which an operation ends that never began is [`io::ErrorKind::InvalidData`].
pub fn write(history: &History, to: impl Write) -> io::Result<()> {
    let invalid = |broken: Broken| io::Error::new(io::ErrorKind::InvalidData, broken);
    let operations = Operations::of(history).map_err(invalid)?;
    let mut writer = Writer { operations: &operations, to, index: 0 };
    let mut marks = marks(history).peekable();
    for (entry, op, completes) in lines(&operations) {
        while let Some((_, at_ns, what)) = marks.next_if(|(mark, ..)| *mark < entry) {
            writer.mark(at_ns, &what)?;
        }
        writer.line(op, completes)?;
    }
    marks.try_for_each(|(_, at_ns, what)| writer.mark(at_ns, &what))?;
    writer.to.flush()
}

/// Invocations and completions, in the order in which they happened.
fn lines(operations: &Operations) -> Vec<(u32, u32, bool)> {
    let both = |(at, op, _): (u32, &Op, &[Record])| [(op.invoked, at, false), (op.completed, at, true)];
    let mut lines: Vec<_> = operations.iter().flat_map(both).collect();
    lines.sort_unstable();
    lines
}

/// Faults and the heal, with the entry before which they stand and their time.
fn marks(history: &History) -> impl Iterator<Item = (u32, u64, String)> + '_ {
    history.entries.iter().enumerate().filter_map(|(entry, fact)| {
        let what = match &fact.event {
            Event::World(World::FaultStruck { what }) => what.clone(),
            Event::World(World::Healed) => "heal".to_owned(),
            _ => return None,
        };
        Some((entry as u32, fact.at_ns, what))
    })
}

struct Writer<'a, W> {
    operations: &'a Operations,
    to: W,
    index: u64,
}

impl<W: Write> Writer<'_, W> {
    fn mark(&mut self, at_ns: u64, what: &str) -> io::Result<()> {
        let index = self.index;
        self.index += 1;
        write!(self.to, "{{:index {index} :time {at_ns} :type :info :process :nemesis :f :fault :value ")?;
        self.text(what)?;
        self.to.write_all(b"}\n")
    }

    fn text(&mut self, text: &str) -> io::Result<()> {
        let plain = |letter: char| if letter.is_control() { ' ' } else { letter };
        let text: String = text.chars().map(plain).collect();
        write!(self.to, "\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
    }

    fn line(&mut self, at: u32, completes: bool) -> io::Result<()> {
        let (op, process) = (self.operations.op(at), self.operations.process_of(at));
        let (time, kind) = match (completes, op.ended) {
            (false, _) => (op.invoked_ns, "invoke"),
            (true, Ended::Ok) => (op.completed_ns, "ok"),
            (true, Ended::Fail) => (op.completed_ns, "fail"),
            (true, Ended::Info) => (op.completed_ns, "info"),
        };
        let (index, number, function) = (self.index, process.number, function(op.does));
        self.index += 1;
        write!(self.to, "{{:index {index} :time {time} :type :{kind} :process {number} :f :{function} :value ")?;
        self.value(at, op, completes)?;
        if op.from_beginning {
            self.to.write_all(b" :seek-to-beginning? true")?;
        }
        if !completes {
            self.client(at)?;
        }
        self.to.write_all(b"}\n")
    }

    fn client(&mut self, at: u32) -> io::Result<()> {
        let process = self.operations.process_of(at);
        self.to.write_all(b" :client ")?;
        self.text(&process.client)?;
        match process.settings.acks {
            None | Some(-1) => {}
            Some(acks) => write!(self.to, " :acks {acks}")?,
        }
        if process.settings.idempotent == Some(false) {
            self.to.write_all(b" :idempotence false")?;
        }
        Ok(())
    }

    fn value(&mut self, at: u32, op: &Op, completes: bool) -> io::Result<()> {
        match op.does {
            Does::Send | Does::Poll | Does::Txn => self.micro_ops(at, completes && op.ended != Ended::Fail),
            _ => self.keys(at),
        }
    }

    fn keys(&mut self, at: u32) -> io::Result<()> {
        self.to.write_all(b"[")?;
        for (place, key) in self.operations.keys_of(at).iter().enumerate() {
            let (gap_before, number) = (gap(place), self.operations.keys[*key as usize].number);
            write!(self.to, "{gap_before}{number}")?;
        }
        self.to.write_all(b"]")
    }

    fn micro_ops(&mut self, at: u32, answered: bool) -> io::Result<()> {
        let records = self.operations.records(at);
        self.to.write_all(b"[")?;
        if records.is_empty() {
            self.to.write_all(b"[:poll]")?;
        }
        for (place, group) in records.chunk_by(|one, next| !one.is_sent() && !next.is_sent()).enumerate() {
            self.to.write_all(gap(place).as_bytes())?;
            match (group[0].is_sent(), answered) {
                (true, _) => self.sent(group[0], answered)?,
                (false, true) => self.polled(group)?,
                (false, false) => self.to.write_all(b"[:poll]")?,
            }
        }
        self.to.write_all(b"]")
    }

    fn sent(&mut self, record: Record, answered: bool) -> io::Result<()> {
        let key = self.operations.keys[record.key() as usize].number;
        let name = self.operations.value_name(record.value).unwrap_or_default();
        match record.offset {
            NO_OFFSET => write!(self.to, "[:send {key} {name}]"),
            offset if answered => write!(self.to, "[:send {key} [{offset} {name}]]"),
            _ => write!(self.to, "[:send {key} {name}]"),
        }
    }

    /// Each key once: its records stand together.
    fn polled(&mut self, records: &[Record]) -> io::Result<()> {
        self.to.write_all(b"[:poll {")?;
        for (place, group) in records.chunk_by(|one, next| one.key() == next.key()).enumerate() {
            let (gap_before, key) = (gap(place), self.operations.keys[group[0].key() as usize].number);
            write!(self.to, "{gap_before}{key} [")?;
            for (place, record) in group.iter().enumerate() {
                let name = self.operations.value_name(record.value).map_or("nil".to_owned(), |name| name.to_string());
                write!(self.to, "{}[{} {name}]", gap(place), record.offset)?;
            }
            self.to.write_all(b"]")?;
        }
        self.to.write_all(b"}]")
    }
}

fn gap(place: usize) -> &'static str {
    if place == 0 { "" } else { " " }
}

fn function(does: Does) -> &'static str {
    match does {
        Does::Send => "send",
        Does::Poll => "poll",
        Does::Txn => "txn",
        Does::Assign => "assign",
        Does::Subscribe => "subscribe",
        Does::Crash => "crash",
        Does::Describe => "debug-topic-partitions",
    }
}
