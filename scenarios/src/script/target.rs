//! Whom a step strikes: names, and roles that are resolved when the step fires.

use super::words::{call, numbered, partition, serde_as_text};
use klamm_base::nearest;
use std::fmt;
use std::str::FromStr;

/// A partition by its topic's name, `orders-0`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Partition {
    /// Topic name.
    pub topic: String,
    /// Index, from 0.
    pub partition: i32,
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

impl FromStr for Partition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        partition(text)
    }
}

serde_as_text!(Partition);

/// Hosts by name or by role. Roles are resolved when the step fires, against the last committed metadata record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// `b2`: broker 2.
    Broker(u32),
    /// `c1`: controller host 1.
    ControllerHost(u32),
    /// `controller`: the active controller.
    Controller,
    /// `brokers`: all of them.
    Brokers,
    /// `leader(orders-0)`.
    Leader(Partition),
    /// `followers(orders-0)`: the replicas that do not lead.
    Followers(Partition),
    /// `follower(orders-0)`: the first in-sync replica that does not lead.
    Follower(Partition),
    /// `replicas(orders-0)`.
    Replicas(Partition),
    /// `isr(orders-0)`: the committed in-sync replicas.
    Isr(Partition),
    /// `producer(p1)`, or its bare name.
    Producer(String),
    /// `consumer(r1)`, or its bare name.
    Consumer(String),
    /// `clients`: all of them.
    Clients,
    /// `rack(a)`: every host of that rack.
    Rack(String),
    /// `data-centre(x)`: every host of that data centre.
    DataCentre(String),
    /// `struck(NAME)`: the hosts that the named step struck.
    Struck(String),
    /// `down`: every host whose process does not run.
    Down,
    /// `all`: every host.
    All,
}

/// The words that open a target, for suggestions.
const WORDS: [&str; 15] = [
    "controller",
    "brokers",
    "leader",
    "followers",
    "follower",
    "replicas",
    "isr",
    "producer",
    "consumer",
    "clients",
    "rack",
    "data-centre",
    "struck",
    "down",
    "all",
];

impl Target {
    /// The partition that the target names, if it does.
    pub fn partition(&self) -> Option<&Partition> {
        match self {
            Target::Leader(p) | Target::Followers(p) | Target::Follower(p) | Target::Replicas(p) | Target::Isr(p) => {
                Some(p)
            }
            _ => None,
        }
    }

    /// The same, to be changed.
    pub fn partition_mut(&mut self) -> Option<&mut Partition> {
        match self {
            Target::Leader(p) | Target::Followers(p) | Target::Follower(p) | Target::Replicas(p) | Target::Isr(p) => {
                Some(p)
            }
            _ => None,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Broker(n) => write!(f, "b{n}"),
            Target::ControllerHost(n) => write!(f, "c{n}"),
            Target::Controller => f.write_str("controller"),
            Target::Brokers => f.write_str("brokers"),
            Target::Leader(p) => write!(f, "leader({p})"),
            Target::Followers(p) => write!(f, "followers({p})"),
            Target::Follower(p) => write!(f, "follower({p})"),
            Target::Replicas(p) => write!(f, "replicas({p})"),
            Target::Isr(p) => write!(f, "isr({p})"),
            Target::Producer(name) => write!(f, "producer({name})"),
            Target::Consumer(name) => write!(f, "consumer({name})"),
            Target::Clients => f.write_str("clients"),
            Target::Rack(name) => write!(f, "rack({name})"),
            Target::DataCentre(name) => write!(f, "data-centre({name})"),
            Target::Struck(step) => write!(f, "struck({step})"),
            Target::Down => f.write_str("down"),
            Target::All => f.write_str("all"),
        }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let plain = match text {
            "controller" => Some(Target::Controller),
            "brokers" => Some(Target::Brokers),
            "clients" => Some(Target::Clients),
            "down" => Some(Target::Down),
            "all" => Some(Target::All),
            _ => numbered(text, 'b').map(Target::Broker).or_else(|| numbered(text, 'c').map(Target::ControllerHost)),
        };
        plain.map_or_else(|| role(text), Ok)
    }
}

/// A target that is written `role(of)`.
fn role(text: &str) -> Result<Target, String> {
    let unknown = |word: &str| {
        let hint = nearest(word, WORDS).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        format!("there is no target `{text}`{hint}")
    };
    let (word, inside) = call(text).ok_or_else(|| unknown(text))?;
    match word {
        "leader" => partition(inside).map(Target::Leader),
        "followers" => partition(inside).map(Target::Followers),
        "follower" => partition(inside).map(Target::Follower),
        "replicas" => partition(inside).map(Target::Replicas),
        "isr" => partition(inside).map(Target::Isr),
        "producer" => Ok(Target::Producer(inside.to_owned())),
        "consumer" => Ok(Target::Consumer(inside.to_owned())),
        "rack" => Ok(Target::Rack(inside.to_owned())),
        "data-centre" => Ok(Target::DataCentre(inside.to_owned())),
        "struck" => Ok(Target::Struck(inside.to_owned())),
        _ => Err(unknown(word)),
    }
}

serde_as_text!(Target);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_reads_as_it_is_written() {
        let all = [
            "b1",
            "b12",
            "c1",
            "controller",
            "brokers",
            "leader(orders-0)",
            "followers(my-topic-3)",
            "follower(a-0)",
            "replicas(orders-0)",
            "isr(orders-0)",
            "producer(p1)",
            "consumer(r1)",
            "clients",
            "rack(a)",
            "data-centre(x)",
            "struck(kill)",
            "down",
            "all",
        ];
        for text in all {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn an_unknown_target_suggests_the_nearest_word() {
        let error = "leadr(orders-0)".parse::<Target>().unwrap_err();
        assert_eq!(error, "there is no target `leadr(orders-0)`; did you mean `leader`?");
        assert!("leader(orders)".parse::<Target>().unwrap_err().contains("such as orders-0"));
        assert!("b0".parse::<Target>().is_err());
    }
}
