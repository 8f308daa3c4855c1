//! The two files of JSON: the mark of a clean stop, and a voter's state.

use super::FormatError;
use klamm_base::Uuid;
use serde::{Deserialize, Serialize};

/// `.kafka_cleanshutdown`: the broker closed every log of the directory and synced it (KIP-966 for the epoch).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CleanShutdown {
    version: i32,
    /// Epoch of the broker that stopped; -1 if it did not know.
    pub broker_epoch: i64,
}

impl CleanShutdown {
    /// The mark of the broker of that epoch.
    pub fn of(broker_epoch: i64) -> Self {
        Self { version: 0, broker_epoch }
    }

    /// Reads the file. An empty one is the mark of a broker before KIP-966.
    ///
    /// # Errors
    /// Text that is no such JSON, or another version than 0.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        if text.is_empty() {
            return Ok(Self::of(-1));
        }
        let read: Self = parse(text, "a version and a broker epoch in JSON")?;
        if read.version != 0 {
            return Err(FormatError::Version { at: 0, found: i64::from(read.version), known: "0" });
        }
        Ok(read)
    }

    /// The file.
    pub fn render(&self) -> String {
        serde_json::to_string(self).expect("numbers are JSON")
    }
}

/// `quorum-state`: what a node of the metadata quorum must not forget [K2]. Fields of the other version are `None`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct QuorumState {
    /// Version 0: always empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// Leader of the epoch; -1 if none is known.
    pub leader_id: i32,
    /// The greatest epoch that was seen.
    pub leader_epoch: i32,
    /// For whom the node voted in that epoch; -1 for nobody.
    pub voted_id: i32,
    /// Version 1 (KIP-853): the log directory of that candidate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub voted_directory_id: Option<Uuid>,
    /// Version 0: always 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied_offset: Option<i64>,
    /// Version 0: the voters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_voters: Option<Vec<QuorumVoter>>,
    /// 0, or 1 under KRaft version 1.
    #[serde(rename = "data_version")]
    pub data_version: i16,
}

/// A voter in `quorum-state`, version 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct QuorumVoter {
    /// Its id.
    pub voter_id: i32,
}

impl QuorumState {
    /// Reads the file.
    ///
    /// # Errors
    /// Text that is no such JSON, or another version than 0 and 1.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        let read: Self = parse(text, "the state of a voter in JSON")?;
        if !(0..=1).contains(&read.data_version) {
            return Err(FormatError::Version { at: 0, found: i64::from(read.data_version), known: "0 and 1" });
        }
        Ok(read)
    }

    /// The file.
    pub fn render(&self) -> String {
        serde_json::to_string(self).expect("numbers and texts are JSON")
    }
}

/// Reads JSON; the error's position is made a byte of the text.
fn parse<'a, T: Deserialize<'a>>(text: &'a str, expected: &'static str) -> Result<T, FormatError> {
    serde_json::from_str(text).map_err(|error| {
        if error.is_eof() {
            return FormatError::text(text.len() as u64, "", expected);
        }
        let before: usize = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
        let at = (before + error.column().saturating_sub(1)).min(text.len());
        let rest = text.get(at..).unwrap_or("");
        FormatError::text(at as u64, rest, expected)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_of_a_clean_stop_carries_the_brokers_epoch() {
        assert_eq!(CleanShutdown::of(271).render(), r#"{"version":0,"brokerEpoch":271}"#);
        assert_eq!(CleanShutdown::parse(r#"{"version":0,"brokerEpoch":271}"#), Ok(CleanShutdown::of(271)));
        assert_eq!(CleanShutdown::parse(""), Ok(CleanShutdown::of(-1)));
        let newer = CleanShutdown::parse(r#"{"version":1,"brokerEpoch":271}"#);
        assert_eq!(newer, Err(FormatError::Version { at: 0, found: 1, known: "0" }));
    }

    #[test]
    fn both_versions_of_a_voters_state_are_read_and_written() {
        let v0 = concat!(
            r#"{"clusterId":"","leaderId":1,"leaderEpoch":4,"votedId":-1,"appliedOffset":0,"#,
            r#""currentVoters":[{"voterId":1}],"data_version":0}"#
        );
        let v1 = concat!(
            r#"{"leaderId":-1,"leaderEpoch":9,"votedId":3,"votedDirectoryId":"qSPCLf1USn0lM5vYp6gKJg","#,
            r#""data_version":1}"#
        );
        for text in [v0, v1] {
            assert_eq!(QuorumState::parse(text).map(|state| state.render()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn json_that_is_none_is_named_with_its_byte() {
        let error = QuorumState::parse(r#"{"leaderId":1,"leaderEpoch":}"#).unwrap_err();
        assert_eq!(error, FormatError::text(28, "}", "the state of a voter in JSON"));
        let torn = QuorumState::parse(r#"{"leaderId":1"#).unwrap_err();
        assert_eq!(torn, FormatError::text(13, "", "the state of a voter in JSON"));
    }
}
