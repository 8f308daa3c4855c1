//! Damage and what it excuses. Each story is told twice: with the damage it is legal and the fault is named; without it, or
//! with damage elsewhere, the same story breaks the named properties.

mod story;

use klamm_base::{ClientId, ClientRecord, Election, ErrorCode, NodeId, Observation, Outcome, TruncationCause, Uuid};
use klamm_checkers::{AllowedLoss, Damage, Party, Standing, Verdict, World};
use story::{Batch, C, FINAL, P, SAFE, Settings, Story, TP, three_batches, three_segments};

const NOTHING: [&str; 0] = [];

/// What a property lets pass, with its price.
fn allowed(story: &Story, property: &str) -> Vec<AllowedLoss> {
    match &story.judge().verdicts[property] {
        Verdict::Allowed { losses, .. } => losses.clone(),
        other => panic!("{property} should be allowed: {other:?}"),
    }
}

/// The story with the fault is legal, and `property` names the fault; without it exactly `broken` are violated.
fn pair(tell: impl Fn(bool) -> Story, fault: &str, property: &str, broken: &[&str]) -> Vec<AllowedLoss> {
    let with = tell(true);
    assert_eq!(with.violated(), NOTHING, "{:#?}", with.judge().verdicts);
    let losses = allowed(&with, property);
    assert!(losses.iter().any(|loss| loss.setting == fault), "{losses:#?}");
    assert_eq!(tell(false).violated(), broken, "without the fault");
    losses
}

fn node(id: i32) -> Party {
    Party::Node(NodeId(id))
}

fn client(name: &str) -> Party {
    Party::Client(name.to_owned())
}

#[test]
fn rot_takes_the_rotten_batch_and_what_stands_behind_it() {
    let tell = |rot: bool| {
        let mut story = three_batches();
        if rot {
            story.damage(3, 1, Damage::BitRot);
        }
        story.restart_with(3, 2);
        story.finish()
    };
    let losses = pair(tell, "fault: bit-rot", "recovery", &["recovery"]);
    assert_eq!((losses[0].records[0].from, losses[0].records[0].to), (2, 6));
    assert!(losses[0].cause.contains("bytes 107..108 of data/orders-0/"), "{losses:?}");
}

#[test]
fn rot_excuses_nothing_before_it_nor_elsewhere() {
    let tell = |damaged: i32, path: &str, batch: u64| {
        let mut story = three_batches();
        story.damage_file(damaged, path, (batch * 100, batch * 100 + 1), Damage::BitRot);
        story.restart_with(3, 2);
        story.finish().violated()
    };
    let log = "data/orders-0/00000000000000000000.log";
    assert_eq!(tell(3, log, 1), NOTHING);
    assert_eq!(tell(3, log, 2), ["recovery"], "the second batch was sound");
    assert_eq!(tell(2, log, 1), ["recovery"], "another node");
    assert_eq!(tell(3, "data/payments-0/00000000000000000000.log", 1), ["recovery"], "another topic");
    assert_eq!(tell(3, "data/orders-1/00000000000000000000.log", 1), ["recovery"], "another partition");
    assert_eq!(tell(3, "data/orders-0/leader-epoch-checkpoint", 0), ["recovery"], "a file that is made anew");
}

#[test]
fn rot_that_a_load_cut_away_excuses_no_second_load() {
    let mut story = three_batches();
    story.damage(3, 1, Damage::BitRot);
    story.restart_with(3, 2);
    story.follow(3);
    story.restart_with(3, 4);
    assert_eq!(story.finish().violated(), ["recovery"]);
}

#[test]
fn only_power_loss_takes_what_a_lying_sync_promised() {
    let tell = |lie: bool, power: bool| {
        let mut story = three_batches();
        story.node(3, Observation::Flushed { tp: TP, to: 6 });
        if lie {
            story.damage(3, 1, Damage::NotDurable);
        }
        if power {
            story.power_off(3, 2);
            story.restart(3);
        } else {
            story.restart_with(3, 2);
        }
        story.finish()
    };
    pair(|lie| tell(lie, true), "fault: not-durable", "recovery", &["recovery"]);
    assert_eq!(tell(true, false).violated(), ["recovery"], "the page cache stays");
}

