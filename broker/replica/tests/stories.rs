//! The core stories of replication, as dialogues.

mod stage;

use klamm_base::{ErrorCode, Guard, Guards};
use klamm_replica::{AlterFailure, Event, Role};
use stage::{LAG_MS, Setting, Stage, plain, sequenced, state, timed};

/// Three brokers, b1 leads, all in sync.
fn three(setting: Setting) -> Stage {
    let mut stage = Stage::new(setting);
    stage.all_learn(Some(1), (1, 1), &[1, 2, 3]);
    for id in [2, 3] {
        stage.fetch(id);
    }
    stage.text.clear();
    stage
}

fn without_epochs() -> Setting {
    Setting { guards: Guards::without(&[Guard::EpochTruncation]), ..Setting::default() }
}

#[test]
fn a_leader_with_two_followers_commits_when_both_have_fetched() {
    let mut stage = Stage::new(Setting::default());
    stage.all_learn(Some(1), (1, 1), &[1, 2, 3]);
    stage.produce(1, 1, -1, plain(3));
    stage.produce(1, 2, 1, plain(1));
    stage.consume(1, 0);
    for id in [2, 3, 2, 3] {
        stage.fetch(id);
    }
    stage.consume(1, 0);
    stage.say("a follower learns one fetch later what is committed");
    stage.fetch(2);
    insta::assert_snapshot!(stage.text);
}

#[test]
fn an_acknowledgement_waits_for_the_write() {
    let mut stage = Stage::new(Setting { brokers: 1, ..Setting::default() });
    stage.all_learn(Some(1), (1, 1), &[1]);
    stage.slow_disk(1, true);
    stage.produce(1, 1, 1, plain(1));
    stage.produce(1, 2, -1, plain(1));
    stage.produce(1, 3, 0, plain(1));
    stage.slow_disk(1, false);
    insta::assert_snapshot!(stage.text);
}

#[test]
fn a_follower_truncates_where_the_epochs_part() {
    let mut stage = three(Setting::default());
    stage.produce(1, 1, -1, plain(2));
    stage.fetch(2);
    stage.fetch(3);
    stage.produce(1, 2, 1, plain(3));
    stage.say("-- b1 is cut off with 2..5 alone; b2 is elected");
    stage.state(2, Some(2), (2, 2), &[2, 3]);
    stage.state(3, Some(2), (2, 2), &[2, 3]);
    stage.produce(2, 3, -1, plain(1));
    stage.fetch(3);
    stage.fetch(3);
    stage.say("-- b1 comes back");
    stage.state(1, Some(2), (2, 2), &[2, 3]);
    stage.fetch(1);
    stage.fetch(1);
    stage.fetch(1);
    assert_eq!(stage.replica(1).digest(), stage.replica(2).digest());
    insta::assert_snapshot!(stage.text);
}

#[test]
fn an_epoch_that_the_leader_never_saw_goes_whole() {
    // KIP-279: b1 led epoch 1, b2 led epoch 2 and appended alone, b1 leads epoch 3 and appends past b2's end.
    let mut stage = Stage::new(Setting { brokers: 2, ..Setting::default() });
    stage.all_learn(Some(1), (1, 1), &[1, 2]);
    stage.produce(1, 1, 1, plain(2));
    stage.fetch(2);
    stage.say("-- b2 is elected and appends alone");
    stage.state(2, Some(2), (2, 2), &[2]);
    stage.produce(2, 2, 1, plain(3));
    stage.say("-- b1 is elected and appends past b2's end");
    stage.state(1, Some(1), (3, 3), &[1]);
    stage.produce(1, 3, 1, plain(7));
    stage.state(2, Some(1), (3, 3), &[1]);
    for _ in 0..3 {
        stage.fetch(2);
    }
    assert_eq!(stage.replica(1).digest(), stage.replica(2).digest());
    insta::assert_snapshot!(stage.text);
}

