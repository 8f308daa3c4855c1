//! Every message behind one kind of function pointer.

use bytes::Bytes;
use klamm_wire::messages::*;
use klamm_wire::{Message, WireError};
use std::fmt::Debug;
use std::ops::RangeInclusive;

/// A message after a round trip.
pub struct Trip {
    pub debug: String,
    pub encoded: Bytes,
    pub lost: Option<&'static str>,
}

/// One message.
pub struct Entry {
    pub name: &'static str,
    pub key: i16,
    pub versions: RangeInclusive<i16>,
    pub flexible_from: i16,
    /// Decodes from the front of the buffer and encodes again.
    pub trip: fn(&mut Bytes, i16) -> Result<Trip, WireError>,
    /// Decodes and drops.
    pub probe: fn(&mut Bytes, i16) -> bool,
    /// Encodes the default.
    pub default: fn(i16) -> Bytes,
}

fn trip<M: Message + Debug + PartialEq>(buf: &mut Bytes, version: i16) -> Result<Trip, WireError> {
    let message = M::decode(buf, version)?;
    let mut encoded = Vec::new();
    message.encode(&mut encoded, version);
    let encoded = Bytes::from(encoded);
    let again = M::decode(&mut encoded.clone(), version)?;
    assert_eq!(again, message, "{} version {version}", M::NAME);
    Ok(Trip { debug: format!("{message:?}"), encoded, lost: message.inexpressible(version) })
}

fn default<M: Message + Default>(version: i16) -> Bytes {
    let mut encoded = Vec::new();
    M::default().encode(&mut encoded, version);
    Bytes::from(encoded)
}

macro_rules! table {
    ($($name:ident)*) => {
        vec![$(Entry {
            name: stringify!($name),
            key: $name::API_KEY,
            versions: $name::VERSIONS,
            flexible_from: $name::FLEXIBLE_FROM,
            trip: trip::<$name>,
            probe: |buf, version| std::hint::black_box($name::decode(buf, version)).is_ok(),
            default: default::<$name>,
        },)*]
    };
}

/// All messages.
pub fn table() -> Vec<Entry> {
    table! {
        ProduceRequest ProduceResponse FetchRequest FetchResponse ListOffsetsRequest ListOffsetsResponse
        DeleteRecordsRequest DeleteRecordsResponse
        MetadataRequest MetadataResponse FindCoordinatorRequest FindCoordinatorResponse
        ApiVersionsRequest ApiVersionsResponse CreateTopicsRequest CreateTopicsResponse
        InitProducerIdRequest InitProducerIdResponse OffsetForLeaderEpochRequest OffsetForLeaderEpochResponse
        AlterPartitionRequest AlterPartitionResponse BrokerRegistrationRequest BrokerRegistrationResponse
        BrokerHeartbeatRequest BrokerHeartbeatResponse AllocateProducerIdsRequest AllocateProducerIdsResponse
        AssignReplicasToDirsRequest AssignReplicasToDirsResponse
        RegisterBrokerRecord UnregisterBrokerRecord TopicRecord PartitionRecord ConfigRecord PartitionChangeRecord
        FenceBrokerRecord UnfenceBrokerRecord RemoveTopicRecord FeatureLevelRecord ProducerIdsRecord
        BrokerRegistrationChangeRecord NoOpRecord ZkMigrationStateRecord BeginTransactionRecord EndTransactionRecord
        AbortTransactionRecord RegisterControllerRecord
        LeaderChangeMessage SnapshotHeaderRecord SnapshotFooterRecord KRaftVersionRecord VotersRecord
        OffsetCommitKey OffsetCommitValue GroupMetadataKey GroupMetadataValue
        ConsumerGroupMetadataKey ConsumerGroupMetadataValue
        ConsumerGroupPartitionMetadataKey ConsumerGroupPartitionMetadataValue
        ConsumerGroupMemberMetadataKey ConsumerGroupMemberMetadataValue
        ConsumerGroupTargetAssignmentMetadataKey ConsumerGroupTargetAssignmentMetadataValue
        ConsumerGroupTargetAssignmentMemberKey ConsumerGroupTargetAssignmentMemberValue
        ConsumerGroupCurrentMemberAssignmentKey ConsumerGroupCurrentMemberAssignmentValue
        ConsumerProtocolSubscription ConsumerProtocolAssignment TransactionLogKey TransactionLogValue
    }
}

/// The message called `name`.
pub fn entry(name: &str) -> Entry {
    table().into_iter().find(|entry| entry.name == name).unwrap_or_else(|| panic!("{name} is not in the table"))
}
