//! Mutations of what controllers and brokers told.

use super::scene::{Scene, follower_append, leader_mark};
use klamm_base::{Draws, Election, NodeId, Observation, TopicPartition, TruncationCause, Uuid, chain};
use klamm_checkers::{Event, World};

const METADATA: TopicPartition = TopicPartition::METADATA;

pub fn panic(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let at = draws.below(scene.entries.len() as u64) as usize;
    let (task, message) = ("connection".to_owned(), "a mutant".to_owned());
    scene.insert_event(at, Event::World(World::Panicked { node: None, task, message, location: "none".to_owned() }));
    Some(())
}

/// A later decision on a partition (entry, the one before) that `wanted` holds of.
fn decision(
    scene: &Scene,
    draws: &mut Draws,
    wanted: impl Fn(&Observation, &Observation) -> bool,
) -> Option<(usize, usize)> {
    scene.place_told(draws, |at, _, it| {
        let Observation::PartitionChanged { tp, .. } = it else { return None };
        let before = scene.decision_before(*tp, at)?;
        let Event::Stack { observation: earlier, .. } = &scene.entries[before].event else { return None };
        wanted(earlier, it).then_some((before, at))
    })
}

/// An election by which the leader changed, the topic's permission left aside.
fn elects(before: &Observation, now: &Observation) -> Option<NodeId> {
    let (
        Observation::PartitionChanged { leader: old, leader_epoch: from, isr, .. },
        Observation::PartitionChanged { leader: Some(new), leader_epoch: to, .. },
    ) = (before, now)
    else {
        return None;
    };
    (to > from && *old != Some(*new) && isr.len() > 1 && isr.contains(new)).then_some(*new)
}

pub fn elected_outside_isr(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let (before, at) = decision(scene, draws, |before, now| elects(before, now).is_some())?;
    let Observation::PartitionChanged { leader: Some(new), .. } = scene.observation(at).clone() else { return None };
    let Observation::PartitionChanged { isr, .. } = scene.observation(before) else { return None };
    isr.retain(|node| *node != new);
    Some(())
}

pub fn stranger_in_isr(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let (_, at) = decision(scene, draws, |_, _| true)?;
    let Observation::PartitionChanged { isr, .. } = scene.observation(at) else { return None };
    isr.push(NodeId(99));
    Some(())
}

pub fn leader_out_of_isr(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let (_, at) = decision(
        scene,
        draws,
        |_, now| matches!(now, Observation::PartitionChanged { leader: Some(_), isr, election: Election::None, .. } if isr.len() > 1),
    )?;
    let Observation::PartitionChanged { isr, leader, .. } = scene.observation(at) else { return None };
    isr.retain(|node| Some(*node) != *leader);
    Some(())
}

pub fn version_repeated(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    version_moved(scene, draws, -1)
}

pub fn version_skipped(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    version_moved(scene, draws, 1)
}

fn version_moved(scene: &mut Scene, draws: &mut Draws, by: i32) -> Option<()> {
    let (_, at) = decision(scene, draws, |_, _| true)?;
    let Observation::PartitionChanged { partition_epoch, .. } = scene.observation(at) else { return None };
    *partition_epoch += by;
    Some(())
}

pub fn leader_epoch_kept(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    epoch_moved(scene, draws, -1)
}

pub fn leader_epoch_skipped(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    epoch_moved(scene, draws, 1)
}

fn epoch_moved(scene: &mut Scene, draws: &mut Draws, by: i32) -> Option<()> {
    let (_, at) = decision(scene, draws, |before, now| elects(before, now).is_some())?;
    let Observation::PartitionChanged { leader_epoch, .. } = scene.observation(at) else { return None };
    *leader_epoch += by;
    Some(())
}

/// A broker is fenced, and elected all the same.
pub fn fenced_elected(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let (before, at) = decision(scene, draws, |before, now| elects(before, now).is_some())?;
    let Observation::PartitionChanged { leader: Some(broker), .. } = scene.observation(at).clone() else { return None };
    let Event::Stack { source: klamm_base::Source::Node(controller), .. } = scene.entries[at].event else {
        return None;
    };
    scene.insert(at + 1, controller, Observation::BrokerFenced { broker, fenced: false });
    scene.insert(before + 1, controller, Observation::BrokerFenced { broker, fenced: true });
    Some(())
}

