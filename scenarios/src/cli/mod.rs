//! The `klamm` command: reads the command line, runs, prints, and says by its exit code how it went.

mod args;
mod broker;
mod bugs;
mod campaign;
mod check;
mod compare;
#[cfg(test)]
mod deploy_tests;
mod doctor;
mod ending;
mod explain;
mod interrupt;
mod list;
mod log;
mod log_dir;
mod merge;
mod progress;
mod replay;
mod run;
mod shrink;

pub use run::surprises;

use args::{Command, Klamm, LogCommand};
use clap::Parser;
use klamm_base::Guard;
use std::fmt::Display;
use std::io::IsTerminal;
use std::process::ExitCode;

/// How a command ended, as its exit code says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// All as expected.
    Fine = 0,
    /// A guarantee violated.
    Violated = 1,
    /// Bad usage or bad input.
    BadInput = 2,
    /// A required guarantee was not tested.
    NotTested = 3,
    /// The run was not deterministic.
    NotDeterministic = 4,
    /// SIGTERM ended it before its end, and nothing worse can be said.
    Terminated = 143,
}

/// Bad input: one message for people.
#[derive(Debug)]
pub struct Bad(miette::Report);

impl Bad {
    /// A message without a place in a file.
    pub fn plain(message: impl Display) -> Self {
        Self(miette::Report::msg(message.to_string()))
    }
}

impl<E: miette::Diagnostic + Send + Sync + 'static> From<E> for Bad {
    fn from(error: E) -> Self {
        Self(miette::Report::new(error))
    }
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let klamm = Klamm::parse();
    log::init();
    let ended = match klamm.command {
        Command::Campaign(args) => campaign::campaign(args),
        Command::Merge(args) => merge::merge(args),
        Command::Run(args) => run::run(args),
        Command::Replay(args) => replay::replay(args),
        Command::Shrink(args) => shrink::shrink(args),
        Command::Bugs(args) => bugs::bugs(args),
        Command::Compare(args) => compare::compare(&args),
        Command::List { what } => list::list(what),
        Command::Explain { name } => explain::explain(&name),
        Command::Check(args) => check::check(args),
        Command::Log(LogCommand::Dump(args)) => log_dir::dump(args),
        Command::Log(LogCommand::Verify(args)) => log_dir::verify(args),
        Command::Broker(args) => broker::broker(args),
        Command::Doctor(args) => doctor::doctor(args),
    };
    let exit = ended.unwrap_or_else(|Bad(report)| {
        eprintln!("error: {report}");
        if std::io::stderr().is_terminal() && report.source_code().is_some() {
            eprintln!("{report:?}");
        }
        Exit::BadInput
    });
    ExitCode::from(exit as u8)
}

/// True if reports may be coloured.
fn colours() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// Worker threads: so many as were asked for, else one for each core.
fn jobs(asked: Option<usize>) -> usize {
    asked.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}

/// The line that repeats a seed.
fn repro(script: &str, seed: u64, without: &[Guard], set: &[(String, String)]) -> String {
    on_a_seed("run", script, seed, without, set)
}

/// The line of a command (`run`, `shrink`) that takes a script and a seed.
fn on_a_seed(command: &str, script: &str, seed: u64, without: &[Guard], set: &[(String, String)]) -> String {
    let guards: String = without.iter().map(|guard| format!(" --without {guard}")).collect();
    let settings: String = set.iter().map(|(key, value)| format!(" --set {key}={value}")).collect();
    format!("cargo run --release -- {command} {script} --seed {seed}{guards}{settings}")
}

/// Creates a file of the user's, for writing.
#[allow(clippy::disallowed_methods, reason = "the command line writes where the user says")]
fn create(path: &std::path::Path) -> Result<std::io::BufWriter<std::fs::File>, Bad> {
    let file = std::fs::File::create(path).map_err(|error| Bad::plain(format!("{}: {error}", path.display())))?;
    Ok(std::io::BufWriter::new(file))
}
