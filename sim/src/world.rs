//! The world of a thread, and how to reach it.

use crate::ctx::{self, Context, STAGE};
use crate::disk_env::DiskOps;
use crate::event::WorldEvent;
use crate::exec::{Exec, Local, Turn};
use crate::fault::InForce;
use crate::guest::Guests;
use crate::hosts::Machine;
use crate::net::Net;
use crate::rng;
use crate::run::SimConfig;
use crate::slab::Id;
use crate::stage::World;
use crate::timer::{Entry, Event, NEVER, Timers};
use crate::trace::{Kind, Trace};
use crate::waits::check_limit;
use rand_chacha::ChaCha8Rng;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::mem::ManuallyDrop;
use std::task::Waker;
use std::thread::ThreadId;

/// Polls at one instant before it counts as an endless loop.
const LIVELOCK_POLLS: u64 = 1_000_000;

/// What acts between two polls.
pub type Director = Box<dyn FnMut(&World)>;
/// What hears world events, with their times in nanoseconds.
pub type Listener = Box<dyn FnMut(u64, &WorldEvent)>;

/// All there is.
pub(crate) struct Inner {
    pub config: SimConfig,
    pub now: u64,
    pub exec: Exec,
    pub timers: Timers,
    pub machines: Vec<Machine>,
    pub net: Net,
    pub disks: DiskOps,
    pub faults: InForce,
    pub guests: Guests,
    pub trace: Trace,
    pub deliveries: u64,
    /// To be woken once the world is not borrowed.
    pub wakers: Vec<Waker>,
    /// To be told once the world is not borrowed.
    pub events: VecDeque<(u64, WorldEvent)>,
    pub director: Option<Director>,
    pub listener: Option<Listener>,
    /// Of `seeded_select!`; made when first used.
    pub branches: Option<Box<ChaCha8Rng>>,
    /// The run is over: nothing is started any more.
    pub over: bool,
    polls_here: u64,
}

thread_local! {
    /// Nothing that the thread would have to drop: then it need not look, at every use, whether it did. Whoever puts a world
    /// here takes it away.
    static WORLD: RefCell<Option<ManuallyDrop<Box<Inner>>>> = const { RefCell::new(None) };
}

/// Gives the thread its world.
pub(crate) fn put(inner: Box<Inner>) {
    let before = WORLD.replace(Some(ManuallyDrop::new(inner)));
    assert!(before.is_none(), "one world a thread");
}

/// Takes the world away.
pub(crate) fn take() -> Box<Inner> {
    ManuallyDrop::into_inner(WORLD.take().expect("a world that was put there"))
}

/// Something with the world of this thread. What it calls must neither wake, nor drop what is not the world's own.
pub(crate) fn with<R>(act: impl FnOnce(&mut Inner) -> R) -> R {
    const NO_WORLD: &str = "no simulated world on this thread: this is only for use inside klamm_sim::run, and a guest's is klamm_sim::guest::env()";
    WORLD.with_borrow_mut(|world| act(world.as_mut().expect(NO_WORLD)))
}

/// The same; `None` where no world is (any more), or it rests while guests run.
pub(crate) fn try_with<R>(act: impl FnOnce(&mut Inner) -> R) -> Option<R> {
    WORLD.with_borrow_mut(|world| world.as_mut().map(|inner| act(inner)))
}

impl Inner {
    /// An empty world.
    pub fn new(config: SimConfig, thread: ThreadId) -> Self {
        let seed = config.seed;
        Self {
            now: 0,
            exec: Exec::new(rng::stream(seed, "schedule"), thread),
            timers: Timers::new(),
            machines: vec![],
            net: Net::new(seed, config.profile.clone()),
            disks: DiskOps::default(),
            faults: InForce::default(),
            guests: Guests::default(),
            trace: Trace::new(seed, config.trace),
            deliveries: 0,
            wakers: vec![],
            events: VecDeque::new(),
            director: None,
            listener: None,
            branches: None,
            over: false,
            polls_here: 0,
            config,
        }
    }

