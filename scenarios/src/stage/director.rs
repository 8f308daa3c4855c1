//! The director: watches the run and strikes when a step's instant has come. A plain state machine over [`Hands`].

use super::effects::{Condition, Effects, Hands};
use super::ledger::Ledger;
use super::roster::{HostIx, Role, Roster};
use super::watch::{ClientNames, Watch};
use crate::script::{Action, ConnectionHarm, Link, Script, Span, Step, Target, Trigger};
use klamm_base::{NodeId, Observation, Source};
use klamm_sim::{Fault, LinkState, Place};
use std::collections::{BTreeMap, BTreeSet};

/// Holds what the end of the script does.
const FOR_EVER: usize = usize::MAX;

/// How a broker that is left out of what is healed stays away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Away {
    /// Its process does not run.
    Dead,
    /// It runs, and nobody hears of it.
    CutOff,
}

/// Where a step stands.
#[derive(Debug)]
enum Stand {
    /// Not armed before this instant.
    Dormant(u64),
    /// Armed, its trigger is not met.
    Watching(Watch),
    /// Its trigger was met at this instant; nobody knows yet when to wake.
    Met(u64),
    /// It strikes at this instant.
    Delayed(u64),
    /// It would strike, but its target is nobody.
    Waiting,
    /// It struck, and ends by itself at this instant.
    Lasting(u64),
    /// It struck, and is over or stays.
    Over,
}

/// The script's steps on their way.
pub struct Director {
    roster: Roster,
    steps: Vec<Step>,
    stands: Vec<Stand>,
    /// Some step may be [`Stand::Watching`].
    watches: bool,
    ledger: Ledger,
    names: ClientNames,
    effects: Effects,
    struck: BTreeMap<usize, Vec<HostIx>>,
    gone: BTreeSet<HostIx>,
    closed: bool,
}

impl Director {
    /// All steps of the script, none of them armed before [`Self::begin`].
    pub fn new(script: &Script, roster: Roster) -> Self {
        Self {
            roster,
            stands: script.steps.iter().map(|_| Stand::Dormant(u64::MAX)).collect(),
            steps: script.steps.clone(),
            watches: false,
            ledger: Ledger::default(),
            names: ClientNames::new(),
            effects: Effects::default(),
            struck: BTreeMap::new(),
            gone: BTreeSet::new(),
            closed: false,
        }
    }

    /// The script's time begins: every step's `at` counts from here. Gives the instants at which to act.
    pub fn begin(&mut self, start_ns: u64) -> Vec<u64> {
        let instants: Vec<u64> = self.steps.iter().map(|step| start_ns + step.at.unwrap_or(Span::ZERO).0).collect();
        self.stands = instants.iter().map(|at| Stand::Dormant(*at)).collect();
        instants
    }

    /// Committed metadata so far.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Machines that the script took away for good.
    pub fn gone(&self) -> &BTreeSet<HostIx> {
        &self.gone
    }

    /// Which observations a trigger may still need: leaders' appends, acknowledgements.
    pub fn wants(script: &Script) -> (bool, bool) {
        let any = |test: fn(&Trigger) -> bool| script.steps.iter().filter_map(|s| s.when.as_ref()).any(test);
        let appends = any(|t| matches!(t, Trigger::Append { .. } | Trigger::FreshAppend { .. }));
        (appends, any(|t| matches!(t, Trigger::Ack { .. })))
    }

    /// Sees one observation; whatever it triggers strikes at the next [`Self::act`].
    pub fn see(&mut self, now_ns: u64, source: Source, observation: &Observation) {
        self.ledger.see(observation);
        if let (Source::Client(client), Observation::ClientStarted { name, .. }) = (source, observation) {
            self.names.insert(client, name.clone());
        }
        if !self.watches {
            return;
        }
        for stand in &mut self.stands {
            if let Stand::Watching(watch) = stand
                && watch.sees(&self.ledger, &self.names, source, observation)
            {
                *stand = Stand::Met(now_ns);
            }
        }
    }

