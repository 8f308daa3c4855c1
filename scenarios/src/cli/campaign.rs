//! `klamm campaign`.

use super::args::CampaignArgs;
use super::{Bad, Exit, colours, repro};
use crate::campaign::{Finding, Profile, Sweep, Tally, generate, sweep};
use crate::library;
use crate::script::Script;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use klamm_base::{Guard, Mark};
use klamm_checkers::Standing;
use klamm_reports::{CampaignJson, FindingJson};
use std::io::{IsTerminal, Write};
use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::sync::Arc;

/// Findings of which the witness is shown; of the others the line that repeats them.
const SHOWN: usize = 3;

/// From so many seeds on a sweep must have hit every mark that its profile lists; fewer may just not have met one.
const MARKS_FROM: u64 = 100;

/// Runs a campaign.
#[allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "real time, for people")]
pub fn campaign(args: CampaignArgs) -> Result<Exit, Bad> {
    let profile = Arc::new(library::profile(&args.profile)?);
    let seeds = seeds(&args);
    let began = std::time::Instant::now();
    let stop_at_finding = !args.without.is_empty() && !args.keep_going;
    let tally = play(&args, profile.clone(), seeds.clone(), stop_at_finding);
    let wall = began.elapsed().as_secs_f64();
    if let Some(dir) = &args.out {
        tally.findings.iter().try_for_each(|finding| store(dir, finding))?;
    }
    let findings = findings(&args.profile, &args.without, &tally);
    for (finding, told) in tally.findings.iter().zip(&findings).take(SHOWN) {
        let title = format!("{} seed {}", args.profile, finding.seed);
        println!("{}", klamm_reports::run_report(&title, &finding.report, &told.repro, colours()));
    }
    let title = format!("{} {}..{}", args.profile, seeds.start, seeds.start + tally.merged.seeds);
    print!("{}", klamm_reports::campaign_report(&title, &tally.merged, &findings, wall, colours()));
    print!("{}", klamm_reports::marks_line(&tally.marks, &profile.marks(), colours()));
    Ok(conclude(&args, &profile, &tally, findings, wall))
}

fn seeds(args: &CampaignArgs) -> Range<u64> {
    match (&args.seed_range, args.seeds, args.time) {
        (Some(range), _, _) => range.clone(),
        (None, Some(count), _) => 0..count,
        (None, None, Some(_)) => 0..u64::MAX,
        (None, None, None) => 0..100,
    }
}

fn play(args: &CampaignArgs, profile: Arc<Profile>, seeds: Range<u64>, stop_at_finding: bool) -> Tally {
    let without = args.without.clone();
    let script = move |seed: u64| Script { without: without.clone(), ..generate(&profile, seed) };
    let jobs = args.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let progress = progress(&seeds);
    let mut tally = Tally::default();
    sweep(&Sweep { script: Arc::new(script), seeds, jobs, time: args.time }, |judged| {
        tally.add(judged);
        progress.inc(1);
        progress.set_message(format!(
            "{} acked, {} faults, {} findings",
            tally.merged.counts.acked,
            tally.merged.counts.faults,
            tally.findings.len()
        ));
        if stop_at_finding && !tally.findings.is_empty() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    progress.finish_and_clear();
    tally
}

/// Shown on a terminal only.
fn progress(seeds: &Range<u64>) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
    }
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} seeds, {msg} [{elapsed}]").expect("a good template");
    ProgressBar::new(seeds.end - seeds.start).with_style(style)
}

/// One finding per violated seed: its first root cause.
fn findings(profile: &str, without: &[Guard], tally: &Tally) -> Vec<FindingJson> {
    let finding = |found: &Finding| FindingJson {
        property: found.violated[0].to_owned(),
        seed: found.seed,
        script: profile.to_owned(),
        repro: repro(profile, found.seed, without, &[]),
    };
    tally.findings.iter().map(finding).collect()
}

/// Stores a failing script, so that it can be run again whatever becomes of the profile.
#[allow(clippy::disallowed_methods, reason = "the command line writes where the user says")]
fn store(dir: &Path, finding: &Finding) -> Result<(), Bad> {
    let path = dir.join(format!("{}-{}.toml", finding.script.name, finding.seed));
    let written = std::fs::create_dir_all(dir).and_then(|()| std::fs::write(&path, finding.script.to_toml()));
    written.map_err(|error| Bad::plain(format!("{}: {error}", path.display())))
}

fn conclude(args: &CampaignArgs, profile: &Profile, tally: &Tally, findings: Vec<FindingJson>, wall: f64) -> Exit {
    let mut out = std::io::stdout().lock();
    let mut say = |line: String| {
        // A closed pipe (`| head`) is no error of ours.
        let _ = writeln!(out, "{line}");
    };
    for (seed, difference) in &tally.differences {
        say(format!("seed {seed} ran differently a second time: {difference}"));
    }
    let required = profile.required();
    let not_tested = tally.not_tested(&required);
    for name in &not_tested {
        say(format!("not tested by any seed, though required: {name}"));
    }
    let never_hit = marks_owed(args, profile, tally);
    for mark in &never_hit {
        say(format!("never hit by any seed, though listed: {mark}: {}", mark.summary()));
    }
    if args.json {
        let json = CampaignJson::new(&tally.merged, wall, tally.differences.is_empty(), findings);
        say(json.with_marks(&tally.marks).line());
    }
    let violated = tally.merged.verdicts.values().any(|verdict| verdict.standing == Standing::Violated);
    match (tally.differences.is_empty(), violated, not_tested.is_empty() && never_hit.is_empty()) {
        (false, _, _) => Exit::NotDeterministic,
        (_, true, _) => Exit::Violated,
        // A campaign that stopped early on purpose tested what it could.
        (_, _, false) if tally.merged.seeds > 0 => Exit::NotTested,
        _ => Exit::Fine,
    }
}

/// Listed marks that the campaign should have hit and did not. One with a guard off stops where it finds something.
fn marks_owed(args: &CampaignArgs, profile: &Profile, tally: &Tally) -> Vec<Mark> {
    let owed = args.without.is_empty() && tally.merged.seeds >= MARKS_FROM;
    if owed { tally.never_hit(&profile.marks()) } else { Vec::new() }
}
