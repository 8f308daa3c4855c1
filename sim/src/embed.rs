//! The only place that names madsim: how the world stands in it, and the few words that guests need of it.

use madsim::runtime::{Handle, Runtime};
use madsim::task::NodeId;
use madsim::time::TimeHandle;
use serde::{Deserialize, Serialize};
use std::future::{Future, poll_fn};
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// What stands around a run. The trace of a seed is the same in all three, unless code of the run asks std for what only
/// madsim makes repeatable, or has guests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Embedding {
    /// The whole run is one poll inside a madsim simulation: the order of `HashMap`s, `Instant`, `SystemTime` and
    /// `getrandom` hang on the seed and on simulated time, and a stray thread panics. This costs next to nothing.
    #[default]
    InsideOnePoll,
    /// The run is one task of a madsim simulation, and [guests](crate::guest) run beside it. Each step of time costs a madsim
    /// timer, and `Instant` runs ahead of world time by madsim's noise (some 100 ns).
    MadsimTask,
    /// Nothing. What std draws, measures and spawns is real, and the run repeats only if its code asks for none of that. It is
    /// there to show that madsim has no part in the course of a run.
    Alone,
}

fn runtime(seed: u64) -> Runtime {
    Runtime::with_seed_and_config(seed, madsim::Config::default())
}

/// Runs `act` inside a madsim simulation of that seed. What it is handed passes a time step on, in nanoseconds.
pub(crate) fn inside<T>(seed: u64, act: impl FnOnce(&dyn Fn(u64)) -> T) -> T {
    runtime(seed).block_on(async move {
        let time = TimeHandle::current();
        act(&|ns| time.advance(Duration::from_nanos(ns)))
    })
}

/// Runs `task` as the main task of a madsim simulation of that seed, which ends at `limit_ns` at the latest. False if it panicked, or something beside it did: then
/// the simulation is leaked, since what lies in it may be half done.
pub(crate) fn as_task(seed: u64, limit_ns: Option<u64>, task: impl Future<Output = ()>) -> bool {
    let mut runtime = ManuallyDrop::new(runtime(seed));
    if let Some(limit_ns) = limit_ns {
        // The task itself sees to the limit first; this is for guests that never come to it.
        runtime.set_time_limit(Duration::from_nanos(limit_ns) + Duration::from_millis(1));
    }
    let mut task = ManuallyDrop::new(Box::pin(task));
    // madsim would print a panic that passes it.
    let main = poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(cx))) {
        Ok(polled) => polled.map(|()| true),
        Err(_) => Poll::Ready(false),
    });
    let ended_well = catch_unwind(AssertUnwindSafe(|| runtime.block_on(main))).unwrap_or(false);
    if ended_well {
        drop(ManuallyDrop::into_inner(task));
        drop(ManuallyDrop::into_inner(runtime));
    }
    ended_well
}

/// madsim's clock; it starts with the simulation.
#[derive(Clone)]
pub(crate) struct OuterClock(TimeHandle);

impl OuterClock {
    /// Of the simulation that runs here.
    pub fn here() -> Self {
        Self(TimeHandle::current())
    }

    /// Nanoseconds since its start.
    pub fn now_ns(&self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }

    /// Wakes whoever is polled when the clock says `at_ns`, which is later than now. It cannot be taken back.
    pub fn wake_at(&self, at_ns: u64, cx: &mut Context<'_>) {
        let deadline = self.0.now_instant() + Duration::from_nanos(at_ns - self.now_ns());
        let mut sleep = pin!(self.0.sleep_until(deadline));
        // A fresh sleep takes a millisecond at least, one that was reset does not.
        sleep.as_mut().reset(deadline);
        let due = sleep.poll(cx);
        assert!(due.is_pending(), "a time that lies ahead");
    }

    /// Lets the others run for so long.
    pub async fn wait(&self, ns: u64) {
        self.0.sleep(Duration::from_nanos(ns)).await;
    }
}

/// A madsim node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Node(NodeId);

impl Node {
    /// A new one, which runs what `init` makes at once and whenever it is started again.
    pub fn start<F: Future + 'static>(name: &str, init: impl Fn() -> F + Send + Sync + 'static) -> Self {
        Self(Handle::current().create_node().name(name).init(init).build().id())
    }

    /// That of the task that runs; the simulation's own if that is the world.
    pub fn current() -> Self {
        Self(madsim::plugin::node())
    }

    /// Runs its init anew. It must have been killed.
    pub fn start_again(self) {
        Handle::current().restart(self.0);
    }

    /// Its tasks are dropped as soon as madsim meets them.
    pub fn kill(self) {
        Handle::current().kill(self.0);
    }

    /// Its tasks wait, or run again.
    pub fn set_paused(self, paused: bool) {
        let handle = Handle::current();
        if paused { handle.pause(self.0) } else { handle.resume(self.0) }
    }

    /// Ctrl-C: who does not listen for it is killed.
    pub fn interrupt(self) {
        Handle::current().send_ctrl_c(self.0);
    }
}
