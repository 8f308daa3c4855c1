//! Good histories with one thing changed, and micro-histories of historical bugs: exactly the named property must fire.

mod story;

use klamm_base::{ClientRecord, Election, ErrorCode, NodeId, Observation, Outcome, TruncationCause};
use klamm_checkers::{Standing, Verdict, Witness, World};
use story::{Batch, C, P, SAFE, Settings, Story, TP};

fn witness(story: &Story, property: &str) -> Witness {
    match &story.judge().verdicts[property] {
        Verdict::Violated { witness, .. } => witness.clone(),
        other => panic!("{property} should be violated: {other:?}"),
    }
}

/// Three batches, a leader change, two more, and a reader that saw the first four offsets.
fn tale() -> Story {
    let mut story = Story::new(SAFE);
    story.produce(2);
    story.produce(2);
    story.read(C, 1, 0, 4, false);
    story.kill(1);
    story.lead(2, &[2, 3], Election::Clean);
    story.produce(2);
    story.restart(1);
    story
}

fn final_read(story: &Story) -> usize {
    story.last(|observation| matches!(observation, Observation::Read { finally: true, .. }))
}

fn middle_read(story: &Story) -> usize {
    story.last(|observation| matches!(observation, Observation::Read { finally: false, .. }))
}

fn with_records(observation: &mut Observation, change: impl FnOnce(&mut Vec<Option<ClientRecord>>)) {
    let Observation::Read { records, .. } = observation else { panic!("not a reading: {observation:?}") };
    change(records);
}

#[test]
fn the_tale_itself_is_good() {
    assert_eq!(tale().finish().violated(), Vec::<&str>::new());
}

#[test]
fn a_record_that_the_final_reading_does_not_find_was_lost() {
    let mut story = tale().finish();
    let read = final_read(&story);
    story.change(read, |observation| with_records(observation, |records| records[2] = None));
    assert_eq!(story.violated(), ["acked-survive"]);
    let witness = witness(&story, "acked-survive");
    assert_eq!((witness.records[0].from, witness.records[0].to), (2, 3));
    assert_eq!(witness.records[0].records, [ClientRecord { client: P, number: 2 }]);
    assert!(witness.first.seq < witness.second.seq);
    assert!(witness.first.text.contains("record 2") && witness.second.text.contains("offset 2"), "{witness:?}");
}

#[test]
fn two_records_that_changed_places_in_the_final_reading_are_not_where_they_were_acknowledged() {
    let mut story = tale().finish();
    let read = final_read(&story);
    story.change(read, |observation| with_records(observation, |records| records.swap(4, 5)));
    assert_eq!(story.violated(), ["acked-survive"]);
    assert_eq!(witness(&story, "acked-survive").records[0].records.len(), 2);
}

#[test]
fn a_consumer_that_reads_another_record_than_the_others_is_told_apart() {
    let mut story = tale().finish();
    let read = middle_read(&story);
    story.change(read, |observation| with_records(observation, |records| records.swap(1, 2)));
    assert_eq!(story.violated(), ["consumers-read-committed"]);
    assert_eq!(witness(&story, "consumers-read-committed").derived, 1);
}

#[test]
fn a_consumer_that_skips_or_repeats_is_out_of_order() {
    for by in [1, -1] {
        let mut story = Story::new(SAFE);
        story.produce(6);
        story.read(C, 1, 0, 3, false);
        story.read(C, 1, 3 + by, 6, false);
        assert_eq!(story.finish().violated(), ["consumers-in-order"], "{by}");
    }
}

#[test]
fn an_acknowledgement_turned_into_a_refusal_is_a_client_that_lies() {
    let mut story = tale().finish();
    let told = story.last(|o| matches!(o, Observation::Ended { record: ClientRecord { number: 3, .. }, .. }));
    story.change(told, |observation| {
        let Observation::Ended { outcome, .. } = observation else { unreachable!() };
        *outcome = Outcome::Refused(ErrorCode::NotEnoughReplicas);
    });
    assert_eq!(story.violated(), ["refused-stay-out"]);
}

#[test]
fn a_refusal_turned_into_an_acknowledgement_is_a_record_that_is_not_there() {
    let mut story = tale();
    let records = story.invoke(P, 1);
    let outcome = Outcome::Refused(ErrorCode::NotEnoughReplicas);
    let told = story.client(P, Observation::Ended { tp: TP, record: records[0], outcome });
    let mut story = story.finish();
    assert_eq!(story.violated(), Vec::<&str>::new());
    story.change(told, |observation| {
        let Observation::Ended { outcome, .. } = observation else { unreachable!() };
        *outcome = Outcome::Acked(99);
    });
    assert_eq!(story.violated(), ["acked-survive"]);
}

