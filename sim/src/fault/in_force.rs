//! Which faults are in force: two may hold one host or one link, and it is as usual when the last of them is mended.

use super::{Fault, LinkChange, Struck};
use crate::disk::DiskFaultId;
use crate::event::LinkState;
use crate::limits::Limits;
use crate::net::{ConnectionFaultId, Listening};
use crate::stage::Host;
use std::collections::BTreeMap;

/// One fault with what it resolved to.
#[derive(Debug)]
pub(crate) struct Held {
    pub fault: Fault,
    /// Of a fault on hosts.
    pub hosts: Vec<Host>,
    /// Of a fault on links.
    pub links: Vec<(Host, Host)>,
    /// Of a fault on disks.
    pub disks: Vec<(Host, DiskFaultId)>,
    /// Of a fault on connections.
    pub connections: Vec<ConnectionFaultId>,
}

impl Held {
    /// A fault that resolved to nothing yet.
    pub fn of(fault: Fault) -> Self {
        Self { fault, hosts: vec![], links: vec![], disks: vec![], connections: vec![] }
    }
}

/// Faults in force, in the order of their strikes.
#[derive(Debug, Default)]
pub(crate) struct InForce {
    next: u64,
    faults: BTreeMap<Struck, Held>,
}

impl InForce {
    pub fn add(&mut self, held: Held) -> Struck {
        self.next += 1;
        let struck = Struck(self.next);
        self.faults.insert(struck, held);
        struck
    }

    pub fn remove(&mut self, struck: Struck) -> Option<Held> {
        self.faults.remove(&struck)
    }

    fn on(&self, host: Host) -> impl Iterator<Item = &Fault> {
        self.faults.values().filter(move |held| held.hosts.contains(&host)).map(|held| &held.fault)
    }

    /// The last of these faults that says something.
    fn last<T>(&self, host: Host, says: impl Fn(&Fault) -> Option<T>) -> Option<T> {
        self.on(host).filter_map(says).last()
    }

    pub fn holds_down(&self, host: Host) -> bool {
        self.on(host).any(Fault::takes_down)
    }

    pub fn pauses(&self, host: Host) -> bool {
        self.on(host).any(|fault| matches!(fault, Fault::Pause { .. }))
    }

    /// A pause ends with its process.
    pub fn end_pauses(&mut self, host: Host) {
        let pauses = self.faults.values_mut().filter(|held| matches!(held.fault, Fault::Pause { .. }));
        pauses.for_each(|held| held.hosts.retain(|other| *other != host));
    }

    pub fn step_ns(&self, host: Host) -> (u64, u64) {
        let step = |fault: &Fault| match fault {
            Fault::SlowCpu { min_ns, max_ns, .. } => Some((*min_ns, *max_ns)),
            _ => None,
        };
        self.last(host, step).unwrap_or((0, 0))
    }

    pub fn collector(&self, host: Host) -> Option<super::Collector> {
        self.last(host, |fault| if let Fault::Gc { collector, .. } = fault { Some(*collector) } else { None })
    }

    pub fn limits(&self, host: Host) -> Limits {
        let mut limits = Limits::default();
        for fault in self.on(host) {
            match fault {
                Fault::OpenFiles { limit, .. } => limits.open_files = Some(*limit),
                Fault::Memory { bytes, kill, .. } => {
                    (limits.memory_bytes, limits.kill_on_excess) = (Some(*bytes), *kill);
                }
                _ => {}
            }
        }
        limits
    }

    /// Where the wall clock stands if it is set now: the last offset, and every jump.
    pub fn offset_ms(&self, host: Host) -> i64 {
        let offset = |fault: &Fault| if let Fault::Skew { offset_ms, .. } = fault { Some(*offset_ms) } else { None };
        let jumps =
            self.on(host).filter_map(|fault| if let Fault::Jump { by_ms, .. } = fault { Some(*by_ms) } else { None });
        jumps.fold(self.last(host, offset).unwrap_or(0), i64::saturating_add)
    }

    pub fn drift_ppm(&self, host: Host) -> i64 {
        self.last(host, |fault| if let Fault::Drift { ppm, .. } = fault { Some(*ppm) } else { None }).unwrap_or(0)
    }

    pub fn timer_ppm(&self, host: Host) -> i64 {
        self.last(host, |fault| if let Fault::TimerDrift { ppm, .. } = fault { Some(*ppm) } else { None }).unwrap_or(0)
    }

    fn over(&self, link: (Host, Host)) -> impl Iterator<Item = &Fault> {
        self.faults.values().filter(move |held| held.links.contains(&link)).map(|held| &held.fault)
    }

    /// The strongest state that anybody asks for.
    pub fn link(&self, link: (Host, Host)) -> LinkState {
        let state = |fault: &Fault| if let Fault::Cut { state, .. } = fault { Some(*state) } else { None };
        self.over(link).filter_map(state).max().unwrap_or(LinkState::Up)
    }

    /// Every change of what the link is like, in the order of the strikes.
    pub fn changes(&self, link: (Host, Host)) -> impl Iterator<Item = &LinkChange> {
        self.over(link).filter_map(|fault| if let Fault::Link { change, .. } = fault { Some(change) } else { None })
    }

    pub fn listening(&self, host: Host) -> Listening {
        let listening =
            |fault: &Fault| if let Fault::Listen { listening, .. } = fault { Some(*listening) } else { None };
        self.last(host, listening).unwrap_or_default()
    }
}
