//! Profiles: the ranges from which a campaign draws its scripts, as a data file.

use super::draft::families;
use crate::script::{
    FILE_SYSTEMS, Keys, Preset, ScriptError, Source, Span, check_choices, check_timeouts, check_words, did_you_mean,
    parse, property_names,
};
use klamm_base::Mark;
use serde::Deserialize;
use std::collections::BTreeMap;
use toml::Spanned;

/// A least and a most, both included.
pub type Between<T> = [T; 2];

/// From what a campaign draws. Shares are in a hundred.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Profile {
    /// As `--profile` takes it.
    pub name: String,
    /// One line for people.
    pub about: String,
    /// Properties that some seed must have tested.
    pub required: Vec<Spanned<String>>,
    /// Marks that a sweep must hit.
    #[serde(default)]
    pub marks: Vec<Spanned<String>>,
    /// How long clients and faults run.
    pub duration: Between<Span>,
    /// Length of a period; each has its own faults.
    pub period: Between<Span>,
    /// Share of periods without faults.
    pub quiet: u64,
    /// Share of seeds in which only a sufficient core is healed in the end.
    #[serde(default)]
    pub core_heal: u64,
    /// Share of seeds without any fault: a healthy cluster must keep its promises too.
    #[serde(default)]
    pub fault_free: u64,
    /// Brokers: so many, or one of a list.
    pub brokers: OneOf,
    /// Topics of a script.
    pub topics: Between<u64>,
    /// Partitions of a topic.
    pub partitions: Between<u64>,
    /// Replicas of a partition: so many, or one of a list for each topic.
    pub replication: OneOf,
    /// `min.insync.replicas` of a topic.
    pub min_insync_replicas: Between<u64>,
    /// Share of topics whose `min.insync.replicas` is all of their replicas.
    #[serde(default)]
    pub min_insync_all: u64,
    /// Share of topics with `unclean.leader.election.enable`.
    #[serde(default)]
    pub unclean: u64,
    /// Share of topics with small segments, and their `segment.bytes`.
    pub small_segments: u64,
    /// Bytes of a small segment.
    pub segment_bytes: Between<u64>,
    /// Most one-way latency: one of these.
    pub latency: Vec<Span>,
    /// Producers of a script.
    pub producers: Between<u64>,
    /// Consumers of a script.
    pub consumers: Between<u64>,
    /// Records a second of a producer.
    pub rate: Between<u64>,
    /// Bytes of a record.
    pub record_size: Between<u64>,
    /// Share of producers whose records are tiny, or as large as a batch.
    #[serde(default)]
    pub odd_sizes: u64,
    /// Weights of the shapes of load.
    #[serde(default)]
    pub load: Load,
    /// Settings with the values to choose from; who stands twice is as likely again.
    #[serde(default)]
    pub settings: Settings,
    /// Likewise, each key from a stream of its own: a new line here moves no other draw of any seed.
    #[serde(default)]
    pub own: Settings,
    /// Topics of which the last record of each key stays.
    #[serde(default)]
    pub compaction: Compaction,
    /// Share of producers with acks=all.
    pub acks_all: u64,
    /// Share of idempotent ones among them.
    pub idempotent: u64,
    /// Weights of 1, 1/3 and 1/10 of a default.
    pub scales: [u64; 3],
    /// Broker settings to scale; a group scales together.
    pub broker_timeouts: Vec<Vec<Spanned<String>>>,
    /// Producer settings to scale.
    pub producer_timeouts: Vec<Vec<Spanned<String>>>,
    /// Consumer settings to scale.
    pub consumer_timeouts: Vec<Vec<Spanned<String>>>,
    /// Where hosts may stand: one of these. None: the script says nothing of it.
    #[serde(default)]
    pub topologies: Vec<Spanned<String>>,
    /// What file systems nodes may have: one of these. None: the script says nothing of it.
    #[serde(default)]
    pub file_systems: Vec<Spanned<String>>,
    /// Fault families.
    pub families: Families,
    /// Weights of the biases.
    pub biases: Biases,
}

