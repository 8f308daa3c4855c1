//! `klamm check`: a saved history, judged again.

use super::args::CheckArgs;
use super::{Bad, Exit, colours};
use klamm_checkers::{History, judge};
use serde_json::json;
use std::collections::BTreeMap;

/// Judges a saved history.
#[allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the command line reads the user's file and tells real time"
)]
pub fn check(args: CheckArgs) -> Result<Exit, Bad> {
    let name = args.history.display().to_string();
    let file = std::fs::File::open(&args.history).map_err(|error| Bad::plain(format!("{name}: {error}")))?;
    let history = History::from_json_lines(std::io::BufReader::new(file))
        .map_err(|error| Bad::plain(format!("{name}: {error}")))?;
    let began = std::time::Instant::now();
    let report = judge(&history);
    let seconds = began.elapsed().as_secs_f64();
    let repro = format!("cargo run --release -- check {name}");
    print!("{}", klamm_reports::run_report(&name, &report, &repro, colours()));
    if args.json {
        let verdicts: BTreeMap<_, _> = report.verdicts.iter().map(|(name, v)| (name, v.standing().name())).collect();
        println!("{}", json!({ "operations": report.operations, "seconds": seconds, "verdicts": verdicts }));
    }
    Ok(if report.violated().is_empty() { Exit::Fine } else { Exit::Violated })
}
