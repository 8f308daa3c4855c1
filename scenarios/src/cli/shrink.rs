//! `klamm shrink`.

use super::args::ShrinkArgs;
use super::progress::shown;
use super::{Bad, Exit, create, jobs};
use crate::failures;
use crate::library::{self, Source};
use crate::script::{Failed, Failure, Script};
use crate::shrink::{OTHER_SEEDS, Progress, Search, Shrunk, Size, shrink as search};
use crate::stage::{RunOptions, RunResult, run};
use indicatif::ProgressBar;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Shrinks one failure.
#[allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "real time, for people and for the budget")]
pub fn shrink(args: ShrinkArgs) -> Result<Exit, Bad> {
    let (script, drawn_from) = source(&args)?;
    let began = std::time::Instant::now();
    let first = run(&script, RunOptions::default());
    let jobs = jobs(args.jobs);
    let until = began + args.time;
    let over = move || std::time::Instant::now() >= until;
    let Some(Smallest { failure, shrunk, .. }) = smallest(&script, &first, drawn_from, jobs, &over) else {
        let seed = script.seed;
        return Err(Bad::plain(format!("{} seed {seed} breaks no promise: there is nothing to shrink", args.failure)));
    };
    eprintln!("{}, {} s", failure.failed.shrunk.as_deref().unwrap_or_default(), began.elapsed().as_secs());
    if !shrunk.complete {
        eprintln!("time is up: more may go with a longer --for (it was {})", told(args.time));
    }
    write(&args, &failure, &shrunk)?;
    Ok(Exit::Fine)
}

/// What shrinking came to.
pub struct Smallest {
    pub failure: Failure,
    pub size: Size,
    shrunk: Shrunk,
}

/// Shrinks a script of which this is the run: as a failure that expects what it violates. `None` if it violates nothing.
pub fn smallest(
    script: &Script,
    first: &RunResult,
    drawn_from: Option<String>,
    jobs: usize,
    over: &dyn Fn() -> bool,
) -> Option<Smallest> {
    let goal = first.report.signature()?;
    let progress = shown(ProgressBar::new_spinner(), "{spinner} {pos} runs, {msg} [{elapsed}]");
    let tell = |now: Progress| {
        let (steps, clients) = (now.script.steps.len(), now.script.producers.len() + now.script.consumers.len());
        progress.set_position(now.runs);
        progress.set_message(format!("{steps} steps, {clients} clients; now its {}", now.pass));
    };
    let shrunk = search(script, &Search { goal, seeds: (1..=OTHER_SEEDS).collect(), jobs, over }, &mut { tell });
    progress.finish_and_clear();
    let last = run(&shrunk.script, RunOptions::default());
    let failure = failures::expecting(failures::failure(&shrunk.script, &last, drawn_from)?, &last);
    let (before, size) = (Size::of(script, first), Size::of(&shrunk.script, &last));
    let (hits, of) = shrunk.hits;
    let line = format!("from {before} to {size} in {} runs; fails at {hits} of {of} other seeds", shrunk.runs);
    let failed = Failed { shrunk: Some(line), ..failure.failed };
    Some(Smallest { failure: Failure { failed, ..failure }, size, shrunk })
}

/// What is to be shrunk, and from where it was drawn.
fn source(args: &ShrinkArgs) -> Result<(Script, Option<String>), Bad> {
    let (mut script, drawn_from) = match library::failure(&args.failure) {
        Ok(failure) => (failure.script, failure.failed.drawn_from),
        Err(_) => match library::find(&args.failure)? {
            Source::Profile(profile) => {
                let seed = args.seed.unwrap_or(0);
                (Source::Profile(profile).script(Some(seed)), Some(format!("{} seed {seed}", args.failure)))
            }
            script => (script.script(args.seed), None),
        },
    };
    script.seed = args.seed.unwrap_or(script.seed);
    let more = args.without.iter().filter(|guard| !script.without.contains(guard)).copied().collect::<Vec<_>>();
    script.without.extend(more);
    args.set.iter().try_for_each(|(key, value)| script.set(key, value)).map_err(Bad::plain)?;
    script.check().map_err(Bad::plain)?;
    Ok((script, drawn_from))
}

fn write(args: &ShrinkArgs, failure: &Failure, shrunk: &Shrunk) -> Result<(), Bad> {
    let Some(out) = &args.out else {
        print!("{}", failure.to_toml());
        shrunk.others.keys().for_each(|other| eprintln!("failed otherwise on the way: {other} (--out keeps it)"));
        return Ok(());
    };
    store(out, failure)?;
    for (number, (signature, script)) in shrunk.others.iter().enumerate() {
        let path = beside(out, number + 1);
        let drawn_from = failure.failed.drawn_from.clone();
        if let Some(other) = failures::failure(script, &run(script, RunOptions::default()), drawn_from) {
            store(&path, &other)?;
            eprintln!("failed otherwise on the way: {signature}, kept in {}", path.display());
        }
    }
    Ok(())
}

/// Writes a failure file.
pub fn store(path: &Path, failure: &Failure) -> Result<(), Bad> {
    let mut file = create(path)?;
    let written = file.write_all(failure.to_toml().as_bytes()).and_then(|()| file.flush());
    written.map_err(|error| Bad::plain(format!("{}: {error}", path.display())))
}

/// `small.toml` -> `small-other-1.toml`
fn beside(out: &Path, number: usize) -> PathBuf {
    let stem = out.file_stem().unwrap_or_default().to_string_lossy();
    out.with_file_name(format!("{stem}-other-{number}.toml"))
}

fn told(time: Duration) -> String {
    format!("{} s", time.as_secs_f64())
}
