//! The world as the stack may see it: clock, network, disk, entropy, tasks. Traits here, the real side in [`real`]; the
//! simulated side is the crate `sim`. Code that uses nothing of the world but an [`Env`] runs in both.

use bytes::Bytes;
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite};

pub mod real;
pub mod select;

/// A boxed future that owns what it needs.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send + 'static>>;

/// One process's view of the world. Cheap to clone.
#[derive(Clone)]
pub struct Env {
    /// Both clocks and timers.
    pub clock: Arc<dyn Clock>,
    /// Byte streams.
    pub net: Arc<dyn Net>,
    /// Files below this process's root.
    pub disk: Arc<dyn Disk>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Concurrent tasks of this process.
    pub tasks: Arc<dyn Tasks>,
}

/// The two clocks of a process.
pub trait Clock: Send + Sync {
    /// Monotonic nanoseconds since some instant of this process's own; never jumps.
    fn mono_ns(&self) -> u64;
    /// The node's wall clock, milliseconds since 1970; may jump in both directions.
    fn wall_ms(&self) -> i64;
    /// A timer that is not set.
    fn timer(&self) -> Box<dyn Timer>;

    /// Waits until the monotonic instant.
    fn sleep_until(&self, deadline_ns: u64) -> BoxFuture<()> {
        let mut timer = self.timer();
        timer.set(Some(deadline_ns));
        Box::pin(std::future::poll_fn(move |cx| timer.poll_fired(cx)))
    }
}

/// A timer that can be set again and again at no cost for the settings that never fire.
pub trait Timer: Send {
    /// Sets the monotonic instant at which it fires; `None` never. A fired timer is set anew by this.
    fn set(&mut self, deadline_ns: Option<u64>);
    /// Ready once the deadline has passed, and until it is set anew.
    fn poll_fired(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

impl dyn Clock {
    /// Waits `ms` milliseconds from now.
    pub fn sleep_ms(&self, ms: u64) -> BoxFuture<()> {
        self.sleep_until(self.mono_ns().saturating_add(ms.saturating_mul(1_000_000)))
    }

    /// `Some` if the future ends before the monotonic instant; it is dropped otherwise.
    pub fn before<F: Future>(&self, deadline_ns: u64, future: F) -> impl Future<Output = Option<F::Output>> {
        let mut timer = self.timer();
        timer.set(Some(deadline_ns));
        let mut future = Box::pin(future);
        std::future::poll_fn(move |cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => timer.poll_fired(cx).map(|()| None),
        })
    }
}

/// Where somebody listens: a host name (or IP address) and a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// Name or IP address.
    pub host: Arc<str>,
    /// TCP port; 0 asks for a free one when listening.
    pub port: u16,
}

