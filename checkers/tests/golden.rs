//! Golden micro-histories: for each rule of each property a story that keeps it and the same story with that rule broken.

mod story;

use klamm_base::{CleanedBatch, Election, NodeId, Observation, StartCause, TruncationCause};
use klamm_checkers::{Event, Standing, Verdict, World, properties};
use story::{Batch, C, P, SAFE, Settings, Story, TP, good};

/// A story, told as it should be or broken.
type Tale = fn(broken: bool) -> Story;

/// Property, the beginning of the rule that the broken story must name, and the story.
const GOLDEN: &[(&str, &str, Tale)] = &[
    ("no-panic", "No input and no fault", panic),
    ("elections", "With unclean.leader.election.enable=false", elected_outside_isr),
    ("elections", "A leader is in its own ISR.", leader_not_in_isr),
    ("elections", "The ISR is a part of the replicas.", stranger_in_isr),
    ("elections", "A fenced broker", fenced_in_isr),
    ("elections", "A change of leader raises", leader_epoch_kept),
    ("elections", "Every change raises", version_repeated),
    ("elections", "Epochs rise one by one.", version_skipped),
    ("one-leader-per-epoch", "In one leader epoch", two_leaders),
    ("recovery", "What a log keeps over a restart", load_changed),
    ("recovery", "A log begins where it was told", begins_beyond),
    ("recovery", "A crash of the process, or a stop", lost_by_crash),
    ("recovery", "What was flushed survives", lost_flushed),
    ("log-matching", "A log is contiguous.", appended_twice),
    ("log-matching", "Leader epochs never fall", epoch_fell),
    ("log-matching", "Batches of the same offset", rival),
    ("log-matching", "A follower appends only", unwritten),
    ("retention-exact", "A check deletes exactly", deleted_too_early),
    ("retention-exact", "Only what is committed", deleted_uncommitted),
    ("retention-exact", "The segments that a check names", deleted_unwritten),
    ("retention-exact", "A check goes by the limits", deleted_under_other_limits),
    ("retention-exact", "A log begins later only", deleted_unchecked),
    ("compaction-keeps", "A clean goes only by", cleaned_uncommitted),
    ("compaction-keeps", "What a clean leaves", cleaned_unwritten),
    ("compaction-keeps", "The last record of each key", last_of_key_taken),
    ("compaction-keeps", "A tombstone stays", tombstone_taken),
    ("compaction-keeps", "The first clean that meets", horizon_early),
    ("compaction-keeps", "The last batch of each producer", last_of_producer_taken),
    ("compaction-keeps", "Behind a clean no record", overtaken_left),
    ("high-watermark", "Within one leader epoch", mark_back),
    ("high-watermark", "The high watermark never passes", mark_beyond_end),
    ("high-watermark", "The high watermark stands still", mark_under_minimum),
    ("high-watermark", "What the high watermark covers", mark_not_held),
    ("high-watermark", "A replica joins the ISR only", joined_early),
    ("high-watermark", "A follower's high watermark", follower_ahead),
    ("high-watermark", "Nobody who is in sync cuts", cut_in_sync),
    ("high-watermark", "A leader's log contains", leader_lacks),
    ("ack-after-commit", "acks=all is answered when", answered_early),
    ("acked-survive", "An acknowledged record survives", final_value_dropped),
    ("refused-stay-out", "A record is told as refused only", refused_and_written),
    ("idempotence", "An idempotent producer's records", batch_twice),
    ("producer-order", "Records of one idempotent producer", overtaken),
    ("producer-state", "In one log a producer's", sequence_skipped),
    ("producer-state", "A loaded log knows", sequence_unwritten),
    ("consumers-read-committed", "Consumers are handed only", served_early),
    ("consumers-in-order", "A consumer reads on", skipped),
    ("serves-after-heal", "A healed cluster comes to rest", restless),
];

