//! Configuration in Kafka's manner: dotted keys with typed values, defaults and bounds; an unknown key is an error that
//! suggests the nearest one.

use std::collections::BTreeMap;

/// Raw settings: key to value, as a properties file or a script gives them.
pub type Properties = BTreeMap<String, String>;

/// What values a key takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// A whole number in `min..=max`.
    Int { min: i64, max: i64 },
    /// `true` or `false`.
    Bool,
    /// Any text.
    Text,
    /// A share of a whole: a decimal fraction from 0 to 1.
    Share,
    /// One of these words.
    OneOf(&'static [&'static str]),
}

/// One setting: its name is Kafka's, its default is Kafka's unless `doc` says why not.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Dotted name.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// Default, as text.
    pub default: &'static str,
    /// One line for people, with the unit.
    pub doc: &'static str,
}

/// A set of keys that belong together: a broker's, a topic's, a producer's.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// For messages: "broker", "topic", "producer".
    pub what: &'static str,
    /// The keys.
    pub keys: &'static [Key],
}

/// Why a setting was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// No such key.
    #[error("unknown {what} setting `{key}`{}", suggestion.as_ref().map(|s| format!("; did you mean `{s}`?")).unwrap_or_default())]
    UnknownKey { what: &'static str, key: String, suggestion: Option<String> },
    /// The value does not fit.
    #[error("{what} setting `{key}` cannot be `{value}`: {expected}")]
    BadValue { what: &'static str, key: String, value: String, expected: String },
}

impl Table {
    /// Checks every given setting: the key exists and its value fits.
    pub fn check(&self, given: &Properties) -> Result<(), ConfigError> {
        given.iter().try_for_each(|(key, value)| self.check_one(key, value))
    }

    /// Checks one setting.
    pub fn check_one(&self, key: &str, value: &str) -> Result<(), ConfigError> {
        let Some(known) = self.key(key) else {
            let suggestion = nearest(key, self.keys.iter().map(|k| k.name)).map(str::to_owned);
            return Err(ConfigError::UnknownKey { what: self.what, key: key.to_owned(), suggestion });
        };
        let expected = match known.kind {
            Kind::Int { min, max } => match value.parse::<i64>() {
                Ok(n) if (min..=max).contains(&n) => return Ok(()),
                _ => format!("a whole number from {min} to {max} is wanted"),
            },
            Kind::Bool if matches!(value, "true" | "false") => return Ok(()),
            Kind::Bool => "true or false is wanted".to_owned(),
            Kind::Text => return Ok(()),
            Kind::Share if millionths(value).is_some() => return Ok(()),
            Kind::Share => "a number from 0 to 1 is wanted".to_owned(),
            Kind::OneOf(words) if words.contains(&value) => return Ok(()),
            Kind::OneOf(words) => format!("one of {} is wanted", words.join(", ")),
        };
        Err(ConfigError::BadValue { what: self.what, key: key.to_owned(), value: value.to_owned(), expected })
    }

    /// The key of this name.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// A whole number: the given one or the default. `given` must have passed [`Table::check`].
    pub fn int(&self, given: &Properties, name: &str) -> i64 {
        self.text(given, name).parse().unwrap_or_else(|_| panic!("{name} was not checked"))
    }

    /// A truth value, as [`Table::int`].
    pub fn bool(&self, given: &Properties, name: &str) -> bool {
        self.text(given, name) == "true"
    }

    /// A share, in millionths, as [`Table::int`].
    pub fn millionths(&self, given: &Properties, name: &str) -> u32 {
        millionths(self.text(given, name)).unwrap_or_else(|| panic!("{name} was not checked"))
    }

    /// The given text or the default; the key must exist.
    pub fn text<'a>(&self, given: &'a Properties, name: &str) -> &'a str {
        let key = self.key(name).unwrap_or_else(|| panic!("{} has no key {name}", self.what));
        given.get(name).map_or(key.default, String::as_str)
    }
}

/// A share of a whole, in millionths: equal texts give equal numbers on every machine.
pub fn millionths(value: &str) -> Option<u32> {
    let share = value.parse::<f64>().ok().filter(|share| (0.0..=1.0).contains(share))?;
    Some((share * 1e6).round() as u32)
}

/// The candidate nearest to `word` in spelling, if any is near enough to be meant.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= candidate.len().max(word.len()) / 3 + 1)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: Table = Table {
        what: "topic",
        keys: &[Key {
            name: "min.insync.replicas",
            kind: Kind::Int { min: 1, max: 100 },
            default: "1",
            doc: "How many replicas an acks=all write needs.",
        }],
    };

    #[test]
    fn an_unknown_key_suggests_the_nearest() {
        let error = TABLE.check_one("min.isync.replicas", "2").unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown topic setting `min.isync.replicas`; did you mean `min.insync.replicas`?"
        );
    }

    #[test]
    fn a_value_out_of_bounds_says_what_is_wanted() {
        let error = TABLE.check_one("min.insync.replicas", "-3").unwrap_err();
        assert!(error.to_string().contains("from 1 to 100"), "{error}");
    }

    #[test]
    fn a_share_is_a_number_from_0_to_1() {
        assert_eq!(["0", "0.5", "1", "1e-6"].map(millionths), [Some(0), Some(500_000), Some(1_000_000), Some(1)]);
        assert_eq!(["", "-0.1", "1.1", "NaN", "half"].map(millionths), [None; 5]);
    }

    #[test]
    fn the_default_stands_where_nothing_is_given() {
        assert_eq!(TABLE.int(&Properties::new(), "min.insync.replicas"), 1);
    }
}