#[test]
fn power_takes_the_log_whose_name_a_lying_sync_promised_and_no_other() {
    let tell = |directory: Option<&str>| {
        let mut story = three_batches();
        story.node(3, Observation::Flushed { tp: TP, to: 6 });
        if let Some(directory) = directory {
            story.damage_file(3, directory, (0, 0), Damage::NamesNotDurable);
        }
        story.power_off(3, 0);
        story.restart(3);
        story.finish()
    };
    pair(|lie| tell(lie.then_some("data/orders-0")), "fault: names-not-durable", "recovery", &["recovery"]);
    pair(|lie| tell(lie.then_some("data")), "fault: names-not-durable", "recovery", &["recovery"]);
    assert_eq!(tell(Some("data/payments-0")).violated(), ["recovery"], "the names of another log");
}

#[test]
fn a_start_after_lost_power_may_be_lied_to_and_lose_all_with_the_next_loss() {
    let tell = |lie: bool| {
        let mut story = three_batches();
        story.power_off(3, 0);
        if lie {
            story.damage_file(3, "data", (0, 0), Damage::NamesNotDurable);
        }
        story.restart(3);
        story.replicate(1, 3);
        story.node(3, Observation::Flushed { tp: TP, to: 6 });
        story.power_off(3, 0);
        story.restart(3);
        story.finish()
    };
    pair(tell, "fault: names-not-durable", "recovery", &["recovery"]);
}

#[test]
fn what_a_failed_sync_forgot_is_gone_once_the_page_cache_lets_go_of_it() {
    let tell = |forgot: bool| {
        let mut story = three_batches();
        story.node(3, Observation::Flushed { tp: TP, to: 4 });
        if forgot {
            story.damage(3, 2, Damage::Forgotten);
        }
        story.restart_with(3, 4);
        story.finish()
    };
    pair(tell, "fault: forgotten", "recovery", &["recovery"]);
}

#[test]
fn a_misdirected_write_harms_the_batch_that_is_announced_after_it() {
    let tell = |misdirected: bool, later: bool| {
        let mut story = three_batches();
        if misdirected {
            story.damage(3, 3, Damage::Missing);
        }
        story.produce(2);
        story.replicate(1, 3);
        story.produce(2);
        story.replicate(1, 3);
        // The load ends before the batch that was written elsewhere, or before the one behind it.
        story.restart_with(3, if later { 8 } else { 6 });
        story.finish()
    };
    pair(|misdirected| tell(misdirected, false), "fault: missing", "recovery", &["recovery"]);
    assert_eq!(tell(true, true).violated(), NOTHING, "what stands behind it goes with it");
}

#[test]
fn an_unplugged_device_loses_what_lost_power_does_and_a_wiped_one_everything() {
    let tell = |kind: Option<Damage>, flushed: i64, keeps: i64| {
        let mut story = three_batches();
        story.node(3, Observation::Flushed { tp: TP, to: flushed });
        kind.into_iter().for_each(|kind| story.damage(3, 0, kind));
        story.restart_with(3, keeps);
        story.finish().violated()
    };
    assert_eq!(tell(Some(Damage::Removed), 4, 4), NOTHING);
    assert_eq!(tell(None, 4, 4), ["recovery"]);
    assert_eq!(tell(Some(Damage::Removed), 4, 2), ["recovery"], "what was flushed stays");
    assert_eq!(tell(Some(Damage::Wiped), 6, 0), NOTHING);
    assert_eq!(tell(None, 6, 0), ["recovery"]);
}

