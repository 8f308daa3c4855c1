//! The course of a run inside the world: boot, prepare, play, mend, rest, serve, stop.

use super::core;
use super::director::{Away, Director};
use super::effects::{Condition, Hands};
use super::finale;
use super::machines::Machines;
use super::recorder::{Recorder, Recording, told};
use super::roster::{HostIx, Role, Roster};
use super::workload::{self, Clients};
use crate::script::{Script, Span};
use klamm_base::{Draws, Guards, NodeId, Observe, Observer, Source, TopicPartition};
use klamm_checkers::{Event, World as Told};
use klamm_client::{Admin, NewTopic};
use klamm_env::{BoxFuture, Env};
use klamm_node::NodeConfig;
use klamm_sim::{Host, World, stop_signal};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use tokio::sync::Notify;

/// How long the cluster may take to begin, before anything strikes.
const PREPARE: Span = Span(120_000_000_000);
/// How long nodes may take to stop in good order at the end.
const STOPPING: Span = Span(10_000_000_000);
/// How often somebody looks whether a node ended by itself after the last heal.
const TENDING: Span = Span(1_000_000_000);
/// How often such a node is started again on the disk that it has.
const RESTARTS: u32 = 2;

/// A run in its world.
pub struct Show {
    world: World,
    script: Script,
    guards: Guards,
    machines: Machines,
    director: Rc<RefCell<Director>>,
    recording: Recording,
    clients: Arc<Clients>,
    observer: Arc<dyn Observer>,
    /// A promise is broken, and that is enough.
    halt: Arc<Notify>,
    /// How often each node was started again after the last heal.
    tended: BTreeMap<HostIx, u32>,
    /// Whose disk failed an operation before the last heal, which may be told to them only after it.
    failing: BTreeSet<HostIx>,
}

impl Show {
    /// Machines, observer and director; nothing runs yet. A run that may halt ends at the first broken promise.
    pub fn open(world: World, script: Script, guards: Guards, recording: Recording, may_halt: bool) -> Self {
        let roster = Roster::new(&script);
        let hosts: Vec<Host> = roster.all().map(|host| world.add_host(roster.name(host))).collect();
        if let Some(disks) = script.cluster.disk.setup().expect("the script was checked") {
            for host in roster.nodes() {
                world.set_disks(hosts[host.0], disks.clone()).expect("a new host has no files");
            }
        }
        if let Some(topology) = script.topology() {
            world.set_topology(&topology).expect("the script was checked");
        }
        let (appends, acks) = Director::wants(&script);
        let observer: Arc<dyn Observer> = Arc::new(Recorder { world, recording: recording.clone(), appends, acks });
        let machines = Machines { world, roster: roster.clone(), hosts, recording: recording.clone() };
        let director = Rc::new(RefCell::new(Director::new(&script, roster.clone())));
        let kept = recording.clone();
        world.on_event(Box::new(move |at_ns, event| {
            if let Some(told) = told(&roster, event) {
                kept.tell(at_ns, told);
            }
        }));
        let halt = Arc::new(Notify::new());
        direct(world, director.clone(), recording.clone(), machines.clone(), may_halt.then(|| halt.clone()));
        let clients = Arc::new(Clients::new(&script, observer.clone()));
        let (tended, failing) = (BTreeMap::new(), BTreeSet::new());
        Self { world, script, guards, machines, director, recording, clients, observer, halt, tended, failing }
    }

    /// From the first boot to the last stop, or to the first broken promise; the steps that never struck.
    pub async fn play(mut self) -> Vec<(String, bool)> {
        let (halt, director) = (self.halt.clone(), self.director.clone());
        tokio::select! {
            biased;
            () = halt.notified() => {}
            () = self.acts() => {}
        }
        director.borrow().never_struck()
    }

    async fn acts(&mut self) {
        self.machines.roster.nodes().into_iter().for_each(|host| self.boot_node(host));
        match self.prepare().await {
            Ok(()) => {
                self.perform().await;
                self.end().await;
            }
            Err(why) => {
                self.tell(Told::Healed);
                self.tell(Told::Settled { ok: false, why: format!("the cluster never began: {why}") });
            }
        }
        self.stop_all().await;
    }

