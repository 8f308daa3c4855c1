//! Walks the edits of a script with runs.

use super::edits::Edits;
use crate::campaign::caught;
use crate::script::Script;
use crate::stage::{RunOptions, run};
use klamm_checkers::Signature;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

/// What is looked for, and for how long.
pub struct Search<'a> {
    /// How a candidate must fail to count.
    pub goal: Signature,
    /// Seeds at which a candidate may fail besides its own. They are tried once nothing goes at its own any more.
    pub seeds: Vec<u64>,
    /// Runs at a time.
    pub jobs: usize,
    /// True once the search must end; asked between runs.
    pub over: &'a dyn Fn() -> bool,
}

/// How far a search has come.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// Runs so far.
    pub runs: u64,
    /// What is tried now.
    pub pass: &'static str,
    /// The smallest script so far.
    pub script: &'a Script,
}

/// What a search came to.
#[derive(Debug)]
pub struct Shrunk {
    /// The smallest script, at a seed at which it fails.
    pub script: Script,
    /// Runs that it took.
    pub runs: u64,
    /// True if nothing more can go; false if the search had to end before that was known.
    pub complete: bool,
    /// At how many of the other seeds the smallest script fails in the same way, and of how many.
    pub hits: (u64, u64),
    /// Scripts that failed in other ways on the way, the first of each: findings of their own.
    pub others: BTreeMap<Signature, Script>,
}

/// Seeds that are tried before all are.
const FEW_SEEDS: usize = 8;

/// Shrinks a script that fails as `search` wants. With one job, and unless the search must end early, the answer depends on
/// the script and the search alone.
pub fn shrink(script: &Script, search: &Search, tell: &mut dyn FnMut(Progress)) -> Shrunk {
    let mut trials = Trials { search, tried: BTreeSet::new(), runs: 0, others: BTreeMap::new() };
    let mut edits = Edits::new(script.clone());
    // First at its own seed alone, which is quick; then at a few others, then at all of them.
    let all = search.seeds.as_slice();
    let mut rounds = [all.len().min(FEW_SEEDS), all.len()].map(|count| &all[..count]).into_iter();
    let mut seeds: &[u64] = &[];
    let mut complete = false;
    while !complete && !(search.over)() {
        tell(Progress { runs: trials.runs, pass: edits.pass(), script: edits.base() });
        let candidates = edits.candidates();
        if candidates.is_empty() {
            match rounds.next() {
                Some(more) => seeds = more,
                None => complete = true,
            }
            edits.restart();
            continue;
        }
        match trials.first(&candidates, seeds) {
            Some((index, found)) => edits.accept(index, found),
            None => edits.reject(candidates.len()),
        }
    }
    let script = edits.base().clone();
    let failing = |seed: &&u64| trials.signature_at(&script, **seed) == Some(search.goal.clone());
    let hits = search.seeds.iter().filter(failing).count() as u64;
    let (runs, hits) = (trials.runs + search.seeds.len() as u64, (hits, search.seeds.len() as u64));
    Shrunk { script, runs, complete, hits, others: trials.others }
}

/// The runs of a search.
struct Trials<'a> {
    search: &'a Search<'a>,
    /// What was run, by its hash: rounds come by the same candidates again.
    tried: BTreeSet<u64>,
    runs: u64,
    others: BTreeMap<Signature, Script>,
}

impl Trials<'_> {
    /// The first of the candidates that fails as wanted, at its own seed or at one of the others, with that seed.
    fn first(&mut self, candidates: &[Script], seeds: &[u64]) -> Option<(usize, Script)> {
        let mut trials: Vec<(usize, Script)> = Vec::new();
        for (index, script) in candidates.iter().enumerate() {
            let others = seeds.iter().filter(|seed| **seed != script.seed);
            let at = std::iter::once(script.seed).chain(others.copied());
            trials.extend(at.map(|seed| (index, Script { seed, ..script.clone() })));
        }
        trials.retain(|(_, script)| self.tried.insert(identity(script)));
        let mut left = trials.into_iter();
        loop {
            let now: Vec<(usize, Script)> = left.by_ref().take(self.search.jobs.max(1)).collect();
            if now.is_empty() || (self.search.over)() {
                self.forget(now.into_iter().chain(left));
                return None;
            }
            let found = self.wanted(now);
            if let Some(found) = found {
                self.forget(left);
                return Some(found);
            }
        }
    }

    /// What was not run is as if it had not been seen.
    fn forget(&mut self, trials: impl Iterator<Item = (usize, Script)>) {
        for (_, script) in trials {
            self.tried.remove(&identity(&script));
        }
    }

    /// Runs all of these, side by side; the first that fails as wanted. Other failures are kept.
    fn wanted(&mut self, scripts: Vec<(usize, Script)>) -> Option<(usize, Script)> {
        self.runs += scripts.len() as u64;
        let signatures = side_by_side(&scripts);
        let mut found = None;
        for ((index, script), signature) in scripts.into_iter().zip(signatures) {
            match signature {
                Some(signature) if signature == self.search.goal => found = found.or(Some((index, script))),
                Some(signature) => drop(self.others.entry(signature).or_insert(script)),
                None => {}
            }
        }
        found
    }

    fn signature_at(&self, script: &Script, seed: u64) -> Option<Signature> {
        signature(&Script { seed, ..script.clone() })
    }
}

/// How a script fails, if it does. One on which Klamm itself fails is no candidate.
fn signature(script: &Script) -> Option<Signature> {
    caught(|| run(script, RunOptions::default()).report.signature()).ok().flatten()
}

fn side_by_side(scripts: &[(usize, Script)]) -> Vec<Option<Signature>> {
    if let [(_, script)] = scripts {
        return vec![signature(script)];
    }
    std::thread::scope(|scope| {
        let running: Vec<_> = scripts.iter().map(|(_, script)| scope.spawn(|| signature(script))).collect();
        let ended = running.into_iter().map(|run| run.join());
        ended.map(|ended| ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}

/// What tells scripts apart: all that they say, their seed included.
fn identity(script: &Script) -> u64 {
    let mut hasher = DefaultHasher::new();
    script.to_toml().hash(&mut hasher);
    hasher.finish()
}
