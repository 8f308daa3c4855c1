//! Many seeds on many threads, handed on in the order of seeds, so that a campaign's answer does not depend on who was
//! faster.

use super::caught::caught;
use super::twice::{difference, first_event};
use crate::doctor::Fingerprint;
use crate::script::Script;
use crate::stage::{RunOptions, RunResult, room, run, run_in};
use klamm_base::Marks;
use klamm_checkers::{History, Report};
use klamm_sim::Panic;
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
    /// Where the range begins of which these seeds are a part: which of them are run twice counts from there.
    pub whole: u64,
    /// Worker threads.
    pub jobs: usize,
    /// No new seed is begun after this much real time.
    pub time: Option<Duration>,
    /// No new seed is begun once it is set; those that run are finished.
    pub stop: Arc<AtomicBool>,
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
    /// The panic that ended the run, if one did.
    pub panic: Option<Panic>,
    /// Where a second run of the seed differed, if it was run twice and did: the first event with its node and cause.
    pub difference: Option<String>,
}

/// A seed that Klamm itself could not run or judge: a bug of Klamm, not of what it tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The seed.
    pub seed: u64,
    /// What the panic said, and where.
    pub what: String,
}

/// What came of a seed.
pub type Answer = Result<Judged, Fault>;

impl Sweep {
    /// Of seeds that are no part of a larger range, until all are done.
    pub fn new(script: Arc<dyn Fn(u64) -> Script + Send + Sync>, seeds: Range<u64>, jobs: usize) -> Sweep {
        Sweep { script, whole: seeds.start, seeds, jobs, time: None, stop: Arc::default() }
    }

    /// True if this seed is run twice: a question of the seed and the whole range, not of who runs which part.
    fn checks(&self, seed: u64) -> bool {
        (seed - self.whole).is_multiple_of(CHECK_EACH)
    }

    fn answer(&self, seed: u64, room: &mut History) -> Answer {
        let answer = caught(|| judge_seed((self.script)(seed), seed, self.checks(seed), room));
        sorted(answer.map_err(|what| {
            *room = crate::stage::room();
            Fault { seed, what }
        })?)
    }
}

/// A panic of the stack is a verdict of its seed (`no-panic`); one of the stage or of a judge accuses nobody else.
pub(super) fn sorted(judged: Judged) -> Answer {
    match judged.panic.as_ref().filter(|panic| is_ours(panic)) {
        Some(panic) => Err(Fault { seed: judged.seed, what: panic.to_string() }),
        None => Ok(judged),
    }
}

fn is_ours(panic: &Panic) -> bool {
    ["scenarios/", "checkers/"].iter().any(|folder| panic.location.starts_with(folder))
}

/// Runs one seed, twice if it is one to check. Its history is written into `room`, over what stood there: of two runs only
/// one at a time is kept.
pub fn judge_seed(script: Script, seed: u64, check: bool, room: &mut History) -> Judged {
    let options = RunOptions { seed: Some(seed), trace: false, ..RunOptions::default() };
    let first = run_in(&script, options, None, std::mem::take(room));
    let fingerprint = check.then(|| Fingerprint::of(&first));
    let RunResult { report, never_struck, marks, panic, history, .. } = first;
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
    Judged { seed, script, report, never_struck, marks, panic, difference }
}

/// Sweeps; `each` is called in the order of seeds and may stop it.
#[allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "worker threads and real time are the command line's"
)]
pub fn sweep(sweep: &Sweep, mut each: impl FnMut(Answer) -> ControlFlow<()>) {
    let until = sweep.time.map(|time| std::time::Instant::now() + time);
    let (seeds, jobs, own) = (sweep.seeds.clone(), sweep.jobs, sweep.clone());
    let work = move |seed: u64, room: &mut History| {
        let in_time = until.is_none_or(|until| std::time::Instant::now() < until);
        (in_time && !own.stop.load(Relaxed)).then(|| own.answer(seed, room))
    };
    in_order(seeds, jobs, Arc::new(work), |_, answer| each(answer));
}

/// What is done of one number, with a room for histories; `None` ends all.
type Work<T> = dyn Fn(u64, &mut History) -> Option<T> + Send + Sync;

/// Does the work of each number on so many threads; `each` gets what came of it in the order of numbers, and may end it. So does
/// work that says `None`. A thread's runs write their histories into one room after the other.
#[allow(clippy::disallowed_methods, reason = "worker threads are the command line's")]
pub fn in_order<T: Send + 'static>(
    numbers: Range<u64>,
    jobs: usize,
    work: Arc<Work<T>>,
    mut each: impl FnMut(u64, T) -> ControlFlow<()>,
) {
    let (tell, told) = mpsc::channel();
    let next = Arc::new(AtomicU64::new(numbers.start));
    let over = Arc::new(AtomicBool::new(false));
    let workers: Vec<_> = (0..jobs.max(1))
        .map(|_| {
            let (work, tell, next, over) = (work.clone(), tell.clone(), next.clone(), over.clone());
            std::thread::spawn(move || {
                let mut room = room();
                while !over.load(Relaxed) {
                    let number = next.fetch_add(1, Relaxed);
                    let Some(done) = (number < numbers.end).then(|| work(number, &mut room)).flatten() else { break };
                    if tell.send((number, done)).is_err() {
                        break;
                    }
                }
            })
        })
        .collect();
    drop(tell);
    sorted_out(numbers.start, told, &mut each);
    over.store(true, Relaxed);
    for worker in workers {
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    }
}

/// Hands on in the order of numbers, until `each` stops or all have come.
fn sorted_out<T>(first: u64, told: mpsc::Receiver<(u64, T)>, each: &mut impl FnMut(u64, T) -> ControlFlow<()>) {
    let mut waiting = BTreeMap::new();
    let mut next = first;
    for (number, done) in told {
        waiting.insert(number, done);
        while let Some(done) = waiting.remove(&next) {
            if each(next, done).is_break() {
                return;
            }
            next += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::Shard;

    #[test]
    fn which_seeds_are_run_twice_does_not_depend_on_the_shards() {
        let whole = 7..1007;
        let checked = |seeds: Range<u64>| {
            let script = Arc::new(|_| unreachable!("nothing is run"));
            let sweep = Sweep { whole: whole.start, ..Sweep::new(script, seeds.clone(), 1) };
            seeds.filter(|seed| sweep.checks(*seed)).collect::<Vec<u64>>()
        };
        let all = checked(whole.clone());
        assert_eq!(all.len(), 50, "one in twenty");
        for of in [2, 3, 7, 40] {
            let parts = (1..=of).flat_map(|number| checked(Shard::new(number, of).unwrap().of(&whole)));
            assert_eq!(parts.collect::<Vec<u64>>(), all);
        }
    }
}
