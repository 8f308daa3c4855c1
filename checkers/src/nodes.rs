//! Nodes as small numbers, sets of them as one word.

use crate::{Entry, Event, Party, World};
use klamm_base::{NodeId, Observation, Source};

/// How many nodes a history may name.
pub const NODES: usize = 128;

/// The number of a node within one history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NodeIndex(pub u8);

/// A set of nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeSet(u128);

impl NodeSet {
    pub fn insert(&mut self, node: NodeIndex) {
        self.0 |= 1 << node.0;
    }

    pub fn remove(&mut self, node: NodeIndex) {
        self.0 &= !(1 << node.0);
    }

    pub fn contains(self, node: NodeIndex) -> bool {
        self.0 & (1 << node.0) != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    pub fn minus(self, other: NodeSet) -> NodeSet {
        NodeSet(self.0 & !other.0)
    }

    pub fn iter(self) -> impl Iterator<Item = NodeIndex> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let lowest = (left != 0).then(|| NodeIndex(left.trailing_zeros() as u8))?;
            left &= left - 1;
            Some(lowest)
        })
    }
}

/// Gives each node its number, in the order of first mention.
#[derive(Debug, Default)]
pub(crate) struct NodeNames {
    ids: Vec<NodeId>,
}

impl NodeNames {
    /// The number of `node`, a new one if need be; the node's id if there is none left.
    pub fn learn(&mut self, node: NodeId) -> Result<NodeIndex, i32> {
        if let Some(at) = self.ids.iter().position(|known| *known == node) {
            return Ok(NodeIndex(at as u8));
        }
        if self.ids.len() == NODES {
            return Err(node.0);
        }
        self.ids.push(node);
        Ok(NodeIndex((self.ids.len() - 1) as u8))
    }

    /// The id of a number given before.
    pub fn id(&self, node: NodeIndex) -> NodeId {
        self.ids[node.0 as usize]
    }

    /// Learns every node that an entry names in a place where judges look.
    pub fn learn_all(&mut self, entry: &Entry) -> Result<(), i32> {
        match &entry.event {
            Event::Stack { source, observation } => {
                if let Source::Node(node) = source {
                    self.learn(*node)?;
                }
                self.learn_named(observation)
            }
            Event::World(World::BytesCorrupted { from, to, .. }) => {
                [from, to].into_iter().try_for_each(|party| match party {
                    Party::Node(node) => self.learn(*node).map(|_| ()),
                    Party::Client(_) => Ok(()),
                })
            }
            Event::World(world) => match node_of(world) {
                Some(node) => self.learn(node).map(|_| ()),
                None => Ok(()),
            },
        }
    }

    fn learn_named(&mut self, observation: &Observation) -> Result<(), i32> {
        let (first, second): (&[NodeId], &[NodeId]) = match observation {
            Observation::LeaderIsr { committed, maximal, .. } => (committed, maximal),
            Observation::PartitionChanged { replicas, isr, leader, .. } => {
                if let Some(leader) = leader {
                    self.learn(*leader)?;
                }
                (replicas, isr)
            }
            _ => return Ok(()),
        };
        first.iter().chain(second).try_for_each(|node| self.learn(*node).map(|_| ()))
    }
}

/// The node that an event of the world happened to.
pub(crate) fn node_of(world: &World) -> Option<NodeId> {
    match world {
        World::HostStarted { node }
        | World::Killed { node }
        | World::PoweredOff { node, .. }
        | World::Stopped { node, .. }
        | World::Restarted { node }
        | World::Paused { node }
        | World::Resumed { node }
        | World::DiskWiped { node }
        | World::MachineLost { node, .. }
        | World::DiskDamaged { node, .. }
        | World::DiskFault { node, .. }
        | World::Disturbed { node, .. }
        | World::LeftOut { node, .. }
        | World::ClockSet { node, .. }
        | World::ClockWrong { node, .. } => Some(*node),
        World::Panicked { node, .. } => *node,
        _ => None,
    }
}
