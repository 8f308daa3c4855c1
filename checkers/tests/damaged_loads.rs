//! Damage to what a load believes: checkpoints, files of epochs, headers that no checksum covers. What it excuses, and what not.

mod story;

use klamm_base::{Election, NodeId, Observation, StartCause, TruncationCause};
use klamm_checkers::{Damage, Party, Standing};
use story::{P, SAFE, Settings, Story, TP, three_batches, three_segments};

const NOTHING: [&str; 0] = [];

fn node(id: i32) -> Party {
    Party::Node(NodeId(id))
}

#[test]
fn a_leader_that_did_not_load_takes_no_sequence_wrongly_for_damage_of_its_disk() {
    let tell = |loads: bool| {
        let mut story = Story::new(SAFE);
        story.produce_in_sequence(0);
        story.damage(1, 0, Damage::BitRot);
        if loads {
            story.kill(1);
            story.restart(1);
        }
        story.produce_in_sequence(2);
        story.standing("producer-state")
    };
    assert_eq!(tell(true), Standing::Allowed);
    assert_eq!(tell(false), Standing::Violated);
}

#[test]
fn no_damage_lets_a_log_delete_what_was_never_committed() {
    let tell = |to: i64| {
        let mut story = three_segments();
        let records = story.invoke(P, 1);
        let batch = story.batch(records.clone());
        story.append(1, 1, batch);
        story.unknown(&records);
        story.replicate(1, 2);
        story.replicate(1, 3);
        story.corrupt(node(1), node(2), "fetch");
        story.start(2, to, StartCause::Leader);
        story.kill(1);
        story.lead(2, &[2, 3], Election::Clean);
        story.restart(1);
        story.finish_from(to).violated()
    };
    assert_eq!(tell(6), NOTHING, "the price of the frame");
    assert_eq!(tell(7), ["acked-survive"]);
}

#[test]
fn a_wrong_checkpoint_of_starts_lets_a_log_begin_elsewhere_and_does_nothing_else() {
    let tell = |file: Option<(&str, Damage)>, found: i64, keeps: i64| {
        let mut story = three_segments();
        file.into_iter().for_each(|(file, kind)| story.damage_file(3, file, (2, 3), kind));
        story.starts.insert(3, found);
        story.restart_with(3, keeps);
        story.violated().contains(&"recovery")
    };
    let starts = "data/log-start-offset-checkpoint";
    assert!(tell(None, 1, 6));
    assert!(!tell(Some((starts, Damage::BitRot)), 1, 6));
    assert!(!tell(Some(("data/log-start-offset-checkpoint.tmp", Damage::Overwritten)), 1, 6));
    assert!(tell(Some(("data/log-start-offset-checkpoint.tmp", Damage::Forgotten)), 1, 6), "its writer was told");
    assert!(tell(Some((starts, Damage::NotDurable)), 1, 6), "power was not lost");
    assert!(tell(Some((starts, Damage::BitRot)), 0, 4), "it begins where it did");
    assert!(tell(Some(("data/replication-offset-checkpoint", Damage::BitRot)), 1, 6));
    assert!(tell(Some(("data/cleaner-offset-checkpoint", Damage::BitRot)), 1, 6));
}

#[test]
fn a_wrong_recovery_point_lets_a_log_believe_what_power_tore_and_nothing_below() {
    let tell = |wrong: bool, power: bool, changed: usize| {
        let mut story = three_batches();
        story.node(3, Observation::Flushed { tp: TP, to: 4 });
        if wrong {
            story.damage_file(3, "data/recovery-point-offset-checkpoint", (2, 3), Damage::BitRot);
        }
        if power {
            story.power_off(3, 6);
        } else {
            story.kill(3);
        }
        story.logs.entry(3).or_default()[changed].id += 1;
        story.restart(3);
        story.violated().contains(&"recovery")
    };
    assert!(tell(false, true, 2));
    assert!(!tell(true, true, 2));
    assert!(tell(true, false, 2), "the page cache has what was written");
}

#[test]
fn a_wrong_file_of_epochs_may_mislead_a_cut_only_where_compaction_left_gaps() {
    let tell = |wrong: bool, loads: bool, compacted: bool| {
        let mut story = Story::new(Settings { compacted, ..SAFE });
        story.produce(2);
        story.produce(2);
        if wrong {
            story.damage_file(1, "data/orders-0/leader-epoch-checkpoint", (2, 3), Damage::BitRot);
        }
        if loads {
            story.kill(1);
            story.restart(1);
        }
        story.cut(2, 2, TruncationCause::DivergingEpoch);
        story.violated().contains(&"high-watermark")
    };
    assert!(tell(false, true, true));
    assert!(!tell(true, true, true));
    assert!(tell(true, false, true), "nobody has read it");
    assert!(tell(true, true, false), "the batches tell of all epochs");
}

#[test]
fn what_stands_at_the_end_of_a_log_with_rotten_batches_nobody_can_tell() {
    let tell = |rot: bool| {
        let mut story = three_batches();
        if rot {
            story.damage(3, 0, Damage::BitRot);
        }
        let records = story.invoke(P, 1);
        let batch = story.batch(records);
        let last = story.append(1, 1, batch);
        story.commit();
        // Node 3 wrote it too and did not live to tell, and one of its batches is another one now.
        let log = story.logs.entry(3).or_default();
        log[0].id += 1;
        log.push(last);
        story.kill(3);
        story.restart(3);
        story.change_isr(&[1, 2, 3]);
        story.violated()
    };
    assert_eq!(tell(true), NOTHING);
    assert_eq!(tell(false), ["high-watermark"]);
}
