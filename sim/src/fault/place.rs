//! Where a fault strikes, as text: `b1`, `rack(a)`, `data-centre(x)`, `all`.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

/// A host, or all hosts of a group: a fault of a group strikes all of them at the same instant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A host by its name.
    Host(String),
    /// Every host of a rack of the topology.
    Rack(String),
    /// Every host of a data centre of the topology.
    DataCentre(String),
    /// Every host.
    All,
}

impl Place {
    /// The host of that name, whatever the name looks like.
    pub fn host(name: &str) -> Self {
        Self::Host(name.to_owned())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(name) => f.write_str(name),
            Self::Rack(name) => write!(f, "rack({name})"),
            Self::DataCentre(name) => write!(f, "data-centre({name})"),
            Self::All => f.write_str("all"),
        }
    }
}

impl FromStr for Place {
    type Err = Infallible;

    /// What is no group is a host's name; whether there is such a host is asked when a fault strikes.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        let inside = |word: &str| text.strip_prefix(word)?.strip_prefix('(')?.strip_suffix(')').map(str::to_owned);
        let group = inside("rack").map(Self::Rack).or_else(|| inside("data-centre").map(Self::DataCentre));
        Ok(group.unwrap_or_else(|| if text == "all" { Self::All } else { Self::Host(text.to_owned()) }))
    }
}

impl From<&str> for Place {
    fn from(text: &str) -> Self {
        let Ok(place) = text.parse();
        place
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::from(String::deserialize(deserializer)?.as_str()))
    }
}
