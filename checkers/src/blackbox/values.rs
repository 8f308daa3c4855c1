//! Anomalies of single values: lost, at two places, read though they were not to be, never seen.

use super::Settings;
use super::findings::{Finding, Findings, Sight, permitted};
use super::named;
use super::operations::{Does, Ended, FOREIGN, NO_OFFSET, Operations, Record};
use super::order::{Conflict, NONE, Order, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Looks at every value.
pub(super) fn look(operations: &Operations, order: &Order, found: &mut Findings) {
    found.subscribed = operations.iter().any(|(_, op, _)| op.does == Does::Subscribe && op.ended != Ended::Fail);
    lost(operations, order, found);
    conflicts(operations, order, found);
    duplicates(operations, order, found);
    suspects(order, found);
    unseen(operations, order, found);
}

fn settings(operations: &Operations, value: &Value) -> Settings {
    if value.writer == NONE { Settings::default() } else { operations.process_of(value.writer).settings }
}

/// The legality of a class with this producer's settings.
fn excuse(name: &str, settings: Settings, found: &Findings) -> Option<&'static str> {
    permitted(name, settings, found.subscribed)
}

/// It stood where a log does not begin any more.
fn deleted(operations: &Operations, value: &Value) -> Option<&'static str> {
    let begins = operations.begins.get(&value.key).copied().unwrap_or(0);
    (value.last.max(value.first) < begins).then_some("retention or DeleteRecords")
}

fn sent(value: &Value) -> Sight {
    Sight { op: value.writer, key: value.key, offset: value.first }
}

fn lost(operations: &Operations, order: &Order, found: &mut Findings) {
    let tested = order.values.iter().filter(|value| order.must_be_read(value)).count();
    found.tested(named::LOST_WRITE, tested as u64);
    let lost: Vec<u32> = numbers(order, |value| value.lost).collect();
    let readers = farthest_readers(operations, order, &lost);
    for number in lost {
        let value = &order.values[number as usize];
        let second = readers.get(&value.key).copied().unwrap_or(sent(value));
        let by = excuse(named::LOST_WRITE, settings(operations, value), found).or_else(|| deleted(operations, value));
        found.add(named::LOST_WRITE, Finding { first: sent(value), second, value: number }, by);
    }
}

fn numbers(order: &Order, wanted: impl Fn(&Value) -> bool) -> impl Iterator<Item = u32> {
    order.values.iter().enumerate().filter(move |(_, value)| wanted(value)).map(|(number, _)| number as u32)
}

/// Who was first to poll the value that was read farthest, in each key that lost one.
fn farthest_readers(operations: &Operations, order: &Order, lost: &[u32]) -> BTreeMap<u32, Sight> {
    let keys: BTreeSet<u32> = lost.iter().map(|value| order.values[*value as usize].key).collect();
    let mut readers = BTreeMap::new();
    if keys.is_empty() {
        return readers;
    }
    for (at, _, records) in operations.iter().filter(|(_, op, _)| op.ended == Ended::Ok) {
        for record in records.iter().filter(|record| !record.is_sent() && record.value != FOREIGN) {
            let key = record.key();
            if keys.contains(&key) && record.value == order.farthest_read(key) {
                readers.entry(key).or_insert(sight(at, record));
            }
        }
    }
    readers
}

fn sight(op: u32, record: &Record) -> Sight {
    Sight { op, key: record.key(), offset: record.offset }
}

/// An offset with several values. If all but one of them are lost, the loss is the cause: its offset was given away again.
fn conflicts(operations: &Operations, order: &Order, found: &mut Findings) {
    found.tested(named::INCONSISTENT, order.seen_again);
    let first_seen = first_seen(operations, order);
    for offset in order.conflicts.chunk_by(|a, b| (a.key, a.offset) == (b.key, b.offset)) {
        let Some(stands) = order.at(offset[0].key, offset[0].offset) else { continue };
        let values = offset.iter().map(|conflict| conflict.value).chain([stands]);
        let kept = values.filter(|value| *value == FOREIGN || !order.values[*value as usize].lost).count();
        if kept <= 1 {
            found.add_derived(named::INCONSISTENT, named::LOST_WRITE);
            continue;
        }
        let Conflict { key, offset, value, op } = offset[0];
        let first = Sight { op: first_seen.get(&(key, offset)).copied().unwrap_or(op), key, offset };
        found.add(named::INCONSISTENT, Finding { first, second: Sight { op, key, offset }, value }, None);
    }
}

