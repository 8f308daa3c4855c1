//! What `--json` prints: one object on one line, with stable names (DESIGN section 9).

use klamm_base::Mark;
use klamm_checkers::{Confusion, Counts, Merged, Report, Standing, merge};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One broken promise of one seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FindingJson {
    /// The property.
    pub property: String,
    /// The seed.
    pub seed: u64,
    /// Name or path of the script that was run.
    pub script: String,
    /// The one line that repeats it.
    pub repro: String,
    /// Why it is known, if it is: then it does not make the campaign red.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<String>,
}

/// What is to be said of a seed besides its verdicts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeedJson {
    /// The seed.
    pub seed: u64,
    /// What its panic said, or where its two runs part.
    pub what: String,
    /// The one line that repeats it.
    pub repro: String,
}

/// A run of the bug base that is not as it should be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BugJson {
    /// Its name there.
    pub name: String,
    /// How it fails, or that it fails no more.
    pub what: String,
    /// The one line that repeats it.
    pub repro: String,
}

/// `klamm campaign --json` and `klamm merge --json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CampaignJson {
    /// Seeds run.
    pub seeds: u64,
    /// Totals of [`Counts`].
    #[serde(flatten)]
    pub counts: Counts,
    /// What clients were told against what the logs hold: acked | refused | unknown | sent -> where those records are.
    #[serde(default)]
    pub confusion: Confusion,
    /// Properties that held in some seed and were broken in none.
    pub held: Vec<String>,
    /// Properties broken in any seed, root causes first.
    pub violated: Vec<String>,
    /// Properties whose premise no seed met.
    pub not_tested: Vec<String>,
    /// Property -> how often its premise occurred; every property has an entry.
    pub obligations: BTreeMap<String, u64>,
    /// Mark -> in how many seeds it was hit; empty where nobody counted.
    #[serde(default)]
    pub marks: BTreeMap<String, u64>,
    /// Simulated time, summed.
    pub sim_seconds: f64,
    /// Real time.
    pub wall_seconds: f64,
    /// False if any seed that was checked ran differently a second time.
    pub deterministic: bool,
    /// Every broken promise.
    pub findings: Vec<FindingJson>,
    /// Runs of the bug base that are not as they should be, if the campaign played it; a merge does not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bug_base: Vec<BugJson>,
    /// Seeds on which Klamm itself failed: they tested nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub klamm_faults: Vec<SeedJson>,
    /// Seeds whose second run differed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<SeedJson>,
    /// What was run, if seeds of a profile were.
    #[serde(flatten)]
    pub name: Option<CampaignName>,
}

/// Which campaign it was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CampaignName {
    /// Its profile.
    pub profile: String,
    /// The seeds that were run, `0..100`.
    pub seed_range: String,
    /// Guards that were off.
    pub without: Vec<String>,
    /// Klamm's commit, or `unknown`.
    pub commit: String,
}

/// `klamm run --json` and `klamm replay --json`: the same for one seed, with `verdicts`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunJson {
    /// The same fields as a campaign's, over one seed (or over `--seeds`).
    #[serde(flatten)]
    pub campaign: CampaignJson,
    /// Property -> held | violated | allowed | not-tested.
    pub verdicts: BTreeMap<String, Standing>,
}

impl CampaignJson {
    /// Of a merged campaign.
    pub fn new(merged: &Merged, wall_seconds: f64, deterministic: bool, findings: Vec<FindingJson>) -> Self {
        CampaignJson {
            seeds: merged.seeds,
            counts: merged.counts,
            confusion: merged.confusion,
            held: standing(merged, Standing::Held),
            violated: standing(merged, Standing::Violated),
            not_tested: standing(merged, Standing::NotTested),
            obligations: merged.verdicts.iter().map(|(name, v)| ((*name).to_string(), v.obligations)).collect(),
            marks: BTreeMap::new(),
            sim_seconds: merged.sim_ns as f64 / 1e9,
            wall_seconds,
            deterministic,
            findings,
            bug_base: Vec::new(),
            klamm_faults: Vec::new(),
            differences: Vec::new(),
            name: None,
        }
    }

    /// The same with every mark, and in how many seeds it was hit.
    pub fn with_marks(mut self, hit: &BTreeMap<Mark, u64>) -> Self {
        let seeds = |mark: &Mark| (mark.name().to_string(), hit.get(mark).copied().unwrap_or(0));
        self.marks = Mark::ALL.iter().map(seeds).collect();
        self
    }

    /// Findings that nobody knew of.
    pub fn new_findings(&self) -> impl Iterator<Item = &FindingJson> {
        self.findings.iter().filter(|finding| finding.known.is_none())
    }

    /// The one line that `--json` prints, without a newline.
    pub fn line(&self) -> String {
        line(self)
    }
}

impl RunJson {
    /// Of one judged run of `seed`.
    pub fn new(seed: u64, report: &Report, wall_seconds: f64, deterministic: bool, script: &str, repro: &str) -> Self {
        let mut merged = Merged::default();
        merge(&mut merged, seed, report);
        RunJson::of_seeds(&merged, wall_seconds, deterministic, findings(seed, report, script, repro))
    }

    /// Of several seeds of one script (`klamm run --seeds N`): verdicts are merged as a campaign's.
    pub fn of_seeds(merged: &Merged, wall_seconds: f64, deterministic: bool, findings: Vec<FindingJson>) -> Self {
        let verdicts = merged.verdicts.iter().map(|(name, verdict)| ((*name).to_string(), verdict.standing)).collect();
        RunJson { campaign: CampaignJson::new(merged, wall_seconds, deterministic, findings), verdicts }
    }

    /// The one line that `--json` prints, without a newline.
    pub fn line(&self) -> String {
        line(self)
    }
}

/// One finding for each property that one run broke, root causes first.
pub fn findings(seed: u64, report: &Report, script: &str, repro: &str) -> Vec<FindingJson> {
    let finding = |property: &str| FindingJson {
        property: property.to_string(),
        seed,
        script: script.to_string(),
        repro: repro.to_string(),
        known: None,
    };
    report.violated().into_iter().map(finding).collect()
}

/// Properties of this standing, root causes first.
fn standing(merged: &Merged, wanted: Standing) -> Vec<String> {
    let stands = |name: &&str| merged.verdicts.get(name).is_some_and(|verdict| verdict.standing == wanted);
    klamm_checkers::properties().iter().map(|property| property.name).filter(stands).map(str::to_string).collect()
}

fn line(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("plain numbers, texts, lists and maps with text keys always become JSON")
}
