//! How a campaign, or a merged one, is told: to people, to machines, to CI, and as an exit code.

use super::args::PaperArgs;
use super::{Bad, Exit, colours, on_a_seed, repro};
use crate::campaign::{Finding, Folder, Head, Knowns, Profile, Seeds, Tally};
use klamm_base::Mark;
use klamm_checkers::Report;
use klamm_reports::{BugJson, Campaign, CampaignJson, CampaignName, FindingJson, SeedJson, github};
use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Range;
use std::path::Path;

/// Findings of which the witness is shown; of the others the line that repeats them.
const SHOWN: usize = 3;

/// From so many seeds on a campaign must have hit every mark that its profile lists; fewer may just not have met one.
const MARKS_FROM: u64 = 100;

/// Why no more seeds were run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All were.
    Whole,
    /// The first finding ended it, as was asked.
    AtFinding,
    /// Time was up.
    InTime,
    /// Somebody asked for its end.
    Interrupted { terminated: bool },
}

impl Ended {
    fn word(self) -> &'static str {
        match self {
            Ended::Whole => "all-seeds",
            Ended::AtFinding => "finding",
            Ended::InTime => "time",
            Ended::Interrupted { .. } => "interrupted",
        }
    }
}

/// A campaign that is over.
pub struct Ending<'a> {
    pub head: &'a Head,
    pub profile: &'a Profile,
    pub tally: &'a Tally,
    /// The seeds that were run.
    pub done: Range<u64>,
    pub ended: Ended,
    /// Real seconds.
    pub wall: f64,
    /// False if others ran it, beside each other: then no pace is told.
    pub ran_here: bool,
    pub known: Option<&'a KnownFile>,
    /// Runs of the bug base that are not as they should be.
    pub bugs: &'a [BugJson],
}

/// A list of known failures with its path.
pub struct KnownFile {
    path: String,
    list: Knowns,
}

/// Reads `--known`.
#[allow(clippy::disallowed_methods, reason = "the command line reads the user's files")]
pub fn known(papers: &PaperArgs) -> Result<Option<KnownFile>, Bad> {
    let Some(path) = &papers.known else { return Ok(None) };
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| Bad::plain(format!("{name}: {error}")))?;
    let list = Knowns::from_toml(&name, &text).map_err(|wrong| Bad::from(*wrong))?;
    Ok(Some(KnownFile { path: name, list }))
}

