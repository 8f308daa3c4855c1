//! A world driven by hand: nodes wired to each other, disks in memory that answer at once, a clock that moves only when
//! nothing else is to be done.
#![allow(dead_code)]

use bytes::Bytes;
use klamm_base::{
    DiskError, DiskOp, DiskOut, DiskResult, Draws, Guards, NodeId, Now, Observe, Outbox, Properties, Source,
};
use klamm_node::{Command, Event, Node, NodeConfig, SendError, SendId, Token, decode_request};
use klamm_wire::frame::LENGTH;
use klamm_wire::{ApiKey, Message, RequestHeader, response_header_decode, response_header_encode};
use std::collections::{BTreeMap, BTreeSet};

/// What a client's request came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    Reply(Bytes),
    NoReply,
    Closed,
}

/// Whose request a token is.
#[derive(Clone, Copy, Debug)]
enum Asker {
    Client,
    Node(i32, SendId),
}

/// What keeps its order: one node's disk, what one node sends to another, what clients and the driver do to a node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Channel {
    Disk(i32),
    Wire(i32, i32),
    Client(i32),
}

struct Machine {
    properties: Properties,
    node: Option<Node>,
    /// Steps of this process; events of an older one are void.
    life: u64,
    files: BTreeMap<String, Vec<u8>>,
    dirs: BTreeSet<String>,
    /// What the process asked of its disk, as kind and path, since somebody cleared it.
    asked: Vec<String>,
    /// Operations below these paths fail, and those that are described so.
    broken: BTreeSet<String>,
    /// Operations below this path never end.
    stuck: Option<String>,
    stopped: bool,
    fatal: Option<String>,
}

pub struct World {
    guards: Guards,
    machines: BTreeMap<i32, Machine>,
    /// By the instant at which it arrives.
    queue: BTreeMap<(u64, u64), (i32, u64, Event)>,
    /// Delays of up to 3 ms; without it all arrives at once.
    pub jitter: Option<Draws>,
    /// The last arrival of each channel, which keeps its order.
    arrivals: BTreeMap<Channel, u64>,
    posted: u64,
    open: BTreeMap<u64, (i32, Asker)>,
    /// Requests whose node has not yet heard that nobody waits for them.
    unheard: BTreeSet<u64>,
    pub outcomes: BTreeMap<u64, Outcome>,
    /// Requests between these are swallowed: from, to.
    pub cut: BTreeSet<(i32, i32)>,
    /// When a swallowed request is given up.
    given_up: BTreeSet<(u64, i32, u64, SendId)>,
    /// Batches are checked before the step, as a driver does it, or in the step.
    pub checks_before: bool,
    pub now_ns: u64,
    next_token: u64,
    lives: u64,
    /// Alarms since the clock moved.
    alarms: u32,
}

const START_MS: i64 = 1_767_225_600_000;

impl World {
    /// Nodes 1 to `brokers`; the first is the controller too when `combined`, else node 9 is the controller.
    pub fn new(brokers: i32, combined: bool, more: &[(&str, &str)]) -> World {
        World::guarded(brokers, combined, more, Guards::default())
    }

    pub fn guarded(brokers: i32, combined: bool, more: &[(&str, &str)], guards: Guards) -> World {
        let mut world = World {
            guards,
            machines: BTreeMap::new(),
            queue: BTreeMap::new(),
            jitter: None,
            arrivals: BTreeMap::new(),
            posted: 0,
            open: BTreeMap::new(),
            unheard: BTreeSet::new(),
            outcomes: BTreeMap::new(),
            cut: BTreeSet::new(),
            checks_before: true,
            given_up: BTreeSet::new(),
            now_ns: 1_000_000_000,
            next_token: 1,
            lives: 0,
            alarms: 0,
        };
        let controller = if combined { 1 } else { 9 };
        for id in (1..=brokers).chain((!combined).then_some(9)) {
            let role = match (id == controller, combined) {
                (true, true) => "broker,controller",
                (true, false) => "controller",
                _ => "broker",
            };
            let mut properties = Properties::new();
            let mut set = |key: &str, value: String| properties.insert(key.to_owned(), value);
            set("node.id", id.to_string());
            set("process.roles", role.to_owned());
            set("listeners", format!("PLAINTEXT://n{id}:9092"));
            set("controller.quorum.voters", format!("{controller}@n{controller}:9092"));
            set("log.dirs", "data".to_owned());
            for (key, value) in more {
                set(key, (*value).to_owned());
            }
            let machine = Machine {
                properties,
                node: None,
                life: 0,
                files: BTreeMap::new(),
                dirs: BTreeSet::new(),
                asked: Vec::new(),
                broken: BTreeSet::new(),
                stuck: None,
                stopped: false,
                fatal: None,
            };
            world.machines.insert(id, machine);
            world.start(id);
        }
        world
    }