/// Shares of seeds in which fault families are on, by their names in [`klamm_sim::FAULTS`].
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(transparent)]
pub struct Families(BTreeMap<Spanned<String>, u64>);

impl Families {
    /// The share of a family; none if the profile does not name it.
    pub fn share(&self, name: &str) -> u64 {
        self.0.iter().find(|(known, _)| known.get_ref() == name).map_or(0, |(_, share)| *share)
    }

    fn check(&self, source: &Source) -> Result<(), Box<ScriptError>> {
        let names: Vec<Spanned<String>> = self.0.keys().cloned().collect();
        check_names(source, "fault family", &names, &families().collect::<Vec<_>>())
    }
}

/// A number, or a list of which one is drawn.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "a number, or a list of numbers to choose from")]
pub enum OneOf {
    /// Always this one.
    Always(u32),
    /// One of these.
    List(Vec<u32>),
}

impl OneOf {
    /// What may be drawn.
    pub fn choices(&self) -> &[u32] {
        match self {
            OneOf::Always(number) => std::slice::from_ref(number),
            OneOf::List(numbers) => numbers,
        }
    }

    fn least(&self) -> u32 {
        self.choices().iter().copied().min().unwrap_or(0)
    }

    fn most(&self) -> u32 {
        self.choices().iter().copied().max().unwrap_or(0)
    }
}

/// Weights of the shapes that a producer's load may have.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Load {
    /// One record after the other.
    pub steady: u64,
    /// Many at once, then a pause.
    pub bursts: u64,
    /// Now and then one.
    pub idle: u64,
}

impl Default for Load {
    fn default() -> Self {
        Self { steady: 1, bursts: 0, idle: 0 }
    }
}

/// Compacted topics; none if a profile says nothing of them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Compaction {
    /// Share of topics with `cleanup.policy=compact`.
    pub topics: u64,
    /// Keys of who writes to one.
    pub keys: Between<u64>,
    /// Share of its records that delete their key.
    pub tombstones: Between<u64>,
    /// `segment.bytes` of such a topic: what is written to is not cleaned.
    pub segment_bytes: Between<u64>,
    /// Settings of such a topic, and of the brokers of a seed that has one.
    #[serde(default)]
    pub settings: Settings,
}

/// Settings by whose they are, each with its values.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// Of all brokers of a seed.
    #[serde(default)]
    pub broker: Choices,
    /// Of each topic.
    #[serde(default)]
    pub topic: Choices,
    /// Of each producer.
    #[serde(default)]
    pub producer: Choices,
    /// Of each consumer.
    #[serde(default)]
    pub consumer: Choices,
}

/// Keys with the values to choose from.
pub type Choices = BTreeMap<Spanned<String>, Vec<toml::Value>>;

impl Settings {
    fn check(&self, source: &Source) -> Result<(), Box<ScriptError>> {
        check_choices(source, &self.broker, Keys::Broker)?;
        check_choices(source, &self.topic, Keys::Topic)?;
        check_choices(source, &self.producer, Keys::Producer)?;
        check_choices(source, &self.consumer, Keys::Consumer)
    }
}

/// How often each bias is chosen, against each other.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Biases {
    pub anywhere: u64,
    pub restart_in_session: u64,
    pub after_ack: u64,
    pub during_election: u64,
    pub fresh_leader: u64,
    pub lost_acks: u64,
    #[serde(default)]
    pub lost_answers: u64,
    #[serde(default)]
    pub unheard_shrink: u64,
    #[serde(default)]
    pub held_proposal: u64,
    #[serde(default)]
    pub leader_chain: u64,
}

impl Profile {
    /// Reads a profile; `file` is what messages call it.
    pub fn from_toml(file: &str, text: &str) -> Result<Profile, Box<ScriptError>> {
        let source = Source::new(file, text);
        let profile: Profile = parse(&source)?;
        profile.check(&source)?;
        Ok(profile)
    }