#[test]
fn epochs_are_compared_one_by_one_until_one_is_shared() {
    let mut stage = Stage::new(Setting { brokers: 2, ..Setting::default() });
    stage.all_learn(Some(1), (1, 1), &[1, 2]);
    stage.produce(1, 1, 1, plain(2));
    stage.fetch(2);
    stage.say("-- b2 leads epochs 2 and 4, b1 leads 3 and 5; neither hears of the other");
    for (id, epoch) in [(2, 2), (1, 3), (2, 4), (1, 5)] {
        stage.state(id, Some(id), (epoch, epoch), &[id]);
        stage.produce(id, epoch as u64, 1, plain(2));
    }
    stage.state(2, Some(1), (5, 5), &[1]);
    for _ in 0..4 {
        stage.fetch(2);
    }
    assert_eq!(stage.replica(1).digest(), stage.replica(2).digest());
    insta::assert_snapshot!(stage.text);
}

/// b1 commits 0..2 with b2 and b3, which do not know it yet, and dies; b2 is elected, then dies before b3 has fetched.
fn two_leaders_die(setting: Setting) -> Stage {
    let mut stage = three(setting);
    stage.produce(1, 1, -1, plain(2));
    for id in [2, 3, 3, 2] {
        stage.fetch(id);
    }
    assert_eq!((stage.replica(1).high_watermark(), stage.replica(3).high_watermark()), (2, 0));
    stage.say("-- b1 dies; b2 is elected; b3 follows it and has not fetched when b2 dies too");
    stage.state(2, Some(2), (2, 2), &[2, 3]);
    stage.state(3, Some(2), (2, 2), &[2, 3]);
    stage.state(3, Some(3), (3, 3), &[3]);
    stage
}

#[test]
fn with_epochs_an_acknowledged_record_survives_two_leaders() {
    let mut stage = two_leaders_die(Setting::default());
    stage.consume(3, 0);
    assert_eq!(stage.replica(3).log_end_offset(), 2);
    insta::assert_snapshot!(stage.text);
}

#[test]
fn without_epochs_an_acknowledged_record_is_lost() {
    let mut stage = two_leaders_die(without_epochs());
    stage.consume(3, 0);
    assert_eq!(stage.replica(3).log_end_offset(), 0, "A01: cut to a high watermark that was one fetch old");
    insta::assert_snapshot!(stage.text);
}

#[test]
fn without_epochs_a_follower_that_is_ahead_is_cut_to_the_leaders_end() {
    let mut stage = Stage::new(Setting { brokers: 2, ..without_epochs() });
    stage.all_learn(Some(1), (1, 1), &[1]);
    stage.produce(1, 1, 1, plain(2));
    stage.say("-- an empty b2 leads: 0..2 were committed by b1 alone");
    stage.state(2, Some(2), (2, 2), &[2]);
    stage.state(1, Some(2), (2, 2), &[2]);
    stage.fetch(1);
    stage.produce(2, 2, 1, plain(1));
    stage.fetch(1);
    assert_eq!(stage.replica(1).digest(), stage.replica(2).digest());
    insta::assert_snapshot!(stage.text);
}

#[test]
fn under_min_isr_nothing_is_committed() {
    let mut stage = Stage::new(Setting { min_insync_replicas: 2, ..Setting::default() });
    stage.all_learn(Some(1), (1, 1), &[1, 2]);
    stage.fetch(2);
    stage.produce(1, 1, -1, plain(1));
    stage.say("-- b2 leaves the ISR before it has fetched");
    stage.state(1, Some(1), (1, 2), &[1]);
    stage.produce(1, 2, -1, plain(1));
    stage.produce(1, 3, 1, plain(1));
    stage.consume(1, 0);
    stage.say("-- b2 comes back");
    stage.fetch(2);
    stage.fetch(2);
    stage.altered(1, (1, 3), &[1, 2]);
    insta::assert_snapshot!(stage.text);
}

#[test]
fn a_produce_that_is_not_committed_in_time_ends_with_a_timeout() {
    let mut stage = three(Setting::default());
    stage.produce(1, 1, -1, plain(1));
    stage.pass(30_000);
    stage.timer(1);
    insta::assert_snapshot!(stage.text);
}