impl Ending<'_> {
    /// Prints and writes everything.
    pub fn conclude(&self, papers: &PaperArgs, folder: Option<&Folder>) -> Result<Exit, Bad> {
        let (findings, met) = self.findings();
        let json = self.json(findings);
        let not_tested = self.not_tested();
        self.show(&json, &met);
        self.show_not_tested(&not_tested);
        if let Some(folder) = folder {
            folder.finish(&self.result(&json))?;
        }
        let reports: Vec<&Report> = self.tally.findings.iter().map(|finding| &finding.report).collect();
        let name = json.name.as_ref().expect("a campaign has a name");
        let campaign =
            Campaign { name, json: &json, merged: &self.tally.merged, reports: &reports, not_tested: &not_tested };
        if let Some(path) = &papers.junit {
            write(path, &klamm_reports::junit(&campaign))?;
        }
        tell_github(&campaign)?;
        if papers.json {
            say(&json.line());
        }
        Ok(self.exit(&json, &not_tested))
    }

    /// One finding for each violated seed, its first root cause; and for each known failure the seeds that met it.
    fn findings(&self) -> (Vec<FindingJson>, BTreeMap<usize, Vec<u64>>) {
        let mut met: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
        let mut finding = |found: &Finding| {
            let known = self.known.and_then(|known| known.list.explain(&self.head.profile, found.seed, &found.report));
            let first = known.as_ref().and_then(|entries| entries.first().copied());
            known.into_iter().flatten().for_each(|entry| met.entry(entry).or_default().push(found.seed));
            FindingJson {
                property: found.violated[0].to_owned(),
                seed: found.seed,
                script: self.head.profile.clone(),
                repro: self.repro(found.seed),
                known: first.zip(self.known).map(|(entry, known)| why(&known.list, entry)),
            }
        };
        (self.tally.findings.iter().map(&mut finding).collect(), met)
    }

    fn repro(&self, seed: u64) -> String {
        repro(&self.head.profile, seed, &self.head.without, &[])
    }

    fn json(&self, findings: Vec<FindingJson>) -> CampaignJson {
        let told = |seed, what: &str| SeedJson { seed, what: what.to_owned(), repro: self.repro(seed) };
        let deterministic = self.tally.differences.is_empty();
        let json = CampaignJson::new(&self.tally.merged, self.wall, deterministic, findings);
        let mut json = json.with_marks(&self.tally.marks);
        json.bug_base = self.bugs.to_vec();
        json.klamm_faults = self.tally.faults.iter().map(|fault| told(fault.seed, &fault.what)).collect();
        json.differences = self.tally.differences.iter().map(|(seed, what)| told(*seed, what)).collect();
        json.name = Some(CampaignName {
            profile: self.head.profile.clone(),
            seed_range: Seeds(self.done.clone()).to_string(),
            without: self.head.without.iter().map(|guard| guard.name().to_owned()).collect(),
            commit: self.head.commit.clone(),
        });
        json
    }

    /// Required properties that nothing tested. What was cut short, or is a part only, tested what it could: that is no news.
    fn not_tested(&self) -> Vec<&str> {
        if self.is_whole() { self.tally.not_tested(&self.profile.required()) } else { Vec::new() }
    }

    fn is_whole(&self) -> bool {
        self.head.shard.is_none() && matches!(self.ended, Ended::Whole | Ended::InTime)
    }

    /// Listed marks that it should have hit and did not. With a guard off a run ends where it finds something.
    fn marks_owed(&self) -> Vec<Mark> {
        let owed = self.is_whole() && self.head.without.is_empty() && self.tally.merged.seeds >= MARKS_FROM;
        if owed { self.tally.never_hit(&self.profile.marks()) } else { Vec::new() }
    }

    /// `result.json`: what was asked for, what was run of it, and its answer. The same for the same seeds, whoever ran them, how fast and how often he was killed.
    fn result(&self, json: &CampaignJson) -> String {
        let mut result = serde_json::to_value(json).expect("a campaign becomes JSON");
        let fields = result.as_object_mut().expect("an object");
        fields.remove("wall_seconds");
        fields.insert("campaign".to_owned(), serde_json::to_value(self.head).expect("a head becomes JSON"));
        fields.insert("ended".to_owned(), self.ended.word().into());
        serde_json::to_string_pretty(&result).expect("a value becomes JSON")
    }

    fn show(&self, json: &CampaignJson, met: &BTreeMap<usize, Vec<u64>>) {
        for (finding, told) in self.tally.findings.iter().zip(&json.findings).take(SHOWN) {
            let title = format!("{} seed {}", self.head.profile, finding.seed);
            say(&klamm_reports::run_report(&title, &finding.report, &told.repro, colours()));
            let Head { profile, without, .. } = self.head;
            say(&format!("shrink   {}\n", on_a_seed("shrink", profile, finding.seed, without, &[])));
        }
        let title = format!("{} {}", self.head.profile, Seeds(self.done.clone()));
        let wall = self.ran_here.then_some(self.wall);
        let report = klamm_reports::campaign_report(&title, &self.tally.merged, &json.findings, wall, colours());
        let marks = klamm_reports::marks_line(&self.tally.marks, &self.profile.marks(), colours());
        say(format!("{report}{marks}").trim_end_matches('\n'));
        if let Ended::Interrupted { .. } = self.ended {
            say(&format!("interrupted: {} of {} were run", Seeds(self.done.clone()), Seeds(self.head.part())));
        }
        for fault in &json.klamm_faults {
            say(&format!("klamm itself failed in seed {}: {}\n  repeat   {}", fault.seed, fault.what, fault.repro));
        }
        for part in &json.differences {
            say(&format!("seed {} ran differently a second time: {}", part.seed, part.what));
        }
        if !json.bug_base.is_empty() {
            let names: Vec<&str> = json.bug_base.iter().map(|bug| bug.name.as_str()).collect();
            say(&format!("not as it should be in the bug base: {}", names.join(", ")));
        }
        if let Some(known) = self.known {
            self.show_known(known, json, met);
        }
    }

    fn show_not_tested(&self, not_tested: &[&str]) {
        for name in not_tested {
            say(&format!("not tested by any seed, though required: {name}"));
        }
        for mark in self.marks_owed() {
            say(&format!("never hit by any seed, though listed: {mark}: {}", mark.summary()));
        }
    }

    fn show_known(&self, known: &KnownFile, json: &CampaignJson, met: &BTreeMap<usize, Vec<u64>>) {
        let (all, new) = (json.findings.len(), json.new_findings().count());
        say(&format!("known: {} of {all} findings", all - new));
        for (entry, failure) in known.list.all().iter().enumerate() {
            let property = failure.property.get_ref();
            if let Some(seeds) = met.get(&entry) {
                let first = seeds[0];
                say(&format!("  {property} in {} seeds, first {first}: {}", seeds.len(), why(&known.list, entry)));
            } else if failure.was_looked_for(&self.head.profile, &self.done) {
                say(&format!(
                    "  {property} was not met; take it off {} if it is repaired: {}",
                    known.path, failure.why
                ));
            }
        }
    }

    fn exit(&self, json: &CampaignJson, not_tested: &[&str]) -> Exit {
        let is_violated = json.new_findings().next().is_some() || !json.bug_base.is_empty();
        let untested = !not_tested.is_empty() && self.tally.done > 0 || !self.marks_owed().is_empty();
        let lacks = untested || !json.klamm_faults.is_empty();
        match (json.deterministic, is_violated, lacks) {
            (false, _, _) => Exit::NotDeterministic,
            (_, true, _) => Exit::Violated,
            (_, _, true) => Exit::NotTested,
            _ if self.ended == (Ended::Interrupted { terminated: true }) => Exit::Terminated,
            _ => Exit::Fine,
        }
    }
}