    fn tell(&self, told: Told) {
        self.recording.tell(self.world.now_ns(), told);
    }

    async fn sleep(&self, ms: u64) {
        self.world.sleep_until(self.world.now_ns() + ms * 1_000_000).await;
    }

    /// Starts a node's program, now and at each restart of its machine.
    fn boot_node(&self, host: HostIx) {
        let properties = self.machines.roster.properties(&self.script, host);
        let config = NodeConfig::from_properties(&properties).expect("the script was checked");
        let (guards, recording) = (self.guards, self.recording.clone());
        let (world, node) = (self.world, config.node);
        let observe = Observe::new(Source::Node(node), self.observer.clone());
        let program = move |env: Env| -> BoxFuture<()> {
            let (config, observe, recording) = (config.clone(), observe.clone(), recording.clone());
            let stop = Box::pin(stop_signal());
            Box::pin(async move {
                let ended = klamm_server::run(env, config, guards, observe, |_| {}, stop).await;
                let in_order = ended.is_ok();
                let why = ended.map_or_else(|error| error.to_string(), |()| "stopped in good order".to_owned());
                tracing::info!(%why, "node ended");
                recording.tell(world.now_ns(), Told::Stopped { node, why, in_order });
            })
        };
        self.world.boot(self.machines.host(host), program);
    }

    /// Makes the topics and waits until every replica is in sync.
    async fn prepare(&self) -> Result<(), String> {
        let until = self.world.now_ns() + PREPARE.0;
        let own = self.machines.roster.by_name("admin").expect("the stage's own machine");
        let mut admin = Admin::new(&self.world.env(self.machines.host(own)), self.clients.bootstrap.clone());
        for topic in &self.script.topics {
            let new = NewTopic {
                name: topic.name.clone(),
                partitions: topic.partitions as i32,
                replication: topic.replication as i16,
                configs: topic.config.clone(),
            };
            while self.director.borrow().ledger().topic(&topic.name).is_none() {
                let tried = admin.create_topic(&new).await;
                if self.world.now_ns() > until {
                    return Err(format!("topic {}: {tried:?}", topic.name));
                }
                self.sleep(50).await;
            }
        }
        let brokers: BTreeSet<NodeId> = (1..=self.script.cluster.brokers as i32).map(NodeId).collect();
        loop {
            let partitions = self.script.partitions();
            let amiss = partitions.iter().find_map(|p| self.director.borrow().ledger().unrest(p, &brokers));
            match amiss {
                None => break,
                Some(why) if self.world.now_ns() > until => return Err(why),
                Some(_) => self.sleep(20).await,
            }
        }
        let director = self.director.borrow();
        let ids = self.script.partitions().into_iter().map(|p| (director.ledger().id(&p).expect("it was made"), p));
        let ids: BTreeMap<_, TopicPartition> = ids.map(|(id, partition)| (partition, id)).collect();
        assert!(self.clients.ids.set(ids).is_ok(), "a run prepares once");
        Ok(())
    }

    /// The script itself.
    async fn perform(&mut self) {
        let start = self.world.now_ns();
        let instants = self.director.borrow_mut().begin(start);
        instants.into_iter().collect::<BTreeSet<_>>().into_iter().for_each(|at| self.machines.wake_at(at));
        self.machines.roster.clients().into_iter().for_each(|host| self.boot_client(host));
        self.world.sleep_until(start + self.script.duration.0).await;
        self.clients.closing.store(true, Relaxed);
    }

    fn boot_client(&self, host: HostIx) {
        let clients = self.clients.clone();
        let at = self.machines.host(host);
        match self.machines.roster.role(host) {
            Role::Producer(index) => {
                let (index, spec) = (*index, self.script.producers[*index].clone());
                let partitions = self.script.partitions_of(&spec.topics);
                let program = move |env: Env| -> BoxFuture<()> {
                    Box::pin(workload::produce(env, clients.clone(), spec.clone(), index, partitions.clone()))
                };
                self.world.boot(at, program);
            }
            Role::Consumer(index) => {
                let spec = self.script.consumers[*index].clone();
                let partitions = self.script.partitions_of(&spec.topics);
                let program = move |env: Env| -> BoxFuture<()> {
                    Box::pin(workload::consume(env, clients.clone(), spec.clone(), partitions.clone()))
                };
                self.world.boot(at, program);
            }
            role => unreachable!("{role:?} is no client of the script"),
        }
    }

