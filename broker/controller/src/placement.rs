//! Where new replicas go (R30): at most one a broker, striped over racks and brokers from a drawn start, unfenced brokers
//! first, an unfenced one leading.

use klamm_base::{Draws, NodeId};
use std::collections::BTreeMap;

/// A broker that may get replicas.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) id: NodeId,
    pub(crate) rack: Option<String>,
    pub(crate) fenced: bool,
}

/// Why replicas cannot be placed; the text is for the client.
pub(crate) type Refusal = String;

struct Rack {
    unfenced: Vec<NodeId>,
    fenced: Vec<NodeId>,
}

impl Rack {
    /// Its brokers in the order in which the partition of index `turn` takes them.
    fn order(&self, turn: usize) -> impl Iterator<Item = NodeId> {
        [&self.unfenced, &self.fenced].into_iter().flat_map(move |brokers| {
            let start = if brokers.is_empty() { 0 } else { turn % brokers.len() };
            brokers[start..].iter().chain(&brokers[..start]).copied()
        })
    }
}

/// Replicas of `partitions` partitions, `factor` each.
pub(crate) fn place(
    draws: &mut Draws,
    candidates: &[Candidate],
    partitions: usize,
    factor: usize,
) -> Result<Vec<Vec<NodeId>>, Refusal> {
    assert!(factor > 0, "no replicas to place");
    if factor > candidates.len() {
        return Err(format!(
            "the replication factor {factor} is larger than the number of registered brokers, {}",
            candidates.len()
        ));
    }
    if candidates.iter().all(|candidate| candidate.fenced) {
        return Err("all registered brokers are fenced".to_owned());
    }
    let racks = racks(draws, candidates);
    let start = draws.below(racks.len() as u64) as usize;
    Ok((0..partitions).map(|index| place_one(&racks, start + index, factor)).collect())
}

/// Brokers by rack, each rack in a drawn order.
fn racks(draws: &mut Draws, candidates: &[Candidate]) -> Vec<Rack> {
    let mut racks: BTreeMap<Option<&str>, Rack> = BTreeMap::new();
    for candidate in candidates {
        let rack =
            racks.entry(candidate.rack.as_deref()).or_insert_with(|| Rack { unfenced: Vec::new(), fenced: Vec::new() });
        let brokers = if candidate.fenced { &mut rack.fenced } else { &mut rack.unfenced };
        brokers.insert(draws.below(brokers.len() as u64 + 1) as usize, candidate.id);
    }
    racks.into_values().collect()
}

/// Round-robin over racks; the first is one with an unfenced broker. Within a rack the start moves once more each time
/// around all racks, so that leaderships spread over a rack's brokers, too.
fn place_one(racks: &[Rack], index: usize, factor: usize) -> Vec<NodeId> {
    let turn = index + index / racks.len();
    let rotated = racks[index % racks.len()..].iter().chain(&racks[..index % racks.len()]);
    let mut rotated: Vec<&Rack> = rotated.collect();
    let first = rotated.iter().position(|rack| !rack.unfenced.is_empty()).expect("somebody is unfenced");
    rotated.rotate_left(first);
    let mut queues: Vec<_> = rotated.into_iter().map(|rack| rack.order(turn)).collect();
    let mut replicas = Vec::with_capacity(factor);
    while replicas.len() < factor {
        let before = replicas.len();
        for queue in &mut queues {
            if replicas.len() < factor {
                replicas.extend(queue.next());
            }
        }
        assert!(replicas.len() > before, "fewer brokers than replicas");
    }
    replicas
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn candidate(id: i32, rack: Option<&str>, fenced: bool) -> Candidate {
        Candidate { id: NodeId(id), rack: rack.map(str::to_owned), fenced }
    }

    #[test]
    fn leaders_spread_evenly_over_racks_and_brokers() {
        let rack = |id: i32| ["a", "b", "c"][id as usize % 3];
        let candidates: Vec<_> = (0..9).map(|id| candidate(id, Some(rack(id)), false)).collect();
        let placed = place(&mut Draws::from_seed(5), &candidates, 90, 3).unwrap();
        for id in 0..9 {
            assert_eq!(placed.iter().filter(|replicas| replicas[0] == NodeId(id)).count(), 10, "leaderships of {id}");
        }
        assert!(placed.iter().all(|replicas| {
            let mut racks: Vec<_> = replicas.iter().map(|broker| rack(broker.0)).collect();
            racks.sort_unstable();
            racks == ["a", "b", "c"]
        }));
    }

    #[test]
    fn more_replicas_than_brokers_and_a_fenced_cluster_are_refused() {
        let one = [candidate(1, None, false)];
        assert!(place(&mut Draws::from_seed(1), &one, 1, 2).unwrap_err().contains("larger than"));
        let fenced = [candidate(1, None, true)];
        assert!(place(&mut Draws::from_seed(1), &fenced, 1, 1).unwrap_err().contains("fenced"));
    }

    proptest! {
        #[test]
        fn replicas_are_distinct_and_an_unfenced_broker_leads(
            seed: u64,
            brokers in proptest::collection::vec((0..3usize, proptest::bool::ANY), 1..8),
            factor in 1..8usize,
            partitions in 1..20usize,
        ) {
            let candidates: Vec<_> = brokers
                .iter()
                .enumerate()
                .map(|(id, (rack, fenced))| candidate(id as i32, [None, Some("a"), Some("b")][*rack], *fenced))
                .collect();
            let placed = place(&mut Draws::from_seed(seed), &candidates, partitions, factor);
            let possible = factor <= candidates.len() && candidates.iter().any(|broker| !broker.fenced);
            prop_assert_eq!(placed.is_ok(), possible);
            for replicas in placed.into_iter().flatten() {
                prop_assert_eq!(replicas.len(), factor);
                prop_assert!((1..factor).all(|n| !replicas[..n].contains(&replicas[n])));
                prop_assert!(candidates.iter().any(|broker| broker.id == replicas[0] && !broker.fenced));
            }
        }
    }
}
