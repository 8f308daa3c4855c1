//! What one run cost its clients.

use klamm_base::{ClientRecord, Observation, Outcome, Source, TopicPartition};
use klamm_checkers::{Event, History, Report, Verdict};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A wait that nobody calls an outage.
pub const PATIENCE_NS: u64 = 1_000_000_000;

/// One run in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measure {
    /// Records that a producer was told are written.
    pub acked: u64,
    /// Records sent with acks=0.
    pub sent: u64,
    /// Records that a producer was told are not written.
    pub refused: u64,
    /// Records of which nobody was told.
    pub unknown: u64,
    /// Records that were acknowledged, or sent with acks=0, and are gone; by the setting that allows it.
    pub lost: BTreeMap<String, u64>,
    /// Records that the final reading shows more than once, each time but the first.
    pub duplicated: u64,
    /// Records that the final reading shows behind a later one of their producer.
    pub reordered: u64,
    /// Nanoseconds, over all partitions, in which a record waited and none had been acknowledged for more than a second.
    pub unavailable_ns: u64,
    /// Nanoseconds, over all partitions that somebody reads, in which an acknowledged record had waited for its first reader for
    /// more than a second.
    pub invisible_ns: u64,
    /// From a record's invocation to its acknowledgement, microseconds.
    pub latencies_us: Vec<u32>,
    /// Promises that were broken.
    pub broken: BTreeSet<&'static str>,
}

impl Measure {
    /// Of a run that went to its end.
    pub fn of(history: &History, report: &Report) -> Measure {
        let counts = report.counts;
        let mut measure = Measure {
            acked: counts.acked,
            sent: counts.sent,
            refused: counts.refused,
            unknown: counts.unknown,
            lost: lost(report),
            broken: report.violated().into_iter().collect(),
            ..Measure::default()
        };
        let mut parts: BTreeMap<TopicPartition, Part> = BTreeMap::new();
        for entry in &history.entries {
            if let Event::Stack { source: Source::Client(_), observation } = &entry.event {
                measure.take(&mut parts, entry.at_ns, observation);
            }
        }
        for part in parts.into_values() {
            measure.unavailable_ns += part.unavailable_ns();
            measure.invisible_ns += part.invisible_ns;
        }
        measure
    }

    fn take(&mut self, parts: &mut BTreeMap<TopicPartition, Part>, at_ns: u64, observation: &Observation) {
        match observation {
            Observation::Invoked { tp, record } => parts.entry(*tp).or_default().invoked(*record, at_ns),
            Observation::Ended { tp, record, outcome } => {
                let took_ns = parts.entry(*tp).or_default().ended(*record, *outcome, at_ns);
                self.latencies_us.extend(took_ns.map(|ns| u32::try_from(ns / 1_000).unwrap_or(u32::MAX)));
            }
            Observation::Positioned { tp, .. } => parts.entry(*tp).or_default().is_read = true,
            Observation::Read { tp, offset, records, finally } => {
                let part = parts.entry(*tp).or_default();
                part.read(offset.saturating_add(records.len() as i64), at_ns);
                if *finally {
                    records.iter().flatten().for_each(|record| self.shown(part, *record));
                }
            }
            _ => {}
        }
    }

    /// The final reading shows this record next.
    fn shown(&mut self, part: &mut Part, record: ClientRecord) {
        if !part.shown.insert((record.client.0, record.number)) {
            self.duplicated += 1;
            return;
        }
        let latest = part.latest.entry(record.client.0).or_insert(record.number);
        self.reordered += u64::from(record.number < *latest);
        *latest = record.number.max(*latest);
    }
}

fn lost(report: &Report) -> BTreeMap<String, u64> {
    let mut lost: BTreeMap<String, u64> = BTreeMap::new();
    if let Some(Verdict::Allowed { losses, .. }) = report.verdicts.get("acked-survive") {
        for loss in losses.iter().filter(|loss| loss.count() > 0) {
            *lost.entry(loss.setting.clone()).or_default() += loss.count();
        }
    }
    lost
}

/// One partition, as clients see it.
#[derive(Debug, Default)]
struct Part {
    /// When each record was invoked that has not ended.
    open: BTreeMap<(u32, u32), u64>,
    /// Since when somebody has waited and nothing was acknowledged.
    waits_since: Option<u64>,
    last_invoked_ns: u64,
    gaps_ns: u64,
    is_read: bool,
    /// Acknowledged and not read: offsets, and when.
    unread: VecDeque<(i64, u64)>,
    read_to: i64,
    counted_to_ns: u64,
    invisible_ns: u64,
    shown: BTreeSet<(u32, u32)>,
    latest: BTreeMap<u32, u32>,
}

impl Part {
    fn invoked(&mut self, record: ClientRecord, at_ns: u64) {
        self.open.insert((record.client.0, record.number), at_ns);
        self.waits_since.get_or_insert(at_ns);
        self.last_invoked_ns = at_ns;
    }

