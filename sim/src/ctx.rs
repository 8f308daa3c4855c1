//! What stands beside the world in the thread: who is running, what time it is, what people call things. All of it can be
//! read while the world itself is borrowed, by a panic hook or a log line for example.

use crate::run::Panic;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::panic::PanicHookInfo;
use std::sync::Once;
use std::thread::ThreadId;

/// No host: the stage's own tasks.
pub(crate) const STAGE: u32 = u32::MAX;

/// Who is running.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context {
    /// Its host, or [`STAGE`].
    pub host: u32,
    /// Which life of that host's process.
    pub life: u32,
    /// The task's name, interned.
    pub name: u32,
}

/// Outside every task.
pub(crate) const NOBODY: Context = Context { host: STAGE, life: 0, name: 0 };

#[derive(Default)]
struct Names {
    hosts: Vec<String>,
    tasks: Vec<String>,
    by_name: BTreeMap<String, u32>,
}

thread_local! {
    static CONTEXT: Cell<Context> = const { Cell::new(NOBODY) };
    static NOW: Cell<u64> = const { Cell::new(0) };
    static RUN: Cell<Option<ThreadId>> = const { Cell::new(None) };
    static FLAG: Cell<bool> = const { Cell::new(false) };
    static SKEWED: Cell<bool> = const { Cell::new(false) };
    static RESTS: Cell<Option<ThreadId>> = const { Cell::new(None) };
    static NAMES: RefCell<Names> = RefCell::default();
    static PANIC: RefCell<Option<Panic>> = const { RefCell::new(None) };
}

/// A run starts on this thread, which is fresh.
pub(crate) fn begin() -> ThreadId {
    let thread = std::thread::current().id();
    assert!(RUN.replace(Some(thread)).is_none(), "one run a thread");
    assert_eq!(intern("executor"), 0, "the first name is that of nobody");
    thread
}

/// The run on this thread is over.
pub(crate) fn end() {
    RUN.set(None);
}

/// The run that lives on this thread, unless it rests while guests run.
pub(crate) fn run_thread() -> Option<ThreadId> {
    RUN.try_with(Cell::get).ok().flatten()
}

/// The run that lives on this thread, also where it rests.
fn any_run_thread() -> Option<ThreadId> {
    run_thread().or_else(|| RESTS.try_with(Cell::get).ok().flatten())
}

/// The run rests from now on.
pub(crate) fn rest() {
    RESTS.set(RUN.take());
}

/// It goes on.
pub(crate) fn go_on() {
    RUN.set(RESTS.take());
}

/// Somebody else runs now; answers who did before.
pub(crate) fn enter(context: Context) -> Context {
    CONTEXT.replace(context)
}

/// Who is running.
pub(crate) fn current() -> Context {
    CONTEXT.get()
}

/// World time, for those who may not borrow the world.
pub(crate) fn set_now(ns: u64) {
    NOW.set(ns);
}

/// World time, for those who may not borrow the world.
pub(crate) fn now() -> u64 {
    NOW.get()
}

/// For people: what time it is, wherever the world is.
fn told_now() -> u64 {
    crate::guest::outer_ns().unwrap_or_else(now)
}

/// From now on some monotonic clock of this run is not world time.
pub(crate) fn set_skewed() {
    SKEWED.set(true);
}

/// Whether some monotonic clock of this run is not world time.
pub(crate) fn is_skewed() -> bool {
    SKEWED.get()
}

/// Asks for the director.
pub(crate) fn flag_director() {
    FLAG.set(true);
}

/// Whether the director is asked for.
pub(crate) fn is_flagged() -> bool {
    FLAG.get()
}

/// Whether the director was asked for since the last call.
pub(crate) fn take_flag() -> bool {
    FLAG.replace(false)
}

/// A short name for a task's name.
pub(crate) fn intern(name: &str) -> u32 {
    NAMES.with_borrow_mut(|names| {
        if let Some(id) = names.by_name.get(name) {
            return *id;
        }
        let id = names.tasks.len() as u32;
        names.tasks.push(name.to_owned());
        names.by_name.insert(name.to_owned(), id);
        id
    })
}

/// A task's name.
pub(crate) fn task_name(id: u32) -> String {
    NAMES.with_borrow(|names| names.tasks.get(id as usize).cloned().unwrap_or_default())
}

/// The next host has this name.
pub(crate) fn name_host(name: &str) {
    NAMES.with_borrow_mut(|names| names.hosts.push(name.to_owned()));
}

/// A host's name; `None` for the stage.
pub(crate) fn host_name(host: u32) -> Option<String> {
    NAMES.try_with(|names| names.try_borrow().ok()?.hosts.get(host as usize).cloned()).ok().flatten()
}

/// Who runs, for a line of the trace.
pub(crate) fn who() -> String {
    let context = current();
    match (host_name(context.host), context.name) {
        (Some(host), task) => format!("{host}/{}", task_name(task)),
        (None, 0) => "world".to_owned(),
        (None, task) => format!("stage/{}", task_name(task)),
    }
}

/// Inside a run: simulated nanoseconds and the name of the current host (`stage` outside all hosts). For log lines.
pub fn stamp() -> Option<(u64, String)> {
    any_run_thread()?;
    Some((told_now(), host_name(current().host).unwrap_or_else(|| "stage".to_owned())))
}

/// One hook for the process: a panic inside a run is noted and says nothing, every other goes where it went before.
pub(crate) fn install_hook() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| match any_run_thread() {
            Some(_) => note_panic(info),
            None => before(info),
        }));
    });
}

fn note_panic(info: &PanicHookInfo<'_>) {
    let context = current();
    let location = info.location().map(|at| at.to_string()).unwrap_or_default();
    let mut message = info.payload_as_str().unwrap_or("a panic without words").to_owned();
    if location.contains("/std/src/sys/thread") {
        message.insert_str(0, "a thread was spawned inside a run, use env.tasks.spawn: ");
    }
    let (node, task) = (host_name(context.host), task_name(context.name));
    let panic = Panic { node, task, message, location, at_ns: told_now() };
    // Only the first one is the cause.
    let _ = PANIC.try_with(|slot| slot.try_borrow_mut().map(|mut first| first.get_or_insert(panic).at_ns));
}

/// The first panic of this run.
pub(crate) fn take_panic() -> Option<Panic> {
    PANIC.with_borrow_mut(Option::take)
}
