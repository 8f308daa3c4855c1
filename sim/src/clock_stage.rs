//! The stage's hands on the clocks of hosts.

use crate::clock::{Leap, check_rate};
use crate::ctx;
use crate::event::WorldEvent;
use crate::hosts::HostError;
use crate::stage::{Host, World};
use crate::world::flush;

impl World {
    /// Moves the host's wall clock by so many milliseconds, forwards or backwards.
    ///
    /// # Errors
    /// [`HostError::Unknown`].
    pub fn jump_wall_ms(&self, host: Host, by_ms: i64) -> Result<(), HostError> {
        self.check(host)?;
        self.with(|world| {
            let offset_ms = world.machines[host.0 as usize].clocks.jump_ms(world.now, by_ms);
            world.note_process(host.0, "moves its wall clock", by_ms as u64);
            world.tell(WorldEvent::ClockSet { host: world.name(host.0), offset_ms });
        });
        flush();
        Ok(())
    }

    /// From now on the host's wall clock gains so many microseconds a second on world time; less than zero, it loses.
    ///
    /// # Errors
    /// [`HostError::Unknown`]; [`HostError::ClockRate`] outside of `-999_999..=1_000_000`.
    pub fn set_wall_drift_ppm(&self, host: Host, ppm: i64) -> Result<(), HostError> {
        self.check(host)?;
        let ppm = check_rate(ppm)?;
        self.with(|world| {
            world.machines[host.0 as usize].clocks.set_drift(world.now, ppm);
            world.note_process(host.0, "lets its wall clock drift", ppm as u64);
            world.tell(WorldEvent::ClockDrifts { host: world.name(host.0), ppm });
        });
        flush();
        Ok(())
    }

    /// From now on the host's monotonic clock, and with it every timer, those that are set included, gains so many
    /// microseconds a second on world time; less than zero, it loses. It never jumps.
    ///
    /// # Errors
    /// [`HostError::Unknown`]; [`HostError::ClockRate`] outside of `-999_999..=1_000_000`.
    pub fn set_timer_drift_ppm(&self, host: Host, ppm: i64) -> Result<(), HostError> {
        self.check(host)?;
        let ppm = check_rate(ppm)?;
        ctx::set_skewed();
        self.with(|world| {
            world.set_mono_rate(host.0, ppm);
            world.note_process(host.0, "lets its timers drift", ppm as u64);
            world.tell(WorldEvent::TimersDrift { host: world.name(host.0), ppm });
        });
        flush();
        Ok(())
    }

    /// The host's wall clock lives through a leap second at that world time (now, if that is over).
    ///
    /// # Errors
    /// [`HostError::Unknown`]; [`HostError::LeapUnderWay`]; [`HostError::Zero`] for a smear of no length.
    pub fn leap(&self, host: Host, at_ns: u64, leap: Leap) -> Result<(), HostError> {
        self.check(host)?;
        self.with(|world| {
            world.machines[host.0 as usize].clocks.leap(world.now, at_ns, leap)?;
            world.note_process(host.0, "has a leap second", at_ns);
            world.tell(WorldEvent::LeapSecond { host: world.name(host.0), at_ns, leap });
            Ok(())
        })?;
        flush();
        Ok(())
    }
}
