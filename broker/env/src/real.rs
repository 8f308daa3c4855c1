//! The real side: tokio and std. Everything that the rest of the stack must not touch is touched here.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "this is where the real clock, network and files come in"
)]

use crate::{BoxFuture, Entropy, Env, TaskHandle, Tasks};
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, Handle};

mod clock;
mod disk;
mod lock;
mod net;

pub use lock::{LockError, RootLock, lock};

#[cfg(test)]
mod tests;

/// How a process ends that panicked (`EX_SOFTWARE`).
pub const PANIC_EXIT: i32 = 70;
/// How long the end of [`block_on`] waits for file operations that are still running.
const SHUTDOWN_WAIT: Duration = Duration::from_secs(10);

/// The real world, with `root` as the folder that all paths are below (it is made when first needed).
///
/// # Panics
/// If it is not called within a tokio runtime with time and I/O enabled; the world runs on that one.
pub fn env(root: PathBuf) -> Env {
    let handle = Handle::current();
    Env {
        clock: Arc::new(clock::RealClock::new(handle.clone())),
        net: Arc::new(net::RealNet),
        disk: Arc::new(disk::RealDisk::new(handle.clone(), root)),
        entropy: Arc::new(OsEntropy),
        tasks: Arc::new(RuntimeTasks { handle }),
    }
}

/// Runs `main` in a fresh multi-threaded runtime, in the real world below `root`. `main` gets a future that ends when the user (ctrl-c)
/// or the system (SIGTERM) asks the process to stop.
pub fn block_on<F: Future>(root: PathBuf, main: impl FnOnce(Env, BoxFuture<()>) -> F) -> io::Result<F::Output> {
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    let output = runtime.block_on(async {
        let stop = stop_asked()?;
        Ok(main(env(root), stop).await)
    });
    runtime.shutdown_timeout(SHUTDOWN_WAIT);
    output
}

/// From now on any panic, in whatever thread, prints and ends the process with [`PANIC_EXIT`]: a broken assertion must not
/// leave half a node serving.
pub fn exit_on_panic() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        print(panic);
        std::process::exit(PANIC_EXIT);
    }));
}

/// Ends when a signal asks for the end. Listens from now on, not from its first poll.
fn stop_asked() -> io::Result<BoxFuture<()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(Box::pin(std::future::poll_fn(move |cx| {
        let asked = interrupt.poll_recv(cx).is_ready() || terminate.poll_recv(cx).is_ready();
        if asked { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })))
}

struct OsEntropy;

impl Entropy for OsEntropy {
    fn next_u64(&self) -> u64 {
        getrandom::u64().expect("the operating system gives randomness")
    }
}

struct RuntimeTasks {
    handle: Handle,
}

impl Tasks for RuntimeTasks {
    fn spawn(&self, _name: &'static str, task: BoxFuture<()>) -> TaskHandle {
        let abort = self.handle.spawn(task).abort_handle();
        TaskHandle::new(move || abort.abort())
    }
}
