//! Ranges of seeds, and how several machines share one.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// Seeds, the last one not included; as text `5..9`, or `5..` if they have no end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Seeds(pub Range<u64>);

impl Seeds {
    /// From `first` on, without end.
    pub fn from(first: u64) -> Seeds {
        Seeds(first..u64::MAX)
    }

    /// False if they go on until time is up.
    pub fn have_an_end(&self) -> bool {
        self.0.end != u64::MAX
    }
}

impl fmt::Display for Seeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.have_an_end() {
            true => write!(f, "{}..{}", self.0.start, self.0.end),
            false => write!(f, "{}..", self.0.start),
        }
    }
}

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Seeds, String> {
        let wanted = || format!("`{text}` is not a range of seeds; write A..B, such as 100..200");
        let (from, to) = text.split_once("..").ok_or_else(wanted)?;
        let from = from.parse().map_err(|_| wanted())?;
        let to = if to.is_empty() { Ok(u64::MAX) } else { to.parse().map_err(|_| wanted()) };
        Ok(Seeds(from..to?))
    }
}

impl TryFrom<String> for Seeds {
    type Error = String;

    fn try_from(text: String) -> Result<Seeds, String> {
        text.parse()
    }
}

impl From<Seeds> for String {
    fn from(seeds: Seeds) -> String {
        seeds.to_string()
    }
}

/// One of several equal parts of a range of seeds; as text `1/4`, the first, to `4/4`, the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Shard {
    /// From 1.
    number: u64,
    /// Of so many.
    of: u64,
}

impl Shard {
    /// Part `number` (from 1) of `of`; `None` if there is no such part.
    pub fn new(number: u64, of: u64) -> Option<Shard> {
        (1..=of).contains(&number).then_some(Shard { number, of })
    }

    /// Its seeds. The parts of a range follow each other without gap or overlap, and their sizes differ by one at most; if
    /// there are more parts than seeds, some are empty.
    pub fn of(self, whole: &Range<u64>) -> Range<u64> {
        self.begins(whole, self.number - 1)..self.begins(whole, self.number)
    }

    /// Where the part after `parts` parts begins.
    fn begins(self, whole: &Range<u64>, parts: u64) -> u64 {
        let length = u128::from(whole.end.saturating_sub(whole.start));
        let before = length * u128::from(parts) / u128::from(self.of);
        whole.start + u64::try_from(before).expect("a part of 64 bits has 64 bits")
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Shard, String> {
        let wanted = || format!("`{text}` is not a shard; write I/N with I from 1 to N, such as 2/4");
        let (number, of) = text.split_once('/').ok_or_else(wanted)?;
        let (number, of) = (number.parse().map_err(|_| wanted())?, of.parse().map_err(|_| wanted())?);
        Shard::new(number, of).ok_or_else(wanted)
    }
}

impl TryFrom<String> for Shard {
    type Error = String;

    fn try_from(text: String) -> Result<Shard, String> {
        text.parse()
    }
}

impl From<Shard> for String {
    fn from(shard: Shard) -> String {
        shard.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn shards_are_disjoint_complete_and_of_equal_size(start in any::<u32>(), length in 0_u64..100_000, of in 1_u64..300) {
            let whole = u64::from(start)..u64::from(start) + length;
            let parts: Vec<_> = (1..=of).map(|number| Shard::new(number, of).unwrap().of(&whole)).collect();
            prop_assert_eq!(parts[0].start, whole.start);
            prop_assert_eq!(parts[parts.len() - 1].end, whole.end);
            prop_assert!(parts.windows(2).all(|pair| pair[0].end == pair[1].start));
            let sizes = parts.iter().map(|part| part.end - part.start);
            prop_assert!(sizes.clone().max().unwrap() - sizes.min().unwrap() <= 1);
        }

        #[test]
        fn seeds_and_shards_come_back_from_their_text(start in any::<u64>(), end in any::<u64>(), number in 1..u64::MAX) {
            let seeds = Seeds(start..end);
            prop_assert_eq!(seeds.to_string().parse(), Ok(seeds));
            let shard = Shard::new(number, u64::MAX).unwrap();
            prop_assert_eq!(shard.to_string().parse(), Ok(shard));
        }
    }

    #[test]
    fn the_largest_range_is_split_too() {
        let whole = 0..u64::MAX;
        let half = Shard::new(2, 2).unwrap().of(&whole);
        assert_eq!(half, u64::MAX / 2..u64::MAX);
    }

    #[test]
    fn what_is_no_shard_is_refused_with_what_is_wanted() {
        for bad in ["", "1", "0/4", "5/4", "1/0", "a/4", "1/4/2", "-1/4"] {
            let message = bad.parse::<Shard>().unwrap_err();
            assert!(message.contains("write I/N with I from 1 to N"), "{message}");
        }
        assert!("9-5".parse::<Seeds>().is_err() && "a..5".parse::<Seeds>().is_err());
    }
}
