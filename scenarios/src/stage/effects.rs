//! What faults are in force, and on whose account: two steps may hold the same machine or link, and it is free again
//! when the last of them ends.

use super::roster::HostIx;
use std::collections::{BTreeMap, BTreeSet};

/// How a machine is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Its process runs.
    Up,
    /// It stands still.
    Paused,
    /// Its process does not run.
    Down,
}

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// At once; the page cache stays.
    Kill,
    /// The machine loses power.
    PowerOff,
    /// At once, and the disk is emptied.
    Wipe,
    /// It is asked to.
    Stop,
}

/// One direction of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flow {
    /// Bytes arrive.
    Up,
    /// Bytes wait in the network.
    Held,
    /// Bytes are lost; senders retransmit.
    Silent,
}

/// What can be done to the world. The simulation implements it; so do tests.
pub trait Hands {
    /// How a machine is doing.
    fn condition(&self, host: HostIx) -> Condition;
    /// Ends a process.
    fn end(&mut self, host: HostIx, how: Ending);
    /// Starts it again.
    fn restart(&mut self, host: HostIx);
    /// Stands it still.
    fn pause(&mut self, host: HostIx);
    /// Lets it run on.
    fn resume(&mut self, host: HostIx);
    /// Sets one direction of a link.
    fn flow(&mut self, from: HostIx, to: HostIx, flow: Flow);
    /// Sets a direction's latency in nanoseconds; `None` is the usual one.
    fn latency(&mut self, from: HostIx, to: HostIx, latency: Option<(u64, u64)>);
    /// Sets a wall clock's offset.
    fn skew(&mut self, host: HostIx, by_ms: i64);
    /// A step struck: `text` says what.
    fn struck(&mut self, text: String, fault: bool);
    /// Asks to be called again at this instant.
    fn wake_at(&mut self, ns: u64);
}

type Direction = (HostIx, HostIx);

/// Faults in force, by the step that holds them.
#[derive(Debug, Default)]
pub struct Effects {
    down: BTreeMap<HostIx, BTreeSet<usize>>,
    paused: BTreeMap<HostIx, BTreeSet<usize>>,
    flows: BTreeMap<Direction, BTreeMap<usize, Flow>>,
    latencies: BTreeMap<Direction, BTreeMap<usize, (u64, u64)>>,
    skewed: BTreeMap<HostIx, usize>,
}

impl Effects {
    /// Step `by` ends the process on `host`.
    pub fn end(&mut self, hands: &mut dyn Hands, by: usize, host: HostIx, how: Ending) {
        self.down.entry(host).or_default().insert(by);
        self.paused.remove(&host);
        hands.end(host, how);
    }

    /// Step `by` stands `host` still.
    pub fn pause(&mut self, hands: &mut dyn Hands, by: usize, host: HostIx) {
        self.paused.entry(host).or_default().insert(by);
        if hands.condition(host) == Condition::Up {
            hands.pause(host);
        }
    }

    /// Step `by` sets a direction.
    pub fn flow(&mut self, hands: &mut dyn Hands, by: usize, direction: Direction, flow: Flow) {
        self.flows.entry(direction).or_default().insert(by, flow);
        self.apply_flow(hands, direction);
    }

    /// Step `by` makes a direction slow.
    pub fn slow(&mut self, hands: &mut dyn Hands, by: usize, direction: Direction, latency: (u64, u64)) {
        self.latencies.entry(direction).or_default().insert(by, latency);
        self.apply_latency(hands, direction);
    }

    /// Step `by` sets a wall clock.
    pub fn skew(&mut self, hands: &mut dyn Hands, by: usize, host: HostIx, by_ms: i64) {
        self.skewed.insert(host, by);
        hands.skew(host, by_ms);
    }

    /// A `restart` step: whoever held the machine down holds it no more.
    pub fn restart(&mut self, hands: &mut dyn Hands, host: HostIx) {
        self.down.remove(&host);
        if hands.condition(host) == Condition::Down {
            hands.restart(host);
        }
    }