pub fn two_leaders(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let (at, rival, twin) = scene.place_told(draws, |at, node, it| {
        let Observation::BecameLeader { tp, .. } = it else { return None };
        let isr = scene.isr(*tp, at);
        let rival = isr.iter().find(|other| **other != node)?;
        (*tp != METADATA).then(|| (at, *rival, it.clone()))
    })?;
    scene.insert(at + 1, rival, twin);
    Some(())
}

pub fn old_life_writes(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let (at, node) = scene.place_told(draws, |at, node, it| {
        let Observation::Appended { tp, as_leader: true, leader_epoch, .. } = it else { return None };
        let earlier = |(_, who, told): (usize, NodeId, &Observation)| {
            matches!(told, Observation::Appended { tp: of, as_leader: true, leader_epoch: epoch, .. }
                if who == node && of == tp && epoch == leader_epoch)
        };
        (*tp != METADATA && scene.told_before(at).take(400).any(earlier)).then_some((at, node))
    })?;
    scene.insert(at, node, Observation::NodeStarted { incarnation: Uuid(4711) });
    Some(())
}

pub fn load_changed(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let at = scene.place_told(draws, |at, node, it| {
        let Observation::LogLoaded { tp, log_end, .. } = it else { return None };
        let end = scene.log(node, *tp, at).last().map_or(0, |it| it.last + 1);
        (*log_end > 0 && end >= *log_end).then_some(at)
    })?;
    let Observation::LogLoaded { digest, .. } = scene.observation(at) else { return None };
    *digest ^= 1;
    Some(())
}

/// A process that only crashed finds one batch less than it had, and fetches that again.
pub fn load_forgets(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let (at, node, log) = scene.place_told(draws, |at, node, it| {
        let Observation::LogLoaded { tp, log_start: 0, log_end, digest } = it else { return None };
        let downs = scene.entries[..at].iter().rev().find_map(|entry| match &entry.event {
            Event::World(World::Killed { node: of } | World::Stopped { node: of, .. }) if *of == node => Some(true),
            Event::World(World::PoweredOff { node: of, .. } | World::HostStarted { node: of }) if *of == node => {
                Some(false)
            }
            _ => None,
        });
        let log = scene.log(node, *tp, at + 1);
        let whole = log.iter().fold(0, |digest, it| chain(digest, it.base, it.epoch, it.batch));
        let sound = downs == Some(true) && *tp != METADATA && whole == *digest;
        (sound && log.last().is_some_and(|it| it.last + 1 == *log_end)).then_some((at, node, log))
    })?;
    let (last, kept) = log.split_last()?;
    let shorter = kept.iter().fold(0, |digest, it| chain(digest, it.base, it.epoch, it.batch));
    let Observation::LogLoaded { log_end, digest, .. } = scene.observation(at) else { return None };
    (*log_end, *digest) = (last.base, shorter);
    scene.append_again(node, last, at + 1);
    Some(())
}

/// A follower's append that `test` makes something of.
fn append<T>(
    scene: &Scene,
    draws: &mut Draws,
    test: impl Fn(usize, NodeId, (TopicPartition, i64, i64, i32)) -> Option<T>,
) -> Option<T> {
    scene.place_told(draws, |at, node, it| test(at, node, follower_append(it)?))
}

pub fn append_twice(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let (at, node) = append(scene, draws, |at, node, _| Some((at, node)))?;
    let twin = scene.observation(at).clone();
    scene.insert(at + 1, node, twin);
    Some(())
}

/// Nobody looks at that log as a whole after entry `at`: no digest tells what was changed in it.
fn never_loaded_again(scene: &Scene, at: usize, node: NodeId, tp: TopicPartition) -> bool {
    let loads =
        |who: NodeId, it: &Observation| matches!(it, Observation::LogLoaded { tp: of, .. } if who == node && *of == tp);
    !scene.told_from(at).any(|(_, who, it)| loads(who, it))
}

pub fn append_dropped(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let at = append(scene, draws, |at, node, (tp, ..)| {
        let next = scene.told_from(at + 1).find_map(|(_, who, it)| match it {
            _ if who != node => None,
            Observation::Appended { tp: of, .. } if *of == tp => Some(true),
            Observation::Truncated { tp: of, .. } | Observation::LogLoaded { tp: of, .. } if *of == tp => Some(false),
            _ => None,
        });
        (next == Some(true) && never_loaded_again(scene, at, node, tp)).then_some(at)
    })?;
    scene.entries.remove(at);
    Some(())
}

