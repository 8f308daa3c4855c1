//! Joins what the stack observes and what the world does into one history: one world time, one sequence number.

use super::roster::{Role, Roster};
use super::watch::matters;
use klamm_base::{Observation, Observer, Source};
use klamm_checkers::{Event, History, World as Told};
use klamm_sim::{World, WorldEvent};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The history of a run while it grows. A panic of the run leaves it readable.
#[derive(Clone, Default)]
pub struct Recording {
    history: Arc<Mutex<History>>,
    frames: Arc<AtomicU64>,
}

impl Recording {
    /// The history, for a moment.
    pub fn lock(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what the stage did or saw.
    pub fn tell(&self, at_ns: u64, told: Told) {
        self.lock().push(at_ns, Event::World(told));
    }

    /// Kafka frames so far.
    pub fn frames(&self) -> u64 {
        self.frames.load(Relaxed)
    }

    /// Takes the whole history out.
    pub fn take(&self) -> History {
        std::mem::take(&mut self.lock())
    }
}

/// The observer of every core and client of a run.
pub struct Recorder {
    /// For the time, and to wake the director.
    pub world: World,
    /// Where it goes.
    pub recording: Recording,
    /// Some trigger counts leaders' appends.
    pub appends: bool,
    /// Some trigger counts acknowledgements.
    pub acks: bool,
}

impl Observer for Recorder {
    fn observe(&self, source: Source, observation: Observation) {
        tracing::trace!(?source, ?observation);
        let wakes = matters(&observation, self.appends, self.acks);
        let now = self.world.note(word(source), || format!("{source:?} {observation:?}"));
        self.recording.lock().push(now, Event::Stack { source, observation });
        if wakes {
            self.world.flag_director();
        }
    }

    fn frame(&self) {
        self.recording.frames.fetch_add(1, Relaxed);
    }
}

/// Who speaks, for the hash of the trace; what was said is in the history.
fn word(source: Source) -> u64 {
    match source {
        Source::Node(node) => u64::from(node.0.cast_unsigned()),
        Source::Client(client) => 1 << 32 | u64::from(client.0),
    }
}

/// The world's own events in the words of a history; those that no judge needs are left out.
pub fn told(roster: &Roster, event: &WorldEvent) -> Option<Told> {
    let by = |host: &str, node: fn(klamm_base::NodeId) -> Told, client: &str| told_of(roster, host, node, client);
    match event {
        WorldEvent::Started { host } => by(host, |node| Told::HostStarted { node }, "started"),
        WorldEvent::Killed { host } => by(host, |node| Told::Killed { node }, "killed"),
        WorldEvent::Restarted { host } => by(host, |node| Told::Restarted { node }, "restarted"),
        WorldEvent::Paused { host } => by(host, |node| Told::Paused { node }, "paused"),
        WorldEvent::Resumed { host } => by(host, |node| Told::Resumed { node }, "resumed"),
        WorldEvent::DiskWiped { host } => by(host, |node| Told::DiskWiped { node }, "disk wiped"),
        WorldEvent::PoweredOff { host, lost_bytes, .. } => {
            let lost_bytes = *lost_bytes;
            let told = told_of(roster, host, |node| Told::PoweredOff { node, lost_bytes: 0 }, "powered off")?;
            Some(match told {
                Told::PoweredOff { node, .. } => Told::PoweredOff { node, lost_bytes },
                other => other,
            })
        }
        WorldEvent::ClockSet { host, offset_ms } => {
            let node = roster.by_name(host).and_then(|host| roster.node(host))?;
            Some(Told::ClockSet { node, offset_ms: *offset_ms })
        }
        WorldEvent::LinkChanged { from, to, state } => {
            let state = match state {
                klamm_sim::LinkState::Up => "up",
                klamm_sim::LinkState::Stalled => "stalled",
                klamm_sim::LinkState::BlackHole => "black hole",
            };
            Some(Told::LinkChanged { from: from.clone(), to: to.clone(), state: state.to_owned() })
        }
        WorldEvent::LatencyChanged { from, to, min_ns, max_ns } => {
            let state = format!("{}..{} us", min_ns / 1_000, max_ns / 1_000);
            Some(Told::LinkChanged { from: from.clone(), to: to.clone(), state })
        }
        _ => None,
    }
}

fn told_of(roster: &Roster, host: &str, node: fn(klamm_base::NodeId) -> Told, client: &str) -> Option<Told> {
    let at = roster.by_name(host)?;
    match roster.role(at) {
        Role::Controller(id) | Role::Broker(id) => Some(node(*id)),
        Role::Producer(_) | Role::Consumer(_) => {
            Some(Told::ClientDisturbed { client: host.to_owned(), what: client.to_owned() })
        }
        Role::Own => None,
    }
}
