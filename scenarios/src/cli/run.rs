//! `klamm run`.

use super::args::RunArgs;
use super::check::is_named_edn;
use super::{Bad, Exit, colours, create, jobs, repro};
use crate::campaign::{Judged, SeedLine, Sweep, Tally, sweep};
use crate::library::{self, Source};
use crate::script::{Expected, Script};
use crate::stage::{RunOptions, RunResult};
use klamm_checkers::blackbox::edn;
use klamm_checkers::{Report, Standing};
use klamm_reports::{CampaignJson, FindingJson, RunJson};
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// Runs one script.
pub fn run(args: RunArgs) -> Result<Exit, Bad> {
    let source = library::find(&args.script)?;
    let script = prepared(&source, &args, args.seed)?;
    if args.print {
        print!("{}", script.to_toml());
        return Ok(Exit::Fine);
    }
    match args.seeds {
        Some(seeds) => many(source, args, seeds),
        None => one(&script, &args),
    }
}

/// The script of a seed, with what the command line changes.
fn prepared(source: &Source, args: &RunArgs, seed: Option<u64>) -> Result<Script, Bad> {
    let mut script = source.script(seed);
    for guard in &args.without {
        if !script.without.contains(guard) {
            script.without.push(*guard);
        }
    }
    args.set.iter().try_for_each(|(key, value)| script.set(key, value)).map_err(Bad::plain)?;
    script.check().map_err(Bad::plain)?;
    Ok(script)
}

#[allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "real time, for people")]
fn one(script: &Script, args: &RunArgs) -> Result<Exit, Bad> {
    let began = std::time::Instant::now();
    let result =
        crate::stage::run(script, RunOptions { seed: None, trace: args.trace.is_some(), to_the_end: args.to_the_end });
    let wall = began.elapsed().as_secs_f64();
    if let Some(path) = &args.history {
        let file = create(path)?;
        let written = if is_named_edn(path) {
            edn::write(&result.history, file).map_err(|error| error.to_string())
        } else {
            result.history.to_json_lines(file).map_err(|error| error.to_string())
        };
        written.map_err(|error| Bad::plain(format!("{}: {error}", path.display())))?;
    }
    if let Some(path) = &args.trace {
        write_lines(path, &result.trace)?;
    }
    let repro = repro(&args.script, script.seed, &args.without, &args.set);
    let title = format!("{} seed {}", script.name, script.seed);
    print!("{}", klamm_reports::run_report(&title, &result.report, &repro, colours()));
    let exit = verdict(script, &result);
    if args.json {
        println!("{}", RunJson::new(script.seed, &result.report, wall, true, &args.script, &repro).line());
    }
    Ok(exit)
}

fn write_lines(path: &Path, lines: &[String]) -> Result<(), Bad> {
    let mut file = create(path)?;
    let written = lines.iter().try_for_each(|line| writeln!(file, "{line}")).and_then(|()| file.flush());
    written.map_err(|error| Bad::plain(format!("{}: {error}", path.display())))
}

/// Prints what differs from what the script expects, and says it as an exit code.
fn verdict(script: &Script, result: &RunResult) -> Exit {
    for step in &result.never_struck {
        println!("never struck: {step}");
    }
    let surprises = surprises(script, &result.report);
    for (property, expected, found) in surprises.iter().filter(|(property, ..)| script.expect.contains_key(property)) {
        println!("expected {property} to be {}, it is {}", expected.word(), found.name());
    }
    let unexpected = |wanted: Standing| surprises.iter().any(|(_, _, found)| *found == wanted);
    if unexpected(Standing::Violated) {
        Exit::Violated
    } else if result.named_step_missing || unexpected(Standing::NotTested) {
        Exit::NotTested
    } else if surprises.is_empty() {
        Exit::Fine
    } else {
        Exit::Violated
    }
}

/// Properties whose verdict is not what the script expects; without an expectation, only a violation surprises.
pub fn surprises(script: &Script, report: &Report) -> Vec<(String, Expected, Standing)> {
    let named = script.expect.iter().filter_map(|(property, expected)| {
        let found = report.standing(property);
        (found != standing(*expected)).then(|| (property.clone(), *expected, found))
    });
    let unnamed = report.violated().into_iter().filter(|property| !script.expect.contains_key(*property));
    named.chain(unnamed.map(|property| (property.to_owned(), Expected::Held, Standing::Violated))).collect()
}

fn standing(expected: Expected) -> Standing {
    match expected {
        Expected::Held => Standing::Held,
        Expected::Violated => Standing::Violated,
        Expected::Allowed => Standing::Allowed,
        Expected::NotTested => Standing::NotTested,
    }
}

/// The first thing in which a seed is not as its script expects.
fn surprise(judged: &Judged, script: &str, repro: String) -> Option<FindingJson> {
    let (property, ..) = surprises(&judged.script, &judged.report).into_iter().next()?;
    Some(FindingJson { property, seed: judged.seed, script: script.to_owned(), repro, known: None })
}

/// Seeds `0..seeds` of the script, merged.
#[allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "real time, for people")]
fn many(source: Source, args: RunArgs, seeds: u64) -> Result<Exit, Bad> {
    prepared(&source, &args, Some(0))?;
    let began = std::time::Instant::now();
    let args = Arc::new(args);
    let given = args.clone();
    let script =
        move |seed: u64| prepared(&source, &given, Some(seed)).unwrap_or_else(|_| unreachable!("checked above"));
    let mut tally = Tally::default();
    let mut surprised = Vec::new();
    let line = |seed| repro(&args.script, seed, &args.without, &args.set);
    sweep(&Sweep::new(Arc::new(script), 0..seeds, jobs(None)), |answer| {
        surprised.extend(answer.as_ref().ok().and_then(|judged| surprise(judged, &args.script, line(judged.seed))));
        tally.add(SeedLine::of(&answer));
        ControlFlow::Continue(())
    });
    let wall = began.elapsed().as_secs_f64();
    let title = format!("{} 0..{seeds}", args.script);
    print!("{}", klamm_reports::campaign_report(&title, &tally.merged, &surprised, Some(wall), colours()));
    for (seed, difference) in &tally.differences {
        println!("seed {seed} ran differently a second time: {difference}");
    }
    for fault in &tally.faults {
        println!("klamm itself failed in seed {}: {}\n  repeat   {}", fault.seed, fault.what, line(fault.seed));
    }
    let exit = match (tally.differences.is_empty(), surprised.is_empty(), tally.faults.is_empty()) {
        (false, _, _) => Exit::NotDeterministic,
        (_, false, _) => Exit::Violated,
        (_, _, false) => Exit::NotTested,
        _ => Exit::Fine,
    };
    if args.json {
        println!("{}", CampaignJson::new(&tally.merged, wall, tally.differences.is_empty(), surprised).line());
    }
    Ok(exit)
}
