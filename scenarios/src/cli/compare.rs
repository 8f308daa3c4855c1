//! `klamm compare`: what settings cost and save.

use super::args::CompareArgs;
use super::progress::shown;
use super::{Bad, Exit, create, jobs, repro};
use crate::compare::{Comparison, Counted, Row};
use crate::library;
use indicatif::ProgressBar;
use serde_json::json;
use std::path::Path;

/// Runs every combination on the same seeds and puts them side by side.
#[allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "real time, for people")]
pub fn compare(args: &CompareArgs) -> Result<Exit, Bad> {
    let mut script = library::find(&args.script)?.script(None);
    args.set.iter().try_for_each(|(key, value)| script.set(key, value)).map_err(Bad::plain)?;
    let comparison = Comparison::new(&script, &args.vary, args.seeds).map_err(Bad::plain)?;
    let began = std::time::Instant::now();
    let bar = shown(ProgressBar::new(comparison.runs()), "{bar:30} {pos}/{len} runs, {eta} left");
    let rows = comparison.run(jobs(args.jobs), || bar.inc(1)).map_err(Bad::plain)?;
    bar.finish_and_clear();
    print!("{}", table(&rows));
    println!("\n{}", legend(args));
    println!("{} runs, {:.0} s", comparison.runs(), began.elapsed().as_secs_f64());
    if let Some(path) = &args.csv {
        write_csv(path, &rows)?;
    }
    if args.json {
        println!("{}", json!({ "command": "compare", "script": args.script, "seeds": args.seeds, "rows": rows }));
    }
    Ok(if rows.iter().any(|row| !row.broken.is_empty()) { Exit::Violated } else { Exit::Fine })
}

fn legend(args: &CompareArgs) -> String {
    let cell = args.vary.iter().map(|axis| (axis.key.clone(), axis.values[0].clone())).chain(args.set.clone());
    let set: Vec<(String, String)> = cell.collect();
    format!(
        "s3: seed 3 is the smallest that shows it. 0 <3/{n}: in none of {n} runs, so with 95 % confidence in fewer than 3 of \
         {n}. Unavailable and\ninvisible: seconds a run, over all partitions, in which records waited for their acknowledgement, \
         or acknowledged ones for\ntheir reader, for more than one second. Latencies are simulated time.\nA cell again: {}",
        repro(&args.script, 0, &[], &set),
        n = args.seeds,
    )
}

const HEAD: [&str; 11] = [
    "acked",
    "sent",
    "lost",
    "duplicated",
    "reordered",
    "refused",
    "unknown",
    "unavail.",
    "invisible",
    "p50 ms",
    "p99 ms",
];

/// The rows as text, with what excuses their losses.
pub fn table(rows: &[Row]) -> String {
    let keys = rows.first().map_or(&[][..], |row| &row.settings);
    let mut lines: Vec<Vec<String>> = vec![
        keys.iter().map(|(key, _)| key.clone()).chain(HEAD.map(str::to_owned)).chain(["lost by".to_owned()]).collect(),
    ];
    lines.extend(rows.iter().map(cells));
    let widths: Vec<usize> =
        (0..lines[0].len()).map(|at| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for line in &lines {
        let padded = line.iter().zip(&widths).enumerate().map(|(at, (cell, width))| match at {
            _ if at < keys.len() || at + 1 == widths.len() => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        text.push_str(padded.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn cells(row: &Row) -> Vec<String> {
    let counted = |it: Counted| match it.smallest_seed {
        Some(seed) => format!("{} s{seed}", it.total),
        None => format!("0 <3/{}", row.runs),
    };
    let ms = |ms: Option<f64>| ms.map_or("-".to_owned(), |ms| format!("{ms:.1}"));
    let values = row.settings.iter().map(|(_, value)| value.clone());
    let numbers = [
        row.acked.to_string(),
        row.sent.to_string(),
        counted(row.lost),
        counted(row.duplicated),
        counted(row.reordered),
        counted(row.refused),
        row.unknown.to_string(),
        format!("{:.1}", row.unavailable_seconds),
        format!("{:.1}", row.invisible_seconds),
        ms(row.ack_p50_ms),
        ms(row.ack_p99_ms),
    ];
    let broken = row.broken.iter().map(|(property, seed)| format!("BROKEN {property} s{seed}"));
    let why: Vec<String> = row.excused_by.keys().cloned().chain(broken).collect();
    values.chain(numbers).chain([why.join("; ")]).collect()
}

fn write_csv(path: &Path, rows: &[Row]) -> Result<(), Bad> {
    let failed = |error: &dyn std::fmt::Display| Bad::plain(format!("{}: {error}", path.display()));
    let mut writer = csv::Writer::from_writer(create(path)?);
    let keys = rows.first().map_or(&[][..], |row| &row.settings);
    let head = keys.iter().map(|(key, _)| key.as_str()).chain(CSV_HEAD);
    writer.write_record(head).map_err(|error| failed(&error))?;
    for row in rows {
        writer.write_record(csv_cells(row)).map_err(|error| failed(&error))?;
    }
    writer.flush().map_err(|error| failed(&error))
}

const CSV_HEAD: [&str; 16] = [
    "runs",
    "acked",
    "sent",
    "lost",
    "lost_seed",
    "duplicated",
    "duplicated_seed",
    "reordered",
    "reordered_seed",
    "refused",
    "unknown",
    "unavailable_seconds",
    "invisible_seconds",
    "ack_p50_ms",
    "ack_p99_ms",
    "lost_by",
];

fn csv_cells(row: &Row) -> Vec<String> {
    let seed = |it: Counted| it.smallest_seed.map_or_else(String::new, |seed| seed.to_string());
    let ms = |ms: Option<f64>| ms.map_or_else(String::new, |ms| ms.to_string());
    let excuses: Vec<&str> = row.excused_by.keys().map(String::as_str).collect();
    let numbers = [
        row.runs.to_string(),
        row.acked.to_string(),
        row.sent.to_string(),
        row.lost.total.to_string(),
        seed(row.lost),
        row.duplicated.total.to_string(),
        seed(row.duplicated),
        row.reordered.total.to_string(),
        seed(row.reordered),
        row.refused.total.to_string(),
        row.unknown.to_string(),
        row.unavailable_seconds.to_string(),
        row.invisible_seconds.to_string(),
        ms(row.ack_p50_ms),
        ms(row.ack_p99_ms),
        excuses.join("; "),
    ];
    row.settings.iter().map(|(_, value)| value.clone()).chain(numbers).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::Measure;
    use std::collections::BTreeMap;

    #[test]
    fn a_zero_says_how_little_it_proves_and_anything_else_names_its_seed() {
        let row = |acks: &str, measure: Measure| {
            let mut row = Row::new(vec![("acks".to_owned(), acks.to_owned())]);
            row.add(0, Measure::default());
            row.add(1, measure);
            row.finish();
            row
        };
        let lost = BTreeMap::from([("acks=1".to_owned(), 12)]);
        let rows = [
            row("1", Measure { acked: 100, lost, latencies_us: vec![1_500; 100], ..Measure::default() }),
            row("all", Measure { acked: 90, refused: 10, unavailable_ns: 5_000_000_000, ..Measure::default() }),
        ];
        insta::assert_snapshot!(table(&rows));
        assert_eq!(csv_cells(&rows[0]).len(), CSV_HEAD.len() + 1);
    }
}
