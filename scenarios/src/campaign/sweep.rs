//! Many seeds on many threads, handed on in the order of seeds, so that a campaign's answer does not depend on who was
//! faster.

use super::twice::{difference, first_event};
use crate::doctor::Fingerprint;
use crate::script::Script;
use crate::stage::{RunOptions, RunResult, room, run, run_in};
use klamm_base::{Mark, Marks};
use klamm_checkers::{History, Merged, Report, Standing, merge};
use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// Of so many seeds one is run twice and compared: 5 %.
const CHECK_EACH: u64 = 20;

/// What is swept.
#[derive(Clone)]
pub struct Sweep {
    /// The script of a seed.
    pub script: Arc<dyn Fn(u64) -> Script + Send + Sync>,
    /// Which seeds.
    pub seeds: Range<u64>,
    /// Worker threads.
    pub jobs: usize,
    /// No new seed is begun after this much real time.
    pub time: Option<Duration>,
}

/// One seed's answer.
#[derive(Debug)]
pub struct Judged {
    /// The seed.
    pub seed: u64,
    /// The script that it drew.
    pub script: Script,
    /// The verdicts.
    pub report: Report,
    /// Steps that never struck.
    pub never_struck: Vec<String>,
    /// What rare things happened.
    pub marks: Marks,
    /// Where a second run of the seed differed, if it was run twice and did: the first event with its node and cause.
    pub difference: Option<String>,
}

/// A campaign so far.
#[derive(Debug, Default)]
pub struct Tally {
    /// Verdicts and counts.
    pub merged: Merged,
    /// In how many seeds each mark was hit.
    pub marks: BTreeMap<Mark, u64>,
    /// Seeds whose second run differed, with the first difference.
    pub differences: Vec<(u64, String)>,
    /// Seeds in which a property was violated, in order of seeds.
    pub findings: Vec<Finding>,
}

/// A seed in which a property was violated.
#[derive(Debug)]
pub struct Finding {
    /// The seed.
    pub seed: u64,
    /// The properties, root causes first.
    pub violated: Vec<&'static str>,
    /// The script that it drew.
    pub script: Script,
    /// The verdicts.
    pub report: Report,
}

impl Tally {
    /// Adds one seed.
    pub fn add(&mut self, judged: Judged) {
        merge(&mut self.merged, judged.seed, &judged.report);
        judged.marks.iter().for_each(|mark| *self.marks.entry(mark).or_default() += 1);
        let violated = judged.report.violated();
        if !violated.is_empty() {
            let (seed, script, report) = (judged.seed, judged.script, judged.report);
            self.findings.push(Finding { seed, violated, script, report });
        }
        self.differences.extend(judged.difference.map(|difference| (judged.seed, difference)));
    }

    /// Those of `wanted` that no seed hit.
    pub fn never_hit(&self, wanted: &[Mark]) -> Vec<Mark> {
        wanted.iter().copied().filter(|mark| !self.marks.contains_key(mark)).collect()
    }

    /// Required properties that no seed tested.
    pub fn not_tested<'a>(&self, required: &[&'a str]) -> Vec<&'a str> {
        let tested = |name: &str| self.merged.verdicts.get(name).is_some_and(|v| v.standing != Standing::NotTested);
        required.iter().copied().filter(|name| !tested(name)).collect()
    }
}

/// Runs one seed, twice if it is one to check. Its history is written into `room`, over what stood there: of two runs only
/// one at a time is kept.
pub fn judge_seed(script: Script, seed: u64, check: bool, room: &mut History) -> Judged {
    let options = RunOptions { seed: Some(seed), trace: false, ..RunOptions::default() };
    let first = run_in(&script, options, None, std::mem::take(room));
    let fingerprint = check.then(|| Fingerprint::of(&first));
    let RunResult { report, never_struck, marks, history, .. } = first;
    *room = history;
    let differs = fingerprint.is_some_and(|first| {
        let second = run_in(&script, options, None, std::mem::take(room));
        let differs = first != Fingerprint::of(&second);
        *room = second.history;
        differs
    });
    let difference = differs.then(|| {
        let again = difference(&run(&script, options), &run(&script, options));
        let told = again.unwrap_or_else(|| "differed once, and not when it was looked at again".to_owned());
        match first_event(&script, seed, None) {
            Some(event) => format!("{event}\n  history {told}"),
            None => told,
        }
    });
    Judged { seed, script, report, never_struck, marks, difference }
}

/// Sweeps; `each` is called in the order of seeds and may stop it.
#[allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "worker threads and real time are the command line's"
)]
pub fn sweep(sweep: &Sweep, mut each: impl FnMut(Judged) -> ControlFlow<()>) {
    let (tell, told) = mpsc::channel();
    let next = Arc::new(AtomicU64::new(sweep.seeds.start));
    let over = Arc::new(AtomicBool::new(false));
    let until = sweep.time.map(|time| std::time::Instant::now() + time);
    let workers: Vec<_> = (0..sweep.jobs.max(1))
        .map(|_| {
            let (sweep, tell, next, over) = (sweep.clone(), tell.clone(), next.clone(), over.clone());
            std::thread::spawn(move || {
                let mut room = room();
                let in_time = || until.is_none_or(|until| std::time::Instant::now() < until);
                while !over.load(Relaxed) && in_time() {
                    let seed = next.fetch_add(1, Relaxed);
                    if seed >= sweep.seeds.end {
                        break;
                    }
                    let check = (seed - sweep.seeds.start).is_multiple_of(CHECK_EACH);
                    if tell.send(judge_seed((sweep.script)(seed), seed, check, &mut room)).is_err() {
                        break;
                    }
                }
            })
        })
        .collect();
    drop(tell);
    in_order(sweep.seeds.start, told, &mut each);
    over.store(true, Relaxed);
    for worker in workers {
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    }
}

/// Hands answers on in the order of seeds, until `each` stops or all have come.
fn in_order(first: u64, told: mpsc::Receiver<Judged>, each: &mut impl FnMut(Judged) -> ControlFlow<()>) {
    let mut waiting = BTreeMap::new();
    let mut next = first;
    for judged in told {
        waiting.insert(judged.seed, judged);
        while let Some(judged) = waiting.remove(&next) {
            next += 1;
            if each(judged).is_break() {
                return;
            }
        }
    }
}
