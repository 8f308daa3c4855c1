//! What of a log may be cleaned, and how dirty it is ([L22], [L23]).

use crate::Compaction;

/// What is known of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Offset that its name tells.
    pub(crate) base_offset: i64,
    /// Of its `.log` file.
    pub(crate) bytes: u64,
    /// Greatest timestamp of its first batch in milliseconds; -1 if there is none.
    pub(crate) first_timestamp: i64,
    /// Greatest timestamp of all in milliseconds; -1 if there is none.
    pub(crate) max_timestamp: i64,
}

/// Where a clean of a log would begin and end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Survey {
    /// The first dirty offset: what the checkpoint says, if it can be believed.
    pub first_dirty: i64,
    /// The checkpoint lies outside of the log, and must be written anew.
    pub reset: bool,
    /// Where the uncleanable part begins: with a segment. At `first_dirty` if nothing can be cleaned.
    pub upper_bound: i64,
    /// In segments that begin below `first_dirty`.
    pub clean_bytes: u64,
    /// In segments from there to `upper_bound`.
    pub dirty_bytes: u64,
    /// Something dirty is older than `max.compaction.lag.ms`.
    pub overdue: bool,
}

impl Survey {
    /// Dirty bytes per bytes that can be cleaned at all; 0 if there are none.
    pub fn dirty_ratio(&self) -> f64 {
        match self.clean_bytes + self.dirty_bytes {
            0 => 0.0,
            all => self.dirty_bytes as f64 / all as f64,
        }
    }

    /// True if a clean is due.
    pub fn is_due(&self, compaction: &Compaction) -> bool {
        let min_ratio = f64::from(compaction.min_dirty_millionths) / 1e6;
        (self.overdue && self.dirty_bytes > 0) || self.dirty_ratio() > min_ratio
    }
}

/// Looks at a log's segments, the last of which is active. `checkpoint` is the first offset that no clean has reached, as
/// the cleaner's checkpoint file has it.
pub(crate) fn survey(
    segments: &[Facts],
    log: std::ops::Range<i64>,
    last_stable_offset: i64,
    checkpoint: Option<i64>,
    compaction: &Compaction,
    now_ms: i64,
) -> Survey {
    let active = segments.last().expect("a log has a segment").base_offset;
    let known = checkpoint.filter(|offset| (log.start..=log.end).contains(offset));
    let first_dirty = known.unwrap_or(log.start);
    let dirty = &segments[containing(segments, first_dirty)..segments.len() - 1];
    let too_new = (compaction.min_lag_ms > 0)
        .then(|| dirty.iter().find(|segment| segment.max_timestamp > now_ms.saturating_sub(compaction.min_lag_ms)))
        .flatten();
    let bound = too_new.map_or(active, |segment| segment.base_offset).min(active).min(last_stable_offset);
    // Only whole segments are cleaned: what holds the bound waits for the next time.
    let upper_bound = segments[containing(segments, bound)].base_offset.max(first_dirty);
    let size = |wanted: &dyn Fn(i64) -> bool, segments: &[Facts]| -> u64 {
        segments.iter().filter(|segment| wanted(segment.base_offset)).map(|segment| segment.bytes).sum()
    };
    let oldest = dirty.iter().map(|segment| segment.first_timestamp).filter(|timestamp| *timestamp > 0).min();
    Survey {
        first_dirty,
        reset: checkpoint.is_some() && known.is_none(),
        upper_bound,
        clean_bytes: size(&|base| base < first_dirty, segments),
        dirty_bytes: if upper_bound > first_dirty { size(&|base| base < upper_bound, dirty) } else { 0 },
        overdue: oldest.is_some_and(|oldest| oldest < now_ms.saturating_sub(compaction.max_lag_ms.max(0))),
    }
}

