//! The bug base, `scenarios/bugs/`: runs that broke a promise once. `cargo test` and campaigns play them before anything else.

use crate::failures::{Again, again};
use crate::library::{self, NotFound};
use crate::script::{Failure, Script};
use crate::shrink::OTHER_SEEDS;
use crate::stage::{RunOptions, run};
use std::collections::BTreeMap;
use std::fmt;

/// What is amiss with a run of the bug base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Amiss {
    /// How it fails, or that it fails no more.
    pub what: String,
    /// The line that repeats it.
    pub repro: String,
}

impl fmt::Display for Amiss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  repeat  {}", self.what, self.repro)
    }
}

/// What is amiss with a run of the bug base, if anything is. What was found in our own stack breaks no promise any more; what
/// was found with a guard off still breaks the same one without the guard, and none with it.
///
/// # Errors
/// There is no such bug, or its text is wrong.
pub fn amiss(name: &str) -> Result<Option<Amiss>, NotFound> {
    let script = library::script(name).unwrap_or_else(|| library::failure(name).map(|failure| failure.script))?;
    let missed = if script.without.is_empty() { None } else { missed(name, &library::failure(name)?) };
    let guarded = Script { without: Vec::new(), expect: BTreeMap::new(), ..script };
    Ok(missed.or_else(|| broken(name, &guarded)))
}

/// That a failure is not found any more, at its own seed or any other that a shrinker would take.
fn missed(name: &str, failure: &Failure) -> Option<Amiss> {
    let at = |seed: u64| {
        again(&failure.failed, &run(&failure.script, RunOptions { seed: Some(seed), ..RunOptions::default() }))
    };
    let first = at(failure.script.seed);
    let same = |again: &Again| matches!(again, Again::ByteForByte(_) | Again::Alike { .. } | Again::Differs(_));
    if same(&first) || (1..=OTHER_SEEDS).any(|seed| same(&at(seed))) {
        return None;
    }
    let guards: Vec<&str> = failure.script.without.iter().map(|guard| guard.name()).collect();
    let what = format!("without {} it is not found any more: {first}", guards.join(", "));
    Some(Amiss { what, repro: format!("cargo run --release -- replay {name}") })
}

fn broken(name: &str, script: &Script) -> Option<Amiss> {
    let signature = run(script, RunOptions::default()).report.signature()?;
    let repro = format!("cargo run --release -- run scenarios/bugs/{name}.toml --to-the-end");
    Some(Amiss { what: signature.to_string(), repro })
}
