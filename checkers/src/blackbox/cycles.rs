//! Cycles among transactions: strongly connected components first (Tarjan), then a shortest cycle by breadth. Edges go from who
//! sent a value to who polled it, and, if wanted, from who sent a value to who sent the next one. Edges of a process's order and
//! of real time are left out: they are not Kafka's promise.

use super::findings::{Finding, Findings, Sight, permitted};
use super::operations::{FOREIGN, NO_OFFSET, Operations};
use super::order::{NONE, Order};
use super::{Looking, Settings, named};
use std::collections::{BTreeMap, VecDeque};

/// Searches by breadth in one component, at most: beyond it the cycle told is short, not surely shortest.
const SEARCHES: usize = 256;

type Edge = (u32, u32);

/// Looks for cycles.
pub(super) fn look(operations: &Operations, order: &Order, looking: Looking, found: &mut Findings) {
    let mut both = vec![false; operations.len()];
    order.mixed.iter().for_each(|op| both[*op as usize] = order.committed[*op as usize]);
    let reads = wr_edges(operations, order, order.mixed.iter().copied());
    let reads: Vec<Edge> = reads.into_iter().filter(|(from, to)| both[*from as usize] && both[*to as usize]).collect();
    found.tested(named::G1C, reads.len() as u64);
    note(named::G1C, &cycles(&reads, reads.len()), None, found);
    if looking.at_write_order {
        let writes = ww_edges(order);
        found.tested(named::G0, writes.len() as u64);
        let by = |name| permitted(name, Settings::default(), false);
        note(named::G0, &cycles(&writes, writes.len()), by(named::G0), found);
        let mut all = wr_edges(operations, order, 0..operations.len() as u32);
        let wr = all.len();
        all.extend(writes);
        note(named::G1C, &cycles(&all, wr), by(named::G1C), found);
    }
}

fn note(name: &'static str, cycles: &[Vec<u32>], by: Option<&'static str>, found: &mut Findings) {
    for cycle in cycles {
        let sight = |op| Sight { op, key: NONE, offset: NO_OFFSET };
        let finding = Finding { first: sight(cycle[0]), second: sight(cycle[1]), value: FOREIGN };
        found.add(name, finding, by);
    }
    if let Some(shortest) = cycles.iter().min_by_key(|cycle| cycle.len()) {
        let mut shortest = shortest.clone();
        let earliest = (0..shortest.len()).min_by_key(|at| shortest[*at]).unwrap_or(0);
        shortest.rotate_left(earliest);
        found.cycles.entry(name).or_insert(shortest);
    }
}

/// From the sender of a value to who polled it. Without edges between writes only operations that do both are in a cycle.
fn wr_edges(operations: &Operations, order: &Order, readers: impl Iterator<Item = u32>) -> Vec<Edge> {
    let mut edges = Vec::new();
    for reader in readers.filter(|op| order.committed[*op as usize]) {
        for record in operations.records(reader).iter().filter(|record| !record.is_sent() && record.value != FOREIGN) {
            let writer = order.values[record.value as usize].writer;
            if writer != NONE && writer != reader {
                edges.push((writer, reader));
            }
        }
    }
    edges
}

/// From the sender of a value to the sender of the next one in its partition.
fn ww_edges(order: &Order) -> Vec<Edge> {
    let writer =
        |value: u32| order.values.get(value as usize).map(|value| value.writer).filter(|writer| *writer != NONE);
    let pairs = order.neighbours().filter_map(|(value, next)| Some((writer(value)?, writer(next)?)));
    pairs.filter(|(from, to)| from != to).collect()
}

/// Of each component a cycle through one of the first `through` edges, as short as was found.
fn cycles(edges: &[Edge], through: usize) -> Vec<Vec<u32>> {
    if edges.is_empty() {
        return Vec::new();
    }
    let graph = Graph::of(edges);
    let component = graph.components();
    let mut best: BTreeMap<u32, (usize, Vec<u32>)> = BTreeMap::new();
    let inside = |edge: &&Edge| component[graph.node(edge.0)] == component[graph.node(edge.1)];
    for (from, to) in edges[..through].iter().filter(inside) {
        let (searched, cycle) = best.entry(component[graph.node(*from)]).or_default();
        if *searched == SEARCHES || cycle.len() == 2 {
            continue;
        }
        *searched += 1;
        let path = graph.shortest(graph.node(*to), graph.node(*from), &component);
        if cycle.is_empty() || path.len() < cycle.len() {
            *cycle = path;
        }
    }
    best.into_values().map(|(_, cycle)| cycle).filter(|cycle| cycle.len() > 1).collect()
}

