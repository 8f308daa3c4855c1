//! What verbs say besides their target.

use super::step::Link;
use super::{Span, Target, latency};
use klamm_sim::{
    Collector, ConnectionFault, DiskFate, DiskFaultKind, Latency, Leap, LinkChange, LinkState, Listening, Often,
};
use serde::{Serialize, Serializer};
use std::fmt;

/// Links that change their state.
#[derive(Clone, Debug, PartialEq)]
pub struct Cut {
    /// Which links.
    pub link: Link,
    /// `hold = true`: bytes wait in the network and arrive after the heal; `reset = true`: they are answered with an RST;
    /// neither: they are lost and sent anew.
    pub state: LinkState,
}

impl Serialize for Cut {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Table<'a> {
            #[serde(flatten)]
            link: &'a Link,
            #[serde(skip_serializing_if = "std::ops::Not::not")]
            hold: bool,
            #[serde(skip_serializing_if = "std::ops::Not::not")]
            reset: bool,
        }
        let (hold, reset) = (self.state == LinkState::Stalled, self.state == LinkState::Reset);
        Table { link: &self.link, hold, reset }.serialize(serializer)
    }
}

/// What becomes slow.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Slow {
    /// Links.
    Link(LinkHarm),
    /// Processors.
    Cpu(SlowCpu),
}

/// Links that are not what they usually are: `{ between, and, .. }` or `{ from, to, .. }`, and in what they differ.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkHarm {
    /// Which links.
    pub link: Link,
    /// In what they differ.
    pub change: LinkChange,
}

impl LinkHarm {
    /// Evenly between two latencies.
    pub fn slow(link: Link, min: Span, max: Span) -> Self {
        Self { link, change: LinkChange::Slow(Latency::between(min.0, max.0)) }
    }
}

impl Serialize for LinkHarm {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let mut map = serializer.serialize_map(None)?;
        self.link.write_into(&mut map)?;
        match self.change {
            LinkChange::Slow(Latency::Uniform { min_ns, max_ns }) => {
                map.serialize_entry("min", &Span(min_ns))?;
                map.serialize_entry("max", &Span(max_ns))?;
            }
            LinkChange::Slow(other) => map.serialize_entry("latency", &latency::write(other))?,
            LinkChange::Jitter { ns } => map.serialize_entry("jitter", &Span(ns))?,
            LinkChange::Narrow { bytes_per_second, queue_bytes } => {
                map.serialize_entry("rate", &bytes_per_second)?;
                map.serialize_entry("queue", &queue_bytes)?;
            }
            LinkChange::Loss { ppm } => map.serialize_entry("loss", &Share(ppm))?,
            LinkChange::Corrupt { ppm } | LinkChange::Partial { ppm } => map.serialize_entry("share", &Share(ppm))?,
        }
        map.end()
    }
}

impl fmt::Display for LinkHarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.link)?;
        match self.change {
            LinkChange::Slow(latency) => write!(f, "to {}", latency::write(latency)),
            LinkChange::Jitter { ns } => write!(f, "with {} of jitter", Span(ns)),
            LinkChange::Narrow { bytes_per_second, .. } => write!(f, "to {bytes_per_second} bytes a second"),
            LinkChange::Loss { ppm } => write!(f, "{} lost", Share(ppm).of_one()),
            LinkChange::Corrupt { ppm } => write!(f, "{} with a bit flipped", Share(ppm).of_one()),
            LinkChange::Partial { ppm } => write!(f, "{} in part", Share(ppm).of_one()),
        }
    }
}

/// Slow processors: `{ cpu, min, max }`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SlowCpu {
    /// Whose.
    pub cpu: Target,
    /// Least cost of a step.
    pub min: Span,
    /// Most cost of a step.
    pub max: Span,
}

/// A machine that is gone: its name, or `{ target, disk = "lost" }`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Lose {
    /// Which one.
    pub target: Target,
    /// Whether what comes back in its name has the disk.
    pub disk: DiskFate,
}