    /// A `resume` step.
    pub fn resume(&mut self, hands: &mut dyn Hands, host: HostIx) {
        self.paused.remove(&host);
        if hands.condition(host) == Condition::Paused {
            hands.resume(host);
        }
    }

    /// A `heal` step: every link of these machines is as usual again.
    pub fn heal(&mut self, hands: &mut dyn Hands, hosts: &[HostIx]) {
        let touched = |(from, to): &Direction| hosts.contains(from) || hosts.contains(to);
        let flows: Vec<Direction> = self.flows.keys().copied().filter(touched).collect();
        let slow: Vec<Direction> = self.latencies.keys().copied().filter(touched).collect();
        for direction in flows {
            self.flows.remove(&direction);
            self.apply_flow(hands, direction);
        }
        for direction in slow {
            self.latencies.remove(&direction);
            self.apply_latency(hands, direction);
        }
    }

    /// Step `by` ends by itself: what it alone holds is free again.
    pub fn release(&mut self, hands: &mut dyn Hands, by: usize) {
        for host in released(&mut self.down, by) {
            self.restart(hands, host);
        }
        for host in released(&mut self.paused, by) {
            self.resume(hands, host);
        }
        let flows: Vec<Direction> = holding(&self.flows, by);
        for direction in flows {
            self.flows.get_mut(&direction).map(|held| held.remove(&by));
            self.apply_flow(hands, direction);
        }
        let slow: Vec<Direction> = holding(&self.latencies, by);
        for direction in slow {
            self.latencies.get_mut(&direction).map(|held| held.remove(&by));
            self.apply_latency(hands, direction);
        }
        let clocks: Vec<HostIx> = self.skewed.iter().filter(|(_, step)| **step == by).map(|(host, _)| *host).collect();
        for host in clocks {
            self.skewed.remove(&host);
            hands.skew(host, 0);
        }
    }

    /// The last heal: all links, all clocks, every machine that is not `gone`.
    pub fn mend_all(&mut self, hands: &mut dyn Hands, hosts: &[HostIx], gone: &BTreeSet<HostIx>) {
        self.heal(hands, hosts);
        let clocks: Vec<HostIx> = std::mem::take(&mut self.skewed).into_keys().collect();
        clocks.into_iter().for_each(|host| hands.skew(host, 0));
        for host in hosts.iter().filter(|host| !gone.contains(host)) {
            self.resume(hands, *host);
            self.restart(hands, *host);
        }
    }

    /// The strongest flow that anybody asks for.
    fn apply_flow(&mut self, hands: &mut dyn Hands, direction: Direction) {
        let flow = self.flows.get(&direction).and_then(|held| held.values().max().copied()).unwrap_or(Flow::Up);
        hands.flow(direction.0, direction.1, flow);
    }

    /// The latest step's latency.
    fn apply_latency(&mut self, hands: &mut dyn Hands, direction: Direction) {
        let latency = self.latencies.get(&direction).and_then(|held| held.values().last().copied());
        hands.latency(direction.0, direction.1, latency);
    }
}

/// Takes step `by` off every account and gives the machines that nobody holds any more.
fn released(held: &mut BTreeMap<HostIx, BTreeSet<usize>>, by: usize) -> Vec<HostIx> {
    let mine: Vec<HostIx> = held.iter().filter(|(_, steps)| steps.contains(&by)).map(|(host, _)| *host).collect();
    mine.iter().for_each(|host| {
        held.get_mut(host).map(|steps| steps.remove(&by));
    });
    let free = mine.into_iter().filter(|host| held[host].is_empty()).collect::<Vec<_>>();
    held.retain(|_, steps| !steps.is_empty());
    free
}

fn holding<T>(held: &BTreeMap<Direction, BTreeMap<usize, T>>, by: usize) -> Vec<Direction> {
    held.iter().filter(|(_, steps)| steps.contains_key(&by)).map(|(direction, _)| *direction).collect()
}
