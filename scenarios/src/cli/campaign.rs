//! `klamm campaign`.

use super::args::CampaignArgs;
use super::ending::{Ended, Ending};
use super::interrupt::Interrupt;
use super::progress::Progress;
use super::{Bad, Exit, ending, jobs};
use crate::bug_base::{self, Amiss};
use crate::campaign::{Folder, Head, Judged, Profile, SeedLine, Seeds, Sweep, Tally, folder_head, generate, sweep};
use crate::failures::failure;
use crate::library;
use crate::script::Script;
use crate::stage::{RunOptions, run};
use klamm_reports::BugJson;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Seeds of a campaign that names none.
const SEEDS: u64 = 100;
/// Fresh seeds begin below this, so that they stay short to type and whole in every JSON reader.
const FRESH_BELOW: u64 = 1_000_000_000_000;

/// Runs a campaign.
#[allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "real time, for people")]
pub fn campaign(args: CampaignArgs) -> Result<Exit, Bad> {
    let profile = Arc::new(library::profile(&args.profile)?);
    let known = ending::known(&args.papers)?;
    let head = head(&args)?;
    let mut tally = Tally::default();
    let folder = args.out.as_deref().map(|dir| Folder::open(dir, &head, args.resume, &mut |line| tally.add(line)));
    let mut folder = folder.transpose()?;
    if head.fresh {
        println!("fresh seeds {}; repeat them with: {}", head.seeds, repeat_all(&args, &head));
    }
    let plays_bugs = head.without.is_empty() && head.shard.is_none() && !args.no_bugs;
    let bugs = if plays_bugs { play_bug_base()? } else { Vec::new() };
    let interrupt = Interrupt::listen()?;
    let began = std::time::Instant::now();
    let ended = play(&args, &profile, &head, &mut tally, folder.as_mut(), &interrupt)?;
    let wall = began.elapsed().as_secs_f64();
    let first = head.part().start;
    let done = first..first + tally.done;
    let ending = Ending {
        head: &head,
        profile: &profile,
        tally: &tally,
        done,
        ended,
        wall,
        ran_here: true,
        known: known.as_ref(),
        bugs: &bugs,
    };
    ending.conclude(&args.papers, folder.as_ref())
}

/// What is to be run.
fn head(args: &CampaignArgs) -> Result<Head, Bad> {
    let mut without = args.without.clone();
    without.sort();
    without.dedup();
    let keep_going = without.is_empty() || args.keep_going;
    if args.shard.is_some() && !keep_going {
        return Err(Bad::plain("a shard cannot stop at the first finding of the whole campaign; add --keep-going"));
    }
    let seeds = seeds(args)?;
    if args.shard.is_some() && !seeds.have_an_end() {
        return Err(Bad::plain("a shard is a part of known seeds; give --seeds or --seed-range beside --for"));
    }
    Ok(Head { without, keep_going, fresh: args.fresh, shard: args.shard, ..Head::new(&args.profile, seeds) })
}

fn seeds(args: &CampaignArgs) -> Result<Seeds, Bad> {
    let first = if args.fresh { first_fresh(args)? } else { 0 };
    Ok(match (&args.seed_range, args.seeds, args.time) {
        (Some(range), _, _) => Seeds(range.clone()),
        (None, Some(count), _) => Seeds(first..first.saturating_add(count)),
        (None, None, Some(_)) => Seeds::from(first),
        (None, None, None) => Seeds(first..first + SEEDS),
    })
}

/// That of the campaign that is resumed, else one that the system draws.
fn first_fresh(args: &CampaignArgs) -> Result<u64, Bad> {
    let resumed = args.out.as_deref().filter(|_| args.resume).map(folder_head).transpose()?.flatten();
    if let Some(head) = resumed.filter(|head| head.fresh) {
        return Ok(head.seeds.0.start);
    }
    let drawn = getrandom::u64().map_err(|error| Bad::plain(format!("the system gives no entropy: {error}")))?;
    Ok(drawn % FRESH_BELOW)
}

