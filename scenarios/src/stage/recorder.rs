//! Joins what the stack observes and what the world does into one history: one world time, one sequence number.

use super::roster::{Role, Roster};
use super::watch::matters;
use klamm_base::{Mark, Marks, NodeId, Observation, Observer, Source};
use klamm_checkers::{
    Damage, Entry, Event, History, Judging, Party, Phase, Report, World as Told, first_breach, judge,
};
use klamm_sim::{DamageKind, World, WorldEvent};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Room for the histories of one seed after the other.
const ROOM_BYTES: usize = 40 << 20;

/// An empty history with room for a large seed's. It is handed from seed to seed: histories grow to tens of megabytes, and
/// an allocator that has them double in its heap each time keeps the holes. So much at once comes straight from the system,
/// and what no seed ever uses is never resident.
pub fn room() -> History {
    History { entries: Vec::with_capacity(ROOM_BYTES / size_of::<Entry>()) }
}

/// So many entries are judged at a time while a run goes on. Where a broken run is cut does not hang on it.
const JUDGED_AT_ONCE: usize = 512;

/// The history of a run while it grows. A panic of the run leaves it readable.
#[derive(Clone, Default)]
pub struct Recording {
    history: Arc<Mutex<History>>,
    judging: Arc<Mutex<Judging>>,
    /// What happens from here on is not judged, and hits no mark.
    over: Arc<AtomicBool>,
    frames: Arc<AtomicU64>,
    marks: Arc<AtomicU64>,
}

impl Recording {
    /// One that begins in that room, whatever stood there.
    pub fn in_room(mut room: History) -> Self {
        room.entries.clear();
        Self { history: Arc::new(Mutex::new(room)), ..Self::default() }
    }

