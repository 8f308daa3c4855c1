//! The node's one alarm clock.

use klamm_base::NodeId;
use std::collections::BTreeSet;

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// The controller's own deadline.
    Controller,
    /// To register, or to send a heartbeat.
    Lifecycle,
    /// To fetch metadata again after a failure.
    Metadata,
    /// To send queued ISR changes again after a failure.
    Alter,
    /// A replica's own deadline.
    Replica(u32),
    /// A followed partition may be fetched again; or all of a leader's.
    Fetcher(NodeId),
    /// A parked fetch has waited long enough.
    Fetch(u64),
    /// A checkpoint of the log directories.
    Checkpoint(&'static str),
    /// To look for what has gone out of date.
    Retention,
    /// To look for a log to clean.
    Clean,
    /// A log directory failed some time ago, and the controller should know.
    DirFailed,
    /// Controlled shutdown has waited long enough.
    Shutdown,
    /// To tell again in which directories replicas lie, after a failure.
    Assign,
}

/// Timers by their instant, monotonic nanoseconds. A timer may be set at several instants; firing too often is harmless.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    due: BTreeSet<(u64, Timer)>,
}

impl Timers {
    /// Fires `timer` at `at`.
    pub(crate) fn set(&mut self, at: u64, timer: Timer) {
        self.due.insert((at, timer));
    }

    /// Takes that setting back.
    pub(crate) fn clear(&mut self, at: u64, timer: Timer) {
        self.due.remove(&(at, timer));
    }

    /// The earliest instant.
    pub(crate) fn next(&self) -> Option<u64> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes one that is due.
    pub(crate) fn pop(&mut self, mono_ns: u64) -> Option<Timer> {
        let (at, timer) = *self.due.first()?;
        if at > mono_ns {
            return None;
        }
        self.due.remove(&(at, timer));
        Some(timer)
    }

    /// Forgets everything: the node stops.
    pub(crate) fn clear_all(&mut self) {
        self.due.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_fire_in_order_and_only_when_due() {
        let mut timers = Timers::default();
        timers.set(20, Timer::Alter);
        timers.set(10, Timer::Replica(3));
        timers.set(15, Timer::Metadata);
        timers.clear(15, Timer::Metadata);
        assert_eq!((timers.next(), timers.pop(9)), (Some(10), None));
        assert_eq!(timers.pop(20), Some(Timer::Replica(3)));
        assert_eq!((timers.pop(20), timers.pop(20)), (Some(Timer::Alter), None));
    }
}