    /// Heal, rest, one write, one whole reading.
    async fn end(&mut self) {
        let left_out = self.leave_out();
        self.director.borrow_mut().mend(&mut self.machines, &left_out);
        let struck =
            |host: &HostIx| self.machines.roster.node(*host).is_some_and(|node| self.recording.disk_struck(node));
        self.failing = self.machines.roster.nodes().into_iter().filter(struck).collect();
        self.tell(Told::Healed);
        let bound = finale::settle_bound(&self.script);
        let core = self.brokers_but(&left_out.into_keys().collect());
        let amiss = self.settle(bound, &core).await;
        let why = amiss.clone().unwrap_or_else(|| "every replica is in sync".to_owned());
        self.tell(Told::Settled { ok: amiss.is_none(), why });
        let judge = self.machines.roster.by_name("judge").expect("the stage's own machine");
        let env = self.world.env(self.machines.host(judge));
        let partitions = finale::awake(&self.script, self.director.borrow().ledger(), &core);
        let clients = self.clients.clone();
        let finale = async move {
            finale::write_once(&env, &clients, &partitions).await;
            finale::read_all(&env, &clients, &partitions, Span::ms(120_000)).await;
        };
        self.tend_during(finale).await;
    }

    /// Tends the nodes that are there until something else is done: some find out only now that their disks are damaged.
    async fn tend_during(&mut self, other: impl Future<Output = ()>) {
        let mut other = pin!(other);
        loop {
            tokio::select! {
                biased;
                () = &mut other => return,
                () = self.sleep(TENDING.0 / 1_000_000) => {}
            }
            self.tend_all();
        }
    }

    fn tend_all(&mut self) {
        let gone = self.director.borrow().gone().clone();
        let nodes = self.machines.roster.nodes();
        nodes.into_iter().filter(|host| !gone.contains(host)).for_each(|host| self.tend(host));
    }

    /// Chooses who is left out of the last heal, if the script wants that: as many brokers as can be, those that do not run
    /// before others. A core is of brokers with sound disks; if they are not enough, everybody is healed.
    fn leave_out(&self) -> BTreeMap<HostIx, Away> {
        let director = self.director.borrow();
        if self.script.heal.is_all() {
            return BTreeMap::new();
        }
        let mut draws = Draws::named(self.script.seed, "core");
        let roster = &self.machines.roster;
        let up = |host: HostIx| self.machines.condition(host) == Condition::Up;
        let sound = |host: HostIx| self.world.disk_damage(self.machines.host(host)).is_empty();
        let host_of = |node: NodeId| roster.by_node(node).expect("a broker has a machine");
        let brokers = self.brokers_but(director.gone());
        let (whole, damaged): (BTreeSet<NodeId>, BTreeSet<NodeId>) =
            brokers.into_iter().partition(|node| sound(host_of(*node)));
        let down: BTreeSet<NodeId> = whole.iter().copied().filter(|node| !up(host_of(*node))).collect();
        let needs = core::needs(&self.script, director.ledger());
        let Some(out) = core::left_out(&needs, &whole, &down, &mut draws) else { return BTreeMap::new() };
        let mut away = BTreeMap::new();
        for node in out.into_iter().chain(damaged) {
            let cut_off = draws.chance(1, 2) && up(host_of(node));
            let (how, word) = if cut_off { (Away::CutOff, "cut off") } else { (Away::Dead, "dead") };
            self.tell(Told::LeftOut { node, how: word.to_owned() });
            away.insert(host_of(node), how);
        }
        away
    }

    fn brokers_but(&self, hosts: &BTreeSet<HostIx>) -> BTreeSet<NodeId> {
        let roster = &self.machines.roster;
        roster.brokers().iter().filter(|host| !hosts.contains(host)).filter_map(|host| roster.node(*host)).collect()
    }