fn why(known: &Knowns, entry: usize) -> String {
    let known = &known.all()[entry];
    format!("{} ({})", known.why, known.link)
}

/// A closed pipe (`| head`) is no error of ours.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

#[allow(clippy::disallowed_methods, reason = "the command line writes where the user says")]
fn write(path: &Path, text: &str) -> Result<(), Bad> {
    std::fs::write(path, text).map_err(|error| Bad::plain(format!("{}: {error}", path.display())))
}

/// Annotations and the summary, if GitHub runs this.
#[allow(clippy::disallowed_methods, reason = "the command line writes where GitHub says")]
fn tell_github(campaign: &Campaign) -> Result<(), Bad> {
    if std::env::var("GITHUB_ACTIONS").as_deref() != Ok("true") {
        return Ok(());
    }
    github::annotations(campaign).iter().for_each(|line| say(line));
    let Some(path) = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()) else { return Ok(()) };
    let path = Path::new(&path);
    let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
    let written = file.and_then(|mut file| file.write_all(github::summary(campaign).as_bytes()));
    written.map_err(|error| Bad::plain(format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::library;

    /// How a campaign of no seeds exits, and what it prints with `--json`.
    fn concluded(bugs: &[BugJson], ended: Ended) -> (Exit, String) {
        let (head, profile) = (Head::new("core", Seeds(0..0)), library::profile("core").unwrap());
        let tally = Tally::default();
        let (head, profile, tally) = (&head, &profile, &tally);
        let ending = Ending { head, profile, tally, done: 0..0, ended, wall: 1.0, ran_here: true, known: None, bugs };
        let json = ending.json(Vec::new());
        (ending.exit(&json, &[]), json.line())
    }

    #[test]
    fn a_bug_base_that_is_not_as_it_should_be_makes_a_campaign_red_and_stands_in_its_json() {
        let bug =
            |name: &str| BugJson { name: name.to_owned(), what: "it fails".to_owned(), repro: "klamm".to_owned() };
        for ended in [Ended::Whole, Ended::Interrupted { terminated: true }] {
            let (exit, json) = concluded(&[bug("one"), bug("two")], ended);
            assert_eq!(exit, Exit::Violated);
            assert!(
                json.contains(r#""bug_base":[{"name":"one","what":"it fails","repro":"klamm"},{"name":"two","#),
                "{json}"
            );
        }
        let (exit, json) = concluded(&[], Ended::Whole);
        assert!(exit == Exit::Fine && !json.contains("bug_base"), "{json}");
    }
}
