//! Tasks whose result somebody waits for.

use crate::ctx::{self, STAGE};
use crate::env_impl;
use crate::exec::Local;
use crate::guest;
use crate::slab::Id;
use crate::stage::{Host, World};
use crate::world::try_with;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Why a task has no result. (A panic has no such error: it ends the run.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinError {
    /// It was aborted through its handle.
    Aborted,
    /// Its process died, the run ended, or it was never started because its host was down.
    Died,
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Aborted => "the task was aborted",
            Self::Died => "the task's process died before the task was done",
        })
    }
}

impl std::error::Error for JoinError {}

#[derive(Debug)]
enum Outcome<T> {
    Running(Option<Waker>),
    Aborting(Option<Waker>),
    Done(Result<T, JoinError>),
    Taken,
}

type Slot<T> = Arc<Mutex<Outcome<T>>>;

fn lock<T>(slot: &Slot<T>) -> MutexGuard<'_, Outcome<T>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Puts the end of a task down, and wakes who waits for it, outside of the lock.
fn conclude<T>(slot: &Slot<T>, result: impl FnOnce(bool) -> Result<T, JoinError>) {
    let waker = {
        let mut outcome = lock(slot);
        let (aborted, waker) = match &mut *outcome {
            Outcome::Running(waker) => (false, waker.take()),
            Outcome::Aborting(waker) => (true, waker.take()),
            Outcome::Done(_) | Outcome::Taken => return,
        };
        *outcome = Outcome::Done(result(aborted));
        waker
    };
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// Says that the task is gone if it is dropped before its end.
struct Guard<T>(Slot<T>);

impl<T> Drop for Guard<T> {
    fn drop(&mut self) {
        conclude(&self.0, |aborted| Err(if aborted { JoinError::Aborted } else { JoinError::Died }));
    }
}

/// Waits for a task, or ends it. Dropping the handle lets the task run on.
///
/// # Panics
/// Polled again after it was ready.
#[derive(Debug)]
pub struct JoinHandle<T> {
    slot: Slot<T>,
    id: Option<Id>,
}

impl<T> JoinHandle<T> {
    /// Ends the task: its future is dropped once nothing is running, unless it is done.
    pub fn abort(&self) {
        {
            let mut outcome = lock(&self.slot);
            if let Outcome::Running(waker) = &mut *outcome {
                *outcome = Outcome::Aborting(waker.take());
            }
        }
        if let Some(id) = self.id {
            env_impl::abort(id);
        }
    }

    /// Whether it came to its end, whatever that was.
    pub fn is_finished(&self) -> bool {
        matches!(*lock(&self.slot), Outcome::Done(_) | Outcome::Taken)
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut outcome = lock(&self.slot);
        match &mut *outcome {
            Outcome::Running(waker) | Outcome::Aborting(waker) => {
                let old = waker.replace(cx.waker().clone());
                drop(outcome);
                drop(old);
                if let Some(id) = self.id {
                    try_with(|world| world.exec.joined_by(id, cx.waker()));
                }
                return Poll::Pending;
            }
            Outcome::Done(_) => {}
            Outcome::Taken => panic!("a JoinHandle was polled after it was ready"),
        }
        match std::mem::replace(&mut *outcome, Outcome::Taken) {
            Outcome::Done(result) => Poll::Ready(result),
            other => unreachable!("it was just seen to be done: {}", matches!(other, Outcome::Taken)),
        }
    }
}

fn watched<T: Send + 'static>(task: impl Future<Output = T> + 'static) -> (Slot<T>, Local) {
    let slot: Slot<T> = Arc::new(Mutex::new(Outcome::Running(None)));
    let guard = Guard(slot.clone());
    let watched = async move {
        let value = task.await;
        conclude(&guard.0, |_| Ok(value));
    };
    (slot, Box::pin(watched))
}

fn spawn_at<T: Send + 'static>(
    host: u32,
    name: &str,
    task: impl Future<Output = T> + 'static,
    site: &'static Location<'static>,
) -> JoinHandle<T> {
    guest::arrive();
    let (slot, future) = watched(task);
    let spawned = try_with(|world| {
        let id = world.spawn(host, name, future)?;
        world.exec.note_site(id, site);
        Ok::<_, Local>(id)
    });
    // A future that was refused is dropped here, where the world is not borrowed.
    let id = spawned.and_then(|spawned| spawned.ok());
    JoinHandle { slot, id }
}

/// Runs a task beside the current one, on its host (or the stage, if that is where it runs).
#[track_caller]
pub fn spawn<T: Send + 'static>(name: &str, task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    spawn_at(ctx::current().host, name, task, Location::caller())
}

impl World {
    /// Runs a task on no host, for its result.
    #[track_caller]
    pub fn spawn_task<T: Send + 'static>(&self, name: &str, task: impl Future<Output = T> + 'static) -> JoinHandle<T> {
        spawn_at(STAGE, name, task, Location::caller())
    }

    /// Runs a task of a host, for its result. On a host that is down it never starts.
    #[track_caller]
    pub fn spawn_on<T: Send + 'static>(
        &self,
        host: Host,
        name: &str,
        task: impl Future<Output = T> + 'static,
    ) -> JoinHandle<T> {
        assert!(self.check(host).is_ok(), "there is no {host:?}");
        spawn_at(host.0, name, task, Location::caller())
    }

    /// As [`World::spawn`], with its id.
    pub(crate) fn spawn_id(&self, name: &str, task: impl Future<Output = ()> + 'static) -> Option<Id> {
        self.with(|world| world.spawn(STAGE, name, Box::pin(task))).ok()
    }
}
