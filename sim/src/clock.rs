//! What the clocks of a host say. World time stays what it is: clocks are read off it, and timers are set in it.
//!
//! The wall clock has an offset that a jump moves, a drift against world time, and at most one leap second under way. The
//! monotonic clock never jumps, but its rate may be wrong; timers follow it. The two are apart: who wants an oscillator
//! that spoils both sets both.

use crate::hosts::{HostError, WALL_START_MS};
use crate::timer::NEVER;
use crate::world::Inner;
use serde::{Deserialize, Serialize};

const MILLION: i64 = 1_000_000;
const SECOND_NS: i64 = 1_000_000_000;

/// How a host lives through a second that is put into the day. Its wall clock is one second behind from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Leap {
    /// The last second is counted twice: at the leap the clock jumps back by one second, as Linux does.
    Repeated,
    /// The clock runs slow for so many nanoseconds from the leap on, until it has lost the second. The usual smear is a day.
    Smeared {
        /// Nanoseconds of world time.
        over_ns: u64,
    },
}

/// A rate is off by so many parts in a million; at `-1_000_000` a clock would stand, below that it would run backwards.
pub(crate) fn check_rate(ppm: i64) -> Result<i64, HostError> {
    if (1 - MILLION..=MILLION).contains(&ppm) { Ok(ppm) } else { Err(HostError::ClockRate { ppm }) }
}

/// The clocks of one host.
#[derive(Debug, Default)]
pub(crate) struct Clocks {
    wall: Wall,
    mono: Option<Mono>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Wall {
    /// Off by so many nanoseconds at `since`.
    offset_ns: i64,
    since: u64,
    ppm: i64,
    /// From when on, and over how long, a second is lost.
    leap: Option<(u64, u64)>,
}

/// The monotonic clock said `local` at `world`, and goes on at a wrong rate.
#[derive(Clone, Copy, Debug)]
struct Mono {
    world: u64,
    local: u64,
    ppm: i64,
}

impl Wall {
    fn lost_ns(&self, now: u64) -> i64 {
        let Some((at, over)) = self.leap.filter(|(at, _)| now >= *at) else { return 0 };
        let passed = now - at;
        if passed >= over {
            return SECOND_NS;
        }
        (i128::from(SECOND_NS) * i128::from(passed) / i128::from(over)) as i64
    }

    fn offset_ns(&self, now: u64) -> i64 {
        let drifted = i128::from(now - self.since) * i128::from(self.ppm) / i128::from(MILLION);
        self.offset_ns.saturating_add(drifted as i64).saturating_sub(self.lost_ns(now))
    }

    /// Same clock, told from now on.
    fn rebase(&mut self, now: u64) {
        let lost = self.lost_ns(now);
        self.offset_ns = self.offset_ns(now).saturating_add(lost);
        self.since = now;
        if self.leap.is_some_and(|(at, over)| now >= at && now - at >= over) {
            self.offset_ns = self.offset_ns.saturating_sub(SECOND_NS);
            self.leap = None;
        }
    }
}

impl Mono {
    fn local(&self, now: u64) -> u64 {
        let passed = u128::from(now - self.world) * (MILLION + self.ppm) as u128 / MILLION as u128;
        self.local.saturating_add(u64::try_from(passed).unwrap_or(NEVER))
    }

    /// The first instant at which the clock says `local` or more; of what is over already, some instant that is over.
    fn world(&self, local: u64) -> u64 {
        let ahead = u128::from(local.saturating_sub(self.local)) * MILLION as u128;
        let passed = ahead.div_ceil((MILLION + self.ppm) as u128);
        u64::try_from(passed + u128::from(self.world)).unwrap_or(NEVER)
    }
}

impl Clocks {
    /// Milliseconds since 1970.
    pub fn wall_ms(&self, now: u64) -> i64 {
        let wall = &self.wall;
        let plain = wall.ppm == 0 && wall.leap.is_none();
        let offset_ns = if plain { wall.offset_ns } else { wall.offset_ns(now) };
        WALL_START_MS + (now as i64).saturating_add(offset_ns).div_euclid(MILLION)
    }

    /// The wall clock is true time plus so much.
    pub fn set_offset_ms(&mut self, now: u64, offset_ms: i64) {
        self.wall.rebase(now);
        self.wall.offset_ns = offset_ms.saturating_mul(MILLION).saturating_add(self.wall.lost_ns(now));
    }

