//! `klamm bugs`: the table of seeds needed.

use super::args::BugsArgs;
use super::progress::shown;
use super::{Bad, Exit, jobs, repro};
use crate::campaign::{Found, Hunt, Hunted, SeedLine, Sweep, Tally, generate, hunt, huntable, out_of_reach, sweep};
use crate::cli::shrink::smallest;
use crate::library;
use crate::script::Script;
use crate::shrink::Size;
use crate::stage::{RunOptions, run};
use indicatif::ProgressBar;
use klamm_base::Guard;
use serde_json::{Value, json};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

/// One profile for all guards, in which everything breaks.
const PROFILE: &str = "storm";
/// How long clients and faults of a seed run.
const SEED: [&str; 2] = ["duration", "20s"];

/// How a guard's bug was found, and how small it became.
struct Row {
    hunted: Hunted,
    shrunk: Option<Size>,
}

/// Switches every guard off in turn, then leaves all on.
#[allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "real time, for people")]
pub fn bugs(args: BugsArgs) -> Result<Exit, Bad> {
    if let Some((guard, why)) = args.guard.iter().find_map(|guard| Some((guard, out_of_reach(*guard)?))) {
        return Err(Bad::plain(format!("no campaign can find what {guard} keeps away: {why}")));
    }
    let profile = library::profile(PROFILE)?;
    let script = move |seed: u64| {
        let mut script = generate(&profile, seed);
        script.set(SEED[0], SEED[1]).expect("a good duration");
        script
    };
    let began = std::time::Instant::now();
    let jobs = jobs(args.jobs);
    let guards = if args.guard.is_empty() { huntable() } else { args.guard.clone() };
    let of = |guard: Guard| Hunt { guard, budget: args.budget.unwrap_or(guard.budget()), ranges: args.ranges };
    let hunts: Vec<Hunt> = guards.into_iter().map(of).collect();
    let progress = progress(args.ranges * hunts.len() as u64, "ranges");
    let hunted = hunt(&hunts, &script, jobs, &mut |hunt, found| {
        progress.inc(1);
        progress.set_message(heard(hunt, found));
    });
    progress.finish_and_clear();
    let rows: Vec<Row> = hunted.into_iter().map(|hunted| row(hunted, jobs, args.shrink_for)).collect();
    rows.iter().for_each(|row| println!("{}", row.line()));
    let clean = clean(Arc::new(script), args.clean_seeds, jobs);
    println!("\n{}", clean_line(&clean, args.clean_seeds));
    let exit = conclude(&rows, &clean);
    println!("{:.0} s", began.elapsed().as_secs_f64());
    if args.json {
        println!("{}", json(&rows, &clean, args.clean_seeds, began.elapsed().as_secs_f64()));
    }
    Ok(exit)
}

fn heard(hunt: &Hunt, found: Option<&Found>) -> String {
    match found {
        Some(found) => format!("{} found after {} seeds", hunt.guard, found.needed),
        None => format!("{} not found in {} seeds", hunt.guard, hunt.budget),
    }
}

/// The first finding of a hunt, shrunk within the time.
#[allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "real time is the budget")]
fn row(hunted: Hunted, jobs: usize, time: Duration) -> Row {
    let until = std::time::Instant::now() + time;
    let over = move || std::time::Instant::now() >= until;
    let shrunk = hunted.first().and_then(|found| {
        let first = run(&found.script, RunOptions::default());
        smallest(&found.script, &first, None, jobs, &over).map(|smallest| smallest.size)
    });
    Row { hunted, shrunk }
}

impl Row {
    fn line(&self) -> String {
        let Hunt { guard, budget, ranges } = self.hunted.hunt;
        let needed = self.hunted.needed();
        let needed = needed.map_or("-".to_owned(), |(median, worst)| format!("median {median}, worst {worst}"));
        let small = self.shrunk.as_ref().map_or("-".to_owned(), Size::to_string);
        let named = self.hunted.properties().join(", ");
        let first = self.hunted.first().map(|found| found.script.seed);
        let repeat = first.map_or(String::new(), |seed| format!("\n  repeat  {}", repeat(seed, &[guard])));
        format!(
            "{guard} ({}, depth {}, budget {budget} seeds)\n  found   in {} of {ranges} ranges; seeds needed: {needed}\n  \
             named   by {named}\n  shrunk  to {small}{repeat}",
            guard.bug(),
            guard.depth(),
            self.hunted.found()
        )
    }
}

