//! What goes wrong with single connections while others over the same links are well.

use super::conn::{Conn, EndId, Segment};
use super::errors::NetError;
use super::latency::{longest, share};
use super::profile::above_zero;
use crate::event::WorldEvent;
use crate::slab::Id;
use crate::stage::Host;
use crate::trace::Kind;
use crate::world::Inner;
use serde::{Deserialize, Serialize};

/// Which connections: all that match what is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConnectionMatch {
    /// Who connected.
    pub from: Option<Host>,
    /// Who listened.
    pub to: Option<Host>,
    /// What it is for, as the one who connected said.
    pub role: Option<String>,
    /// Those that are made while the fault is in force, too. Otherwise only those that are alive when it begins.
    pub also_new: bool,
}

/// What goes wrong with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum ConnectionFault {
    /// Both ends get an RST from a box in between, each behind what is under way to it, as far as the links let it.
    Reset,
    /// Segments wait while it is in force, RSTs too; then they leave promptly or with a retransmission, as drawn. Senders
    /// give up after the retransmission limit, as behind a cut link.
    Stall,
    /// A box in between forgets the connection and tells nobody, as NAT does when an entry expires. What an end sends from
    /// now on reaches nobody and is answered with an RST; the end that sends nothing never hears of it. It stays so for good.
    HalfOpen,
    /// The end of the stream, FIN or RST, comes later.
    SlowClose {
        /// By so much, nanoseconds.
        ns: u64,
    },
    /// Segments arrive with one bit flipped.
    Corrupt {
        /// So many in a million.
        ppm: u32,
    },
    /// Every segment takes longer.
    Delay {
        /// By so much, nanoseconds.
        ns: u64,
    },
}

impl ConnectionFault {
    /// That there can be such a fault.
    ///
    /// # Errors
    /// [`NetError::Zero`], [`NetError::Share`], [`NetError::TooLong`].
    pub fn check(self) -> Result<(), NetError> {
        match self {
            Self::Reset | Self::Stall | Self::HalfOpen => Ok(()),
            Self::SlowClose { ns } | Self::Delay { ns } => {
                above_zero("the delay of a connection", ns).and(longest("the delay of a connection", ns))
            }
            Self::Corrupt { ppm } => above_zero("a corruption", u64::from(ppm)).and(share("a corruption", ppm)),
        }
    }

    fn word(self) -> u64 {
        match self {
            Self::Reset => 1,
            Self::Stall => 2,
            Self::HalfOpen => 3,
            Self::SlowClose { ns } => 4 | ns << 3,
            Self::Corrupt { ppm } => 5 | u64::from(ppm) << 3,
            Self::Delay { ns } => 6 | ns << 3,
        }
    }
}

/// A fault of connections that was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ConnectionFaultId {
    number: u32,
    struck: u32,
}

impl ConnectionFaultId {
    /// How many live connections it struck when it began.
    pub const fn struck(self) -> u32 {
        self.struck
    }

    pub(super) const fn number(self) -> u32 {
        self.number
    }
}

/// What is wrong with one connection.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Struck {
    pub stalled: bool,
    pub forgotten: bool,
    pub corrupt_ppm: u32,
    delay_ns: u64,
    slow_close_ns: u64,
}

impl Struck {
    /// How much longer such a segment takes.
    pub fn delay_of(&self, segment: Segment) -> u64 {
        let closes = matches!(segment, Segment::Fin | Segment::Rst);
        self.delay_ns + if closes { self.slow_close_ns } else { 0 }
    }

    fn add(&mut self, fault: ConnectionFault) {
        match fault {
            ConnectionFault::Reset => {}
            ConnectionFault::Stall => self.stalled = true,
            ConnectionFault::HalfOpen => self.forgotten = true,
            ConnectionFault::SlowClose { ns } => self.slow_close_ns = self.slow_close_ns.max(ns),
            ConnectionFault::Corrupt { ppm } => self.corrupt_ppm = self.corrupt_ppm.max(ppm),
            ConnectionFault::Delay { ns } => self.delay_ns = self.delay_ns.max(ns),
        }
    }
}

/// One that is in force.
#[derive(Debug)]
struct InForce {
    number: u32,
    which: ConnectionMatch,
    fault: ConnectionFault,
    struck: Vec<Id>,
}

/// All that are in force.
#[derive(Debug, Default)]
pub(crate) struct ConnFaults {
    all: Vec<InForce>,
    next: u32,
}

impl ConnectionMatch {
    fn matches(&self, conn: &Conn) -> bool {
        let is = |host: Option<Host>, side: usize| host.is_none_or(|host| host.0 == conn.ends[side].host);
        is(self.from, 0) && is(self.to, 1) && self.role.as_ref().is_none_or(|role| role == conn.role)
    }
}

/// Somebody still holds an end of it.
fn is_live(conn: &Conn) -> bool {
    conn.ends.iter().any(|end| end.open && end.error.is_none())
}