/// A process that is asked to stop: its name, or `{ target, within }`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stop {
    /// Which one.
    pub target: Target,
    /// After which it is killed.
    pub within: Span,
}

impl Stop {
    /// How long a process has if the script says nothing: Kubernetes's grace period.
    pub const GRACE: Span = Span(30_000_000_000);
}

/// A wrong clock: `{ target, by }`, `{ target, jump }`, `{ target, drift }`, `{ target, timers }` or `{ target, leap }`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Skew {
    /// Whose clock.
    pub target: Target,
    /// How it goes wrong.
    #[serde(flatten)]
    pub how: SkewKind,
}

/// How a clock goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkewKind {
    /// `by`: it is off by so many milliseconds, of either sign.
    By(i64),
    /// `jump`: it moves by so many milliseconds, of either sign.
    Jump(i64),
    /// `drift`: it gains so many microseconds a second.
    Drift(i64),
    /// `timers`: the monotonic clock and all timers gain so many microseconds a second.
    Timers(i64),
    /// `leap`: a second is put into the day, `"repeated"` or smeared over so long.
    Leap(Leap),
}

impl Serialize for SkewKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let mut map = serializer.serialize_map(Some(1))?;
        match self {
            SkewKind::By(ms) => map.serialize_entry("by", &signed(*ms))?,
            SkewKind::Jump(ms) => map.serialize_entry("jump", &signed(*ms))?,
            SkewKind::Drift(ppm) => map.serialize_entry("drift", ppm)?,
            SkewKind::Timers(ppm) => map.serialize_entry("timers", ppm)?,
            SkewKind::Leap(Leap::Repeated) => map.serialize_entry("leap", "repeated")?,
            SkewKind::Leap(Leap::Smeared { over_ns }) => map.serialize_entry("leap", &Span(*over_ns))?,
        }
        map.end()
    }
}

/// Milliseconds with their sign, as a script writes them.
fn signed(ms: i64) -> String {
    format!("{}{}", if ms < 0 { "-" } else { "" }, Span::ms(ms.unsigned_abs()))
}

impl fmt::Display for SkewKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SkewKind::By(ms) => write!(f, "by {ms} ms"),
            SkewKind::Jump(ms) => write!(f, "jump {ms} ms"),
            SkewKind::Drift(ppm) => write!(f, "drift {ppm} ppm"),
            SkewKind::Timers(ppm) => write!(f, "timers {ppm} ppm"),
            SkewKind::Leap(Leap::Repeated) => f.write_str("leap second"),
            SkewKind::Leap(Leap::Smeared { over_ns }) => write!(f, "leap second over {}", Span(*over_ns)),
        }
    }
}

/// A part in a million, written as a share of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(pub u32);

impl Share {
    /// From a share of one, to a part in a million; `None` for less than that, and for more than all.
    pub fn from_one(share: f64) -> Option<Self> {
        let is_share = (0.000_001..=1.0).contains(&share);
        is_share.then(|| Self((share * 1e6).round() as u32))
    }

    /// As a share of one.
    pub fn of_one(self) -> f64 {
        f64::from(self.0) / 1e6
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.of_one())
    }
}

/// Full disks: a target, or `{ target, full, device }`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fill {
    /// Whose.
    pub target: Target,
    /// How much of it others have taken.
    pub full: Share,
    /// Only the device of that name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
}

/// Bytes that change.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Corrupt {
    /// Where they lie.
    AtRest(Rot),
    /// On their way: `{ between, and, share }` or `{ from, to, share }`.
    InTransit(LinkHarm),
}

/// Bits that flip on a disk: a target, or `{ target, bits, path, device }`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rot {
    /// Whose disk.
    pub target: Target,
    /// How many.
    pub bits: u32,
    /// Only in files whose path contains this.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// Only on the device of that name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
}

/// A disk that misbehaves: `{ target, fault, path, device, nth, probability }`, and what the fault needs.
#[derive(Clone, Debug, PartialEq)]
pub struct DiskHarm {
    /// Whose.
    pub target: Target,
    /// What breaks.
    pub kind: DiskFaultKind,
    /// How often.
    pub often: Often,
    /// Only paths that contain this.
    pub path: String,
    /// Only the device of that name.
    pub device: Option<String>,
}

