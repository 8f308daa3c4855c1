//! What faults are in force, and on whose account: a step's faults end with the step, with the step that mends them, or
//! with the last heal. That two may hold the same machine or link is the world's business.

use super::roster::HostIx;
use klamm_sim::{Fault, FaultFamily, Struck};
use std::collections::BTreeSet;

/// How a machine is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Its process runs.
    Up,
    /// It stands still.
    Paused,
    /// Its process does not run.
    Down,
}

/// What can be done to the world. The simulation implements it; so do tests.
pub trait Hands {
    /// How a machine is doing.
    fn condition(&self, host: HostIx) -> Condition;
    /// Strikes, if that can be done.
    fn strike(&mut self, fault: &Fault) -> Option<Struck>;
    /// Takes faults back, in that order.
    fn mend(&mut self, struck: Struck);
    /// Starts a process that does not run and that no fault holds down.
    fn restart(&mut self, host: HostIx);
    /// A step struck: `text` says what.
    fn struck(&mut self, text: String, fault: bool);
    /// Asks to be called again at this instant.
    fn wake_at(&mut self, ns: u64);
}

/// A fault in force.
#[derive(Debug)]
struct Held {
    by: usize,
    hosts: Vec<HostIx>,
    fault: Fault,
    struck: Struck,
}

impl Held {
    fn is_of(&self, family: FaultFamily) -> bool {
        self.fault.info().family == family
    }
}

/// Faults in force, by the step that holds them, in the order of their strikes.
#[derive(Debug, Default)]
pub struct Effects {
    held: Vec<Held>,
}

impl Effects {
    /// Step `by` strikes these machines (one, or the two ends of a direction); false if it cannot.
    pub fn strike(&mut self, hands: &mut dyn Hands, by: usize, hosts: &[HostIx], fault: Fault) -> bool {
        let Some(struck) = hands.strike(&fault) else { return false };
        self.held.push(Held { by, hosts: hosts.to_vec(), fault, struck });
        true
    }

    /// A `restart` step: whoever held the machine down holds it no more.
    pub fn restart(&mut self, hands: &mut dyn Hands, host: HostIx) {
        self.mend(hands, |held| held.fault.takes_down() && held.hosts.contains(&host));
        if hands.condition(host) == Condition::Down {
            hands.restart(host);
        }
    }

    /// A `resume` step.
    pub fn resume(&mut self, hands: &mut dyn Hands, host: HostIx) {
        self.mend(hands, |held| matches!(held.fault, Fault::Pause { .. }) && held.hosts.contains(&host));
    }

    /// A `heal` step: every link and connection of these machines is as usual again.
    pub fn heal(&mut self, hands: &mut dyn Hands, hosts: &[HostIx]) {
        self.mend(hands, |held| held.is_of(FaultFamily::Network) && held.hosts.iter().any(|host| hosts.contains(host)));
    }

    /// A `restore-disk` step.
    pub fn restore_disks(&mut self, hands: &mut dyn Hands, hosts: &[HostIx]) {
        self.mend(hands, |held| held.is_of(FaultFamily::Disk) && held.hosts.iter().any(|host| hosts.contains(host)));
    }

    /// Step `by` ends by itself. A process that its fault brought down without saying so (a disk that failed, memory that
    /// ran out) is started again, as its supervisor would.
    pub fn release(&mut self, hands: &mut dyn Hands, by: usize) {
        let hosts = self.mend(hands, |held| held.by == by);
        self.revive(hands, &hosts);
    }

    /// The last heal: nothing is at fault any more, and every machine that is not `gone` runs.
    pub fn mend_all(&mut self, hands: &mut dyn Hands, hosts: &[HostIx], gone: &BTreeSet<HostIx>) {
        let stays = |held: &Held| held.fault.takes_down() && held.hosts.iter().all(|host| gone.contains(host));
        for family in
            [FaultFamily::Network, FaultFamily::Disk, FaultFamily::Clock, FaultFamily::Process, FaultFamily::Host]
        {
            self.mend(hands, |held| held.is_of(family) && !stays(held));
        }
        let there: Vec<HostIx> = hosts.iter().copied().filter(|host| !gone.contains(host)).collect();
        self.revive(hands, &there);
    }

    /// Mends what is meant, in the order of the strikes; gives the machines.
    fn mend(&mut self, hands: &mut dyn Hands, is_meant: impl Fn(&Held) -> bool) -> BTreeSet<HostIx> {
        let meant: Vec<Held> = self.held.extract_if(.., |held| is_meant(held)).collect();
        meant.iter().for_each(|held| hands.mend(held.struck));
        meant.into_iter().flat_map(|held| held.hosts).collect()
    }

    /// Starts what is down and held by nobody.
    fn revive<'a>(&self, hands: &mut dyn Hands, hosts: impl IntoIterator<Item = &'a HostIx>) {
        for host in hosts {
            let is_held = self.held.iter().any(|held| held.fault.takes_down() && held.hosts.contains(host));
            if !is_held && hands.condition(*host) == Condition::Down {
                hands.restart(*host);
            }
        }
    }
}
