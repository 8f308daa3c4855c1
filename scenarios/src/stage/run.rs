//! One sealed run: a script and a seed in, a history and its verdicts out. It reads no environment and writes no static.

use super::plant::{self, Plant};
use super::show::Show;
use crate::script::{Script, Span};
use klamm_base::{Guards, Marks};
use klamm_checkers::{Entry, Event, History, Report, World as Told};
use klamm_sim::{NetProfile, Panic, SimConfig};

use super::recorder::{Recording, room};
use super::roster::Roster;

/// What a run is made from besides its script.
#[derive(Clone, Copy, Debug, Default)]
pub struct RunOptions {
    /// Instead of the script's own seed.
    pub seed: Option<u64>,
    /// Keep the world's trace as text.
    pub trace: bool,
    /// Go on when a promise is broken. Else the run ends at the first instant at which one is, whatever comes later.
    pub to_the_end: bool,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct RunResult {
    /// Its seed.
    pub seed: u64,
    /// Everything that happened up to the verdict.
    pub history: History,
    /// What the judges say.
    pub report: Report,
    /// Over everything that the world did; equal for equal runs.
    pub trace_hash: u64,
    /// The world's trace, if it was asked for.
    pub trace: Vec<String>,
    /// The panic that ended the run, if one did.
    pub panic: Option<Panic>,
    /// Simulated time, nanoseconds.
    pub sim_ns: u64,
    /// Polls of tasks.
    pub polls: u64,
    /// Network segments that arrived.
    pub deliveries: u64,
    /// Kafka requests that nodes decoded, and responses that they encoded.
    pub frames: u64,
    /// What rare things happened.
    pub marks: Marks,
    /// Steps that never struck, if the run came to its end.
    pub never_struck: Vec<String>,
    /// Some of them has a name: the script tested nothing.
    pub named_step_missing: bool,
}

/// Simulated time after which a run is stuck: nothing that a script may ask for takes so long.
const LIMIT: Span = Span(4 * 3_600_000_000_000);

/// Runs a script and judges it. A pure function of the script, its seed and its guards.
pub fn run(script: &Script, options: RunOptions) -> RunResult {
    run_planted(script, options, None)
}

/// The same, with a leak planted: then it is pure no more, which `klamm doctor` must find out.
pub fn run_planted(script: &Script, options: RunOptions, plant: Option<Plant>) -> RunResult {
    run_in(script, options, plant, room())
}

/// The same, with a history that is written where an earlier one stood (see [`super::room`]).
pub fn run_in(script: &Script, options: RunOptions, plant: Option<Plant>, room: History) -> RunResult {
    let seed = options.seed.unwrap_or(script.seed);
    let recording = Recording::in_room(room);
    let config = SimConfig {
        trace: options.trace,
        profile: NetProfile { link: script.cluster.usual_link(), ..NetProfile::default() },
        limit_ns: Some(script.duration.0 + LIMIT.0),
        ..SimConfig::new(seed)
    };
    let (played, kept) = (Script { seed, ..script.clone() }, recording.clone());
    let guards = Guards::without(&script.without);
    let mut seedling = plant.map(Plant::dig);
    let leak = plant.zip(seedling.as_mut().and_then(plant::Seedling::take));
    let ended = klamm_sim::run(config, move |world| {
        Box::pin(async move {
            let show = Show::open(world, played, guards, kept, !options.to_the_end);
            if let Some((plant, leak)) = leak {
                plant::grow(world, plant, leak);
            }
            show.play().await
        })
    });
    drop(seedling);
    let (panic, never_struck) = match ended.outcome {
        Ok(never_struck) => (None, never_struck),
        Err(panic) => (Some(panic), Vec::new()),
    };
    if let Some(panic) = &panic {
        recording.tell(last_instant(&recording, panic.at_ns), told(script, panic));
    }
    let (history, report) = recording.conclude(!options.to_the_end);
    // A run that ended early says nothing of what was to come.
    let never_struck = if halted(&history) { Vec::new() } else { never_struck };
    RunResult {
        seed,
        history,
        report,
        trace_hash: ended.trace_hash,
        trace: ended.trace,
        panic,
        sim_ns: ended.sim_ns,
        polls: ended.polls,
        deliveries: ended.deliveries,
        frames: recording.frames(),
        marks: recording.marks(),
        named_step_missing: never_struck.iter().any(|(_, named)| *named),
        never_struck: never_struck.into_iter().map(|(text, _)| text).collect(),
    }
}

fn halted(history: &History) -> bool {
    matches!(history.entries.last(), Some(Entry { event: Event::World(Told::Halted { .. }), .. }))
}

fn last_instant(recording: &Recording, at_ns: u64) -> u64 {
    recording.lock().entries.last().map_or(at_ns, |last| last.at_ns.max(at_ns))
}

fn told(script: &Script, panic: &Panic) -> Told {
    let roster = Roster::new(script);
    let node = panic.node.as_ref().and_then(|name| roster.node(roster.by_name(name)?));
    let (task, message) = (panic.task.clone(), panic.message.clone());
    Told::Panicked { node, task, message, location: panic.location.clone() }
}