pub fn other_batch(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let at = append(scene, draws, |at, node, (tp, ..)| never_loaded_again(scene, at, node, tp).then_some(at))?;
    let Observation::Appended { batch, .. } = scene.observation(at) else { return None };
    *batch ^= 1;
    Some(())
}

pub fn epoch_fell(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let at = append(scene, draws, |at, node, (tp, base, _, epoch)| {
        let log = scene.log(node, tp, at);
        log.last()
            .is_some_and(|it| it.epoch == epoch && it.last + 1 == base && epoch > 0)
            .then_some(at)
            .filter(|_| never_loaded_again(scene, at, node, tp))
    })?;
    let Observation::Appended { leader_epoch, .. } = scene.observation(at) else { return None };
    *leader_epoch -= 1;
    Some(())
}

pub fn epoch_unwritten(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let at = append(scene, draws, |at, node, (tp, ..)| never_loaded_again(scene, at, node, tp).then_some(at))?;
    let Observation::Appended { leader_epoch, .. } = scene.observation(at) else { return None };
    *leader_epoch += 1;
    Some(())
}

pub fn mark_back(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let (at, node, lower, same) = scene.place_told(draws, |at, node, it| {
        let mark = leader_mark(node, it)?;
        let before = scene.told_before(at).take(400).filter_map(|(_, who, it)| leader_mark(who, it));
        let mut before = before.filter(|it| (it.node, it.tp, it.epoch) == (node, mark.tp, mark.epoch));
        let lower = before.find(|it| it.to < mark.to)?.to;
        Some((at, node, lower, it.clone()))
    })?;
    let Observation::HighWatermark { tp, leader_epoch, as_leader, .. } = same.clone() else { return None };
    scene.insert(at + 1, node, same);
    scene.insert(at + 1, node, Observation::HighWatermark { tp, to: lower, leader_epoch, as_leader });
    Some(())
}

/// A leader counts a batch as committed before the last member of its ISR has it.
pub fn mark_early(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let (at, append) = scene.place_told(draws, |at, node, it| {
        let mark = leader_mark(node, it)?;
        let Observation::LeaderIsr { leader_epoch, maximal, .. } = scene.view(node, mark.tp, at)? else { return None };
        let counted = |who: NodeId| who != node && leader_epoch == mark.epoch && maximal.contains(&who);
        let last = scene.told_before(at).take(400).find(|(_, who, it)| {
            counted(*who) && follower_append(it).is_some_and(|(tp, _, last, _)| tp == mark.tp && last + 1 == mark.to)
        });
        last.map(|(append, _, _)| (at, append))
    })?;
    scene.forward(at, append);
    Some(())
}

/// A follower's append that no leader has counted yet.
fn uncommitted(scene: &Scene, draws: &mut Draws) -> Option<(usize, NodeId, TopicPartition, i64, i32)> {
    append(scene, draws, |at, node, (tp, _, last, epoch)| {
        let fresh = scene.frontier(tp, at) <= last;
        fresh.then_some((at, node, tp, last, epoch))
    })
}

pub fn follower_ahead(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let (at, node, tp, last, leader_epoch) = uncommitted(scene, draws)?;
    scene.insert(at + 1, node, Observation::HighWatermark { tp, to: last + 1, leader_epoch, as_leader: false });
    Some(())
}

pub fn mark_beyond_end(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let (at, node, tp, last, leader_epoch) = uncommitted(scene, draws)?;
    scene.insert(at + 1, node, Observation::HighWatermark { tp, to: last + 2, leader_epoch, as_leader: false });
    Some(())
}

/// A follower in sync throws committed batches away, and fetches them again.
pub fn cut_in_sync(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let (at, node, tp, epoch, cut) = scene.place_told(draws, |at, leader, it| {
        let mark = leader_mark(leader, it)?;
        let isr = scene.isr(mark.tp, at);
        isr.iter().filter(|node| isr.contains(&leader) && **node != leader).find_map(|node| {
            let log = scene.log(*node, mark.tp, at);
            let from = log.iter().rposition(|it| it.last < mark.to)?;
            Some((at + 1, *node, mark.tp, mark.epoch, log[from..].to_vec()))
        })
    })?;
    cut.iter().rev().for_each(|stored| scene.append_again(node, stored, at));
    let (to, cause) = (cut[0].base, TruncationCause::HighWatermark);
    scene.insert(at, node, Observation::Truncated { tp, to, high_watermark: to, leader_epoch: epoch, cause });
    Some(())
}

