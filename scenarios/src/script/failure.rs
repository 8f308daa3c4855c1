//! Failure files: a script that broke a promise, with what was seen then. A script of its own right, with one table more.

use super::error::{ScriptError, Source};
use super::raw::{Any, RawFailure, Text, parse};
use super::{Script, lower, raw::RawScript};
use klamm_checkers::Signature;
use serde::{Deserialize, Serialize};
use toml::{Spanned, Value};

/// The newest format of scripts and failures that is read here. It rises when a key changes its meaning or goes away.
pub const FORMAT: i64 = 1;

/// A failure: a script and how it failed once.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// What was run; its `without` names the guards that were off.
    pub script: Script,
    /// What was seen.
    pub failed: Failed,
}

/// How a script failed once: the table `[failure]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Failed {
    /// The property that was violated, the first root cause.
    pub property: String,
    /// The rule that its witness breaks.
    pub rule: String,
    /// The earlier fact, with its time and entry.
    pub first: String,
    /// The later fact.
    pub then: String,
    /// Why the two contradict.
    pub so: String,
    /// From which profile and seed the script was drawn, before it was shrunk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drawn_from: Option<String>,
    /// From what to what it was shrunk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shrunk: Option<String>,
    /// Version and commit of the code that made it.
    pub klamm: String,
    /// Hash of the history's bytes, as `klamm doctor --hashes` tells it.
    pub history: String,
    /// Hash of the world's trace.
    pub trace: String,
}

impl Failed {
    /// What a run must show again to count as the same failure.
    pub fn signature(&self) -> Signature {
        Signature { property: self.property.clone(), rule: self.rule.clone() }
    }

    /// True if the other run failed with the same words and the same bytes.
    pub fn is_byte_for_byte(&self, other: &Failed) -> bool {
        let words = |failed: &Failed| {
            [&failed.property, &failed.rule, &failed.first, &failed.then, &failed.so, &failed.history, &failed.trace]
                .map(Clone::clone)
        };
        words(self) == words(other)
    }
}

impl Failure {
    /// Reads a failure file. `file` is what messages call it.
    pub fn from_toml(file: &str, text: &str) -> Result<Failure, Box<ScriptError>> {
        let source = Source::new(file, text);
        check_format(&source)?;
        let mut raw: RawScript = parse(&source)?;
        let Some(failure) = raw.failure.take() else {
            let help = "`klamm campaign --out DIR` writes failures; a script without one runs with `klamm run`";
            return Err(source.error(0..0, "there is no table `[failure]`", Some(help.to_owned())));
        };
        let failed = failed(&source, failure)?;
        Ok(Failure { script: lower::lower(&source, raw)?, failed })
    }

    /// The failure as TOML; reading it again gives the same failure.
    pub fn to_toml(&self) -> String {
        let failed = toml::to_string(&self.failed).expect("plain texts");
        format!("format = {FORMAT}\n{}\n[failure]\n{failed}", self.script.to_toml())
    }
}

fn failed(source: &Source, raw: Spanned<RawFailure>) -> Result<Failed, Box<ScriptError>> {
    let whole = raw.span();
    let raw = raw.into_inner();
    let need = |key: &str, value: Option<Text>| {
        let missing = || source.error(whole.clone(), format!("`[failure]` needs `{key}`"), None);
        value.map(Spanned::into_inner).ok_or_else(missing)
    };
    let text = |value: Option<Text>| value.map(Spanned::into_inner).unwrap_or_default();
    Ok(Failed {
        property: need("property", raw.property)?,
        rule: need("rule", raw.rule)?,
        first: text(raw.first),
        then: text(raw.then),
        so: text(raw.so),
        drawn_from: raw.drawn_from.map(Spanned::into_inner),
        shrunk: raw.shrunk.map(Spanned::into_inner),
        klamm: text(raw.klamm),
        history: need("history", raw.history)?,
        trace: need("trace", raw.trace)?,
    })
}

/// Looks at the format before anything else: a newer file may hold keys that nobody here knows.
pub(super) fn check_format(source: &Source) -> Result<(), Box<ScriptError>> {
    #[derive(Deserialize)]
    struct Head {
        format: Option<Any>,
    }
    let Ok(Head { format: Some(format) }) = toml::from_str(source.text) else { return Ok(()) };
    match format.get_ref() {
        Value::Integer(1..=FORMAT) => Ok(()),
        other => {
            let version = env!("CARGO_PKG_VERSION");
            let message = format!("`format` cannot be {other}: klamm {version} reads scripts of format {FORMAT}");
            let newer = matches!(other, Value::Integer(number) if *number > FORMAT);
            let help = newer.then(|| "a newer klamm wrote this file, and a newer one reads it".to_owned());
            Err(source.error(format.span(), message, help))
        }
    }
}
