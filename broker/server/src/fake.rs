//! A small machine with a node's manners: frames are a number of four bytes and a line of text, and each verb asks the
//! driver for one kind of work.

use crate::machine::{DiskId, Endpoint, NodeConfig, SendError, SendId, Token};
use bytes::Bytes;
use klamm_base::{DiskOp, DiskResult, Draws, Guards, Now, Observe, Outbox};
use klamm_client::frame;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug)]
pub(crate) enum Event {
    Start,
    Request { token: Token, request: Request },
    Gone { token: Token },
    Answered { id: SendId, result: Result<Bytes, SendError> },
    DiskDone { id: DiskId, result: DiskResult },
    Deadline,
    Stop,
}

#[derive(Debug)]
pub(crate) enum Command {
    Disk { id: DiskId, op: DiskOp },
    Send { to: Endpoint, role: &'static str, id: SendId, request: OutRequest, timeout_ms: u64 },
    Reply { token: Token, response: Response },
    NoReply { token: Token },
    Close { token: Token },
    Fatal { message: String },
    Stopped,
}

#[derive(Debug)]
pub(crate) struct Request {
    id: u32,
    text: String,
}

#[derive(Debug)]
pub(crate) struct Response {
    id: u32,
    text: String,
}

#[derive(Debug)]
pub(crate) struct OutRequest(String);

pub(crate) fn decode_request(frame: Bytes) -> Result<Request, String> {
    let id = frame.first_chunk::<4>().ok_or("no number")?;
    let text = String::from_utf8(frame[4..].to_vec()).map_err(|_| "no text")?;
    Ok(Request { id: u32::from_be_bytes(*id), text })
}

/// Its requests carry no batches.
impl Request {
    pub(crate) fn check_records(&mut self, (): (), _now_ms: i64) {}
}

fn encode(id: u32, text: &str) -> Bytes {
    let mut frame = frame::begin(4 + text.len());
    frame.extend_from_slice(&id.to_be_bytes());
    frame.extend_from_slice(text.as_bytes());
    frame::finish(frame)
}

impl Response {
    pub(crate) fn encode(&self) -> Bytes {
        encode(self.id, &self.text)
    }
}

impl OutRequest {
    pub(crate) fn encode(&self, correlation_id: i32) -> Bytes {
        encode(correlation_id as u32, &self.0)
    }
}

/// Whom to answer: a token, and the number of its request.
type Asker = (Token, u32);

#[derive(Default)]
pub(crate) struct Node {
    requests: u64,
    gone: u64,
    next: u64,
    parked: Vec<Asker>,
    late: BTreeSet<(u64, Asker)>,
    disk: BTreeMap<u64, Asker>,
    /// Requests sent, and how many answers their asker still waits for.
    sends: BTreeMap<u64, Asker>,
    answers: BTreeMap<Asker, (usize, Vec<String>)>,
    stopping: Option<u64>,
}

impl Node {
    pub(crate) fn record_rules(&self, _: &Request) -> Option<()> {
        None
    }

    pub(crate) fn new(_: NodeConfig, _: Draws, _: Guards, _: Observe) -> Node {
        Node::default()
    }

    pub(crate) fn is_ready(&self) -> bool {
        true
    }

    pub(crate) fn deadline(&self) -> Option<u64> {
        self.late.first().map(|(due, _)| *due)
    }

    pub(crate) fn step(&mut self, now: Now, event: Event, out: &mut Outbox<Command>) {
        match event {
            Event::Start => drop(self.disk(DiskOp::CreateDir { path: "data".into() }, out)),
            Event::Request { token, request } => {
                self.requests += 1;
                self.request(now, (token, request.id), &request.text, out);
            }
            Event::Gone { token } => {
                self.gone += 1;
                self.parked.retain(|(parked, _)| *parked != token);
            }
            Event::Answered { id, result } => self.answered(id.0, result, out),
            Event::DiskDone { id, result } => self.disk_done(id.0, &result, out),
            Event::Deadline => self.due(now, out),
            Event::Stop => {
                let op = DiskOp::Append { path: "data/stopped".into(), data: Bytes::from_static(b"in good order") };
                self.stopping = Some(self.disk(op, out));
            }
        }
    }

