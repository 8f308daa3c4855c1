//! A Jepsen history becomes operations.

use super::lexer::{Lexer, Token};
use super::values::Values;
use super::{EdnError, Wrong};
use crate::blackbox::Settings;
use crate::blackbox::operations::{Does, Ended, Numbers, Op, Operations, Process};

/// Reads a history in Jepsen's format: maps one after the other, or all of them in one vector. Invocations are paired with their
/// completions; what is not of a client (`:process :nemesis`) is skipped.
///
/// # Errors
/// If the text is no such history, if it was cut, if an operation ends before it begins, or if a process has two open at once.
pub fn read(text: &str) -> Result<Operations, EdnError> {
    let mut reader = Reader {
        text,
        lexer: Lexer::new(text, 0),
        values: Values::default(),
        processes: Numbers::default(),
        open: Vec::new(),
        last_index: None,
        last_time: 0,
    };
    match reader.all() {
        Ok(()) => Ok(reader.values.operations),
        Err(wrong) => Err(wrong.in_text(text)),
    }
}

/// An operation that goes on.
#[derive(Clone, Copy)]
struct Open {
    /// Byte at which its map begins.
    at: usize,
    does: Does,
    invoked: (u32, u64),
    /// Byte at which its value begins.
    value: Option<usize>,
}

/// One map of the file. Places are bytes.
struct Line<'a> {
    at: usize,
    index: Option<i64>,
    time: Option<i64>,
    kind: Option<&'a str>,
    process: Option<i64>,
    function: Option<(usize, &'a str)>,
    value: Option<usize>,
    moved: Option<usize>,
    from_beginning: bool,
    client: Option<&'a str>,
    settings: Settings,
}

struct Reader<'a> {
    text: &'a str,
    lexer: Lexer<'a>,
    values: Values,
    processes: Numbers<i64>,
    /// By process.
    open: Vec<Option<Open>>,
    last_index: Option<i64>,
    last_time: i64,
}

impl<'a> Reader<'a> {
    fn all(&mut self) -> Result<(), Wrong> {
        let mut around: Option<(u8, usize)> = None;
        let mut lines = 0u64;
        loop {
            match (self.lexer.next()?, around) {
                (Token::Open(b'{'), _) => {
                    let line = self.line()?;
                    self.take(&line)?;
                    lines += 1;
                }
                (Token::Open(bracket), None) if lines == 0 => around = Some((bracket, self.lexer.began)),
                (Token::Close(b']' | b')'), Some(_)) => around = None,
                (Token::End, None) => break,
                (Token::End, Some((_, opened))) => return Err(self.lexer.cut(opened)),
                (token, _) => {
                    let message = format!("an operation was expected, a map `{{:type … }}`, found {}", token.told());
                    return Err(Wrong::new(self.lexer.began, message));
                }
            }
        }
        if lines == 0 {
            return Err(Wrong::new(
                0,
                "no operation is in this file: a history was expected, a map `{:type … }` a line",
            ));
        }
        self.finish()
    }

    /// Every operation must have ended.
    fn finish(&self) -> Result<(), Wrong> {
        let open = self.open.iter().enumerate().filter_map(|(process, open)| Some((process, open.as_ref()?)));
        let Some((process, open)) = open.min_by_key(|(_, open)| open.at) else { return Ok(()) };
        let number = self.values.operations.processes[process].number;
        Err(Wrong::new(
            open.at,
            format!(
                "the history is cut: the operation that process {number} invokes here has not ended when the file ends; one that \
                 nobody knows the end of ends with `:type :info`"
            ),
        ))
    }

