//! What the other crates know by name: settings and properties.

use super::error::{ScriptError, Source};
use klamm_base::{Properties, Table};
use std::collections::BTreeMap;
use toml::Spanned;

/// Whose settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// A broker's or controller's.
    Broker,
    /// A topic's.
    Topic,
    /// A producer's.
    Producer,
    /// A consumer's.
    Consumer,
}

impl Keys {
    /// Everybody's, with what a reader calls them.
    pub const ALL: [(Keys, &'static str); 4] = [
        (Keys::Broker, "broker setting"),
        (Keys::Topic, "topic setting"),
        (Keys::Producer, "producer setting"),
        (Keys::Consumer, "consumer setting"),
    ];

    /// The settings that there are.
    pub fn table(self) -> &'static Table {
        match self {
            Keys::Broker => &klamm_node::config::BROKER,
            Keys::Topic => &klamm_node::config::TOPIC,
            Keys::Producer => &klamm_client::config::PRODUCER,
            Keys::Consumer => &klamm_client::config::CONSUMER,
        }
    }

    /// Checks one setting.
    pub fn check(self, key: &str, value: &str) -> Result<(), String> {
        self.table().check_one(key, value).map_err(|error| error.to_string())
    }
}

/// Keys that the stage dictates: a script that set them would be overruled.
const PLACED: [&str; 6] =
    ["node.id", "process.roles", "listeners", "advertised.listeners", "controller.quorum.voters", "log.dirs"];

/// Checks a broker setting of a script.
pub(super) fn broker_setting(key: &str, value: &str) -> Result<(), String> {
    if PLACED.contains(&key) {
        return Err(format!("`{key}` follows from the host; a script cannot set it"));
    }
    Keys::Broker.check(key, value)
}

/// Checks a node's settings against each other; each alone was checked before.
pub(super) fn node_settings(config: &Properties) -> Result<(), String> {
    let placed = [
        ("node.id", "1"),
        ("process.roles", "broker"),
        ("listeners", "PLAINTEXT://b1:9092"),
        ("controller.quorum.voters", "101@c1:9092"),
        ("log.dirs", "data"),
    ];
    let mut config = config.clone();
    config.extend(placed.map(|(key, value)| (key.to_owned(), value.to_owned())));
    klamm_node::NodeConfig::from_properties(&config).map(drop).map_err(|error| error.to_string())
}

/// Checks a producer's settings against each other.
pub(super) fn producer_settings(config: &Properties) -> Result<(), String> {
    klamm_client::ProducerConfig::from_properties(config).map(drop).map_err(|error| error.to_string())
}

/// Checks a consumer's settings against each other.
pub(super) fn consumer_settings(config: &Properties) -> Result<(), String> {
    klamm_client::ConsumerConfig::from_properties(config).map(drop).map_err(|error| error.to_string())
}

/// Checks a topic setting of a script.
pub(super) fn topic_setting(key: &str, value: &str) -> Result<(), String> {
    Keys::Topic.check(key, value)
}

/// Checks a producer setting of a script.
pub(super) fn producer_setting(key: &str, value: &str) -> Result<(), String> {
    Keys::Producer.check(key, value)
}

/// Checks a consumer setting of a script.
pub(super) fn consumer_setting(key: &str, value: &str) -> Result<(), String> {
    Keys::Consumer.check(key, value)
}

/// The default of a whole-number setting; the key was checked.
pub fn default_of(keys: Keys, key: &str) -> u64 {
    keys.table().int(&Properties::new(), key).max(0) as u64
}

/// Whose setting `key` is, and its name without the prefix that may say so.
pub(super) fn whose(key: &str) -> Result<(Keys, &str), String> {
    let all =
        [("topic", Keys::Topic), ("broker", Keys::Broker), ("producer", Keys::Producer), ("consumer", Keys::Consumer)];
    if let Some((prefix, key)) = key.split_once(':') {
        let named = all.into_iter().find(|(word, _)| *word == prefix);
        return named.map(|(_, keys)| (keys, key)).ok_or_else(|| {
            format!("nobody is called `{prefix}`: topic, broker, producer or consumer is wanted before the colon")
        });
    }
    let knows = |keys: &Keys| keys.table().key(key).is_some();
    if let Some(keys) = all.map(|(_, keys)| keys).into_iter().find(knows) {
        return Ok((keys, key));
    }
    let names = all.into_iter().flat_map(|(_, keys)| keys.table().keys.iter().map(|key| key.name));
    let near = klamm_base::nearest(key, names).map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
    Err(format!("unknown setting `{key}`{near}"))
}

/// A broker setting in milliseconds: the given one or the default.
pub fn broker_ms(given: &Properties, key: &str) -> u64 {
    Keys::Broker.table().int(given, key).max(0) as u64
}

/// A producer setting in milliseconds: the given one or the default.
pub fn producer_ms(given: &Properties, key: &str) -> u64 {
    Keys::Producer.table().int(given, key).max(0) as u64
}

/// Checks that each of these keys exists and is a number.
pub(crate) fn check_timeouts(
    source: &Source,
    groups: &[Vec<Spanned<String>>],
    keys: Keys,
) -> Result<(), Box<ScriptError>> {
    for key in groups.iter().flatten() {
        keys.check(key.get_ref(), "1000").map_err(|reason| source.error(key.span(), reason, None))?;
    }
    Ok(())
}

/// A value of a setting as text: what a profile lists.
pub fn choice(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Checks that each of these keys exists and takes each of its values, of which there is one.
pub(crate) fn check_choices(
    source: &Source,
    choices: &BTreeMap<Spanned<String>, Vec<toml::Value>>,
    keys: Keys,
) -> Result<(), Box<ScriptError>> {
    for (key, values) in choices {
        let wrong = |reason: String| source.error(key.span(), reason, None);
        if values.is_empty() {
            return Err(wrong(format!("`{}` has no value to choose from", key.get_ref())));
        }
        for value in values {
            keys.check(key.get_ref(), &choice(value)).map_err(wrong)?;
        }
    }
    Ok(())
}

/// Every property that judges know, in their order.
pub fn property_names() -> Vec<&'static str> {
    klamm_checkers::properties().iter().map(|property| property.name).collect()
}
