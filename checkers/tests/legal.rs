//! Stories that are legal in Kafka: no judge may call them a violation, and what they cost must be told exactly.

mod story;

use klamm_base::{CleanedBatch, ClientId, ClientKind, Election, NodeId, Observation, TruncationCause};
use klamm_checkers::{AllowedLoss, Standing, Verdict, World, properties};
use story::{C, FINAL, P, SAFE, Settings, Story, TP, good};

fn losses(story: &Story) -> Vec<AllowedLoss> {
    match &story.judge().verdicts["acked-survive"] {
        Verdict::Allowed { losses, .. } => losses.clone(),
        other => panic!("a loss was expected: {other:?}"),
    }
}

fn ranges(losses: &[AllowedLoss]) -> Vec<(i64, i64)> {
    losses.iter().flat_map(|loss| &loss.records).map(|stretch| (stretch.from, stretch.to)).collect()
}

#[test]
fn a_good_run_meets_every_premise_and_breaks_nothing() {
    let mut story = good(Settings { compacted: true, ..SAFE });
    story.roll(3);
    story.produce(1);
    story.expire(3, 1, 1, 0);
    story.produce_keyed(&[1], None);
    story.produce_keyed(&[1], None);
    story.clean(1, 13, vec![CleanedBatch { base_offset: 11, batch: None, kept: vec![], horizon_ms: None }]);
    story.produce_in_sequence(0);
    story.restart_knowing(1, 0);
    let story = story.finish();
    let report = story.judge();
    assert_eq!(report.violated(), Vec::<&str>::new(), "{:#?}", report.verdicts);
    for property in properties() {
        assert_eq!(
            report.standing(property.name),
            Standing::Held,
            "{}: {:?}",
            property.name,
            report.verdicts[property.name]
        );
        assert!(report.verdicts[property.name].obligations() > 0, "{}", property.name);
    }
    assert_eq!(report.counts.faults, 2);
    assert_eq!(report.counts.allowed_losses, 0);
}

#[test]
fn a_replica_that_left_the_isr_may_cut_what_is_committed_and_fetch_it_again() {
    let mut story = Story::new(SAFE);
    story.produce(6);
    story.change_isr(&[1, 2]);
    story.cut(3, 4, TruncationCause::DivergingEpoch);
    assert_eq!(story.finish().judge().violated(), Vec::<&str>::new());
}

#[test]
fn a_record_that_arrives_while_the_final_reading_is_under_way_is_no_phantom() {
    let mut story = Story::new(SAFE);
    story.produce(3);
    story.world(World::Healed);
    story.world(World::Settled { ok: true, why: String::new() });
    // The reading's end is decided; one more record is committed and read by another before the reading begins to tell.
    let records = story.invoke(P, 1);
    let batch = story.batch(records);
    story.append(1, 1, batch);
    story.replicate(1, 2);
    story.replicate(1, 3);
    story.commit();
    story.read(C, 1, 3, 4, false);
    story.read(C, 1, 0, 3, true);
    story.client(C, Observation::FinallyRead { tp: TP, log_start: 0, log_end: 3, complete: true });
    let violated = story.judge().violated();
    assert!(!violated.contains(&"consumers-read-committed"), "{violated:?}");
}

#[test]
fn nothing_happened_means_nothing_was_tested() {
    let report = klamm_checkers::judge(&klamm_checkers::History::default());
    assert!(properties().iter().all(|property| report.standing(property.name) == Standing::NotTested));
    assert_eq!(report.verdicts.len(), properties().len());
}

#[test]
fn what_a_zombie_acknowledged_with_acks_1_and_nobody_else_had_is_the_price_of_acks_1() {
    let mut story = Story::new(Settings { acks: 1, idempotent: false, ..SAFE });
    story.produce(3);
    // Node 1 is cut off, node 2 elected; node 1 goes on answering in its old epoch.
    story.world(World::FaultStruck { what: "cut node 1".into() });
    story.lead(2, &[2, 3], Election::Clean);
    let records = story.invoke(P, 4);
    let batch = story.batch(records);
    let lost = story.append(1, 1, batch);
    story.answer(1, 1, &lost, false);
    story.acked(&lost);
    let kept = story.produce(2);
    assert_eq!(kept.base, lost.base, "both leaders wrote at the same offsets");
    let story = story.finish();
    assert_eq!(story.violated(), Vec::<&str>::new(), "{:#?}", story.judge().verdicts);
    let losses = losses(&story);
    assert_eq!(losses.len(), 1);
    assert_eq!(losses[0].setting, "acks=1");
    assert_eq!(ranges(&losses), [(3, 7)]);
    assert_eq!(story.judge().counts.allowed_losses, 4);
}