    /// Does whatever is due at this instant, and asks to be woken for what comes later.
    pub fn act(&mut self, now_ns: u64, hands: &mut dyn Hands) {
        while !self.closed && self.round(now_ns, hands) {}
        self.watches = self.stands.iter().any(|stand| matches!(stand, Stand::Watching(_)));
    }

    /// One pass over all steps; true if one of them moved, as it may have triggered another.
    fn round(&mut self, now_ns: u64, hands: &mut dyn Hands) -> bool {
        let mut moved = false;
        for index in 0..self.steps.len() {
            let next = match &self.stands[index] {
                Stand::Dormant(at) if *at <= now_ns => Some(self.arm(index, now_ns)),
                Stand::Met(at) => Some(delayed(&self.steps[index], *at)),
                Stand::Delayed(at) if *at <= now_ns => Some(self.strike(index, now_ns, hands)),
                Stand::Waiting => {
                    Some(self.strike(index, now_ns, hands)).filter(|next| !matches!(next, Stand::Waiting))
                }
                Stand::Lasting(until) if *until <= now_ns => {
                    self.effects.release(hands, index);
                    Some(Stand::Over)
                }
                _ => None,
            };
            if let Some(next) = next {
                if let Stand::Delayed(at) | Stand::Lasting(at) = next
                    && at > now_ns
                {
                    hands.wake_at(at);
                }
                self.stands[index] = next;
                moved = true;
            }
        }
        moved
    }

    fn arm(&mut self, index: usize, now_ns: u64) -> Stand {
        let step = &self.steps[index];
        let Some(trigger) = &step.when else { return delayed(step, now_ns) };
        let already = matches!(trigger, Trigger::Step { name } if self.has_struck(name));
        let watch = Watch::new(trigger.clone(), &self.ledger);
        if already || watch.holds(&self.ledger) { delayed(step, now_ns) } else { Stand::Watching(watch) }
    }

    fn has_struck(&self, name: &str) -> bool {
        self.struck.keys().any(|index| self.steps[*index].name.as_deref() == Some(name))
    }

    /// Strikes if there is anybody to strike.
    fn strike(&mut self, index: usize, now_ns: u64, hands: &mut dyn Hands) -> Stand {
        let step = self.steps[index].clone();
        let hosts = self.apply(index, &step, hands);
        if hosts.is_empty() {
            return Stand::Waiting;
        }
        if step.forever {
            self.gone.extend(&hosts);
        }
        let names: Vec<&str> = hosts.iter().map(|host| self.roster.name(*host)).collect();
        hands.struck(format!("{} ({})", step.action, names.join(" ")), step.action.is_fault());
        self.struck.insert(index, hosts);
        self.trigger_followers(&step, now_ns);
        step.lasts.map_or(Stand::Over, |lasts| Stand::Lasting(now_ns + lasts.0))
    }

    fn trigger_followers(&mut self, struck: &Step, now_ns: u64) {
        let Some(name) = &struck.name else { return };
        for stand in &mut self.stands {
            if matches!(stand, Stand::Watching(watch) if watch.sees_step(name)) {
                *stand = Stand::Met(now_ns);
            }
        }
    }

    /// Does the action to everybody whom it can be done to, and says to whom.
    fn apply(&mut self, index: usize, step: &Step, hands: &mut dyn Hands) -> Vec<HostIx> {
        match &step.action {
            Action::Restart(target) => {
                let hosts = self.those(target, hands, |condition| condition == Condition::Down);
                hosts.iter().for_each(|host| self.effects.restart(hands, *host));
                hosts
            }
            Action::Resume(target) => {
                let hosts = self.those(target, hands, |condition| condition == Condition::Paused);
                hosts.iter().for_each(|host| self.effects.resume(hands, *host));
                hosts
            }
            Action::Heal(target) => {
                let hosts = self.resolve(target, hands);
                self.effects.heal(hands, &hosts);
                hosts
            }
            Action::RestoreDisk(target) => {
                let hosts = self.resolve(target, hands);
                self.effects.restore_disks(hands, &hosts);
                hosts
            }
            Action::Connection(harm) => self.strike_connections(index, &step.action, harm, hands),
            action => match action.link() {
                Some(link) => self.strike_links(index, action, link, hands),
                None => self.strike_hosts(index, action, hands),
            },
        }
    }