#[test]
fn the_last_copy_rots_and_the_loss_names_the_rot() {
    let tell = |rot: bool| {
        let mut story = Story::new(SAFE);
        story.produce(2);
        story.change_isr(&[1]);
        story.produce(2);
        if rot {
            story.damage(1, 1, Damage::BitRot);
        }
        story.decide(None, &[1], Election::Clean);
        story.restart_with(1, 2);
        story.lead(1, &[1], Election::Clean);
        story.finish()
    };
    let broken = ["acked-survive", "high-watermark", "recovery"];
    let losses = pair(tell, "fault: bit-rot", "acked-survive", &broken);
    assert_eq!((losses[0].records[0].from, losses[0].records[0].to), (2, 4));
    assert_eq!(tell(true).judge().counts.allowed_losses, 2);
}

#[test]
fn rot_of_one_copy_excuses_no_loss_while_another_was_in_sync() {
    let mut story = Story::new(SAFE);
    story.produce(2);
    story.produce(2);
    story.damage(1, 1, Damage::BitRot);
    story.kill(1);
    // Node 3 was in sync and cut what it held: the rot of node 1 has nothing to do with it.
    story.cut(3, 2, TruncationCause::HighWatermark);
    story.lead(3, &[3], Election::Clean);
    story.restart(1);
    assert_eq!(story.finish().violated(), ["acked-survive", "high-watermark"]);
}

#[test]
fn a_misread_may_feed_a_follower_what_its_leader_never_wrote() {
    let tell = |misread: bool| {
        let mut story = Story::new(SAFE);
        story.produce(2);
        let records = story.invoke(P, 2);
        let batch = story.batch(records);
        let stored = story.append(1, 1, batch);
        story.replicate(1, 2);
        if misread {
            story.damage(1, 1, Damage::Misread);
        }
        let foreign = [0, 1].map(|number| ClientRecord { client: ClientId(77), number });
        story.store(3, Batch { id: 4711, records: foreign.to_vec(), ..stored.clone() }, false);
        story.mark(1, 1, 4, true);
        story.answer(1, 1, &stored, false);
        story.acked(&stored);
        // The fed replica is in sync, and leads: what the others held is lost.
        story.kill(1);
        story.kill(2);
        story.lead(3, &[3], Election::Clean);
        story.restart(1);
        story.restart(2);
        story.finish()
    };
    let broken = ["acked-survive", "high-watermark", "log-matching"];
    pair(tell, "fault: misread", "log-matching", &broken);
    pair(tell, "fault: misread", "high-watermark", &broken);
    pair(tell, "fault: misread", "acked-survive", &broken);
}

#[test]
fn a_misread_of_one_batch_excuses_nothing_that_a_follower_copied_before() {
    let mut story = Story::new(SAFE);
    story.produce(2);
    story.change_isr(&[1, 2]);
    story.produce(2);
    let records = story.invoke(P, 1);
    let batch = story.batch(records.clone());
    let stored = story.append(1, 1, batch);
    story.cut(3, 2, TruncationCause::DivergingEpoch);
    story.damage(1, 2, Damage::Misread);
    story.store(3, Batch { id: 4711, base: 2, ..stored }, false);
    story.cut(3, 2, TruncationCause::DivergingEpoch);
    story.unknown(&records);
    story.commit();
    assert_eq!(story.finish().violated(), ["log-matching"]);
}

