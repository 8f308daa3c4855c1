//! The world as the stage sees it: hosts to make, break and mend.

use crate::ctx::{self, Context, STAGE};
use crate::env_impl::{self, HostClock};
use crate::event::WorldEvent;
use crate::exec::Corpse;
use crate::guest;
use crate::hosts::{HostError, Machine, Pause};
use crate::rng;
use crate::world::{self, Director, Inner, Listener, flush};
use klamm_env::{BoxFuture, Clock, Env};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::rc::Rc;
use std::thread::ThreadId;

/// A simulated machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Host(pub u32);

/// What a host is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostState {
    /// It runs.
    Up,
    /// It stands still.
    Paused,
    /// No process; perhaps no power.
    Down,
}

/// The world of this thread's run. It is only an id, the world itself lives in the thread: any use of it in another thread
/// panics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct World {
    thread: ThreadId,
}

impl World {
    /// The world of this thread.
    pub(crate) fn here() -> Self {
        Self { thread: ctx::run_thread().expect("inside a run") }
    }

    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut Inner) -> R) -> R {
        if ctx::run_thread() != Some(self.thread) {
            let is_here = guest::arrive() && ctx::run_thread() == Some(self.thread);
            assert!(is_here, "a World is only good in the thread of its run");
        }
        world::with(act)
    }

    /// A new host. Its name is its network name; its wall clock starts at 2026-01-01T00:00:00Z. Until it is booted it is up
    /// and runs what is spawned through [`World::env`]. It panics where [`World::try_add_host`] gives an error.
    pub fn add_host(&self, name: &str) -> Host {
        self.try_add_host(name).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same.
    ///
    /// # Errors
    /// [`HostError::NameTaken`]; [`HostError::NoName`] for a name that means the one who says it, or everybody.
    pub fn try_add_host(&self, name: &str) -> Result<Host, HostError> {
        self.with(|world| world.add_host(name))
    }

    /// The host of that name.
    pub fn host(&self, name: &str) -> Option<Host> {
        let place = self.with(|world| world.machines.iter().position(|machine| &*machine.name == name));
        place.map(|place| Host(place as u32))
    }

    /// A host's name.
    pub fn name(&self, host: Host) -> String {
        self.with(|world| world.name(host.0))
    }

    /// Every host, in the order of their making.
    pub fn hosts(&self) -> Vec<Host> {
        (0..self.with(|world| world.machines.len() as u32)).map(Host).collect()
    }

    /// Gives the host its program and starts it; each restart starts it again. When the program's future ends, so does the
    /// process, with all its other tasks.
    pub fn boot(&self, host: Host, program: impl Fn(Env) -> BoxFuture<()> + Send + 'static) {
        let old = self.with(|world| {
            let machine = &mut world.machines[host.0 as usize];
            assert!(machine.running, "{} is down: restart it, it has a program or had none", machine.name);
            machine.program.replace(Rc::new(program))
        });
        drop(old);
        self.with(|world| world.tell(WorldEvent::Started { host: world.name(host.0) }));
        self.start(host);
    }

    /// Calls the program as its host, and makes its future the host's first task.
    fn start(&self, host: Host) {
        let (program, life) = self.with(|world| {
            let machine = &world.machines[host.0 as usize];
            (machine.program.clone(), machine.life)
        });
        flush();
        let Some(program) = program else { return };
        let before = ctx::enter(Context { host: host.0, life, name: ctx::intern("main") });
        let main = program(env_impl::env(host.0));
        let world = *self;
        let process = async move {
            main.await;
            world.end_process(host, |host| WorldEvent::Exited { host });
        };
        let spawned = self.with(|world| world.spawn(host.0, "main", Box::pin(process)));
        drop(spawned);
        ctx::enter(before);
    }

    /// Its process dies: all its futures are dropped now; peers get FIN or RST; the page cache stays. Nothing if it is down.
    pub fn kill(&self, host: Host) {
        self.end_process(host, |host| WorldEvent::Killed { host });
    }

    fn end_process(&self, host: Host, event: impl FnOnce(String) -> WorldEvent) {
        let corpses = self.with(|world| world.end_process(host.0, event));
        bury(corpses);
    }

    /// The machine loses power: silence for its peers, unsynced data at risk. Nothing if it has none.
    pub fn power_off(&self, host: Host) {
        let corpses = self.with(|world| world.power_off(host.0));
        bury(corpses);
    }

    /// Starts the program anew, with power; a process that still runs is killed first.
    pub fn restart(&self, host: Host) {
        self.kill(host);
        self.with(|world| world.power_on(host.0));
        self.start(host);
    }

    /// Time passes, nothing of it runs, bytes pile up. Nothing if it is down or paused.
    pub fn pause(&self, host: Host) {
        self.hold_still(host, Pause::Stage, true);
    }

    /// Ends a pause.
    pub fn resume(&self, host: Host) {
        self.hold_still(host, Pause::Stage, false);
    }

    /// Begins or ends one reason to stand still.
    pub(crate) fn hold_still(&self, host: Host, why: Pause, begins: bool) {
        self.with(|world| world.set_paused(host.0, why, begins));
        flush();
        self.hold_guest(host);
    }

    /// That there is such a host.
    pub(crate) fn check(&self, host: Host) -> Result<(), HostError> {
        let known = self.with(|world| (host.0 as usize) < world.machines.len());
        if known { Ok(()) } else { Err(HostError::Unknown { host: host.0 }) }
    }

    /// What the host is doing.
    pub fn state(&self, host: Host) -> HostState {
        self.with(|world| match &world.machines[host.0 as usize] {
            Machine { running: false, .. } => HostState::Down,
            Machine { pauses: 0, .. } => HostState::Up,
            _ => HostState::Paused,
        })
    }

    /// A new, empty disk. The host must be down.
    pub fn wipe_disk(&self, host: Host) {
        self.with(|world| world.wipe_disk(host.0));
        flush();
    }

    /// Every file of a host with its length, sorted by path.
    pub fn files(&self, host: Host) -> Vec<(String, u64)> {
        self.with(|world| world.machines[host.0 as usize].disk.files())
    }

    /// Sets the host's wall clock to true time plus so many milliseconds.
    pub fn set_wall_offset_ms(&self, host: Host, offset_ms: i64) {
        self.with(|world| world.set_wall_offset(host.0, offset_ms));
        flush();
    }

    /// The world as a process on that host sees it.
    pub fn env(&self, host: Host) -> Env {
        assert!(self.with(|world| world.machines.len()) > host.0 as usize, "there is no {host:?}");
        env_impl::env(host.0)
    }

    /// World time, nanoseconds since the start of the run.
    pub fn now_ns(&self) -> u64 {
        self.with(|world| world.now)
    }

    /// Runs a task on no host.
    pub fn spawn(&self, name: &str, task: impl Future<Output = ()> + 'static) {
        let refused = self.with(|world| world.spawn(STAGE, name, Box::pin(task)));
        drop(refused);
    }

    /// Waits until that world time.
    pub fn sleep_until(&self, ns: u64) -> BoxFuture<()> {
        let clock: &dyn Clock = &HostClock { host: STAGE };
        clock.sleep_until(ns)
    }

    /// An independent stream of the run's randomness; the same name gives the same stream from its start.
    pub fn rng(&self, stream: &str) -> ChaCha8Rng {
        rng::stream(self.with(|world| world.config.seed), &format!("stage/{stream}"))
    }

    /// Sets what runs right after the current poll, before any other task, whenever it was flagged.
    pub fn set_director(&self, director: Director) {
        let old = self.with(|world| world.director.replace(director));
        drop(old);
    }

    /// Asks for the director.
    pub fn flag_director(&self) {
        ctx::flag_director();
    }

    /// Sets what hears every world event, with its time in nanoseconds.
    pub fn on_event(&self, listener: Listener) {
        let old = self.with(|world| world.listener.replace(listener));
        drop(old);
        flush();
    }

    /// Puts something that code of the run saw or did into the trace, and says when that was, in nanoseconds. `word` goes
    /// into the hash; the line is made only if lines are kept.
    pub fn note(&self, word: u64, line: impl FnOnce() -> String) -> u64 {
        self.with(|world| {
            world.trace.note(world.now, crate::trace::Kind::Observe, [word, 0, 0], line);
            world.now
        })
    }

    /// Tasks that are alive.
    pub fn live_tasks(&self) -> usize {
        self.with(|world| world.exec.live())
    }

    /// Things in the world that a leak would make grow: tasks, entries of the timer heap, connections, disk operations.
    pub fn census(&self) -> [usize; 4] {
        self.with(|world| [world.exec.live(), world.timers.len(), world.net.conns.len(), world.disks.ops.len()])
    }

    /// The host whose task is running.
    pub fn current_host() -> Option<Host> {
        ctx::run_thread()?;
        Some(ctx::current().host).filter(|host| *host != STAGE).map(Host)
    }
}