    /// Strikes every machine that can be struck: what takes down or holds still needs a process that runs.
    fn strike_hosts(&mut self, index: usize, action: &Action, hands: &mut dyn Hands) -> Vec<HostIx> {
        let mut hosts = self.resolve(action.targets()[0], hands);
        hosts.retain(|host| {
            let fault = action.fault_on(self.roster.name(*host)).expect("only faults strike");
            let needs_process = fault.takes_down() || matches!(fault, Fault::Pause { .. });
            let fits = !needs_process || hands.condition(*host) != Condition::Down;
            fits && self.effects.strike(hands, index, &[*host], fault)
        });
        hosts
    }

    /// Strikes every direction that the link means.
    fn strike_links(&mut self, index: usize, action: &Action, link: &Link, hands: &mut dyn Hands) -> Vec<HostIx> {
        let mut directions = self.directions(link, hands);
        directions.retain(|(from, to)| {
            let (a, b) = (self.roster.name(*from), self.roster.name(*to));
            let fault = action.fault_over(a, b, false).expect("it concerns links");
            self.effects.strike(hands, index, &[*from, *to], fault)
        });
        ends(&directions)
    }

    /// Strikes the connections between every two machines that are meant; an end that is not named is anybody.
    fn strike_connections(
        &mut self,
        index: usize,
        action: &Action,
        harm: &ConnectionHarm,
        hands: &mut dyn Hands,
    ) -> Vec<HostIx> {
        let ends = |target: &Option<Target>| match target {
            Some(target) => self.resolve(target, hands).into_iter().map(Some).collect(),
            None => vec![None],
        };
        let (starts, ends) = (ends(&harm.from), ends(&harm.to));
        let mut struck = BTreeSet::new();
        for (from, to) in starts.iter().flat_map(|from| ends.iter().map(move |to| (*from, *to))) {
            let name = |host: Option<HostIx>| host.map(|host| self.roster.name(host));
            let fault = action.fault_between(name(from), name(to)).expect("it concerns connections");
            let hosts: Vec<HostIx> = from.into_iter().chain(to).collect();
            if from != to && self.effects.strike(hands, index, &hosts, fault) {
                struck.extend(hosts);
            }
        }
        struck.into_iter().collect()
    }

    /// The target's machines in a fitting condition.
    fn those(&self, target: &Target, hands: &dyn Hands, fits: fn(Condition) -> bool) -> Vec<HostIx> {
        self.resolve(target, hands).into_iter().filter(|host| fits(hands.condition(*host))).collect()
    }

    /// Every direction that a link means; no machine is linked to itself.
    fn directions(&self, link: &Link, hands: &dyn Hands) -> Vec<(HostIx, HostIx)> {
        let (from, to) = (self.resolve(&link.from, hands), self.resolve(&link.to, hands));
        let mut all = BTreeSet::new();
        for (a, b) in from.iter().flat_map(|a| to.iter().map(move |b| (*a, *b))).filter(|(a, b)| a != b) {
            all.insert((a, b));
            if link.both {
                all.insert((b, a));
            }
        }
        all.into_iter().collect()
    }

