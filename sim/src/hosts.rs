//! The table of machines.

use crate::clock::Clocks;
use crate::cpu::Cpu;
use crate::disk::Drives;
use crate::limits::{Holdings, Limits};
use crate::slab::Id;
use crate::stop::StopState;
use klamm_env::{BoxFuture, Env};
use rand_chacha::ChaCha8Rng;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

/// What a machine runs when it starts.
pub(crate) type Program = Rc<dyn Fn(Env) -> BoxFuture<()>>;

/// Why a process stands still. Each reason ends by itself; it runs again when none is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pause {
    /// The stage said so.
    Stage = 1,
    /// A collector's usual pause.
    Young = 2,
    /// A collector's long one.
    Full = 4,
}

/// One machine.
pub(crate) struct Machine {
    pub name: Arc<str>,
    /// A process may run on it.
    pub running: bool,
    /// Why it stands still, one bit a reason.
    pub pauses: u8,
    /// Tasks do not run as soon as they are ready: it stands still, or its CPU is slow.
    pub held: bool,
    /// Without power it is silent; with power and without a process its kernel still answers.
    pub powered: bool,
    /// Counts its processes; what belongs to an earlier one is void.
    pub life: u32,
    pub program: Option<Program>,
    /// Woken while held.
    pub parked: Vec<Id>,
    pub clocks: Clocks,
    pub cpu: Option<Box<Cpu>>,
    pub stop: StopState,
    pub limits: Limits,
    pub holdings: Holdings,
    /// The stage's tasks that make it pause.
    pub collectors: Vec<Id>,
    pub entropy: ChaCha8Rng,
    pub disk: Drives,
    pub disk_rng: ChaCha8Rng,
    pub next_port: u16,
}

impl Machine {
    /// A machine that is up and runs nothing.
    pub fn new(name: &str, entropy: ChaCha8Rng, disk: Drives, disk_rng: ChaCha8Rng) -> Self {
        Self {
            name: name.into(),
            running: true,
            pauses: 0,
            held: false,
            powered: true,
            life: 0,
            program: None,
            parked: vec![],
            clocks: Clocks::default(),
            cpu: None,
            stop: StopState::default(),
            limits: Limits::default(),
            holdings: Holdings::default(),
            collectors: vec![],
            entropy,
            disk,
            disk_rng,
            next_port: 32_768,
        }
    }

    /// From here on what belongs to the process is void.
    pub fn end_life(&mut self) {
        self.running = false;
        self.pauses = 0;
        self.parked.clear();
        self.life += 1;
        self.holdings = Holdings::default();
        self.stop = StopState::default();
        if let Some(cpu) = &mut self.cpu {
            cpu.end_life();
        }
        self.held = self.is_slow();
    }

    /// Every step costs time.
    pub fn is_slow(&self) -> bool {
        self.cpu.as_ref().is_some_and(|cpu| cpu.is_slow())
    }
}

/// Hosts' wall clocks start at 2026-01-01T00:00:00Z.
pub(crate) const WALL_START_MS: i64 = 1_767_225_600_000;

/// What cannot be done to a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostError {
    /// There is no such host.
    Unknown {
        /// The number asked for.
        host: u32,
    },
    /// Two hosts on one address.
    NameTaken {
        /// The name of both.
        name: String,
    },
    /// A name that is an address of every host.
    NoName {
        /// It.
        name: String,
    },
    /// A clock cannot go at that rate.
    ClockRate {
        /// Parts in a million off.
        ppm: i64,
    },
    /// The leap second before is not over.
    LeapUnderWay,
    /// It would mean that nothing ever happens, or nothing ever works.
    Zero {
        /// What was zero.
        what: &'static str,
    },
    /// A range whose end lies before its start.
    Range {
        /// Its start.
        min: u64,
        /// Its end.
        max: u64,
    },
    /// A distribution of pauses whose values do not rise, or start at zero.
    Spread,
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { host } => write!(f, "there is no host {host}: World::add_host makes one"),
            Self::NameTaken { name } => {
                write!(f, "a second host {name:?}: World::host finds the first, another name makes another")
            }
            Self::NoName { name } => {
                write!(f, "no host can be called {name:?}, which means whoever says it: give it a name of its own")
            }
            Self::ClockRate { ppm } => {
                write!(f, "a clock cannot be off by {ppm} parts in a million: from -999999 to 1000000")
            }
            Self::LeapUnderWay => f.write_str("the leap second before is not over: one at a time"),
            Self::Zero { what } => write!(f, "{what} is zero: leave it out for none, or set it to at least 1"),
            Self::Range { min, max } => write!(f, "a range from {min} to {max} is empty: swap them"),
            Self::Spread => f.write_str("a distribution of pauses must rise: 0 < min <= p50 <= p99 <= max"),
        }
    }
}

impl std::error::Error for HostError {}
