//! Mutations of what cleans told.

use super::scene::Scene;
use klamm_base::{CleanedBatch, Draws, KeyFact, Observation, TopicPartition};
use std::collections::BTreeMap;

/// What leaders told of the keys of records, by partition and offset.
type Facts = BTreeMap<(TopicPartition, i64), KeyFact>;

fn facts(scene: &Scene) -> Facts {
    let mut facts = Facts::new();
    for (_, _, it) in scene.observed() {
        if let Observation::Appended { tp, base_offset, as_leader: true, keys, .. } = it {
            facts.extend(keys.iter().zip(*base_offset..).map(|(fact, offset)| ((*tp, offset), *fact)));
        }
    }
    facts
}

/// A clean that told of a batch for which `wanted` says something, and that batch's place in what it told.
fn batch<T: Clone>(
    scene: &Scene,
    draws: &mut Draws,
    wanted: impl Fn(TopicPartition, i64, &CleanedBatch) -> Option<T>,
) -> Option<(usize, usize, T)> {
    scene.place_told(draws, |at, _, it| {
        let Observation::LogCleaned { tp, end, batches, .. } = it else { return None };
        batches.iter().enumerate().find_map(|(index, batch)| Some((at, index, wanted(*tp, *end, batch)?)))
    })
}

fn batches(scene: &mut Scene, at: usize) -> &mut Vec<CleanedBatch> {
    match scene.observation(at) {
        Observation::LogCleaned { batches, .. } => batches,
        other => panic!("{other:?} is no clean"),
    }
}

/// Takes one more record of a batch: the last of its key, a tombstone or not.
fn take_last(scene: &mut Scene, draws: &mut Draws, tombstone: bool) -> Option<()> {
    let facts = facts(scene);
    let (at, index, offset) = batch(scene, draws, |tp, end, batch| {
        let last = |offset: &&i64| facts.get(&(tp, **offset)).is_some_and(|it| it.tombstone == tombstone);
        batch.kept.iter().filter(|offset| **offset < end).find(last).copied()
    })?;
    batches(scene, at)[index].kept.retain(|kept| *kept != offset);
    Some(())
}

/// A clean takes the last record of a key.
pub fn last_of_key_taken(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    take_last(scene, draws, false)
}

/// A clean takes a tombstone with the first look at it.
pub fn tombstone_taken(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    take_last(scene, draws, true)
}

/// A clean leaves a record that a later one overtook.
pub fn overtaken_left(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let facts = facts(scene);
    let (at, index, offset) = batch(scene, draws, |tp, end, batch| {
        let fact = |offset: i64| facts.get(&(tp, offset));
        let overtaken =
            |offset: i64, key: u64| facts.range((tp, offset + 1)..(tp, end)).any(|(_, later)| later.key == key);
        let first = (!batch.kept.contains(&batch.base_offset)).then_some(batch.base_offset);
        first.filter(|offset| fact(*offset).is_some_and(|it| overtaken(*offset, it.key)))
    })?;
    batches(scene, at)[index].kept.insert(0, offset);
    Some(())
}

/// The horizon of a tombstone lies a millisecond too early.
pub fn horizon_early(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let facts = facts(scene);
    let (at, index, ()) = batch(scene, draws, |tp, _, batch| {
        let tombstone = |offset: &i64| facts.get(&(tp, *offset)).is_some_and(|it| it.tombstone);
        batch.kept.iter().any(tombstone).then_some(())
    })?;
    let horizon = batches(scene, at)[index].horizon_ms.as_mut()?;
    *horizon -= 1;
    Some(())
}

/// Nothing is left of the last batch of a producer.
pub fn last_of_producer_taken(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    // Such a batch without a record is left for the sake of its producer, or because the clean ends with it.
    let (at, index, ()) = batch(scene, draws, |_, end, batch| {
        (batch.batch.is_some() && batch.kept.is_empty() && batch.base_offset + 20 < end).then_some(())
    })?;
    batches(scene, at)[index].batch = None;
    Some(())
}

/// A clean goes by what is not committed.
pub fn clean_uncommitted(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let at = scene.place_told(draws, |at, _, it| matches!(it, Observation::LogCleaned { .. }).then_some(at))?;
    let Observation::LogCleaned { end, .. } = scene.observation(at) else { return None };
    *end += 1_000_000;
    Some(())
}

/// A clean tells of a batch that nobody wrote.
pub fn clean_strange(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let (at, index, ()) = batch(scene, draws, |_, _, batch| (batch.batch.is_none()).then_some(()))?;
    let last = batches(scene, at)[index].clone();
    let strange = CleanedBatch { base_offset: -5, ..last };
    batches(scene, at).insert(0, strange);
    Some(())
}