impl Serialize for DiskHarm {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Table<'a> {
            target: &'a Target,
            #[serde(flatten)]
            kind: DiskFaultKind,
            #[serde(skip_serializing_if = "Option::is_none")]
            nth: Option<u64>,
            #[serde(skip_serializing_if = "Option::is_none")]
            probability: Option<f64>,
            #[serde(skip_serializing_if = "str::is_empty")]
            path: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            device: Option<&'a str>,
        }
        let (nth, probability) = match self.often {
            Often::Always => (None, None),
            Often::Nth(nth) => (Some(nth), None),
            Often::Sometimes(probability) => (None, Some(probability)),
        };
        let (target, path, device) = (&self.target, self.path.as_str(), self.device.as_deref());
        Table { target, kind: self.kind, nth, probability, path, device }.serialize(serializer)
    }
}

/// What a process may hold: `{ target, open-files }` or `{ target, memory, kill }`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Limit {
    /// Whose process.
    pub target: Target,
    /// Files, listeners and connections together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_files: Option<u32>,
    /// Bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// More memory ends the process, rather than failing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub kill: bool,
}

/// A garbage collector: `{ target, collector }`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Gc {
    /// Whose process.
    pub target: Target,
    /// Which one.
    pub collector: Collector,
}

/// Single connections that something goes wrong with: `{ from, to, role, fault }`, and `by` or `share` where the fault needs it.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectionHarm {
    /// Who connected; `None`: anybody.
    pub from: Option<Target>,
    /// Who listened; `None`: anybody.
    pub to: Option<Target>,
    /// What it is for, such as `fetch`; `None`: anything.
    pub role: Option<String>,
    /// What goes wrong.
    pub what: ConnectionFault,
}

impl ConnectionHarm {
    /// What breaks a connection once strikes those that live; what lasts strikes new ones too.
    pub fn strikes_new(&self) -> bool {
        !matches!(self.what, ConnectionFault::Reset | ConnectionFault::HalfOpen)
    }

    /// Every fault with the word that scripts use.
    pub fn word(&self) -> &'static str {
        match self.what {
            ConnectionFault::Reset => "reset",
            ConnectionFault::Stall => "stall",
            ConnectionFault::HalfOpen => "half-open",
            ConnectionFault::SlowClose { .. } => "slow-close",
            ConnectionFault::Corrupt { .. } => "corrupt",
            ConnectionFault::Delay { .. } => "delay",
        }
    }
}

impl Serialize for ConnectionHarm {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Table<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            from: Option<&'a Target>,
            #[serde(skip_serializing_if = "Option::is_none")]
            to: Option<&'a Target>,
            #[serde(skip_serializing_if = "Option::is_none")]
            role: Option<&'a str>,
            fault: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            by: Option<Span>,
            #[serde(skip_serializing_if = "Option::is_none")]
            share: Option<Share>,
        }
        let (by, share) = match self.what {
            ConnectionFault::SlowClose { ns } | ConnectionFault::Delay { ns } => (Some(Span(ns)), None),
            ConnectionFault::Corrupt { ppm } => (None, Some(Share(ppm))),
            _ => (None, None),
        };
        let (from, to, role) = (self.from.as_ref(), self.to.as_ref(), self.role.as_deref());
        Table { from, to, role, fault: self.word(), by, share }.serialize(serializer)
    }
}

impl fmt::Display for ConnectionHarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = |target: &Option<Target>| target.as_ref().map_or("any".to_owned(), ToString::to_string);
        let role = self.role.as_deref().unwrap_or("any role");
        write!(f, "{} -> {} ({role}) {}", end(&self.from), end(&self.to), self.word())
    }
}

/// Connects that are not answered as they should be: `{ target, answer = "refuse" }` or `"silent"`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Listen {
    /// Where they arrive.
    pub target: Target,
    /// What becomes of them.
    pub answer: Listening,
}
