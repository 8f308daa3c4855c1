//! Byte streams over directed links. [`link`] is what a direction does to a segment, [`conn`] what a connection is,
//! [`flow`] how bytes go along it, [`connect`] how it comes to be, [`faults`] what breaks it, [`stream`] what code sees.

mod conn;
mod connect;
mod faults;
mod flow;
mod link;
pub(crate) mod stream;
mod waits;

use crate::slab::{Id, Slab};
use conn::Conn;
use connect::{Connecting, Port};
use link::Link;
use std::collections::BTreeMap;

/// How long a segment takes over one direction of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency {
    /// The fastest segment, nanoseconds.
    pub min_ns: u64,
    /// The slowest segment, nanoseconds; drawn evenly between the two.
    pub max_ns: u64,
    /// Bytes a second that the direction carries; 0 is without limit.
    pub bytes_per_second: u64,
    /// Segments lost in a million. TCP sends them again: they arrive one retransmission time-out (200 ms) later.
    pub loss_ppm: u32,
}

impl Latency {
    /// Between `min_ns` and `max_ns`, without a limit of bandwidth and without loss.
    pub const fn between(min_ns: u64, max_ns: u64) -> Self {
        Self { min_ns, max_ns, bytes_per_second: 0, loss_ppm: 0 }
    }

    /// Always `ns`.
    pub const fn fixed(ns: u64) -> Self {
        Self::between(ns, ns)
    }
}

/// What the network is like where nothing else was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetProfile {
    /// Of every direction between two hosts.
    pub latency: Latency,
    /// Of a host to itself.
    pub loopback: Latency,
    /// After which a connect without an answer fails with `TimedOut`, nanoseconds.
    pub connect_timeout_ns: u64,
    /// Bytes of one direction of a stream that may be written and not yet read.
    pub window: u32,
    /// After which a stream whose bytes nobody acknowledges dies with `TimedOut`, nanoseconds.
    pub retransmit_limit_ns: u64,
    /// Connections that wait to be accepted on one port; more get no answer.
    pub backlog: u32,
}

impl Default for NetProfile {
    fn default() -> Self {
        Self {
            latency: Latency::between(150_000, 500_000),
            loopback: Latency::between(8_000, 20_000),
            connect_timeout_ns: 10_000_000_000,
            window: 65_536,
            retransmit_limit_ns: 30_000_000_000,
            backlog: 128,
        }
    }
}

/// Everything between hosts.
pub(crate) struct Net {
    seed: u64,
    profile: NetProfile,
    /// By sender, then receiver; made when first used.
    links: Vec<Vec<Option<Box<Link>>>>,
    pub conns: Slab<Box<Conn>>,
    connects: Slab<Connecting>,
    ports: BTreeMap<(u32, u16), Port>,
    next_token: u64,
}

impl Net {
    /// No links yet.
    pub fn new(seed: u64, profile: NetProfile) -> Self {
        Self {
            seed,
            profile,
            links: vec![],
            conns: Slab::new(),
            connects: Slab::new(),
            ports: BTreeMap::new(),
            next_token: 0,
        }
    }

    /// The direction between two hosts, or of a host to itself.
    fn link(&mut self, from: u32, to: u32) -> &mut Link {
        let (from, to) = (from as usize, to as usize);
        if self.links.len() <= from {
            self.links.resize_with(from + 1, Vec::new);
        }
        let row = &mut self.links[from];
        if row.len() <= to {
            row.resize_with(to + 1, || None);
        }
        let latency = if from == to { self.profile.loopback } else { self.profile.latency };
        row[to].get_or_insert_with(|| Box::new(Link::new(self.seed, from as u32, to as u32, latency)))
    }

    /// Whether a connect still waits for its answer.
    pub fn is_connecting(&self, id: Id) -> bool {
        self.connects.get(id).is_some_and(Connecting::is_waiting)
    }

    /// Whether that side has waited for an acknowledgement as long as it will, at that time.
    pub fn is_overdue(&self, id: Id, side: u8, at: u64) -> bool {
        let since = self.conns.get(id).and_then(|conn| conn.halves[side as usize].unacked_since);
        since.is_some_and(|since| since + self.profile.retransmit_limit_ns <= at)
    }
}