impl Address {
    /// From its parts; an IPv6 address without brackets.
    pub fn new(host: &str, port: u16) -> Self {
        Self { host: host.into(), port }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `host:port`, and `[host]:port` for an IPv6 address.
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// Byte streams between processes, as TCP gives them.
pub trait Net: Send + Sync {
    /// Listens. Errors: `AddrInUse`.
    fn listen(&self, at: Address) -> BoxFuture<io::Result<Box<dyn Listener>>>;
    /// Connects: a round trip. Errors: `ConnectionRefused`, `TimedOut` after the system's own connect time-out. `role` says
    /// what the connection is for ("fetch", "heartbeat", "producer"); faults can aim at it, the real side ignores it.
    fn connect(&self, to: Address, role: &'static str) -> BoxFuture<io::Result<Box<dyn Stream>>>;
}

/// A bound port.
pub trait Listener: Send {
    /// Where it listens, with the port that was given.
    fn address(&self) -> Address;
    /// The next connection.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Box<dyn Stream>>>;
}

/// One connection. Dropping it closes: a FIN, or an RST where unread bytes wait, as TCP does. `poll_shutdown` closes the
/// sending half. Bytes go in and out by copy (tokio's traits), or as shared pieces, which the simulated side hands over as
/// they are; the two may be mixed.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {
    /// Writes from the front of `pieces` what there is room for and takes it out of them; how many bytes that was.
    fn poll_write_pieces(&mut self, cx: &mut Context<'_>, pieces: &mut VecDeque<Bytes>) -> Poll<io::Result<usize>>;
    /// The next bytes, as many as lie together; none at the end of the stream.
    fn poll_read_piece(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>>;
    /// Ends the connection with an RST at once; bytes not yet sent are lost.
    fn abort(&mut self);
    /// The other end's address, for messages.
    fn peer(&self) -> Address;
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// It must be there: `NotFound` otherwise.
    Existing,
    /// Made if it is not there.
    Create,
}

/// Files and directories below the process's root. Paths are relative, `/` between parts. An operation takes effect even
/// if its future is dropped after the first poll. Error kinds: `NotFound`, `StorageFull`, `Other`.
pub trait Disk: Send + Sync {
    /// Makes a directory and its parents; fine if it is there.
    fn create_dir(&self, path: &str) -> BoxFuture<io::Result<()>>;
    /// Removes a directory with all it holds; fine if it is not there.
    fn remove_dir(&self, path: &str) -> BoxFuture<io::Result<()>>;
    /// Names in a directory, sorted; empty if it is not there.
    fn list(&self, path: &str) -> BoxFuture<io::Result<Vec<String>>>;
    /// Opens a file for reading and writing.
    fn open(&self, path: &str, mode: OpenMode) -> BoxFuture<io::Result<Arc<dyn File>>>;
    /// Renames, replacing what has the new name.
    fn rename(&self, from: &str, to: &str) -> BoxFuture<io::Result<()>>;
    /// Removes a file; fine if it is not there. Open handles keep working.
    fn remove(&self, path: &str) -> BoxFuture<io::Result<()>>;
    /// Makes a directory's entries durable.
    fn sync_dir(&self, path: &str) -> BoxFuture<io::Result<()>>;
}

/// An open file.
#[allow(clippy::len_without_is_empty, reason = "the length is asked of a device, not of a collection")]
pub trait File: Send + Sync {
    /// Length in bytes.
    fn len(&self) -> BoxFuture<io::Result<u64>>;
    /// Appends at the end, whole.
    fn append(&self, data: Bytes) -> BoxFuture<io::Result<()>>;
    /// Writes at a position, whole; the file grows as needed.
    fn write_at(&self, position: u64, data: Bytes) -> BoxFuture<io::Result<()>>;
    /// Up to `len` bytes; fewer at the end of the file, none beyond it.
    fn read_at(&self, position: u64, len: u32) -> BoxFuture<io::Result<Bytes>>;
    /// The same at once, if memory holds these bytes and nothing is to be waited for, as Linux answers with `RWF_NOWAIT`.
    /// `None` says nothing but that [`File::read_at`] is to be asked.
    fn read_cached(&self, position: u64, len: u32) -> Option<Bytes>;
    /// Cuts or extends (with zeros) to `len` bytes.
    fn truncate(&self, len: u64) -> BoxFuture<io::Result<()>>;
    /// Makes the content durable: what was in the cache when this was called.
    fn sync(&self) -> BoxFuture<io::Result<()>>;
}

/// Randomness of this process.
pub trait Entropy: Send + Sync {
    /// The next 64 bits.
    fn next_u64(&self) -> u64;
}

/// Concurrent tasks.
pub trait Tasks: Send + Sync {
    /// Runs a future beside the caller until it ends, is aborted, or the process dies. `name` is for people.
    fn spawn(&self, name: &'static str, task: BoxFuture<()>) -> TaskHandle;
}

/// Ends a task early. Dropping the handle lets the task run on.
pub struct TaskHandle {
    abort: Box<dyn Fn() + Send + Sync>,
}

impl TaskHandle {
    /// A handle whose abort runs `abort`.
    pub fn new(abort: impl Fn() + Send + Sync + 'static) -> Self {
        Self { abort: Box::new(abort) }
    }

    /// Drops the task's future as soon as it is not running.
    pub fn abort(&self) {
        (self.abort)()
    }
}
