//! The same script twice: where the two runs part.

use crate::script::Script;
use crate::stage::{Plant, RunOptions, RunResult, run_planted};
use klamm_sim::{TraceDifference, first_difference};

/// A leak from the real world need not show in every pair of runs.
const TRIES: u32 = 3;

/// Where two runs that should be one part, as text.
pub fn difference(first: &RunResult, second: &RunResult) -> Option<String> {
    let entries = first.history.entries.iter().zip(&second.history.entries);
    if let Some((a, b)) = entries.into_iter().find(|(a, b)| a != b) {
        return Some(format!("first: {a:?}; second: {b:?}"));
    }
    let (a, b) = (first.history.entries.len(), second.history.entries.len());
    if a != b {
        return Some(format!("the first history has {a} entries, the second {b}"));
    }
    let (a, b) = (first.trace_hash, second.trace_hash);
    (a != b).then(|| format!("histories are equal, the worlds' traces are not: {a:016x} and {b:016x}"))
}

/// Runs a seed twice more, with its trace, and names the first event in which the two differ; `None` if they never do.
pub fn first_event(script: &Script, seed: u64, plant: Option<Plant>) -> Option<TraceDifference> {
    (0..TRIES).find_map(|_| first_difference(&trace(script, seed, plant), &trace(script, seed, plant)))
}

/// The trace of a seed, as text.
pub fn trace(script: &Script, seed: u64, plant: Option<Plant>) -> Vec<String> {
    run_planted(script, RunOptions { seed: Some(seed), trace: true, ..RunOptions::default() }, plant).trace
}