    /// Names of the required properties.
    pub fn required(&self) -> Vec<&str> {
        self.required.iter().map(|name| name.get_ref().as_str()).collect()
    }

    /// The marks that a sweep must hit.
    pub fn marks(&self) -> Vec<Mark> {
        self.marks.iter().filter_map(|name| Mark::from_name(name.get_ref())).collect()
    }

    fn check(&self, source: &Source) -> Result<(), Box<ScriptError>> {
        check_names(source, "property", &self.required, &property_names())?;
        check_names(source, "mark", &self.marks, &Mark::ALL.iter().map(|mark| mark.name()).collect::<Vec<_>>())?;
        self.families.check(source)?;
        check_words(source, "topologies", &self.topologies, &Preset::WORDS)?;
        check_words(source, "file-systems", &self.file_systems, &FILE_SYSTEMS)?;
        check_timeouts(source, &self.broker_timeouts, Keys::Broker)?;
        check_timeouts(source, &self.producer_timeouts, Keys::Producer)?;
        check_timeouts(source, &self.consumer_timeouts, Keys::Consumer)?;
        self.settings.check(source)?;
        self.own.check(source)?;
        self.compaction.settings.check(source)?;
        self.check_ranges().map_err(|what| source.error(0..0, what, None))
    }

    fn check_ranges(&self) -> Result<(), String> {
        let ranges = [
            ("topics", self.topics),
            ("partitions", self.partitions),
            ("min-insync-replicas", self.min_insync_replicas),
            ("producers", self.producers),
            ("consumers", self.consumers),
            ("rate", self.rate),
            ("record-size", self.record_size),
            ("segment-bytes", self.segment_bytes),
            ("compaction.keys", self.compaction.keys.map(|keys| keys.max(u64::from(self.compaction.topics == 0)))),
            ("duration", self.duration.map(|span| span.0)),
            ("period", self.period.map(|span| span.0)),
        ];
        if let Some((name, _)) = ranges.iter().find(|(_, [low, high])| low > high || *low == 0) {
            return Err(format!("`{name}` must be a range from a positive least to a most"));
        }
        let shares = [
            ("quiet", self.quiet),
            ("core-heal", self.core_heal),
            ("fault-free", self.fault_free),
            ("min-insync-all", self.min_insync_all),
            ("unclean", self.unclean),
            ("small-segments", self.small_segments),
            ("odd-sizes", self.odd_sizes),
            ("compaction.topics", self.compaction.topics),
            ("compaction.tombstones", self.compaction.tombstones[1]),
            ("acks-all", self.acks_all),
            ("idempotent", self.idempotent),
        ];
        if let Some((name, share)) = shares.iter().find(|(_, share)| *share > 100) {
            return Err(format!("`{name}` cannot be {share}: a share of a hundred is wanted"));
        }
        let Load { steady, bursts, idle } = self.load;
        if self.latency.is_empty() || self.scales == [0; 3] || steady + bursts + idle == 0 {
            return Err("`latency`, `scales` and `load` must offer something".to_owned());
        }
        let fits = self.brokers.least() >= self.replication.most() && self.brokers.most() <= 9;
        if !fits || u64::from(self.replication.least()) < self.min_insync_replicas[1] {
            let wanted = "`brokers` (at most 9) must hold `replication`, and that `min-insync-replicas`";
            return Err(format!("{wanted}, whichever are drawn"));
        }
        Ok(())
    }
}

/// Checks that each is a known name of its kind.
fn check_names(source: &Source, kind: &str, names: &[Spanned<String>], known: &[&str]) -> Result<(), Box<ScriptError>> {
    for name in names {
        if !known.contains(&name.get_ref().as_str()) {
            let help = did_you_mean(name.get_ref(), known.iter().copied());
            return Err(source.error(name.span(), format!("there is no {kind} `{}`", name.get_ref()), help));
        }
    }
    Ok(())
}
