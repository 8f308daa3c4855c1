//! What can be wrong with a disk, as values: a fault says what breaks, where, and when. Nothing here acts; see `drives`.

use serde::{Deserialize, Serialize};
use std::fmt;

/// One fault of one host's disks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DiskFault {
    /// What breaks.
    pub kind: DiskFaultKind,
    /// When it does.
    pub when: When,
    /// Only operations on (for damage at rest: only files of) paths that contain this. Empty: all.
    #[serde(default)]
    pub path: String,
    /// Only the device of that name. `None`: all devices of the host.
    #[serde(default)]
    pub device: Option<String>,
}

impl DiskFault {
    /// A fault of all paths of all devices.
    pub fn new(kind: DiskFaultKind, when: When) -> Self {
        Self { kind, when, path: String::new(), device: None }
    }

    /// The same, only for paths that contain `path`.
    pub fn on(self, path: &str) -> Self {
        Self { path: path.to_owned(), ..self }
    }

    /// The same, only for the device of that name.
    pub fn of(self, device: &str) -> Self {
        Self { device: Some(device.to_owned()), ..self }
    }

    /// Says what makes no sense in it.
    pub fn check(&self) -> Result<(), DiskFaultError> {
        self.kind.check()?;
        match self.when {
            When::Nth { operation: 0 } => Err(DiskFaultError::NoOperation),
            When::During { begin_ns, end_ns: Some(end_ns), .. } if end_ns <= begin_ns => {
                Err(DiskFaultError::EmptyEpisode { begin_ns, end_ns })
            }
            When::During { probability, .. } if !(probability > 0.0 && probability <= 1.0) => {
                Err(DiskFaultError::Ratio { what: "probability", value: probability })
            }
            When::During { probability, .. } if probability < 1.0 && self.kind.is_state() => {
                Err(DiskFaultError::ProbabilityOfState { fault: self.kind.name() })
            }
            _ => Ok(()),
        }
    }
}

/// When a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "when", rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum When {
    /// From `begin_ns` of world time until before `end_ns` (`None`: until it is cleared). What happens to operations
    /// happens to each that matches, with that probability; what happens to a device happens once, at `begin_ns`.
    During {
        /// World time, nanoseconds; a time that has passed means now.
        begin_ns: u64,
        /// World time, nanoseconds.
        #[serde(default)]
        end_ns: Option<u64>,
        /// Above 0, at most 1.
        #[serde(default = "always")]
        probability: f64,
    },
    /// Once: at the nth operation that matches, counted from 1 since the fault was set.
    Nth {
        /// At least 1.
        operation: u64,
    },
}

fn always() -> f64 {
    1.0
}

impl When {
    /// At the next operation that matches.
    pub const NEXT: Self = Self::Nth { operation: 1 };

    /// Every matching operation, from `begin_ns` until before `end_ns`, both in nanoseconds of world time.
    pub fn between(begin_ns: u64, end_ns: u64) -> Self {
        Self::During { begin_ns, end_ns: Some(end_ns), probability: 1.0 }
    }

    /// Every matching operation from `begin_ns` on, until the fault is cleared.
    pub fn since(begin_ns: u64) -> Self {
        Self::During { begin_ns, end_ns: None, probability: 1.0 }
    }
}

/// What breaks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum DiskFaultKind {
    /// A read fails with EIO.
    ReadError,
    /// A write or truncation fails with EIO and changes nothing.
    WriteError,
    /// A sync fails with EIO. Of a file, the bytes that it covered are no longer dirty: no later sync carries them. The
    /// cache shows them until their pages are evicted, the disk is unplugged or power is lost (Linux ext4 and XFS).
    SyncError,
    /// Others use that part of the device: what does not fit beside them fails with `StorageFull`; where nothing is free, a
    /// new file too.
    NoSpace {
        /// 0 to 1, of the capacity.
        fill: f64,
    },
    /// A write stops in the middle: a prefix is written, and the call fails with `WriteZero`.
    ShortWrite,
    /// Bits of clean bytes of one file flip. Their pages count as evicted: the next read sees it.
    BitRot {
        /// At least 1.
        bits: u32,
    },
    /// The device puts the bytes of a write elsewhere, at a sector of some file of the same device, and reports success. The
    /// right place keeps what it had, which shows once the page has left the cache.
    MisdirectedWrite,
    /// A read answers with the bytes of another place of the device.
    MisdirectedRead,
    /// A sync reports success and makes nothing durable. The bytes stay pending and may become durable with age.
    LyingSync,
    /// Operations issued now end only after the episode.
    Stuck,
    /// Everything takes longer.
    Slow {
        /// At least 1.
        factor: f64,
    },
    /// Reads, writes and syncs move their bytes no faster than this.
    Throttled {
        /// At least 1.
        bytes_per_second: u64,
    },
    /// The device is unplugged: its cache is lost as with power, every operation fails with EIO, and files that were open
    /// stay dead when it comes back.
    Removed,
    /// All files of the device are gone at once, under the running process.
    Wiped,
}

