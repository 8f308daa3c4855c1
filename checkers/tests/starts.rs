//! Logs that begin later than they did: what that excuses, and what it does not.

mod story;

use klamm_base::{Election, NodeId, Observation, StartCause, TruncationCause};
use klamm_checkers::{Standing, Verdict, World};
use story::{KEPT_MS, SAFE, Story, TP};

/// Three batches of two records each, in segments of one batch each, everywhere.
fn three_segments() -> Story {
    let mut story = Story::new(SAFE);
    for _ in 0..3 {
        story.produce(2);
        (1..=3).for_each(|node| story.roll(node));
    }
    story.produce(2);
    story
}

/// Every replica deletes its first segments.
fn everywhere(story: &mut Story, old: usize, deleted: usize) {
    for node in 1..=3 {
        story.expire(node, old, deleted, 0);
    }
}

#[test]
fn what_every_replica_deleted_by_rule_nobody_need_find() {
    let mut story = three_segments();
    everywhere(&mut story, 2, 2);
    let story = story.finish_from(4);
    assert_eq!(story.violated(), Vec::<&str>::new(), "{:#?}", story.judge().verdicts);
    assert_eq!(story.standing("retention-exact"), Standing::Held);
}

#[test]
fn what_only_a_follower_deleted_its_leader_must_still_show() {
    let mut story = three_segments();
    story.expire(2, 2, 2, 0);
    assert_eq!(story.finish_from(4).violated(), ["acked-survive"]);
}

#[test]
fn a_follower_that_deleted_more_may_lead_and_then_it_is_gone_for_all() {
    let mut story = three_segments();
    story.expire(2, 2, 2, 0);
    story.kill(1);
    story.lead(2, &[2, 3], Election::Clean);
    story.restart(1);
    let story = story.finish_from(4);
    assert_eq!(story.violated(), Vec::<&str>::new(), "{:#?}", story.judge().verdicts);
}

#[test]
fn a_deletion_that_was_not_due_excuses_nothing() {
    let mut story = three_segments();
    everywhere(&mut story, 0, 2);
    assert_eq!(story.finish_from(4).violated(), ["acked-survive", "retention-exact"]);
}

#[test]
fn a_check_that_leaves_what_was_due_is_named() {
    let mut story = three_segments();
    story.expire(1, 2, 1, 0);
    assert_eq!(story.violated(), ["retention-exact"]);
}

#[test]
fn a_log_that_is_wholly_out_of_date_is_empty_and_stays_so() {
    let mut story = three_segments();
    everywhere(&mut story, 4, 4);
    (1..=3).for_each(|node| story.roll(node));
    story.kill(2);
    story.restart(2);
    let story = story.finish_from(8);
    assert_eq!(story.violated(), Vec::<&str>::new(), "{:#?}", story.judge().verdicts);
}

#[test]
fn a_log_is_found_again_where_it_was_told_to_begin_or_at_a_segment_before() {
    for found in [0, 2, 3, 4] {
        let mut story = three_segments();
        story.start(1, 3, StartCause::DeleteRecords);
        story.start(1, 4, StartCause::DeleteRecords);
        story.kill(1);
        story.starts.insert(1, found);
        story.restart(1);
        let violated = story.violated();
        assert_eq!(violated, Vec::<&str>::new(), "found at {found}: {:#?}", story.judge().verdicts);
    }
}

#[test]
fn a_log_that_is_found_to_begin_where_nobody_said_is_named() {
    for found in [1, 5, 6] {
        let mut story = three_segments();
        story.start(1, 4, StartCause::DeleteRecords);
        story.kill(1);
        story.starts.insert(1, found);
        story.restart(1);
        assert!(story.violated().contains(&"recovery"), "found at {found}: {:?}", story.violated());
    }
}

#[test]
fn what_stands_behind_the_start_must_be_found_unchanged() {
    let mut story = three_segments();
    story.start(1, 4, StartCause::DeleteRecords);
    story.kill(1);
    story.logs.get_mut(&1).expect("it has one")[3].id += 1;
    story.restart(1);
    assert_eq!(story.violated(), ["recovery"]);
}

#[test]
fn a_crash_with_an_append_that_nobody_told_of_is_understood_behind_a_start_too() {
    let mut story = three_segments();
    everywhere(&mut story, 1, 1);
    // Node 1 wrote one more batch and did not live to tell.
    let records = story.invoke(story::P, 1);
    let batch = story.batch(records);
    let batch = story::Batch { base: 8, epoch: 1, ..batch };
    story.logs.get_mut(&1).expect("it has one").push(batch);
    story.kill(1);
    story.restart(1);
    story.lead(1, &[1, 2, 3], Election::None);
    story.commit();
    story.kill(1);
    story.restart(1);
    let violated = story.violated();
    assert_eq!(violated, Vec::<&str>::new(), "{:#?}", story.judge().verdicts);
}