#[test]
fn a_spoilt_fetch_may_claim_what_the_follower_does_not_hold() {
    let tell = |from: i32, to: i32, role: &str| {
        let mut story = Story::new(SAFE);
        story.produce(2);
        let records = story.invoke(P, 2);
        let batch = story.batch(records);
        let stored = story.append(1, 1, batch);
        story.replicate(1, 2);
        if from > 0 {
            story.corrupt(node(from), node(to), role);
        }
        story.mark(1, 1, 4, true);
        story.answer(1, 1, &stored, false);
        story.acked(&stored);
        story
    };
    let whole = |spoilt: bool| tell(if spoilt { 3 } else { 0 }, 1, "fetch").finish();
    pair(whole, "fault: corrupted bytes", "high-watermark", &["high-watermark"]);
    assert_eq!(tell(2, 1, "fetch").finish().violated(), ["high-watermark"], "another follower's");
    assert_eq!(tell(3, 1, "heartbeat").finish().violated(), ["high-watermark"], "another connection's");
    let lost = |spoilt: bool| {
        let mut story = tell(if spoilt { 3 } else { 0 }, 1, "fetch");
        story.kill(1);
        story.kill(2);
        story.lead(3, &[3], Election::Clean);
        story.restart(1);
        story.restart(2);
        story.finish()
    };
    pair(lost, "fault: corrupted bytes", "acked-survive", &["acked-survive", "high-watermark"]);
}

#[test]
fn a_spoilt_answer_may_make_a_follower_cut_what_is_committed() {
    let tell = |spoilt: bool| {
        let mut story = Story::new(SAFE);
        story.produce(2);
        story.produce(2);
        if spoilt {
            story.corrupt(node(1), node(3), "fetch");
        }
        story.cut(3, 2, TruncationCause::OutOfRange);
        story.finish()
    };
    pair(tell, "fault: corrupted bytes", "high-watermark", &["high-watermark"]);
}

#[test]
fn a_reader_may_meet_other_records_where_the_leader_misread_and_nowhere_else() {
    let tell = |batch: Option<u64>| {
        let mut story = three_batches();
        story.read(C, 1, 0, 2, false);
        batch.into_iter().for_each(|batch| story.damage(1, batch, Damage::Misread));
        let read = story.read(C, 1, 2, 4, false);
        story.change(read, |observation| {
            let Observation::Read { records, .. } = observation else { unreachable!() };
            records.swap(0, 1);
        });
        story.finish()
    };
    let told = |misread: bool| tell(misread.then_some(1));
    pair(told, "fault: misread", "consumers-read-committed", &["consumers-read-committed"]);
    assert_eq!(tell(Some(2)).violated(), ["consumers-read-committed"], "another batch");
}

#[test]
fn a_spoilt_frame_may_lead_a_consumer_astray_until_it_is_set_anew() {
    let tell = |name: &str, set: bool| {
        let mut story = three_batches();
        story.read(C, 1, 0, 2, false);
        if !name.is_empty() {
            story.corrupt(node(1), client(name), "consume");
        }
        // Its records of 2..4 seem to stand at 4..6.
        let read = story.read(C, 1, 2, 4, false);
        story.change(read, |observation| {
            let Observation::Read { offset, .. } = observation else { unreachable!() };
            *offset = 4;
        });
        if set {
            story.client(C, Observation::Positioned { tp: TP, offset: 0 });
            let read = story.read(C, 1, 0, 2, false);
            story.change(read, |observation| {
                let Observation::Read { records, .. } = observation else { unreachable!() };
                records.swap(0, 1);
            });
        }
        story.finish()
    };
    let broken = ["consumers-in-order", "consumers-read-committed"];
    pair(|spoilt| tell(if spoilt { "c1" } else { "" }, false), "fault: corrupted bytes", "consumers-in-order", &broken);
    assert_eq!(tell("c2", false).violated(), broken, "another consumer's");
    assert_eq!(tell("c1", true).violated(), ["consumers-read-committed"], "set anew, it is believed again");
}

