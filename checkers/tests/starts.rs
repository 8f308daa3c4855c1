//! Logs that begin later than they did: what that excuses, and what it does not.

mod story;

use klamm_base::{Election, NodeId, Observation, Sequences, StartCause, TruncationCause};
use klamm_checkers::{Party, Phase, Standing, Verdict, World};
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

/// The start of node 1 moved to 2 and then to 4.
fn twice_later() -> Story {
    let mut story = three_segments();
    story.expire(1, 1, 1, 0);
    story.expire(1, 2, 2, 0);
    story
}

#[test]
fn a_log_is_found_again_where_it_was_told_to_begin_or_at_a_segment_before() {
    for found in [0, 2, 4] {
        let mut story = twice_later();
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
        let mut story = twice_later();
        story.kill(1);
        story.starts.insert(1, found);
        story.restart(1);
        assert!(story.violated().contains(&"recovery"), "found at {found}: {:?}", story.violated());
    }
}

#[test]
fn after_a_stop_in_good_order_a_log_begins_where_it_was_told_to_and_holds_all() {
    let told = |found: i64, keeps: i64, disk_failed: bool| {
        let mut story = twice_later();
        if disk_failed {
            let (device, fault, path) = (String::new(), "write-error".to_owned(), "data/orders-0".to_owned());
            story.world(World::DiskFault { node: NodeId(1), device, fault, path, phase: Phase::Struck });
        }
        story.stop(1);
        story.power_off(1, keeps);
        story.starts.insert(1, found);
        story.restart(1);
        story.violated()
    };
    assert_eq!(told(4, 8, false), Vec::<&str>::new());
    assert_eq!(told(2, 8, false), ["recovery"], "its start was checkpointed");
    assert_eq!(told(4, 6, false), ["recovery"], "it was flushed");
    assert_eq!(told(2, 8, true), Vec::<&str>::new(), "a failed disk takes no checkpoint");
    assert_eq!(told(4, 6, true), Vec::<&str>::new(), "nor a flush");
}

#[test]
fn nothing_comes_back_that_was_deleted_before_power_was_lost() {
    let told = |power: bool| {
        let mut story = three_segments();
        // It begins anew at 3, in a segment's middle, and then at 4.
        story.cut(1, 0, TruncationCause::OutOfRange);
        story.start(1, 3, StartCause::Leader);
        story.start(1, 4, StartCause::Leader);
        if power {
            story.power_off(1, 0);
        } else {
            story.kill(1);
        }
        story.restart_empty_at(1, 4);
        story.kill(1);
        story.restart_empty_at(1, 3);
        story.violated().contains(&"recovery")
    };
    assert!(told(true));
    assert!(!told(false));
}

#[test]
fn a_log_that_is_found_empty_behind_its_end_has_lost_all_that_it_held() {
    let told = |holds: bool| {
        let mut story = three_segments();
        everywhere(&mut story, 3, 3);
        // A cut takes it back to where it began, and its checkpoint still says 6.
        story.cut(3, 0, TruncationCause::OutOfRange);
        if holds {
            story.replicate(1, 3);
        }
        story.kill(3);
        story.restart_empty_at(3, 6);
        story.violated().contains(&"recovery")
    };
    assert!(told(true));
    assert!(!told(false));
}

#[test]
fn what_stands_behind_the_start_must_be_found_unchanged() {
    let mut story = twice_later();
    story.kill(1);
    story.logs.get_mut(&1).expect("it has one")[3].id += 1;
    story.restart(1);
    assert_eq!(story.violated(), ["recovery"]);
}

#[test]
fn records_that_nobody_asked_to_delete_are_deleted_by_no_rule() {
    let mut story = three_segments();
    for node in 1..=3 {
        story.start(node, 4, StartCause::DeleteRecords);
    }
    assert_eq!(story.finish_from(4).violated(), ["acked-survive", "retention-exact"]);
}

#[test]
fn a_check_is_held_to_what_else_is_known() {
    type Change = fn(&mut Observation);
    let changes: [Change; 5] = [
        |_| {},
        |it| {
            if let Observation::RetentionRan { high_watermark, .. } = it {
                *high_watermark -= 1
            }
        },
        |it| {
            if let Observation::RetentionRan { retention_ms, .. } = it {
                *retention_ms += 1
            }
        },
        |it| {
            if let Observation::RetentionRan { retention_bytes, .. } = it {
                *retention_bytes = 1 << 20
            }
        },
        |it| {
            if let Observation::RetentionRan { wall_ms, .. } = it {
                *wall_ms -= 2
            }
        },
    ];
    for (at, change) in changes.into_iter().enumerate() {
        let mut story = three_segments();
        story.expire(2, 0, 0, 0);
        let ran = story.expire(1, 0, 0, 0);
        story.change(ran, change);
        let expected: &[&str] = if at == 0 { &[] } else { &["retention-exact"] };
        assert_eq!(story.violated(), expected, "change {at}");
    }
}

#[test]
fn a_segment_is_as_old_as_the_newest_timestamp_that_was_appended_to_it() {
    let told = |newest_ms: i64| {
        let mut story = three_segments();
        for stamp in [9, 7] {
            let records = story.invoke(story::P, 1);
            let batch = story.batch(records);
            story.append(1, 1, story::Batch { stamp, ..batch });
        }
        let ran = story.expire(1, 0, 0, 0);
        story.change(ran, |it| {
            let Observation::RetentionRan { segments, .. } = it else { return };
            let last = segments.len() - 1;
            segments[last].newest_ms = newest_ms;
            segments.truncate(last + 1);
        });
        story.standing("retention-exact")
    };
    assert_ne!(told(9), Standing::Violated);
    assert_eq!(told(7), Standing::Violated);
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
    // The same, where only followers begin later.
    let mut others = story.history.clone();
    others.entries.retain(|entry| {
        let text = format!("{:?}", entry.event);
        !(text.contains("Node(1)") || text.contains("NodeId(1)")) || !text.contains("LogStartMoved")
    });
    assert!(seen(&others).violated().contains(&"lost-write"), "{:?}", seen(&others).violated());
}