/// Drops the futures of a dead process, each as its host, after its death was told.
fn bury(corpses: Vec<Corpse>) {
    flush();
    for corpse in corpses {
        corpse.bury();
    }
    flush();
}

impl Inner {
    fn add_host(&mut self, name: &str) -> Result<Host, HostError> {
        if world::means_self(name) {
            return Err(HostError::NoName { name: name.to_owned() });
        }
        if self.machines.iter().any(|machine| &*machine.name == name) {
            return Err(HostError::NameTaken { name: name.to_owned() });
        }
        let seed = self.config.seed;
        let host = Host(self.machines.len() as u32);
        ctx::name_host(name);
        let entropy = rng::stream(seed, &format!("entropy/{name}/0"));
        let disk = self.new_disks(name);
        self.machines.push(Machine::new(name, entropy, disk, rng::stream(seed, &format!("disk/{name}"))));
        Ok(host)
    }

    pub(crate) fn note_process(&mut self, host: u32, what: &'static str, value: u64) {
        let words = [u64::from(host), what.len() as u64, value];
        self.trace.note(self.now, crate::trace::Kind::Process, words, || {
            format!("{} {what} {value}", ctx::host_name(host).unwrap_or_default())
        });
    }

    /// Ends the process of a host, in the order in which a kernel does: nothing of it runs, then its sockets close.
    pub(crate) fn end_process(&mut self, host: u32, event: impl FnOnce(String) -> WorldEvent) -> Vec<Corpse> {
        if !self.machines[host as usize].running {
            return vec![];
        }
        self.note_process(host, "dies", 0);
        self.stop(host);
        self.close_host(host);
        self.kill_disk(host);
        let name = self.name(host);
        self.tell(event(name));
        self.exec.remove_all(|task| task.context.host == host)
    }