/// Operations that are in some edge, and their edges one node after the other.
struct Graph {
    ops: Vec<u32>,
    nodes: Vec<u32>,
    starts: Vec<u32>,
    targets: Vec<u32>,
}

impl Graph {
    fn of(edges: &[Edge]) -> Graph {
        let most = edges.iter().map(|(from, to)| *from.max(to)).max().unwrap_or(0) as usize;
        let mut nodes = vec![NONE; most + 1];
        edges.iter().for_each(|(from, to)| (nodes[*from as usize], nodes[*to as usize]) = (0, 0));
        let ops: Vec<u32> = (0..=most as u32).filter(|op| nodes[*op as usize] == 0).collect();
        ops.iter().enumerate().for_each(|(node, op)| nodes[*op as usize] = node as u32);
        let mut starts = vec![0; ops.len() + 1];
        edges.iter().for_each(|(from, _)| starts[nodes[*from as usize] as usize + 1] += 1);
        (1..starts.len()).for_each(|at| starts[at] += starts[at - 1]);
        let (mut next, mut targets) = (starts.clone(), vec![0; edges.len()]);
        for (from, to) in edges {
            let slot = &mut next[nodes[*from as usize] as usize];
            targets[*slot as usize] = nodes[*to as usize];
            *slot += 1;
        }
        Graph { ops, nodes, starts, targets }
    }

    fn node(&self, op: u32) -> usize {
        self.nodes[op as usize] as usize
    }

    fn targets(&self, node: usize) -> &[u32] {
        &self.targets[self.starts[node] as usize..self.starts[node + 1] as usize]
    }

    /// The strongly connected component of each node. Tarjan's algorithm with a stack of its own: histories are deep.
    fn components(&self) -> Vec<u32> {
        let nodes = self.ops.len();
        let mut search =
            Search { index: vec![NONE; nodes], low: vec![0; nodes], component: vec![NONE; nodes], ..Search::default() };
        for root in 0..nodes {
            if search.index[root] != NONE {
                continue;
            }
            search.enter(root, self.starts[root]);
            while let Some((node, next)) = search.path.last_mut() {
                let node = *node;
                if *next < self.starts[node + 1] {
                    let target = self.targets[*next as usize] as usize;
                    *next += 1;
                    search.meet(node, target, self.starts[target]);
                } else {
                    search.leave(node);
                }
            }
        }
        search.component
    }

    /// A shortest way from one node to another of its component, as operations, both ends included. `to` comes first.
    fn shortest(&self, from: usize, to: usize, component: &[u32]) -> Vec<u32> {
        let mut came = BTreeMap::from([(from, from)]);
        let mut queue = VecDeque::from([from]);
        while let Some(node) = queue.pop_front() {
            if node == to {
                break;
            }
            for target in self.targets(node).iter().map(|target| *target as usize) {
                if component[target] == component[from] && !came.contains_key(&target) {
                    came.insert(target, node);
                    queue.push_back(target);
                }
            }
        }
        let mut path = vec![to];
        while let Some(node) = path.last().filter(|node| **node != from).and_then(|node| came.get(node)) {
            path.push(*node);
        }
        path[1..].reverse();
        path.into_iter().map(|node| self.ops[node]).collect()
    }
}

/// Tarjan's bookkeeping.
#[derive(Default)]
struct Search {
    index: Vec<u32>,
    low: Vec<u32>,
    component: Vec<u32>,
    stack: Vec<usize>,
    /// Nodes being searched, each with its next edge.
    path: Vec<(usize, u32)>,
    entered: u32,
}

impl Search {
    fn enter(&mut self, node: usize, first_edge: u32) {
        (self.index[node], self.low[node]) = (self.entered, self.entered);
        self.entered += 1;
        self.stack.push(node);
        self.path.push((node, first_edge));
    }

    fn meet(&mut self, node: usize, target: usize, first_edge: u32) {
        if self.index[target] == NONE {
            self.enter(target, first_edge);
        } else if self.component[target] == NONE {
            self.low[node] = self.low[node].min(self.index[target]);
        }
    }

    fn leave(&mut self, node: usize) {
        self.path.pop();
        if let Some((parent, _)) = self.path.last() {
            self.low[*parent] = self.low[*parent].min(self.low[node]);
        }
        if self.low[node] != self.index[node] {
            return;
        }
        while let Some(member) = self.stack.pop() {
            self.component[member] = node as u32;
            if member == node {
                break;
            }
        }
    }
}
