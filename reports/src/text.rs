//! Plain text for a terminal: at most 120 columns, colours only if asked for. Byte-identical for the same run.

use crate::FindingJson;
use crate::layout::{Page, Tone, count, thousands};
use klamm_base::Mark;
use klamm_checkers::{
    AllowedLoss, Confusion, Counts, Fact, Merged, MergedVerdict, Places, Report, Standing, Stretch, Verdict, Witness,
    properties, property, seconds,
};
use std::collections::BTreeMap;

/// Stretches and findings listed in full; further ones are counted.
const LISTED: usize = 12;

/// One run: verdict table, each witness as two facts and the rule, allowed losses with their settings, counts, and the
/// line that repeats the run. `title` is the script's name with its seed.
pub fn run_report(title: &str, report: &Report, repro: &str, colours: bool) -> String {
    let mut page = Page::new(colours);
    page.labelled("", title);
    page.line("");
    for property in properties() {
        if let Some(verdict) = report.verdicts.get(property.name) {
            row(&mut page, property.name, verdict.standing(), verdict.obligations(), &remark(verdict));
        }
    }
    for name in report.violated() {
        if let Some(Verdict::Violated { witness, .. }) = report.verdicts.get(name) {
            told_witness(&mut page, name, promise(name), witness);
            told_story(&mut page, report.stories.get(name).map_or(&[], Vec::as_slice));
        }
    }
    for (name, verdict) in &report.verdicts {
        if let Verdict::Allowed { losses, .. } = verdict {
            losses.iter().for_each(|loss| told_loss(&mut page, name, loss));
        }
    }
    page.line("");
    totals(&mut page, &report.counts, &report.confusion);
    page.labelled(
        "time     ",
        &format!("{} simulated, {}", seconds(report.sim_ns), count(report.operations, "observation")),
    );
    page.command("repeat   ", repro);
    page.finish()
}

/// What a name means: a line that says what it is, and its labelled parts.
pub fn explanation(name: &str, kind: &str, parts: &[(&str, String)], colours: bool) -> String {
    let mut page = Page::new(colours);
    page.line(&format!("{} ({kind})", page.toned(Tone::Note, name)));
    let width = parts.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
    for (label, text) in parts {
        let label = format!("  {label:width$}  ");
        // An address must stay in one piece.
        if text.starts_with("https://") { page.command(&label, text) } else { page.labelled(&label, text) }
    }
    page.finish()
}

/// A campaign: the merged table, totals and findings. `title` is the profile with its seed range. Without `wall_seconds` no
/// rate is told: merged parts ran beside each other.
pub fn campaign_report(
    title: &str,
    merged: &Merged,
    findings: &[FindingJson],
    wall_seconds: Option<f64>,
    colours: bool,
) -> String {
    let mut page = Page::new(colours);
    page.labelled("", title);
    page.line("");
    for property in properties() {
        if let Some(verdict) = merged.verdicts.get(property.name) {
            row(
                &mut page,
                property.name,
                verdict.standing,
                verdict.obligations,
                &merged_remarks(verdict, 0).join("; "),
            );
        }
    }
    page.line("");
    totals(&mut page, &merged.counts, &merged.confusion);
    let simulated = merged.sim_ns as f64 / 1e9;
    let time = match wall_seconds {
        Some(wall) if wall > 0.0 => {
            let rate = simulated / wall;
            format!("{simulated:.1} s simulated in {wall:.1} s ({rate:.0} simulated seconds a second)")
        }
        _ => format!("{simulated:.1} s simulated"),
    };
    page.labelled("time     ", &format!("{time}, {}", count(merged.operations, "observation")));
    page.labelled("seeds    ", &thousands(merged.seeds));
    told_findings(&mut page, findings);
    page.finish()
}