#[test]
fn an_unclean_election_loses_exactly_the_suffix_that_the_elected_log_lacks() {
    let mut story = Story::new(Settings { unclean: true, ..SAFE });
    story.produce(3);
    // Nodes 2 and 3 fall out of the ISR; node 1 commits alone and a consumer reads it.
    story.change_isr(&[1]);
    story.produce(5);
    story.read(C, 1, 0, 8, false);
    story.kill(1);
    story.lead(2, &[2], Election::Unclean);
    story.produce(2);
    story.restart(1);
    story.follow(1);
    let story = story.finish();
    assert_eq!(story.violated(), Vec::<&str>::new(), "{:#?}", story.judge().verdicts);
    let losses = losses(&story);
    assert_eq!(losses.len(), 1);
    assert_eq!(losses[0].setting, "unclean.leader.election.enable=true");
    assert_eq!(ranges(&losses), [(3, 8)]);
    // Phantom reads are told as part of the same loss.
    assert_eq!(story.standing("consumers-read-committed"), Standing::Allowed);
}

#[test]
fn what_an_unclean_election_lost_and_a_later_leader_restored_is_not_lost() {
    let mut story = Story::new(Settings { unclean: true, ..SAFE });
    story.produce(3);
    story.change_isr(&[1]);
    story.produce(5);
    story.kill(1);
    story.lead(2, &[2], Election::Unclean);
    story.kill(2);
    story.restart(1);
    story.lead(1, &[1], Election::Unclean);
    story.restart(2);
    let story = story.finish();
    assert_eq!(story.violated(), Vec::<&str>::new(), "{:#?}", story.judge().verdicts);
    assert_eq!(story.standing("acked-survive"), Standing::Held);
}

#[test]
fn with_unclean_election_off_the_partition_waits_and_nothing_is_lost() {
    let mut story = Story::new(SAFE);
    story.produce(3);
    story.change_isr(&[1]);
    story.produce(5);
    story.kill(1);
    story.decide(None, &[1], Election::Clean);
    story.restart(1);
    story.lead(1, &[1], Election::Clean);
    let story = story.finish();
    assert_eq!(story.violated(), Vec::<&str>::new(), "{:#?}", story.judge().verdicts);
    assert_eq!(story.standing("acked-survive"), Standing::Held);
}

#[test]
fn power_loss_of_every_replica_loses_the_unflushed_tail_and_a_setting_is_named() {
    let mut story = Story::new(SAFE);
    story.produce(3);
    (1..=3).for_each(|node| {
        story.node(node, Observation::Flushed { tp: TP, to: 3 });
    });
    story.produce(4);
    (1..=3).for_each(|node| story.power_off(node, 3));
    story.decide(Some(2), &[2, 3], Election::Clean);
    story.decide(Some(3), &[3], Election::Clean);
    story.decide(None, &[3], Election::Clean);
    story.restart(3);
    story.lead(3, &[3], Election::Clean);
    story.restart(1);
    story.restart(2);
    let story = story.finish();
    assert_eq!(story.violated(), Vec::<&str>::new(), "{:#?}", story.judge().verdicts);
    let losses = losses(&story);
    assert_eq!(losses.len(), 1);
    assert!(losses[0].setting.starts_with("flush.messages"), "{}", losses[0].setting);
    assert_eq!(ranges(&losses), [(3, 7)]);
}

#[test]
fn the_last_in_sync_replica_loses_its_tail_and_min_insync_replicas_is_named() {
    let mut story = Story::new(SAFE);
    story.produce(3);
    // All three hold 3..7; then 2 and 3 leave, and only node 1 loses power; it is the only one that may lead.
    story.produce(4);
    story.kill(2);
    story.kill(3);
    story.change_isr(&[1]);
    story.power_off(1, 3);
    story.decide(None, &[1], Election::Clean);
    story.restart(1);
    story.lead(1, &[1], Election::Clean);
    story.restart(2);
    story.restart(3);
    let story = story.finish();
    assert_eq!(story.violated(), Vec::<&str>::new(), "{:#?}", story.judge().verdicts);
    assert_eq!(losses(&story)[0].setting, "min.insync.replicas=1");
}

