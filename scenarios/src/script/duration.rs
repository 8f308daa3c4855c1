//! Durations as people write them.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// A length of simulated time, in nanoseconds; written `250us`, `200ms`, `3s`, `1.5s`, `2m`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub u64);

const UNITS: [(&str, u64); 6] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

impl Span {
    /// No time at all.
    pub const ZERO: Span = Span(0);

    /// So many milliseconds.
    pub fn ms(ms: u64) -> Self {
        Self(ms.saturating_mul(1_000_000))
    }

    /// Whole milliseconds, rounded down.
    pub fn as_ms(self) -> u64 {
        self.0 / 1_000_000
    }

    /// True for no time at all.
    pub fn is_zero(&self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fitting = UNITS.iter().find(|(_, ns)| self.0 >= *ns && self.0.is_multiple_of(*ns));
        match fitting {
            Some((unit, ns)) => write!(f, "{}{unit}", self.0 / ns),
            None => f.write_str("0s"),
        }
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = "a duration is a number and a unit, such as 200ms, 3s or 2m";
        if text.starts_with('-') {
            return Err("a duration cannot be negative".to_owned());
        }
        let split = text.find(|c: char| c.is_ascii_alphabetic()).ok_or(wanted)?;
        let (number, unit) = text.split_at(split);
        let (_, ns) = UNITS.iter().find(|(name, _)| *name == unit.trim()).ok_or(wanted)?;
        let nanos = parse_decimal(number.trim(), *ns).ok_or(wanted)?;
        Ok(Span(nanos))
    }
}

/// `number * unit` in exact integers; the number may carry up to nine decimals.
fn parse_decimal(number: &str, unit: u64) -> Option<u64> {
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(decimals) || decimals.len() > 9 {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let fraction: u64 = if decimals.is_empty() { 0 } else { decimals.parse().ok()? };
    let scale = 10u64.pow(decimals.len() as u32);
    whole.checked_mul(unit)?.checked_add((u128::from(fraction) * u128::from(unit) / u128::from(scale)) as u64)
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_reads_as_it_is_written() {
        for text in ["0s", "200ms", "3s", "1500ms", "250us", "2m", "1ns", "90s", "1h"] {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.to_string().parse::<Span>().unwrap(), span, "{text}");
        }
        assert_eq!("1.5s".parse::<Span>().unwrap(), Span::ms(1500));
        assert_eq!(Span::ms(200).to_string(), "200ms");
        assert_eq!(Span::ms(20_000).to_string(), "20s");
        assert_eq!(Span::ZERO.to_string(), "0s");
    }

    #[test]
    fn what_is_no_duration_is_refused_with_a_reason() {
        assert_eq!("-3s".parse::<Span>().unwrap_err(), "a duration cannot be negative");
        for text in ["", "3", "s", "3 parsecs", "1e3s", "99999999999999999h", "1..5s"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }
}
