//! Control batches and what their records say (L7).

use super::{Batch, BatchBuilder, Record, records};
use crate::codec::{self, BufMut, Bytes};
use crate::messages::leader_change_message::{LeaderChangeMessage, Voter};
use crate::{Message, WireError};
use klamm_base::NodeId;

/// What a control record is for; the second half of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i16)]
pub enum ControlType {
    /// The transaction was aborted.
    Abort = 0,
    /// The transaction was committed.
    Commit = 1,
    /// A Raft leader opens its epoch (KIP-595).
    LeaderChange = 2,
    /// A snapshot begins (KIP-630).
    SnapshotHeader = 3,
    /// A snapshot ends (KIP-630).
    SnapshotFooter = 4,
    /// The version of the Raft features (KIP-853).
    KRaftVersion = 5,
    /// The voters (KIP-853).
    KRaftVoters = 6,
}

impl ControlType {
    /// Reads the key of a control record; `None` for a type that we do not know, which readers skip.
    ///
    /// # Errors
    /// `Truncated`, or `UnexpectedNull` without a key.
    pub fn of(record: &Record) -> Result<Option<ControlType>, WireError> {
        let mut key = record.key.clone().ok_or(WireError::UnexpectedNull)?;
        codec::i16(&mut key)?;
        Ok(Some(match codec::i16(&mut key)? {
            0 => ControlType::Abort,
            1 => ControlType::Commit,
            2 => ControlType::LeaderChange,
            3 => ControlType::SnapshotHeader,
            4 => ControlType::SnapshotFooter,
            5 => ControlType::KRaftVersion,
            6 => ControlType::KRaftVoters,
            _ => return Ok(None),
        }))
    }
}

/// A control batch of one record.
pub fn control_batch(base_offset: i64, leader_epoch: i32, now_ms: i64, kind: ControlType, value: &[u8]) -> Batch {
    let mut key = [0; 4];
    key[2..].copy_from_slice(&(kind as i16).to_be_bytes());
    let mut builder = BatchBuilder::new(now_ms);
    builder.at(base_offset, leader_epoch).control().push(now_ms, Some(&key), Some(value), &[]).build()
}

/// The batch with which the leader of a Raft log opens its epoch (KIP-595), as Kafka writes it under KRaft version 0.
pub fn leader_change(
    base_offset: i64,
    leader_epoch: i32,
    now_ms: i64,
    leader: NodeId,
    voters: &[NodeId],
    granting: &[NodeId],
) -> Batch {
    let list = |ids: &[NodeId]| ids.iter().map(|id| Voter { voter_id: id.0, ..Voter::default() }).collect();
    let message =
        LeaderChangeMessage { version: 0, leader_id: leader.0, voters: list(voters), granting_voters: list(granting) };
    let mut value = Vec::with_capacity(64);
    message.encode(&mut value, message.version);
    control_batch(base_offset, leader_epoch, now_ms, ControlType::LeaderChange, &value)
}

/// The leader change that opens an epoch, if `batch` is one.
///
/// # Errors
/// What is wrong with the bytes.
pub fn read_leader_change(batch: &Batch) -> Result<Option<LeaderChangeMessage>, WireError> {
    if !batch.header.is_control() {
        return Ok(None);
    }
    let record = records(batch).next().ok_or(WireError::BadBatch("a control batch without a record"))??;
    if ControlType::of(&record)? != Some(ControlType::LeaderChange) {
        return Ok(None);
    }
    let mut value = record.value.ok_or(WireError::UnexpectedNull)?;
    let version = codec::i16(&mut value.clone())?;
    LeaderChangeMessage::decode(&mut value, version).map(Some)
}

/// The value of an end-of-transaction marker: its version and the epoch of the coordinator that wrote it.
pub fn end_txn_value(coordinator_epoch: i32) -> Bytes {
    let mut value = Vec::with_capacity(6);
    value.put_i16(0);
    value.put_i32(coordinator_epoch);
    Bytes::from(value)
}
