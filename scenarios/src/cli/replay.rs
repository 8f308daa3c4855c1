//! `klamm replay`.

use super::args::ReplayArgs;
use super::{Bad, Exit, colours};
use crate::failures::{Again, again};
use crate::library;
use crate::moment;
use crate::stage::{RunOptions, run};
use klamm_reports::RunJson;

/// Runs a stored failure again.
#[allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "real time, for people")]
pub fn replay(args: ReplayArgs) -> Result<Exit, Bad> {
    let failure = library::failure(&args.failure)?;
    let began = std::time::Instant::now();
    let result = run(&failure.script, RunOptions::default());
    let wall = began.elapsed().as_secs_f64();
    let repro = format!("cargo run --release -- replay {}", args.failure);
    match args.at {
        Some(at) => print!("{}", moment::told(&result.history, at)),
        None => {
            let title = format!("{} seed {}", failure.script.name, result.seed);
            print!("{}", klamm_reports::run_report(&title, &result.report, &repro, colours()));
        }
    }
    let again = again(&failure.failed, &result);
    println!("\n{again}");
    if args.json {
        println!("{}", RunJson::new(result.seed, &result.report, wall, true, &args.failure, &repro).line());
    }
    Ok(match again {
        Again::ByteForByte(_) | Again::Alike { .. } | Again::Otherwise { .. } => Exit::Violated,
        Again::Differs(_) => Exit::NotDeterministic,
        Again::Holds { .. } => Exit::Fine,
        Again::NotTested { .. } => Exit::NotTested,
    })
}