/// The segment that holds `offset`; the first one if none does.
fn containing(segments: &[Facts], offset: i64) -> usize {
    segments.partition_point(|segment| segment.base_offset <= offset).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_LAGS: Compaction = Compaction::KAFKAS;

    /// Four segments of a hundred offsets and a thousand bytes each, a second apart; the last one is active.
    fn four() -> Vec<Facts> {
        (0..4)
            .map(|i| Facts {
                base_offset: i * 100,
                bytes: 1_000,
                first_timestamp: 10_000 + i * 1_000,
                max_timestamp: 10_900 + i * 1_000,
            })
            .collect()
    }

    fn of(stable: i64, checkpoint: Option<i64>, compaction: Compaction, now_ms: i64) -> Survey {
        survey(&four(), 0..350, stable, checkpoint, &compaction, now_ms)
    }

    #[test]
    fn the_active_segment_is_never_cleaned() {
        let all = of(350, None, NO_LAGS, 20_000);
        assert_eq!((all.first_dirty, all.upper_bound, all.clean_bytes, all.dirty_bytes), (0, 300, 0, 3_000));
        assert_eq!(all.dirty_ratio(), 1.0);
        let none = of(350, Some(300), NO_LAGS, 20_000);
        assert_eq!((none.upper_bound, none.dirty_bytes, none.dirty_ratio()), (300, 0, 0.0));
    }

    #[test]
    fn nothing_undecided_is_cleaned() {
        assert_eq!(of(250, None, NO_LAGS, 20_000).upper_bound, 200, "the segment with the last stable offset waits");
        assert_eq!(of(200, None, NO_LAGS, 20_000).upper_bound, 200);
        let none = of(99, None, NO_LAGS, 20_000);
        assert_eq!((none.upper_bound, none.dirty_bytes), (0, 0));
        let behind = of(150, Some(200), NO_LAGS, 20_000);
        assert_eq!((behind.upper_bound, behind.dirty_bytes), (200, 0), "the end is never below the first dirty offset");
    }

    #[test]
    fn a_segment_younger_than_the_least_lag_waits_and_all_behind_it() {
        let lags = |min_lag_ms| Compaction { min_lag_ms, ..NO_LAGS };
        assert_eq!(of(350, None, lags(1_000), 12_900).upper_bound, 200, "11 900 is a second old, 12 900 is not");
        assert_eq!(of(350, None, lags(1_000), 12_899).upper_bound, 100);
        assert_eq!(of(350, None, lags(1_000), 13_900).upper_bound, 300);
    }

    #[test]
    fn a_checkpoint_outside_of_the_log_is_reset_to_its_start() {
        let log = |start, end, checkpoint| survey(&four(), start..end, end, Some(checkpoint), &NO_LAGS, 20_000);
        assert_eq!((log(50, 350, 40).first_dirty, log(50, 350, 40).reset), (50, true));
        assert_eq!((log(50, 350, 351).first_dirty, log(50, 350, 351).reset), (50, true));
        assert_eq!((log(50, 350, 50).first_dirty, log(50, 350, 50).reset), (50, false));
        assert_eq!((log(50, 350, 350).first_dirty, log(50, 350, 350).reset), (350, false));
    }

    #[test]
    fn a_clean_is_due_above_the_dirty_ratio() {
        let a_third = of(350, Some(200), NO_LAGS, 20_000);
        assert_eq!((a_third.clean_bytes, a_third.dirty_bytes), (2_000, 1_000));
        let above = |min_dirty_millionths| Compaction { min_dirty_millionths, ..NO_LAGS };
        assert!(!a_third.is_due(&above(334_000)) && a_third.is_due(&above(333_000)));
        let a_half = of(300, Some(150), NO_LAGS, 20_000);
        assert_eq!((a_half.clean_bytes, a_half.dirty_bytes), (2_000, 2_000), "its segment counts on both sides");
        assert!(!a_half.is_due(&NO_LAGS));
    }

    #[test]
    fn a_clean_is_due_when_something_dirty_is_too_old() {
        let lags = Compaction { max_lag_ms: 5_000, ..NO_LAGS };
        assert!(!of(350, Some(200), lags, 17_000).is_due(&NO_LAGS), "12 000 is five seconds old, and no more");
        assert!(of(350, Some(200), lags, 17_001).is_due(&NO_LAGS));
        assert!(!of(200, Some(200), lags, 17_001).is_due(&NO_LAGS), "but there must be something to clean");
    }
}