#[test]
fn a_member_that_joined_after_the_commit_protects_too_until_its_copy_is_destroyed() {
    let mut story = Story::new(Settings { min_insync: 2, ..SAFE });
    story.change_isr(&[1, 2]);
    story.produce(3);
    story.follow(3);
    story.change_isr(&[1, 2, 3]);
    story.change_isr(&[1, 3]);
    // The controller fences node 1, not knowing that power took the tail of the only member that is left.
    story.power_off(3, 0);
    story.decide(Some(3), &[3], Election::Clean);
    story.decide(None, &[3], Election::Clean);
    story.restart(3);
    story.lead(3, &[3], Election::Clean);
    story.follow(1);
    story.follow(2);
    let story = story.finish();
    assert_eq!(story.violated(), Vec::<&str>::new(), "{:#?}", story.judge().verdicts);
    assert_eq!(losses(&story)[0].setting, "eligible.leader.replicas.version=0");
}

#[test]
fn a_copy_that_is_destroyed_while_its_proposal_is_on_its_way_protected_until_then() {
    let tell = |proposed: bool| {
        let mut story = Story::new(SAFE);
        story.change_isr(&[1, 2]);
        story.produce(3);
        story.follow(3);
        if proposed {
            let (committed, maximal) = (vec![NodeId(1), NodeId(2)], vec![NodeId(1), NodeId(2), NodeId(3)]);
            story.node(1, Observation::LeaderIsr { tp: TP, leader_epoch: 1, committed, maximal });
        }
        story.power_off(3, 0);
        story.world(World::DiskWiped { node: NodeId(3) });
        story.decide(Some(1), &[1, 2, 3], Election::Clean);
        story.decide(Some(3), &[3], Election::Clean);
        story.decide(None, &[3], Election::Clean);
        story.restart(3);
        story.lead(3, &[3], Election::Clean);
        story.finish()
    };
    assert_eq!(tell(true).standing("high-watermark"), Standing::Held);
    assert_eq!(tell(false).standing("high-watermark"), Standing::Violated, "nobody vouched for it");
}

#[test]
fn below_min_insync_the_forgotten_former_members_are_named() {
    let mut story = Story::new(Settings { min_insync: 2, ..SAFE });
    story.produce(7);
    story.kill(2);
    story.kill(3);
    story.change_isr(&[1]);
    story.power_off(1, 0);
    story.decide(None, &[1], Election::Clean);
    story.restart(1);
    story.lead(1, &[1], Election::Clean);
    story.restart(2);
    story.restart(3);
    let story = story.finish();
    assert_eq!(story.violated(), Vec::<&str>::new(), "{:#?}", story.judge().verdicts);
    assert_eq!(losses(&story)[0].setting, "eligible.leader.replicas.version=0");
}

#[test]
fn a_replica_that_was_proposed_and_never_taken_in_need_not_keep_what_it_holds() {
    let mut story = Story::new(SAFE);
    story.change_isr(&[1, 2]);
    // The leader proposes node 3 and counts it; the controller decides otherwise.
    let (committed, maximal) = (story::nodes(&[1, 2]), story::nodes(&[1, 2, 3]));
    story.node(1, Observation::LeaderIsr { tp: TP, leader_epoch: 1, committed, maximal });
    let records = story.invoke(P, 2);
    let batch = story.batch(records);
    let stored = story.append(1, 1, batch);
    story.replicate(1, 2);
    story.replicate(1, 3);
    story.mark(1, 1, 2, true);
    story.answer(1, 1, &stored, false);
    story.acked(&stored);
    story.change_isr(&[1]);
    story.power_off(1, 0);
    story.decide(None, &[1], Election::Clean);
    story.restart(1);
    story.lead(1, &[1], Election::Clean);
    let story = story.finish();
    assert_eq!(story.violated(), Vec::<&str>::new(), "{:#?}", story.judge().verdicts);
    assert_eq!(ranges(&losses(&story)), [(0, 2)]);
}