#[test]
fn every_rule_has_a_good_story_and_a_bad_one_that_names_it_alone() {
    for (property, rule, tale) in GOLDEN {
        let report = tale(false).judge();
        assert_eq!(report.violated(), Vec::<&str>::new(), "{property}: {rule}");
        assert_eq!(report.standing(property), Standing::Held, "{property}: {rule}");
        let report = tale(true).judge();
        assert_eq!(report.violated().first(), Some(property), "{rule}");
        let Verdict::Violated { witness, .. } = &report.verdicts[property] else { unreachable!("it is violated") };
        assert!(witness.rule.starts_with(rule), "{property}: {rule} {witness:?}");
        assert!(witness.first.seq <= witness.second.seq, "{property}: {witness:?}");
    }
}

#[test]
fn no_rule_is_without_its_stories() {
    for property in properties() {
        assert!(!property.rules.is_empty(), "{} has rules", property.name);
        for rule in property.rules {
            let told = |(of, begins, _): &&(&str, &str, Tale)| *of == property.name && rule.starts_with(begins);
            assert_eq!(GOLDEN.iter().filter(told).count(), 1, "{}: {rule}", property.name);
        }
    }
}

/// A good run in which node 3 deleted its first segment.
fn good_and_expired() -> Story {
    let mut story = good(SAFE);
    story.roll(3);
    story.produce(2);
    story.expire(3, 1, 1, 0);
    story
}

fn sequence_skipped(broken: bool) -> Story {
    let mut story = good(SAFE);
    story.produce_in_sequence(0);
    story.produce_in_sequence(1);
    story.restart_knowing(3, 1);
    story.produce_in_sequence(if broken { 3 } else { 2 });
    story.finish()
}

fn sequence_unwritten(broken: bool) -> Story {
    let mut story = good(SAFE);
    story.produce_in_sequence(0);
    story.produce_in_sequence(1);
    story.restart_knowing(3, if broken { 2 } else { 1 });
    story.finish()
}

/// A good run of a compacted topic. At 10 and 11 stand keys 1 and 2, at 12 key 1 again, at 13 key 3 is deleted.
fn keyed() -> Story {
    let mut story = good(Settings { compacted: true, ..SAFE });
    story.produce_keyed(&[1, 2], None);
    story.produce_keyed(&[1], None);
    story.produce_keyed(&[-3], None);
    story.produce_keyed(&[2], None);
    story
}

/// What a clean of all below 14 makes of that: key 1 at 10 goes, and the tombstone gets its horizon.
fn cleaned(story: &Story) -> Vec<CleanedBatch> {
    let horizon = story.wall_ms() + 1 + 86_400_000;
    vec![
        CleanedBatch { base_offset: 10, batch: Some(1), kept: vec![11], horizon_ms: None },
        CleanedBatch { base_offset: 13, batch: Some(2), kept: vec![13], horizon_ms: Some(horizon) },
    ]
}

/// Node 3 cleans, and tells something else of it if `broken`.
fn clean_story(broken: bool, end: i64, change: impl FnOnce(&mut Vec<CleanedBatch>)) -> Story {
    let mut story = keyed();
    let mut batches = cleaned(&story);
    if broken {
        change(&mut batches);
    }
    story.clean(3, end, batches);
    story.finish()
}

fn cleaned_uncommitted(broken: bool) -> Story {
    clean_story(broken, if broken { 100 } else { 14 }, |_| {})
}

fn cleaned_unwritten(broken: bool) -> Story {
    let strange = CleanedBatch { base_offset: 11, batch: None, kept: vec![], horizon_ms: None };
    clean_story(broken, 14, |batches| batches.insert(1, strange))
}

fn last_of_key_taken(broken: bool) -> Story {
    clean_story(broken, 14, |batches| (batches[0].batch, batches[0].kept) = (None, vec![]))
}

fn tombstone_taken(broken: bool) -> Story {
    clean_story(broken, 14, |batches| {
        batches[1] = CleanedBatch { base_offset: 13, batch: None, kept: vec![], horizon_ms: None };
    })
}

fn horizon_early(broken: bool) -> Story {
    clean_story(broken, 14, |batches| batches[1].horizon_ms = batches[1].horizon_ms.map(|horizon| horizon - 1))
}

fn overtaken_left(broken: bool) -> Story {
    clean_story(broken, 14, |batches| drop(batches.remove(0)))
}