#[test]
fn a_follower_behind_its_leaders_start_begins_there_anew() {
    let mut story = Story::new(SAFE);
    story.produce(2);
    story.change_isr(&[1, 2]);
    story.roll(1);
    story.produce(2);
    story.roll(1);
    story.produce(2);
    story.expire(1, 2, 2, 0);
    story.cut(3, 0, TruncationCause::OutOfRange);
    story.start(3, 4, StartCause::Leader);
    story.mark(3, 1, 4, false);
    let later = story.logs[&1][2].clone();
    story.store(3, later, false);
    story.change_isr(&[1, 2, 3]);
    // It may lead, and what stood below is not lost.
    story.lead(3, &[2, 3], Election::Clean);
    let violated = story.violated();
    assert_eq!(violated, Vec::<&str>::new(), "{:#?}", story.judge().verdicts);
}

#[test]
fn a_start_that_no_leader_has_is_taken_from_nobody() {
    let mut story = three_segments();
    story.start(3, 4, StartCause::Leader);
    assert_eq!(story.violated(), ["retention-exact"]);
}

#[test]
fn a_clock_that_jumped_deletes_what_it_says_and_that_is_the_price_of_the_clock() {
    let mut story = three_segments();
    story.expire(2, 0, 0, 0);
    let off_ms = 10 * KEPT_MS;
    story.world(World::FaultStruck { what: "clock-jump".into() });
    story.world(World::ClockSet { node: NodeId(3), offset_ms: off_ms });
    let ran = story.expire(3, 2, 2, off_ms);
    // By the true time nothing but the first segment is old.
    story.change(ran, |it| {
        let Observation::RetentionRan { segments, wall_ms, .. } = it else { return };
        segments[0].newest_ms = *wall_ms - off_ms - KEPT_MS - 1;
    });
    let story = story.finish();
    assert_eq!(story.violated(), Vec::<&str>::new(), "{:#?}", story.judge().verdicts);
    let Verdict::Allowed { losses, .. } = &story.judge().verdicts["retention-exact"] else {
        panic!("a cost was expected: {:?}", story.judge().verdicts["retention-exact"])
    };
    assert_eq!(losses.len(), 1);
    assert_eq!(losses[0].setting, "fault: wall clock");
    let stretch = &losses[0].records[0];
    assert_eq!((stretch.tp, stretch.from, stretch.to), (TP, 2, 4));
}

#[test]
fn clients_alone_take_what_was_deleted_by_rule_for_no_loss() {
    let mut story = three_segments();
    story.read(story::C, 1, 0, 2, false);
    everywhere(&mut story, 2, 2);
    story.client(story::C, Observation::Positioned { tp: TP, offset: 4 });
    story.read(story::C, 1, 4, 8, false);
    let story = story.finish_from(4);
    let seen = |history| {
        let operations = klamm_checkers::blackbox::Operations::of(history).expect("a sound history");
        klamm_checkers::blackbox::judge(&operations, klamm_checkers::blackbox::Looking::default())
    };
    assert_eq!(seen(&story.history).violated(), Vec::<&str>::new());
    // The same readings without a word of where logs begin.
    let mut silent = story.history.clone();
    silent.entries.retain(|entry| !format!("{:?}", entry.event).contains("LogStartMoved"));
    assert!(seen(&silent).violated().contains(&"lost-write"), "{:?}", seen(&silent).violated());
}

#[test]
fn logs_that_part_below_the_leaders_start_need_not_be_compared() {
    let mut story = Story::new(SAFE);
    story.produce(2);
    story.change_isr(&[1, 3]);
    // Node 2 keeps a batch that nobody committed, and node 1 another one in its place.
    let records = story.invoke(story::P, 1);
    let stale = story.batch(records);
    story.store(2, story::Batch { base: 2, epoch: 1, ..stale }, true);
    story.lead(3, &[1, 3], Election::Clean);
    story.produce(1);
    story.roll(3);
    story.roll(1);
    story.expire(3, 1, 1, 0);
    story.mark(2, 2, 3, false);
    story.start(2, 3, StartCause::Leader);
    story.produce(1);
    let later = story.logs[&3].last().expect("it was produced").clone();
    story.store(2, later, false);
    story.kill(2);
    story.restart(2);
    let violated = story.violated();
    assert!(!violated.contains(&"log-matching") && !violated.contains(&"high-watermark"), "{violated:?}");
    assert!(!violated.contains(&"recovery"), "{violated:?}");
}
