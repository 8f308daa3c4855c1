//! What a direction, and the network as a whole, are like.

use super::errors::NetError;
use super::latency::{Latency, longest, share};
use crate::rng::mix;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What one direction of a link is like while it is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkProfile {
    /// How long a segment takes.
    pub latency: Latency,
    /// On top of it, drawn evenly from 0 up to this, nanoseconds. A stream is never reordered by it: what would overtake
    /// arrives with what it would have overtaken.
    #[serde(default)]
    pub jitter_ns: u64,
    /// Bytes a second that the direction carries, headers of 66 bytes a segment included; 0 is without limit.
    #[serde(default)]
    pub bytes_per_second: u64,
    /// Bytes that may wait for the wire; a segment that does not fit is lost, unless the wire is free. 0 is without limit.
    #[serde(default)]
    pub queue_bytes: u64,
    /// Segments lost in a million. TCP sends them again after 200, 400, 800 … milliseconds; all of them lost is a black
    /// hole. Lost questions of a connect are asked again after 1, 2, 4 … seconds.
    #[serde(default)]
    pub loss_ppm: u32,
    /// Segments in a million that arrive with one bit flipped, as when a checksum misses it.
    #[serde(default)]
    pub corrupt_ppm: u32,
    /// Reads and writes in a million that take less than they could, down to one byte, as a loaded kernel may.
    #[serde(default)]
    pub partial_ppm: u32,
}

impl LinkProfile {
    /// Nothing but a latency.
    pub const fn new(latency: Latency) -> Self {
        Self { latency, jitter_ns: 0, bytes_per_second: 0, queue_bytes: 0, loss_ppm: 0, corrupt_ppm: 0, partial_ppm: 0 }
    }

    /// That there can be such a link.
    ///
    /// # Errors
    /// [`NetError`]: what cannot be, with its value.
    pub fn check(&self) -> Result<(), NetError> {
        self.latency.check()?;
        longest("a jitter", self.jitter_ns)?;
        share("a loss", self.loss_ppm)?;
        share("a corruption", self.corrupt_ppm)?;
        share("a share of partial reads and writes", self.partial_ppm)?;
        match (self.bytes_per_second, self.queue_bytes) {
            (_, 0) => Ok(()),
            (0, queue_bytes) => Err(NetError::QueueWithoutBandwidth { queue_bytes }),
            (_, queue_bytes) if queue_bytes < 1_500 => Err(NetError::QueueTooShort { queue_bytes }),
            _ => Ok(()),
        }
    }

    /// Nothing happens to a segment but that it takes its time.
    pub(crate) const fn is_plain(&self) -> bool {
        self.jitter_ns == 0 && self.bytes_per_second == 0 && self.loss_ppm == 0 && self.corrupt_ppm == 0
    }

    /// For the hash of the trace.
    pub(crate) fn words(&self) -> [u64; 2] {
        match self.latency.ends() {
            Some((min, max)) if self.is_plain() && self.partial_ppm == 0 => [min, max],
            _ => [self.digest(), self.bytes_per_second],
        }
    }

    fn digest(&self) -> u64 {
        let kind = match self.latency {
            Latency::Constant { ns } => [1, ns, 0, 0, 0, 0],
            Latency::Uniform { min_ns, max_ns } => [2, min_ns, max_ns, 0, 0, 0],
            Latency::Exponential { min_ns, mean_ns } => [3, min_ns, mean_ns, 0, 0, 0],
            Latency::Lognormal { median_ns, p99_ns } => [4, median_ns, p99_ns, 0, 0, 0],
            Latency::Bimodal { fast_min_ns, fast_max_ns, slow_min_ns, slow_max_ns, slow_ppm } => {
                [5, fast_min_ns, fast_max_ns, slow_min_ns, slow_max_ns, u64::from(slow_ppm)]
            }
        };
        let shares = [self.loss_ppm, self.corrupt_ppm, self.partial_ppm].map(u64::from);
        let words = kind.into_iter().chain([self.jitter_ns, self.bytes_per_second, self.queue_bytes]).chain(shares);
        words.fold(0, |hash, word| mix(hash ^ word).rotate_left(17))
    }
}

