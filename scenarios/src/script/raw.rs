//! Scripts as they stand in the file: every value with its place, unknown keys denied.

use super::error::{ScriptError, Source};
use super::lower::did_you_mean;
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use std::fmt;
use std::ops::Range;
use toml::{Spanned, Value};

pub(super) type Text = Spanned<String>;
/// A value whose type is checked when it is lowered, so that the message can say what is wanted.
pub(super) type Any = Spanned<Value>;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct RawScript {
    /// Checked before all else is read.
    #[allow(dead_code, reason = "its place in the file is what counts")]
    pub format: Option<Any>,
    pub name: Option<Text>,
    pub lesson: Option<Text>,
    pub seed: Option<Any>,
    pub duration: Option<Any>,
    pub heal: Option<Text>,
    #[serde(default)]
    pub without: Vec<Text>,
    #[serde(default)]
    pub expect: RawConfig,
    #[serde(default)]
    pub cluster: RawCluster,
    #[serde(default)]
    pub topic: Vec<Spanned<RawTopic>>,
    #[serde(default)]
    pub producer: Vec<Spanned<RawProducer>>,
    #[serde(default)]
    pub consumer: Vec<Spanned<RawConsumer>>,
    #[serde(default)]
    pub step: Vec<Spanned<RawStep>>,
    pub failure: Option<Spanned<RawFailure>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct RawFailure {
    pub property: Option<Text>,
    pub rule: Option<Text>,
    pub first: Option<Text>,
    pub then: Option<Text>,
    pub so: Option<Text>,
    pub drawn_from: Option<Text>,
    pub shrunk: Option<Text>,
    pub klamm: Option<Text>,
    pub history: Option<Text>,
    pub trace: Option<Text>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct RawCluster {
    pub controllers: Option<Any>,
    pub brokers: Option<Any>,
    pub latency_min: Option<Any>,
    pub latency_max: Option<Any>,
    pub link: Option<Spanned<RawLink>>,
    pub topology: Option<Text>,
    pub disk: Option<Spanned<RawDisk>>,
    #[serde(default)]
    pub rack: std::collections::BTreeMap<Text, Vec<Text>>,
    #[serde(default)]
    pub data_centre: std::collections::BTreeMap<Text, Vec<Text>>,
    #[serde(default)]
    pub config: RawConfig,
    #[serde(default)]
    pub host: std::collections::BTreeMap<Text, RawConfig>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct RawDisk {
    pub device: Option<Text>,
    pub file_system: Option<Text>,
    pub capacity: Option<Any>,
    pub memory: Option<Any>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct RawLink {
    pub latency: Option<Text>,
    pub jitter: Option<Any>,
    pub rate: Option<Any>,
    pub queue: Option<Any>,
    pub loss: Option<Any>,
    pub corrupt: Option<Any>,
    pub split: Option<Any>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct RawTopic {
    pub name: Text,
    pub partitions: Option<Any>,
    pub replication: Option<Any>,
    #[serde(default)]
    pub config: RawConfig,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct RawProducer {
    pub name: Text,
    pub topics: Spanned<Vec<Text>>,
    pub records: Option<Any>,
    pub rate: Option<Any>,
    pub burst: Option<Any>,
    pub record_size: Option<Any>,
    pub keys: Option<Any>,
    pub tombstones: Option<Any>,
    pub start: Option<Any>,
    #[serde(default)]
    pub config: RawConfig,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct RawConsumer {
    pub name: Text,
    pub topics: Spanned<Vec<Text>>,
    pub start: Option<Any>,
    #[serde(default)]
    pub config: RawConfig,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct RawStep {
    pub name: Option<Text>,
    pub at: Option<Any>,
    pub when: Option<Text>,
    pub after: Option<Any>,
    #[serde(rename = "for")]
    pub lasts: Option<Any>,
    #[serde(default)]
    pub forever: bool,
    #[serde(alias = "kill")]
    pub crash: Option<Spanned<RawVerb>>,
    pub power_off: Option<Spanned<RawVerb>>,
    pub lose: Option<Spanned<RawVerb>>,
    pub wipe: Option<Spanned<RawVerb>>,
    pub restore_disk: Option<Spanned<RawVerb>>,
    pub restart: Option<Spanned<RawVerb>>,
    pub stop: Option<Spanned<RawVerb>>,
    pub pause: Option<Spanned<RawVerb>>,
    pub resume: Option<Spanned<RawVerb>>,
    pub cut: Option<Spanned<RawVerb>>,
    pub heal: Option<Spanned<RawVerb>>,
    pub slow: Option<Spanned<RawVerb>>,
    pub drop: Option<Spanned<RawVerb>>,
    pub split: Option<Spanned<RawVerb>>,
    pub connection: Option<Spanned<RawVerb>>,
    pub listen: Option<Spanned<RawVerb>>,
    pub skew: Option<Spanned<RawVerb>>,
    pub fill: Option<Spanned<RawVerb>>,
    pub corrupt: Option<Spanned<RawVerb>>,
    pub disk: Option<Spanned<RawVerb>>,
    pub limit: Option<Spanned<RawVerb>>,
    pub gc: Option<Spanned<RawVerb>>,
}

/// What stands behind a verb: a target alone, or a table with more to say.
#[derive(Debug)]
pub(super) enum RawVerb {
    Target(String),
    Table(Vec<(Text, Any)>),
}

impl<'de> Deserialize<'de> for RawVerb {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(VerbVisitor)
    }
}

struct VerbVisitor;

impl<'de> Visitor<'de> for VerbVisitor {
    type Value = RawVerb;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a target in quotes or a table")
    }

    fn visit_str<E>(self, value: &str) -> Result<RawVerb, E> {
        Ok(RawVerb::Target(value.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawVerb, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry::<Text, Any>()? {
            entries.push(entry);
        }
        Ok(RawVerb::Table(entries))
    }
}

/// Dotted settings: `min.insync.replicas = 2` reads as the quoted key does. Each with the place of its key.
#[derive(Debug, Default)]
pub(super) struct RawConfig(pub Vec<(Range<usize>, String, String)>);

enum Node {
    Leaf(String),
    Table(Vec<(Spanned<String>, Node)>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, true, false or text")
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Leaf(value.to_string()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Leaf(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Leaf(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Leaf(value.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry::<Spanned<String>, Node>()? {
            entries.push(entry);
        }
        Ok(Node::Table(entries))
    }
}

impl Node {
    fn flatten(self, at: Range<usize>, prefix: String, into: &mut Vec<(Range<usize>, String, String)>) {
        match self {
            Node::Leaf(value) => into.push((at, prefix, value)),
            Node::Table(entries) => {
                for (key, node) in entries {
                    let dotted =
                        if prefix.is_empty() { key.get_ref().clone() } else { format!("{prefix}.{}", key.get_ref()) };
                    let from = if prefix.is_empty() { key.span().start } else { at.start };
                    node.flatten(from..key.span().end, dotted, into);
                }
            }
        }
    }
}

impl<'de> Deserialize<'de> for RawConfig {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut settings = Vec::new();
        match Node::deserialize(deserializer)? {
            Node::Leaf(_) => return Err(serde::de::Error::custom("a table of settings is wanted")),
            table @ Node::Table(_) => table.flatten(0..0, String::new(), &mut settings),
        }
        Ok(Self(settings))
    }
}

/// Reads the text; what TOML or serde object to becomes our error, with the nearest known key.
pub(crate) fn parse<T: serde::de::DeserializeOwned>(source: &Source) -> Result<T, Box<ScriptError>> {
    toml::from_str(source.text).map_err(|error| {
        let at = error.span().unwrap_or(0..0);
        let (message, help) = explain(error.message());
        source.error(at, message, help)
    })
}

/// serde lists every known key of the table; the nearest one is enough.
fn explain(message: &str) -> (String, Option<String>) {
    let mut quoted = message.split('`').skip(1).step_by(2);
    match (message.starts_with("unknown field"), quoted.next()) {
        (true, Some(unknown)) => {
            let known: Vec<&str> = quoted.collect();
            let help = did_you_mean(unknown, known.iter().copied())
                .or_else(|| Some(format!("known keys: {}", known.join(", "))));
            (format!("unknown key `{unknown}`"), help)
        }
        _ => (message.trim_end().replace('\n', "; "), None),
    }
}
