//! The simulated machines behind the director's [`Hands`].

use super::effects::{Condition, Hands};
use super::recorder::Recording;
use super::roster::{HostIx, Roster};
use klamm_checkers::World as Told;
use klamm_sim::{Fault, Host, HostState, Struck, World};

/// The machines of a run.
#[derive(Clone)]
pub struct Machines {
    /// The world that they are in.
    pub world: World,
    /// Their names and roles.
    pub roster: Roster,
    /// In the roster's order.
    pub hosts: Vec<Host>,
    /// Where strikes are told.
    pub recording: Recording,
}

impl Machines {
    /// The world's machine.
    pub fn host(&self, host: HostIx) -> Host {
        self.hosts[host.0]
    }

    fn tell(&self, told: Told) {
        self.recording.tell(self.world.now_ns(), told);
    }
}

impl Hands for Machines {
    fn condition(&self, host: HostIx) -> Condition {
        match self.world.state(self.host(host)) {
            HostState::Up => Condition::Up,
            HostState::Paused => Condition::Paused,
            HostState::Down => Condition::Down,
        }
    }

    fn strike(&mut self, fault: &Fault) -> Option<Struck> {
        let struck = self.world.strike(fault);
        struck.inspect_err(|error| tracing::info!(%error, "{} cannot strike", fault.name())).ok()
    }

    fn mend(&mut self, struck: Struck) {
        self.world.mend(struck);
    }

    fn restart(&mut self, host: HostIx) {
        self.world.restart(self.host(host));
    }

    fn struck(&mut self, text: String, fault: bool) {
        tracing::info!("{text}");
        self.tell(Told::Step { text: text.clone() });
        if fault {
            self.tell(Told::FaultStruck { what: text });
        }
    }

    fn wake_at(&mut self, ns: u64) {
        let world = self.world;
        world.spawn("script", async move {
            world.sleep_until(ns).await;
            world.flag_director();
        });
    }
}
