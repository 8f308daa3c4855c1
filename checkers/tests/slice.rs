//! The story of a violation: the few entries that lead to it.

mod story;

use klamm_base::{Election, TruncationCause};
use klamm_checkers::{Fact, Report};
use story::{SAFE, Story, good};

fn lines(report: &Report, property: &str) -> Vec<String> {
    let line = |fact: &Fact| format!("{} {}", fact.seq, fact.text);
    report.stories[property].iter().map(line).collect()
}

/// A01: a follower cuts to its stale high watermark, then leads.
fn cut_and_led() -> Story {
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
    story.finish()
}

#[test]
fn a_loss_is_told_from_the_append_to_the_leader_that_lacks_it() {
    let report = cut_and_led().judge();
    let told = [
        "15 node 1 took up epoch 1 of orders-0 with a log that ends at 0",
        "26 p1 was given record 2 for orders-0",
        "29 node 1 appended 2..5 to orders-0 as leader, written in epoch 1",
        "30 node 2 appended 2..5 to orders-0 as follower, written in epoch 1",
        "31 node 3 appended 2..5 to orders-0 as follower, written in epoch 1",
        "32 node 1, leader of orders-0 in epoch 1, moved its high watermark to 5",
        "33 node 1 acknowledged 2..5 of orders-0 with acks=all in epoch 1",
        "34 p1 was told that its record 2 in orders-0 is written at offset 2",
        "38 node 1 was killed",
        "39 the controller made node 2 leader of orders-0 in epoch 2, ISR [node 2, node 3], version 1",
        "40 node 2 took up epoch 2 of orders-0 with a log that ends at 5",
        "42 node 3 cut orders-0 to 2 (to its own high watermark; its high watermark was 0)",
        "44 node 2 was killed",
        "45 the controller made node 3 leader of orders-0 in epoch 3, ISR [node 3], version 2",
        "46 node 3 took up epoch 3 of orders-0 with a log that ends at 2",
    ];
    assert_eq!(lines(&report, "acked-survive"), told);
}

#[test]
fn a_cut_of_committed_records_is_told_with_what_a_client_was_told_of_them() {
    let mut story = good(SAFE);
    story.cut(3, 9, TruncationCause::HighWatermark);
    let told = lines(&story.judge(), "high-watermark");
    assert!(told.iter().any(|line| line.ends_with("p1 was told that its record 9 in orders-0 is written at offset 9")));
    assert!(told.last().is_some_and(|line| line.contains("node 3 cut orders-0 to 9")), "{told:#?}");
}

#[test]
fn a_story_is_short_in_the_order_of_the_history_and_holds_both_facts() {
    let mut long = good(SAFE);
    for _ in 0..40 {
        long.produce(1);
        long.change_isr(&[2, 3]);
        long.change_isr(&[1, 2, 3]);
        long.kill(3);
        long.restart(3);
    }
    long.cut(3, 2, TruncationCause::HighWatermark);
    for story in [cut_and_led(), long] {
        let report = story.judge();
        assert!(!report.violated().is_empty());
        for property in report.violated() {
            let told = &report.stories[property];
            let witness = match &report.verdicts[property] {
                klamm_checkers::Verdict::Violated { witness, .. } => witness,
                other => panic!("{other:?}"),
            };
            assert!(told.len() <= 20, "{property}: {told:#?}");
            assert!(told.is_sorted_by_key(|fact| fact.seq), "{property}: {told:#?}");
            assert!(told.contains(&witness.first) && told.contains(&witness.second), "{property}: {told:#?}");
            assert_eq!(told.last().map(|fact| fact.seq), Some(witness.first.seq.max(witness.second.seq)), "{property}");
        }
    }
}

#[test]
fn what_is_not_broken_has_no_story() {
    assert!(good(SAFE).finish().judge().stories.is_empty());
}