impl DiskFaultKind {
    fn check(self) -> Result<(), DiskFaultError> {
        match self {
            Self::NoSpace { fill } if !(0.0..=1.0).contains(&fill) => {
                Err(DiskFaultError::Ratio { what: "fill", value: fill })
            }
            Self::Slow { factor } if !(factor >= 1.0 && factor.is_finite()) => Err(DiskFaultError::Factor(factor)),
            Self::Throttled { bytes_per_second: 0 } => Err(DiskFaultError::ZeroRate),
            Self::BitRot { bits: 0 } => Err(DiskFaultError::NoBits),
            _ => Ok(()),
        }
    }

    /// True for what is a state or an act of the device, not of single operations.
    pub(super) fn is_state(self) -> bool {
        matches!(self, Self::NoSpace { .. } | Self::Stuck | Self::Slow { .. } | Self::Throttled { .. }) || self.is_act()
    }

    /// True for what happens to the device at one instant.
    pub(super) fn is_act(self) -> bool {
        matches!(self, Self::BitRot { .. } | Self::Removed | Self::Wiped)
    }

    /// True for what costs time, and so is decided when an operation is issued.
    pub(super) fn is_delay(self) -> bool {
        matches!(self, Self::Stuck | Self::Slow { .. } | Self::Throttled { .. })
    }

    /// As in serialised form.
    pub fn name(self) -> &'static str {
        self.info().name
    }

    /// What it does and what it stands for.
    pub fn info(self) -> &'static DiskFaultInfo {
        let place = match self {
            Self::ReadError => 0,
            Self::WriteError => 1,
            Self::SyncError => 2,
            Self::NoSpace { .. } => 3,
            Self::ShortWrite => 4,
            Self::BitRot { .. } => 5,
            Self::MisdirectedWrite => 6,
            Self::MisdirectedRead => 7,
            Self::LyingSync => 8,
            Self::Stuck => 9,
            Self::Slow { .. } => 10,
            Self::Throttled { .. } => 11,
            Self::Removed => 12,
            Self::Wiped => 13,
        };
        &DISK_FAULTS[place]
    }
}

/// One line of a list of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskFaultInfo {
    /// As in serialised form.
    pub name: &'static str,
    /// What it does.
    pub effect: &'static str,
    /// The real incident that it stands for.
    pub incident: &'static str,
}

const fn info(name: &'static str, effect: &'static str, incident: &'static str) -> DiskFaultInfo {
    DiskFaultInfo { name, effect, incident }
}

/// Every disk fault.
pub const DISK_FAULTS: [DiskFaultInfo; 14] = [
    info(
        "read-error",
        "a read fails with EIO",
        "latent sector errors: 3.45 % of 1.53 million drives in 32 months (Bairavasundaram et al., SIGMETRICS 2007)",
    ),
    info(
        "write-error",
        "a write or truncation fails with EIO and changes nothing",
        "one failed disk of a broker with several took all its partitions down until Kafka's KIP-112 (JBOD failure handling)",
    ),
    info(
        "sync-error",
        "a sync fails with EIO and the dirty bytes are forgotten, so that the next sync succeeds without them",
        "PostgreSQL's fsyncgate, 2018; five file systems measured by Rebello et al., USENIX ATC 2020",
    ),
    info(
        "no-space",
        "part of the device is taken by others; what does not fit fails with ENOSPC",
        "Toyota stopped 14 plants in August 2023 when servers of its parts system ran out of disk space",
    ),
    info(
        "short-write",
        "only a prefix of a write arrives, and the call fails",
        "write(2) may write less than asked; a log then ends in half a batch, as after a disk that filled up in its middle",
    ),
    info(
        "bit-rot",
        "bits of bytes at rest flip",
        "over 400,000 blocks with wrong checksums on 1.53 million drives in 41 months (Bairavasundaram et al., FAST 2008)",
    ),
    info(
        "misdirected-write",
        "a write lands in another place of the device and is missing where it belongs",
        "identity discrepancies, the mark of lost and misdirected writes, in the same study (FAST 2008)",
    ),
    info(
        "misdirected-read",
        "a read answers with the bytes of another place",
        "controllers and firmware that answer with another sector; silent corruption found by CERN's fsprobe, 2007",
    ),
    info(
        "lying-sync",
        "a sync says done and nothing is durable",
        "13 of 15 SSDs lost or damaged data under power faults (Zheng et al., FAST 2013)",
    ),
    info(
        "stuck",
        "operations end only after the episode",
        "Amazon EBS in us-east-1, April 2011: a re-mirroring storm left 13 % of a zone's volumes stuck for hours to days",
    ),
    info(
        "slow",
        "every operation takes a multiple of its time",
        "101 reports of fail-slow hardware from 12 institutions (Gunawi et al., FAST 2018)",
    ),
    info(
        "throttled",
        "bytes move no faster than a rate",
        "cloud volumes that ran out of burst credits (Amazon EBS gp2) and fall to their base rate",
    ),
    info(
        "removed",
        "the device is gone and every operation fails with EIO, perhaps until it returns",
        "HPE SAS SSDs whose firmware ended them at 32,768 hours of service, all of one age at once, 2019",
    ),
    info(
        "wiped",
        "all files of the device vanish under the running process",
        "GitLab, 31 January 2017: the data directory of the live primary was removed",
    ),
];