/// A leader commits while it knows of nobody but itself in sync, and more are wanted.
pub fn mark_under_minimum(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let wanted = |tp: TopicPartition| {
        scene.observed().any(|(_, _, it)| {
            matches!(it, Observation::TopicCreated { topic, min_insync_replicas: 2.., .. } if *topic == tp.topic)
        })
    };
    let (at, node, view) = scene.place_told(draws, |at, node, it| {
        let mark = leader_mark(node, it)?;
        let moved = scene.frontier(mark.tp, at) < mark.to;
        let view = scene.view(node, mark.tp, at)?;
        let of_it = matches!(view, Observation::LeaderIsr { leader_epoch, .. } if leader_epoch == mark.epoch);
        (moved && of_it && wanted(mark.tp)).then_some((at, node, view))
    })?;
    let mut alone = view.clone();
    let Observation::LeaderIsr { committed, .. } = &mut alone else { return None };
    *committed = vec![node];
    scene.insert(at + 1, node, view);
    scene.insert(at, node, alone);
    Some(())
}

/// A replica joins the ISR while its log ends below the high watermark: its last append comes only after the leader has proposed it.
pub fn joined_early(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let (at, append) = scene.place_told(draws, |at, node, it| {
        let Observation::LeaderIsr { tp, leader_epoch, maximal, .. } = it else { return None };
        let Observation::LeaderIsr { leader_epoch: before, maximal: known, .. } = scene.view(node, *tp, at)? else {
            return None;
        };
        let joined = maximal.iter().find(|node| !known.contains(node)).filter(|_| before == *leader_epoch)?;
        let mark = scene.told_before(at).find_map(|(_, who, it)| leader_mark(who, it).filter(|it| it.tp == *tp))?;
        // Nothing happened to its log since: no start, no cut.
        let last = scene.log(*joined, *tp, at).pop().filter(|last| last.last + 1 == mark.to)?;
        let quiet = |(_, who, it): (usize, NodeId, &Observation)| {
            let disturbs = match it {
                Observation::LogLoaded { tp: of, .. } | Observation::Truncated { tp: of, .. } => of == tp,
                _ => false,
            };
            who != *joined || !disturbs
        };
        scene.told_from(last.at).take_while(|(index, ..)| *index < at).all(quiet).then_some((at, last.at))
    })?;
    scene.delay(append, at);
    Some(())
}

/// The elected leader lacks the last committed batch.
pub fn leader_lacks(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let (at, node, tp, epoch, last) = scene.place_told(draws, |at, node, it| {
        let Observation::BecameLeader { tp, leader_epoch, .. } = it else { return None };
        let committed = scene.frontier(*tp, at);
        let last = scene.log(node, *tp, at).pop()?;
        (*tp != METADATA && last.last < committed).then_some((at, node, *tp, *leader_epoch, last))
    })?;
    scene.append_again(node, &last, at + 1);
    let (to, cause) = (last.base, TruncationCause::HighWatermark);
    scene.insert(at, node, Observation::Truncated { tp, to, high_watermark: to, leader_epoch: epoch, cause });
    Some(())
}

/// An answer to acks=all leaves before the high watermark has passed the records.
pub fn answered_early(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let (at, append) = scene.place_told(draws, |at, node, it| {
        let Observation::ProduceAcked { tp, base_offset, last_offset, acks: -1, duplicate: false, .. } = it else {
            return None;
        };
        let append = scene.told_before(at).find_map(|(index, who, it)| match it {
            Observation::Appended { tp: of, base_offset: base, last_offset: last, as_leader: true, .. }
                if who == node && of == tp && base <= base_offset && last_offset <= last =>
            {
                Some((index, *last))
            }
            _ => None,
        })?;
        (scene.frontier(*tp, append.0) <= append.1).then_some((at, append.0))
    })?;
    scene.forward(at, append + 1);
    Some(())
}

pub fn answered_nothing(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let (at, node, mut answer) = scene.place_told(draws, |at, node, it| {
        matches!(it, Observation::ProduceAcked { .. }).then(|| (at, node, it.clone()))
    })?;
    let Observation::ProduceAcked { base_offset, last_offset, .. } = &mut answer else { return None };
    (*base_offset, *last_offset) = (*base_offset + 1_000_000, *last_offset + 1_000_000);
    scene.insert(at, node, answer);
    Some(())
}