#[test]
fn a_shrink_that_is_not_confirmed_commits_nothing() {
    let mut stage = three(Setting { min_insync_replicas: 2, ..Setting::default() });
    stage.produce(1, 1, -1, plain(1));
    stage.pass(LAG_MS / 2 + 1);
    stage.fetch(2);
    stage.timer(1);
    stage.pass(LAG_MS / 2 + 1);
    stage.fetch(2);
    stage.timer(1);
    stage.say("-- b3 lags; the proposal is lost, and asked again");
    stage.fetch(2);
    stage.not_altered(1, AlterFailure::Lost);
    stage.pass(50);
    stage.timer(1);
    stage.say("-- the first one had arrived: the controller knows a newer partition epoch, metadata will tell");
    stage.not_altered(1, AlterFailure::Code(ErrorCode::InvalidUpdateVersion));
    stage.fetch(2);
    stage.state(1, Some(1), (1, 2), &[1, 2]);
    insta::assert_snapshot!(stage.text);
}

#[test]
fn without_the_guard_a_shrink_counts_before_it_is_confirmed() {
    let guards = Guards::without(&[Guard::ConfirmedIsrShrink]);
    let mut stage = three(Setting { min_insync_replicas: 2, guards, ..Setting::default() });
    stage.produce(1, 1, -1, plain(1));
    stage.pass(LAG_MS / 2 + 1);
    stage.fetch(2);
    stage.timer(1);
    stage.pass(LAG_MS / 2 + 1);
    stage.fetch(2);
    stage.timer(1);
    stage.say("-- b3 lags and may still be elected: nobody has heard the proposal");
    stage.fetch(2);
    stage.not_altered(1, AlterFailure::Lost);
    insta::assert_snapshot!(stage.text);
}

#[test]
fn a_follower_joins_the_isr_when_it_has_what_is_committed_and_what_came_before_the_epoch() {
    let mut stage = Stage::new(Setting::default());
    stage.all_learn(Some(1), (1, 1), &[1, 2]);
    stage.produce(1, 1, 1, plain(2));
    stage.fetch(2);
    stage.fetch(2);
    stage.produce(1, 2, 1, plain(2));
    stage.fetch(2);
    stage.say("-- b2 is elected: 2..4 were committed, which it does not know");
    stage.state(2, Some(2), (2, 2), &[1, 2]);
    stage.state(3, Some(2), (2, 2), &[1, 2]);
    stage.fetch(3);
    stage.fetch(3);
    stage.altered(2, (2, 3), &[1, 2, 3]);
    insta::assert_snapshot!(stage.text);
}

#[test]
fn a_refused_member_is_taken_back_and_another_incarnation_is_not_proposed() {
    let mut stage = Stage::new(Setting { brokers: 2, ..Setting::default() });
    stage.all_learn(Some(1), (1, 1), &[1]);
    stage.fetch(2);
    stage.not_altered(1, AlterFailure::Code(ErrorCode::IneligibleReplica));
    stage.say("-- metadata lists a new incarnation of b2; the old one fetches");
    let mut newer = state(Some(1), (1, 1), &[1, 2], &[1]);
    newer.eligible[1].1 = 200;
    stage.step(1, Event::State(newer));
    stage.fetch(2);
    insta::assert_snapshot!(stage.text);
}

#[test]
fn late_answers_of_the_controller_are_dropped() {
    let mut stage = Stage::new(Setting { brokers: 2, ..Setting::default() });
    stage.all_learn(Some(1), (1, 1), &[1]);
    stage.fetch(2);
    stage.say("-- metadata overtakes the answer");
    stage.state(1, Some(1), (1, 3), &[1]);
    stage.altered(1, (1, 2), &[1, 2]);
    assert_eq!(stage.replica(1).partition_epoch(), 3);
    stage.fetch(2);
    stage.say("-- the answer comes after another election");
    stage.state(1, Some(2), (2, 4), &[2]);
    stage.altered(1, (1, 4), &[1, 2]);
    assert_eq!(stage.replica(1).isr(), [klamm_base::NodeId(2)]);
    insta::assert_snapshot!(stage.text);
}

#[test]
fn metadata_without_a_new_epoch_leaves_a_change_in_flight_alone() {
    let mut stage = Stage::new(Setting { brokers: 2, ..Setting::default() });
    stage.all_learn(Some(1), (1, 1), &[1]);
    stage.fetch(2);
    stage.state(1, Some(1), (1, 1), &[1]);
    stage.produce(1, 1, -1, plain(1));
    assert_eq!(stage.replica(1).high_watermark(), 0, "b2 counts, though it is not committed");
    stage.fetch(2);
    stage.fetch(2);
    insta::assert_snapshot!(stage.text);
}