    /// The machines that a target means now, against the ledger.
    pub fn resolve(&self, target: &Target, hands: &dyn Hands) -> Vec<HostIx> {
        let roster = &self.roster;
        let nodes = |nodes: Vec<NodeId>| nodes.into_iter().filter_map(|node| roster.by_node(node)).collect::<Vec<_>>();
        let state = target.partition().and_then(|partition| self.ledger.partition(partition));
        let leader = state.and_then(|state| state.leader);
        match target {
            Target::Broker(n) => roster.by_name(&format!("b{n}")).into_iter().collect(),
            Target::ControllerHost(n) => roster.by_name(&format!("c{n}")).into_iter().collect(),
            Target::Controller => roster.all().filter(|h| matches!(roster.role(*h), Role::Controller(_))).collect(),
            Target::Brokers => roster.brokers(),
            Target::Leader(_) => nodes(leader.into_iter().collect()),
            Target::Replicas(_) => nodes(state.map(|s| s.replicas.clone()).unwrap_or_default()),
            Target::Isr(_) => nodes(state.map(|s| s.isr.clone()).unwrap_or_default()),
            Target::Followers(_) => nodes(others(state.map(|s| &s.replicas), leader)),
            Target::Follower(_) => nodes(others(state.map(|s| &s.isr), leader).into_iter().take(1).collect()),
            Target::Producer(name) | Target::Consumer(name) => roster.by_name(name).into_iter().collect(),
            Target::Clients => roster.clients(),
            Target::Rack(name) => roster.in_rack(name),
            Target::DataCentre(name) => roster.in_data_centre(name),
            Target::Struck(name) => self.struck_by(name),
            Target::Down => roster.nodes().into_iter().filter(|h| hands.condition(*h) == Condition::Down).collect(),
            Target::All => roster.nodes().into_iter().chain(roster.clients()).collect(),
        }
    }

    fn struck_by(&self, name: &str) -> Vec<HostIx> {
        let named = self.struck.iter().filter(|(index, _)| self.steps[**index].name.as_deref() == Some(name));
        named.flat_map(|(_, hosts)| hosts.iter().copied()).collect()
    }

    /// The end of the script: nothing strikes any more, everything is mended but what is gone for good. Brokers that are left
    /// out of what is healed are gone from now on: those that run are killed, or cut off from everybody.
    pub fn mend(&mut self, hands: &mut dyn Hands, left_out: &BTreeMap<HostIx, Away>) {
        self.closed = true;
        self.gone.extend(left_out.keys());
        for (host, away) in left_out {
            let on = Place::host(self.roster.name(*host));
            if *away == Away::Dead && hands.condition(*host) != Condition::Down {
                self.effects.strike(hands, FOR_EVER, &[*host], Fault::Kill { on });
            }
        }
        let hosts: Vec<HostIx> = self.roster.nodes().into_iter().chain(self.roster.clients()).collect();
        self.effects.mend_all(hands, &hosts, &self.gone);
        for host in left_out.iter().filter(|(_, away)| **away == Away::CutOff).map(|(host, _)| *host) {
            self.cut_off(host, hands);
        }
    }

    /// No segment from or to anybody arrives any more.
    fn cut_off(&mut self, host: HostIx, hands: &mut dyn Hands) {
        for other in self.roster.all().filter(|other| *other != host) {
            let (from, to) = (Place::host(self.roster.name(host)), Place::host(self.roster.name(other)));
            let fault = Fault::Cut { from, to, both: true, state: LinkState::BlackHole };
            self.effects.strike(hands, FOR_EVER, &[host, other], fault);
        }
    }

    /// The steps that never struck, as text; the second value says whether the step has a name, so that the script tested
    /// nothing without it.
    pub fn never_struck(&self) -> Vec<(String, bool)> {
        let left = (0..self.steps.len()).filter(|index| !self.struck.contains_key(index));
        left.map(|index| {
            let step = &self.steps[index];
            let name = step.name.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
            (format!("{name}{}", step.action), step.name.is_some())
        })
        .collect()
    }
}

fn delayed(step: &Step, now_ns: u64) -> Stand {
    Stand::Delayed(now_ns + step.after.unwrap_or(Span::ZERO).0)
}

fn others(all: Option<&Vec<NodeId>>, leader: Option<NodeId>) -> Vec<NodeId> {
    all.map(|all| all.iter().copied().filter(|node| Some(*node) != leader).collect()).unwrap_or_default()
}

fn ends(directions: &[(HostIx, HostIx)]) -> Vec<HostIx> {
    directions.iter().flat_map(|(from, to)| [*from, *to]).collect::<BTreeSet<_>>().into_iter().collect()
}