    /// The history, for a moment.
    pub fn lock(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what the stage did or saw.
    pub fn tell(&self, at_ns: u64, told: Told) {
        self.lock().push(at_ns, Event::World(told));
    }

    /// True if a fault of its disk struck an operation of this node since it was started last.
    pub fn disk_struck(&self, node: NodeId) -> bool {
        let of_it = |told: &Told| match told {
            Told::DiskFault { node: of, phase: Phase::Struck, .. } if *of == node => Some(true),
            Told::HostStarted { node: of } | Told::Restarted { node: of } if *of == node => Some(false),
            _ => None,
        };
        let history = self.lock();
        let mut found = history.entries.iter().rev().filter_map(|entry| match &entry.event {
            Event::World(told) => of_it(told),
            Event::Stack { .. } => None,
        });
        found.next().unwrap_or(false)
    }

    /// Kafka frames so far.
    pub fn frames(&self) -> u64 {
        self.frames.load(Relaxed)
    }

    /// Marks hit so far.
    pub fn marks(&self) -> Marks {
        Marks::from_bits(self.marks.load(Relaxed))
    }

    /// What follows is no part of the run that is judged; how many entries that is.
    pub fn close(&self) -> usize {
        self.over.store(true, Relaxed);
        self.lock().entries.len()
    }

    /// Judges what is new in this recording's history. True if a promise is broken by now.
    pub fn judge(&self, history: &History) -> bool {
        !self.over.load(Relaxed) && self.judging.lock().unwrap_or_else(PoisonError::into_inner).look(history)
    }

    /// Takes the whole history out, with what the judges say of it. If the run may end at the first bad instant, what came
    /// after that is no part of it.
    pub fn conclude(&self, may_halt: bool) -> (History, Report) {
        let mut history = std::mem::take(&mut *self.lock());
        let mut judging = std::mem::take(&mut *self.judging.lock().unwrap_or_else(PoisonError::into_inner));
        if judging.look(&history) && may_halt {
            halt(&mut history);
            let report = judge(&history);
            return (history, report);
        }
        let report = judging.conclude(&history);
        (history, report)
    }
}

/// Cuts a history behind the first entry that breaks a promise, and says so there. A panic ends it anyway.
fn halt(history: &mut History) {
    let (at, property) = first_breach(history).expect("something broke");
    history.entries.truncate(at + 1);
    let last = &history.entries[at];
    if !matches!(last.event, Event::World(Told::Panicked { .. })) {
        let at_ns = last.at_ns;
        history.push(at_ns, Event::World(Told::Halted { property: property.name.to_owned() }));
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
        let entries = {
            let mut history = self.recording.lock();
            history.push(now, Event::Stack { source, observation });
            history.entries.len()
        };
        if wakes || entries.is_multiple_of(JUDGED_AT_ONCE) {
            self.world.flag_director();
        }
    }

    fn frame(&self) {
        self.recording.frames.fetch_add(1, Relaxed);
    }

    fn mark(&self, mark: Mark) {
        if !self.recording.over.load(Relaxed) {
            self.recording.marks.fetch_or(Marks::bit(mark), Relaxed);
        }
    }
}

/// Who speaks, for the hash of the trace; what was said is in the history.
fn word(source: Source) -> u64 {
    match source {
        Source::Node(node) => u64::from(node.0.cast_unsigned()),
        Source::Client(client) => 1 << 32 | u64::from(client.0),
    }
}

/// The world's own events in the words of a history. A client's machine has no disk that matters, and no clock.
pub fn told(roster: &Roster, event: &WorldEvent) -> Option<Told> {
    let by = |host: &str, node: fn(NodeId) -> Told, client: &str| told_of(roster, host, node, client);
    match event {
        WorldEvent::Started { host } => by(host, |node| Told::HostStarted { node }, "started"),
        WorldEvent::Killed { host } => by(host, |node| Told::Killed { node }, "killed"),
        WorldEvent::Restarted { host } => by(host, |node| Told::Restarted { node }, "restarted"),
        WorldEvent::Paused { host } => by(host, |node| Told::Paused { node }, "paused"),
        WorldEvent::Resumed { host } => by(host, |node| Told::Resumed { node }, "resumed"),
        WorldEvent::DiskWiped { host } => by(host, |node| Told::DiskWiped { node }, "disk wiped"),
        WorldEvent::PoweredOff { host, lost_bytes, .. } => match node_of(roster, host) {
            Some(node) => Some(Told::PoweredOff { node, lost_bytes: *lost_bytes }),
            None => by(host, |node| Told::PoweredOff { node, lost_bytes: 0 }, "powered off"),
        },
        WorldEvent::ClockSet { host, offset_ms } => {
            Some(Told::ClockSet { node: node_of(roster, host)?, offset_ms: *offset_ms })
        }
        WorldEvent::ClockDrifts { host, ppm } => Some(Told::ClockWrong {
            node: node_of(roster, host)?,
            what: format!("its wall clock goes {ppm} ppm wrong"),
        }),
        WorldEvent::LeapSecond { host, leap, .. } => {
            let what = format!("its wall clock meets a leap second, {leap:?}");
            Some(Told::ClockWrong { node: node_of(roster, host)?, what })
        }
        event => told_of_net(roster, event)
            .or_else(|| told_of_disk(roster, event))
            .or_else(|| told_of_machine(roster, event)),
    }
}

fn told_of_net(roster: &Roster, event: &WorldEvent) -> Option<Told> {
    let link =
        |from: &str, to: &str, state: String| Told::LinkChanged { from: from.to_owned(), to: to.to_owned(), state };
    let any = |host: &Option<String>| host.clone().unwrap_or_else(|| "any host".to_owned());
    let faulty = |ends: [&Option<String>; 2], role: &Option<String>, what: String| {
        connection(&any(ends[0]), &any(ends[1]), role.as_deref().unwrap_or_default(), &what)
    };
    match event {
        WorldEvent::LinkChanged { from, to, state } => {
            let state = match state {
                klamm_sim::LinkState::Up => "up",
                klamm_sim::LinkState::Stalled => "stalled",
                klamm_sim::LinkState::BlackHole => "black hole",
                klamm_sim::LinkState::Reset => "reset",
            };
            Some(link(from, to, state.to_owned()))
        }
        WorldEvent::LinkProfileChanged { from, to, profile } => Some(link(from, to, profile.to_string())),
        WorldEvent::TopologySet { topology } => Some(link("everywhere", "everywhere", format!("{topology:?}"))),
        WorldEvent::SegmentCorrupted { from, to, role, at_byte } => {
            let (from, to) = (party(roster, from), party(roster, to));
            Some(Told::BytesCorrupted { from, to, role: role.clone(), at_byte: *at_byte })
        }
        WorldEvent::ConnectionFaultBegan { from, to, role, fault, struck } => {
            Some(faulty([from, to], role, format!("{fault:?} began and struck {struck}")))
        }
        WorldEvent::ConnectionFaultEnded { from, to, role, fault } => {
            Some(faulty([from, to], role, format!("{fault:?} ended")))
        }
        WorldEvent::ConnectionReset { host, peer, role } => Some(connection(host, peer, role, "reset")),
        WorldEvent::ConnectionTimedOut { host, peer, role } => Some(connection(host, peer, role, "given up")),
        _ => None,
    }
}

fn party(roster: &Roster, host: &str) -> Party {
    node_of(roster, host).map_or_else(|| Party::Client(host.to_owned()), Party::Node)
}

fn told_of_disk(roster: &Roster, event: &WorldEvent) -> Option<Told> {
    let fault = |host: &str, device: &str, path: &str, fault: &str, phase: Phase| {
        let node = node_of(roster, host)?;
        let (device, fault, path) = (device.to_owned(), fault.to_owned(), path.to_owned());
        Some(Told::DiskFault { node, device, fault, path, phase })
    };
    match event {
        WorldEvent::DiskFaultBegan { host, device, fault: name } => fault(host, device, "", name, Phase::Began),
        WorldEvent::DiskFaultEnded { host, device, fault: name } => fault(host, device, "", name, Phase::Ended),
        WorldEvent::DiskFaultStruck { host, device, path, fault: name } => {
            fault(host, device, path, name, Phase::Struck)
        }
        WorldEvent::DiskDamaged { damage } => {
            let (kind, silent) = kind_of(damage.kind);
            let node = node_of(roster, &damage.host)?;
            Some(Told::DiskDamaged {
                node,
                path: damage.path.clone(),
                from: damage.start,
                to: damage.end,
                kind,
                silent,
            })
        }
        WorldEvent::MachineLost { host, disk } => {
            let disk = match disk {
                klamm_sim::DiskFate::Returns => "returns",
                klamm_sim::DiskFate::Lost => "lost",
            };
            Some(Told::MachineLost { node: node_of(roster, host)?, disk: disk.to_owned() })
        }
        _ => None,
    }
}

/// What only slows or confuses a machine, in words.
fn told_of_machine(roster: &Roster, event: &WorldEvent) -> Option<Told> {
    let (host, what) = match event {
        WorldEvent::Exited { host } => (host, "its process ended".to_owned()),
        WorldEvent::TimersDrift { host, ppm } => (host, format!("its timers go {ppm} ppm wrong")),
        WorldEvent::StepCostSet { host, min_ns, max_ns } => (host, format!("a step costs it {min_ns}..{max_ns} ns")),
        WorldEvent::ListeningSet { host, listening } => (host, format!("connects to it: {listening:?}")),
        WorldEvent::Stopping { host, .. } => (host, "it was asked to stop".to_owned()),
        WorldEvent::LimitsSet { host, limits } => (host, format!("it may hold {limits:?}")),
        WorldEvent::OutOfMemory { host, wanted_bytes } => {
            (host, format!("it wanted {wanted_bytes} bytes and there were none"))
        }
        WorldEvent::DisksSet { host, devices } => (host, format!("its disks are {}", devices.join(", "))),
        _ => return None,
    };
    Some(Told::Disturbed { node: node_of(roster, host)?, what })
}

fn connection(from: &str, to: &str, role: &str, what: &str) -> Told {
    Told::Connection { from: from.to_owned(), to: to.to_owned(), role: role.to_owned(), what: what.to_owned() }
}

/// The judges' word for damage, and whether nobody was told of it.
fn kind_of(kind: DamageKind) -> (Damage, bool) {
    match kind {
        DamageKind::BitRot => (Damage::BitRot, true),
        DamageKind::Overwritten => (Damage::Overwritten, true),
        DamageKind::Missing => (Damage::Missing, true),
        DamageKind::Forgotten => (Damage::Forgotten, false),
        DamageKind::NotDurable => (Damage::NotDurable, true),
        DamageKind::NamesNotDurable => (Damage::NamesNotDurable, true),
        DamageKind::Partial => (Damage::Partial, false),
        DamageKind::Misread => (Damage::Misread, true),
        DamageKind::Removed => (Damage::Removed, false),
        DamageKind::Wiped => (Damage::Wiped, false),
    }
}

fn node_of(roster: &Roster, host: &str) -> Option<NodeId> {
    roster.by_name(host).and_then(|host| roster.node(host))
}

fn told_of(roster: &Roster, host: &str, node: fn(NodeId) -> Told, client: &str) -> Option<Told> {
    let at = roster.by_name(host)?;
    match roster.role(at) {
        Role::Controller(id) | Role::Broker(id) => Some(node(*id)),
        Role::Producer(_) | Role::Consumer(_) => {
            Some(Told::ClientDisturbed { client: host.to_owned(), what: client.to_owned() })
        }
        Role::Own => None,
    }
}