impl From<Latency> for LinkProfile {
    fn from(latency: Latency) -> Self {
        Self::new(latency)
    }
}

impl fmt::Display for LinkProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.latency)?;
        let mut tell = |value: u64, what: &str| if value > 0 { write!(f, ", {value} {what}") } else { Ok(()) };
        tell(self.jitter_ns / 1_000, "us of jitter")?;
        tell(self.bytes_per_second, "bytes a second")?;
        tell(self.queue_bytes, "bytes of queue")?;
        tell(u64::from(self.loss_ppm), "in a million lost")?;
        tell(u64::from(self.corrupt_ppm), "in a million corrupted")?;
        tell(u64::from(self.partial_ppm), "in a million reads and writes partial")
    }
}

/// How an end finds out that its peer is gone although it has nothing to say (`SO_KEEPALIVE` with its three times).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeepAlive {
    /// After so long without a sign of the peer it asks, nanoseconds.
    pub idle_ns: u64,
    /// And again after each of these, nanoseconds.
    pub interval_ns: u64,
    /// After so many questions without an answer, and one more interval, the connection ends with `TimedOut`.
    pub probes: u32,
}

impl KeepAlive {
    /// Linux's own times: two hours, then nine questions 75 s apart.
    pub const fn linux() -> Self {
        Self { idle_ns: 7_200_000_000_000, interval_ns: 75_000_000_000, probes: 9 }
    }

    fn check(&self) -> Result<(), NetError> {
        above_zero("the idle time of keep-alive", self.idle_ns)?;
        above_zero("the interval of keep-alive", self.interval_ns)?;
        above_zero("the number of keep-alive's questions", u64::from(self.probes))
    }
}

/// What the network is like where nothing else was said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetProfile {
    /// Every direction between two hosts.
    pub link: LinkProfile,
    /// A host to itself.
    pub loopback: LinkProfile,
    /// After which a connect without an answer fails with `TimedOut`, nanoseconds.
    pub connect_timeout_ns: u64,
    /// Bytes of one direction of a stream that may be written and not yet read.
    pub window: u32,
    /// After which a stream whose bytes nobody acknowledges dies with `TimedOut`, nanoseconds (`TCP_USER_TIMEOUT`).
    pub retransmit_limit_ns: u64,
    /// So often bytes are sent again before their stream dies with `TimedOut` (`tcp_retries2`).
    pub retransmits: u32,
    /// Connections that wait to be accepted on one port; more get no answer.
    pub backlog: u32,
    /// Of every connection. With it something will always happen: a run that waits for ever is no deadlock then.
    pub keep_alive: Option<KeepAlive>,
}

impl Default for NetProfile {
    fn default() -> Self {
        Self {
            link: LinkProfile::new(Latency::between(150_000, 500_000)),
            loopback: LinkProfile::new(Latency::between(8_000, 20_000)),
            connect_timeout_ns: 10_000_000_000,
            window: 65_536,
            retransmit_limit_ns: 30_000_000_000,
            retransmits: 15,
            backlog: 128,
            keep_alive: None,
        }
    }
}

impl NetProfile {
    /// That there can be such a network.
    ///
    /// # Errors
    /// [`NetError`]: what cannot be, with its value.
    pub fn check(&self) -> Result<(), NetError> {
        self.link.check()?;
        self.loopback.check()?;
        above_zero("the time-out of a connect", self.connect_timeout_ns)?;
        above_zero("the window of a stream", u64::from(self.window))?;
        above_zero("the time limit of retransmissions", self.retransmit_limit_ns)?;
        above_zero("the number of retransmissions", u64::from(self.retransmits))?;
        above_zero("the backlog of a listener", u64::from(self.backlog))?;
        self.keep_alive.map_or(Ok(()), |keep_alive| keep_alive.check())
    }
}

pub(crate) fn above_zero(what: &'static str, value: u64) -> Result<(), NetError> {
    if value == 0 { Err(NetError::Zero { what }) } else { Ok(()) }
}