/// The line that repeats a seed of these.
fn repeat(seed: u64, without: &[Guard]) -> String {
    repro(PROFILE, seed, without, &[(SEED[0].to_owned(), SEED[1].to_owned())])
}

/// All guards on: nothing may be found.
fn clean(script: Arc<dyn Fn(u64) -> Script + Send + Sync>, seeds: u64, jobs: usize) -> Tally {
    let progress = progress(seeds, "seeds with all guards on");
    let mut tally = Tally::default();
    sweep(&Sweep::new(script, 0..seeds, jobs), |answer| {
        tally.add(SeedLine::of(&answer));
        progress.inc(1);
        ControlFlow::Continue(())
    });
    progress.finish_and_clear();
    tally
}

fn clean_line(clean: &Tally, seeds: u64) -> String {
    let alarms = clean.findings.len();
    let mut text = format!("all guards on: {seeds} seeds, {alarms} false alarms");
    let least = clean.merged.verdicts.iter().min_by_key(|(_, verdict)| verdict.obligations);
    if let Some((property, verdict)) = least {
        text += &format!("; least tested: {property}, {} times", verdict.obligations);
    }
    for finding in &clean.findings {
        text += &format!("\n  {} in seed {}: {}", finding.violated[0], finding.seed, repeat(finding.seed, &[]));
    }
    for fault in &clean.faults {
        text += &format!("\n  klamm itself failed in seed {}: {}", fault.seed, fault.what);
    }
    for (seed, difference) in &clean.differences {
        text += &format!("\n  seed {seed} ran differently a second time: {difference}");
    }
    text
}

fn conclude(rows: &[Row], clean: &Tally) -> Exit {
    let missed = rows.iter().filter(|row| !row.hunted.is_found());
    let missed: Vec<&str> = missed.map(|row| row.hunted.hunt.guard.name()).collect();
    if !missed.is_empty() {
        println!("not found within the budget in nine of ten ranges: {}", missed.join(", "));
    }
    match (clean.differences.is_empty(), clean.findings.is_empty() && clean.faults.is_empty() && missed.is_empty()) {
        (false, _) => Exit::NotDeterministic,
        (true, false) => Exit::Violated,
        (true, true) => Exit::Fine,
    }
}

fn json(rows: &[Row], clean: &Tally, seeds: u64, wall_seconds: f64) -> Value {
    let guards: Vec<Value> = rows.iter().map(Row::json).collect();
    let obligations =
        clean.merged.verdicts.iter().map(|(name, verdict)| ((*name).to_owned(), json!(verdict.obligations)));
    json!({
        "guards": guards,
        "clean_seeds": seeds,
        "false_alarms": clean.findings.len(),
        "obligations": Value::Object(obligations.collect()),
        "deterministic": clean.differences.is_empty(),
        "wall_seconds": wall_seconds,
    })
}

impl Row {
    fn json(&self) -> Value {
        let Hunt { guard, budget, ranges } = self.hunted.hunt;
        let needed = self.hunted.needed();
        json!({
            "guard": guard.name(),
            "bug": guard.bug(),
            "depth": guard.depth(),
            "budget": budget,
            "found": self.hunted.found(),
            "ranges": ranges,
            "seeds_needed": needed.map(|(median, _)| median),
            "seeds_needed_worst": needed.map(|(_, worst)| worst),
            "property": self.hunted.properties().first(),
            "script_faults": self.shrunk.as_ref().map(|size| size.faults),
            "script_clients": self.shrunk.as_ref().map(|size| size.clients),
            "script_records": self.shrunk.as_ref().map(|size| size.records),
        })
    }
}

fn progress(length: u64, what: &str) -> ProgressBar {
    shown(ProgressBar::new(length), &format!("{{bar:30}} {{pos}}/{{len}} {what}, {{msg}} [{{elapsed}}]"))
}