    /// A new task of that host (or the stage). `None`: the host is down, or the one who asks belongs to a process that is
    /// dead; the future is given back for dropping.
    pub fn spawn(&mut self, host: u32, name: &str, future: Local) -> Result<Id, Local> {
        if self.over || !self.may_act(host) {
            return Err(future);
        }
        let life = self.machines.get(host as usize).map_or(0, |machine| machine.life);
        let context = Context { host, life, name: ctx::intern(name) };
        let id = self.exec.insert(context, future);
        self.trace
            .note(self.now, Kind::Spawn, [u64::from(host), u64::from(life), u64::from(id.slot)], || name.to_owned());
        self.wake_task(id);
        Ok(id)
    }

    /// Whether something may happen on that host now, asked for by whoever is running.
    pub fn may_act(&self, host: u32) -> bool {
        host == STAGE || (self.machines[host as usize].running && !self.is_zombie(host))
    }

    /// Whether whoever is running belongs to an earlier process of that host: it killed itself, or it is just dropped.
    pub fn is_zombie(&self, host: u32) -> bool {
        let current = ctx::current();
        host != STAGE && current.host == host && current.life != self.machines[host as usize].life
    }

    /// A task has something to do.
    #[inline]
    pub fn wake_task(&mut self, id: Id) {
        let Some(host) = self.exec.claim(id) else { return };
        match self.machines.get(host as usize).filter(|machine| machine.held) {
            Some(_) => self.park(host, id),
            None => self.exec.push(id),
        }
    }

    /// The next task to poll. Tasks of a host that stands still are put aside.
    fn pick(&mut self) -> Option<Id> {
        loop {
            let id = self.exec.pick()?;
            let Some(host) = self.exec.host(id) else { continue };
            if self.machines.get(host as usize).is_some_and(|machine| machine.held) && !self.may_step(host, id) {
                self.park(host, id);
                continue;
            }
            self.polls_here += 1;
            return Some(id);
        }
    }

    /// The next task to poll, and what it takes.
    #[inline(always)]
    pub fn turn(&mut self) -> Option<(Id, Turn)> {
        loop {
            let id = self.pick()?;
            if let Some(turn) = self.exec.start(id) {
                return Some((id, Turn { livelocked: self.polls_here > LIVELOCK_POLLS, ..turn }));
            }
        }
    }

    /// Nobody is to be woken, told or buried.
    pub fn is_quiet(&self) -> bool {
        self.wakers.is_empty() && self.events.is_empty() && self.exec.graveyard.is_empty()
    }

    /// The one waker to be woken, where that is all there is to do.
    pub fn only_waker(&mut self) -> Option<Waker> {
        let is_all = self.wakers.len() == 1 && self.events.is_empty() && self.exec.graveyard.is_empty();
        if is_all { self.wakers.pop() } else { None }
    }

    /// The next thing that happens, and how much later than now.
    #[inline(always)]
    pub fn next_step(&mut self) -> Option<(Entry, u64)> {
        loop {
            let mut entry = self.timers.pop()?;
            if self.means_something(&entry) {
                entry.at = entry.at.max(self.now);
                check_limit(entry.at, self.config.limit_ns.unwrap_or(NEVER));
                return Some((entry, entry.at - self.now));
            }
        }
    }

    /// When that will be.
    pub fn next_at(&mut self) -> Option<u64> {
        loop {
            let entry = self.timers.pop()?;
            if self.means_something(&entry) {
                self.timers.put_back(entry);
                return Some(entry.at);
            }
        }
    }

    fn means_something(&self, entry: &Entry) -> bool {
        match entry.event {
            Event::Timer(_) | Event::DiskFault(_) => true,
            Event::Arrive(id, _) | Event::Window(id, _) | Event::Rejected(id, _) | Event::KeepAlive(id, _) => {
                self.net.conns.get(id).is_some()
            }
            Event::Resend(id, side) => self.net.is_resend(id, side, entry.at),
            Event::Retransmit(id, side) => self.net.is_overdue(id, side, entry.at),
            Event::Syn(id) | Event::SynAnswer(id, _) | Event::SynAgain(id) => self.net.is_connecting(id),
            Event::DiskEffect(id) | Event::DiskDone(id) => self.disks.ops.get(id).is_some(),
            Event::Cpu(host, turn) => self.is_busy(host, turn),
            Event::StopDeadline(host, life) => self.lives(host, life),
        }
    }

    /// Time is `at` now.
    pub fn set_time(&mut self, at: u64) {
        assert!(at >= self.now, "time runs forward: {at} after {}", self.now);
        if at > self.now {
            self.polls_here = 0;
            self.now = at;
        }
        ctx::set_now(at);
    }