#[test]
fn killing_every_process_loses_nothing() {
    let mut story = Story::new(SAFE);
    story.produce(3);
    story.produce(4);
    (1..=3).for_each(|node| story.kill(node));
    story.decide(None, &[1], Election::Clean);
    (1..=3).for_each(|node| story.restart(node));
    story.lead(1, &[1], Election::Clean);
    let story = story.finish();
    assert_eq!(story.violated(), Vec::<&str>::new(), "{:#?}", story.judge().verdicts);
    assert_eq!(story.standing("acked-survive"), Standing::Held);
    assert_eq!(story.standing("recovery"), Standing::Held);
}

#[test]
fn a_zombie_that_commits_what_its_last_follower_loses_to_power_loss_is_excused() {
    let mut story = Story::new(SAFE);
    story.produce(3);
    story.change_isr(&[1, 2]);
    // Node 2 holds 3..5 and its acknowledging fetch is under way; node 1 is paused before it sees it.
    let records = story.invoke(P, 2);
    let batch = story.batch(records);
    let late = story.append(1, 1, batch);
    story.replicate(1, 2);
    story.world(World::Paused { node: NodeId(1) });
    story.decide(Some(2), &[2], Election::Clean);
    story.power_off(2, 3);
    story.decide(None, &[2], Election::Clean);
    story.restart(2);
    story.lead(2, &[2], Election::Clean);
    story.world(World::Resumed { node: NodeId(1) });
    // The queued fetch: node 1 commits in its old epoch, and answers.
    story.mark(1, 1, 5, true);
    story.answer(1, 1, &late, false);
    story.acked(&late);
    let story = story.finish();
    assert_eq!(story.violated(), Vec::<&str>::new(), "{:#?}", story.judge().verdicts);
    assert_eq!(ranges(&losses(&story)), [(3, 5)]);
}

#[test]
fn a_restarted_replica_may_hold_an_append_that_nobody_announced() {
    let mut story = Story::new(SAFE);
    story.produce(3);
    story.change_isr(&[1]);
    // The write took effect, the process died before it could tell; it leads again, and followers copy it.
    let records = story.invoke(P, 2);
    let batch = story.batch(records.clone());
    let hidden = story::Batch { base: 3, epoch: 1, ..batch };
    story.logs.get_mut(&1).unwrap().push(hidden);
    story.kill(1);
    story.decide(None, &[1], Election::Clean);
    story.restart(1);
    story.lead(1, &[1], Election::Clean);
    story.commit();
    story.unknown(&records);
    story.produce(2);
    let mut story = story.finish();
    story.kill(1);
    story.lead(2, &[2, 3], Election::Clean);
    story.produce(1);
    assert_eq!(story.violated(), Vec::<&str>::new(), "{:#?}", story.judge().verdicts);
}

#[test]
fn a_cut_that_the_crash_forestalled_may_come_back() {
    let mut story = Story::new(Settings { acks: 1, idempotent: false, ..SAFE });
    story.produce(3);
    let records = story.invoke(P, 2);
    let batch = story.batch(records.clone());
    let stale = story.append(1, 1, batch);
    story.lead(2, &[2, 3], Election::Clean);
    story.produce(2);
    story.cut(1, 3, TruncationCause::DivergingEpoch);
    story.kill(1);
    story.logs.get_mut(&1).unwrap().push(stale);
    story.restart(1);
    story.follow(1);
    story.unknown(&records);
    let story = story.finish();
    assert_eq!(story.violated(), Vec::<&str>::new(), "{:#?}", story.judge().verdicts);
}

#[test]
fn without_idempotence_duplicates_and_disorder_are_not_judged() {
    let mut story = Story::new(Settings { idempotent: false, ..SAFE });
    let first = story.produce(2);
    let second = story.produce(2);
    for batch in [&second, &first] {
        let again = story.append(1, 1, batch.clone());
        story.commit();
        story.answer(1, 1, &again, false);
    }
    let mut story = story.finish();
    story.kill(1);
    assert_eq!(story.violated(), Vec::<&str>::new(), "{:#?}", story.judge().verdicts);
}

