//! Mutations of what clients were told and what they read.

use super::scene::{Scene, Told};
use klamm_base::{ClientRecord, Draws, ErrorCode, Observation, Outcome, Source, TopicPartition};
use klamm_checkers::Event;

fn reading(scene: &mut Scene, at: usize) -> &mut Vec<Option<ClientRecord>> {
    match scene.observation(at) {
        Observation::Read { records, .. } => records,
        other => panic!("not a reading: {other:?}"),
    }
}

/// The place of an acknowledged record in the final reading, where it was told to stand.
fn finally(scene: &Scene, draws: &mut Draws) -> Option<(usize, usize)> {
    scene.record(draws, |_, _, told| told.acked().and(told.finally.first().copied()))
}

pub fn final_value_dropped(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let (at, step) = finally(scene, draws)?;
    reading(scene, at)[step] = None;
    Some(())
}

/// The place in the final reading of an acknowledged record before another one.
fn finally_before_another(scene: &Scene, draws: &mut Draws) -> Option<(usize, usize)> {
    scene.record(draws, |tp, _, told| {
        let (at, step) = told.acked().and(told.finally.first().copied())?;
        let next = values(scene, at)?.get(step + 1).copied().flatten()?;
        scene.records[&(tp, next)].acked().map(|_| (at, step))
    })
}

/// A value and the next one, both acknowledged, change places.
pub fn final_values_swapped(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let (at, step) = finally_before_another(scene, draws)?;
    reading(scene, at).swap(step, step + 1);
    Some(())
}

fn values(scene: &Scene, at: usize) -> Option<&Vec<Option<ClientRecord>>> {
    match &scene.entries[at].event {
        Event::Stack { observation: Observation::Read { records, .. }, .. } => Some(records),
        _ => None,
    }
}

/// A value stands where the next one should.
pub fn final_value_doubled(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let (at, step) = finally_before_another(scene, draws)?;
    let values = reading(scene, at);
    values[step + 1] = values[step];
    Some(())
}

/// The last reading of a partition ends earlier than its log.
pub fn final_tail_forgotten(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let (at, step) = scene.record(draws, |tp, _, told| {
        let (at, step) = told.acked().and(told.finally.first().copied())?;
        let later = |(_, _, it): (usize, Source, &Observation)| matches!(it, Observation::Read { tp: of, finally: true, .. } if *of == tp);
        let last = scene.observed().filter(|(index, _, _)| *index > at).all(|told| !later(told));
        last.then_some((at, step))
    })?;
    reading(scene, at).truncate(step);
    Some(())
}

fn told_otherwise(scene: &mut Scene, at: usize, to: Outcome) -> Option<()> {
    let Observation::Ended { outcome, .. } = scene.observation(at) else { return None };
    *outcome = to;
    Some(())
}

pub fn acked_elsewhere(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let (at, offset) = scene.record(draws, |_, _, told| told.acked().filter(|_| !told.finally.is_empty()))?;
    told_otherwise(scene, at, Outcome::Acked(offset + 1_000_000))
}

pub fn acked_is_refused(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let (at, _) = scene.record(draws, |_, _, told| told.acked().filter(|_| !told.finally.is_empty()))?;
    told_otherwise(scene, at, Outcome::Refused(ErrorCode::NotEnoughReplicas))
}

pub fn refused_is_acked(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let settled = scene.settled()?;
    let at = scene.record(draws, |_, _, told| match told.ended {
        Some((at, Outcome::Refused(_))) if at < settled => Some(at),
        _ => None,
    })?;
    told_otherwise(scene, at, Outcome::Acked(1_000_000))
}

/// What an unclean election gave up stands in the final reading all the same.
pub fn lost_is_read(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let settled = scene.settled()?;
    let (tp, record, offset) = scene.record(draws, |tp, record, told| {
        let (_, offset) = told.acked().filter(|(at, _)| told.finally.is_empty() && *at < settled)?;
        Some((tp, record, offset))
    })?;
    let (at, step) = scene.observed().find_map(|(at, _, it)| match it {
        Observation::Read { tp: of, offset: from, records, finally: true } if *of == tp => {
            let step = usize::try_from(offset - from).ok()?;
            (step < records.len()).then_some((at, step))
        }
        _ => None,
    })?;
    reading(scene, at)[step] = Some(record);
    Some(())
}

/// Takes a record from every reading.
fn unread(scene: &mut Scene, told: &Told) {
    for (at, step) in told.reads.iter().chain(&told.finally) {
        reading(scene, *at)[*step] = None;
    }
}

/// A record whose successor was acknowledged while it was in flight is not there, and nobody knows of it.
pub fn predecessor_missing(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let settled = scene.settled()?;
    let (told, at, later) = scene.record(draws, |tp, record, told| {
        let (at, _) =
            told.acked().filter(|(at, _)| *at < settled && told.finally.len() == 1 && told.reads.is_empty())?;
        let next = ClientRecord { number: record.number + 1, ..record };
        let next = scene.records.get(&(tp, next)).filter(|next| next.invoked < at && !next.finally.is_empty())?;
        let (later, _) = next.acked().filter(|(later, _)| *later > at && *later < settled)?;
        (scene.is_whole(tp) && scene.is_idempotent(record.client)).then(|| (told.clone(), at, later))
    })?;
    unread(scene, &told);
    told_otherwise(scene, at, Outcome::Unknown(ErrorCode::RequestTimedOut))?;
    let ended = scene.entries.remove(at);
    scene.entries.insert(later, ended);
    Some(())
}

