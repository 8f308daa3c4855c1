//! The graceful stop: a process is asked to end, and ended where it does not.

use crate::ctx::{self, STAGE};
use crate::event::WorldEvent;
use crate::hosts::HostError;
use crate::stage::{Host, World};
use crate::timer::Event;
use crate::world::{self, Inner, flush, try_with};
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// Whether the process was asked to stop, and who wants to know.
#[derive(Debug, Default)]
pub(crate) struct StopState {
    asked: bool,
    pub wakers: Vec<Waker>,
}

/// Ready once the process that it was made in is asked to stop, and from then on. Any number of tasks may wait.
#[derive(Clone, Copy, Debug)]
pub struct StopSignal {
    host: u32,
    life: u32,
}

/// The current process's [`StopSignal`]. On no host it is never ready.
pub fn stop_signal() -> StopSignal {
    let context = ctx::current();
    StopSignal { host: context.host, life: context.life }
}

impl Future for StopSignal {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.host == STAGE {
            return Poll::Pending;
        }
        world::with(|world| {
            let machine = &mut world.machines[self.host as usize];
            if machine.life != self.life {
                return Poll::Pending;
            }
            let stop = &mut machine.stop;
            if stop.asked {
                return Poll::Ready(());
            }
            if !stop.wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
                stop.wakers.push(cx.waker().clone());
            }
            Poll::Pending
        })
    }
}

/// What is left of a machine that is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskFate {
    /// It may come back with its disk, less what was not synced.
    Returns,
    /// It may come back with an empty one.
    Lost,
}

impl Inner {
    /// Whether that process still runs.
    pub fn lives(&self, host: u32, life: u32) -> bool {
        let machine = &self.machines[host as usize];
        machine.running && machine.life == life
    }

    /// Ends a process from inside the world: its futures are dropped as soon as nothing is running.
    pub fn kill_later(&mut self, host: u32) {
        let mut corpses = self.end_process(host, |host| WorldEvent::Killed { host });
        corpses.reverse(); // the last is buried first
        self.exec.graveyard.append(&mut corpses);
    }
}

impl World {
    /// Asks the host's process to stop: its [`stop_signal`] is ready. If its program has not come to its end at that world
    /// time, it is killed (a paused one too). Of several deadlines the earliest counts; one that is over kills at once. A
    /// host that is down is left alone.
    ///
    /// # Errors
    /// [`HostError::Unknown`].
    pub fn stop(&self, host: Host, deadline_ns: u64) -> Result<(), HostError> {
        self.check(host)?;
        let wakers = self.with(|world| {
            let machine = &mut world.machines[host.0 as usize];
            if !machine.running {
                return vec![];
            }
            machine.stop.asked = true;
            let (wakers, life) = (std::mem::take(&mut machine.stop.wakers), machine.life);
            world.note_process(host.0, "is asked to stop", deadline_ns);
            world.tell(WorldEvent::Stopping { host: world.name(host.0), deadline_ns });
            world.timers.push(deadline_ns.max(world.now), Event::StopDeadline(host.0, life));
            wakers
        });
        wakers.into_iter().for_each(Waker::wake);
        flush();
        self.interrupt_guest(host);
        Ok(())
    }

    /// The machine is gone: silence for its peers from now on, as after a loss of power. Whether a restart finds its disk is
    /// said now.
    ///
    /// # Errors
    /// [`HostError::Unknown`].
    pub fn lose(&self, host: Host, disk: DiskFate) -> Result<(), HostError> {
        self.check(host)?;
        self.power_off(host);
        if disk == DiskFate::Lost {
            self.wipe_disk(host);
        }
        self.with(|world| world.tell(WorldEvent::MachineLost { host: world.name(host.0), disk }));
        flush();
        Ok(())
    }

    /// Starts the program anew on an empty disk; a process that still runs is killed first.
    ///
    /// # Errors
    /// [`HostError::Unknown`].
    pub fn restart_wiped(&self, host: Host) -> Result<(), HostError> {
        self.check(host)?;
        self.kill(host);
        self.wipe_disk(host);
        self.restart(host);
        Ok(())
    }

    /// What the host's process may hold, from now on; what it holds already stays.
    ///
    /// # Errors
    /// [`HostError::Unknown`]; [`HostError::Zero`] for a limit of zero.
    pub fn set_limits(&self, host: Host, limits: crate::limits::Limits) -> Result<(), HostError> {
        self.check(host)?;
        let limits = limits.check()?;
        self.with(|world| {
            world.machines[host.0 as usize].limits = limits;
            world.note_process(host.0, "may open files", limits.open_files.map_or(u64::MAX, u64::from));
            world.note_process(host.0, "may hold bytes", limits.memory_bytes.unwrap_or(u64::MAX));
            world.tell(WorldEvent::LimitsSet { host: world.name(host.0), limits });
        });
        flush();
        Ok(())
    }
}

/// Takes memory from the current process's budget, until the value is dropped. On no host it is free.
///
/// # Errors
/// `ENOMEM` ([`std::io::ErrorKind::OutOfMemory`]) beyond the host's [`Limits`](crate::Limits).
pub fn reserve(bytes: u64) -> std::io::Result<crate::limits::Memory> {
    crate::limits::Memory::reserve(bytes)
}

/// The next draw of the run's stream for choices between branches; see `seeded_select!`.
#[doc(hidden)]
pub fn draw() -> u64 {
    use rand_chacha::rand_core::Rng;
    crate::guest::arrive();
    try_with(|world| {
        let seed = world.config.seed;
        world.branches.get_or_insert_with(|| Box::new(crate::rng::stream(seed, "select"))).next_u64()
    })
    .expect("seeded_select! draws from the seed of a run: this is only for use inside klamm_sim::run")
}
