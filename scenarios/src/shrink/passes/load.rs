//! What producers send: fewer records, and later, earlier or farther apart.

use super::{edited, smaller};
use crate::script::{ProducerSpec, Script, Span, Trigger};

/// Fewer records: of all producers at once, then of each.
pub fn records(script: &Script) -> Vec<Script> {
    let shares = [1, 2, 4, 6].into_iter();
    let together = shares.map(|eighths| {
        edited(script, |script| {
            let length = script.duration;
            let fewer = |p: &mut ProducerSpec| p.records = (sends(p, length) * eighths / 8).max(1);
            script.producers.iter_mut().for_each(fewer);
        })
    });
    let each = (0..script.producers.len()).flat_map(|index| of_one(script, index));
    together.filter(|_| script.producers.len() > 1).chain(each).collect()
}

/// How many records a producer can hand in before the run is over.
fn sends(producer: &ProducerSpec, length: Span) -> u64 {
    let time = length.0.saturating_sub(producer.start.0);
    let in_time = u128::from(time) * u128::from(producer.rate) / 1_000_000_000 + 1;
    producer.records.min(in_time as u64)
}

/// The first of its records, the last ones at the instants at which they were sent, or one of several.
fn of_one(script: &Script, index: usize) -> Vec<Script> {
    let producer = &script.producers[index];
    let sent = sends(producer, script.duration);
    let change = |edit: &dyn Fn(&mut ProducerSpec)| edited(script, |script| edit(&mut script.producers[index]));
    let mut all = Vec::new();
    for left in smaller(sent, 1) {
        all.push(change(&|p| p.records = left));
        all.extend(counted(script, index, left));
        let later = Span::ms(((sent - left) * 1_000).div_ceil(producer.rate));
        all.push(change(&|p| (p.records, p.start) = (left, Span(p.start.0 + later.0))));
    }
    for apart in [16, 4, 2].into_iter().filter(|apart| producer.rate >= *apart && sent > 1) {
        all.push(change(&|p| (p.records, p.rate) = (sent.div_ceil(apart), p.rate / apart)));
    }
    all
}

/// So many of its records, and triggers that count so much less far.
fn counted(script: &Script, index: usize, left: u64) -> Option<Script> {
    let less = sends(&script.producers[index], script.duration) - left;
    let mut fewer = edited(script, |script| script.producers[index].records = left);
    let triggers = fewer.steps.iter_mut().filter_map(|step| step.when.as_mut());
    let counts: Vec<&mut u64> = triggers.filter_map(Trigger::count_mut).collect();
    let any = !counts.is_empty();
    counts.into_iter().for_each(|nth| *nth = nth.saturating_sub(less).max(1));
    any.then_some(fewer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_records_are_the_first_the_last_or_one_of_several() {
        let text = "duration = \"10s\"\n[[topic]]\nname = \"orders\"\n[[producer]]\nname = \"p1\"\ntopics = [\"orders\"]\nrate = 100";
        let script = Script::from_toml("load.toml", text).expect("a good script");
        let loads: Vec<(u64, u64, u64)> =
            records(&script).iter().map(|s| &s.producers[0]).map(|p| (p.records, p.rate, p.start.as_ms())).collect();
        assert_eq!(loads[..2], [(1, 100, 0), (1, 100, 10_000)]);
        assert!(loads.contains(&(501, 50, 0)) && loads.contains(&(501, 100, 5_000)));
        assert!(loads.iter().all(|(records, ..)| *records < 1_001));
    }
}
