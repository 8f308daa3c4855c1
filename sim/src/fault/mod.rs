//! Faults as data: what can be done to a world is a value that names its hosts, and can be written down, drawn, struck and
//! mended. [`FAULTS`] is the list of what there is; [`FaultPlan`] puts faults on a time line.

mod error;
mod in_force;
mod place;
mod plan;
mod strike;
mod table;

pub use error::FaultError;
pub(crate) use in_force::InForce;
pub use place::Place;
pub use plan::{FaultPlan, PlannedFault};
pub use table::{FAULTS, FaultFamily, FaultInfo, fault_info};

use crate::clock::Leap;
use crate::disk::DiskFaultKind;
use crate::event::LinkState;
use crate::gc::GcProfile;
use crate::net::{ConnectionFault, Latency, LinkProfile, Listening, NetError};
use crate::stop::DiskFate;
use serde::{Deserialize, Serialize};

/// One fault of one family, with its hosts by name or by rack. Times are nanoseconds of world time, counted from the strike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum Fault {
    /// The process dies; machine, page cache and disk stay. Mended by a restart.
    Kill {
        /// Whose.
        on: Place,
    },
    /// The machine loses power. Mended by a restart.
    PowerOff {
        /// Which one.
        on: Place,
    },
    /// The machine is gone: silence. Mended by a machine of that name that starts.
    Lose {
        /// Which one.
        on: Place,
        /// Whether the machine that comes back has the disk.
        disk: DiskFate,
    },
    /// The process dies and its disk is emptied. Mended by a restart.
    Wipe {
        /// Whose.
        on: Place,
    },
    /// The process is asked to stop, and killed where it does not. Mended by a restart.
    Stop {
        /// Whose.
        on: Place,
        /// How long it has.
        within_ns: u64,
    },
    /// The process stands still. It ends with the process.
    Pause {
        /// Whose.
        on: Place,
    },
    /// Every step of the process costs so much.
    SlowCpu {
        /// Whose.
        on: Place,
        /// At least.
        min_ns: u64,
        /// At most.
        max_ns: u64,
    },
    /// The process may hold only so many files, listeners and connections together.
    OpenFiles {
        /// Whose.
        on: Place,
        /// At least 1.
        limit: u32,
    },
    /// The process may hold only so much memory.
    Memory {
        /// Whose.
        on: Place,
        /// At least 1.
        bytes: u64,
        /// Excess ends the process instead of failing.
        kill: bool,
    },
    /// The process is paused by a garbage collector.
    Gc {
        /// Whose.
        on: Place,
        /// Which one.
        collector: Collector,
    },
    /// The wall clock is true time plus so much. Mended by setting it right.
    Skew {
        /// Whose.
        on: Place,
        /// Milliseconds, of either sign.
        offset_ms: i64,
    },
    /// The wall clock jumps. Mended by setting it right.
    Jump {
        /// Whose.
        on: Place,
        /// Milliseconds, of either sign.
        by_ms: i64,
    },
    /// The wall clock goes wrong. Mended by setting it right.
    Drift {
        /// Whose.
        on: Place,
        /// Microseconds that it gains a second.
        ppm: i64,
    },
    /// The monotonic clock, and with it every timer, goes wrong.
    TimerDrift {
        /// Whose.
        on: Place,
        /// Microseconds that it gains a second.
        ppm: i64,
    },
    /// A second is put into the day.
    Leap {
        /// Whose.
        on: Place,
        /// How the host lives through it.
        leap: Leap,
    },
    /// A disk misbehaves. Mending ends the misbehaviour; damage stays.
    Disk {
        /// Whose.
        on: Place,
        /// What breaks.
        kind: DiskFaultKind,
        /// Only paths that contain this; empty: all.
        #[serde(default)]
        path: String,
        /// Only the device of that name.
        #[serde(default)]
        device: Option<String>,
        /// How often.
        #[serde(default)]
        often: Often,
    },
    /// Links between two places change their state.
    Cut {
        /// Where bytes leave.
        from: Place,
        /// Where they arrive.
        to: Place,
        /// The other direction too.
        #[serde(default)]
        both: bool,
        /// What becomes of segments.
        state: LinkState,
    },
    /// Links between two places are not what they usually are.
    Link {
        /// Where bytes leave.
        from: Place,
        /// Where they arrive.
        to: Place,
        /// The other direction too.
        #[serde(default)]
        both: bool,
        /// In what they differ.
        change: LinkChange,
    },
    /// Something goes wrong with single connections, while others over the same links are well.
    Connection {
        /// Who connected; `None`: anybody.
        #[serde(default)]
        from: Option<Place>,
        /// Who listened; `None`: anybody.
        #[serde(default)]
        to: Option<Place>,
        /// What it is for, as the one who connected said; `None`: anything.
        #[serde(default)]
        role: Option<String>,
        /// Those that are made while the fault is in force, too. Otherwise there must be live ones.
        #[serde(default)]
        new: bool,
        /// What goes wrong.
        what: ConnectionFault,
    },
    /// Connects are not answered as they should be, though somebody listens.
    Listen {
        /// Where they arrive.
        on: Place,
        /// What becomes of them.
        listening: Listening,
    },
}