#[test]
fn a_follower_that_cuts_what_is_committed_breaks_the_high_watermark() {
    let mut story = tale();
    story.cut(3, 4, TruncationCause::HighWatermark);
    story.replicate(2, 3);
    let story = story.finish();
    assert_eq!(story.violated(), ["high-watermark"]);
    let witness = witness(&story, "high-watermark");
    assert_eq!((witness.records[0].from, witness.records[0].to), (4, 6));
    assert!(witness.second.text.contains("cut orders-0 to 4"), "{witness:?}");
}

#[test]
fn truncation_to_the_high_watermark_loses_acknowledged_records_and_the_judge_names_the_cut() {
    // A01: the leader dies under load, a surviving follower cuts to its stale high watermark, the fresh leader dies too.
    let mut story = Story::new(SAFE);
    story.produce(2);
    story.produce(3);
    story.kill(1);
    story.lead(2, &[2, 3], Election::Clean);
    story.cut(3, 2, TruncationCause::HighWatermark);
    story.kill(2);
    story.lead(3, &[3], Election::Clean);
    story.produce(2);
    story.restart(1);
    story.restart(2);
    let story = story.finish();
    assert_eq!(story.violated(), ["acked-survive", "high-watermark"]);
    let lost = witness(&story, "acked-survive");
    assert_eq!((lost.records[0].from, lost.records[0].to), (2, 5));
    assert_eq!(lost.derived, 0, "one range, one finding");
    assert!(lost.text.starts_with("3 acknowledged records lost. node 3 leads without them"), "{lost:?}");
    assert!(lost.text.contains("cut its log to 2") && lost.text.contains("node 3"), "{lost:?}");
    assert!(lost.second.text.contains("took up epoch 3"), "{lost:?}");
}

#[test]
fn a_second_leader_of_one_epoch_is_found() {
    let mut story = tale();
    let epoch = story.epoch;
    story.node(3, Observation::BecameLeader { tp: TP, leader_epoch: epoch, epoch_start: 6 });
    assert_eq!(story.finish().violated(), ["one-leader-per-epoch"]);
}

#[test]
fn a_leader_that_writes_on_in_its_old_epoch_after_a_restart_is_found() {
    let mut story = Story::new(SAFE);
    story.produce(2);
    story.change_isr(&[1]);
    story.kill(1);
    story.restart(1);
    story.produce(1);
    assert_eq!(story.finish().violated(), ["one-leader-per-epoch"]);
}

#[test]
fn two_batches_of_one_offset_and_epoch_break_log_matching() {
    let mut story = Story::new(SAFE);
    story.produce(2);
    story.change_isr(&[1, 2]);
    let records = story.invoke(P, 1);
    let batch = story.batch(records.clone());
    let stored = story.append(1, 1, batch);
    story.store(3, Batch { id: 4711, ..stored.clone() }, false);
    story.cut(3, 2, TruncationCause::DivergingEpoch);
    story.commit();
    story.answer(1, 1, &stored, false);
    story.acked(&stored);
    assert_eq!(story.finish().violated(), ["log-matching"]);
}

#[test]
fn the_same_batch_after_another_prefix_breaks_log_matching() {
    let mut story = Story::new(SAFE);
    story.change_isr(&[1, 2]);
    let (one, two) = (story.invoke(P, 1), story.invoke(P, 1));
    let (first, second) = (story.batch(one.clone()), story.batch(two.clone()));
    let (first, second) = (story.append(1, 1, first), story.append(1, 1, second));
    // Node 3 never cut what an older leader had given it.
    let stale = Batch { epoch: 0, id: 4711, ..first.clone() };
    story.store(2, stale.clone(), true);
    story.cut(2, 0, TruncationCause::DivergingEpoch);
    story.store(3, stale, false);
    story.store(3, second.clone(), false);
    story.cut(3, 0, TruncationCause::DivergingEpoch);
    story.commit();
    story.acked(&Batch { records: vec![], ..first });
    story.unknown(&one);
    story.unknown(&two);
    let story = story.finish();
    assert_eq!(story.violated(), ["log-matching"]);
    let text = witness(&story, "log-matching").text;
    assert!(text.ends_with("they part with offset 0 of epoch 1 here and offset 0 of epoch 0 there."), "{text}");
}