fn last_of_producer_taken(broken: bool) -> Story {
    let mut story = good(Settings { compacted: true, ..SAFE });
    story.produce_keyed(&[1], Some(0));
    story.produce_keyed(&[1], None);
    let batch = (!broken).then_some(7);
    story.clean(3, 12, vec![CleanedBatch { base_offset: 10, batch, kept: vec![], horizon_ms: None }]);
    story.finish()
}

fn begins_beyond(broken: bool) -> Story {
    let mut story = good(SAFE);
    story.power_off(3, 0);
    if broken {
        story.starts.insert(3, 5);
    }
    let (log_start, log_end) = if broken { (5, 5) } else { (0, 0) };
    story.world(World::Restarted { node: NodeId(3) });
    story.node(3, Observation::NodeStarted { incarnation: klamm_base::Uuid(103) });
    story.node(3, Observation::LogLoaded { tp: TP, log_start, log_end, digest: 0 });
    story.finish()
}

fn deleted_too_early(broken: bool) -> Story {
    let mut story = good_and_expired();
    story.roll(1);
    story.produce(1);
    let old = usize::from(!broken);
    story.expire(1, old, 1, 0);
    story.finish()
}

fn deleted_uncommitted(broken: bool) -> Story {
    let mut story = good_and_expired();
    let (records, end) = (story.invoke(P, 1), story.end(2));
    story.roll(2);
    story.expire(2, 1, 1, 0);
    let batch = story.batch(records);
    let last = story.append(2, 2, batch);
    story.replicate(2, 3);
    story.start(3, if broken { end + 1 } else { end }, StartCause::Leader);
    story.commit();
    story.answer(2, 2, &last, false);
    story.acked(&last);
    story.finish_from(end)
}

fn deleted_under_other_limits(broken: bool) -> Story {
    let mut story = good_and_expired();
    let ran = story.last(|it| matches!(it, Observation::RetentionRan { .. }));
    story.change(ran, |it| {
        let Observation::RetentionRan { retention_ms, .. } = it else { return };
        *retention_ms -= i64::from(broken);
    });
    story.finish()
}

fn deleted_unwritten(broken: bool) -> Story {
    let mut story = good_and_expired();
    let ran = story.last(|it| matches!(it, Observation::RetentionRan { .. }));
    story.change(ran, |it| {
        let Observation::RetentionRan { segments, .. } = it else { return };
        segments[0].bytes += u64::from(broken);
    });
    story.finish()
}

fn deleted_unchecked(broken: bool) -> Story {
    let mut story = good_and_expired();
    story.roll(1);
    story.produce(1);
    story.expire(1, 1, 1, 0);
    if broken {
        story.history.entries.pop();
    }
    story.finish()
}

fn panic(broken: bool) -> Story {
    let mut story = good(SAFE).finish();
    if broken {
        let (task, message, location) = ("connection".into(), "no leader".into(), "replica.rs:1".into());
        story.world(World::Panicked { node: Some(NodeId(2)), task, message, location });
    }
    story
}

fn elected_outside_isr(broken: bool) -> Story {
    let mut story = good(SAFE);
    story.change_isr(&[2, 3]);
    match broken {
        true => story.lead(1, &[1], Election::Unclean),
        false => story.lead(3, &[3], Election::Clean),
    }
    story.finish()
}

fn leader_not_in_isr(broken: bool) -> Story {
    let mut story = good(SAFE);
    story.decide(Some(2), if broken { &[1, 3] } else { &[2, 3] }, Election::None);
    story.finish()
}

fn stranger_in_isr(broken: bool) -> Story {
    let mut story = good(SAFE);
    story.decide(Some(2), if broken { &[1, 2, 3, 9] } else { &[1, 2] }, Election::None);
    story.finish()
}

fn fenced_in_isr(broken: bool) -> Story {
    let mut story = good(SAFE);
    story.change_isr(&[1, 2]);
    story.node(4, Observation::BrokerFenced { broker: NodeId(3), fenced: true });
    if !broken {
        story.node(4, Observation::BrokerFenced { broker: NodeId(3), fenced: false });
    }
    story.finish()
}

fn leader_epoch_kept(broken: bool) -> Story {
    let mut story = good(SAFE);
    story.epoch -= i32::from(broken);
    story.decide(Some(3), &[1, 2, 3], Election::Clean);
    story.take_up();
    story.finish()
}