#[test]
fn of_a_batch_in_whose_middle_a_leaders_log_begins_the_first_records_are_gone_and_the_last_are_not() {
    let told = |first: i64| {
        let mut story = three_segments();
        // A spoilt answer tells node 2 to begin at 3, between the two records of a batch, and then it leads.
        let (one, two) = (Party::Node(NodeId(1)), Party::Node(NodeId(2)));
        story.corrupt(one, two, "fetch");
        story.start(2, 3, StartCause::Leader);
        story.lead(2, &[1, 2, 3], Election::Clean);
        story.finish_from(first).violated()
    };
    assert_eq!(told(3), Vec::<&str>::new());
    assert_eq!(told(4), ["acked-survive"], "the second record of that batch");
}

#[test]
fn logs_that_part_below_the_start_of_one_that_never_led_are_compared() {
    let told = |led: bool| {
        let mut story = Story::new(SAFE);
        story.produce(2);
        story.change_isr(&[1, 3]);
        let records = story.invoke(story::P, 1);
        let stale = story.batch(records);
        story.store(2, story::Batch { base: 2, epoch: 1, ..stale }, true);
        story.lead(3, &[1, 3], Election::Clean);
        story.produce(1);
        story.roll(3);
        story.roll(1);
        story.produce(1);
        let deletes = if led { 3 } else { 1 };
        story.node(1, Observation::BecameFollower { tp: TP, leader_epoch: 2, leader: Some(NodeId(3)) });
        story.mark(1, 2, 4, false);
        story.expire(deletes, 1, 1, 0);
        let later = story.logs[&3].last().expect("it was produced").clone();
        story.store(2, later, false);
        story.violated().contains(&"log-matching")
    };
    assert!(!told(true));
    assert!(told(false));
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

#[test]
fn a_producer_that_must_begin_a_new_epoch_writes_again_what_was_in_flight_behind_a_deleted_batch() {
    let told = |told_of_first: bool, deleted: bool, again_in: i16| {
        let mut story = Story::new(SAFE);
        let write = |story: &mut Story, sequence: i32| {
            let records = story.invoke(story::P, 1);
            let producer = Sequences { producer_id: 5, producer_epoch: 0, first: sequence, last: sequence };
            let batch = story::Batch { producer: Some(producer), ..story.batch(records) };
            let batch = story.append(1, 0, batch);
            story.commit();
            batch
        };
        let first = write(&mut story, 0);
        (1..=3).for_each(|node| story.roll(node));
        let second = write(&mut story, 1);
        story.answer(1, 0, &first, false);
        if told_of_first {
            story.acked(&first);
        } else {
            story.unknown(&first.records);
        }
        if deleted {
            everywhere(&mut story, 1, 1);
        }
        let producer = Sequences { producer_id: 5, producer_epoch: again_in, first: 0, last: 0 };
        let again = story.append(1, 0, story::Batch { producer: Some(producer), ..second });
        story.commit();
        story.answer(1, 0, &again, false);
        story.acked(&again);
        story.finish_from(i64::from(deleted)).violated().contains(&"idempotence")
    };
    assert!(!told(false, true, 1));
    assert!(told(true, true, 1), "it knew of the first one");
    assert!(told(false, false, 1), "its broker knows of the first one");
    assert!(told(false, true, 0), "in the same epoch");
}

#[test]
fn a_log_that_began_anew_may_be_found_as_it_was_before_and_one_that_did_not_may_not() {
    let told = |cut: bool| {
        let mut story = twice_later();
        story.change_isr(&[1, 2]);
        story.expire(3, 2, 2, 0);
        let before = story.logs[&3].clone();
        if cut {
            story.cut(3, 0, TruncationCause::OutOfRange);
        } else {
            story.power_off(3, 0);
            story.restart_empty_at(3, 0);
        }
        // The cut did not reach the disk.
        story.kill(3);
        story.logs.insert(3, before);
        story.starts.insert(3, 4);
        story.restart(3);
        story.violated().contains(&"recovery")
    };
    assert!(!told(true));
    assert!(told(false));
}

#[test]
fn a_log_that_began_anew_may_be_found_with_what_nobody_told_of_at_its_end() {
    let told = |ends_elsewhere: bool| {
        let mut story = three_segments();
        // Node 3 wrote a batch that nobody told of, is found with it, and deletes its first segment.
        let records = story.invoke(story::P, 1);
        let batch = story::Batch { base: 8, epoch: 0, ..story.batch(records) };
        story.logs.get_mut(&3).expect("it has one").push(batch);
        story.kill(3);
        story.restart(3);
        story.start(3, 2, StartCause::Leader);
        let before = story.logs[&3].clone();
        story.cut(3, 0, TruncationCause::OutOfRange);
        story.start(3, 10, StartCause::Leader);
        story.kill(3);
        story.logs.insert(3, before);
        if ends_elsewhere {
            story.logs.get_mut(&3).expect("it has one").pop();
            story.logs.get_mut(&3).expect("it has one")[3].id += 1;
        }
        story.starts.insert(3, 2);
        story.restart(3);
        story.violated().contains(&"recovery")
    };
    assert!(!told(false));
    assert!(told(true));
}
