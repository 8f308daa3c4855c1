//! One run of one seed.

use crate::ctx::{self, Context, STAGE};
use crate::disk_env::DiskProfile;
use crate::drive;
use crate::embed::{self, Embedding};
use crate::guest;
use crate::net::NetProfile;
use crate::stage::World;
use crate::waits;
use crate::world::{self, Inner};
use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use tracing::Dispatch;
use tracing::dispatcher::with_default;

/// Of a run's thread; deep recursion in a simulated stack shall fail no earlier than in a real one.
const STACK_BYTES: usize = 8 << 20;

/// What a run is made from.
#[derive(Clone, Debug)]
pub struct SimConfig {
    /// All randomness comes from it.
    pub seed: u64,
    /// Keep a line of text for every event of the world. The hash is the same with and without.
    pub trace: bool,
    /// What the network is like.
    pub profile: NetProfile,
    /// What the disks are like.
    pub disk: DiskProfile,
    /// A run that is not over at this simulated time, in nanoseconds, panics.
    pub limit_ns: Option<u64>,
    /// What stands around it.
    pub embedding: Embedding,
}

impl SimConfig {
    /// The usual world for a seed.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            trace: false,
            profile: NetProfile::default(),
            disk: DiskProfile::default(),
            limit_ns: None,
            embedding: Embedding::default(),
        }
    }
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Run<T> {
    /// What `main` returned, or the panic that ended the run.
    pub outcome: Result<T, Panic>,
    /// Over every delivery, timer, disk operation and fault, in order.
    pub trace_hash: u64,
    /// The same as text, if it was asked for.
    pub trace: Vec<String>,
    /// Simulated nanoseconds.
    pub sim_ns: u64,
    /// Polls of tasks.
    pub polls: u64,
    /// Segments that arrived.
    pub deliveries: u64,
}

/// A panic inside a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panic {
    /// The host whose task panicked; `None` for the stage.
    pub node: Option<String>,
    /// The task's name.
    pub task: String,
    /// What it said.
    pub message: String,
    /// `file:line:column`.
    pub location: String,
    /// Simulated nanoseconds.
    pub at_ns: u64,
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let node = self.node.as_deref().unwrap_or("stage");
        let at_ms = self.at_ns as f64 / 1e6;
        write!(f, "{node}/{} panicked at {at_ms} ms, {}: {}", self.task, self.location, self.message)
    }
}

impl std::error::Error for Panic {}

/// Runs `main` in a world of its own, on a fresh thread, to its end or to the first panic. The caller's `tracing`
/// subscriber hears the run. Must not be called inside a run.
///
/// # Panics
/// If [`NetProfile::check`] finds something in the profile.
pub fn run<T, F>(config: SimConfig, main: F) -> Run<T>
where
    T: Send + 'static,
    F: FnOnce(World) -> Pin<Box<dyn Future<Output = T>>> + Send + 'static,
{
    config.profile.check().unwrap_or_else(|error| panic!("{error}"));
    ctx::install_hook();
    let subscriber = tracing::dispatcher::get_default(Clone::clone);
    let thread = std::thread::Builder::new().name(format!("seed-{}", config.seed)).stack_size(STACK_BYTES);
    let body = move || live(config, main, &subscriber);
    let handle = thread.spawn(body).expect("the system gives a thread");
    handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// A whole run, on its thread.
fn live<T: 'static>(
    config: SimConfig,
    main: impl FnOnce(World) -> Pin<Box<dyn Future<Output = T>>>,
    subscriber: &Dispatch,
) -> Run<T> {
    let result: Rc<RefCell<Option<T>>> = Rc::default();
    let is_over = || result.borrow().is_some();
    let (seed, embedding, limit) = (config.seed, config.embedding, config.limit_ns);
    let open = || open(config, main, result.clone());
    let alone = |advance: &dyn Fn(u64), open| caught(|| drive::alone(open, &is_over, advance));
    // Of madsim's own tasks the subscriber hears only where there may be more than one.
    let ended_well = match embedding {
        Embedding::InsideOnePoll => embed::inside(seed, |advance| with_default(subscriber, || alone(advance, open))),
        Embedding::Alone => with_default(subscriber, || alone(&|_| (), open)),
        Embedding::MadsimTask => {
            with_default(subscriber, || embed::as_task(seed, limit, drive::as_task(open, &is_over)))
        }
    };
    guest::come_in();
    finish(ended_well, result.take())
}

/// False if it panicked.
fn caught(act: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(act)).is_ok()
}

/// Makes the world, and starts `main` in it.
fn open<T: 'static>(
    config: SimConfig,
    main: impl FnOnce(World) -> Pin<Box<dyn Future<Output = T>>>,
    result: Rc<RefCell<Option<T>>>,
) {
    let thread = ctx::begin();
    world::put(Box::new(Inner::new(config, thread)));
    let before = ctx::enter(Context { host: STAGE, life: 0, name: ctx::intern("main") });
    let main = main(World::here());
    ctx::enter(before);
    World::here().spawn("main", async move {
        let value = main.await;
        result.replace(Some(value));
    });
}

/// Takes the world away and says what came of it. After a panic it is leaked: what lies in it may be half done.
fn finish<T>(ended_well: bool, result: Option<T>) -> Run<T> {
    let panic = ctx::take_panic().map(waits::explain);
    let mut inner = world::take();
    let mut run = Run {
        outcome: Err(Panic {
            node: None,
            task: "executor".to_owned(),
            message: "the run ended without a result".to_owned(),
            location: String::new(),
            at_ns: inner.now,
        }),
        trace_hash: inner.trace.hash,
        trace: inner.trace.lines.take().unwrap_or_default(),
        sim_ns: inner.now,
        polls: inner.exec.polls,
        deliveries: inner.deliveries,
    };
    if ended_well {
        // Callbacks of the stage go with it, and a panic of theirs is a verdict too.
        caught(|| drop(inner));
    } else {
        std::mem::forget(inner);
    }
    match (panic.or_else(ctx::take_panic), result) {
        (Some(panic), _) => run.outcome = Err(panic),
        (None, Some(value)) => run.outcome = Ok(value),
        (None, None) => {}
    }
    ctx::end();
    run
}