#[test]
fn a_gap_in_a_log_breaks_log_matching() {
    let mut story = tale();
    let batch = Batch {
        base: 9,
        epoch: story.epoch,
        id: 4711,
        records: vec![ClientRecord { client: P, number: 9 }],
        producer: None,
        stamp: -1,
        keys: vec![],
    };
    story.store(1, batch, false);
    story.cut(1, 0, TruncationCause::DivergingEpoch);
    assert_eq!(story.violated(), ["log-matching"]);
}

#[test]
fn a_high_watermark_may_not_pass_what_an_in_sync_replica_holds() {
    let mut story = Story::new(SAFE);
    story.produce(2);
    let records = story.invoke(P, 2);
    let batch = story.batch(records.clone());
    let stored = story.append(1, 1, batch);
    story.replicate(1, 2);
    // A majority has it, node 3 has not, and it is in the ISR.
    story.mark(1, 1, 4, true);
    story.answer(1, 1, &stored, false);
    story.acked(&stored);
    let story = story.finish();
    assert_eq!(story.violated(), ["high-watermark"]);
    assert!(witness(&story, "high-watermark").text.contains("node 3 never held"));
}

#[test]
fn a_high_watermark_may_not_go_back_nor_pass_the_log_nor_move_under_min_insync() {
    let mut back = tale();
    back.mark(2, 2, 5, true);
    back.mark(2, 2, 6, true);
    assert_eq!(back.finish().violated(), ["high-watermark"]);

    let mut beyond = tale();
    beyond.mark(3, 2, 7, false);
    assert_eq!(beyond.finish().violated(), ["high-watermark"]);

    let mut under = Story::new(Settings { min_insync: 2, ..SAFE });
    under.produce(2);
    under.change_isr(&[1]);
    under.produce(1);
    assert_eq!(under.finish().violated(), ["high-watermark"]);
}

#[test]
fn a_followers_high_watermark_may_not_run_ahead() {
    let mut story = Story::new(SAFE);
    let records = story.invoke(P, 2);
    let batch = story.batch(records.clone());
    story.append(1, 1, batch);
    story.replicate(1, 2);
    story.mark(2, 1, 2, false);
    story.unknown(&records);
    assert_eq!(story.finish().violated(), ["high-watermark"]);
}

#[test]
fn acks_all_before_the_commit_is_found_at_the_answer() {
    let mut story = Story::new(SAFE);
    let records = story.invoke(P, 2);
    let batch = story.batch(records);
    let stored = story.append(1, 1, batch);
    story.answer(1, 1, &stored, false);
    story.acked(&stored);
    story.commit();
    assert_eq!(story.finish().violated(), ["ack-after-commit"]);
}

#[test]
fn a_duplicate_of_an_idempotent_producer_is_found_by_its_batch_and_by_its_records() {
    // P03: the retry of a batch that is not the last one is appended a second time, perhaps under a new producer epoch.
    for same_identity in [true, false] {
        let mut story = Story::new(SAFE);
        let first = story.produce(2);
        story.produce(2);
        let id = if same_identity { first.id } else { 4711 };
        story.append(1, 1, Batch { id, ..first });
        story.commit();
        let story = story.finish();
        assert_eq!(story.violated(), ["idempotence"], "{same_identity}");
        let witness = witness(&story, "idempotence");
        assert!(witness.first.text.contains("appended 0..2"), "{witness:?}");
        assert!(witness.second.text.contains("appended 4..6"), "{witness:?}");
    }
}

#[test]
fn a_new_session_in_flight_excuses_a_duplicate() {
    let mut story = Story::new(SAFE);
    let records = story.invoke(P, 2);
    let batch = story.batch(records.clone());
    let first = story.append(1, 1, batch);
    story.client(P, Observation::ProducerIdLearned { producer_id: 6, producer_epoch: 0 });
    let again = story.append(1, 1, Batch { id: 4711, ..first });
    story.commit();
    story.answer(1, 1, &again, false);
    story.acked(&again);
    assert_eq!(story.finish().violated(), Vec::<&str>::new());
}

#[test]
fn a_batch_that_overtakes_its_predecessor_is_out_of_order() {
    let mut story = Story::new(SAFE);
    let (one, two) = (story.invoke(P, 1), story.invoke(P, 1));
    for records in [&two, &one] {
        let batch = story.batch(records.clone());
        let stored = story.append(1, 1, batch);
        story.commit();
        story.answer(1, 1, &stored, false);
    }
    story.unknown(&one);
    story.unknown(&two);
    let story = story.finish();
    assert_eq!(story.violated(), ["producer-order"]);
    assert!(witness(&story, "producer-order").text.contains("Record 0 was sent before record 1"));
}

