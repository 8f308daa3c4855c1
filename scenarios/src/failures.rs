//! From a run that broke a promise to a failure file, and from a failure file to whether the code still fails so.

use crate::campaign::COMMIT;
use crate::doctor::Fingerprint;
use crate::script::{Expected, Failed, Failure, Script};
use crate::stage::RunResult;
use klamm_checkers::{Signature, Standing};
use std::fmt;

/// Version and commit of this program: `0.1.0 (0123456789ab)`; `-dirty` behind a commit that was changed.
pub fn version() -> String {
    let (hash, changed) = COMMIT.split_once('-').unwrap_or((COMMIT, ""));
    let hash = hash.get(..12).unwrap_or(hash);
    let mark = if changed.is_empty() { "" } else { "-" };
    format!("{} ({hash}{mark}{changed})", env!("CARGO_PKG_VERSION"))
}

/// True if the version says exactly which code this is.
fn is_one_code() -> bool {
    !["unknown", "-dirty"].iter().any(|mark| COMMIT.contains(mark))
}

/// How a run failed; `None` if nothing was violated.
pub fn failed(run: &RunResult) -> Option<Failed> {
    let (property, witness) = run.report.root_cause()?;
    let fingerprint = Fingerprint::of(run);
    Some(Failed {
        property: property.to_owned(),
        rule: witness.rule.clone(),
        first: witness.first.to_string(),
        then: witness.second.to_string(),
        so: witness.text.clone(),
        drawn_from: None,
        shrunk: None,
        klamm: version(),
        history: format!("{:016x}", fingerprint.history),
        trace: format!("{:016x}", fingerprint.trace),
    })
}

/// A script and its run as a failure; `None` if nothing was violated.
pub fn failure(script: &Script, run: &RunResult, drawn_from: Option<String>) -> Option<Failure> {
    let failed = Failed { drawn_from, ..failed(run)? };
    Some(Failure { script: Script { seed: run.seed, ..script.clone() }, failed })
}

/// The same as a script that expects its failure: what it violates is what it is for.
pub fn expecting(failure: Failure, run: &RunResult) -> Failure {
    let violated = run.report.violated().into_iter().map(|property| (property.to_owned(), Expected::Violated));
    let script = Script { expect: violated.collect(), ..failure.script };
    Failure { script, ..failure }
}

/// What a stored failure comes to when it is run again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Again {
    /// The same words, the same bytes.
    ByteForByte(Signature),
    /// It fails in the same way, in another run: the code is not the one that made it.
    Alike {
        /// How it fails.
        signature: Signature,
        /// The code that made it.
        made_by: String,
    },
    /// It fails in the same way, in another run, though the code is the one that made it: it is not deterministic.
    Differs(Signature),
    /// It fails in another way.
    Otherwise {
        /// How it fails now.
        now: Signature,
        /// How it failed then.
        then: Signature,
    },
    /// What it violated holds.
    Holds {
        /// The property that was violated then.
        property: String,
        /// How often its premise occurred.
        obligations: u64,
    },
    /// Nothing is violated, and what it violated then is not tested by it any more.
    NotTested {
        /// The property that was violated then.
        property: String,
    },
}

/// Compares a run of a failure's script with what was seen then.
pub fn again(then: &Failed, run: &RunResult) -> Again {
    match failed(run) {
        Some(now) if now.is_byte_for_byte(then) => Again::ByteForByte(now.signature()),
        Some(now) if now.signature() == then.signature() && now.klamm == then.klamm && is_one_code() => {
            Again::Differs(now.signature())
        }
        Some(now) if now.signature() == then.signature() => {
            Again::Alike { signature: now.signature(), made_by: then.klamm.clone() }
        }
        Some(now) => Again::Otherwise { now: now.signature(), then: then.signature() },
        None => holds(then, run),
    }
}

fn holds(then: &Failed, run: &RunResult) -> Again {
    let property = then.property.clone();
    match run.report.verdicts.get(property.as_str()) {
        Some(verdict) if verdict.standing() != Standing::NotTested => {
            Again::Holds { property, obligations: verdict.obligations() }
        }
        _ => Again::NotTested { property },
    }
}

impl fmt::Display for Again {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Again::ByteForByte(signature) => write!(f, "the same verdict, byte for byte: {signature}"),
            Again::Alike { signature, made_by } => {
                let here = version();
                writeln!(f, "the same verdict, another run: {signature}")?;
                write!(f, "(klamm {made_by} made it, this is klamm {here}: the stack has changed on the way there)")
            }
            Again::Differs(signature) => {
                write!(f, "the same verdict, but not the same bytes, by the code that made it: {signature}")
            }
            Again::Otherwise { now, then } => write!(f, "fails otherwise: {now}\n(it failed so: {then})"),
            Again::Holds { property, obligations } => {
                write!(f, "no longer fails: {property} holds, its premise occurred {obligations} times")
            }
            Again::NotTested { property } => {
                write!(f, "no longer fails, and does not test {property} any more: its premise never occurs")
            }
        }
    }
}
