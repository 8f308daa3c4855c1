//! What clients were told against what the log holds.

mod story;

use klamm_base::Election;
use klamm_checkers::{Confusion, Places};
use story::{C, P, SAFE, Settings, Story, good};

#[test]
fn each_record_is_counted_by_what_was_told_of_it_and_where_it_is() {
    let mut story = good(SAFE);
    // One unknown that happened, one that did not.
    let records = story.invoke(P, 1);
    let batch = story.batch(records.clone());
    story.append(2, 2, batch);
    story.commit();
    story.unknown(&records);
    let never = story.invoke(P, 1);
    story.unknown(&never);
    let story = story.finish();
    assert_eq!(story.violated(), Vec::<&str>::new());
    let confusion = story.judge().confusion;
    let seen = |in_log, never_seen| Places { in_log, never_seen, ..Places::default() };
    // Ten of the good run, one after the heal.
    let wanted = Confusion { acked: seen(11, 0), refused: seen(0, 1), unknown: seen(1, 1), sent: Places::default() };
    assert_eq!(confusion, wanted);
    assert_eq!(confusion.acked.total(), story.judge().counts.acked);
    let mut twice = confusion;
    twice.add(&confusion);
    assert_eq!(twice.unknown, seen(2, 2));
}

#[test]
fn what_was_acknowledged_or_read_and_lost_is_gone() {
    let mut story = Story::new(Settings { unclean: true, ..SAFE });
    story.produce(3);
    story.change_isr(&[1]);
    story.produce(5);
    // Nobody is told of the ninth, but somebody reads it.
    let records = story.invoke(P, 1);
    let batch = story.batch(records.clone());
    story.append(1, 1, batch);
    story.commit();
    story.read(C, 1, 0, 9, false);
    story.unknown(&records);
    story.kill(1);
    story.lead(2, &[2], Election::Unclean);
    story.restart(1);
    story.follow(1);
    let confusion = story.finish().judge().confusion;
    assert_eq!(confusion.acked, Places { in_log: 4, gone: 5, ..Places::default() });
    assert_eq!(confusion.unknown, Places { gone: 1, ..Places::default() });
}

#[test]
fn without_a_final_reading_nothing_is_known() {
    let confusion = good(SAFE).judge().confusion;
    assert_eq!(confusion.acked, Places { not_known: 10, ..Places::default() });
}