/// How many of the wanted marks a campaign hit; nothing if none is wanted. A few seeds owe none of them, so those that were
/// never hit have no names here.
pub fn marks_line(hit: &BTreeMap<Mark, u64>, wanted: &[Mark], colours: bool) -> String {
    let mut page = Page::new(colours);
    if !wanted.is_empty() {
        let count = wanted.iter().filter(|mark| hit.contains_key(mark)).count();
        page.labelled("marks    ", &format!("{count} of {} hit", wanted.len()));
    }
    page.finish()
}

pub(crate) fn row(page: &mut Page, name: &str, standing: Standing, obligations: u64, remark: &str) {
    let tone = match standing {
        Standing::Held => Tone::Good,
        Standing::Violated => Tone::Bad,
        Standing::Allowed => Tone::Note,
        Standing::NotTested => Tone::Quiet,
    };
    let standing = format!("{:<10}", standing.name());
    let row = |standing: &str| format!("  {name:<25}{standing}{:>12}   ", thousands(obligations));
    let shown = row(&page.toned(tone, &standing));
    page.labelled_as(&row(&standing), &shown, remark);
}

fn remark(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Held { .. } => String::new(),
        Verdict::Violated { witness, .. } => match witness.derived {
            0 => "see below".to_string(),
            more => format!("see below, and {} more", thousands(more)),
        },
        Verdict::Allowed { losses, .. } => {
            let settings: BTreeMap<&str, u64> = losses.iter().fold(BTreeMap::new(), |mut settings, loss| {
                *settings.entry(loss.setting.as_str()).or_default() += loss.count();
                settings
            });
            let told = |(setting, records): (&&str, &u64)| format!("{} by {setting}", count(*records, "record"));
            settings.iter().map(told).collect::<Vec<_>>().join("; ")
        }
        Verdict::NotTested { reason } => reason.clone(),
    }
}

/// In how many seeds it was broken, of which so many are known, and in how many something was lost as allowed.
pub(crate) fn merged_remarks(verdict: &MergedVerdict, known: usize) -> Vec<String> {
    let mut remarks = Vec::new();
    if let Some(first) = verdict.violated_seeds.first() {
        let seeds = count(verdict.violated_seeds.len() as u64, "seed");
        let known = if known == 0 { String::new() } else { format!(", {known} of them known") };
        remarks.push(format!("broken in {seeds}, first in seed {first}{known}"));
    }
    remarks.extend(allowed_remark(verdict));
    remarks
}

/// What a campaign lost as allowed, if it lost anything so.
pub(crate) fn allowed_remark(verdict: &MergedVerdict) -> Option<String> {
    let seeds = count(verdict.allowed_seeds, "seed");
    (verdict.allowed_seeds > 0).then(|| format!("losses that a setting allows in {seeds}"))
}

/// What was promised, if the name stands for a promise.
fn promise(name: &str) -> Option<(&'static str, &'static str)> {
    property(name).map(|property| ("  promise  ", property.summary))
}

/// A violation: under its name `what` that means (a label and a line), then the two facts and the rule.
pub(crate) fn told_witness(page: &mut Page, name: &str, what: Option<(&str, &str)>, witness: &Witness) {
    page.line("");
    let word = page.toned(Tone::Bad, "VIOLATED");
    page.line(&format!("{word} {name}"));
    if let Some((label, summary)) = what {
        page.labelled(label, summary);
    }
    page.labelled("  rule     ", &witness.rule);
    told_fact(page, "  first    ", &witness.first);
    told_fact(page, "  then     ", &witness.second);
    page.labelled("  so       ", &witness.text);
    told_stretches(page, &witness.records);
    if witness.derived > 0 {
        page.labelled(
            "  further  ",
            &format!("{} breaches of it follow, most with the same cause", thousands(witness.derived)),
        );
    }
}

/// A witness as text without colours, for papers that wrap it in their own way.
pub(crate) fn witness_text(name: &str, witness: &Witness) -> String {
    let mut page = Page::new(false);
    told_witness(&mut page, name, promise(name), witness);
    page.finish().trim_start().to_string()
}

/// The entries that lead to a violation.
fn told_story(page: &mut Page, story: &[Fact]) {
    for (index, fact) in story.iter().enumerate() {
        let label = if index == 0 { "  story    " } else { "           " };
        page.labelled(label, &format!("{}: {}", seconds(fact.at_ns), fact.text));
    }
}

