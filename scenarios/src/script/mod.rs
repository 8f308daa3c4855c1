//! A script is data: what people write, campaigns generate, failures store and replays run is this one type.

mod disks;
mod duration;
mod error;
mod failure;
mod faults;
mod latency;
mod lower;
mod lower_step;
mod lower_verb;
mod places;
mod raw;
mod step;
mod tables;
mod target;
mod trigger;
mod verbs;
mod words;

pub(crate) use disks::FILE_SYSTEMS;
pub use disks::{DeviceKind, DiskSpec};
pub use duration::Span;
pub use error::ScriptError;
pub use failure::{FORMAT, Failed, Failure};
pub(crate) use lower::check_words;
pub(crate) use lower_verb::ROLES;
pub use places::{LinkSpec, Preset};
pub use step::{Action, Link, Step};
pub use tables::{Keys, broker_ms, choice, default_of, producer_ms, property_names};
pub(crate) use tables::{check_choices, check_timeouts};
pub use target::{Partition, Target};
pub use trigger::Trigger;
pub use verbs::{
    ConnectionHarm, Corrupt, Cut, DiskHarm, Fill, Gc, Limit, LinkHarm, Listen, Lose, Rot, Share, Skew, SkewKind, Slow,
    SlowCpu, Stop,
};

pub(crate) use error::Source;
pub(crate) use lower::did_you_mean;
pub(crate) use raw::parse;

use klamm_base::{Guard, Properties};
use serde::Serialize;
use std::collections::BTreeMap;

/// A whole run: the cluster, its topics and clients, what strikes them and what is expected.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Script {
    /// Short name, as `klamm run NAME` takes it.
    pub name: String,
    /// What the story teaches, in two sentences.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lesson: Option<String>,
    /// The seed when the command line gives none.
    pub seed: u64,
    /// How long clients and faults run, in simulated time; healing and judging come after it.
    pub duration: Span,
    /// What is healed in the end.
    #[serde(skip_serializing_if = "Heal::is_all")]
    pub heal: Heal,
    /// Guards that are off.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<Guard>,
    /// Machines and their settings.
    pub cluster: ClusterSpec,
    /// Topics, made before clients start.
    #[serde(rename = "topic", skip_serializing_if = "Vec::is_empty")]
    pub topics: Vec<TopicSpec>,
    /// Producers.
    #[serde(rename = "producer", skip_serializing_if = "Vec::is_empty")]
    pub producers: Vec<ProducerSpec>,
    /// Consumers.
    #[serde(rename = "consumer", skip_serializing_if = "Vec::is_empty")]
    pub consumers: Vec<ConsumerSpec>,
    /// What strikes.
    #[serde(rename = "step", skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
    /// Verdict per property; what is not named must not be violated.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub expect: BTreeMap<String, Expected>,
}

/// What is healed in the end: the liveness of a core (TigerBeetle's word) is asked for by `core`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Heal {
    /// Everything but what is away `forever`.
    #[default]
    All,
    /// Only a sufficient core: the controller, of each partition one that is in sync and as many replicas as a write needs.
    /// Every other broker stays dead, or cut off, for ever.
    Core,
}

impl Heal {
    /// Every choice with the word that scripts use.
    pub const WORDS: [(&'static str, Heal); 2] = [("all", Heal::All), ("core", Heal::Core)];

    /// True for the usual one.
    pub fn is_all(&self) -> bool {
        *self == Heal::All
    }
}

/// A verdict that a script expects of a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expected {
    /// Its premise occurred and it held.
    Held,
    /// It was broken.
    Violated,
    /// A loss that a named setting permits.
    Allowed,
    /// Its premise never occurred.
    NotTested,
}

impl Expected {
    /// Every verdict with the word that scripts use.
    pub const WORDS: [(&'static str, Expected); 4] = [
        ("held", Expected::Held),
        ("violated", Expected::Violated),
        ("allowed", Expected::Allowed),
        ("not-tested", Expected::NotTested),
    ];

    /// The verdict of a word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(name, _)| *name == word).map(|(_, verdict)| *verdict)
    }

    /// The word of this verdict.
    pub fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, verdict)| *verdict == self).map_or("", |(name, _)| name)
    }
}

/// Machines, their settings and the network between them.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ClusterSpec {
    /// Controllers, on hosts `c1`, ...; one for now.
    pub controllers: u32,
    /// Brokers, on hosts `b1`, ...
    pub brokers: u32,
    /// One-way latency of every link: the least.
    pub latency_min: Span,
    /// One-way latency of every link: the most.
    pub latency_max: Span,
    /// Every link, where it is not only a latency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<LinkSpec>,
    /// Where hosts stand, and what links are like by distance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topology: Option<Preset>,
    /// Disks of every node.
    #[serde(skip_serializing_if = "DiskSpec::is_plain")]
    pub disk: DiskSpec,
    /// Racks by name, with their hosts.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rack: BTreeMap<String, Vec<String>>,
    /// Data centres by name, with their racks.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub data_centre: BTreeMap<String, Vec<String>>,
    /// Broker settings of every node, Kafka's keys.
    #[serde(skip_serializing_if = "Properties::is_empty")]
    pub config: Properties,
    /// Broker settings of single hosts, over the common ones.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub host: BTreeMap<String, Properties>,
}

