//! One direction between two hosts.

use super::Latency;
use crate::ctx;
use crate::event::LinkState;
use crate::rng;
use rand_chacha::ChaCha8Rng;

/// The time after which TCP sends a lost segment again, at the least (RFC 6298 asks for 1 s, Linux takes 200 ms).
const RETRANSMIT_MIN_NS: u64 = 200_000_000;
/// The longest that a healed stream waits for its next retransmission. Real back-off goes on to 120 s; the interesting part
/// is that it is long beside a request and short beside a session.
const RETRANSMIT_MAX_NS: u64 = 3_000_000_000;

/// A direction. Its randomness is its own, so that what happens on one disturbs no other.
#[derive(Debug)]
pub(crate) struct Link {
    pub state: LinkState,
    pub latency: Latency,
    /// When the wire is free again, if bandwidth is limited.
    free_at: u64,
    /// When it was cut.
    pub down_since: u64,
    rng: ChaCha8Rng,
}

impl Link {
    /// Up.
    pub fn new(seed: u64, from: u32, to: u32, latency: Latency) -> Self {
        let name = |host| ctx::host_name(host).unwrap_or_default();
        let rng = rng::stream(seed, &format!("link/{}/{}", name(from), name(to)));
        Self { state: LinkState::Up, latency, free_at: 0, down_since: 0, rng }
    }

    /// Whether segments arrive.
    pub fn is_up(&self) -> bool {
        self.state == LinkState::Up
    }

    /// When a segment of so many bytes that leaves at `start` arrives.
    pub fn transit(&mut self, now: u64, start: u64, bytes: u64) -> u64 {
        let latency = self.latency;
        let mut at = start + rng::between(&mut self.rng, latency.min_ns, latency.max_ns.max(latency.min_ns));
        if let Some(busy) = bytes.saturating_mul(1_000_000_000).checked_div(latency.bytes_per_second) {
            if start == now {
                self.free_at = self.free_at.max(now) + busy;
                at += self.free_at - now;
            } else {
                at += busy; // a retransmission later on; it does not hold the wire until then
            }
        }
        if rng::chance(&mut self.rng, latency.loss_ppm) {
            at += RETRANSMIT_MIN_NS;
        }
        at
    }

    /// How long after the heal a stream that waited sends again: at once, or when its retransmission timer fires, which the
    /// length of the cut has backed off.
    pub fn retransmission_delay(&mut self, now: u64) -> u64 {
        if rng::chance(&mut self.rng, 500_000) {
            return 0;
        }
        let longest = (now - self.down_since.min(now)).clamp(RETRANSMIT_MIN_NS, RETRANSMIT_MAX_NS);
        rng::between(&mut self.rng, 0, longest)
    }
}
