//! What stands in the logs that Kafka keeps for itself.

use bytes::{Buf, Bytes};
use klamm_log::format::{DirName, EndMarker};
use klamm_wire::messages::*;
use klamm_wire::metadata::MetadataRecord;
use klamm_wire::records::{ControlType, Record};
use klamm_wire::{Message, WireError};
use serde::Serialize;
use serde_json::{Value, json};

/// What a log's records are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Of applications.
    Plain,
    /// `__cluster_metadata`, and its snapshots.
    Metadata,
    /// `__consumer_offsets`.
    Groups,
    /// `__transaction_state`.
    Transactions,
}

impl Content {
    /// By the directory's name; files with no such directory are an application's.
    pub fn of(partition: Option<&DirName>) -> Content {
        match partition.map(|partition| partition.topic.as_str()) {
            Some("__cluster_metadata") => Content::Metadata,
            Some("__consumer_offsets") => Content::Groups,
            Some("__transaction_state") => Content::Transactions,
            _ => Content::Plain,
        }
    }

    /// Key and value of a record as text; `None` for what is absent. What cannot be read is told with the reason.
    pub fn told(self, record: &Record) -> (Option<String>, Option<String>) {
        let told = |known: Result<Value, WireError>, raw: &Bytes| match known {
            Ok(value) => value.to_string(),
            Err(error) => format!("{} ({error})", super::shown::Shown(raw)),
        };
        let plain = |raw: &Bytes| super::shown::Shown(raw).to_string();
        let (key, value) = (record.key.as_ref(), record.value.as_ref());
        match self {
            Content::Plain => (key.map(plain), value.map(plain)),
            Content::Metadata => (key.map(plain), value.map(|raw| told(metadata(raw), raw))),
            Content::Groups | Content::Transactions => {
                let Some(raw) = key else { return (None, value.map(plain)) };
                let decoded = if self == Content::Groups { group_key(raw) } else { transaction_key(raw) };
                let value = match value {
                    None => Some("<DELETE>".to_owned()),
                    Some(value) if self == Content::Groups => Some(told(group_value(raw, value), value)),
                    Some(value) => Some(told(transaction_value(value), value)),
                };
                (Some(told(decoded, raw)), value)
            }
        }
    }
}

/// `FeatureLevelRecord` to `FEATURE_LEVEL_RECORD`.
fn constant(name: &str) -> String {
    let mut out = String::new();
    for (at, letter) in name.char_indices() {
        if letter.is_ascii_uppercase() && at > 0 {
            out.push('_');
        }
        out.push(letter.to_ascii_uppercase());
    }
    out
}

fn metadata(raw: &Bytes) -> Result<Value, WireError> {
    let (record, version) = MetadataRecord::decode_versioned(raw)?;
    Ok(json!({ "type": constant(record.name()), "version": version, "data": record }))
}

/// The number that a key or value opens with, and the rest.
fn opened(raw: &Bytes) -> Result<(i16, Bytes), WireError> {
    let mut body = raw.clone();
    if body.len() < 2 {
        return Err(WireError::Truncated);
    }
    let number = body.get_i16();
    Ok((number, body))
}

fn data<M: Message + Serialize>(version: i16, body: &mut Bytes) -> Result<Value, WireError> {
    M::decode(body, version).map(|message| json!(message))
}

fn unknown(kind: i16) -> WireError {
    WireError::UnknownRecordType(u32::from(kind as u16))
}

fn group_key(raw: &Bytes) -> Result<Value, WireError> {
    let (kind, mut body) = opened(raw)?;
    let body = &mut body;
    let data = match kind {
        0 | 1 => data::<OffsetCommitKey>(kind, body),
        2 => data::<GroupMetadataKey>(kind, body),
        3 => data::<ConsumerGroupMetadataKey>(kind, body),
        4 => data::<ConsumerGroupPartitionMetadataKey>(kind, body),
        5 => data::<ConsumerGroupMemberMetadataKey>(kind, body),
        6 => data::<ConsumerGroupTargetAssignmentMetadataKey>(kind, body),
        7 => data::<ConsumerGroupTargetAssignmentMemberKey>(kind, body),
        8 => data::<ConsumerGroupCurrentMemberAssignmentKey>(kind, body),
        _ => Err(unknown(kind)),
    };
    data.map(|data| json!({ "type": kind.to_string(), "data": data }))
}