impl Default for ClusterSpec {
    fn default() -> Self {
        Self {
            controllers: 1,
            brokers: 3,
            latency_min: Span(200_000),
            latency_max: Span(1_000_000),
            link: None,
            topology: None,
            disk: DiskSpec::default(),
            rack: BTreeMap::new(),
            data_centre: BTreeMap::new(),
            config: Properties::new(),
            host: BTreeMap::new(),
        }
    }
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct TopicSpec {
    /// Its name.
    pub name: String,
    /// How many partitions.
    pub partitions: u32,
    /// Replicas of each partition.
    pub replication: u32,
    /// Topic settings, Kafka's keys.
    #[serde(skip_serializing_if = "Properties::is_empty")]
    pub config: Properties,
}

impl TopicSpec {
    /// True if its own settings say that the last record of each key stays.
    pub fn is_compacted(&self) -> bool {
        self.config.get("cleanup.policy").is_some_and(|policy| policy.split(',').any(|word| word.trim() == "compact"))
    }
}

/// A producer with its load.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ProducerSpec {
    /// Its name, which is its host's too.
    pub name: String,
    /// Where it writes, in turn: topics (`orders`) or partitions (`orders-0`).
    pub topics: Vec<String>,
    /// How many records at most.
    pub records: u64,
    /// Records a second.
    pub rate: u64,
    /// So many records are handed in at once, and then a pause keeps to the rate.
    #[serde(skip_serializing_if = "is_one")]
    pub burst: u64,
    /// Bytes of a record's value, at least eight.
    pub record_size: u32,
    /// Its records have one of so many keys, which all producers share; 0: they have none, and a compacted topic refuses them.
    #[serde(skip_serializing_if = "is_zero")]
    pub keys: u64,
    /// Of a hundred records, so many delete their key.
    #[serde(skip_serializing_if = "is_zero")]
    pub tombstones: u64,
    /// When it starts.
    pub start: Span,
    /// Producer settings, Kafka's keys.
    #[serde(skip_serializing_if = "Properties::is_empty")]
    pub config: Properties,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn is_one(number: &u64) -> bool {
    *number == 1
}

/// A consumer; it is assigned partitions by hand and reads from offset 0.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ConsumerSpec {
    /// Its name, which is its host's too.
    pub name: String,
    /// What it reads: topics or partitions.
    pub topics: Vec<String>,
    /// When it starts.
    pub start: Span,
    /// Consumer settings, Kafka's keys.
    #[serde(skip_serializing_if = "Properties::is_empty")]
    pub config: Properties,
}

impl Script {
    /// Reads a script. `file` is what messages call it; its stem is the script's name unless the text names it.
    pub fn from_toml(file: &str, text: &str) -> Result<Script, Box<ScriptError>> {
        let source = Source::new(file, text);
        failure::check_format(&source)?;
        let raw = raw::parse(&source)?;
        lower::lower(&source, raw)
    }

    /// The script as TOML; reading it again gives the same script.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a script is plain data")
    }

    /// Every partition of every topic, in the order in which topics stand.
    pub fn partitions(&self) -> Vec<Partition> {
        let of = |topic: &TopicSpec| {
            let name = topic.name.clone();
            (0..topic.partitions as i32).map(move |partition| Partition { topic: name.clone(), partition })
        };
        self.topics.iter().flat_map(of).collect()
    }

    /// The partitions that a client's list of topics and partitions means.
    pub fn partitions_of(&self, topics: &[String]) -> Vec<Partition> {
        let all = self.partitions();
        let meant = |wanted: &String| {
            let wanted = wanted.clone();
            all.iter().filter(move |p| p.topic == wanted || p.to_string() == wanted).cloned().collect::<Vec<_>>()
        };
        topics.iter().flat_map(meant).collect()
    }

    /// Every host of the script by its name.
    pub fn host_names(&self) -> Vec<String> {
        let clients = self.producers.iter().map(|p| &p.name).chain(self.consumers.iter().map(|c| &c.name)).cloned();
        lower::host_names(self.cluster.brokers, self.cluster.controllers).into_iter().chain(clients).collect()
    }

    /// Checks what no setting alone can say: that those of each node and of each client fit together.
    pub fn check(&self) -> Result<(), String> {
        tables::node_settings(&self.cluster.config)?;
        for own in self.cluster.host.values() {
            let mut all = self.cluster.config.clone();
            all.extend(own.clone());
            tables::node_settings(&all)?;
        }
        self.producers.iter().try_for_each(|producer| tables::producer_settings(&producer.config))?;
        self.consumers.iter().try_for_each(|consumer| tables::consumer_settings(&consumer.config))
    }

    /// Sets a setting (`--set KEY=VALUE`) of whoever knows it first: all topics, all brokers, all producers, all consumers. A
    /// prefix says whose is meant: `producer:request.timeout.ms`. Or `duration`.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        if key == "duration" {
            self.duration = value.parse()?;
            return Ok(());
        }
        let (keys, key) = tables::whose(key)?;
        match keys {
            Keys::Broker => tables::broker_setting(key, value)?,
            _ => keys.check(key, value)?,
        }
        let set = |config: &mut Properties| drop(config.insert(key.to_owned(), value.to_owned()));
        match keys {
            Keys::Broker => set(&mut self.cluster.config),
            Keys::Topic => self.topics.iter_mut().for_each(|topic| set(&mut topic.config)),
            Keys::Producer => self.producers.iter_mut().for_each(|producer| set(&mut producer.config)),
            Keys::Consumer => self.consumers.iter_mut().for_each(|consumer| set(&mut consumer.config)),
        }
        Ok(())
    }
}