#[test]
fn a_spoilt_frame_may_tell_a_producer_what_is_not_so() {
    let tell = |spoilt: bool, outcome: fn(i64) -> Outcome| {
        let mut story = Story::new(SAFE);
        story.produce(2);
        let records = story.invoke(P, 1);
        let batch = story.batch(records.clone());
        let stored = story.append(1, 1, batch);
        story.commit();
        if spoilt {
            story.corrupt(node(1), client("p1"), "produce");
        }
        story.answer(1, 1, &stored, false);
        story.client(P, Observation::Ended { tp: TP, record: records[0], outcome: outcome(stored.base) });
        story.produce(1);
        story.finish()
    };
    let elsewhere = |base: i64| Outcome::Acked(base + 40);
    pair(|spoilt| tell(spoilt, elsewhere), "fault: corrupted bytes", "acked-survive", &["acked-survive"]);
    let refused = |_: i64| Outcome::Refused(ErrorCode::MessageTooLarge);
    pair(|spoilt| tell(spoilt, refused), "fault: corrupted bytes", "refused-stay-out", &["refused-stay-out"]);
}

#[test]
fn a_frame_that_was_spoilt_after_a_record_ended_excuses_nothing_of_it() {
    let mut story = Story::new(SAFE);
    let records = story.invoke(P, 1);
    let batch = story.batch(records.clone());
    let stored = story.append(1, 1, batch);
    story.commit();
    story.answer(1, 1, &stored, false);
    story.client(P, Observation::Ended { tp: TP, record: records[0], outcome: Outcome::Acked(stored.base + 40) });
    story.corrupt(node(1), client("p1"), "produce");
    assert_eq!(story.finish().violated(), ["acked-survive"]);
}

#[test]
fn damaged_bytes_that_are_there_still_may_keep_their_partition_from_being_served() {
    let tell = |path: &str| told(path, Damage::BitRot);
    fn told(path: &str, kind: Damage) -> Story {
        // Node 3 stands before the rotten batch, at 2.
        let mut story = three_batches();
        story.cut(3, 2, TruncationCause::DivergingEpoch);
        story.damage_file(1, path, (107, 108), kind);
        story.world(World::Healed);
        story.world(World::Settled { ok: false, why: "b3 is not in sync on orders-0".into() });
        story
    }
    let rotten = tell("data/orders-0/00000000000000000000.log");
    assert_eq!(rotten.violated(), NOTHING, "{:#?}", rotten.judge().verdicts);
    assert_eq!(allowed(&rotten, "serves-after-heal")[0].setting, "fault: bit-rot");
    assert_eq!(tell("data/payments-0/00000000000000000000.log").violated(), ["serves-after-heal"]);
    assert_eq!(tell("data/orders-0/leader-epoch-checkpoint").violated(), ["serves-after-heal"]);
    assert_eq!(tell("data/meta.properties").violated(), NOTHING, "a node that does not know who it is");
    let mut beyond = three_batches();
    beyond.damage(1, 0, Damage::BitRot);
    beyond.world(World::Healed);
    beyond.world(World::Settled { ok: false, why: "b3 is not in sync on orders-0".into() });
    assert_eq!(beyond.violated(), ["serves-after-heal"], "node 3 has long what stands there");
    let promised = told("data/meta.properties.tmp", Damage::NotDurable);
    assert_eq!(promised.violated(), ["serves-after-heal"], "it is there as long as the power is");
    let unplugged = told("data/meta.properties", Damage::Removed);
    assert_eq!(unplugged.violated(), ["serves-after-heal"], "what is unplugged comes back");
}

#[test]
fn clocks_limits_and_slow_machines_excuse_nothing() {
    let mut story = Story::new(Settings { min_insync: 1, ..SAFE });
    story.produce(2);
    story.produce(2);
    story.change_isr(&[1, 2]);
    story.world(World::ClockSet { node: NodeId(3), offset_ms: -3_600_000 });
    story.world(World::Disturbed { node: NodeId(3), what: "its timers go 200000 ppm wrong".into() });
    story.restart_with(3, 2);
    let story = story.finish();
    assert_eq!(story.violated(), ["recovery"]);
    assert_eq!(story.standing("serves-after-heal"), Standing::Held);
}