    fn line(&mut self) -> Result<Line<'a>, Wrong> {
        let mut line = Line {
            at: self.lexer.began,
            index: None,
            time: None,
            kind: None,
            process: None,
            function: None,
            value: None,
            moved: None,
            from_beginning: false,
            client: None,
            settings: Settings::default(),
        };
        loop {
            match self.lexer.next()? {
                Token::Close(b'}') => return Ok(line),
                Token::Close(close) => return Err(self.lexer.mismatch(b'{', close)),
                Token::End => return Err(self.lexer.cut(line.at)),
                Token::Keyword(name) => self.field(name, &mut line)?,
                Token::Open(bracket) => {
                    self.lexer.skip_rest(bracket)?;
                    self.skip(line.at)?;
                }
                _ => self.skip(line.at)?,
            }
        }
    }

    /// Skips a value of the map that begins at `map`.
    fn skip(&mut self, map: usize) -> Result<(), Wrong> {
        let mut ahead = self.lexer.clone();
        if ahead.next()? == Token::End {
            return Err(self.lexer.cut(map));
        }
        self.lexer.skip()
    }

    fn field(&mut self, name: &str, line: &mut Line<'a>) -> Result<(), Wrong> {
        match name {
            "value" | "rebalance-log" => {
                let mut ahead = self.lexer.clone();
                let is_nil = ahead.next()? == Token::Nil;
                let place = (!is_nil).then_some(ahead.began);
                if name == "value" {
                    line.value = place;
                } else {
                    line.moved = place;
                }
                self.skip(line.at)
            }
            "index" | "time" | "type" | "process" | "f" | "seek-to-beginning?" | "client" | "acks" | "idempotence" => {
                let token = self.lexer.next()?;
                self.simple(name, token, line)
            }
            _ => self.skip(line.at),
        }
    }

    fn simple(&mut self, name: &str, token: Token<'a>, line: &mut Line<'a>) -> Result<(), Wrong> {
        match (name, token) {
            (_, Token::End) => return Err(self.lexer.cut(line.at)),
            ("index", Token::Int(index)) => line.index = Some(index),
            ("time", Token::Int(time)) if time >= 0 => line.time = Some(time),
            ("type", Token::Keyword(kind)) => line.kind = Some(kind),
            ("process", Token::Int(process)) => line.process = Some(process),
            // The nemesis, or another that is no client.
            ("process", Token::Keyword(_) | Token::Nil | Token::Text(_) | Token::Other(_)) => {}
            ("f", Token::Keyword(function)) => line.function = Some((self.lexer.began, function)),
            ("seek-to-beginning?", Token::Bool(value)) => line.from_beginning = value,
            ("seek-to-beginning?", Token::Nil) => {}
            ("client", Token::Text(client)) => line.client = Some(client),
            ("acks", Token::Int(acks @ -1..=1)) => line.settings.acks = Some(acks as i16),
            ("idempotence", Token::Bool(value)) => line.settings.idempotent = Some(value),
            // Other tools may use these words for something else.
            ("client" | "acks" | "idempotence", Token::Open(bracket)) => return self.lexer.skip_rest(bracket),
            ("client" | "acks" | "idempotence", Token::Nil | Token::Int(_) | Token::Keyword(_) | Token::Bool(_)) => {}
            (_, token) => return Err(self.unfit(name, &token)),
        }
        Ok(())
    }

    fn unfit(&self, name: &str, token: &Token) -> Wrong {
        let wanted = match name {
            "index" => "a whole number",
            "time" => "nanoseconds since the start, a whole number",
            "type" => "`:invoke`, `:ok`, `:fail` or `:info`",
            "process" => "a number or a keyword",
            "f" => FUNCTIONS,
            "client" => "a text",
            "acks" => "-1, 0 or 1",
            _ => "true or false",
        };
        Wrong::new(self.lexer.began, format!("`:{name}` cannot be {}: expected {wanted}", token.told()))
    }

    /// Takes one map in: an invocation opens an operation, a completion ends it.
    fn take(&mut self, line: &Line<'a>) -> Result<(), Wrong> {
        let (index, time) = self.place(line)?;
        let Some(number) = line.process else { return Ok(()) };
        let process = self.process(number, line);
        let kind = line.kind.ok_or_else(|| Wrong::new(line.at, "this operation has no `:type`"))?;
        let does = function(line)?;
        let open = self.open[process as usize];
        let ended = match kind {
            "invoke" => return self.invoke(process, does, (index, time), open, line),
            "ok" => Ended::Ok,
            "fail" => Ended::Fail,
            "info" => Ended::Info,
            other => {
                let message = format!("`:type` cannot be `:{other}`: expected `:invoke`, `:ok`, `:fail` or `:info`");
                return Err(Wrong::new(line.at, message));
            }
        };
        let Some(open) = open else {
            let message = format!(
                "process {number} ends an operation before it begins one: expected its `:type :invoke` first, found `:{kind}`"
            );
            return Err(Wrong::new(line.at, message));
        };
        if open.does != does {
            let message = format!("process {number} ends another operation than it began: its `:f` differs");
            return Err(Wrong::new(line.at, message));
        }
        if time < open.invoked.1 {
            let message = format!(
                "process {number}'s operation ends at {time} ns, before it begins at {} ns: time cannot fall",
                open.invoked.1
            );
            return Err(Wrong::new(line.at, message));
        }
        self.complete(process, open, ended, (index, time), line)
    }

    /// Where a line stands, and when.
    fn place(&mut self, line: &Line) -> Result<(u32, u64), Wrong> {
        let index = line.index.unwrap_or_else(|| self.last_index.map_or(0, |last| last + 1));
        if self.last_index.is_some_and(|last| index <= last) || !(0..i64::from(u32::MAX)).contains(&index) {
            let message = format!("`:index` {index} is out of order: indexes ascend from 0, below 2^32");
            return Err(Wrong::new(line.at, message));
        }
        self.last_index = Some(index);
        self.last_time = line.time.unwrap_or(self.last_time);
        Ok((index as u32, self.last_time as u64))
    }

    fn process(&mut self, number: i64, line: &Line) -> u32 {
        let (operations, open) = (&mut self.values.operations, &mut self.open);
        let process = self.processes.number(number, || {
            open.push(None);
            operations.add_process(Process { number, client: String::new(), settings: Settings::default() })
        });
        let known = &mut self.values.operations.processes[process as usize];
        if let Some(client) = line.client.filter(|client| *client != known.client) {
            known.client = client.to_owned();
        }
        known.settings.acks = line.settings.acks.or(known.settings.acks);
        known.settings.idempotent = line.settings.idempotent.or(known.settings.idempotent);
        process
    }

    fn invoke(
        &mut self,
        process: u32,
        does: Does,
        invoked: (u32, u64),
        open: Option<Open>,
        line: &Line,
    ) -> Result<(), Wrong> {
        if let Some(open) = open {
            let (number, earlier) = (
                self.values.operations.processes[process as usize].number,
                Wrong::new(open.at, "").in_text(self.text).line,
            );
            let message = format!(
                "process {number} begins an operation while its operation of line {earlier} is open: a process does one thing at a \
                 time"
            );
            return Err(Wrong::new(line.at, message));
        }
        self.open[process as usize] = Some(Open { at: line.at, does, invoked, value: line.value });
        Ok(())
    }

    fn complete(
        &mut self,
        process: u32,
        open: Open,
        ended: Ended,
        completed: (u32, u64),
        line: &Line,
    ) -> Result<(), Wrong> {
        self.open[process as usize] = None;
        self.values.clear();
        let value = line.value.or(open.value).map(|at| Lexer::new(self.text, at));
        let moved = line.moved.map(|at| Lexer::new(self.text, at));
        let mut op = Op::new(process, open.does, ended, open.invoked, completed);
        match open.does {
            Does::Send | Does::Poll | Does::Txn => {
                value.map_or(Ok(()), |mut lexer| self.values.micro_ops(&mut lexer))?;
                moved.map_or(Ok(()), |mut lexer| self.values.moved(&mut lexer))?;
            }
            Does::Assign | Does::Subscribe => {
                value.map_or(Ok(()), |mut lexer| self.values.key_list(&mut lexer))?;
                op.from_beginning = line.from_beginning && open.does == Does::Assign;
            }
            Does::Crash | Does::Describe => {}
        }
        self.values.operations.push(op, &self.values.records, &self.values.listed);
        Ok(())
    }
}

const FUNCTIONS: &str = "`:send`, `:poll`, `:txn`, `:assign`, `:subscribe`, `:crash` or `:debug-topic-partitions`";

fn function(line: &Line) -> Result<Does, Wrong> {
    match line.function {
        Some((_, "send")) => Ok(Does::Send),
        Some((_, "poll")) => Ok(Does::Poll),
        Some((_, "txn")) => Ok(Does::Txn),
        Some((_, "assign")) => Ok(Does::Assign),
        Some((_, "subscribe")) => Ok(Does::Subscribe),
        Some((_, "crash")) => Ok(Does::Crash),
        Some((_, "debug-topic-partitions")) => Ok(Does::Describe),
        Some((at, other)) => Err(Wrong::new(at, format!("`:f` cannot be `:{other}`: expected {FUNCTIONS}"))),
        None => Err(Wrong::new(line.at, format!("this operation has no `:f`: expected {FUNCTIONS}"))),
    }
}
