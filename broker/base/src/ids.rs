//! Ids and the two clocks.

use serde::{Deserialize, Serialize};
use std::fmt;

/// `node.id` of a broker or controller. -1 on the wire means "nobody", which is `None` in our types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub i32);

/// One incarnation of a client in a run: a restarted client gets a new number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClientId(pub u32);

/// A record as its application knows it: the `number`-th record that `client` sent to the partition it stands in, from 0.
/// The workload writes it into the first eight bytes of the record's value, big-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClientRecord {
    /// Who sent it.
    pub client: ClientId,
    /// Its place among the records that this client sent to this partition.
    pub number: u32,
}

impl ClientRecord {
    /// The eight bytes that open the record's value.
    pub fn to_bytes(self) -> [u8; 8] {
        (u64::from(self.client.0) << 32 | u64::from(self.number)).to_be_bytes()
    }

    /// Reads the first eight bytes of a value; `None` if it is shorter.
    pub fn from_value(value: &[u8]) -> Option<Self> {
        let word = u64::from_be_bytes(value.get(..8)?.try_into().ok()?);
        Some(Self { client: ClientId((word >> 32) as u32), number: word as u32 })
    }
}

/// A Kafka UUID: topic id, incarnation id, directory id. Zero means "none". Saved as the text that Kafka prints: JSON
/// numbers of 128 bits do not survive serde's tagged enums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Uuid(pub u128);

impl Uuid {
    /// Topic id of `__cluster_metadata` (KIP-595).
    pub const METADATA_TOPIC: Uuid = Uuid(1);
    /// "No id": what the protocol writes where an id is absent.
    pub const ZERO: Uuid = Uuid(0);
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Kafka prints a UUID as URL-safe base64 without padding.
impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for i in 0..22 {
            let sextet = if i < 21 { self.0 >> (122 - 6 * i) } else { self.0 << 4 };
            write!(f, "{}", ALPHABET[(sextet & 63) as usize] as char)?;
        }
        Ok(())
    }
}

impl From<Uuid> for String {
    fn from(uuid: Uuid) -> String {
        uuid.to_string()
    }
}

/// A text that is no UUID.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a UUID: 22 characters of URL-safe base64 are wanted")]
pub struct NotAUuid(pub String);

impl TryFrom<String> for Uuid {
    type Error = NotAUuid;

    fn try_from(text: String) -> Result<Uuid, NotAUuid> {
        let sextet = |letter: u8| ALPHABET.iter().position(|known| *known == letter).map(|at| at as u128);
        let Some(sextets) = text.bytes().map(sextet).collect::<Option<Vec<u128>>>() else { return Err(NotAUuid(text)) };
        // 22 letters hold 132 bits: the last four must be zero.
        match sextets.split_last() {
            Some((last, first)) if first.len() == 21 && last & 15 == 0 => {
                Ok(Uuid(first.iter().fold(0, |bits, sextet| bits << 6 | sextet) << 2 | last >> 4))
            }
            _ => Err(NotAUuid(text)),
        }
    }
}

/// A partition by its topic's id: a topic deleted and created anew is another topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicPartition {
    /// Topic id.
    pub topic: Uuid,
    /// Partition index, from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// The one partition of the metadata log.
    pub const METADATA: TopicPartition = TopicPartition { topic: Uuid::METADATA_TOPIC, partition: 0 };
}

/// The instant of a step, on both clocks of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// Monotonic nanoseconds of this process; never jumps.
    pub mono_ns: u64,
    /// Wall clock of this node in milliseconds since 1970; may jump in both directions.
    pub wall_ms: i64,
}

impl Now {
    /// The monotonic instant `ms` milliseconds from now, in nanoseconds.
    pub fn after_ms(self, ms: u64) -> u64 {
        self.mono_ns.saturating_add(ms.saturating_mul(1_000_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_prints_as_kafka_prints_it() {
        // From a captured metadata log: the topic id jx7hTbEPRCq9fOhS83qfmg.
        let bytes: [u8; 16] =
            [0x8f, 0x1e, 0xe1, 0x4d, 0xb1, 0x0f, 0x44, 0x2a, 0xbd, 0x7c, 0xe8, 0x52, 0xf3, 0x7a, 0x9f, 0x9a];
        assert_eq!(Uuid(u128::from_be_bytes(bytes)).to_string(), "jx7hTbEPRCq9fOhS83qfmg");
    }

    #[test]
    fn a_uuid_comes_back_from_its_text_and_nothing_else_does() {
        for uuid in [Uuid::ZERO, Uuid::METADATA_TOPIC, Uuid(u128::MAX), Uuid(0x8f1e_e14d_b10f_442a_bd7c_e852_f37a_9f9a)]
        {
            assert_eq!(Uuid::try_from(uuid.to_string()), Ok(uuid));
        }
        for text in
            ["", "jx7hTbEPRCq9fOhS83qfm", "jx7hTbEPRCq9fOhS83qfm!", "jx7hTbEPRCq9fOhS83qfmh", "jx7hTbEPRCq9fOhS83qfmgg"]
        {
            assert!(Uuid::try_from(text.to_string()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_record_name_survives_its_bytes() {
        let record = ClientRecord { client: ClientId(7), number: 4_000_000_000 };
        assert_eq!(ClientRecord::from_value(&record.to_bytes()), Some(record));
        assert_eq!(ClientRecord::from_value(&[1, 2, 3]), None);
    }
}