#[test]
fn records_sent_with_acks_0_may_vanish_and_are_listed() {
    let mut story = Story::new(Settings { acks: 0, idempotent: false, ..SAFE });
    let records = story.invoke(P, 2);
    for record in &records {
        story.client(P, Observation::Ended { tp: TP, record: *record, outcome: klamm_base::Outcome::Sent });
    }
    let story = story.finish();
    assert_eq!(story.violated(), Vec::<&str>::new(), "{:#?}", story.judge().verdicts);
    let losses = losses(&story);
    assert_eq!(losses[0].setting, "acks=0");
    assert_eq!(losses[0].count(), 2);
}

/// A cluster of which only some brokers were healed; the final reading and the last write are theirs.
fn healed_but(left_out: &[i32], isr: &[i32], settled: bool) -> Story {
    let mut story = Story::new(SAFE);
    story.produce(3);
    for node in left_out {
        story.world(World::LeftOut { node: NodeId(*node), how: "cut off".into() });
    }
    story.world(World::Healed);
    story.change_isr(isr);
    story.commit();
    story.world(World::Settled { ok: settled, why: "b3 is not in sync on orders-0".into() });
    story
}

#[test]
fn nothing_is_asked_of_brokers_that_the_heal_left_out() {
    let mut story = healed_but(&[3], &[1, 2], true);
    story.produce(1);
    let end = story.end(1);
    story.client(FINAL, Observation::ClientStarted { name: "final".into(), kind: klamm_base::ClientKind::Consumer });
    story.read(FINAL, 1, 0, end, true);
    story.client(FINAL, Observation::FinallyRead { tp: TP, log_start: 0, log_end: end, complete: true });
    assert_eq!(story.judge().violated(), Vec::<&str>::new());
    assert_eq!(story.standing("serves-after-heal"), Standing::Held);

    let asleep = healed_but(&[1], &[1], true);
    assert_eq!(asleep.standing("serves-after-heal"), Standing::Held, "its only one in sync stays away");
}

#[test]
fn a_core_that_does_not_come_to_rest_or_serve_is_no_less_broken_for_those_that_were_left_out() {
    assert_eq!(healed_but(&[3], &[1, 2], false).violated(), ["serves-after-heal"]);
    assert_eq!(healed_but(&[2], &[1, 2], false).violated(), ["serves-after-heal"]);
    assert_eq!(healed_but(&[3], &[1, 2], true).violated(), ["serves-after-heal"], "nobody read or wrote it");
}

#[test]
fn a_shrink_below_the_minimum_is_not_named_when_the_copies_that_it_left_out_were_destroyed_anyway() {
    let mut story = Story::new(Settings { min_insync: 2, ..SAFE });
    story.produce(7);
    // (b): node 3 leaves, two are enough. (a): power takes the tail of both others. That node 2 left below the minimum then
    // changes nothing.
    story.change_isr(&[1, 2]);
    story.power_off(2, 0);
    story.change_isr(&[1]);
    story.restart(2);
    story.power_off(1, 0);
    story.decide(None, &[1], Election::Clean);
    story.restart(1);
    story.lead(1, &[1], Election::Clean);
    let story = story.finish();
    assert_eq!(story.violated(), Vec::<&str>::new(), "{:#?}", story.judge().verdicts);
    assert_eq!(losses(&story)[0].setting, "min.insync.replicas=2");
}

#[test]
fn a_member_that_lost_its_copy_and_fetched_it_again_protects_it_again() {
    let lose = |again: bool| {
        let mut story = Story::new(SAFE);
        story.produce(3);
        story.change_isr(&[1, 2]);
        story.power_off(2, 0);
        story.restart(2);
        if again {
            story.follow(2);
        }
        story.power_off(1, 0);
        story.decide(Some(2), &[2], Election::Clean);
        if again {
            story.cut(2, 0, TruncationCause::HighWatermark);
        }
        story.take_up();
        story.restart(1);
        story.finish()
    };
    let (lost, broken) = (lose(false), lose(true));
    assert_eq!(lost.violated(), Vec::<&str>::new(), "{:#?}", lost.judge().verdicts);
    assert_eq!(ranges(&losses(&lost)), [(0, 3)]);
    assert_eq!(broken.violated(), ["acked-survive", "high-watermark"]);
}

