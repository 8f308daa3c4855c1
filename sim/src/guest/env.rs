//! The [`Env`] of a guest: that of its host, where every call first calls the world back and runs as the host.

use super::net::GuestNet;
use super::{As, arrive, who};
use crate::ctx::{self, Context as Who};
use crate::env_impl;
use klamm_env::{BoxFuture, Clock, Disk, Entropy, Env, File, OpenMode, TaskHandle, Tasks, Timer};
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

/// The world as the current guest's host sees it: its clocks, its disk, its network. Every future and stream of it works in
/// a guest's tasks; `tasks.spawn` makes a task of the host on the world's own executor.
///
/// # Panics
/// Outside of a guest's tasks.
pub fn env() -> Env {
    let who = who();
    let Env { clock, disk, entropy, tasks, .. } = env_impl::env(who.host);
    Env {
        clock: Arc::new(Held::new(who, clock)),
        net: Arc::new(GuestNet { who }),
        disk: Arc::new(Held::new(who, disk)),
        entropy: Arc::new(Held::new(who, entropy)),
        tasks: Arc::new(Held::new(who, tasks)),
    }
}

/// Does something as a guest's host.
pub(super) fn as_host<T>(who: Who, act: impl FnOnce() -> T) -> T {
    arrive();
    let before = ctx::enter(who);
    let done = act();
    ctx::enter(before);
    done
}

/// Something of the world in a guest's hands: it is used, and dropped, as the guest's host.
pub(super) struct Held<T> {
    pub who: Who,
    inner: Option<T>,
}

impl<T> Held<T> {
    pub fn new(who: Who, inner: T) -> Self {
        Self { who, inner: Some(inner) }
    }

    pub fn look<R>(&self, act: impl FnOnce(&T) -> R) -> R {
        let inner = self.inner.as_ref().expect("it is there until it is dropped");
        as_host(self.who, || act(inner))
    }

    pub fn call<R>(&mut self, act: impl FnOnce(&mut T) -> R) -> R {
        let inner = self.inner.as_mut().expect("it is there until it is dropped");
        as_host(self.who, || act(inner))
    }
}

impl<T> Drop for Held<T> {
    fn drop(&mut self) {
        let inner = self.inner.take();
        as_host(self.who, || drop(inner));
    }
}

impl<T> Held<T> {
    fn later<R: 'static>(&self, act: impl FnOnce(&T) -> BoxFuture<R>) -> BoxFuture<R> {
        Box::pin(As::new(self.who, self.look(act)))
    }
}

impl Clock for Held<Arc<dyn Clock>> {
    fn mono_ns(&self) -> u64 {
        self.look(|clock| clock.mono_ns())
    }

    fn wall_ms(&self) -> i64 {
        self.look(|clock| clock.wall_ms())
    }

    fn timer(&self) -> Box<dyn Timer> {
        Box::new(Held::new(self.who, self.look(|clock| clock.timer())))
    }
}

impl Timer for Held<Box<dyn Timer>> {
    fn set(&mut self, deadline_ns: Option<u64>) {
        self.call(|timer| timer.set(deadline_ns));
    }

    fn poll_fired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.call(|timer| timer.poll_fired(cx))
    }
}

impl Entropy for Held<Arc<dyn Entropy>> {
    fn next_u64(&self) -> u64 {
        self.look(|entropy| entropy.next_u64())
    }
}

impl Tasks for Held<Arc<dyn Tasks>> {
    fn spawn(&self, name: &'static str, task: BoxFuture<()>) -> TaskHandle {
        self.look(|tasks| tasks.spawn(name, task))
    }
}

impl Disk for Held<Arc<dyn Disk>> {
    fn create_dir(&self, path: &str) -> BoxFuture<io::Result<()>> {
        self.later(|disk| disk.create_dir(path))
    }

    fn remove_dir(&self, path: &str) -> BoxFuture<io::Result<()>> {
        self.later(|disk| disk.remove_dir(path))
    }

    fn list(&self, path: &str) -> BoxFuture<io::Result<Vec<String>>> {
        self.later(|disk| disk.list(path))
    }

    fn open(&self, path: &str, mode: OpenMode) -> BoxFuture<io::Result<Arc<dyn File>>> {
        let (who, opening) = (self.who, self.later(|disk| disk.open(path, mode)));
        Box::pin(async move { Ok(Arc::new(Held::new(who, opening.await?)) as Arc<dyn File>) })
    }

    fn rename(&self, from: &str, to: &str) -> BoxFuture<io::Result<()>> {
        self.later(|disk| disk.rename(from, to))
    }

    fn remove(&self, path: &str) -> BoxFuture<io::Result<()>> {
        self.later(|disk| disk.remove(path))
    }

    fn sync_dir(&self, path: &str) -> BoxFuture<io::Result<()>> {
        self.later(|disk| disk.sync_dir(path))
    }
}

impl File for Held<Arc<dyn File>> {
    fn len(&self) -> BoxFuture<io::Result<u64>> {
        self.later(|file| file.len())
    }

    fn append(&self, data: bytes::Bytes) -> BoxFuture<io::Result<()>> {
        self.later(|file| file.append(data))
    }

    fn write_at(&self, position: u64, data: bytes::Bytes) -> BoxFuture<io::Result<()>> {
        self.later(|file| file.write_at(position, data))
    }

    fn read_at(&self, position: u64, len: u32) -> BoxFuture<io::Result<bytes::Bytes>> {
        self.later(|file| file.read_at(position, len))
    }

    fn read_cached(&self, _position: u64, _len: u32) -> Option<bytes::Bytes> {
        None // a guest asks, and is answered when our side has its turn
    }

    fn truncate(&self, len: u64) -> BoxFuture<io::Result<()>> {
        self.later(|file| file.truncate(len))
    }

    fn sync(&self) -> BoxFuture<io::Result<()>> {
        self.later(|file| file.sync())
    }
}