impl Inner {
    /// How many live connections match.
    pub fn count_connections(&self, which: &ConnectionMatch) -> usize {
        self.net.conns.iter().filter(|(_, conn)| is_live(conn) && which.matches(conn)).count()
    }

    /// A fault begins.
    pub fn add_connection_fault(
        &mut self,
        which: ConnectionMatch,
        fault: ConnectionFault,
    ) -> Result<ConnectionFaultId, NetError> {
        for host in [which.from, which.to].into_iter().flatten() {
            self.check_host(host.0)?;
        }
        fault.check()?;
        let struck = self.net.conns.ids(|conn| is_live(conn) && which.matches(conn));
        self.net.faults.next += 1;
        let id = ConnectionFaultId { number: self.net.faults.next, struck: struck.len() as u32 };
        self.note_connection_fault(id.number, fault, true);
        let event = self.connection_fault_event(&which, fault, Some(id.struck));
        self.tell(event);
        self.net.faults.all.push(InForce { number: id.number, which, fault, struck: struck.clone() });
        for conn in struck {
            self.strike(conn, fault);
        }
        Ok(id)
    }

    fn note_connection_fault(&mut self, number: u32, fault: ConnectionFault, begins: bool) {
        let words = [u64::from(number), fault.word(), u64::from(begins)];
        self.trace.note(self.now, Kind::Fault, words, || {
            format!("connection fault {number} {} {fault:?}", if begins { "begins" } else { "ends" })
        });
    }

    fn connection_fault_event(
        &self,
        which: &ConnectionMatch,
        fault: ConnectionFault,
        begun: Option<u32>,
    ) -> WorldEvent {
        let [from, to] = [which.from, which.to].map(|host| host.map(|host| self.name(host.0)));
        let role = which.role.clone();
        match begun {
            Some(struck) => WorldEvent::ConnectionFaultBegan { from, to, role, fault, struck },
            None => WorldEvent::ConnectionFaultEnded { from, to, role, fault },
        }
    }

    /// A connection is made: faults that wait for such strike it.
    pub fn strike_new(&mut self, id: Id) {
        if self.net.faults.all.is_empty() {
            return;
        }
        let conns = &self.net.conns;
        let conn = conns.get(id).expect("a connection that was just made");
        let mut strikes = vec![];
        for in_force in self.net.faults.all.iter_mut() {
            if in_force.which.also_new && in_force.which.matches(conn) {
                // Now and then those that are gone are forgotten, so that the list is as long as there are connections.
                if in_force.struck.len() == in_force.struck.capacity() {
                    in_force.struck.retain(|struck| conns.get(*struck).is_some());
                }
                in_force.struck.push(id);
                strikes.push(in_force.fault);
            }
        }
        for fault in strikes {
            self.strike(id, fault);
        }
    }

    /// What a fault does to a connection when it begins.
    fn strike(&mut self, id: Id, fault: ConnectionFault) {
        let ends = [0, 1].map(|side| EndId { conn: id, side });
        if fault == ConnectionFault::Reset {
            ends.into_iter().for_each(|at| self.send(at, Segment::Rst));
            return;
        }
        let conn = self.net.conns.get_mut(id).expect("a connection that is alive");
        conn.faults.get_or_insert_default().add(fault);
        if conn.is_blocked() {
            ends.into_iter().for_each(|at| self.hold_end(at));
        }
        if fault == ConnectionFault::HalfOpen {
            ends.into_iter().for_each(|at| self.resend_one_into_reset(at));
        }
    }

    /// A fault ends, if it is in force. What a box has forgotten stays so.
    pub fn clear_connection_fault(&mut self, number: u32) {
        let Some(place) = self.net.faults.all.iter().position(|fault| fault.number == number) else { return };
        let ended = self.net.faults.all.remove(place);
        self.note_connection_fault(number, ended.fault, false);
        let event = self.connection_fault_event(&ended.which, ended.fault, None);
        self.tell(event);
        for id in ended.struck {
            self.mend_connection(id);
        }
    }

    /// What is wrong with a connection now that a fault is over.
    fn mend_connection(&mut self, id: Id) {
        let Some(conn) = self.net.conns.get_mut(id) else { return };
        let was_blocked = conn.is_blocked();
        let mut left = Struck { forgotten: conn.is_forgotten(), ..Struck::default() };
        let faults = self.net.faults.all.iter().filter(|fault| fault.struck.contains(&id));
        faults.for_each(|in_force| left.add(in_force.fault));
        conn.faults = Some(Box::new(left));
        if was_blocked && !conn.is_blocked() {
            [0, 1].into_iter().for_each(|side| self.release_end(EndId { conn: id, side }));
        }
    }

    /// All faults of connections end.
    pub fn clear_connection_faults(&mut self) {
        while let Some(number) = self.net.faults.all.first().map(|fault| fault.number) {
            self.clear_connection_fault(number);
        }
    }
}
