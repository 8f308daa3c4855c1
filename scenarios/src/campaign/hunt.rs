//! Guards switched off, one after the other: how many seeds until a campaign finds the bug that each keeps away.

use super::caught::caught;
use crate::script::Script;
use crate::stage::{RunOptions, room, run_in};
use klamm_base::Guard;
use klamm_checkers::Signature;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc;

/// One guard to switch off, and where to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hunt {
    /// The guard.
    pub guard: Guard,
    /// Seeds of one range, at most so many are run.
    pub budget: u64,
    /// Disjoint ranges of seeds, the first from 0 on; each is searched on its own.
    pub ranges: u64,
}

impl Hunt {
    fn range(&self, number: u64) -> Range<u64> {
        number * self.budget..(number + 1) * self.budget
    }
}

/// The first seed of a range in which a promise breaks.
#[derive(Clone, Debug)]
pub struct Found {
    /// Seeds that it took, this one included.
    pub needed: u64,
    /// How the promise breaks.
    pub signature: Signature,
    /// The script, with its guard off.
    pub script: Script,
}

/// What a hunt came to: an answer for each range.
#[derive(Clone, Debug)]
pub struct Hunted {
    /// What was looked for.
    pub hunt: Hunt,
    /// In the order of ranges; `None` where the budget ended first.
    pub found: Vec<Option<Found>>,
}

/// Why no campaign can meet a guard's bug yet; `None` if one can. What the absence of such a guard does is held by tests of the
/// crate that asks it.
pub fn out_of_reach(guard: Guard) -> Option<&'static str> {
    match guard {
        Guard::MarkerHorizon => Some("no workload writes in transactions yet, and no judge reads their markers"),
        _ => None,
    }
}

/// Guards whose bugs a campaign can meet.
pub fn huntable() -> Vec<Guard> {
    Guard::ALL.into_iter().filter(|guard| out_of_reach(*guard).is_none()).collect()
}

impl Hunted {
    /// In how many ranges the bug was found.
    pub fn found(&self) -> u64 {
        self.found.iter().flatten().count() as u64
    }

    /// True if it was found in at least nine of ten ranges.
    pub fn is_found(&self) -> bool {
        self.found() * 10 >= self.hunt.ranges * 9
    }

    /// Seeds needed, over the ranges in which it was found: the median and the most.
    pub fn needed(&self) -> Option<(u64, u64)> {
        let mut needed: Vec<u64> = self.found.iter().flatten().map(|found| found.needed).collect();
        needed.sort_unstable();
        Some((needed[needed.len().checked_sub(1)? / 2], *needed.last()?))
    }

    /// The first range's finding, or the next one's.
    pub fn first(&self) -> Option<&Found> {
        self.found.iter().flatten().next()
    }

    /// The properties that named the bug, the most frequent first.
    pub fn properties(&self) -> Vec<&str> {
        let names = || self.found.iter().flatten().map(|found| found.signature.property.as_str());
        let mut all: Vec<&str> = names().collect();
        all.sort_unstable();
        all.dedup();
        all.sort_by_key(|name| std::cmp::Reverse(names().filter(|other| other == name).count()));
        all
    }
}

/// Goes on all these hunts, with so many threads. `script` draws a seed's script; `tell` hears of each range that is done.
#[allow(clippy::disallowed_methods, reason = "worker threads are the command line's")]
pub fn hunt(
    hunts: &[Hunt],
    script: &(dyn Fn(u64) -> Script + Sync),
    jobs: usize,
    tell: &mut dyn FnMut(&Hunt, Option<&Found>),
) -> Vec<Hunted> {
    let mut tasks: Vec<(usize, u64)> =
        hunts.iter().enumerate().flat_map(|(index, hunt)| (0..hunt.ranges).map(move |range| (index, range))).collect();
    // What may take longest is begun first.
    tasks.sort_by_key(|(index, range)| (std::cmp::Reverse(hunts[*index].budget), *index, *range));
    let next = AtomicUsize::new(0);
    let (send, answers) = mpsc::channel();
    let mut hunted: Vec<Hunted> =
        hunts.iter().map(|hunt| Hunted { hunt: *hunt, found: vec![None; hunt.ranges as usize] }).collect();
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            let (send, next, tasks) = (send.clone(), &next, &tasks);
            scope.spawn(move || {
                while let Some((index, range)) = tasks.get(next.fetch_add(1, Relaxed)) {
                    let found = search(&hunts[*index], *range, script);
                    send.send((*index, *range, found)).expect("somebody listens until all are done");
                }
            });
        }
        drop(send);
        for (index, range, found) in answers {
            tell(&hunts[index], found.as_ref());
            hunted[index].found[range as usize] = found;
        }
    });
    hunted
}

/// The first seed of a range that breaks a promise.
fn search(hunt: &Hunt, range: u64, script: &dyn Fn(u64) -> Script) -> Option<Found> {
    let mut room = room();
    let seeds = hunt.range(range);
    seeds.clone().find_map(|seed| {
        let script = Script { without: vec![hunt.guard], ..script(seed) };
        // A seed on which Klamm itself fails is told with all guards on; here it counts as one that found nothing.
        let ended = caught(|| run_in(&script, RunOptions::default(), None, std::mem::take(&mut room))).ok()?;
        room = ended.history;
        let signature = ended.report.signature()?;
        Some(Found { needed: seed - seeds.start + 1, signature, script })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hunted(needed: &[Option<u64>]) -> Hunted {
        let script = Script::from_toml("none.toml", "").expect("an empty script is one");
        let signature = |needed: u64| Signature { property: format!("p{}", needed / 10), rule: String::new() };
        let found = |needed: u64| Found { needed, signature: signature(needed), script: script.clone() };
        let hunt = Hunt { guard: Guard::EpochTruncation, budget: 200, ranges: needed.len() as u64 };
        Hunted { hunt, found: needed.iter().map(|needed| needed.map(found)).collect() }
    }

    #[test]
    fn nine_of_ten_ranges_are_enough_and_the_median_is_of_those_found() {
        let ten = hunted(&[Some(7), Some(1), None, Some(3), Some(5), Some(9), Some(11), Some(13), Some(15), Some(17)]);
        assert_eq!((ten.found(), ten.is_found(), ten.needed()), (9, true, Some((9, 17))));
        assert_eq!(ten.properties(), ["p0", "p1"]);
        assert_eq!(ten.first().expect("one").needed, 7);
        assert!(!hunted(&[Some(1), None]).is_found());
        assert_eq!(hunted(&[None]).needed(), None);
    }

    #[test]
    fn ranges_of_a_hunt_are_disjoint() {
        let hunt = Hunt { guard: Guard::DuplicateWindow, budget: 20, ranges: 3 };
        assert_eq!([hunt.range(0), hunt.range(1), hunt.range(2)], [0..20, 20..40, 40..60]);
    }
}