/// In what a link differs from what it usually is. Of several that say the same thing the last one counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum LinkChange {
    /// Segments take so long.
    Slow(Latency),
    /// Segments take up to so much longer, each by its own draw.
    Jitter {
        /// Nanoseconds.
        ns: u64,
    },
    /// It carries only so much.
    Narrow {
        /// Bytes a second.
        bytes_per_second: u64,
        /// Bytes that may wait for the wire; 0 is without limit.
        queue_bytes: u64,
    },
    /// Segments are lost.
    Loss {
        /// Parts in a million.
        ppm: u32,
    },
    /// Segments arrive with a bit flipped.
    Corrupt {
        /// Parts in a million.
        ppm: u32,
    },
    /// Reads and writes take less than they could.
    Partial {
        /// Parts in a million.
        ppm: u32,
    },
}

impl LinkChange {
    /// Puts it into a profile.
    pub fn apply(&self, profile: &mut LinkProfile) {
        match *self {
            Self::Slow(latency) => profile.latency = latency,
            Self::Jitter { ns } => profile.jitter_ns = ns,
            Self::Narrow { bytes_per_second, queue_bytes } => {
                (profile.bytes_per_second, profile.queue_bytes) = (bytes_per_second, queue_bytes);
            }
            Self::Loss { ppm } => profile.loss_ppm = ppm,
            Self::Corrupt { ppm } => profile.corrupt_ppm = ppm,
            Self::Partial { ppm } => profile.partial_ppm = ppm,
        }
    }

    /// That it is one, and possible.
    ///
    /// # Errors
    /// [`NetError`]: what cannot be, with its value.
    pub fn check(&self) -> Result<(), NetError> {
        let (what, value) = match *self {
            Self::Slow(_) => ("", 1),
            Self::Jitter { ns } => ("a jitter", ns),
            Self::Narrow { bytes_per_second, .. } => ("the bandwidth of a link", bytes_per_second),
            Self::Loss { ppm } => ("a loss", u64::from(ppm)),
            Self::Corrupt { ppm } => ("a corruption", u64::from(ppm)),
            Self::Partial { ppm } => ("a share of partial reads and writes", u64::from(ppm)),
        };
        if value == 0 {
            return Err(NetError::Zero { what });
        }
        let mut profile = LinkProfile::new(Latency::fixed(1));
        self.apply(&mut profile);
        profile.check()
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Slow(_) => "slow",
            Self::Jitter { .. } => "jitter",
            Self::Narrow { .. } => "narrow",
            Self::Loss { .. } => "loss",
            Self::Corrupt { .. } => "corrupt",
            Self::Partial { .. } => "partial",
        }
    }
}

/// How often a disk fault strikes while it is in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Often {
    /// Every operation that it concerns; an act of the device happens once, at the strike.
    #[default]
    Always,
    /// Only the nth operation that it concerns, from 1.
    Nth(u64),
    /// Each operation that it concerns, with that probability.
    Sometimes(f64),
}