#[test]
fn what_a_zombie_acknowledges_after_an_unclean_election_is_part_of_the_predicted_suffix() {
    let mut story = Story::new(Settings { unclean: true, ..SAFE });
    story.produce(3);
    story.change_isr(&[1]);
    story.produce(2);
    story.world(World::FaultStruck { what: "cut node 1".into() });
    story.lead(2, &[2], Election::Unclean);
    // Node 1, alone in its own view of the ISR, has not heard of it: acks=all is answered at once, and nobody will have it.
    let records = story.invoke(P, 2);
    let batch = story.batch(records);
    let late = story.append(1, 1, batch);
    story.mark(1, 1, 7, true);
    story.answer(1, 1, &late, false);
    story.acked(&late);
    story.follow(1);
    let story = story.finish();
    assert_eq!(story.violated(), Vec::<&str>::new(), "{:#?}", story.judge().verdicts);
    let losses = losses(&story);
    assert!(losses.iter().all(|loss| loss.setting == "unclean.leader.election.enable=true"), "{losses:#?}");
    assert_eq!(ranges(&losses), [(3, 5), (5, 7)], "what was committed before, and what was told too late");
}

#[test]
fn a_batch_that_was_lost_and_comes_back_in_its_first_leaders_log_survived() {
    let mut story = Story::new(Settings { unclean: true, ..SAFE });
    story.produce(3);
    // Only node 1 has the next batch when node 2 takes over; its producer sends it again, and is acknowledged.
    let records = story.invoke(P, 2);
    let batch = story.batch(records);
    let first = story.append(1, 1, batch);
    story.lead(2, &[2, 3], Election::Clean);
    let again = story.append(2, 2, first);
    story.replicate(2, 3);
    story.commit();
    story.answer(2, 2, &again, false);
    story.acked(&again);
    // Nobody in sync is left, and node 1 is elected: its own copy of the batch stands where the retry stood.
    story.decide(None, &[2], Election::Clean);
    story.lead(1, &[1], Election::Unclean);
    let story = story.finish();
    assert_eq!(story.violated(), Vec::<&str>::new(), "{:#?}", story.judge().verdicts["acked-survive"]);
}

#[test]
fn of_two_batches_that_two_leaders_acknowledge_at_one_offset_the_lost_one_explains_what_is_gone() {
    let mut story = Story::new(SAFE);
    story.produce(3);
    story.world(World::FaultStruck { what: "cut node 1".into() });
    story.lead(2, &[2], Election::Clean);
    let records = story.invoke(P, 2);
    let batch = story.batch(records);
    let kept = story.append(2, 2, batch);
    story.mark(2, 2, 5, true);
    story.answer(2, 2, &kept, false);
    // Meanwhile the old leader answers somebody who asks for less, at the same offset, and is not heard.
    let other = ClientId(7);
    let kind = ClientKind::Producer { acks: 1, idempotent: false };
    story.client(other, Observation::ClientStarted { name: "p2".into(), kind });
    let records = story.invoke(other, 2);
    let batch = story.batch(records);
    let stray = story.append(1, 1, batch);
    let (base_offset, last_offset) = (stray.base, stray.last());
    let (tp, acks, leader_epoch, duplicate) = (TP, 1, 1, false);
    story.node(1, Observation::ProduceAcked { tp, base_offset, last_offset, acks, leader_epoch, duplicate });
    story.unknown(&stray.records);
    story.acked(&kept);
    story.power_off(2, 3);
    story.decide(None, &[2], Election::Clean);
    story.restart(2);
    story.cut(1, 3, TruncationCause::DivergingEpoch);
    story.lead(2, &[2], Election::Clean);
    let story = story.finish();
    assert_eq!(story.violated(), Vec::<&str>::new(), "{:#?}", story.judge().verdicts);
    assert_eq!(ranges(&losses(&story)), [(3, 5)]);
}

#[test]
fn a_follower_takes_up_its_leaders_high_watermark_in_the_middle_of_a_batch_too() {
    let told = |leader: i64| {
        let mut story = Story::new(SAFE);
        let records = story.invoke(P, 2);
        let batch = story.batch(records);
        story.append(1, 1, batch);
        (2..=3).for_each(|node| story.replicate(1, node));
        story.mark(1, 1, leader, true);
        story.mark(2, 1, 1, false);
        story.violated()
    };
    assert_eq!(told(1), Vec::<&str>::new());
    assert_eq!(told(0), ["high-watermark"], "its leader's stands before it");
}
