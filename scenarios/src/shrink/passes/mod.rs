//! The edits themselves, in their order: what takes away most comes first. Each is a pure function from a script to its
//! candidates, boldest first, and each candidate is smaller by a measure that no other pass raises without end.

mod kinds;
mod lists;
mod load;
mod settings;
mod times;

use crate::script::{Script, Span};

/// From a script to its candidates, boldest first. They may name what is gone: [`super::tidy`] comes after it.
pub type Pass = fn(&Script) -> Vec<Script>;

/// Every pass with the name that progress shows.
pub const PASSES: &[(&str, Pass)] = &[
    ("length of the run", times::run_length),
    ("faults", lists::faults),
    ("clients", lists::clients),
    ("partitions", lists::partitions),
    ("brokers", lists::brokers),
    ("records", load::records),
    ("times", times::times),
    ("kinds of faults", kinds::kinds),
    ("settings", settings::settings),
    ("places", settings::places),
    ("round numbers", times::rounded),
];

/// The script after an edit.
fn edited(script: &Script, edit: impl FnOnce(&mut Script)) -> Script {
    let mut script = script.clone();
    edit(&mut script);
    script
}

/// Smaller values of a number, boldest first: the least, then an eighth of the way, up to seven eighths.
fn smaller(value: u64, least: u64) -> Vec<u64> {
    let Some(room) = value.checked_sub(least).filter(|room| *room > 0) else { return Vec::new() };
    let mut values: Vec<u64> =
        [0, 1, 2, 4, 6, 7].map(|eighths| least + room / 8 * eighths + room % 8 * eighths / 8).into();
    // Numbers that people count on their fingers go down one by one.
    values.extend((value <= 16).then_some(value - 1));
    values.sort_unstable();
    values.dedup();
    values
}

/// Shorter times, in whole milliseconds, boldest first.
fn shorter(value: Span, least_ms: u64) -> Vec<Span> {
    let eighths = smaller(value.as_ms(), least_ms);
    eighths.into_iter().filter(|ms| ms + 1 < value.as_ms() || *ms == least_ms).map(Span::ms).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smaller_numbers_come_boldest_first_and_reach_the_least() {
        assert_eq!(smaller(9_812, 1), [1, 1_227, 2_453, 4_906, 7_359, 8_585]);
        assert_eq!(smaller(3, 1), [1, 2]);
        assert!(smaller(1, 1).is_empty() && smaller(0, 1).is_empty());
        assert_eq!(shorter(Span::ms(8_000), 0).first(), Some(&Span::ZERO));
        assert!(shorter(Span::ms(1), 1).is_empty());
    }
}