/// Garbage collectors by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Collector {
    /// [`GcProfile::g1_small`].
    G1Small,
    /// [`GcProfile::g1_large_heap`].
    G1Large,
    /// [`GcProfile::cms_full`].
    CmsFull,
    /// [`GcProfile::zgc`].
    Zgc,
}

impl Collector {
    /// Every collector with its name, as in serialised form.
    pub const ALL: [(&'static str, Collector); 4] = [
        ("g1-small", Collector::G1Small),
        ("g1-large", Collector::G1Large),
        ("cms-full", Collector::CmsFull),
        ("zgc", Collector::Zgc),
    ];

    /// How it pauses.
    pub const fn profile(self) -> GcProfile {
        match self {
            Self::G1Small => GcProfile::g1_small(),
            Self::G1Large => GcProfile::g1_large_heap(),
            Self::CmsFull => GcProfile::cms_full(),
            Self::Zgc => GcProfile::zgc(),
        }
    }
}

/// A fault in force, for [`World::mend`](crate::World::mend).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Struck(pub u64);

impl Fault {
    /// Its name in [`FAULTS`].
    pub fn name(&self) -> &'static str {
        match self {
            Self::Kill { .. } => "kill",
            Self::PowerOff { .. } => "power-off",
            Self::Lose { disk: DiskFate::Returns, .. } => "machine-loss",
            Self::Lose { disk: DiskFate::Lost, .. } => "machine-and-disk-loss",
            Self::Wipe { .. } => "wipe",
            Self::Stop { .. } => "stop",
            Self::Pause { .. } => "pause",
            Self::SlowCpu { .. } => "slow-cpu",
            Self::OpenFiles { .. } => "open-files",
            Self::Memory { kill: false, .. } => "out-of-memory",
            Self::Memory { kill: true, .. } => "oom-kill",
            Self::Gc { .. } => "gc",
            Self::Skew { .. } => "skew",
            Self::Jump { .. } => "clock-jump",
            Self::Drift { .. } => "clock-drift",
            Self::TimerDrift { .. } => "timer-drift",
            Self::Leap { leap: Leap::Repeated, .. } => "leap-second",
            Self::Leap { leap: Leap::Smeared { .. }, .. } => "leap-smear",
            Self::Disk { kind, .. } => table::disk_name(*kind),
            Self::Cut { state, both, .. } => table::cut_name(*state, *both),
            Self::Link { change, .. } => change.name(),
            Self::Connection { what, .. } => table::connection_name(*what),
            Self::Listen { listening: Listening::Silent, .. } => "no-answer",
            Self::Listen { .. } => "refuse",
        }
    }

    /// Its line in [`FAULTS`].
    pub fn info(&self) -> &'static FaultInfo {
        fault_info(self.name()).expect("every fault is in the table, as a test holds")
    }

    /// The places that it strikes: one, or the two ends of links; for connections those that are named.
    pub fn places(&self) -> Vec<&Place> {
        match self {
            Self::Kill { on }
            | Self::PowerOff { on }
            | Self::Lose { on, .. }
            | Self::Wipe { on }
            | Self::Stop { on, .. }
            | Self::Pause { on }
            | Self::SlowCpu { on, .. }
            | Self::OpenFiles { on, .. }
            | Self::Memory { on, .. }
            | Self::Gc { on, .. }
            | Self::Skew { on, .. }
            | Self::Jump { on, .. }
            | Self::Drift { on, .. }
            | Self::TimerDrift { on, .. }
            | Self::Leap { on, .. }
            | Self::Disk { on, .. }
            | Self::Listen { on, .. } => vec![on],
            Self::Cut { from, to, .. } | Self::Link { from, to, .. } => vec![from, to],
            Self::Connection { from, to, .. } => from.iter().chain(to).collect(),
        }
    }

    /// True for what takes processes down, so that mending starts them.
    pub fn takes_down(&self) -> bool {
        matches!(
            self,
            Self::Kill { .. } | Self::PowerOff { .. } | Self::Lose { .. } | Self::Wipe { .. } | Self::Stop { .. }
        )
    }

    /// Says what makes no sense in it, as far as that can be told without a world.
    ///
    /// # Errors
    /// A value out of its range.
    pub fn check(&self) -> Result<(), FaultError> {
        strike::check(self)
    }
}
