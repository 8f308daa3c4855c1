//! One instant of a run: what had just happened, and how every partition and every node stood.

use crate::script::{Partition, Span};
use crate::stage::Ledger;
use klamm_base::{NodeId, Observation, Source, TopicPartition};
use klamm_checkers::{Event, History, World, facts, seconds};
use std::collections::BTreeMap;
use std::fmt::Write;

/// So many entries before the instant are told.
const TOLD: usize = 15;

/// Tells the instant `at`, counted from the beginning of the run.
pub fn told(history: &History, at: Span) -> String {
    let until = history.entries.partition_point(|entry| entry.at_ns <= at.0);
    let mut moment = Moment::default();
    history.entries[..until].iter().for_each(|entry| moment.take(&entry.event));
    let mut text = String::new();
    let facts = facts(history, until.saturating_sub(TOLD)..until);
    facts.iter().for_each(|fact| line(&mut text, &format!("{:>12}  {}", seconds(fact.at_ns), fact.text)));
    let end = history.entries.last().map_or(0, |last| last.at_ns);
    let late = if at.0 > end { format!(" (the run ended at {})", seconds(end)) } else { String::new() };
    line(&mut text, &format!("\nat {}{late}", seconds(at.0)));
    moment.tell(&mut text);
    text
}

fn line(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("a string takes all");
}

/// How things stand.
#[derive(Default)]
struct Moment {
    ledger: Ledger,
    topics: BTreeMap<String, i32>,
    high_watermarks: BTreeMap<(TopicPartition, NodeId), i64>,
    log_ends: BTreeMap<(TopicPartition, NodeId), i64>,
    /// Nodes that do not run, and why.
    down: BTreeMap<NodeId, &'static str>,
}

impl Moment {
    fn take(&mut self, event: &Event) {
        match event {
            Event::Stack { source, observation } => self.see(*source, observation),
            Event::World(world) => self.look(world),
        }
    }

    fn see(&mut self, source: Source, observation: &Observation) {
        self.ledger.see(observation);
        if let Observation::TopicCreated { name, partitions, .. } = observation {
            self.topics.insert(name.clone(), *partitions);
        }
        let Source::Node(node) = source else { return };
        match observation {
            Observation::HighWatermark { tp, to, .. } => drop(self.high_watermarks.insert((*tp, node), *to)),
            Observation::Appended { tp, last_offset, .. } => drop(self.log_ends.insert((*tp, node), last_offset + 1)),
            Observation::Truncated { tp, to, .. } => drop(self.log_ends.insert((*tp, node), *to)),
            Observation::LogLoaded { tp, log_end, .. } => drop(self.log_ends.insert((*tp, node), *log_end)),
            _ => {}
        }
    }

    fn look(&mut self, world: &World) {
        let change = match world {
            World::Killed { node } => (*node, Some("killed")),
            World::PoweredOff { node, .. } => (*node, Some("without power")),
            World::Stopped { node, .. } => (*node, Some("stopped")),
            World::Paused { node } => (*node, Some("paused")),
            World::Restarted { node } | World::Resumed { node } => (*node, None),
            _ => return,
        };
        match change {
            (node, Some(why)) => drop(self.down.insert(node, why)),
            (node, None) => drop(self.down.remove(&node)),
        }
    }

    fn tell(&self, text: &mut String) {
        for (topic, partitions) in &self.topics {
            for partition in 0..*partitions {
                line(text, &self.partition(&Partition { topic: topic.clone(), partition }));
            }
        }
        let nodes = self.down.iter().map(|(node, why)| format!("node {} is {why}", node.0));
        nodes.for_each(|node| line(text, &format!("  {node}")));
    }

    /// `orders-0: node 2 leads in epoch 3, in sync 2 3, high watermark 17, logs end at 17 (node 1), 18 (node 2)`
    fn partition(&self, partition: &Partition) -> String {
        let known = self.ledger.id(partition).zip(self.ledger.partition(partition));
        let Some((tp, state)) = known else { return format!("  {partition}: does not exist yet") };
        let list = |nodes: &[NodeId]| nodes.iter().map(|node| node.0.to_string()).collect::<Vec<_>>().join(" ");
        let leads = match state.leader {
            Some(leader) => format!("node {} leads in epoch {}", leader.0, state.leader_epoch),
            None => format!("nobody leads in epoch {}", state.leader_epoch),
        };
        let committed = state.leader.and_then(|leader| self.high_watermarks.get(&(tp, leader)));
        let committed = committed.map_or("unknown".to_owned(), i64::to_string);
        let end = |node: &NodeId| self.log_ends.get(&(tp, *node)).map(|end| format!("{end} (node {})", node.0));
        let ends: Vec<String> = state.replicas.iter().filter_map(end).collect();
        let (isr, ends) = (list(&state.isr), ends.join(", "));
        format!("  {partition}: {leads}, in sync {isr}, high watermark {committed}, logs end at {ends}")
    }
}