fn group_value(key: &Bytes, raw: &Bytes) -> Result<Value, WireError> {
    let (kind, _) = opened(key)?;
    let (version, mut body) = opened(raw)?;
    let body = &mut body;
    let data = match kind {
        0 | 1 => data::<OffsetCommitValue>(version, body),
        2 => GroupMetadataValue::decode(body, version).map(|group| classic_group(&group)),
        3 => data::<ConsumerGroupMetadataValue>(version, body),
        4 => data::<ConsumerGroupPartitionMetadataValue>(version, body),
        5 => data::<ConsumerGroupMemberMetadataValue>(version, body),
        6 => data::<ConsumerGroupTargetAssignmentMetadataValue>(version, body),
        7 => data::<ConsumerGroupTargetAssignmentMemberValue>(version, body),
        8 => data::<ConsumerGroupCurrentMemberAssignmentValue>(version, body),
        _ => Err(unknown(kind)),
    };
    data.map(|data| json!({ "version": version.to_string(), "data": data }))
}

/// A classic group; what its consumers want and got is read, too, if they are consumers (and no Connect workers).
fn classic_group(group: &GroupMetadataValue) -> Value {
    let mut told = json!(group);
    if group.protocol_type != "consumer" {
        return told;
    }
    for (at, member) in group.members.iter().enumerate() {
        if let Ok(subscription) = consumers::<ConsumerProtocolSubscription>(&member.subscription) {
            told["members"][at]["subscription"] = subscription;
        }
        if let Ok(assignment) = consumers::<ConsumerProtocolAssignment>(&member.assignment) {
            told["members"][at]["assignment"] = assignment;
        }
    }
    told
}

/// A newer version than we know only adds fields behind those that we know.
fn consumers<M: Message + Serialize>(raw: &Bytes) -> Result<Value, WireError> {
    let (version, mut body) = opened(raw)?;
    data::<M>(version.min(*M::VERSIONS.end()), &mut body)
}

fn transaction_key(raw: &Bytes) -> Result<Value, WireError> {
    let (kind, mut body) = opened(raw)?;
    let data = if kind == 0 { data::<TransactionLogKey>(kind, &mut body) } else { Err(unknown(kind)) };
    data.map(|data| json!({ "type": kind.to_string(), "data": data }))
}

/// Names of `transaction_status`, by its number.
const STATES: [&str; 8] = [
    "Empty",
    "Ongoing",
    "PrepareCommit",
    "PrepareAbort",
    "CompleteCommit",
    "CompleteAbort",
    "Dead",
    "PrepareEpochFence",
];

fn transaction_value(raw: &Bytes) -> Result<Value, WireError> {
    let (version, mut body) = opened(raw)?;
    let value = TransactionLogValue::decode(&mut body, version)?;
    let mut data = json!(value);
    let state = usize::try_from(value.transaction_status).ok().and_then(|status| STATES.get(status));
    data["state"] = json!(state);
    Ok(json!({ "version": version.to_string(), "data": data }))
}

/// What a control record says.
pub fn control(record: &Record) -> String {
    let read = || -> Result<String, WireError> {
        if let Some(EndMarker { committed, coordinator_epoch }) = EndMarker::of_record(record)? {
            let name = if committed { "COMMIT" } else { "ABORT" };
            return Ok(format!("endTxnMarker: {name} coordinatorEpoch: {coordinator_epoch}"));
        }
        let kind = ControlType::of(record)?;
        let value = record.value.as_ref().ok_or(WireError::UnexpectedNull)?;
        let (version, _) = opened(value)?;
        let mut whole = value.clone();
        let whole = &mut whole;
        Ok(match kind {
            Some(ControlType::Abort | ControlType::Commit) => unreachable!("those are markers"),
            Some(ControlType::LeaderChange) => format!("LeaderChange {}", data::<LeaderChangeMessage>(version, whole)?),
            Some(ControlType::SnapshotHeader) => {
                format!("SnapshotHeader {}", data::<SnapshotHeaderRecord>(version, whole)?)
            }
            Some(ControlType::SnapshotFooter) => {
                format!("SnapshotFooter {}", data::<SnapshotFooterRecord>(version, whole)?)
            }
            Some(ControlType::KRaftVersion) => format!("KRaftVersion {}", data::<KRaftVersionRecord>(version, whole)?),
            Some(ControlType::KRaftVoters) => format!("KRaftVoters {}", data::<VotersRecord>(version, whole)?),
            None => "a control type that we do not know".to_owned(),
        })
    };
    read().unwrap_or_else(|error| format!("a control record that cannot be read: {error}"))
}