#[test]
fn a_gap_behind_an_acknowledged_record_is_found() {
    let mut story = Story::new(SAFE);
    let missing = story.invoke(P, 1);
    story.produce(1);
    story.unknown(&missing);
    let story = story.finish();
    assert_eq!(story.violated(), ["idempotence"]);
    assert!(witness(&story, "idempotence").text.contains("record 0 of p1 was in flight before record 1"));
}

#[test]
fn what_a_consumer_reads_before_it_is_committed_is_found_where_it_is_served() {
    let mut story = Story::new(SAFE);
    story.produce(2);
    let records = story.invoke(P, 1);
    let batch = story.batch(records);
    let stored = story.append(1, 1, batch);
    story.node(1, Observation::FetchServed { tp: TP, from: 2, to: 3, high_watermark: 2 });
    story.commit();
    story.answer(1, 1, &stored, false);
    story.acked(&stored);
    assert_eq!(story.finish().violated(), ["consumers-read-committed"]);
}

#[test]
fn what_a_consumer_has_read_may_not_vanish() {
    // Nobody was told that it is written, but somebody read it.
    let mut story = Story::new(SAFE);
    let records = story.invoke(P, 2);
    let batch = story.batch(records.clone());
    story.append(1, 1, batch);
    story.commit();
    story.read(C, 1, 0, 2, false);
    story.unknown(&records);
    let mut story = story.finish();
    let read = final_read(&story);
    story.change(read, |observation| with_records(observation, |records| records[1] = None));
    assert_eq!(story.violated(), ["consumers-read-committed"]);
}

#[test]
fn more_lost_than_the_unclean_election_explains_is_a_violation() {
    let mut story = Story::new(Settings { unclean: true, ..SAFE });
    story.produce(3);
    story.change_isr(&[1]);
    story.produce(5);
    story.kill(1);
    story.lead(2, &[2], Election::Unclean);
    story.restart(1);
    story.follow(1);
    let mut story = story.finish();
    let read = final_read(&story);
    story.change(read, |observation| with_records(observation, |records| records[2] = None));
    assert_eq!(story.violated(), ["acked-survive"]);
    assert_eq!(witness(&story, "acked-survive").records[0].from, 2);
}

#[test]
fn less_lost_than_the_unclean_election_explains_is_a_violation_too() {
    let mut story = Story::new(Settings { unclean: true, ..SAFE });
    story.produce(3);
    story.change_isr(&[1]);
    let lost = story.produce(1);
    story.kill(1);
    story.lead(2, &[2], Election::Unclean);
    story.restart(1);
    story.follow(1);
    let mut story = story.finish();
    let read = final_read(&story);
    story.change(read, |observation| with_records(observation, |records| records[3] = Some(lost.records[0])));
    assert!(story.violated().contains(&"acked-survive"), "{:?}", story.violated());
}

#[test]
fn an_unclean_election_that_the_topic_forbids_is_found_and_its_loss_is_not_excused() {
    let mut story = Story::new(SAFE);
    story.produce(3);
    story.change_isr(&[1]);
    story.produce(5);
    story.kill(1);
    story.lead(2, &[2], Election::Unclean);
    story.restart(1);
    story.follow(1);
    assert_eq!(story.finish().violated(), ["acked-survive", "elections"]);
}

#[test]
fn a_member_that_joined_the_isr_without_the_records_does_not_excuse_their_loss() {
    // A04: an early expansion. The record's only holder leaves the ISR when it dies; that shrink may not excuse.
    let mut story = Story::new(SAFE);
    story.produce(2);
    story.change_isr(&[1]);
    story.produce(2);
    story.change_isr(&[1, 2]);
    story.kill(1);
    story.lead(2, &[2], Election::Clean);
    story.restart(1);
    story.follow(1);
    assert_eq!(story.finish().violated(), ["acked-survive", "high-watermark"]);
}

#[test]
fn a_crash_that_loses_the_page_cache_and_a_power_loss_that_loses_flushed_bytes_break_recovery() {
    let mut crash = tale();
    crash.kill(3);
    crash.logs.get_mut(&3).unwrap().pop();
    crash.change_isr(&[2]);
    crash.restart(3);
    assert_eq!(crash.finish().violated(), ["recovery"]);

    let mut power = tale();
    power.node(3, Observation::Flushed { tp: TP, to: 6 });
    power.change_isr(&[2]);
    power.power_off(3, 4);
    power.restart(3);
    assert_eq!(power.finish().violated(), ["recovery"]);

    let mut changed = tale();
    changed.change_isr(&[2]);
    changed.power_off(3, 6);
    changed.restart(3);
    let loaded = changed.last(|o| matches!(o, Observation::LogLoaded { .. }));
    changed.change(loaded, |observation| {
        let Observation::LogLoaded { digest, .. } = observation else { unreachable!() };
        *digest ^= 1;
    });
    assert!(changed.violated().contains(&"recovery"));
}