    /// The wall clock jumps; answers by how many milliseconds it is off now.
    pub fn jump_ms(&mut self, now: u64, by_ms: i64) -> i64 {
        self.wall.rebase(now);
        self.wall.offset_ns = self.wall.offset_ns.saturating_add(by_ms.saturating_mul(MILLION));
        self.wall.offset_ns(now).div_euclid(MILLION)
    }

    /// The wall clock's rate is off.
    pub fn set_drift(&mut self, now: u64, ppm: i64) {
        self.wall.rebase(now);
        self.wall.ppm = ppm;
    }

    /// A second is lost at `at`.
    pub fn leap(&mut self, now: u64, at: u64, leap: Leap) -> Result<(), HostError> {
        self.wall.rebase(now);
        if self.wall.leap.is_some() {
            return Err(HostError::LeapUnderWay);
        }
        let over = match leap {
            Leap::Repeated => 0,
            Leap::Smeared { over_ns: 0 } => return Err(HostError::Zero { what: "the length of a smear" }),
            Leap::Smeared { over_ns } => over_ns,
        };
        self.wall.leap = Some((at.max(now), over));
        Ok(())
    }

    /// Whether a leap second is under way or still to come.
    pub fn has_leap(&mut self, now: u64) -> bool {
        self.wall.rebase(now);
        self.wall.leap.is_some()
    }

    /// No second is lost any more; what is lost already stays lost.
    pub fn end_leap(&mut self, now: u64) {
        self.wall.rebase(now);
        let lost = self.wall.lost_ns(now);
        self.wall.offset_ns = self.wall.offset_ns.saturating_sub(lost);
        self.wall.leap = None;
    }

    /// Monotonic nanoseconds.
    pub fn mono_ns(&self, now: u64) -> u64 {
        self.mono.map_or(now, |mono| mono.local(now))
    }

    /// When the monotonic clock says so.
    pub fn world_ns(&self, local: u64) -> u64 {
        match self.mono {
            Some(mono) if local != NEVER => mono.world(local),
            _ => local,
        }
    }

    fn set_rate(&mut self, now: u64, ppm: i64) {
        self.mono = Some(Mono { world: now, local: self.mono_ns(now), ppm });
    }
}

impl Inner {
    /// What the monotonic clock of a host, or the stage, says.
    pub fn mono_ns(&self, host: u32) -> u64 {
        self.machines.get(host as usize).map_or(self.now, |machine| machine.clocks.mono_ns(self.now))
    }

    /// When it will say that.
    pub fn when(&self, host: u32, local: u64) -> u64 {
        self.machines.get(host as usize).map_or(local, |machine| machine.clocks.world_ns(local))
    }

    /// The monotonic clock of a host goes at another rate; timers that are set keep what they said on that clock.
    pub fn set_mono_rate(&mut self, host: u32, ppm: i64) {
        let now = self.now;
        let clocks = &mut self.machines[host as usize].clocks;
        let before = clocks.mono;
        clocks.set_rate(now, ppm);
        let after = clocks.mono;
        self.timers.reset_all(host, |deadline| {
            if deadline <= now {
                return deadline;
            }
            let local = before.map_or(deadline, |mono| mono.local(deadline));
            after.map_or(local, |mono| mono.world(local))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_timer_never_fires_before_its_clock_says_so_and_at_most_one_step_late(
            ppm in 1 - MILLION..=MILLION, world in 0..1_000_000_000_000_u64, after in 0..1_000_000_000_000_u64,
        ) {
            let mono = Mono { world, local: 77, ppm };
            let at = mono.world(77 + after);
            prop_assert!(mono.local(at) >= 77 + after);
            prop_assert!(at == world || mono.local(at - 1) < 77 + after);
        }

        #[test]
        fn telling_a_wall_clock_anew_changes_at_most_a_nanosecond(
            ppm in 1 - MILLION..=MILLION, offset in -1_000_000_000..1_000_000_000_i64, now in 0..100_000_000_000_u64,
            at in 0..100_000_000_000_u64, over in 1..100_000_000_000_u64, later in 0..100_000_000_000_u64,
        ) {
            let wall = Wall { offset_ns: offset, since: 0, ppm, leap: Some((at, over)) };
            let mut told = wall;
            told.rebase(now);
            let (one, other) = (wall.offset_ns(now + later), told.offset_ns(now + later));
            prop_assert!((one - other).abs() <= 2, "{one} and {other}");
        }
    }
}
