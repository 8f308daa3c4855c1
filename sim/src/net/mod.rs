//! Byte streams over directed links. [`profile`] and [`latency`] say what a direction is like, [`topology`] where hosts stand,
//! [`link`] is what a direction does to a segment, [`conn`] what a connection is, [`flow`] how bytes go along it, [`loss`] what
//! becomes of those that do not arrive, [`connect`] how a connection comes to be, [`faults`] what breaks links and hosts,
//! [`conn_faults`] what breaks one connection, [`keep_alive`] how an idle end finds out, [`stage`] what the stage may ask for,
//! [`stream`] what code sees.

mod conn;
mod conn_faults;
mod connect;
mod errors;
mod faults;
mod flow;
mod keep_alive;
mod latency;
mod link;
mod loss;
mod profile;
mod ring;
mod stage;
pub(crate) mod stream;
mod topology;
mod waits;

pub use conn_faults::{ConnectionFault, ConnectionFaultId, ConnectionMatch};
pub use connect::Listening;
pub use errors::NetError;
pub use latency::Latency;
pub use profile::{KeepAlive, LinkProfile, NetProfile};
pub use topology::{Site, Topology};

use crate::ctx;
use crate::slab::{Id, Slab};
use conn::Conn;
use conn_faults::ConnFaults;
use connect::{Connecting, Port};
use link::Link;
use std::collections::BTreeMap;

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
    topology: Option<Box<Topology>>,
    /// What is wrong with single connections.
    faults: ConnFaults,
    /// Hosts on whose ports nobody can connect as usual.
    listening: BTreeMap<u32, Listening>,
    /// Some direction has, or had, partial reads and writes.
    splits: bool,
    /// So many directions answer with RST.
    resetting: u32,
}

impl Net {
    /// No links yet.
    pub fn new(seed: u64, profile: NetProfile) -> Self {
        let splits = profile.link.partial_ppm > 0 || profile.loopback.partial_ppm > 0;
        Self {
            seed,
            profile,
            links: vec![],
            conns: Slab::new(),
            connects: Slab::new(),
            ports: BTreeMap::new(),
            next_token: 0,
            topology: None,
            faults: ConnFaults::default(),
            listening: BTreeMap::new(),
            splits,
            resetting: 0,
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
        match &mut row[to] {
            Some(link) => link,
            empty => {
                let (from, to) = (from as u32, to as u32);
                let profile = usual(&self.profile, self.topology.as_deref(), from, to);
                empty.insert(Box::new(Link::new(self.seed, from, to, profile)))
            }
        }
    }

    /// What the direction between two hosts is like where nothing else was said.
    pub fn usual(&self, from: u32, to: u32) -> LinkProfile {
        usual(&self.profile, self.topology.as_deref(), from, to)
    }

    /// Whether a connect still waits for its answer.
    pub fn is_connecting(&self, id: Id) -> bool {
        self.connects.get(id).is_some_and(Connecting::is_waiting)
    }

    /// Whether that is when that side sends again what was lost.
    pub fn is_resend(&self, id: Id, side: u8, at: u64) -> bool {
        self.conns.get(id).is_some_and(|conn| conn.halves[side as usize].resend_at == Some(at))
    }

    /// Whether that side has waited for an acknowledgement as long as it will, at that time.
    pub fn is_overdue(&self, id: Id, side: u8, at: u64) -> bool {
        let since = self.conns.get(id).and_then(|conn| conn.halves[side as usize].unacked_since);
        since.is_some_and(|since| since.saturating_add(self.profile.retransmit_limit_ns) <= at)
    }
}

fn usual(profile: &NetProfile, topology: Option<&Topology>, from: u32, to: u32) -> LinkProfile {
    if from == to {
        return profile.loopback;
    }
    let name = |host| ctx::host_name(host).unwrap_or_default();
    let by_site = topology.and_then(|topology| topology.between(&name(from), &name(to)).copied());
    by_site.unwrap_or(profile.link)
}
