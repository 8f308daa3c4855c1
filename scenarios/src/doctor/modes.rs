//! The ways to run a seed that must not matter.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "threads and processes are what is compared, and they are the command line's"
)]

use super::{Doctor, DoctorError, Fingerprint, Hashed};
use crate::stage::{RunOptions, run_planted};
use std::ops::Range;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A way to run seeds again. What they are compared with ran in one process, one after the other, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In the same process, from the last seed to the first.
    Reverse,
    /// In the same process, several at a time.
    Threads,
    /// In processes of their own, several at a time.
    Processes,
    /// With the world's trace kept as text, and the stack's tracing formatted at its finest level.
    Traced,
}

impl Mode {
    /// All of them.
    pub const ALL: [Mode; 4] = [Mode::Reverse, Mode::Threads, Mode::Processes, Mode::Traced];

    /// For people.
    pub const fn name(self) -> &'static str {
        match self {
            Mode::Reverse => "reverse order",
            Mode::Threads => "parallel threads",
            Mode::Processes => "other processes",
            Mode::Traced => "tracing on",
        }
    }
}

impl Doctor {
    /// Every seed, one after the other, in order.
    pub fn in_order(&self) -> Vec<Hashed> {
        self.seeds.clone().map(|seed| self.run_one(seed, false)).collect()
    }

    /// Every seed in that way, in the order of seeds.
    pub(super) fn run_in(&self, mode: Mode) -> Result<Vec<Hashed>, DoctorError> {
        match mode {
            Mode::Reverse => {
                let mut hashes: Vec<_> = self.seeds.clone().rev().map(|seed| self.run_one(seed, false)).collect();
                hashes.reverse();
                Ok(hashes)
            }
            Mode::Threads => Ok(self.in_threads(false)),
            Mode::Processes => self.in_processes(),
            Mode::Traced => Ok(self.in_threads(true)),
        }
    }

    fn run_one(&self, seed: u64, traced: bool) -> Hashed {
        let options = RunOptions { seed: Some(seed), trace: traced, ..RunOptions::default() };
        let script = self.script(seed);
        let play = || Fingerprint::of(&run_planted(&script, options, self.plant));
        let fingerprint = if traced {
            let heard = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(std::io::sink);
            tracing::subscriber::with_default(heard.finish(), play)
        } else {
            play()
        };
        Hashed { profile: self.profile_name.clone(), seed, fingerprint }
    }

    fn in_threads(&self, traced: bool) -> Vec<Hashed> {
        let (next, done) = (AtomicU64::new(self.seeds.start), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for _ in 0..self.workers() {
                scope.spawn(|| {
                    loop {
                        let seed = next.fetch_add(1, Relaxed);
                        if !self.seeds.contains(&seed) {
                            return;
                        }
                        let hashed = self.run_one(seed, traced);
                        done.lock().expect("no panic under the lock").push(hashed);
                    }
                });
            }
        });
        let mut hashes = done.into_inner().expect("no panic under the lock");
        hashes.sort_by_key(|hashed| hashed.seed);
        hashes
    }

    fn workers(&self) -> usize {
        self.jobs.max(2)
    }

    fn in_processes(&self) -> Result<Vec<Hashed>, DoctorError> {
        let Range { start, end } = self.seeds;
        let share = (end - start).div_ceil(self.workers() as u64).max(1);
        let starts = (start..end).step_by(share as usize);
        let children: Vec<_> = starts
            .map(|from| from..(from + share).min(end))
            .map(|seeds| self.start_child(&seeds, &[]).map(|child| (seeds, child)))
            .collect::<Result<_, _>>()?;
        let mut hashes = Vec::new();
        for (seeds, child) in children {
            hashes.extend(self.hear(child, &seeds)?);
        }
        Ok(hashes)
    }

    /// This program again, for some of the seeds.
    pub(super) fn start_child(&self, seeds: &Range<u64>, more: &[&str]) -> Result<Child, DoctorError> {
        let mut command = Command::new(&self.program);
        command.args(["doctor", "--profile", &self.profile_name, "--only-hashes"]);
        command.arg(format!("--seed-range={}..{}", seeds.start, seeds.end)).args(more);
        if let Some(plant) = self.plant {
            command.args(["--plant", plant.name()]);
        }
        let child = command.env_remove("RUST_LOG").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        child.spawn().map_err(|source| DoctorError::Io { what: self.program.display().to_string(), source })
    }

    /// Its lines, once it has ended.
    pub(super) fn hear(&self, child: Child, seeds: &Range<u64>) -> Result<Vec<Hashed>, DoctorError> {
        let what = format!("seeds {}..{}", seeds.start, seeds.end);
        let output = child.wait_with_output().map_err(|source| DoctorError::Io { what: what.clone(), source })?;
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(DoctorError::Child { what, status: output.status, stderr });
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let read =
            |line: &str| line.parse().map_err(|()| DoctorError::Line { what: what.clone(), line: line.to_owned() });
        let hashes: Vec<Hashed> = text.lines().map(read).collect::<Result<_, _>>()?;
        if hashes.iter().map(|hashed| hashed.seed).ne(seeds.clone()) {
            return Err(DoctorError::Line { what, line: format!("{} lines", hashes.len()) });
        }
        Ok(hashes)
    }
}
