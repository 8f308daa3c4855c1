//! How a connection comes to be: question, answer, and the third part that rides with the first bytes. Lost questions are
//! asked again after 1, 2, 4 … seconds, as TCP does, until the connect time-out.

use super::conn::{Conn, EndId, Segment};
use super::flow::Attempt;
use super::link::HEADER_BYTES;
use crate::event::LinkState;
use crate::slab::Id;
use crate::timer::Event;
use crate::trace::Kind;
use crate::world::Inner;
use klamm_env::Address;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::task::Waker;

const FIRST_RETRY_NS: u64 = 1_000_000_000;

/// A connect under way.
#[derive(Debug)]
pub(crate) struct Connecting {
    from: u32,
    pub to: u32,
    pub port: u16,
    pub role: &'static str,
    deadline: u64,
    retry_ns: u64,
    pub outcome: Option<Result<Id, ErrorKind>>,
    pub waker: Option<Waker>,
}

impl Connecting {
    /// No answer yet.
    pub fn is_waiting(&self) -> bool {
        self.outcome.is_none()
    }
}

/// What becomes of connects to a host, whoever listens there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Listening {
    /// What its listeners make of them.
    #[default]
    Normal,
    /// Refused with an RST, as by a firewall that rejects, although somebody listens.
    Refuse,
    /// Never answered, as by a firewall that drops, or a queue that stays full.
    Silent,
}

/// One listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListenId {
    pub host: u32,
    pub port: u16,
    token: u64,
}

/// A port that somebody listens on.
#[derive(Debug)]
pub(crate) struct Port {
    /// Tells this listener from one that had the port before.
    pub token: u64,
    /// Established and not yet accepted.
    pub queue: VecDeque<Id>,
    pub waker: Option<Waker>,
}

impl Inner {
    /// Listens on a port of a host; 0 takes a free one.
    pub fn listen(&mut self, host: u32, port: u16) -> Result<ListenId, ErrorKind> {
        if !self.may_act(host) {
            return Err(ErrorKind::NetworkDown);
        }
        let port = if port == 0 { self.free_port(host) } else { port };
        if self.net.ports.contains_key(&(host, port)) {
            return Err(ErrorKind::AddrInUse);
        }
        self.net.next_token += 1;
        let token = self.net.next_token;
        self.net.ports.insert((host, port), Port { token, queue: VecDeque::new(), waker: None });
        self.trace.note(self.now, Kind::Connect, [u64::from(host), u64::from(port), 0], || {
            format!("listen {}:{port}", self.machines[host as usize].name)
        });
        Ok(ListenId { host, port, token })
    }

    fn free_port(&mut self, host: u32) -> u16 {
        loop {
            let machine = &mut self.machines[host as usize];
            let port = machine.next_port;
            machine.next_port = if port == u16::MAX { 32_768 } else { port + 1 };
            if !self.net.ports.contains_key(&(host, port)) {
                return port;
            }
        }
    }

    /// A listener is dropped.
    pub fn unlisten(&mut self, id: ListenId) {
        if self.net.ports.get(&(id.host, id.port)).is_some_and(|port| port.token == id.token) {
            self.close_port(id.host, id.port);
        }
    }

    /// Nobody listens there any more; who waits to be accepted gets an RST.
    fn close_port(&mut self, host: u32, port: u16) {
        let Some(port) = self.net.ports.remove(&(host, port)) else { return };
        self.wakers.extend(port.waker);
        for conn in port.queue {
            self.close(EndId { conn, side: 1 }, true);
        }
    }

    /// The next connection of a listener, and who connected.
    pub fn accept(&mut self, id: ListenId, waker: &Waker) -> Attempt<(Id, Address)> {
        let port = self.net.ports.get_mut(&(id.host, id.port)).filter(|port| port.token == id.token);
        let Some(port) = port else { return Ok(Err(ErrorKind::NotConnected.into())) };
        let Some(conn) = port.queue.pop_front() else { return Err(port.waker.replace(waker.clone())) };
        let peer = self.net.conns.get(conn).expect("a connection that waits to be accepted").ends[0].address.clone();
        Ok(Ok((conn, peer)))
    }

