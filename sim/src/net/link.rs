//! One direction between two hosts.

use super::profile::LinkProfile;
use crate::ctx;
use crate::event::LinkState;
use crate::rng;
use rand_chacha::ChaCha8Rng;

/// The time after which TCP sends a lost segment again, at the least (RFC 6298 asks for 1 s, Linux takes 200 ms). It doubles
/// with every loss in a row.
pub(crate) const RETRANSMIT_MIN_NS: u64 = 200_000_000;
/// The longest that it grows to, as on Linux.
pub(crate) const RETRANSMIT_LONGEST_NS: u64 = 120_000_000_000;
/// The longest that a healed stream waits for its next retransmission. Real back-off goes on to 120 s; the interesting part
/// is that it is long beside a request and short beside a session.
const HEAL_MAX_NS: u64 = 3_000_000_000;
/// What a segment is besides its bytes.
pub(crate) const HEADER_BYTES: u64 = 66;

/// What else is drawn for a direction besides latency, loss and the end of a cut. Each has a stream of its own, made when
/// first used, so that it disturbs nothing.
#[derive(Clone, Copy, Debug)]
enum Extra {
    Jitter,
    Corrupt,
    Partial,
    Probe,
}

impl Extra {
    const fn name(self) -> &'static str {
        match self {
            Self::Jitter => "jitter",
            Self::Corrupt => "corrupt",
            Self::Partial => "partial",
            Self::Probe => "probe",
        }
    }
}

/// A segment on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Carried {
    pub arrives: u64,
    /// Which of its bits is flipped, plus one; 0 for none.
    pub flip: u32,
}

/// A direction. Its randomness is its own, so that what happens on one disturbs no other.
#[derive(Debug)]
pub(crate) struct Link {
    pub state: LinkState,
    profile: LinkProfile,
    /// Of the profile: segments only take their time.
    is_plain: bool,
    /// When the wire is free again, if bandwidth is limited.
    free_at: u64,
    /// When it was cut.
    pub down_since: u64,
    rng: ChaCha8Rng,
    extras: [Option<Box<ChaCha8Rng>>; 4],
    /// The seed of the run, and between whom it is.
    place: (u64, u32, u32),
}

impl Link {
    /// Up.
    pub fn new(seed: u64, from: u32, to: u32, profile: LinkProfile) -> Self {
        let is_plain = profile.is_plain();
        let rng = rng::stream(seed, &stream_name(from, to));
        let (state, extras) = (LinkState::Up, Default::default());
        Self { state, profile, is_plain, free_at: 0, down_since: 0, rng, extras, place: (seed, from, to) }
    }

    /// What it is like.
    pub fn profile(&self) -> &LinkProfile {
        &self.profile
    }

    /// What it is like from the next segment on.
    pub fn set_profile(&mut self, profile: LinkProfile) {
        (self.profile, self.is_plain) = (profile, profile.is_plain());
    }

    /// Whether segments may arrive.
    pub fn passes(&self) -> bool {
        self.state == LinkState::Up && self.profile.loss_ppm < 1_000_000
    }

    /// A segment of so many bytes leaves at `start`. `None`: it is lost.
    #[inline]
    pub fn carry(&mut self, now: u64, start: u64, bytes: u64) -> Option<Carried> {
        let arrives = start + self.profile.latency.draw(&mut self.rng);
        if self.is_plain { Some(Carried { arrives, flip: 0 }) } else { self.mistreat(now, start, bytes, arrives) }
    }

    /// What a direction that is not plain does besides.
    fn mistreat(&mut self, now: u64, start: u64, bytes: u64, mut arrives: u64) -> Option<Carried> {
        let profile = self.profile;
        if let Some(busy) = bytes.saturating_mul(1_000_000_000).checked_div(profile.bytes_per_second) {
            if start == now {
                if !self.has_room(now, bytes) {
                    return None;
                }
                self.free_at = self.free_at.max(now).saturating_add(busy);
                arrives = arrives.saturating_add(self.free_at - now);
            } else {
                arrives += busy; // a retransmission later on; it does not hold the wire until then
            }
        }
        if profile.jitter_ns > 0 {
            arrives += rng::between(self.extra(Extra::Jitter), 0, profile.jitter_ns);
        }
        if rng::chance(&mut self.rng, profile.loss_ppm) {
            return None;
        }
        let flip = self.flip(bytes, profile.corrupt_ppm);
        Some(Carried { arrives, flip })
    }

    /// Which bit of a segment is flipped, plus one, if one is. A segment without bytes of a stream is never corrupted: its
    /// headers are checked.
    pub fn flip(&mut self, bytes: u64, ppm: u32) -> u32 {
        let bits = bytes.saturating_sub(HEADER_BYTES).saturating_mul(8).min(u64::from(u32::MAX));
        if bits == 0 || !rng::chance(self.extra(Extra::Corrupt), ppm) {
            return 0;
        }
        1 + rng::below(self.extra(Extra::Corrupt), bits) as u32
    }

    /// Whether the queue takes so many bytes more. A free wire takes anything.
    fn has_room(&self, now: u64, bytes: u64) -> bool {
        let (busy_ns, profile) = (self.free_at.saturating_sub(now), &self.profile);
        let queued = u128::from(busy_ns) * u128::from(profile.bytes_per_second) / 1_000_000_000;
        profile.queue_bytes == 0 || queued == 0 || queued + u128::from(bytes) <= u128::from(profile.queue_bytes)
    }

    /// The same for a segment without bytes that is sent until it arrives: the next one says the same, one retransmission
    /// time-out later.
    pub fn carry_surely(&mut self, now: u64) -> u64 {
        let carried = self.carry(now, now, HEADER_BYTES);
        carried.map_or(now + RETRANSMIT_MIN_NS, |carried| carried.arrives)
    }

    /// Whether a question of keep-alive, or its answer, is lost.
    pub fn loses_probe(&mut self) -> bool {
        let loss_ppm = self.profile.loss_ppm;
        loss_ppm > 0 && rng::chance(self.extra(Extra::Probe), loss_ppm)
    }

    /// How many of so many bytes a read or a write takes: all, or fewer but at least one.
    pub fn take_part(&mut self, count: usize) -> usize {
        let ppm = self.profile.partial_ppm;
        if count < 2 || ppm == 0 || !rng::chance(self.extra(Extra::Partial), ppm) {
            return count;
        }
        1 + rng::below(self.extra(Extra::Partial), count as u64 - 1) as usize
    }

    fn extra(&mut self, what: Extra) -> &mut ChaCha8Rng {
        let (seed, from, to) = self.place;
        self.extras[what as usize]
            .get_or_insert_with(|| Box::new(rng::stream(seed, &format!("{}/{}", stream_name(from, to), what.name()))))
    }

    /// How long after the heal a stream that waited sends again: at once, or when its retransmission timer fires, which the
    /// length of the cut has backed off.
    pub fn retransmission_delay(&mut self, now: u64, since: u64) -> u64 {
        if rng::chance(&mut self.rng, 500_000) {
            return 0;
        }
        let longest = (now - since.min(now)).clamp(RETRANSMIT_MIN_NS, HEAL_MAX_NS);
        rng::between(&mut self.rng, 0, longest)
    }
}

fn stream_name(from: u32, to: u32) -> String {
    let name = |host| ctx::host_name(host).unwrap_or_default();
    format!("link/{}/{}", name(from), name(to))
}