#[test]
fn a_wiped_disk_is_no_broken_recovery() {
    let mut story = tale();
    story.change_isr(&[2]);
    story.power_off(3, 0);
    story.world(World::DiskWiped { node: NodeId(3) });
    story.restart(3);
    assert_eq!(story.finish().violated(), Vec::<&str>::new());
}

#[test]
fn a_panic_is_a_violation_with_its_place() {
    let mut story = tale();
    story.world(World::Panicked {
        node: Some(NodeId(2)),
        task: "connection".into(),
        message: "a leader outside of its ISR".into(),
        location: "replica.rs:1".into(),
    });
    assert_eq!(story.violated(), ["no-panic"]);
    assert!(witness(&story, "no-panic").second.text.contains("node 2 panicked in connection at replica.rs:1"));
    assert_eq!(story.standing("serves-after-heal"), Standing::NotTested);
}

#[test]
fn a_cluster_that_does_not_come_to_rest_or_cannot_be_read_or_written_does_not_serve() {
    let mut restless = tale();
    restless.world(World::Healed);
    restless.world(World::Settled { ok: false, why: "orders-0 has no leader".into() });
    assert_eq!(restless.violated(), ["serves-after-heal"]);

    let mut ended = tale();
    ended.world(World::Healed);
    assert_eq!(ended.violated(), ["serves-after-heal"]);

    let mut unread = tale().finish();
    let last = unread.last(|o| matches!(o, Observation::FinallyRead { .. }));
    unread.change(last, |observation| {
        let Observation::FinallyRead { complete, .. } = observation else { unreachable!() };
        *complete = false;
    });
    assert_eq!(unread.violated(), ["serves-after-heal"]);

    let mut unwritten = tale().finish();
    let last = unwritten.last(|o| matches!(o, Observation::Ended { .. }));
    unwritten.change(last, |observation| {
        let Observation::Ended { outcome, .. } = observation else { unreachable!() };
        *outcome = Outcome::Unknown(ErrorCode::RequestTimedOut);
    });
    assert_eq!(unwritten.violated(), ["serves-after-heal"]);
}

#[test]
fn decisions_that_contradict_each_other_break_the_elections() {
    let mut story = tale();
    let decided = story.last(|o| matches!(o, Observation::PartitionChanged { .. }));
    let klamm_checkers::Event::Stack { observation, .. } = story.history.entries[decided].event.clone() else {
        unreachable!()
    };
    // Told once more by a controller that started again: nothing new.
    story.node(4, observation.clone());
    assert_eq!(story.violated(), Vec::<&str>::new());
    let other = story.node(4, observation);
    story.change(other, |observation| {
        let Observation::PartitionChanged { isr, .. } = observation else { unreachable!() };
        isr.pop();
    });
    assert_eq!(story.violated(), ["elections"]);
}

#[test]
fn what_was_answered_before_its_commit_and_then_lost_is_two_findings_and_the_answer_comes_first() {
    let mut story = Story::new(SAFE);
    story.produce(2);
    let records = story.invoke(P, 1);
    let batch = story.batch(records);
    let stored = story.append(1, 1, batch);
    story.answer(1, 1, &stored, false);
    story.acked(&stored);
    story.kill(1);
    story.lead(2, &[2, 3], Election::Clean);
    story.produce(1);
    story.restart(1);
    let story = story.finish();
    assert_eq!(story.judge().violated(), ["ack-after-commit", "acked-survive"]);
    assert!(witness(&story, "acked-survive").text.contains("never below a high watermark"));
}

#[test]
fn a_consumer_that_is_handed_what_was_never_committed_is_found() {
    let mut story = tale();
    let records = story.invoke(P, 1);
    let batch = story.batch(records.clone());
    story.append(2, 2, batch);
    story.client(C, Observation::Positioned { tp: TP, offset: 6 });
    let read = vec![Some(records[0])];
    story.client(C, Observation::Read { tp: TP, offset: 6, records: read, finally: false });
    story.commit();
    story.unknown(&records);
    let story = story.finish();
    assert_eq!(story.violated(), ["consumers-read-committed"]);
}