fn repeat_all(args: &CampaignArgs, head: &Head) -> String {
    let guards: String = head.without.iter().map(|guard| format!(" --without {guard}")).collect();
    let keep_going = if args.keep_going { " --keep-going" } else { "" };
    let seeds = match head.seeds.have_an_end() {
        true => head.seeds.clone(),
        false => Seeds(head.seeds.0.start..head.seeds.0.start + SEEDS),
    };
    format!("cargo run --release -- campaign --profile {} --seed-range {seeds}{guards}{keep_going}", head.profile)
}

/// Runs what is not done yet, and says why it ended.
fn play(
    args: &CampaignArgs,
    profile: &Arc<Profile>,
    head: &Head,
    tally: &mut Tally,
    mut folder: Option<&mut Folder>,
    interrupt: &Interrupt,
) -> Result<Ended, Bad> {
    let part = head.part();
    let todo = part.start + tally.done..part.end;
    let over = |tally: &Tally| !head.keep_going && !tally.findings.is_empty();
    if over(tally) {
        return Ok(Ended::AtFinding);
    }
    let stop = interrupt.asked.clone();
    let whole = head.seeds.0.start;
    let seeds = head.seeds.have_an_end().then(|| todo.end - todo.start);
    let plan =
        Sweep { whole, time: args.time, stop, ..Sweep::new(drawn(profile, head), todo.clone(), jobs(args.jobs)) };
    let progress = Progress::new(seeds, args.time);
    let before = tally.done;
    let mut failed = None;
    sweep(&plan, |answer| {
        let kept = answer.as_ref().ok().map_or(Ok(()), |judged| store(args.out.as_deref(), judged));
        let line = SeedLine::of(&answer);
        let kept = kept.and_then(|()| folder.as_mut().map_or(Ok(()), |folder| Ok(folder.append(&line)?)));
        failed = kept.err();
        tally.add(line);
        progress.show(tally.done - before, tally);
        if failed.is_some() || over(tally) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    progress.clear();
    failed.map_or(Ok(()), Err)?;
    Ok(match () {
        () if over(tally) => Ended::AtFinding,
        () if todo.start + (tally.done - before) == todo.end => Ended::Whole,
        () if interrupt.asked.load(Relaxed) => Ended::Interrupted { terminated: interrupt.terminated() },
        () => Ended::InTime,
    })
}

fn drawn(profile: &Arc<Profile>, head: &Head) -> Arc<dyn Fn(u64) -> Script + Send + Sync> {
    let (profile, without) = (profile.clone(), head.without.clone());
    Arc::new(move |seed| Script { without: without.clone(), ..generate(&profile, seed) })
}

/// Stores a failure, so that it can be run again whatever becomes of the profile. It is run once more for its hashes.
#[allow(clippy::disallowed_methods, reason = "the command line writes where the user says")]
fn store(dir: Option<&Path>, judged: &Judged) -> Result<(), Bad> {
    let Some(dir) = dir.filter(|_| !judged.report.violated().is_empty()) else { return Ok(()) };
    let Judged { script, seed, .. } = judged;
    let again = run(script, RunOptions { seed: Some(*seed), ..RunOptions::default() });
    // A run that fails once and not again is no failure to keep; that it differs is told by itself.
    let Some(failure) = failure(script, &again, Some(format!("{} seed {seed}", script.name))) else { return Ok(()) };
    let path = dir.join(format!("{}-{seed}.toml", script.name));
    let made = std::fs::create_dir_all(dir).map_err(|error| Bad::plain(format!("{}: {error}", dir.display())));
    made.and_then(|()| super::shrink::store(&path, &failure))
}

/// Plays the bug base before anything else. What is amiss with it makes the campaign red, and keeps no seed from being run.
fn play_bug_base() -> Result<Vec<BugJson>, Bad> {
    let names = library::bugs();
    let mut bugs = Vec::new();
    for name in &names {
        if let Some(amiss) = bug_base::amiss(name)? {
            println!("bug base: {name}: {amiss}");
            let Amiss { what, repro } = amiss;
            bugs.push(BugJson { name: (*name).to_owned(), what, repro });
        }
    }
    if bugs.is_empty() {
        println!("bug base: {} runs that broke a promise once are as they should be\n", names.len());
    }
    Ok(bugs)
}