#[test]
fn late_answers_of_a_leader_are_dropped() {
    let mut stage = three(Setting::default());
    stage.produce(1, 1, 1, plain(2));
    let asked = stage.replica(2).next_fetch().unwrap();
    let late = stage.ask(1, 2, &asked);
    stage.fetch(2);
    stage.say("-- the same records again, then the same from an older epoch");
    stage.step(2, Event::FetchAnswer(late.clone()));
    stage.state(2, Some(3), (2, 2), &[2, 3]);
    let end = stage.replica(2).log_end_offset();
    stage.step(2, Event::FetchAnswer(klamm_replica::FollowerAnswer { fetch_offset: end, ..late }));
    assert_eq!(stage.replica(2).log_end_offset(), 2);
    insta::assert_snapshot!(stage.text);
}

#[test]
fn requests_of_another_epoch_are_fenced() {
    let mut stage = three(Setting::default());
    stage.say("-- b1 leads on in epoch 2, b2 has not heard of it");
    stage.state(1, Some(1), (2, 2), &[1, 2, 3]);
    stage.produce(1, 1, -1, plain(1));
    stage.fetch(2);
    stage.say("-- b3 has heard of an epoch 3");
    stage.state(3, Some(1), (3, 3), &[1, 3]);
    stage.fetch(3);
    assert_eq!(stage.replica(1).high_watermark(), 0, "neither was an acknowledgement");
    assert_eq!(stage.replica(1).epoch_end(1, 1), Err(ErrorCode::FencedLeaderEpoch));
    assert_eq!(stage.replica(1).epoch_end(2, 1), Ok((1, 0)));
    insta::assert_snapshot!(stage.text);
}

#[test]
fn a_produce_ends_when_the_leadership_does() {
    let mut stage = three(Setting::default());
    stage.produce(1, 1, -1, plain(1));
    stage.slow_disk(1, true);
    stage.produce(1, 2, 1, plain(1));
    stage.state(1, Some(2), (2, 2), &[2, 3]);
    stage.produce(1, 3, 1, plain(1));
    stage.fetch(1);
    stage.slow_disk(1, false);
    assert!(stage.replica(1).next_fetch().is_some());
    insta::assert_snapshot!(stage.text);
}

#[test]
fn a_leadership_begins_when_earlier_writes_are_done() {
    let mut stage = three(Setting::default());
    stage.produce(1, 1, 1, plain(2));
    stage.slow_disk(2, true);
    stage.fetch(2);
    stage.state(2, Some(2), (2, 2), &[1, 2, 3]);
    assert_eq!(stage.replica(2).role(), Role::Follower(None));
    stage.produce(2, 2, 1, plain(1));
    stage.slow_disk(2, false);
    assert_eq!(stage.replica(2).role(), Role::Leader);
    stage.produce(2, 3, 1, plain(1));
    insta::assert_snapshot!(stage.text);
}

#[test]
fn a_repeated_batch_is_answered_from_the_window() {
    let mut stage = three(Setting::default());
    for i in 0..3 {
        stage.produce(1, i as u64, 1, sequenced(i * 2, 2));
    }
    stage.say("-- again");
    stage.produce(1, 10, 1, sequenced(0, 2));
    stage.produce(1, 11, -1, sequenced(2, 2));
    stage.fetch(2);
    stage.fetch(3);
    stage.fetch(2);
    stage.fetch(3);
    assert_eq!(stage.replica(1).log_end_offset(), 6);
    insta::assert_snapshot!(stage.text);
}

#[test]
fn a_gap_in_the_sequence_is_refused() {
    let mut stage = three(Setting::default());
    stage.produce(1, 1, 1, sequenced(0, 2));
    stage.produce(1, 2, 1, sequenced(4, 2));
    insta::assert_snapshot!(stage.text);
}

#[test]
fn a_new_leader_knows_the_producers_of_the_old_one() {
    let mut stage = three(Setting::default());
    stage.produce(1, 1, 1, sequenced(0, 2));
    stage.fetch(2);
    stage.state(2, Some(2), (2, 2), &[2, 3]);
    stage.produce(2, 2, 1, sequenced(0, 2));
    stage.produce(2, 3, 1, sequenced(2, 2));
    insta::assert_snapshot!(stage.text);
}

