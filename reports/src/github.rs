//! What GitHub shows: annotations of a step within their limits, and the summary of a job.

use crate::campaign::Campaign;
use crate::layout::{count, thousands};
use crate::text::merged_remarks;
use klamm_checkers::{Standing, properties};
use std::collections::BTreeMap;

/// GitHub shows so many annotations of a kind for each step, and drops the rest in silence.
const SHOWN: usize = 10;
/// Findings listed in a summary, which may have 1 MiB for each step.
const LISTED: usize = 50;

/// Lines for stdout: one error for each broken promise, one warning for each that nothing tested. Several seeds with the
/// same root cause are one error.
pub fn annotations(campaign: &Campaign) -> Vec<String> {
    let file = format!("scenarios/profiles/{}.toml", campaign.name.profile);
    let line = |kind: &str, (title, message): &(String, String)| {
        format!("::{kind} file={},title={}::{}", value(&file), value(title), data(message))
    };
    let (errors, warnings) = (limited(errors(campaign)), limited(warnings(campaign)));
    let errors = errors.iter().map(|told| line("error", told));
    errors.chain(warnings.iter().map(|told| line("warning", told))).collect()
}

/// Title and message of each.
fn errors(campaign: &Campaign) -> Vec<(String, String)> {
    let mut errors = broken(campaign);
    errors.extend(campaign.json.bug_base.iter().map(|bug| {
        (format!("not as it should be in the bug base: {}", bug.name), format!("{}\nrepeat: {}", bug.what, bug.repro))
    }));
    let others = [
        ("klamm itself failed", &campaign.json.klamm_faults),
        ("a seed ran differently a second time", &campaign.json.differences),
    ];
    for (title, seeds) in others {
        if let Some(first) = seeds.first() {
            let more = more(seeds.len() - 1);
            errors.push((
                format!("{title}: seed {}", first.seed),
                format!("{}{more}\nrepeat: {}", first.what, first.repro),
            ));
        }
    }
    errors
}

fn broken(campaign: &Campaign) -> Vec<(String, String)> {
    let mut roots: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for finding in campaign.json.new_findings() {
        roots.entry(&finding.property).or_default().push(finding);
    }
    let ordered = properties().iter().filter_map(|property| roots.get_key_value(property.name));
    let told = |(property, findings): (&&str, &Vec<&crate::FindingJson>)| {
        let first = findings[0];
        let witness = campaign.broken(property).into_iter().find(|broken| broken.finding.seed == first.seed);
        let why = witness.map(|broken| format!("{}\n{}\n", broken.witness.rule, broken.witness.text));
        let title = format!("{property} broken: {} seed {}", campaign.title(), first.seed);
        (title, format!("{}repeat: {}{}", why.unwrap_or_default(), first.repro, more(findings.len() - 1)))
    };
    ordered.map(told).collect()
}

fn more(seeds: usize) -> String {
    if seeds == 0 { String::new() } else { format!("\nand in {} more", count(seeds as u64, "seed")) }
}

fn warnings(campaign: &Campaign) -> Vec<(String, String)> {
    let told = |name: &&str| {
        let premise = klamm_checkers::property(name).map_or("", |property| property.premise);
        (format!("{name} not tested"), format!("{}: no seed met its premise ({premise})", campaign.title()))
    };
    campaign.not_tested.iter().map(told).collect()
}

/// As many as are shown; the last one counts what does not fit.
fn limited(mut all: Vec<(String, String)>) -> Vec<(String, String)> {
    if all.len() > SHOWN {
        let rest = all.split_off(SHOWN - 1);
        let titles: Vec<String> = rest.iter().map(|(title, _)| title.clone()).collect();
        all.push((format!("and {} more", rest.len()), titles.join("\n")));
    }
    all
}

/// Of a message.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Of a property, where a colon and a comma mean something too.
fn value(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// Markdown for `$GITHUB_STEP_SUMMARY`: the verdict table, and a line that repeats each finding.
pub fn summary(campaign: &Campaign) -> String {
    let json = campaign.json;
    let mut text = format!("### klamm {}\n\n", cell(&campaign.title()));
    text.push_str("| guarantee | verdict | obligations | |\n|---|---|--:|---|\n");
    for property in properties() {
        if let Some(verdict) = campaign.merged.verdicts.get(property.name) {
            let (name, standing) = (property.name, verdict.standing);
            let obligations = thousands(verdict.obligations);
            text.push_str(&format!("| {name} | {} | {obligations} | {} |\n", mark(standing), remark(campaign, name)));
        }
    }
    let (seeds, acked, faults) = (thousands(json.seeds), thousands(json.counts.acked), thousands(json.counts.faults));
    text.push_str(&format!(
        "\n{seeds} seeds, {acked} records acked, {faults} faults, commit `{}`\n",
        campaign.name.commit
    ));
    let told = json.findings.iter().map(|finding| {
        let known = finding.known.as_ref().map(|why| format!(" (known: {})", cell(why))).unwrap_or_default();
        format!("* {} in seed {}{known}: `{}`\n", finding.property, finding.seed, finding.repro)
    });
    let faults = json
        .klamm_faults
        .iter()
        .map(|fault| format!("* klamm itself failed in seed {}: `{}`\n", fault.seed, fault.repro));
    let differences = json
        .differences
        .iter()
        .map(|part| format!("* seed {} ran differently a second time: `{}`\n", part.seed, part.repro));
    let bugs = json
        .bug_base
        .iter()
        .map(|bug| format!("* not as it should be in the bug base: {}: `{}`\n", bug.name, bug.repro));
    let lines: Vec<String> = bugs.chain(faults).chain(differences).chain(told).collect();
    text.push('\n');
    lines.iter().take(LISTED).for_each(|line| text.push_str(line));
    if lines.len() > LISTED {
        text.push_str(&format!("* and {} more\n", lines.len() - LISTED));
    }
    text
}

fn mark(standing: Standing) -> String {
    match standing {
        Standing::Violated => "**violated**".to_string(),
        other => other.name().to_string(),
    }
}

fn remark(campaign: &Campaign, property: &str) -> String {
    let verdict = &campaign.merged.verdicts[property];
    let known = campaign.broken(property).iter().filter(|broken| broken.finding.known.is_some()).count();
    let mut remarks = merged_remarks(verdict, known);
    if campaign.not_tested.contains(&property) {
        remarks.push("required, and no seed tested it".to_string());
    }
    remarks.join("; ")
}

/// Nothing in a cell may end it.
fn cell(text: &str) -> String {
    let escape = |letter| match letter {
        '|' | '<' | '>' | '`' | '*' | '_' | '[' | ']' => format!("\\{letter}"),
        letter if char::is_control(letter) => " ".to_string(),
        letter => letter.to_string(),
    };
    text.chars().map(escape).collect()
}