    pub fn start(&mut self, id: i32) {
        self.lives += 1;
        let life = self.lives;
        let machine = self.machines.get_mut(&id).expect("a machine");
        let config = NodeConfig::from_properties(&machine.properties).expect("a good configuration");
        let draws = Draws::named(life, "node");
        let observe = Observe::nobody(Source::Node(NodeId(id)));
        machine.node = Some(Node::new(config, draws, self.guards, observe));
        machine.life = life;
        machine.stopped = false;
        self.post(id, Event::Start);
    }

    /// The process ends at once; its files stay.
    pub fn kill(&mut self, id: i32) {
        self.machines.get_mut(&id).expect("a machine").node = None;
        let gone: Vec<u64> = self.open.iter().filter(|(_, (to, _))| *to == id).map(|(token, _)| *token).collect();
        for token in gone {
            if let Some((_, asker)) = self.open.remove(&token) {
                self.lost(token, asker);
            }
        }
        let asked: Vec<(u64, i32)> = self
            .open
            .iter()
            .filter(|(_, (_, asker))| matches!(asker, Asker::Node(from, _) if *from == id))
            .map(|(token, (to, _))| (*token, *to))
            .collect();
        for (token, to) in asked {
            self.open.remove(&token);
            self.gone(Channel::Wire(id, to), to, token);
        }
    }

    pub fn stop(&mut self, id: i32) {
        self.post(id, Event::Stop);
    }

    pub fn has_stopped(&self, id: i32) -> bool {
        self.machines[&id].stopped
    }

    pub fn fatal(&self, id: i32) -> Option<&str> {
        self.machines[&id].fatal.as_deref()
    }

    pub fn files(&mut self, id: i32) -> &mut BTreeMap<String, Vec<u8>> {
        &mut self.machines.get_mut(&id).expect("a machine").files
    }