#[test]
fn a_new_leader_does_not_tell_the_latest_offset_before_it_knows_it() {
    let mut stage = three(Setting::default());
    stage.produce(1, 1, -1, plain(2));
    for id in [2, 3] {
        stage.fetch(id);
    }
    stage.say("-- b2 is elected and does not know that 0..2 is committed");
    stage.state(2, Some(2), (2, 2), &[2, 3]);
    stage.list(2, -1);
    stage.list(2, -2);
    stage.state(3, Some(2), (2, 2), &[2, 3]);
    stage.fetch(3);
    stage.list(2, -1);
    stage.list(2, 1_000_001);
    stage.list(2, 9_000_000);
    stage.list(2, -3);
    insta::assert_snapshot!(stage.text);
}

/// One broker that leads alone.
fn alone() -> Stage {
    let mut stage = Stage::new(Setting { brokers: 1, ..Setting::default() });
    stage.all_learn(Some(1), (1, 1), &[1]);
    stage.text.clear();
    stage
}

#[test]
fn a_time_is_found_where_the_log_starts_inside_of_a_batch() {
    let mut stage = alone();
    stage.produce(1, 1, 1, timed(&[9_000, 2_000, 3_000]));
    stage.produce(1, 2, 1, timed(&[1_000, 4_000]));
    stage.produce(1, 3, 1, timed(&[2_500]));
    stage.list(1, 1_500);
    stage.list(1, -3);
    stage.delete_records(1, 1);
    stage.list(1, 1_500);
    stage.say("the deleted record counts no more, and what the header of its batch says of it neither");
    stage.list(1, 3_500);
    stage.list(1, -3);
    stage.delete_records(1, 5);
    stage.list(1, 1_500);
    stage.list(1, -3);
    insta::assert_snapshot!(stage.text);
}

#[test]
fn the_greatest_time_may_be_left_in_the_batch_in_which_the_log_starts() {
    let mut stage = alone();
    stage.produce(1, 1, 1, timed(&[9_000, 2_000, 8_000]));
    stage.produce(1, 2, 1, timed(&[7_000]));
    stage.delete_records(1, 1);
    stage.list(1, -3);
    insta::assert_snapshot!(stage.text);
}

#[test]
fn a_search_for_a_time_goes_on_behind_a_batch_that_compaction_emptied() {
    let mut stage = alone();
    stage.produce(1, 1, 1, timed(&[5_000]).header.emptied());
    stage.produce(1, 2, 1, timed(&[4_000]));
    stage.produce(1, 3, 1, timed(&[4_500]).header.emptied());
    stage.list(1, 3_000);
    stage.list(1, 4_200);
    stage.list(1, -3);
    insta::assert_snapshot!(stage.text);
}

#[test]
fn a_fetch_beyond_the_log_is_out_of_range() {
    let mut stage = three(Setting::default());
    stage.produce(1, 1, 1, plain(2));
    stage.consume(1, 2);
    stage.consume(1, 3);
    stage.consume(2, 0);
    insta::assert_snapshot!(stage.text);
}

#[test]
fn a_follower_about_to_join_holds_the_high_watermark_until_it_falls_silent() {
    let mut stage = three(Setting::default());
    stage.state(1, Some(1), (1, 2), &[1, 2]);
    stage.fetch(3);
    stage.not_altered(1, AlterFailure::Code(ErrorCode::IneligibleReplica));
    stage.produce(1, 1, -1, plain(1));
    stage.fetch(2);
    stage.fetch(2);
    assert_eq!(stage.replica(1).high_watermark(), 0, "b3 was caught up a moment ago");
    stage.pass(LAG_MS + 1);
    stage.fetch(2);
    stage.timer(1);
    assert_eq!(stage.replica(1).high_watermark(), 1);
    insta::assert_snapshot!(stage.text);
}

#[test]
fn a_restarted_replica_has_its_log_and_learns_the_high_watermark_anew() {
    let mut stage = Stage::new(Setting { brokers: 2, ..Setting::default() });
    stage.all_learn(Some(1), (1, 1), &[1, 2]);
    stage.produce(1, 1, -1, plain(2));
    stage.fetch(2);
    stage.fetch(2);
    stage.restart(2);
    stage.state(2, Some(1), (1, 1), &[1, 2]);
    stage.fetch(2);
    insta::assert_snapshot!(stage.text);
}

