//! The file `quorum-state`: the epoch that this voter has seen, durable before it is used (K2).

use crate::QuorumConfig;
use bytes::Bytes;
use klamm_base::DiskOp;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// No such file is longer; reads ask for this much.
pub(crate) const MAX_LEN: u32 = 1 << 20;

/// Content of `quorum-state`, in Kafka's JSON (data version 0).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QuorumState {
    /// Kafka leaves it empty, too.
    pub cluster_id: String,
    /// Leader of the epoch, -1 if unknown.
    pub leader_id: i32,
    /// The highest epoch seen.
    pub leader_epoch: i32,
    /// Who got this voter's vote in the epoch, -1 nobody.
    pub voted_id: i32,
    /// Always 0.
    pub applied_offset: i64,
    /// The voters.
    pub current_voters: Vec<Voter>,
    /// Always 0.
    #[serde(rename = "data_version")]
    pub data_version: i16,
}

/// One voter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Voter {
    /// Its node id.
    pub voter_id: i32,
}

impl QuorumState {
    /// What a voter writes that leads `epoch`.
    pub fn leading(config: &QuorumConfig, epoch: i32) -> Self {
        Self {
            leader_id: config.node.0,
            leader_epoch: epoch,
            voted_id: config.node.0,
            current_voters: config.voters.iter().map(|voter| Voter { voter_id: voter.0 }).collect(),
            ..Self::default()
        }
    }

    /// Reads the file's content.
    pub fn parse(content: &[u8]) -> Result<Self, String> {
        let state: Self = serde_json::from_slice(content).map_err(|error| error.to_string())?;
        match (state.data_version, state.leader_epoch) {
            (0, 0..) => Ok(state),
            (0, epoch) => Err(format!("leaderEpoch {epoch} is negative")),
            (version, _) => Err(format!("data_version {version} is not known, only 0")),
        }
    }

    /// The file's content.
    pub fn content(&self) -> Bytes {
        Bytes::from(serde_json::to_vec(self).expect("plain fields always serialize"))
    }
}

/// Path of the file in the log's directory.
pub(crate) fn path(dir: &str) -> String {
    format!("{dir}/quorum-state")
}

/// What makes `state` durable, to be done one after the other: a failed sync must not be followed by the rename.
pub(crate) fn save(dir: &str, state: &QuorumState) -> VecDeque<DiskOp> {
    let temporary = format!("{dir}/quorum-state.tmp");
    VecDeque::from([
        DiskOp::Write { path: temporary.clone(), data: state.content() },
        DiskOp::Sync { path: temporary.clone() },
        DiskOp::Rename { from: temporary, to: path(dir) },
        DiskOp::SyncDir { path: dir.to_owned() },
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_written_as_kafka_writes_it() {
        let text = r#"{"clusterId":"","leaderId":1,"leaderEpoch":7,"votedId":1,"appliedOffset":0,"currentVoters":[{"voterId":1}],"data_version":0}"#;
        let state = QuorumState {
            leader_id: 1,
            leader_epoch: 7,
            voted_id: 1,
            current_voters: vec![Voter { voter_id: 1 }],
            ..QuorumState::default()
        };
        assert_eq!(state.content(), text.as_bytes());
        assert_eq!(QuorumState::parse(text.as_bytes()), Ok(state));
    }

    #[test]
    fn a_state_that_cannot_be_is_refused() {
        assert!(QuorumState::parse(b"").is_err());
        let state = QuorumState { leader_epoch: -1, ..QuorumState::default() };
        assert!(QuorumState::parse(&state.content()).unwrap_err().contains("negative"));
        let state = QuorumState { data_version: 9, ..QuorumState::default() };
        assert!(QuorumState::parse(&state.content()).unwrap_err().contains("data_version 9"));
    }
}
