//! One combination of settings over all seeds.

use super::{Combination, Measure};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// A number that should be zero, over all runs of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counted {
    /// Over all runs.
    pub total: u64,
    /// Runs in which it was not zero.
    pub runs: u64,
    /// The first seed of them.
    pub smallest_seed: Option<u64>,
}

impl Counted {
    fn add(&mut self, seed: u64, count: u64) {
        if count > 0 {
            self.total += count;
            self.runs += 1;
            self.smallest_seed.get_or_insert(seed);
        }
    }
}

/// One combination, measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Row {
    /// Its settings.
    pub settings: Combination,
    /// Runs.
    pub runs: u64,
    /// Records acknowledged.
    pub acked: u64,
    /// Records sent with acks=0.
    pub sent: u64,
    /// Of these, gone.
    pub lost: Counted,
    /// By the setting that allows it.
    pub excused_by: BTreeMap<String, u64>,
    /// Records that stand more than once, each time but the first.
    pub duplicated: Counted,
    /// Records behind a later one of their producer.
    pub reordered: Counted,
    /// Records that a producer was told are not written.
    pub refused: Counted,
    /// Records of which nobody was told.
    pub unknown: u64,
    /// Mean over runs, in seconds, summed over partitions: a record waited, and none had been acknowledged for more than a second.
    pub unavailable_seconds: f64,
    /// Likewise: an acknowledged record had waited for its reader for more than a second.
    pub invisible_seconds: f64,
    /// From a record's invocation to its acknowledgement in simulated time, milliseconds; nearest rank.
    pub ack_p50_ms: Option<f64>,
    /// Likewise, of a hundred the slowest but one.
    pub ack_p99_ms: Option<f64>,
    /// Promises that were broken in some run, and the first seed of each.
    pub broken: BTreeMap<String, u64>,
    #[serde(skip)]
    unavailable_ns: u64,
    #[serde(skip)]
    invisible_ns: u64,
    #[serde(skip)]
    latencies_us: Vec<u32>,
}

impl Row {
    /// Without a run.
    pub fn new(settings: Combination) -> Self {
        Self { settings, ..Self::default() }
    }

    /// Adds the run of a seed; seeds come in their order.
    pub fn add(&mut self, seed: u64, measure: Measure) {
        self.runs += 1;
        self.acked += measure.acked;
        self.sent += measure.sent;
        self.unknown += measure.unknown;
        self.lost.add(seed, measure.lost.values().sum());
        for (setting, count) in measure.lost {
            *self.excused_by.entry(setting).or_default() += count;
        }
        self.duplicated.add(seed, measure.duplicated);
        self.reordered.add(seed, measure.reordered);
        self.refused.add(seed, measure.refused);
        self.unavailable_ns += measure.unavailable_ns;
        self.invisible_ns += measure.invisible_ns;
        self.latencies_us.extend(measure.latencies_us);
        let broken: BTreeSet<&str> = measure.broken;
        for property in broken {
            self.broken.entry(property.to_owned()).or_insert(seed);
        }
    }

    /// All runs were added.
    pub fn finish(&mut self) {
        let mean = |ns: u64, runs: u64| ns as f64 / 1e9 / runs.max(1) as f64;
        self.unavailable_seconds = mean(self.unavailable_ns, self.runs);
        self.invisible_seconds = mean(self.invisible_ns, self.runs);
        self.latencies_us.sort_unstable();
        self.ack_p50_ms = self.quantile(50);
        self.ack_p99_ms = self.quantile(99);
    }

    /// The latency that so many of a hundred acknowledgements do not exceed.
    fn quantile(&self, percent: usize) -> Option<f64> {
        let rank = (self.latencies_us.len() * percent).div_ceil(100).checked_sub(1)?;
        Some(f64::from(self.latencies_us[rank]) / 1_000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_sums_its_runs_and_names_the_first_seed_of_each_finding() {
        let mut row = Row::new(vec![("acks".to_owned(), "1".to_owned())]);
        let lost = |count| BTreeMap::from([("acks=1".to_owned(), count)]);
        row.add(0, Measure { acked: 10, latencies_us: (1..=10).collect(), ..Measure::default() });
        row.add(1, Measure { acked: 10, lost: lost(3), unavailable_ns: 3_000_000_000, ..Measure::default() });
        row.add(2, Measure { acked: 10, lost: lost(2), duplicated: 1, ..Measure::default() });
        row.finish();
        assert_eq!(row.lost, Counted { total: 5, runs: 2, smallest_seed: Some(1) });
        assert_eq!(row.duplicated.smallest_seed, Some(2));
        assert_eq!((row.acked, row.excused_by["acks=1"]), (30, 5));
        assert_eq!((row.ack_p50_ms, row.ack_p99_ms), (Some(0.005), Some(0.010)));
        assert!((row.unavailable_seconds - 1.0).abs() < 1e-9);
    }
}
