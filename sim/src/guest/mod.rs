//! Applications on tokio's names, as guests of the world.
//!
//! An application that names its runtime `tokio` runs here unchanged if that name means the crate `madsim-tokio`
//! (`tokio = { package = "madsim-tokio", version = "0.2" }` in its `Cargo.toml`) and `--cfg madsim` is on: its `sleep`,
//! `timeout`, `interval`, `spawn`, `select!` and `signal::ctrl_c` are simulated. [`World::boot_guest`] makes it the program of
//! a host, in a run whose [`Embedding`](crate::Embedding) is `MadsimTask`. It lives and dies with the host:
//!
//! | of the host | what becomes of the guest |
//! |---|---|
//! | kill, loss of power or machine, out of memory | its sockets close at that instant, it runs no more; its futures are dropped at that instant of madsim's time |
//! | restart | the application is called anew |
//! | pause, resume, a collector's pauses | all its tasks wait; time passes |
//! | [`World::stop`] | `tokio::signal::ctrl_c()` is ready; who does not listen for it is killed |
//! | the application's future ends | its tasks are dropped, the host's process has exited |
//! | madsim's own `kill` of its node | the host is killed |
//!
//! Names that are not simulated as ours: `tokio::net` is madsim's own network, which reaches none of our hosts: take
//! [`net::TcpStream`] and [`net::TcpListener`], or [`env`] for everything that a host has (disk, clocks, entropy).
//! `tokio::fs` is the real file system. `SystemTime` and `Instant` are madsim's: the host's own clocks, with their drift, are
//! in `env().clock`. A slow CPU does not slow a guest. Nodes are paused and restarted through [`World`], never through madsim.
//!
//! Time is madsim's where a guest runs: each poll of its tasks takes 50 to 100 ns, each timer fires 50 ns late. A guest's call
//! into the world pulls world time up to that; what the world does by itself stays exact to the nanosecond.

mod env;
mod gate;
pub mod net;

pub(crate) use gate::{arrive, come_in, go_out, outer_ns};

pub use env::env;

use crate::ctx::{self, Context as Who};
use crate::embed::{Embedding, Node};
use crate::exec::Local;
use crate::stage::{Host, World};
use crate::world::{Inner, with};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::sync::oneshot;

/// Which host is which madsim node; a node is made when a guest starts for the first time.
#[derive(Debug, Default)]
pub(crate) struct Guests(BTreeMap<u32, Node>);

impl Guests {
    /// There are none, and never were.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn host(&self, node: Node) -> Option<u32> {
        self.0.iter().find(|(_, other)| **other == node).map(|(host, _)| *host)
    }
}

type App = Arc<dyn Fn() -> Local + Send + Sync>;
/// Where a life of a guest says that it came to its end. Dropped unused, it was killed.
type End = Arc<Mutex<Option<oneshot::Sender<()>>>>;

impl World {
    /// Gives the host an application on tokio's names as its program and starts it; each restart starts it again. When its
    /// future ends, so does the process, with all its other tasks. See [`crate::guest`].
    ///
    /// # Panics
    /// The run's [`Embedding`] is not `MadsimTask`; or the host is down.
    pub fn boot_guest<F>(&self, host: Host, app: impl Fn() -> F + Send + Sync + 'static)
    where
        F: Future<Output = ()> + 'static,
    {
        let embedding = self.with(|world| world.config.embedding);
        assert!(
            embedding == Embedding::MadsimTask,
            "a guest needs madsim's executor beside ours: SimConfig {{ embedding: Embedding::MadsimTask, .. }}"
        );
        let app: App = Arc::new(move || Box::pin(app()));
        let end = End::default();
        // A node knows the application that it was made for.
        self.with(|world| world.guests.0.remove(&host.0));
        self.boot(host, move |_| {
            let (app, end) = (app.clone(), end.clone());
            Box::pin(process(host, app, end))
        });
    }

    /// The guest on that host, if one is there and its process runs.
    fn guest(&self, host: Host) -> Option<Node> {
        self.with(|world| {
            let runs = world.machines[host.0 as usize].running;
            world.guests.0.get(&host.0).copied().filter(|_| runs)
        })
    }

    /// A guest stands still as its host does.
    pub(crate) fn hold_guest(&self, host: Host) {
        if let Some(node) = self.guest(host) {
            node.set_paused(self.with(|world| world.machines[host.0 as usize].pauses != 0));
        }
    }

    /// A guest is asked to stop as its host is.
    pub(crate) fn interrupt_guest(&self, host: Host) {
        if let Some(node) = self.guest(host) {
            node.interrupt();
        }
    }
}

/// The process of a guest as its host sees it: it begins with the application, and its death is the application's.
async fn process(host: Host, app: App, end: End) {
    struct Life(Node);
    impl Drop for Life {
        fn drop(&mut self) {
            self.0.kill();
        }
    }
    let (tell, ended) = oneshot::channel();
    end.lock().unwrap_or_else(PoisonError::into_inner).replace(tell);
    let known = with(|world| world.guests.0.get(&host.0).copied());
    let node = known.inspect(|node| node.start_again()).unwrap_or_else(|| first_start(host, app, end));
    let _life = Life(node);
    if ended.await.is_err() {
        World::here().kill(host);
    }
}

fn first_start(host: Host, app: App, end: End) -> Node {
    let world = World::here();
    let node = Node::start(&world.name(host), move || {
        let tell = end.lock().unwrap_or_else(PoisonError::into_inner).take();
        let who = Who { host: host.0, life: with(|world| world.machines[host.0 as usize].life), name: name() };
        let app = app.clone();
        async move {
            As::new(who, async move { app().await }).await;
            // Nobody hears it if the process died at this very instant.
            let _ = tell.map(|tell| tell.send(()));
        }
    });
    world.with(|world| world.guests.0.insert(host.0, node));
    node
}

/// What a guest's tasks are called.
fn name() -> u32 {
    ctx::intern("guest")
}

/// A future that runs, and is dropped, as that host.
struct As<F: Future> {
    who: Who,
    future: Option<Pin<Box<F>>>,
}

impl<F: Future> As<F> {
    fn new(who: Who, future: F) -> Self {
        Self { who, future: Some(Box::pin(future)) }
    }
}

impl<F: Future> Future for As<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let who = self.who;
        let future = self.future.as_mut().expect("it is there until it is dropped");
        env::as_host(who, || future.as_mut().poll(cx))
    }
}

impl<F: Future> Drop for As<F> {
    fn drop(&mut self) {
        let future = self.future.take();
        if std::thread::panicking() {
            return std::mem::forget(future);
        }
        env::as_host(self.who, || drop(future));
    }
}

/// The current guest, as who it runs.
fn who() -> Who {
    arrive();
    let is_possible = with(|world| world.config.embedding == Embedding::MadsimTask);
    let node = is_possible.then(Node::current);
    let find = |world: &mut Inner| {
        let host = world.guests.host(node?)?;
        Some(Who { host, life: world.machines[host as usize].life, name: name() })
    };
    with(find).expect("this is only for a guest's tasks: those of the world have the Env that they were handed")
}