/// A batch is written a second time, replicated and committed.
pub fn batch_twice(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let end = scene.entries.len();
    let (tp, record_offset) = scene.record(draws, |tp, record, told| {
        let (_, offset) = told.acked().filter(|_| scene.is_whole(tp) && scene.is_idempotent(record.client))?;
        Some((tp, offset))
    })?;
    let mark = scene.told_before(end).find_map(|(_, node, it)| leader_mark(node, it).filter(|it| it.tp == tp))?;
    let log = scene.log(mark.node, tp, end);
    let old = log.iter().find(|it| it.base <= record_offset && record_offset <= it.last)?.clone();
    let (base, view) = (log.last()?.last + 1, scene.view(mark.node, tp, end)?);
    let Observation::LeaderIsr { maximal, .. } = view else { return None };
    let to = base + (old.last - old.base) + 1;
    let mut again = scene.observation(old.at).clone();
    let Observation::Appended { base_offset, last_offset, leader_epoch, as_leader, position, .. } = &mut again else {
        return None;
    };
    (*base_offset, *last_offset, *leader_epoch, *as_leader) = (base, to - 1, mark.epoch, true);
    *position = 0;
    scene.insert(end, mark.node, again.clone());
    let Observation::Appended { as_leader, .. } = &mut again else { return None };
    *as_leader = false;
    for follower in maximal.iter().filter(|node| **node != mark.node) {
        (scene.log(*follower, tp, end).last()?.last + 1 == base).then_some(())?;
        let end = scene.entries.len();
        scene.insert(end, *follower, again.clone());
    }
    let committed = Observation::HighWatermark { tp, to, leader_epoch: mark.epoch, as_leader: true };
    scene.insert(scene.entries.len(), mark.node, committed);
    Some(())
}

/// A fetch gives what no high watermark covers yet.
pub fn served_early(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let (at, node, tp, base, last) = scene.place_told(draws, |at, node, it| match it {
        Observation::Appended { tp, base_offset, last_offset, as_leader: true, .. } if *tp != METADATA => {
            Some((at, node, *tp, *base_offset, *last_offset))
        }
        _ => None,
    })?;
    let served = Observation::FetchServed { tp, from: base, to: last + 1, high_watermark: base };
    scene.insert(at + 1, node, served);
    Some(())
}

pub fn never_rests(scene: &mut Scene, _: &mut Draws) -> Option<()> {
    let at = scene.settled()?;
    scene.entries[at].event = Event::World(World::Settled { ok: false, why: "a mutant".to_owned() });
    Some(())
}

pub fn rest_untold(scene: &mut Scene, _: &mut Draws) -> Option<()> {
    let at = scene.settled()?;
    scene.entries.truncate(at);
    Some(())
}

/// A leader appends a batch whose sequence does not follow that of its producer's batch before it.
pub fn sequence_skipped(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let at = scene.place_told(draws, |at, node, it| {
        let Observation::Appended { tp, as_leader: true, producer: Some(now), .. } = it else { return None };
        let before = scene.told_before(at).find_map(|(_, who, it)| match it {
            Observation::Truncated { tp: of, .. } | Observation::LogLoaded { tp: of, .. }
                if who == node && of == tp =>
            {
                Some(None)
            }
            Observation::Appended { tp: of, producer: Some(told), .. }
                if who == node && of == tp && told.producer_id == now.producer_id =>
            {
                Some(Some(*told))
            }
            _ => None,
        });
        let before = before.flatten().filter(|before| before.producer_epoch == now.producer_epoch)?;
        (before.last + 1 == now.first).then_some(at)
    })?;
    let Observation::Appended { producer: Some(producer), .. } = scene.observation(at) else { return None };
    (producer.first, producer.last) = (producer.first + 1, producer.last + 1);
    Some(())
}

/// A log that was loaded as it was knows something else of a producer than its batches tell.
pub fn memory_changed(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let at = scene.place_told(draws, |at, node, it| {
        let Observation::LogLoaded { tp, log_start: 0, log_end, digest } = it else { return None };
        let log = scene.log(node, *tp, at);
        let whole = log.iter().fold(0, |digest, it| chain(digest, it.base, it.epoch, it.batch));
        let sound = *tp != METADATA && whole == *digest && log.last().is_some_and(|it| it.last + 1 == *log_end);
        let next = scene.told_from(at + 1).next()?;
        let told = matches!(next.2, Observation::ProducersLoaded { producers, .. } if !producers.is_empty());
        (sound && next.1 == node && told).then_some(next.0)
    })?;
    let Observation::ProducersLoaded { producers, .. } = scene.observation(at) else { return None };
    producers[0].last_sequence += 1;
    Some(())
}