    /// Waits until nothing is amiss in what was healed; what still is when the bound is reached.
    async fn settle(&mut self, bound: Span, core: &BTreeSet<NodeId>) -> Option<String> {
        let until = self.world.now_ns() + bound.0;
        let up = self.brokers_but(self.director.borrow().gone());
        let mut look_ns = 0;
        loop {
            let awake = finale::awake(&self.script, self.director.borrow().ledger(), core);
            let amiss = finale::unrest(&awake, self.director.borrow().ledger(), &up, &self.clients);
            if amiss.is_none() || self.world.now_ns() >= until {
                return amiss;
            }
            if self.world.now_ns() >= look_ns {
                look_ns = self.world.now_ns() + TENDING.0;
                self.tend_all();
            }
            self.sleep(100).await;
        }
    }

    /// What an operator does with a process that ended by itself after the last heal, as one does that finds out late that a
    /// fault has damaged its disk: it is started again, twice at most, and then once on an empty disk, unless that would be the
    /// last copy of anything. One that a slow disk told only then of what had failed before is started again once. What does not
    /// run then is a finding, and so is what ended without any damage.
    fn tend(&mut self, host: HostIx) {
        let machine = self.machines.host(host);
        if self.machines.condition(host) != Condition::Down {
            return;
        }
        if self.world.disk_damage(machine).is_empty() && !self.failing.remove(&host) {
            return;
        }
        let times = self.tended.entry(host).or_insert(0);
        *times += 1;
        let times = *times;
        if times == RESTARTS + 1 && !self.holds_the_last_copy(host) {
            self.world.wipe_disk(machine);
        } else if times > RESTARTS {
            return;
        }
        self.world.restart(machine);
    }

    /// True if some partition has this machine's node as its only one in sync; always for a controller.
    fn holds_the_last_copy(&self, host: HostIx) -> bool {
        let Role::Broker(node) = *self.machines.roster.role(host) else { return true };
        let director = self.director.borrow();
        let alone = |partition| director.ledger().partition(partition).is_some_and(|state| state.isr == [node]);
        self.script.partitions().iter().any(alone)
    }

    /// Asks every node to stop. What happens from here on is no part of the history, unless it is a panic.
    async fn stop_all(&mut self) {
        let judged = self.recording.close();
        let (brokers, others): (Vec<HostIx>, Vec<HostIx>) = {
            let roster = &self.machines.roster;
            roster.nodes().into_iter().partition(|host| matches!(roster.role(*host), Role::Broker(_)))
        };
        // Brokers hand their leaderships over while there is a controller to hand them to.
        self.stop(&brokers).await;
        self.stop(&others).await;
        self.recording.lock().entries.truncate(judged);
    }

    /// Asks these nodes to stop, and waits until they have, or were killed for not doing so.
    async fn stop(&mut self, nodes: &[HostIx]) {
        let until = self.world.now_ns() + STOPPING.0;
        for host in nodes {
            self.world.stop(self.machines.host(*host), until).expect("it is a machine of this run");
        }
        while nodes.iter().any(|h| self.machines.condition(*h) != Condition::Down) && self.world.now_ns() <= until {
            self.sleep(50).await;
        }
    }
}

/// Lets the director see what is new in the history, and act, after every poll that flagged it; and the judges, who may halt
/// the run.
fn direct(
    world: World,
    director: Rc<RefCell<Director>>,
    recording: Recording,
    mut machines: Machines,
    halt: Option<Arc<Notify>>,
) {
    let mut seen = 0;
    world.set_director(Box::new(move |world| {
        let mut director = director.borrow_mut();
        {
            let history = recording.lock();
            for entry in &history.entries[seen.min(history.entries.len())..] {
                if let Event::Stack { source, observation } = &entry.event {
                    director.see(entry.at_ns, *source, observation);
                }
            }
            seen = history.entries.len();
            if recording.judge(&history)
                && let Some(halt) = &halt
            {
                halt.notify_one();
            }
        }
        director.act(world.now_ns(), &mut machines);
    }));
}
