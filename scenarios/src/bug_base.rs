//! The bug base, `scenarios/bugs/`: runs that broke a promise once. `cargo test` and campaigns play them before anything else.

use crate::failures::{Again, again};
use crate::library::{self, NotFound};
use crate::script::{Failure, Script};
use crate::shrink::OTHER_SEEDS;
use crate::stage::{RunOptions, run};
use std::collections::BTreeMap;

/// What is amiss with a run of the bug base, if anything is. What was found in our own stack breaks no promise any more; what
/// was found with a guard off still breaks the same one without the guard, and none with it.
///
/// # Errors
/// There is no such bug, or its text is wrong.
pub fn amiss(name: &str) -> Result<Option<String>, NotFound> {
    let script = library::script(name).unwrap_or_else(|| library::failure(name).map(|failure| failure.script))?;
    let missed = if script.without.is_empty() { None } else { missed(&library::failure(name)?) };
    let guarded = Script { without: Vec::new(), expect: BTreeMap::new(), ..script };
    Ok(missed.or_else(|| broken(name, &guarded)))
}

/// That a failure is not found any more, at its own seed or any other that a shrinker would take.
fn missed(failure: &Failure) -> Option<String> {
    let at = |seed: u64| {
        again(&failure.failed, &run(&failure.script, RunOptions { seed: Some(seed), ..RunOptions::default() }))
    };
    let first = at(failure.script.seed);
    let same = |again: &Again| matches!(again, Again::ByteForByte(_) | Again::Alike { .. } | Again::Differs(_));
    if same(&first) || (1..=OTHER_SEEDS).any(|seed| same(&at(seed))) {
        return None;
    }
    let guards: Vec<&str> = failure.script.without.iter().map(|guard| guard.name()).collect();
    Some(format!("without {} it is not found any more: {first}", guards.join(", ")))
}

fn broken(name: &str, script: &Script) -> Option<String> {
    let signature = run(script, RunOptions::default()).report.signature()?;
    Some(format!("{signature}\n  repeat  cargo run --release -- run scenarios/bugs/{name}.toml --to-the-end"))
}
