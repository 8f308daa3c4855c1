//! The proof of determinism: each seed is run in several ways that must not matter, and every run of it must be the same,
//! in the trace of the world and in the bytes of the history.

mod explain;
mod fingerprint;
mod modes;

pub use explain::FirstDifference;
pub use fingerprint::{Fingerprint, Hashed};
pub use modes::Mode;

use crate::campaign::{Profile, generate};
use crate::script::Script;
use crate::stage::Plant;
use std::ops::Range;
use std::path::PathBuf;

/// What is examined.
#[derive(Clone, Debug)]
pub struct Doctor {
    /// Scripts are drawn from it.
    pub profile: Profile,
    /// By this name another process finds it.
    pub profile_name: String,
    /// Which seeds.
    pub seeds: Range<u64>,
    /// A leak to be found.
    pub plant: Option<Plant>,
    /// Threads, and processes, at a time; at least two are used.
    pub jobs: usize,
    /// The `klamm` binary, for runs in other processes.
    pub program: PathBuf,
}

/// Why an examination could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DoctorError {
    /// Another process could not be started, or its files not be used.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// Another process did not do what it was started for.
    #[error("the process for {what} ended with {status}: {stderr}")]
    Child {
        /// What it was for.
        what: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// What it said.
        stderr: String,
    },
    /// Another process said something else than a line for each seed.
    #[error("the process for {what} wrote a line that is none: `{line}`")]
    Line {
        /// What it was for.
        what: String,
        /// The line.
        line: String,
    },
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Examination {
    /// Every seed in one process, in order: what all others were compared with.
    pub hashes: Vec<Hashed>,
    /// The ways in which seeds were run again, each with how many seeds were equal.
    pub modes: Vec<(Mode, u64)>,
    /// The first seed that was not the same.
    pub first_difference: Option<FirstDifference>,
}

impl Doctor {
    /// The script of a seed.
    pub fn script(&self, seed: u64) -> Script {
        generate(&self.profile, seed)
    }

    /// Runs every seed in every way, until one differs; `say` is told of each way when it is through.
    ///
    /// # Errors
    /// If another process cannot be started or does not answer.
    pub fn examine(&self, mut say: impl FnMut(&str)) -> Result<Examination, DoctorError> {
        let hashes = self.in_order();
        let events: u64 = hashes.iter().map(|hashed| hashed.fingerprint.events).sum();
        let traced: u64 = hashes.iter().map(|hashed| hashed.fingerprint.deliveries).sum();
        let Range { start, end } = self.seeds;
        say(&format!(
            "{} {start}..{end}: {events} observations, {traced} deliveries, in one process in order; compared are the hash \
             of the world's trace and the hash of the history's bytes",
            self.profile_name
        ));
        let mut examination = Examination { hashes, modes: vec![], first_difference: None };
        for mode in Mode::ALL {
            let (equal, differs) = self.compare(mode, &examination.hashes)?;
            say(&format!("  {:<18} {equal} of {} equal", mode.name(), end - start));
            examination.modes.push((mode, equal));
            if let Some(seed) = differs {
                examination.first_difference = Some(self.explain(mode, seed)?);
                break;
            }
        }
        Ok(examination)
    }

    /// How many seeds are the same in that way, and the first that is not.
    fn compare(&self, mode: Mode, known: &[Hashed]) -> Result<(u64, Option<u64>), DoctorError> {
        let again = self.run_in(mode)?;
        assert_eq!(again.len(), known.len(), "every seed is run once in every way");
        let equal = again.iter().zip(known).filter(|(again, known)| again == known).count() as u64;
        let differs = again.iter().zip(known).find(|(again, known)| again != known);
        Ok((equal, differs.map(|(_, known)| known.seed)))
    }
}