    /// From here on what belongs to the process is void.
    fn stop(&mut self, host: u32) {
        self.wakers.append(&mut self.machines[host as usize].stop.wakers);
        self.machines[host as usize].end_life();
    }

    fn power_off(&mut self, host: u32) -> Vec<Corpse> {
        if !self.machines[host as usize].powered {
            return vec![];
        }
        self.note_process(host, "loses power", 0);
        self.stop(host);
        self.machines[host as usize].powered = false;
        self.lose_host(host);
        let loss = self.power_off_disk(host);
        self.tell(WorldEvent::PoweredOff {
            host: self.name(host),
            lost_bytes: loss.lost_bytes,
            kept_bytes: loss.kept_bytes,
            files: loss.files,
            lost_entries: loss.lost_entries,
        });
        self.exec.remove_all(|task| task.context.host == host)
    }

    fn power_on(&mut self, host: u32) {
        let machine = &mut self.machines[host as usize];
        assert!(!machine.running, "{} runs already", machine.name);
        (machine.running, machine.powered) = (true, true);
        machine.entropy = rng::stream(self.config.seed, &format!("entropy/{}/{}", machine.name, machine.life));
        let life = machine.life;
        self.note_process(host, "starts", u64::from(life));
        self.find_host(host);
        self.tell(WorldEvent::Restarted { host: self.name(host) });
    }

    fn set_paused(&mut self, host: u32, why: Pause, begins: bool) {
        let machine = &mut self.machines[host as usize];
        let was = machine.pauses;
        let now = if begins { was | why as u8 } else { was & !(why as u8) };
        if !machine.running || was == now {
            return;
        }
        machine.pauses = now;
        if (was == 0) == (now == 0) {
            return; // it stands still for another reason, too
        }
        let paused = now != 0;
        self.unpark(host);
        self.note_process(host, if paused { "pauses" } else { "resumes" }, 0);
        let host = self.name(host);
        self.tell(if paused { WorldEvent::Paused { host } } else { WorldEvent::Resumed { host } });
    }

    fn wipe_disk(&mut self, host: u32) {
        let machine = &mut self.machines[host as usize];
        assert!(!machine.running, "{} runs: its disk cannot be replaced", machine.name);
        machine.disk.wipe();
        self.note_process(host, "disk is wiped", 0);
        self.tell(WorldEvent::DiskWiped { host: self.name(host) });
    }

    fn set_wall_offset(&mut self, host: u32, offset_ms: i64) {
        self.machines[host as usize].clocks.set_offset_ms(self.now, offset_ms);
        self.note_process(host, "sets its wall clock", offset_ms as u64);
        self.tell(WorldEvent::ClockSet { host: self.name(host), offset_ms });
    }
}
