//! Both clocks of the machine, and timers of the runtime.

use crate::{Clock, Timer};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};
use tokio::runtime::Handle;
use tokio::time::Sleep;

pub(super) struct RealClock {
    handle: Handle,
    started: Instant,
}

impl RealClock {
    pub(super) fn new(handle: Handle) -> Self {
        Self { handle, started: Instant::now() }
    }
}

impl Clock for RealClock {
    fn mono_ns(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }

    fn wall_ms(&self) -> i64 {
        match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => since.as_millis() as i64,
            Err(before) => -(before.duration().as_millis() as i64),
        }
    }

    fn timer(&self) -> Box<dyn Timer> {
        Box::new(RealTimer { handle: self.handle.clone(), started: self.started, deadline: None, sleep: None })
    }
}

/// Setting only notes the deadline; the runtime's timer is touched when somebody waits, and only if what it is set to would be too
/// late.
struct RealTimer {
    handle: Handle,
    started: Instant,
    deadline: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer for RealTimer {
    fn set(&mut self, deadline_ns: Option<u64>) {
        // Beyond what an Instant can hold is never.
        self.deadline = deadline_ns.and_then(|ns| self.started.checked_add(Duration::from_nanos(ns)));
    }

    fn poll_fired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.deadline else { return Poll::Pending };
        if deadline <= Instant::now() {
            return Poll::Ready(());
        }
        let sleep = self.sleep.get_or_insert_with(|| {
            let _in_runtime = self.handle.enter();
            Box::pin(tokio::time::sleep_until(deadline.into()))
        });
        if sleep.is_elapsed() || sleep.deadline().into_std() > deadline {
            sleep.as_mut().reset(deadline.into());
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if deadline <= Instant::now() {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline.into());
        }
        Poll::Pending
    }
}
