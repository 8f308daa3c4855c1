//! One run of one seed.

use crate::ctx::{self, Context, STAGE};
use crate::disk_env::DiskProfile;
use crate::embed;
use crate::exec::Turn;
use crate::net::NetProfile;
use crate::slab::Id;
use crate::spans;
use crate::stage::World;
use crate::waits;
use crate::world::{self, Inner, settle, with};
use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

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
}

impl SimConfig {
    /// The usual world for a seed.
    pub fn new(seed: u64) -> Self {
        Self { seed, trace: false, profile: NetProfile::default(), disk: DiskProfile::default(), limit_ns: None }
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
    let body = move || {
        embed::inside(config.seed, |advance| {
            tracing::dispatcher::with_default(&subscriber, || live(config, main, advance))
        })
    };
    let handle = thread.spawn(body).expect("the system gives a thread");
    handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// A whole run, on its thread.
fn live<T: 'static>(
    config: SimConfig,
    main: impl FnOnce(World) -> Pin<Box<dyn Future<Output = T>>>,
    advance: &dyn Fn(u64),
) -> Run<T> {
    let thread = ctx::begin();
    world::install(Inner::new(config, thread));
    let result: Rc<RefCell<Option<T>>> = Rc::default();
    let ended = catch_unwind(AssertUnwindSafe(|| {
        let (result, before) = (result.clone(), ctx::enter(stage("main")));
        let main = main(World::here());
        ctx::enter(before);
        let slot = result.clone();
        World::here().spawn("main", async move {
            let value = main.await;
            slot.replace(Some(value));
        });
        drive(&|| result.borrow().is_some(), advance);
        shut_down();
    }));
    finish(ended.is_ok(), result.take())
}

/// Takes the world away and says what came of it. After a panic it is leaked: what lies in it may be half done.
fn finish<T>(ended_well: bool, result: Option<T>) -> Run<T> {
    let mut inner = world::uninstall();
    let panic = ctx::take_panic();
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
        let _ = catch_unwind(AssertUnwindSafe(|| drop(inner)));
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

fn stage(name: &str) -> Context {
    Context { host: STAGE, life: 0, name: ctx::intern(name) }
}

/// Polls what is ready, one task after the other; when nothing is, the next thing happens.
fn drive(is_over: &dyn Fn() -> bool, advance: &dyn Fn(u64)) {
    settle(false);
    while !is_over() {
        let quiet = match with(Inner::turn) {
            Some((id, turn)) => poll(id, turn),
            None => step(advance),
        };
        settle(quiet);
    }
}

/// Polls a task. True if that left nobody to be woken, told or buried.
fn poll(id: Id, mut turn: Turn) -> bool {
    let before = ctx::enter(turn.context);
    let span = spans::enter(turn.context);
    assert!(!turn.livelocked, "a million polls at one instant: this task, or those that wake it, never wait");
    let polled = turn.future.as_mut().poll(&mut std::task::Context::from_waker(&turn.waker));
    let quiet = match polled {
        Poll::Pending => {
            let future = ManuallyDrop::into_inner(turn.future);
            let put_back = |world: &mut Inner| (world.exec.put_back(id, future, turn.waker), world.is_quiet());
            let (ended_meanwhile, quiet) = with(put_back);
            ended_meanwhile.is_ok() && quiet
        }
        Poll::Ready(()) => {
            let freed = with(|world| world.exec.remove(id));
            assert!(freed.is_none(), "the future of a running task is not in the table");
            drop(ManuallyDrop::into_inner(turn.future));
            false
        }
    };
    drop(span);
    ctx::enter(before);
    quiet
}

/// The next thing in time happens. True if that left nobody to be woken, told or buried.
fn step(advance: &dyn Fn(u64)) -> bool {
    let (entry, now, limit) = with(|world| (world.next_entry(), world.now, world.config.limit_ns));
    let Some(entry) = entry else { waits::deadlock() };
    assert!(limit.is_none_or(|limit| entry.at <= limit), "the run is not over after {} ns", limit.unwrap_or(0));
    if entry.at > now {
        advance(entry.at - now);
    }
    with(|world| {
        world.set_time(entry.at);
        world.handle(entry.event);
        world.is_quiet()
    })
}

/// Ends every task, as its host. What it spawns from a Drop is swallowed.
fn shut_down() {
    loop {
        let corpses = with(|world| {
            world.over = true;
            let mut corpses = world.exec.remove_all(|_| true);
            corpses.append(&mut world.exec.graveyard);
            corpses
        });
        if corpses.is_empty() {
            return;
        }
        for corpse in corpses {
            corpse.bury();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use klamm_env::{Address, OpenMode};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// A little of everything: two hosts, a stream, a disk, a timer, a kill.
    fn story(world: World) -> Pin<Box<dyn Future<Output = u64>>> {
        Box::pin(async move {
            let (one, two) = (world.add_host("one"), world.add_host("two"));
            let env = world.env(one);
            let mut listener = env.net.listen(Address::new("one", 1)).await.expect("a port");
            let far = world.env(two);
            let far_task = async move {
                let mut stream = far.net.connect(Address::new("one", 1), "test").await.expect("a connection");
                for number in 0..100 {
                    stream.write_u32(number).await.expect("room");
                    far.clock.sleep_ms(far.entropy.next_u64() % 5).await;
                }
            };
            world.env(two).tasks.spawn("writer", Box::pin(far_task));
            let mut stream = std::future::poll_fn(|cx| listener.poll_accept(cx)).await.expect("a connection");
            let file = env.disk.open("log", OpenMode::Create).await.expect("a file");
            while let Ok(number) = stream.read_u32().await {
                file.append(number.to_be_bytes().to_vec().into()).await.expect("space");
                if number == 80 {
                    world.kill(two);
                }
            }
            file.len().await.expect("a length")
        })
    }

    #[test]
    fn the_world_alone_and_the_world_inside_madsim_are_one_world() {
        for seed in 0..5 {
            let inside = run(SimConfig { trace: true, ..SimConfig::new(seed) }, story);
            let config = SimConfig { trace: true, ..SimConfig::new(seed) };
            #[allow(clippy::disallowed_methods)]
            let alone = std::thread::spawn(move || live(config, story, &|_| ())).join().expect("no panic outside");
            assert!(alone.trace == inside.trace, "seed {seed}");
            assert_eq!((alone.trace_hash, alone.polls), (inside.trace_hash, inside.polls));
            assert_eq!(alone.outcome, inside.outcome);
            assert!(alone.outcome.is_ok_and(|bytes| bytes >= 4 * 80));
        }
    }
}