/// The operation that was first to see each offset that is in conflict.
fn first_seen(operations: &Operations, order: &Order) -> BTreeMap<(u32, i64), u32> {
    let wanted: BTreeSet<(u32, i64)> = order.conflicts.iter().map(|conflict| (conflict.key, conflict.offset)).collect();
    let mut seen = BTreeMap::new();
    if wanted.is_empty() {
        return seen;
    }
    for (at, _, records) in operations.iter() {
        for record in records {
            let place = (record.key(), record.offset);
            let counts = order.committed[at as usize] || !record.is_sent();
            if counts && order.at(place.0, place.1) == Some(record.value) && wanted.contains(&place) {
                seen.entry(place).or_insert(at);
            }
        }
    }
    seen
}

fn duplicates(operations: &Operations, order: &Order, found: &mut Findings) {
    found.tested(named::DUPLICATE, numbers(order, |value| value.last >= 0).count() as u64);
    let twice: BTreeSet<u32> = numbers(order, |value| value.first < value.last).collect();
    if twice.is_empty() {
        return;
    }
    let mut places: BTreeMap<(u32, i64), u32> = BTreeMap::new();
    for (at, _, records) in operations.iter() {
        for record in records.iter().filter(|record| record.offset >= 0 && twice.contains(&record.value)) {
            if order.committed[at as usize] || !record.is_sent() {
                places.entry((record.value, record.offset)).or_insert(at);
            }
        }
    }
    for number in twice {
        let value = &order.values[number as usize];
        let place = |offset| Sight { op: places[&(number, offset)], key: value.key, offset };
        let by = excuse(named::DUPLICATE, settings(operations, value), found);
        let (first, second) = (place(value.first), place(value.last));
        found.add(named::DUPLICATE, Finding { first, second, value: number }, by);
    }
}

fn suspects(order: &Order, found: &mut Findings) {
    found.tested(named::G1A, numbers(order, |value| value.wrote == Some(Ended::Fail)).count() as u64);
    found.tested(named::PRECOMMITTED, order.mixed.len() as u64);
    for (at, record) in &order.suspects {
        let value = &order.values[record.value as usize];
        let first = Sight { op: value.writer, key: value.key, offset: NO_OFFSET };
        let finding = Finding { first, second: sight(*at, record), value: record.value };
        let name = if value.writer == *at { named::PRECOMMITTED } else { named::G1A };
        found.add(name, finding, None);
    }
}

/// What was acknowledged, never read and not known to be lost.
fn unseen(operations: &Operations, order: &Order, found: &mut Findings) {
    let finals = final_readings(operations);
    for number in 0..order.values.len() as u32 {
        let value = &order.values[number as usize];
        if value.wrote != Some(Ended::Ok) {
            continue;
        }
        let completed = operations.op(value.writer).completed;
        let reading = finals.get(&value.key).filter(|op| operations.op(**op).invoked > completed);
        found.tested(named::UNSEEN, u64::from(reading.is_some()));
        if value.read || value.lost {
            continue;
        }
        let late = reading.is_none().then_some("no final polls");
        let by = excuse(named::UNSEEN, settings(operations, value), found).or(late);
        let by = by.or_else(|| deleted(operations, value));
        let op = reading.copied().unwrap_or(value.writer);
        let second = Sight { op, key: value.key, offset: NO_OFFSET };
        found.add(named::UNSEEN, Finding { first: sent(value), second, value: number }, by);
    }
}

/// The last operation that began to read each key from its beginning.
fn final_readings(operations: &Operations) -> BTreeMap<u32, u32> {
    let begun = operations.iter().filter(|(_, op, _)| op.from_beginning && op.ended == Ended::Ok);
    begun.flat_map(|(at, _, _)| operations.keys_of(at).iter().map(move |key| (*key, at))).collect()
}