    /// Other settings for a node's next start.
    pub fn configure(&mut self, id: i32, settings: &[(&str, &str)]) {
        let properties = &mut self.machines.get_mut(&id).expect("a machine").properties;
        properties.extend(settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    }

    /// What a node asked of its disk since the last call.
    pub fn asked(&mut self, id: i32) -> Vec<String> {
        std::mem::take(&mut self.machines.get_mut(&id).expect("a machine").asked)
    }

    /// From now on every operation below this path fails, or the one that is described so.
    pub fn break_disk(&mut self, id: i32, what: &str) {
        self.machines.get_mut(&id).expect("a machine").broken.insert(what.to_owned());
    }

    pub fn mend_disk(&mut self, id: i32) {
        self.machines.get_mut(&id).expect("a machine").broken.clear();
    }

    /// Operations below `path` do not end, until another call says otherwise.
    pub fn stall_disk(&mut self, id: i32, path: Option<&str>) {
        self.machines.get_mut(&id).expect("a machine").stuck = path.map(str::to_owned);
    }

    pub fn is_up(&self, id: i32) -> bool {
        self.machines[&id].node.is_some()
    }

    pub fn node(&self, id: i32) -> &Node {
        self.machines[&id].node.as_ref().expect("it runs")
    }

    fn lost(&mut self, token: u64, asker: Asker) {
        match asker {
            Asker::Client => {
                self.outcomes.insert(token, Outcome::Closed);
            }
            Asker::Node(from, id) => {
                self.post(from, Event::Answered { id, result: Err(SendError::Disconnected) });
            }
        }
    }

    fn post(&mut self, to: i32, event: Event) {
        self.post_over(Channel::Client(to), to, event);
    }

    fn post_over(&mut self, channel: Channel, to: i32, event: Event) {
        let life = self.machines[&to].life;
        self.post_to_life(channel, to, life, event);
    }

    fn post_to_life(&mut self, channel: Channel, to: i32, life: u64, event: Event) {
        let delay = self.jitter.as_mut().map_or(0, |draws| draws.below(3_000_000));
        let after = self.arrivals.get(&channel).copied().unwrap_or(0);
        let at = (self.now_ns + delay).max(after);
        self.arrivals.insert(channel, at);
        self.posted += 1;
        self.queue.insert((at, self.posted), (to, life, event));
    }

    /// The wall clock that all nodes have.
    pub fn wall_ms(&self) -> i64 {
        START_MS + (self.now_ns / 1_000_000) as i64
    }

    /// Hands a client's request to a node; its token.
    pub fn ask<M: Message>(&mut self, to: i32, body: &M, version: i16) -> u64 {
        self.ask_frame(to, frame(body, version))
    }

    pub fn ask_frame(&mut self, to: i32, frame: Bytes) -> u64 {
        let token = self.next_token;
        self.next_token += 1;
        let mut request = decode_request(frame).expect("a good request");
        let node = self.machines[&to].node.as_ref().filter(|_| self.checks_before);
        if let Some(rules) = node.and_then(|node| node.record_rules(&request)) {
            request.check_records(rules, self.wall_ms());
        }
        self.open.insert(token, (to, Asker::Client));
        match self.machines[&to].node {
            Some(_) => self.post(to, Event::Request { token: Token(token), request }),
            None => {
                self.open.remove(&token);
                self.lost(token, Asker::Client);
            }
        }
        token
    }

    /// The client of this request went away.
    pub fn hang_up(&mut self, token: u64) {
        let (to, _) = self.open.remove(&token).expect("an open request");
        self.gone(Channel::Client(to), to, token);
    }

    /// The node hears of it behind what the connection brought before.
    fn gone(&mut self, channel: Channel, to: i32, token: u64) {
        self.unheard.insert(token);
        self.post_over(channel, to, Event::Gone { token: Token(token) });
    }

    /// Asks and runs until the answer comes.
    pub fn call<M: Message, R: Message>(&mut self, to: i32, body: &M, version: i16) -> R {
        let token = self.ask(to, body, version);
        self.answer(token, version)
    }

    /// Runs until the answer comes.
    pub fn answer<R: Message>(&mut self, token: u64, version: i16) -> R {
        self.until(60_000, "an answer", |world| world.outcomes.contains_key(&token));
        match self.outcomes.remove(&token) {
            Some(Outcome::Reply(frame)) => read(frame, version),
            other => panic!("an answer was expected, not {other:?}"),
        }
    }

    /// Runs until `done`, or panics after `ms` of the world's time.
    pub fn until(&mut self, ms: u64, what: &str, mut done: impl FnMut(&World) -> bool) {
        let end = self.now_ns + ms * 1_000_000;
        while !done(self) {
            assert!(self.now_ns < end, "no {what} within {ms} ms");
            self.turn(end);
        }
    }

    /// Runs for so long.
    pub fn run(&mut self, ms: u64) {
        let end = self.now_ns + ms * 1_000_000;
        while self.now_ns < end || self.queue.first_key_value().is_some_and(|((at, _), _)| *at <= end) {
            self.turn(end);
        }
    }

    /// All that can be done without the clock moving.
    pub fn settle(&mut self) {
        while !self.queue.is_empty() {
            self.turn(self.now_ns);
        }
    }

    /// One event, or the clock's next instant.
    fn turn(&mut self, end: u64) {
        let first = self.queue.first_key_value().map(|(key, _)| *key);
        if let Some(key) = first.filter(|(at, _)| *at <= self.now_ns) {
            let (id, life, event) = self.queue.remove(&key).expect("it is the first");
            self.step(id, life, event);
            return;
        }
        let due = self.machines.values().filter_map(|m| m.node.as_ref()?.deadline());
        let give_up = self.given_up.first().map(|(at, ..)| *at);
        let due = due.chain(give_up).chain(first.map(|(at, _)| at)).min();
        let before = self.now_ns;
        self.now_ns = due.unwrap_or(end).clamp(self.now_ns, end.max(self.now_ns));
        self.alarms = if self.now_ns == before { self.alarms + 1 } else { 0 };
        assert!(self.alarms < 10_000, "a deadline stays in the past, however often a node is told");
        self.alarms();
    }

    /// What is due at this instant by the clock.
    fn alarms(&mut self) {
        let now = self.now_ns;
        while let Some((at, from, life, id)) = self.given_up.first().copied().filter(|(at, ..)| *at <= now) {
            self.given_up.remove(&(at, from, life, id));
            let event = Event::Answered { id, result: Err(SendError::TimedOut) };
            self.post_to_life(Channel::Client(from), from, life, event);
        }
        let late = |m: &Machine| m.node.as_ref().and_then(Node::deadline).is_some_and(|at| at <= now);
        let late: Vec<(i32, u64)> =
            self.machines.iter().filter(|(_, m)| late(m)).map(|(id, m)| (*id, m.life)).collect();
        for (id, life) in late {
            self.step(id, life, Event::Deadline);
        }
    }

    fn step(&mut self, id: i32, life: u64, event: Event) {
        let now = Now { mono_ns: self.now_ns, wall_ms: self.wall_ms() };
        let machine = self.machines.get_mut(&id).expect("a machine");
        let Some(node) = machine.node.as_mut().filter(|_| machine.life == life) else { return };
        if let Event::Gone { token } = event {
            self.unheard.remove(&token.0);
        }
        let mut out = Outbox::new();
        node.step(now, event, &mut out);
        for command in out.drain() {
            self.perform(id, command);
        }
    }

    fn perform(&mut self, id: i32, command: Command) {
        match command {
            Command::Disk { id: disk, op } => {
                let machine = self.machines.get_mut(&id).expect("a machine");
                machine.asked.push(described(&op));
                if machine.stuck.as_deref().is_some_and(|path| is_below(op.path(), path)) {
                    return;
                }
                let result = machine.disk(op);
                self.post_over(Channel::Disk(id), id, Event::DiskDone { id: disk, result });
            }
            Command::Send { to, id: send, request, timeout_ms, .. } => {
                let target: i32 = to.host.trim_start_matches('n').parse().expect("a node's host name");
                self.deliver(id, target, send, request.encode(7).slice(LENGTH..), timeout_ms);
            }
            Command::Reply { token, response } => {
                self.replied(token, Outcome::Reply(response.encode().slice(LENGTH..)))
            }
            Command::NoReply { token } => self.replied(token, Outcome::NoReply),
            Command::Close { token } => self.replied(token, Outcome::Closed),
            Command::Fatal { message } => {
                self.machines.get_mut(&id).expect("a machine").fatal = Some(message);
                self.kill(id);
            }
            Command::Stopped => {
                self.machines.get_mut(&id).expect("a machine").stopped = true;
                self.kill(id);
            }
        }
    }

    fn deliver(&mut self, from: i32, to: i32, send: SendId, frame: Bytes, timeout_ms: u64) {
        if self.cut.contains(&(from, to)) {
            let life = self.machines[&from].life;
            self.given_up.insert((self.now_ns + timeout_ms * 1_000_000, from, life, send));
            return;
        }
        let up = self.machines.get(&to).is_some_and(|machine| machine.node.is_some());
        if !up {
            return self.post(from, Event::Answered { id: send, result: Err(SendError::NotConnected) });
        }
        let token = self.next_token;
        self.next_token += 1;
        let request = decode_request(frame).expect("nodes speak well");
        self.open.insert(token, (to, Asker::Node(from, send)));
        self.post_over(Channel::Wire(from, to), to, Event::Request { token: Token(token), request });
    }

    fn replied(&mut self, token: Token, outcome: Outcome) {
        match self.open.remove(&token.0) {
            None if self.unheard.contains(&token.0) => {}
            None => panic!("a reply to a request that is not open: {token:?}"),
            Some((_, Asker::Client)) => {
                self.outcomes.insert(token.0, outcome);
            }
            Some((to, Asker::Node(from, id))) => {
                let result = match outcome {
                    Outcome::Reply(frame) => Ok(frame),
                    _ => Err(SendError::Disconnected),
                };
                self.post_over(Channel::Wire(to, from), from, Event::Answered { id, result });
            }
        }
    }
}

impl Machine {
    fn disk(&mut self, op: DiskOp) -> DiskResult {
        let missing = |path: &str| DiskError::NotFound { path: path.to_owned() };
        if self.broken.iter().any(|broken| is_below(op.path(), broken) || described(&op) == *broken) {
            return Err(DiskError::Io { path: op.path().to_owned(), message: "the device is gone".to_owned() });
        }
        match op {
            DiskOp::CreateDir { path } => {
                self.dirs.insert(path);
            }
            DiskOp::RemoveDir { path } => {
                let inside = format!("{path}/");
                self.files.retain(|name, _| !name.starts_with(&inside));
                self.dirs.remove(&path);
            }
            DiskOp::List { path } => {
                let inside = format!("{path}/");
                let names = self.files.keys().chain(&self.dirs).filter_map(|name| name.strip_prefix(&inside));
                let names: BTreeSet<String> = names.filter(|n| !n.contains('/')).map(str::to_owned).collect();
                return Ok(DiskOut::Names(names.into_iter().collect()));
            }
            DiskOp::Len { path } => {
                return self.files.get(&path).map(|f| DiskOut::Len(f.len() as u64)).ok_or_else(|| missing(&path));
            }
            DiskOp::Append { path, data } => self.files.entry(path).or_default().extend_from_slice(&data),
            DiskOp::Write { path, data } => {
                self.files.insert(path, data.to_vec());
            }
            DiskOp::Read { path, position, len } => {
                let file = self.files.get(&path).ok_or_else(|| missing(&path))?;
                let from = (position as usize).min(file.len());
                let to = (from + len as usize).min(file.len());
                return Ok(DiskOut::Data(Bytes::copy_from_slice(&file[from..to])));
            }
            DiskOp::Truncate { path, len } => {
                self.files.get_mut(&path).ok_or_else(|| missing(&path))?.truncate(len as usize);
            }
            DiskOp::Sync { path } => {
                self.files.get(&path).ok_or_else(|| missing(&path))?;
            }
            DiskOp::SyncDir { .. } => {}
            DiskOp::Rename { from, to } => {
                self.rename(&from, &to).ok_or_else(|| missing(&from))?;
            }
            DiskOp::Remove { path } => {
                self.files.remove(&path);
            }
        }
        Ok(DiskOut::Done)
    }
}

impl Machine {
    /// Renames a file, or a directory with all it holds.
    fn rename(&mut self, from: &str, to: &str) -> Option<()> {
        if let Some(file) = self.files.remove(from) {
            self.files.insert(to.to_owned(), file);
            return Some(());
        }
        let inside = format!("{from}/");
        let names: Vec<String> = self.files.keys().filter(|name| name.starts_with(&inside)).cloned().collect();
        for name in names {
            let file = self.files.remove(&name).expect("it was just there");
            self.files.insert(format!("{to}/{}", &name[inside.len()..]), file);
        }
        self.dirs.remove(from).then(|| _ = self.dirs.insert(to.to_owned()))
    }
}

/// `Rename data/x.tmp`
fn described(op: &DiskOp) -> String {
    let text = format!("{op:?}");
    let kind = text.split([' ', '{']).next().unwrap_or_default();
    format!("{kind} {}", op.path())
}

fn is_below(path: &str, dir: &str) -> bool {
    path.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A request frame without its length.
pub fn frame<M: Message>(body: &M, version: i16) -> Bytes {
    let api_key = ApiKey::from_code(M::API_KEY).expect("a known API");
    let header = RequestHeader { api_key, api_version: version, correlation_id: 7, client_id: Some("test".into()) };
    let mut buf = Vec::new();
    header.encode(&mut buf);
    body.encode(&mut buf, version);
    Bytes::from(buf)
}

/// Reads a response frame.
pub fn read<R: Message>(mut frame: Bytes, version: i16) -> R {
    let api = ApiKey::from_code(R::API_KEY).expect("a known API");
    assert_eq!(response_header_decode(&mut frame, api, version), Ok(7));
    let body = R::decode(&mut frame, version).expect("a good response");
    assert!(frame.is_empty(), "nothing follows a response");
    body
}

/// A response frame, for answers that a test invents.
pub fn response<R: Message>(body: &R, version: i16) -> Bytes {
    let mut buf = Vec::new();
    response_header_encode(&mut buf, ApiKey::from_code(R::API_KEY).expect("a known API"), version, 7);
    body.encode(&mut buf, version);
    Bytes::from(buf)
}

pub mod client;
