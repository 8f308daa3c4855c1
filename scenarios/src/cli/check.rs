//! `klamm check`: a saved history, judged again: ours, or one in Jepsen's format.

use super::args::CheckArgs;
use super::{Bad, Exit, colours};
use klamm_checkers::blackbox::{self, Looking, Operations, edn};
use klamm_checkers::{History, Verdict, judge};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;

/// Judges a saved history.
#[allow(clippy::disallowed_methods, reason = "the command line reads the user's file")]
pub fn check(args: CheckArgs) -> Result<Exit, Bad> {
    let name = args.history.display().to_string();
    let bytes = std::fs::read(&args.history).map_err(|error| Bad::plain(format!("{name}: {error}")))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
        Bad::plain(format!("{name}: line {line}: a history is text in UTF-8, and this is not"))
    })?;
    let looking = Looking { at_write_order: args.write_order };
    match is_edn(&args.history, &text) {
        true => jepsens(&name, &text, looking, args.json),
        false => ours(&name, &text, looking, args.json),
    }
}

/// Our lines are JSON objects: a brace and then a name in quotes.
fn is_edn(path: &Path, text: &str) -> bool {
    let mut letters = text.chars().filter(|letter| !letter.is_whitespace());
    let is_json = letters.next() == Some('{') && letters.next() == Some('"');
    is_named_edn(path) || !(is_json || text.trim().is_empty())
}

/// True if the file's name asks for Jepsen's format.
pub fn is_named_edn(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("edn"))
}

/// Clients alone speak: what they saw is the verdict.
fn jepsens(name: &str, text: &str, looking: Looking, json: bool) -> Result<Exit, Bad> {
    let operations = edn::read(text).map_err(|error| Bad::plain(format!("{name}: {error}")))?;
    let (report, seconds) = timed(|| blackbox::judge(&operations, looking));
    print!("{}", klamm_reports::clients_report(name, &report, &repro(name, looking), colours()));
    if json {
        let verdicts = standings(report.verdicts.iter().map(|(name, verdict)| (*name, verdict)));
        println!("{}", json!({ "operations": report.operations, "seconds": seconds, "verdicts": verdicts }));
    }
    Ok(if report.violated().is_empty() { Exit::Fine } else { Exit::Violated })
}

/// The properties are the verdict, and what clients saw stands beside it. It turns the verdict red only if the properties know
/// of nothing that explains it: then one of the two judges is wrong.
fn ours(name: &str, text: &str, looking: Looking, json: bool) -> Result<Exit, Bad> {
    let history = History::from_json_lines(text.as_bytes()).map_err(|error| Bad::plain(format!("{name}: {error}")))?;
    let operations = Operations::of(&history)
        .map_err(|broken| Bad::plain(format!("{name}: line {}: {broken}", line_of(text, broken.entry))))?;
    let ((report, seen), seconds) = timed(|| (judge(&history), blackbox::judge(&operations, looking)));
    print!("{}", klamm_reports::run_report(name, &report, &repro(name, looking), colours()));
    let is_explained = report.explains_anomalies();
    print!("{}", klamm_reports::clients_table(&seen, is_explained, colours()));
    let unexplained = if is_explained { Vec::new() } else { seen.violated() };
    if !unexplained.is_empty() {
        let classes = unexplained.join(", ");
        println!("\nclients saw {classes}, and no property knows why: one of the two judges is wrong");
    }
    if json {
        let verdicts = standings(report.verdicts.iter().map(|(name, verdict)| (*name, verdict)));
        let clients = standings(seen.verdicts.iter().map(|(name, verdict)| (*name, verdict)));
        println!(
            "{}",
            json!({ "operations": report.operations, "seconds": seconds, "verdicts": verdicts, "clients": clients })
        );
    }
    Ok(if report.violated().is_empty() && unexplained.is_empty() { Exit::Fine } else { Exit::Violated })
}

fn repro(name: &str, looking: Looking) -> String {
    let write_order = if looking.at_write_order { " --write-order" } else { "" };
    format!("cargo run --release -- check {name}{write_order}")
}

fn standings<'a>(verdicts: impl Iterator<Item = (&'a str, &'a Verdict)>) -> BTreeMap<&'a str, &'static str> {
    verdicts.map(|(name, verdict)| (name, verdict.standing().name())).collect()
}

#[allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "the command line tells real time")]
fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let began = std::time::Instant::now();
    let result = work();
    (result, began.elapsed().as_secs_f64())
}

/// Line of an entry, which are counted without the empty lines.
fn line_of(text: &str, entry: usize) -> usize {
    let full = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    full.map(|(index, _)| index + 1).nth(entry).unwrap_or(0)
}
