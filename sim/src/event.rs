//! What happened to the world, as values.

use crate::clock::Leap;
use crate::disk::Damage;
use crate::limits::Limits;
use crate::net::{ConnectionFault, LinkProfile, Listening, Topology};
use crate::stop::DiskFate;
use serde::{Deserialize, Serialize};

/// One direction of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkState {
    /// Segments arrive.
    Up,
    /// Segments wait, connects and RSTs too, and arrive promptly or after a retransmission time-out once the link is up.
    Stalled,
    /// Segments vanish. Established streams retransmit, so their bytes and FINs wait as behind a stall; an RST is lost, and a
    /// connect asks again after 1, 2, 4 … seconds.
    BlackHole,
    /// Segments vanish and are answered with an RST from the way, as by a firewall that rejects: connects are refused, an end
    /// that sends or acknowledges over it is reset. An RST vanishes without an answer. FINs and bytes that are never answered
    /// because the way back is cut wait as behind a black hole.
    Reset,
}

/// A change of the world that somebody may want to know of. Hosts are named by their network names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
#[allow(missing_docs)]
pub enum WorldEvent {
    /// A host's program started for the first time.
    Started { host: String },
    /// Its process died; what it wrote is still in the page cache.
    Killed { host: String },
    /// Its program came to its end.
    Exited { host: String },
    /// The machine lost power: bytes that were readable and are not now, pending bytes that survived, files that are not
    /// what they were, directory changes that are undone.
    PoweredOff { host: String, lost_bytes: u64, kept_bytes: u64, files: u32, lost_entries: u32 },
    /// Its program started again.
    Restarted { host: String },
    /// It stands still; time does not.
    Paused { host: String },
    /// It runs again.
    Resumed { host: String },
    /// One direction between two hosts changed.
    LinkChanged { from: String, to: String, state: LinkState },
    /// What one direction is like changed.
    LinkProfileChanged { from: String, to: String, profile: LinkProfile },
    /// Hosts stand elsewhere now.
    TopologySet { topology: Topology },
    /// What becomes of connects to a host changed.
    ListeningSet { host: String, listening: Listening },
    /// Something goes wrong with single connections from now on; `struck` are alive.
    ConnectionFaultBegan {
        from: Option<String>,
        to: Option<String>,
        role: Option<String>,
        fault: ConnectionFault,
        struck: u32,
    },
    /// It is over.
    ConnectionFaultEnded { from: Option<String>, to: Option<String>, role: Option<String>, fault: ConnectionFault },
    /// A bit of the stream's byte number `at_byte` (from 0) was flipped on the way from one host to another.
    SegmentCorrupted { from: String, to: String, role: String, at_byte: u64 },
    /// The wall clock of a host was set to true time plus `offset_ms`.
    ClockSet { host: String, offset_ms: i64 },
    /// The wall clock of a host goes wrong by so many parts in a million from now on.
    ClockDrifts { host: String, ppm: i64 },
    /// The monotonic clock of a host, and its timers, do.
    TimersDrift { host: String, ppm: i64 },
    /// The wall clock of a host lives through a leap second at that world time.
    LeapSecond { host: String, at_ns: u64, leap: Leap },
    /// A step of a host costs so much time from now on.
    StepCostSet { host: String, min_ns: u64, max_ns: u64 },
    /// A process was asked to stop until then.
    Stopping { host: String, deadline_ns: u64 },
    /// A machine is gone.
    MachineLost { host: String, disk: DiskFate },
    /// What a process may hold changed.
    LimitsSet { host: String, limits: Limits },
    /// A process wanted more memory than there is; it is killed.
    OutOfMemory { host: String, wanted_bytes: u64 },
    /// All files of a host are gone.
    DiskWiped { host: String },
    /// An episode of a disk fault begins; no device means all of the host.
    DiskFaultBegan { host: String, device: String, fault: String },
    /// It is over.
    DiskFaultEnded { host: String, device: String, fault: String },
    /// A disk fault struck an operation on that path.
    DiskFaultStruck { host: String, device: String, path: String, fault: String },
    /// Bytes are not what their writer believes.
    DiskDamaged { damage: Damage },
    /// The disks of a host are others now.
    DisksSet { host: String, devices: Vec<String> },
    /// An RST ended `host`'s end of a connection to `peer`.
    ConnectionReset { host: String, peer: String, role: String },
    /// `host` gave a connection to `peer` up: nothing acknowledged within the retransmission limit.
    ConnectionTimedOut { host: String, peer: String, role: String },
}
