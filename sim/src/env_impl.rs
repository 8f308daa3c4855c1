//! The world as a process on one host sees it.

use crate::clock::Clocks;
use crate::ctx;
use crate::disk_env::HostDisk;
use crate::guest;
use crate::net::stream::HostNet;
use crate::slab::Id;
use crate::timer::NEVER;
use crate::world::{try_with, with};
use klamm_env::{BoxFuture, Clock, Entropy, Env, TaskHandle, Tasks, Timer};
use rand_chacha::rand_core::Rng;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// The world of a host.
pub(crate) fn env(host: u32) -> Env {
    Env {
        clock: Arc::new(HostClock { host }),
        net: Arc::new(HostNet { host }),
        disk: Arc::new(HostDisk { host }),
        entropy: Arc::new(HostEntropy { host }),
        tasks: Arc::new(HostTasks { host }),
    }
}

/// Its clocks. Monotonic time is world time unless timers drift; the wall clock is off by what the stage says.
pub(crate) struct HostClock {
    pub host: u32,
}

impl Clock for HostClock {
    fn mono_ns(&self) -> u64 {
        if ctx::is_skewed() { with(|world| world.mono_ns(self.host)) } else { ctx::now() }
    }

    fn wall_ms(&self) -> i64 {
        with(|world| match world.machines.get(self.host as usize) {
            Some(machine) => machine.clocks.wall_ms(world.now),
            None => Clocks::default().wall_ms(world.now),
        })
    }

    fn timer(&self) -> Box<dyn Timer> {
        Box::new(SimTimer { id: with(|world| world.timers.create(self.host)), host: self.host })
    }

    fn sleep_until(&self, deadline_ns: u64) -> BoxFuture<()> {
        Box::pin(Sleep { host: self.host, deadline_ns, timer: None })
    }
}

/// A timer that is made when it is first waited for, and waited for once.
struct Sleep {
    host: u32,
    deadline_ns: u64,
    timer: Option<Id>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Sleep { host, deadline_ns, timer } = *self;
        let waited = with(|world| {
            let id = timer.unwrap_or_else(|| {
                let id = world.timers.create(host);
                let deadline = if ctx::is_skewed() { world.when(host, deadline_ns) } else { deadline_ns };
                world.timers.set(id, deadline);
                id
            });
            match world.timers.poll(id, world.now, cx.waker()) {
                Ok(()) => Ok(world.timers.remove(id)),
                Err(replaced) => Err((id, replaced)),
            }
        });
        // A waker that was replaced is dropped here, outside of the world.
        match waited {
            Ok(_waker) => {
                self.timer = None;
                Poll::Ready(())
            }
            Err((id, _replaced)) => {
                self.timer = Some(id);
                Poll::Pending
            }
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(id) = self.timer {
            let _waker = try_with(|world| world.timers.remove(id));
        }
    }
}

struct SimTimer {
    id: Id,
    host: u32,
}

impl Timer for SimTimer {
    fn set(&mut self, deadline_ns: Option<u64>) {
        let local = deadline_ns.unwrap_or(NEVER);
        with(|world| {
            let deadline = if ctx::is_skewed() { world.when(self.host, local) } else { local };
            world.timers.set(self.id, deadline);
        });
    }

    fn poll_fired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match with(|world| world.timers.poll(self.id, world.now, cx.waker())) {
            Ok(()) => Poll::Ready(()),
            Err(_replaced) => Poll::Pending,
        }
    }
}

impl Drop for SimTimer {
    fn drop(&mut self) {
        let _waker = try_with(|world| world.timers.remove(self.id));
    }
}

struct HostEntropy {
    host: u32,
}

impl Entropy for HostEntropy {
    fn next_u64(&self) -> u64 {
        with(|world| world.machines[self.host as usize].entropy.next_u64())
    }
}

struct HostTasks {
    host: u32,
}

impl Tasks for HostTasks {
    fn spawn(&self, name: &'static str, task: BoxFuture<()>) -> TaskHandle {
        // Whoever spawns from a Drop at the end of the world, or on a dead host, gets nothing; the future is dropped here.
        match try_with(|world| world.spawn(self.host, name, task)) {
            Some(Ok(id)) => TaskHandle::new(move || abort(id)),
            Some(Err(_)) | None => TaskHandle::new(|| ()),
        }
    }
}

/// Ends a task.
pub(crate) fn abort(id: Id) {
    guest::arrive();
    try_with(|world| {
        let corpse = world.exec.remove(id);
        world.exec.graveyard.extend(corpse);
    });
}