#[test]
fn a_final_reading_that_damage_led_astray_is_no_witness_of_what_it_did_not_show() {
    let tell = |damaged: bool, missing: bool| {
        let mut story = three_batches();
        story.world(World::Healed);
        story.world(World::Settled { ok: true, why: String::new() });
        story.produce(1);
        // Another batch was written over the second one: the reading goes on behind it, far from where it was.
        if damaged {
            story.damage(1, 1, Damage::Overwritten);
        }
        story
            .client(FINAL, Observation::ClientStarted { name: "final".into(), kind: klamm_base::ClientKind::Consumer });
        story.client(FINAL, Observation::Positioned { tp: TP, offset: 0 });
        let end = story.end(1);
        let read = story.read(FINAL, 1, 0, 2, true);
        if missing {
            story.change(read, |observation| {
                let Observation::Read { records, .. } = observation else { unreachable!() };
                records[1] = None;
            });
        }
        story.read(FINAL, 1, end - 1, end, true);
        story.client(FINAL, Observation::FinallyRead { tp: TP, log_start: 0, log_end: end, complete: true });
        story.violated()
    };
    assert_eq!(tell(true, false), NOTHING);
    assert!(tell(false, false).contains(&"acked-survive"), "{:?}", tell(false, false));
    assert_eq!(tell(true, true), ["acked-survive"], "it had not left its way yet");
}

#[test]
fn what_is_written_behind_a_log_that_was_misread_at_its_load_may_be_gone_at_the_next() {
    let tell = |misread: bool| {
        let mut story = three_batches();
        if misread {
            story.damage_file(3, "data/orders-0/00000000000000000000.log", (0, 300), Damage::Misread);
        }
        story.restart_with(3, 4);
        story.follow(3);
        story.restart_with(3, 2);
        story.finish()
    };
    pair(tell, "fault: misread", "recovery", &["recovery"]);
}

#[test]
fn a_misread_that_changed_nothing_at_a_load_excuses_no_later_one() {
    let mut story = three_batches();
    story.damage_file(3, "data/orders-0/00000000000000000000.log", (0, 300), Damage::Misread);
    story.restart_with(3, 6);
    story.follow(3);
    story.restart_with(3, 2);
    assert_eq!(story.finish().violated(), ["recovery"]);
}

#[test]
fn what_a_life_wrote_over_a_wiped_device_the_next_need_not_find() {
    let mut story = three_batches();
    story.restart(3);
    // Nothing of this partition is named: its directory went with the others.
    story.damage_file(3, "data/meta.properties", (0, 90), Damage::Wiped);
    story.restart_with(3, 0);
    story.follow(3);
    assert_eq!(story.violated(), NOTHING, "the life that was wiped");
    story.restart_with(3, 0);
    assert_eq!(story.finish().violated(), ["recovery"], "and no later one");
}

#[test]
fn a_reading_of_a_cluster_that_is_not_at_rest_does_not_say_what_is_gone() {
    let tell = |rests: bool| {
        let mut story = three_batches();
        story.damage_file(1, "data/meta.properties", (3, 4), Damage::BitRot);
        story.world(World::Healed);
        story.world(World::Settled { ok: rests, why: String::new() });
        story.client(FINAL, Observation::FinallyRead { tp: TP, log_start: 0, log_end: 0, complete: true });
        story.judge().violated().contains(&"acked-survive")
    };
    assert!(tell(true) && !tell(false));
}

#[test]
fn a_spoilt_fetch_may_name_any_high_watermark() {
    let tell = |spoilt: bool| {
        let mut story = Story::new(SAFE);
        story.produce(2);
        let records = story.invoke(P, 1);
        let batch = story.batch(records);
        story.append(1, 1, batch);
        story.replicate(1, 2);
        if spoilt {
            story.corrupt(node(1), node(2), "fetch");
        }
        story.mark(2, 1, 3, false);
        story
    };
    assert_eq!(tell(true).violated(), NOTHING);
    assert_eq!(tell(false).violated(), ["high-watermark"]);
}