#[test]
fn a_stop_flushes_and_refuses_what_waits() {
    let mut stage = three(Setting::default());
    stage.produce(1, 1, -1, plain(2));
    stage.say("-- stop");
    stage.step(1, Event::Stop);
    assert_eq!(stage.replica(1).role(), Role::Offline);
    stage.produce(1, 2, 1, plain(1));
    insta::assert_snapshot!(stage.text);
}

#[test]
fn a_failed_disk_takes_the_replica_offline() {
    let mut stage = three(Setting::default());
    stage.slow_disk(1, true);
    stage.produce(1, 1, 1, plain(2));
    stage.fail_disk(1);
    stage.produce(1, 2, 1, plain(1));
    stage.consume(1, 0);
    insta::assert_snapshot!(stage.text);
}

#[test]
fn a_deletion_ends_when_no_live_replica_has_the_records() {
    let mut stage = three(Setting::default());
    stage.produce(1, 1, -1, plain(5));
    for id in [2, 3, 2, 3] {
        stage.fetch(id);
    }
    stage.delete_records(1, 3);
    stage.say("-- both learn of the new start by one answer, and tell of theirs with the next question");
    for id in [2, 3, 2, 3] {
        stage.fetch(id);
    }
    for id in [1, 2, 3] {
        assert_eq!(stage.replica(id).log_start_offset(), 3, "b{id}");
    }
    insta::assert_snapshot!(stage.text);
}

#[test]
fn a_deletion_times_out_beyond_what_is_committed_is_refused_and_ends_with_the_leadership() {
    let mut stage = three(Setting::default());
    stage.produce(1, 1, -1, plain(5));
    stage.delete_records(1, 1);
    stage.say("-- nothing is committed yet: b2 and b3 have not fetched");
    for id in [2, 3, 2, 3] {
        stage.fetch(id);
    }
    stage.delete_records(1, 2);
    stage.pass(5_000);
    stage.timer(1);
    stage.delete_records(1, 3);
    stage.state(1, Some(2), (2, 2), &[2, 3]);
    stage.delete_records(1, 4);
    insta::assert_snapshot!(stage.text);
}

#[test]
fn what_has_gone_out_of_date_goes_when_the_write_in_flight_is_done() {
    let mut stage = alone();
    stage.produce(1, 1, 1, plain(2));
    stage.pass(8 * 86_400_000);
    stage.slow_disk(1, true);
    stage.produce(1, 2, 1, plain(1));
    stage.say("-- it looks for what has gone out of date");
    stage.step(1, Event::Expire);
    assert_eq!(stage.replica(1).log_start_offset(), 0);
    stage.slow_disk(1, false);
    assert_eq!(stage.replica(1).log_start_offset(), 3, "the timestamps of the last record are as old");
    insta::assert_snapshot!(stage.text);
}

#[test]
fn checkpoints_are_written_for_a_cut_and_not_for_a_log_that_begins_anew_further_on() {
    let mut stage = three(Setting::default());
    assert_eq!(stage.cuts(2), 1, "the load");
    stage.produce(1, 1, 1, plain(3));
    stage.fetch(3);
    stage.fetch(3);
    stage.say("-- b2 lags, and what it wants is deleted");
    stage.state(1, Some(1), (1, 2), &[1, 3]);
    stage.pass(LAG_MS + 1);
    stage.fetch(3);
    stage.timer(1);
    stage.delete_records(1, 3);
    stage.fetch(2);
    assert_eq!((stage.replica(2).log_start_offset(), stage.cuts(2)), (3, 1));
    stage.state(1, None, (2, 3), &[1]);
    stage.state(2, Some(2), (2, 3), &[2]);
    stage.produce(2, 2, 1, plain(2));
    stage.state(2, Some(3), (3, 4), &[3]);
    stage.state(3, Some(3), (3, 4), &[3]);
    stage.fetch(2);
    assert_eq!((stage.replica(2).log_end_offset(), stage.cuts(2)), (3, 2), "a cut");
}
