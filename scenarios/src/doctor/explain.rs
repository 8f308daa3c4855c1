//! Two runs of one seed differ: the first event that does, as two more runs show it.
#![allow(clippy::disallowed_methods, reason = "another process hands its trace over in a file")]

use super::{Doctor, DoctorError, Mode};
use crate::campaign::{difference, first_event, trace};
use crate::stage::{RunOptions, run_planted};
use klamm_sim::{TraceDifference, first_difference};
use serde::Serialize;

/// The first event that was not the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FirstDifference {
    /// From which the script was drawn.
    pub profile: String,
    /// The first seed that differed.
    pub seed: u64,
    /// The way in which it did.
    pub mode: &'static str,
    /// World time of the event, nanoseconds.
    pub at_ns: u64,
    /// Its host.
    pub node: String,
    /// What led to it.
    pub cause: String,
    /// The event in one run; empty if that one had ended.
    pub event: String,
    /// The event in the other run; empty if that one had ended.
    pub other: String,
}

impl Doctor {
    /// The difference is looked for in more runs with the trace as text: two here, then one here and one in another
    /// process, then two without a trace.
    pub(super) fn explain(&self, mode: Mode, seed: u64) -> Result<FirstDifference, DoctorError> {
        let script = self.script(seed);
        if let Some(found) = first_event(&script, seed, self.plant) {
            return Ok(self.told(mode, seed, found));
        }
        let there = self.trace_of_a_child(seed)?;
        if let Some(found) = first_difference(&trace(&script, seed, self.plant), &there) {
            return Ok(self.told(mode, seed, found));
        }
        let quiet =
            || run_planted(&script, RunOptions { seed: Some(seed), trace: false, ..RunOptions::default() }, self.plant);
        let traced =
            run_planted(&script, RunOptions { seed: Some(seed), trace: true, ..RunOptions::default() }, self.plant);
        let seen = difference(&quiet(), &quiet()).or_else(|| difference(&quiet(), &traced));
        Ok(FirstDifference {
            profile: self.profile_name.clone(),
            seed,
            mode: mode.name(),
            at_ns: 0,
            node: "unknown".to_owned(),
            cause: "it did not show again in runs that keep their trace".to_owned(),
            event: seen.unwrap_or_default(),
            other: String::new(),
        })
    }

    fn told(&self, mode: Mode, seed: u64, found: TraceDifference) -> FirstDifference {
        FirstDifference {
            profile: self.profile_name.clone(),
            seed,
            mode: mode.name(),
            at_ns: found.at_ns,
            node: found.node,
            cause: found.cause,
            event: found.first.unwrap_or_default(),
            other: found.second.unwrap_or_default(),
        }
    }

    fn trace_of_a_child(&self, seed: u64) -> Result<Vec<String>, DoctorError> {
        let path = std::env::temp_dir().join(format!("klamm-doctor-{}-{seed}.trace", std::process::id()));
        let name = path.display().to_string();
        let seeds = seed..seed + 1;
        let ended = self.hear(self.start_child(&seeds, &["--trace-to", &name])?, &seeds);
        let text = ended.and_then(|_| {
            std::fs::read_to_string(&path).map_err(|source| DoctorError::Io { what: name.clone(), source })
        });
        let _ = std::fs::remove_file(&path);
        Ok(text?.lines().map(str::to_owned).collect())
    }
}

impl std::fmt::Display for FirstDifference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let or_end = |event: &str| if event.is_empty() { "(the run has ended)".to_owned() } else { event.to_owned() };
        writeln!(f, "{} seed {} is not the same ({}).", self.profile, self.seed, self.mode)?;
        let seconds = (self.at_ns / 1_000_000_000, self.at_ns % 1_000_000_000);
        writeln!(f, "first differing event: at {}.{:09} s on {}", seconds.0, seconds.1, self.node)?;
        writeln!(f, "  one run    {}", or_end(&self.event))?;
        writeln!(f, "  the other  {}", or_end(&self.other))?;
        write!(f, "  cause      {}", self.cause)
    }
}