fn told_fact(page: &mut Page, label: &str, fact: &Fact) {
    page.labelled(label, &fact.to_string());
}

fn told_stretches(page: &mut Page, stretches: &[Stretch]) {
    for stretch in stretches.iter().take(LISTED) {
        page.labelled("  records  ", &placed(stretch));
    }
    if stretches.len() > LISTED {
        page.labelled("           ", &format!("and {} more ranges", stretches.len() - LISTED));
    }
}

fn placed(stretch: &Stretch) -> String {
    let place = match stretch.to - stretch.from {
        length if length <= 0 => format!("{}-{}", stretch.topic, stretch.tp.partition),
        1 => format!("{}-{} at {}", stretch.topic, stretch.tp.partition, stretch.from),
        _ => format!("{}-{} at {}..{}", stretch.topic, stretch.tp.partition, stretch.from, stretch.to),
    };
    let names = stretch.records.iter().take(LISTED).map(|record| format!("{}/{}", record.client.0, record.number));
    let names = names.collect::<Vec<_>>().join(" ");
    match stretch.records.len().checked_sub(LISTED) {
        _ if names.is_empty() => place,
        None | Some(0) => format!("{place} (client/number: {names})"),
        Some(more) => format!("{place} (client/number: {names} and {more} more)"),
    }
}

fn told_loss(page: &mut Page, name: &str, loss: &AllowedLoss) {
    page.line("");
    let word = page.toned(Tone::Note, "ALLOWED");
    page.line(&format!("{word} {name}"));
    page.labelled("  lost     ", &loss.what);
    page.labelled("  setting  ", &loss.setting);
    page.labelled("  cause    ", &loss.cause);
    told_stretches(page, &loss.records);
}

fn totals(page: &mut Page, counts: &Counts, confusion: &Confusion) {
    let parts = [
        (counts.acked, "acked"),
        (counts.refused, "refused"),
        (counts.unknown, "unknown"),
        (counts.sent, "sent"),
        (counts.read, "read"),
    ];
    let records = parts.map(|(number, word)| format!("{} {word}", thousands(number))).join(", ");
    page.labelled("records  ", &records);
    told_confusion(page, confusion);
    let struck = count(counts.faults, "fault");
    page.labelled(
        "faults   ",
        &format!("{struck} struck, {} lost as a setting allows", count(counts.allowed_losses, "record")),
    );
}

/// What clients were told against what the logs hold; empty cells are left out.
fn told_confusion(page: &mut Page, confusion: &Confusion) {
    let row = |(word, places): (&str, Places)| {
        let cells = [
            (places.in_log, "in the log"),
            (places.gone, "gone"),
            (places.never_seen, "never seen"),
            (places.not_known, "not known"),
        ];
        let cells: Vec<_> = cells.iter().filter(|(number, _)| *number > 0).collect();
        let told = cells.iter().map(|(number, place)| format!("{} {place}", thousands(*number))).collect::<Vec<_>>();
        (!told.is_empty()).then(|| format!("{word}: {}", told.join(", ")))
    };
    let rows: Vec<String> = confusion.rows().into_iter().filter_map(row).collect();
    if !rows.is_empty() {
        page.labelled("told as  ", &rows.join("; "));
    }
}

fn told_findings(page: &mut Page, findings: &[FindingJson]) {
    if findings.is_empty() {
        return;
    }
    page.line("");
    for finding in findings.iter().take(LISTED) {
        let word = page.toned(Tone::Bad, "FOUND");
        page.line(&format!("{word} {} in seed {}", finding.property, finding.seed));
        if let Some(why) = &finding.known {
            page.labelled("  known    ", why);
        }
        page.labelled("  script   ", &finding.script);
        page.command("  repeat   ", &finding.repro);
    }
    if findings.len() > LISTED {
        page.line(&format!("and {} more", findings.len() - LISTED));
    }
}