    /// Asks for a connection.
    pub fn connect(&mut self, from: u32, to: &Address, role: &'static str) -> Result<Id, ErrorKind> {
        if !self.may_act(from) {
            return Err(ErrorKind::NetworkDown);
        }
        let host = self.resolve(from, &to.host).ok_or(ErrorKind::NotFound)?;
        let deadline = self.now.saturating_add(self.net.profile.connect_timeout_ns);
        let connecting = Connecting {
            from,
            to: host,
            port: to.port,
            role,
            deadline,
            retry_ns: FIRST_RETRY_NS,
            outcome: None,
            waker: None,
        };
        let id = self.net.connects.insert_with(|_| connecting);
        let port = u64::from(to.port);
        self.trace.note(self.now, Kind::Connect, [u64::from(from), u64::from(host), port], || {
            format!("{} > {}:{port} {role}", self.machines[from as usize].name, self.machines[host as usize].name)
        });
        self.ask(id);
        Ok(id)
    }

    /// Sends the question, and sets the time of the next.
    fn ask(&mut self, id: Id) {
        let now = self.now;
        let connecting = self.net.connects.get_mut(id).expect("a connect under way");
        let (from, to) = (connecting.from, connecting.to);
        let again = now.saturating_add(connecting.retry_ns).min(connecting.deadline);
        connecting.retry_ns = connecting.retry_ns.saturating_mul(2);
        self.timers.push(again, Event::SynAgain(id));
        if self.reaches(from, to) {
            self.send_question(id, from, to, now);
        } else if self.net.link(from, to).state == LinkState::Reset && self.reaches(to, from) {
            let there = self.net.link(from, to).carry(now, now, HEADER_BYTES);
            let back = self.net.link(to, from).carry(now, now, HEADER_BYTES);
            if let (Some(there), Some(back)) = (there, back) {
                self.timers.push(there.arrives + (back.arrives - now), Event::SynAnswer(id, false));
            }
        }
    }

    fn send_question(&mut self, id: Id, from: u32, to: u32, departs: u64) {
        let now = self.now;
        if let Some(carried) = self.net.link(from, to).carry(now, departs, HEADER_BYTES) {
            self.timers.push(carried.arrives, Event::Syn(id));
        }
    }

    /// A direction that only stalled is up again: questions and answers that waited for it go on.
    pub fn release_connects(&mut self, from: u32, to: u32) {
        let now = self.now;
        let waited = |c: &Connecting| c.is_waiting() && [(c.from, c.to), (c.to, c.from)].contains(&(from, to));
        for id in self.net.connects.ids(waited) {
            let connecting = self.net.connects.get(id).expect("a connect under way");
            let (from, to) = (connecting.from, connecting.to);
            if self.reaches(from, to) {
                let link = self.net.link(from, to);
                let departs = now + link.retransmission_delay(now, link.down_since);
                self.send_question(id, from, to, departs);
            }
        }
    }

    /// No answer for a while.
    pub fn syn_again(&mut self, id: Id) {
        let connecting = self.net.connects.get(id).expect("a connect under way");
        if self.now >= connecting.deadline {
            self.answer(id, Err(ErrorKind::TimedOut));
        } else {
            self.ask(id);
        }
    }

    /// The question arrives. A machine without power, or a full queue, gives no answer.
    pub fn syn(&mut self, id: Id) {
        let connecting = self.net.connects.get(id).expect("a connect under way");
        let (from, to, port) = (connecting.from, connecting.to, connecting.port);
        let backlog = self.net.profile.backlog as usize;
        let listener = self.net.ports.get(&(to, port));
        let listening = self.net.listening.get(&to).copied().unwrap_or_default();
        let is_full = listener.is_some_and(|listener| listener.queue.len() >= backlog);
        let accepted = listener.is_some() && listening != Listening::Refuse;
        let is_silent = (accepted && is_full) || listening == Listening::Silent;
        self.trace.note(self.now, Kind::Syn, [u64::from(from), u64::from(to), u64::from(accepted)], || {
            let names = [from, to].map(|host| &self.machines[host as usize].name);
            format!("{} > {}:{port} {}", names[0], names[1], if accepted { "accepted" } else { "refused" })
        });
        if self.machines[to as usize].powered && !is_silent && self.reaches(to, from) {
            let now = self.now;
            if let Some(carried) = self.net.link(to, from).carry(now, now, HEADER_BYTES) {
                self.timers.push(carried.arrives, Event::SynAnswer(id, accepted));
            }
        }
    }