    /// It happens.
    #[inline(always)]
    pub fn handle(&mut self, event: Event) {
        match event {
            Event::Timer(id) => {
                self.trace
                    .note(self.now, Kind::Timer, [u64::from(id.slot), u64::from(id.age), 0], || format!("{}", id.slot));
                let waker = self.timers.fire(id);
                self.wakers.extend(waker);
            }
            Event::Arrive(id, side) => self.arrive(id, side as usize),
            Event::Window(id, side) => self.open_window(id, side as usize),
            Event::Retransmit(id, side) => self.give_up(id, side as usize),
            Event::Resend(id, side) => self.resend(id, side as usize),
            Event::Rejected(id, side) => self.rejected(id, side as usize),
            Event::KeepAlive(id, side) => self.keep_alive(id, side as usize),
            Event::Syn(id) => self.syn(id),
            Event::SynAnswer(id, accepted) => self.syn_answer(id, accepted),
            Event::SynAgain(id) => self.syn_again(id),
            Event::DiskEffect(id) => self.disk_effect(id),
            Event::DiskDone(id) => self.disk_done(id),
            Event::DiskFault(host) => self.disk_tick(host),
            Event::Cpu(host, _) => self.step_done(host),
            Event::StopDeadline(host, _) => self.kill_later(host),
        }
    }

    /// Something that the stage may want to know of.
    pub fn tell(&mut self, event: WorldEvent) {
        self.events.push_back((self.now, event));
    }

    /// A host's name.
    pub fn name(&self, host: u32) -> String {
        self.machines[host as usize].name.to_string()
    }

    /// The host that a name or address means to `asker`.
    pub fn resolve(&self, asker: u32, name: &str) -> Option<u32> {
        match name {
            name if means_self(name) => Some(asker),
            name => self.machines.iter().position(|machine| &*machine.name == name).map(|host| host as u32),
        }
    }
}

/// Whether a name or address means whoever says it.
pub(crate) fn means_self(name: &str) -> bool {
    matches!(name, "localhost" | "127.0.0.1" | "0.0.0.0" | "" | "::" | "::1")
}

/// After a poll or an event: wakes, tells and buries, and lets the director act if it was asked for. The world is not
/// borrowed and nothing is on the stack that could hold a lock.
/// `quiet` spares the look for whom it concerns: nobody.
#[inline(always)]
pub(crate) fn settle(quiet: bool) {
    if !quiet || ctx::is_flagged() {
        settle_all();
    }
}

fn settle_all() {
    let mut rounds = 0_u64;
    loop {
        flush();
        while let Some(corpse) = with(|world| world.exec.graveyard.pop()) {
            corpse.bury();
            flush();
        }
        if !ctx::take_flag() || !direct() {
            return;
        }
        rounds += 1;
        assert!(rounds <= LIVELOCK_POLLS, "the director asks for itself endlessly");
    }
}

/// Wakes and tells whom it concerns. The world is not borrowed.
pub(crate) fn flush() {
    enum Work {
        Wake(Waker),
        Tell(Listener, Box<(u64, WorldEvent)>),
    }
    let next = |world: &mut Inner| {
        if let Some(waker) = world.wakers.pop() {
            return Some(Work::Wake(waker));
        }
        if world.events.is_empty() {
            return None;
        }
        Some(Work::Tell(world.listener.take()?, Box::new(world.events.pop_front()?)))
    };
    while let Some(work) = try_with(next).flatten() {
        match work {
            Work::Wake(waker) => waker.wake(),
            Work::Tell(mut listener, told) => {
                listener(told.0, &told.1);
                give_back(|world| &mut world.listener, listener);
            }
        }
    }
}

/// Runs the director as the stage; false if there is none.
fn direct() -> bool {
    let Some(mut director) = with(|world| world.director.take()) else { return false };
    let before = ctx::enter(Context { host: STAGE, life: 0, name: ctx::intern("director") });
    director(&World::here());
    ctx::enter(before);
    give_back(|world| &mut world.director, director);
    true
}

/// Puts a callback back, unless it set another one in its own place. One of the two is dropped outside of the world.
fn give_back<T>(place: impl FnOnce(&mut Inner) -> &mut Option<T>, callback: T) {
    let _superseded = with(|world| {
        let place = place(world);
        if place.is_some() { Some(callback) } else { place.replace(callback) }
    });
}
