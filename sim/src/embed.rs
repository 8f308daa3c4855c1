//! The only place that names madsim. The world runs inside one poll of one madsim task: so `HashMap` seeds, `Instant`,
//! `SystemTime` and stray threads are madsim's to answer, while tasks, time and everything else are ours. Every time step
//! is passed on.

use madsim::runtime::Runtime;
use madsim::time::TimeHandle;
use std::time::Duration;

/// Runs `act` inside a madsim simulation of that seed. What it is handed passes a time step on, in nanoseconds.
pub(crate) fn inside<T>(seed: u64, act: impl FnOnce(&dyn Fn(u64)) -> T) -> T {
    let runtime = Runtime::with_seed_and_config(seed, madsim::Config::default());
    runtime.block_on(async move {
        let time = TimeHandle::current();
        act(&|ns| time.advance(Duration::from_nanos(ns)))
    })
}