#[test]
fn damage_below_its_end_may_keep_a_follower_from_ever_catching_up() {
    let tell = |rot: Option<i32>| {
        let mut story = three_batches();
        if let Some(node) = rot {
            story.damage(node, 0, Damage::BitRot);
        }
        story.world(World::Healed);
        story.world(World::Settled { ok: false, why: "b3 is not in sync on orders-0".into() });
        story.violated()
    };
    assert_eq!(tell(Some(3)), NOTHING, "its own copy");
    assert_eq!(tell(None), ["serves-after-heal"]);
    assert_eq!(tell(Some(2)), ["serves-after-heal"], "another copy, which it does not need");
}

#[test]
fn damage_that_the_checksum_of_a_batch_covers_keeps_no_follower_from_catching_up_behind_it() {
    let tell = |from: u64, to: u64| {
        let mut story = three_batches();
        story.damage_file(3, "data/orders-0/00000000000000000000.log", (from, to), Damage::BitRot);
        story.world(World::Healed);
        story.world(World::Settled { ok: false, why: "b3 is not in sync on orders-0".into() });
        story.violated()
    };
    let body = u64::from(story::BATCH);
    assert_eq!(tell(50, 51), ["serves-after-heal"]);
    assert_eq!(tell(21, body), ["serves-after-heal"], "all that is covered");
    assert_eq!(tell(20, 21), NOTHING, "the last byte of the checksum itself");
    assert_eq!(tell(50, body + 1), NOTHING, "the first byte of the next batch");
}

/// Power took the oldest file of node 3's log, of which a sync had lied: the log begins at 4, where its next file does.
fn lose_the_beginning(story: &mut Story) {
    story.node(3, Observation::Flushed { tp: TP, to: 6 });
    story.damage_file(3, "data/orders-0/00000000000000000000.log", (0, 200), Damage::NotDurable);
    story.power_off(3, 6);
    story.world(World::Restarted { node: NodeId(3) });
    story.node(3, Observation::NodeStarted { incarnation: Uuid(103) });
    story.node(3, Observation::LogLoaded { tp: TP, log_start: 4, log_end: 6, digest: 4711 });
}

#[test]
fn a_log_that_lost_its_beginning_is_not_compared_below_what_leaders_committed() {
    let tell = |lost: bool, committed: bool| {
        let mut story = three_batches();
        if lost {
            lose_the_beginning(&mut story);
        }
        let records = story.invoke(P, 2);
        let batch = story.batch(records);
        story.append(1, 1, batch);
        if committed {
            story.commit();
        }
        story.replicate(1, 3);
        story.mark(3, 1, 8, false);
        story.violated()
    };
    assert_eq!(tell(true, true), NOTHING);
    assert_eq!(tell(true, false), ["high-watermark"], "no leader committed anything there");
    assert_eq!(tell(false, true), NOTHING);
    assert_eq!(tell(false, false), ["high-watermark"]);
}

#[test]
fn a_whole_log_is_compared_below_what_leaders_committed() {
    let mut story = three_batches();
    let records = story.invoke(P, 2);
    let batch = story.batch(records);
    story.append(1, 1, batch);
    story.replicate(1, 3);
    story.kill(1);
    story.lead(2, &[2], Election::Clean);
    story.produce(2);
    // It holds what the former leader wrote there, and nobody committed.
    story.mark(3, 2, 8, false);
    assert_eq!(story.violated(), ["high-watermark"]);
}

/// Node 1 wrote two records behind its log and died before it could tell of them.
fn write_unannounced(story: &mut Story) {
    let records = story.invoke(P, 2);
    let batch = story.batch(records.clone());
    let (base, epoch) = (story.end(1), story.epoch);
    story.logs.entry(1).or_default().push(Batch { base, epoch, ..batch });
    story.unknown(&records);
    story.kill(1);
}