fn version_repeated(broken: bool) -> Story {
    let mut story = good(SAFE);
    story.version -= i32::from(broken);
    story.change_isr(&[1, 2]);
    story.finish()
}

fn version_skipped(broken: bool) -> Story {
    let mut story = good(SAFE);
    story.version += i32::from(broken);
    story.change_isr(&[1, 2]);
    story.finish()
}

fn two_leaders(broken: bool) -> Story {
    let mut story = good(SAFE);
    if broken {
        story.node(3, Observation::BecameLeader { tp: TP, leader_epoch: 2, epoch_start: 10 });
    }
    story.finish()
}

fn load_changed(broken: bool) -> Story {
    let mut story = good(SAFE);
    story.change_isr(&[1, 2]);
    story.power_off(3, 10);
    story.restart(3);
    let loaded = story.last(|it| matches!(it, Observation::LogLoaded { .. }));
    story.change(loaded, |it| {
        let Observation::LogLoaded { digest, .. } = it else { unreachable!("it is a load") };
        *digest ^= u64::from(broken);
    });
    story.finish()
}

fn lost_by_crash(broken: bool) -> Story {
    let mut story = good(SAFE);
    story.change_isr(&[1, 2]);
    story.restart_with(3, if broken { 9 } else { 10 });
    story.finish()
}

fn lost_flushed(broken: bool) -> Story {
    let mut story = good(SAFE);
    story.node(3, Observation::Flushed { tp: TP, to: 10 });
    story.change_isr(&[1, 2]);
    story.power_off(3, if broken { 9 } else { 10 });
    story.restart(3);
    story.finish()
}

fn appended_twice(broken: bool) -> Story {
    let mut story = good(SAFE);
    if broken {
        let twin = story.logs[&3].last().expect("it holds something").clone();
        story.store(3, twin, false);
        story.logs.entry(3).or_default().pop();
    }
    story.finish()
}

/// Node 3, out of sync, holds a batch of this identity and epoch behind what is committed, and cuts it again. The leader writes
/// one of identity 4711 in epoch 2 at the same place.
fn holds_beside(id: u64, epoch: i32, written: bool) -> Story {
    let mut story = good(SAFE);
    story.change_isr(&[1, 2]);
    let records = story.invoke(P, 1);
    let batch = Batch { base: 10, epoch, id, records: records.clone(), producer: None, stamp: -1, keys: vec![] };
    if written {
        story.store(2, Batch { id: 4711, epoch: 2, ..batch.clone() }, true);
    }
    story.store(3, batch, false);
    story.cut(3, 10, TruncationCause::DivergingEpoch);
    story.commit();
    story.unknown(&records);
    story.finish()
}

fn epoch_fell(broken: bool) -> Story {
    holds_beside(4711, if broken { 1 } else { 2 }, true)
}

fn rival(broken: bool) -> Story {
    holds_beside(if broken { 4712 } else { 4711 }, 2, true)
}

fn unwritten(broken: bool) -> Story {
    holds_beside(4711, 2, !broken)
}

fn mark_back(broken: bool) -> Story {
    let mut story = good(SAFE);
    story.mark(2, 2, if broken { 9 } else { 10 }, true);
    story.mark(2, 2, 10, true);
    story.finish()
}

fn mark_beyond_end(broken: bool) -> Story {
    let mut story = good(SAFE);
    story.mark(3, 2, if broken { 11 } else { 10 }, false);
    story.finish()
}

fn mark_under_minimum(broken: bool) -> Story {
    let mut story = good(Settings { min_insync: 2, ..SAFE });
    story.change_isr(if broken { &[2] } else { &[1, 2] });
    story.produce(1);
    story.finish()
}

fn mark_not_held(broken: bool) -> Story {
    let mut story = good(SAFE);
    let records = story.invoke(P, 1);
    let batch = story.batch(records);
    let stored = story.append(2, 2, batch);
    story.replicate(2, 1);
    if !broken {
        story.replicate(2, 3);
    }
    story.mark(2, 2, 11, true);
    story.answer(2, 2, &stored, false);
    story.acked(&stored);
    story.finish()
}

