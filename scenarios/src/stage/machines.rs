//! The simulated machines behind the director's [`Hands`].

use super::effects::{Condition, Ending, Flow, Hands};
use super::recorder::Recording;
use super::roster::{HostIx, Roster};
use klamm_checkers::World as Told;
use klamm_sim::{Host, HostState, Latency, LinkState, World};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// What programs and the stage share about processes: how to ask one to stop, and which have ended by themselves.
#[derive(Clone, Default)]
pub struct Processes(Arc<Mutex<Lives>>);

#[derive(Default)]
struct Lives {
    stops: BTreeMap<HostIx, oneshot::Sender<()>>,
    ended: BTreeSet<HostIx>,
}

impl Processes {
    fn lock(&self) -> MutexGuard<'_, Lives> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A process begins; the future is ready when it is asked to stop.
    pub fn begun(&self, host: HostIx) -> oneshot::Receiver<()> {
        let (ask, asked) = oneshot::channel();
        let mut lives = self.lock();
        lives.ended.remove(&host);
        lives.stops.insert(host, ask);
        asked
    }

    /// A process ended by itself.
    pub fn ended(&self, host: HostIx) {
        self.lock().ended.insert(host);
    }

    /// True if it ended by itself and was not started again.
    pub fn has_ended(&self, host: HostIx) -> bool {
        self.lock().ended.contains(&host)
    }

    fn ask_to_stop(&self, host: HostIx) {
        if let Some(ask) = self.lock().stops.remove(&host) {
            // A process that is gone needs no asking.
            let _ = ask.send(());
        }
    }
}

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
    /// Their processes.
    pub processes: Processes,
    /// The usual latency of a link.
    pub usual: Latency,
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
            HostState::Up if self.processes.has_ended(host) => Condition::Down,
            HostState::Up => Condition::Up,
            HostState::Paused => Condition::Paused,
            HostState::Down => Condition::Down,
        }
    }

    fn end(&mut self, host: HostIx, how: Ending) {
        match how {
            Ending::Kill => self.world.kill(self.host(host)),
            Ending::PowerOff => self.world.power_off(self.host(host)),
            Ending::Stop => self.processes.ask_to_stop(host),
            Ending::Wipe => {
                self.world.kill(self.host(host));
                self.world.wipe_disk(self.host(host));
            }
        }
    }

    fn restart(&mut self, host: HostIx) {
        if self.processes.has_ended(host) && self.world.state(self.host(host)) != HostState::Down {
            self.world.kill(self.host(host));
        }
        self.world.restart(self.host(host));
    }

    fn pause(&mut self, host: HostIx) {
        self.world.pause(self.host(host));
    }

    fn resume(&mut self, host: HostIx) {
        self.world.resume(self.host(host));
    }

    fn flow(&mut self, from: HostIx, to: HostIx, flow: Flow) {
        let state = match flow {
            Flow::Up => LinkState::Up,
            Flow::Held => LinkState::Stalled,
            Flow::Silent => LinkState::BlackHole,
        };
        self.world.set_link(self.host(from), self.host(to), state).expect("two hosts of this run");
    }

    fn latency(&mut self, from: HostIx, to: HostIx, latency: Option<(u64, u64)>) {
        let latency = latency.map_or(self.usual, |(min_ns, max_ns)| Latency::between(min_ns, max_ns));
        self.world
            .set_latency(self.host(from), self.host(to), latency)
            .expect("two hosts and a range that was checked");
    }

    fn skew(&mut self, host: HostIx, by_ms: i64) {
        self.world.set_wall_offset_ms(self.host(host), by_ms);
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
