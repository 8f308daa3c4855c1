//! `cargo bench -p klamm-benches`: the standard seed, and an echo of the same process beside it, so that a busy machine slows both.
//! `-- --count SECONDS` runs the seed once and prints its frames: `benches/instructions` counts instructions around it.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

use klamm_benches::{echo, play, standard};
use std::time::Instant;

const SECONDS: u64 = 60;
const ROUNDS: usize = 5;

/// What `work` gives, and the best wall time of some rounds, in seconds.
fn best<T>(work: impl Fn() -> T) -> (T, f64) {
    let mut best = f64::INFINITY;
    let mut result = None;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        result = Some(work());
        best = best.min(start.elapsed().as_secs_f64());
    }
    (result.expect("at least one round"), best)
}

fn measure() {
    let (result, wall) = best(|| play(&standard(SECONDS)));
    let simulated = result.sim_ns as f64 / 1e9;
    let counts = &result.report.counts;
    println!("standard seed        {simulated:.1} simulated seconds, {} acked, {} read", counts.acked, counts.read);
    println!("frames               {} ({:.0} a simulated second)", result.frames, result.frames as f64 / simulated);
    println!("wall                 {wall:.3} s, judged");
    println!("speed                {:.0} simulated seconds a second", simulated / wall);
    println!("frames a second      {:.0}", result.frames as f64 / wall);
    let (judged, judging) = best(|| klamm_checkers::judge(&result.history));
    let entries = result.history.entries.len();
    assert!(judged.violated().is_empty());
    println!(
        "judging              {:.2} M observations a second ({entries} in {judging:.4} s)",
        entries as f64 / judging / 1e6
    );
    let (delivered, wall) = best(|| echo(600));
    println!("echo beside it       {:.2} M messages a second", delivered as f64 / wall / 1e6);
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().position(|argument| argument == "--count") {
        Some(at) => {
            let seconds = arguments.get(at + 1).and_then(|text| text.parse().ok()).expect("--count SECONDS");
            println!("frames {}", play(&standard(seconds)).frames);
        }
        None if arguments.iter().any(|argument| argument == "--test") => {
            play(&standard(2));
        }
        None => measure(),
    }
}
