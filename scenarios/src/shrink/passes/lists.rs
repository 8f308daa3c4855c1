//! What a script has several of: faults, clients, topics, partitions, brokers.

use super::{edited, smaller};
use crate::script::{Partition, Script, Target, Trigger};
use std::ops::Range;

/// Pieces of a list to take out, as ddmin does: all of it, its halves, its quarters, down to single entries; the last first.
fn pieces(length: usize) -> Vec<Range<usize>> {
    let mut pieces = Vec::new();
    let mut size = length;
    while size > 0 {
        let starts = (0..length).step_by(size).rev();
        pieces.extend(starts.map(|start| start..(start + size).min(length)));
        size = if size == 1 { 0 } else { size.div_ceil(2) };
    }
    pieces
}

/// Fewer steps.
pub fn faults(script: &Script) -> Vec<Script> {
    let without = |piece: Range<usize>| edited(script, |script| drop(script.steps.drain(piece)));
    pieces(script.steps.len()).into_iter().map(without).collect()
}

/// Fewer consumers and producers.
pub fn clients(script: &Script) -> Vec<Script> {
    let consumers = pieces(script.consumers.len()).into_iter();
    let fewer = consumers.map(|piece| edited(script, |script| drop(script.consumers.drain(piece))));
    let producers = pieces(script.producers.len()).into_iter();
    let fewer_producers = producers.map(|piece| edited(script, |script| drop(script.producers.drain(piece))));
    fewer.chain(fewer_producers).chain(uncounted_producers(script)).collect()
}

/// Fewer producers where a trigger counts what they send: it counts less far then.
fn uncounted_producers(script: &Script) -> Vec<Script> {
    let furthest = counts(&mut script.clone()).into_iter().map(|nth| *nth).max().unwrap_or(0);
    let mut all = Vec::new();
    for index in 0..script.producers.len() {
        for most in smaller(furthest, 1) {
            all.push(edited(script, |script| {
                script.producers.remove(index);
                counts(script).into_iter().for_each(|nth| *nth = most.min(*nth));
            }));
        }
    }
    all
}

/// How far the triggers count.
fn counts(script: &mut Script) -> Vec<&mut u64> {
    script.steps.iter_mut().filter_map(|step| step.when.as_mut()).filter_map(Trigger::count_mut).collect()
}

/// Fewer topics, fewer partitions, and clients that use fewer of them.
pub fn partitions(script: &Script) -> Vec<Script> {
    let all = script.partitions();
    let alone = all.iter().filter(|_| all.len() > 1).map(|partition| only(script, partition));
    let topics = pieces(script.topics.len()).into_iter();
    let fewer_topics = topics.map(|piece| edited(script, |script| drop(script.topics.drain(piece))));
    alone.chain(fewer_topics).chain(fewer_partitions(script)).chain(narrower_clients(script)).collect()
}

/// Only that partition, as the first of its topic.
fn only(script: &Script, partition: &Partition) -> Script {
    let mut script = script.clone();
    let first = Partition { partition: 0, ..partition.clone() };
    script.topics.retain(|topic| topic.name == partition.topic);
    script.topics.iter_mut().for_each(|topic| topic.partitions = 1);
    let (old, new) = (partition.to_string(), first.to_string());
    let places = script.producers.iter_mut().map(|p| &mut p.topics);
    for topics in places.chain(script.consumers.iter_mut().map(|c| &mut c.topics)) {
        topics.retain(|place| *place == old || *place == partition.topic);
        topics.iter_mut().filter(|place| **place == old).for_each(|place| place.clone_from(&new));
    }
    for step in &mut script.steps {
        let targets = step.action.targets_mut().into_iter().filter_map(Target::partition_mut);
        let awaited = step.when.as_mut().and_then(Trigger::partition_mut);
        targets.chain(awaited).for_each(|place| *place = moved(place, partition, &first));
    }
    script
}

/// Where a partition is after only one is left; the others are nowhere.
fn moved(place: &Partition, kept: &Partition, first: &Partition) -> Partition {
    if place == kept { first.clone() } else { Partition { partition: i32::MAX, ..place.clone() } }
}

fn fewer_partitions(script: &Script) -> impl Iterator<Item = Script> {
    let several = script.topics.iter().enumerate().filter(|(_, topic)| topic.partitions > 1);
    several.map(|(index, _)| edited(script, |script| script.topics[index].partitions -= 1))
}

/// Each client with each of its partitions alone.
fn narrower_clients(script: &Script) -> Vec<Script> {
    let mut all = Vec::new();
    let several = |topics: &[String]| Some(script.partitions_of(topics)).filter(|meant| meant.len() > 1);
    for (index, producer) in script.producers.iter().enumerate() {
        for partition in several(&producer.topics).unwrap_or_default() {
            all.push(edited(script, |script| script.producers[index].topics = vec![partition.to_string()]));
        }
    }
    for (index, consumer) in script.consumers.iter().enumerate() {
        for partition in several(&consumer.topics).unwrap_or_default() {
            all.push(edited(script, |script| script.consumers[index].topics = vec![partition.to_string()]));
        }
    }
    all
}

/// Fewer brokers and fewer replicas.
pub fn brokers(script: &Script) -> Vec<Script> {
    let fewer = (1..script.cluster.brokers).map(|brokers| edited(script, |script| script.cluster.brokers = brokers));
    let replicas = script.topics.iter().enumerate().flat_map(|(index, topic)| {
        (1..topic.replication).map(move |replicas| edited(script, |script| script.topics[index].replication = replicas))
    });
    fewer.chain(replicas).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_go_from_the_whole_list_to_each_entry() {
        let of_four: Vec<Range<usize>> = pieces(4);
        assert_eq!(of_four, [0..4, 2..4, 0..2, 3..4, 2..3, 1..2, 0..1]);
        assert!(pieces(0).is_empty());
        for length in [2, 3, 5, 41] {
            let single = pieces(length).into_iter().filter(|piece| piece.len() == 1).count();
            assert!(single >= length, "each of {length} entries is tried alone");
        }
    }
}