    /// How long its acknowledgement took, if it is one.
    fn ended(&mut self, record: ClientRecord, outcome: Outcome, at_ns: u64) -> Option<u64> {
        let invoked_ns = self.open.remove(&(record.client.0, record.number))?;
        match outcome {
            Outcome::Acked(offset) if self.is_read && offset >= self.read_to => self.unread.push_back((offset, at_ns)),
            Outcome::Acked(_) | Outcome::Sent => {}
            Outcome::Refused(_) | Outcome::Unknown(_) => return None,
        }
        self.gaps_ns += gap(self.waits_since, at_ns);
        self.waits_since = (!self.open.is_empty()).then_some(at_ns);
        Some(at_ns.saturating_sub(invoked_ns))
    }

    /// With what waited in vain up to the last record that was handed in.
    fn unavailable_ns(&self) -> u64 {
        self.gaps_ns + gap(self.waits_since, self.last_invoked_ns)
    }

    /// Somebody read up to an offset.
    fn read(&mut self, to: i64, at_ns: u64) {
        self.is_read = true;
        self.read_to = self.read_to.max(to);
        while let Some((_, acked_ns)) = self.unread.pop_front_if(|(offset, _)| *offset < to) {
            let from = self.counted_to_ns.max(acked_ns.saturating_add(PATIENCE_NS));
            self.invisible_ns += at_ns.saturating_sub(from);
            self.counted_to_ns = self.counted_to_ns.max(at_ns);
        }
    }
}

/// A wait of more than a second, whole.
fn gap(since: Option<u64>, at_ns: u64) -> u64 {
    since.map(|since| at_ns.saturating_sub(since)).filter(|gap| *gap > PATIENCE_NS).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use klamm_base::{ClientId, ErrorCode, Uuid};

    const TP: TopicPartition = TopicPartition { topic: Uuid(7), partition: 0 };
    const S: u64 = 1_000_000_000;

    fn record(number: u32) -> ClientRecord {
        ClientRecord { client: ClientId(1), number }
    }

    fn measured(told: &[(u64, Observation)]) -> Measure {
        let (mut measure, mut parts) = (Measure::default(), BTreeMap::new());
        told.iter().for_each(|(at_ns, observation)| measure.take(&mut parts, *at_ns, observation));
        for part in parts.into_values() {
            measure.unavailable_ns += part.unavailable_ns();
            measure.invisible_ns += part.invisible_ns;
        }
        measure
    }

    fn invoked(number: u32) -> Observation {
        Observation::Invoked { tp: TP, record: record(number) }
    }

    fn ended(number: u32, outcome: Outcome) -> Observation {
        Observation::Ended { tp: TP, record: record(number), outcome }
    }

    fn read(offset: i64, numbers: &[u32], finally: bool) -> Observation {
        Observation::Read { tp: TP, offset, records: numbers.iter().map(|n| Some(record(*n))).collect(), finally }
    }

    #[test]
    fn a_partition_is_unavailable_while_records_wait_and_none_is_acknowledged() {
        let told = [
            (S, invoked(0)),
            (S + 5_000, ended(0, Outcome::Acked(0))),
            (2 * S, invoked(1)),
            (3 * S, ended(1, Outcome::Refused(ErrorCode::NotEnoughReplicas))),
            (4 * S, invoked(2)),
            (6 * S, ended(2, Outcome::Acked(1))),
            (7 * S, invoked(3)),
            (9 * S, invoked(4)),
        ];
        let measure = measured(&told);
        assert_eq!(
            measure.unavailable_ns,
            (6 - 2) * S + (9 - 7) * S,
            "a refusal ends no wait; the end of the load does"
        );
        assert_eq!(measure.latencies_us, [5, 2_000_000]);
    }

    #[test]
    fn an_acknowledged_record_is_invisible_from_a_second_on_until_somebody_reads_it() {
        let told = [
            (0, Observation::Positioned { tp: TP, offset: 0 }),
            (S, invoked(0)),
            (S, ended(0, Outcome::Acked(0))),
            (2 * S, invoked(1)),
            (2 * S, ended(1, Outcome::Acked(1))),
            (5 * S, read(0, &[0, 1], false)),
            (5 * S, invoked(2)),
            (5 * S, ended(2, Outcome::Acked(2))),
            (5 * S + 900_000_000, read(2, &[2], false)),
        ];
        assert_eq!(measured(&told).invisible_ns, 3 * S, "two that wait at once are one wait");
    }

    #[test]
    fn the_final_reading_tells_what_came_twice_and_what_came_late() {
        let told = [(S, read(0, &[0, 1, 3, 2, 3, 0], true))];
        let measure = measured(&told);
        assert_eq!((measure.duplicated, measure.reordered), (2, 1));
    }
}