fn joined_early(broken: bool) -> Story {
    let mut story = good(SAFE);
    story.change_isr(&[1, 2]);
    story.produce(1);
    if !broken {
        story.follow(3);
    }
    story.change_isr(&[1, 2, 3]);
    story.finish()
}

fn follower_ahead(broken: bool) -> Story {
    let mut story = good(SAFE);
    let records = story.invoke(P, 1);
    let batch = story.batch(records.clone());
    story.append(2, 2, batch);
    story.replicate(2, 3);
    story.mark(3, 2, if broken { 11 } else { 10 }, false);
    story.commit();
    story.unknown(&records);
    story.finish()
}

fn cut_in_sync(broken: bool) -> Story {
    let mut story = good(SAFE);
    if !broken {
        story.change_isr(&[1, 2]);
    }
    story.cut(3, 9, TruncationCause::HighWatermark);
    story.follow(3);
    story.finish()
}

/// The controller takes a member in that the leader never proposed, and elects it.
fn leader_lacks(broken: bool) -> Story {
    let mut story = good(SAFE);
    story.change_isr(&[2]);
    story.produce(1);
    if !broken {
        story.follow(3);
    }
    story.decide(Some(2), &[2, 3], Election::None);
    story.kill(2);
    story.lead(3, &[3], Election::Clean);
    story.restart(2);
    story.finish()
}

fn answered_early(broken: bool) -> Story {
    let mut story = good(SAFE);
    let records = story.invoke(P, 1);
    let batch = story.batch(records);
    let stored = story.append(2, 2, batch);
    if !broken {
        story.commit();
    }
    story.answer(2, 2, &stored, false);
    story.commit();
    story.acked(&stored);
    story.finish()
}

fn final_value_dropped(broken: bool) -> Story {
    let mut story = good(SAFE).finish();
    let read = story.last(|it| matches!(it, Observation::Read { finally: true, .. }));
    story.change(read, |it| {
        let Observation::Read { records, .. } = it else { unreachable!("it is a reading") };
        records[2] = records[2].filter(|_| !broken);
    });
    story
}

fn refused_and_written(broken: bool) -> Story {
    let mut story = good(SAFE);
    let records = story.invoke(P, 1);
    if broken {
        let batch = story.batch(records.clone());
        story.append(2, 2, batch);
        story.commit();
    }
    story.refused(&records);
    story.finish()
}

fn batch_twice(broken: bool) -> Story {
    let mut story = good(SAFE);
    if broken {
        let twin = story.logs[&2][0].clone();
        story.append(2, 2, twin);
        story.commit();
    }
    story.finish()
}

fn overtaken(broken: bool) -> Story {
    let mut story = good(SAFE);
    let (one, two) = (story.invoke(P, 1), story.invoke(P, 1));
    for records in if broken { [&two, &one] } else { [&one, &two] } {
        let batch = story.batch(records.clone());
        let stored = story.append(2, 2, batch);
        story.commit();
        story.answer(2, 2, &stored, false);
    }
    story.unknown(&one);
    story.unknown(&two);
    story.finish()
}

fn served_early(broken: bool) -> Story {
    let mut story = good(SAFE);
    let records = story.invoke(P, 1);
    let batch = story.batch(records.clone());
    story.append(2, 2, batch);
    if !broken {
        story.commit();
    }
    story.node(2, Observation::FetchServed { tp: TP, from: 10, to: 11, high_watermark: 11 });
    story.commit();
    story.unknown(&records);
    story.finish()
}

fn skipped(broken: bool) -> Story {
    let mut story = good(SAFE);
    story.produce(1);
    story.read(C, 2, if broken { 10 } else { 9 }, 11, false);
    story.finish()
}

fn restless(broken: bool) -> Story {
    let mut story = good(SAFE).finish();
    let settled = |entry: &klamm_checkers::Entry| matches!(entry.event, Event::World(World::Settled { .. }));
    let at = story.history.entries.iter().position(settled).expect("it came to rest");
    let why = if broken { "orders-0 has no leader" } else { "" };
    story.history.entries[at].event = Event::World(World::Settled { ok: !broken, why: why.into() });
    story
}