    /// The answer arrives.
    pub fn syn_answer(&mut self, id: Id, accepted: bool) {
        let connecting = self.net.connects.get(id).expect("a connect under way");
        let (from, to, port, role) = (connecting.from, connecting.to, connecting.port, connecting.role);
        self.trace.note(self.now, Kind::Syn, [u64::from(to), u64::from(from), 2 | u64::from(accepted)], || {
            let names = [to, from].map(|host| &self.machines[host as usize].name);
            format!("{}:{port} > {} {}", names[0], names[1], if accepted { "established" } else { "refused" })
        });
        if !accepted {
            return self.answer(id, Err(ErrorKind::ConnectionRefused));
        }
        let client = Address { host: self.machines[from as usize].name.clone(), port: self.free_port(from) };
        let server = Address { host: self.machines[to as usize].name.clone(), port };
        let mut conn = Box::new(Conn::new(role, client, from, server, to));
        conn.ends[0].accepted = true;
        let conn = self.net.conns.insert_with(|_| conn);
        self.send(EndId { conn, side: 0 }, Segment::Open);
        self.strike_new(conn);
        self.watch_idle(EndId { conn, side: 0 });
        self.answer(id, Ok(conn));
    }

    fn answer(&mut self, id: Id, outcome: Result<Id, ErrorKind>) {
        let connecting = self.net.connects.get_mut(id).expect("a connect under way");
        connecting.outcome = Some(outcome);
        let waker = connecting.waker.take();
        self.wakers.extend(waker);
    }

    /// The third part of the handshake arrives: the connection may be accepted, if somebody still listens.
    pub fn deliver_open(&mut self, at: EndId) {
        self.note(Kind::Syn, at, 0, 0);
        let conn = self.net.conns.get_mut(at.conn).expect("a connection that is in use");
        let end = &mut conn.ends[1];
        end.accepted = true;
        let place = (end.host, end.address.port);
        match self.net.ports.get_mut(&place).filter(|_| end.open) {
            Some(port) => {
                port.queue.push_back(at.conn);
                self.wakers.extend(port.waker.take());
                self.watch_idle(EndId { conn: at.conn, side: 1 });
            }
            None => {
                end.open = false;
                conn.halves[0].discard();
                self.refuse(at);
            }
        }
    }

    /// What came of a connect, if anything has.
    pub fn poll_connect(&mut self, id: Id, waker: &Waker) -> Attempt<Id> {
        let Some(connecting) = self.net.connects.get_mut(id) else { return Ok(Err(ErrorKind::NetworkDown.into())) };
        let Some(outcome) = connecting.outcome else { return Err(connecting.waker.replace(waker.clone())) };
        self.net.connects.remove(id);
        Ok(outcome.map_err(Into::into))
    }

    /// Nobody wants the connection any more.
    pub fn cancel_connect(&mut self, id: Id) -> Option<Waker> {
        let connecting = self.net.connects.remove(id)?;
        if let Some(Ok(conn)) = connecting.outcome {
            self.close(EndId { conn, side: 0 }, true);
        }
        connecting.waker
    }

    /// Ends all connects of a host; their futures are about to be dropped, or wait for ever.
    pub fn end_connects(&mut self, host: u32) {
        for id in self.net.connects.ids(|connecting| connecting.from == host) {
            let waker = self.cancel_connect(id);
            self.wakers.extend(waker);
        }
    }

    /// Stops listening on all ports of a host. With power, who waits to be accepted gets an RST.
    pub fn close_ports(&mut self, host: u32) {
        let ports: Vec<u16> = self.net.ports.range((host, 0)..=(host, u16::MAX)).map(|((_, port), _)| *port).collect();
        for port in ports {
            self.close_port(host, port);
        }
    }
}