/// Node 1 leads alone, and what is in its log is committed.
fn lead_alone(story: &mut Story) {
    story.restart(1);
    story.lead(1, &[1], Election::Clean);
    story.mark(1, story.epoch, story.end(1), true);
}

fn read_again(story: &mut Story, records: Vec<Option<ClientRecord>>) {
    story.client(C, Observation::Positioned { tp: TP, offset: 2 });
    story.client(C, Observation::Read { tp: TP, offset: 2, records, finally: false });
}

#[test]
fn where_a_read_record_was_lost_as_allowed_a_start_may_find_another_that_nobody_announced() {
    let tell = |found: bool| {
        let mut story = Story::new(SAFE);
        story.produce(2);
        story.change_isr(&[1]);
        story.produce(2);
        story.read(C, 1, 0, 4, false);
        story.power_off(1, 2);
        story.decide(None, &[1], Election::Clean);
        lead_alone(&mut story);
        story.decide(None, &[1], Election::Clean);
        write_unannounced(&mut story);
        if !found {
            story.logs.entry(1).or_default().pop();
        }
        lead_alone(&mut story);
        let others = [4, 5].map(|number| Some(ClientRecord { client: P, number }));
        read_again(&mut story, others.to_vec());
        story.finish()
    };
    let told = tell(true);
    assert_eq!(told.violated(), NOTHING, "{:#?}", told.judge().verdicts);
    let setting = "flush.messages (acknowledged before it was flushed)";
    assert_eq!(allowed(&told, "consumers-read-committed")[0].setting, setting);
    assert_eq!(tell(false).violated(), ["consumers-read-committed"], "nothing stands there");
}

#[test]
fn what_nobody_announced_is_one_record_for_all_readers_where_nothing_was_lost() {
    let tell = |swapped: bool| {
        let mut story = Story::new(SAFE);
        story.produce(2);
        story.change_isr(&[1]);
        story.read(C, 1, 0, 2, false);
        story.decide(None, &[1], Election::Clean);
        write_unannounced(&mut story);
        lead_alone(&mut story);
        story.read(C, 1, 2, 4, false);
        let mut records = story.records(1)[2..4].to_vec();
        if swapped {
            records.swap(0, 1);
        }
        read_again(&mut story, records);
        story.finish().violated()
    };
    assert_eq!(tell(false), NOTHING);
    assert_eq!(tell(true), ["consumers-read-committed"]);
}

#[test]
fn what_a_node_has_in_memory_its_damaged_disk_does_not_change() {
    let tell = |damage: Option<Damage>, loads: bool| {
        let mut story = three_segments();
        damage.into_iter().for_each(|kind| story.damage(3, 0, kind));
        if loads {
            story.kill(3);
            story.restart(3);
        }
        // One segment is out of date and stays.
        story.expire(3, 1, 0, 0);
        story.finish()
    };
    pair(|rot| tell(rot.then_some(Damage::BitRot), true), "fault: bit-rot", "retention-exact", &["retention-exact"]);
    assert_eq!(tell(Some(Damage::BitRot), false).violated(), ["retention-exact"]);
    assert_eq!(tell(Some(Damage::NotDurable), true).violated(), ["retention-exact"], "power was not lost");
    assert_eq!(tell(Some(Damage::Partial), true).violated(), ["retention-exact"]);
}

#[test]
fn what_a_load_met_may_change_what_it_knows_of_producers() {
    let tell = |damage: Option<Damage>| {
        let mut story = Story::new(SAFE);
        story.produce_in_sequence(0);
        story.produce_in_sequence(1);
        damage.into_iter().for_each(|kind| story.damage(3, 0, kind));
        story.restart_knowing(3, 2);
        story.finish()
    };
    pair(|rot| tell(rot.then_some(Damage::BitRot)), "fault: bit-rot", "producer-state", &["producer-state"]);
    assert_eq!(tell(Some(Damage::NotDurable)).violated(), ["producer-state"]);
}