/// Two records of one producer stand, for everybody, each in the place of the other.
pub fn batches_swapped(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let (tp, one, two) = scene.record(draws, |tp, record, told| {
        let next = ClientRecord { number: record.number + 1, ..record };
        let other = scene.records.get(&(tp, next))?;
        let both = told.acked().is_some() && other.acked().is_some();
        let read = told.finally.len() == 1 && other.finally.len() == 1;
        (both && read && scene.is_whole(tp) && scene.is_idempotent(record.client)).then_some((tp, record, next))
    })?;
    let swap = |record: ClientRecord| match record {
        _ if record == one => two,
        _ if record == two => one,
        _ => record,
    };
    for entry in &mut scene.entries {
        let Event::Stack { observation, .. } = &mut entry.event else { continue };
        match observation {
            Observation::Ended { tp: of, record, .. } if *of == tp => *record = swap(*record),
            Observation::Read { tp: of, records, .. } if *of == tp => {
                records.iter_mut().flatten().for_each(|record| *record = swap(*record));
            }
            _ => {}
        }
    }
    Some(())
}

/// A reading of a consumer, not the final one, with at least so many values.
fn consumed(scene: &Scene, draws: &mut Draws, values: usize) -> Option<usize> {
    scene.place(draws, |at, event| match event {
        Event::Stack { observation: Observation::Read { records, finally: false, .. }, .. } => {
            (records.len() >= values && records.iter().all(Option::is_some)).then_some(at)
        }
        _ => None,
    })
}

pub fn value_dropped(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let at = consumed(scene, draws, 1)?;
    let values = reading(scene, at);
    let step = draws.below(values.len() as u64) as usize;
    values[step] = None;
    Some(())
}

pub fn values_swapped(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let at = consumed(scene, draws, 2)?;
    let values = reading(scene, at);
    let step = draws.below(values.len() as u64 - 1) as usize;
    values.swap(step, step + 1);
    Some(())
}

pub fn value_doubled(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let at = consumed(scene, draws, 2)?;
    let values = reading(scene, at);
    let step = draws.below(values.len() as u64 - 1) as usize;
    values[step + 1] = values[step];
    Some(())
}

/// Somebody read a record that nobody was told is written, and it is not there in the end.
pub fn read_and_vanished(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let settled = scene.settled()?;
    let (told, at) = scene.record(draws, |tp, record, told| {
        let (at, _) = told.acked().filter(|(at, _)| *at < settled)?;
        let alone = (1..=3).all(|step| {
            let next = ClientRecord { number: record.number + step, ..record };
            scene.records.get(&(tp, next)).is_none_or(|next| next.invoked > at)
        });
        (alone && told.finally.len() == 1 && !told.reads.is_empty()).then(|| (told.clone(), at))
    })?;
    for (at, step) in &told.finally {
        reading(scene, *at)[*step] = None;
    }
    told_otherwise(scene, at, Outcome::Unknown(ErrorCode::RequestTimedOut))
}

/// A reading that another one of the same consumer follows, with no new position between.
fn followed(scene: &Scene, draws: &mut Draws) -> Option<usize> {
    scene.place(draws, |at, event| {
        let Event::Stack { source, observation: Observation::Read { tp, finally: false, records, .. } } = event else {
            return None;
        };
        let next = scene.entries[at + 1..].iter().find_map(|entry| match &entry.event {
            Event::Stack { source: who, observation } if who == source => match observation {
                Observation::Read { tp: of, .. } if of == tp => Some(true),
                Observation::Positioned { tp: of, .. } if of == tp => Some(false),
                _ => None,
            },
            _ => None,
        });
        (next == Some(true) && !records.is_empty()).then_some(at)
    })
}

pub fn reading_dropped(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let at = followed(scene, draws)?;
    scene.entries.remove(at);
    Some(())
}

pub fn reading_repeated(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let at = consumed(scene, draws, 1)?;
    let twin = scene.entries[at].event.clone();
    scene.insert_event(at + 1, twin);
    Some(())
}

/// Nobody was told that a write after the heal arrived.
pub fn last_write_lost(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let settled = scene.settled()?;
    let chosen: TopicPartition = scene.record(draws, |tp, _, told| (told.invoked > settled).then_some(tp))?;
    let late = scene.records.iter().filter(|((tp, _), told)| *tp == chosen && told.invoked > settled);
    let ended: Vec<usize> = late.filter_map(|(_, told)| Some(told.ended?.0)).collect();
    let lost = Outcome::Unknown(ErrorCode::RequestTimedOut);
    ended.into_iter().try_for_each(|at| told_otherwise(scene, at, lost))
}

pub fn final_reading_gave_up(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let at = scene.place(draws, |at, event| {
        let Event::Stack { observation, .. } = event else { return None };
        matches!(observation, Observation::FinallyRead { .. }).then_some(at)
    })?;
    let Observation::FinallyRead { complete, .. } = scene.observation(at) else { return None };
    *complete = false;
    Some(())
}