    fn request(&mut self, now: Now, asker: Asker, text: &str, out: &mut Outbox<Command>) {
        let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
        match verb {
            "echo" => reply(asker, rest, out),
            "size" => reply(asker, &"x".repeat(rest.parse().unwrap()), out),
            "park" => self.parked.push(asker),
            "release" => {
                self.parked.drain(..).for_each(|parked| reply(parked, "released", out));
                reply(asker, "ok", out);
            }
            "counts" => {
                let counts = format!("requests {} parked {} gone {}", self.requests, self.parked.len(), self.gone);
                reply(asker, &counts, out);
            }
            "late" => drop(self.late.insert((now.after_ms(rest.parse().unwrap()), asker))),
            "oneway" => out.push(Command::NoReply { token: asker.0 }),
            "close" => out.push(Command::Close { token: asker.0 }),
            "fatal" => out.push(Command::Fatal { message: "told to".into() }),
            "send" => self.send(asker, rest, out),
            "digits" => self.digits(asker, rest, out),
            _ => {
                let id = self.disk(disk_op(verb, rest), out);
                self.disk.insert(id, asker);
            }
        }
    }

    /// Ten appends in one step; the answer comes with the last one's.
    fn digits(&mut self, asker: Asker, path: &str, out: &mut Outbox<Command>) {
        let ids = (0..10u8).map(|digit| {
            let data = Bytes::from(vec![b'0' + digit]);
            self.disk(DiskOp::Append { path: path.into(), data }, out)
        });
        let last = ids.last().expect("there are ten");
        self.disk.insert(last, asker);
    }

    /// `host port timeout_ms text|text|…`: sends all in one step, and answers with the answers in the order in which they came.
    fn send(&mut self, asker: Asker, rest: &str, out: &mut Outbox<Command>) {
        let mut words = rest.splitn(4, ' ');
        let mut word = || words.next().expect("four words");
        let to = Endpoint::new(word(), word().parse().unwrap());
        let timeout_ms = word().parse().unwrap();
        let texts: Vec<&str> = word().split('|').collect();
        self.answers.insert(asker, (texts.len(), vec![]));
        for text in texts {
            self.next += 1;
            self.sends.insert(self.next, asker);
            let (id, request) = (SendId(self.next), OutRequest(text.into()));
            out.push(Command::Send { to: to.clone(), role: "test", id, request, timeout_ms });
        }
    }

    fn answered(&mut self, id: u64, result: Result<Bytes, SendError>, out: &mut Outbox<Command>) {
        let asker = self.sends.remove(&id).expect("one event for each send");
        let (wanted, answers) = self.answers.get_mut(&asker).expect("an asker waits");
        answers.push(match result {
            Ok(frame) => String::from_utf8(frame[4..].to_vec()).unwrap(),
            Err(error) => format!("{error:?}"),
        });
        if answers.len() == *wanted {
            reply(asker, &answers.join("|"), out);
            self.answers.remove(&asker);
        }
    }

    fn disk(&mut self, op: DiskOp, out: &mut Outbox<Command>) -> u64 {
        self.next += 1;
        out.push(Command::Disk { id: DiskId(self.next), op });
        self.next
    }

    fn disk_done(&mut self, id: u64, result: &DiskResult, out: &mut Outbox<Command>) {
        if let Some(asker) = self.disk.remove(&id) {
            reply(asker, &format!("{result:?}"), out);
        }
        if self.stopping == Some(id) {
            out.push(Command::Stopped);
        }
    }

    fn due(&mut self, now: Now, out: &mut Outbox<Command>) {
        while let Some((due, asker)) = self.late.first().copied().filter(|(due, _)| *due <= now.mono_ns) {
            self.late.remove(&(due, asker));
            reply(asker, "late", out);
        }
    }
}

fn reply((token, id): Asker, text: &str, out: &mut Outbox<Command>) {
    out.push(Command::Reply { token, response: Response { id, text: text.into() } });
}

fn disk_op(verb: &str, rest: &str) -> DiskOp {
    let (first, second) = rest.split_once(' ').unwrap_or((rest, ""));
    let (path, data) = (first.to_owned(), Bytes::from(second.to_owned()));
    match verb {
        "append" => DiskOp::Append { path, data },
        "write" => DiskOp::Write { path, data },
        "read" => DiskOp::Read { path, position: 0, len: 1 << 20 },
        "len" => DiskOp::Len { path },
        "list" => DiskOp::List { path },
        "truncate" => DiskOp::Truncate { path, len: second.parse().unwrap() },
        "sync" => DiskOp::Sync { path },
        "sync_dir" => DiskOp::SyncDir { path },
        "create_dir" => DiskOp::CreateDir { path },
        "remove_dir" => DiskOp::RemoveDir { path },
        "remove" => DiskOp::Remove { path },
        "rename" => DiskOp::Rename { from: path, to: second.to_owned() },
        _ => panic!("no such verb: {verb}"),
    }
}