/// What makes no sense in a fault.
#[derive(Clone, Debug, PartialEq)]
pub enum DiskFaultError {
    /// A ratio or probability outside of its range, or no number.
    Ratio {
        /// Which one.
        what: &'static str,
        /// What was given.
        value: f64,
    },
    /// A slow-down by less than 1, or without end.
    Factor(f64),
    /// A throttle to nothing; that is `stuck`.
    ZeroRate,
    /// A rot of no bits.
    NoBits,
    /// Operations are counted from 1.
    NoOperation,
    /// An episode that ends before it begins.
    EmptyEpisode {
        /// World time, nanoseconds.
        begin_ns: u64,
        /// World time, nanoseconds.
        end_ns: u64,
    },
    /// An episode that is over already.
    Past {
        /// World time, nanoseconds.
        end_ns: u64,
        /// World time, nanoseconds.
        now_ns: u64,
    },
    /// A device is in a state or it is not.
    ProbabilityOfState {
        /// Which fault.
        fault: &'static str,
    },
    /// The host has no such device.
    NoDevice {
        /// What was asked for.
        device: String,
        /// What there is.
        known: Vec<String>,
    },
}

impl fmt::Display for DiskFaultError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ratio { what, value } => {
                write!(f, "{what} = {value}: must lie between 0 and 1 (a probability above 0)")
            }
            Self::Factor(value) => write!(f, "factor = {value}: must be a finite number of at least 1"),
            Self::ZeroRate => write!(f, "bytes-per-second = 0: nothing would ever move; use `stuck` for that"),
            Self::NoBits => write!(f, "bits = 0: at least one bit must flip"),
            Self::NoOperation => write!(f, "operation = 0: operations are counted from 1"),
            Self::EmptyEpisode { begin_ns, end_ns } => {
                write!(f, "end-ns = {end_ns} is not after begin-ns = {begin_ns}: the episode would be empty")
            }
            Self::Past { end_ns, now_ns } => {
                write!(f, "end-ns = {end_ns}: it is {now_ns} already, the episode would never have been")
            }
            Self::ProbabilityOfState { fault } => {
                write!(f, "probability below 1 for `{fault}`: a device is in that state or it is not")
            }
            Self::NoDevice { device, known } => {
                write!(f, "no device {device:?} on this host; it has {}", known.join(", "))
            }
        }
    }
}

impl std::error::Error for DiskFaultError {}

/// Names one fault of one host, for clearing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DiskFaultId(pub u32);

/// One entry of a host's fault atlas: bytes that are not what their writer believes. Entries are never taken back; who
/// overwrites the bytes or wipes the disk heals them without a note.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Damage {
    /// The host's name.
    pub host: String,
    /// The device's name.
    pub device: String,
    /// The file, from the root of the host's disks, as it was called then; empty for a file without a name.
    pub path: String,
    /// First byte.
    pub start: u64,
    /// Behind the last byte.
    pub end: u64,
    /// What happened to them.
    pub kind: DamageKind,
    /// World time, nanoseconds.
    pub at_ns: u64,
}

/// What happened to bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DamageKind {
    /// Bits flipped.
    BitRot,
    /// Another place's bytes were written over them.
    Overwritten,
    /// They were written elsewhere.
    Missing,
    /// A failed sync forgot them.
    Forgotten,
    /// A sync lied about them.
    NotDurable,
    /// A sync lied about the names in a directory, which is the path; the range is empty.
    NamesNotDurable,
    /// They are the part of a short write that arrived.
    Partial,
    /// Another place's bytes were read instead; nothing is wrong with them at rest.
    Misread,
    /// Their device was unplugged.
    Removed,
    /// Their device was wiped.
    Wiped,
}
