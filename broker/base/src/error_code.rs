//! Kafka's error codes.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! error_codes {
    ($($variant:ident $code:literal $kafka:literal $retry:ident $text:literal;)*) => {
        /// An error as the protocol numbers it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        #[repr(i16)]
        pub enum ErrorCode {
            $(#[doc = $text] $variant = $code,)*
        }

        impl ErrorCode {
            /// Every code that we know.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$variant,)*];

            /// The error of a protocol number; one that we do not know is `UnknownServerError`.
            pub fn from_code(code: i16) -> ErrorCode {
                match code {
                    $($code => ErrorCode::$variant,)*
                    _ => ErrorCode::UnknownServerError,
                }
            }

            /// Kafka's name of it, in capitals.
            pub fn name(self) -> &'static str {
                match self { $(ErrorCode::$variant => $kafka,)* }
            }

            /// What it means, in one line.
            pub fn text(self) -> &'static str {
                match self { $(ErrorCode::$variant => $text,)* }
            }

            /// True if the same request may succeed later.
            pub fn is_retriable(self) -> bool {
                match self { $(ErrorCode::$variant => error_codes!(@$retry),)* }
            }
        }
    };
    (@retry) => { true };
    (@final) => { false };
}

error_codes! {
    UnknownServerError -1 "UNKNOWN_SERVER_ERROR" final "The server met an error that it has no code for.";
    None 0 "NONE" final "No error.";
    OffsetOutOfRange 1 "OFFSET_OUT_OF_RANGE" final "The offset lies outside of what the log holds.";
    CorruptMessage 2 "CORRUPT_MESSAGE" retry "The record batch fails its checksum or is malformed.";
    UnknownTopicOrPartition 3 "UNKNOWN_TOPIC_OR_PARTITION" retry "This server does not host that topic or partition.";
    LeaderNotAvailable 5 "LEADER_NOT_AVAILABLE" retry "The partition has no leader at the moment.";
    NotLeaderOrFollower 6 "NOT_LEADER_OR_FOLLOWER" retry "This broker is not the leader of the partition.";
    RequestTimedOut 7 "REQUEST_TIMED_OUT" retry "The request timed out; it may still take effect.";
    ReplicaNotAvailable 9 "REPLICA_NOT_AVAILABLE" retry "The replica is not available.";
    MessageTooLarge 10 "MESSAGE_TOO_LARGE" final "The record batch is larger than max.message.bytes.";
    NetworkException 13 "NETWORK_EXCEPTION" retry "The connection ended before an answer came.";
    CoordinatorLoadInProgress 14 "COORDINATOR_LOAD_IN_PROGRESS" retry "The coordinator is loading.";
    CoordinatorNotAvailable 15 "COORDINATOR_NOT_AVAILABLE" retry "The coordinator is not available.";
    NotCoordinator 16 "NOT_COORDINATOR" retry "This broker is not the coordinator.";
    InvalidTopicException 17 "INVALID_TOPIC_EXCEPTION" final "The topic name is not legal.";
    NotEnoughReplicas 19 "NOT_ENOUGH_REPLICAS" retry "Fewer replicas are in sync than min.insync.replicas asks; nothing was written.";
    NotEnoughReplicasAfterAppend 20 "NOT_ENOUGH_REPLICAS_AFTER_APPEND" retry "Written, but to fewer replicas than min.insync.replicas asks.";
    InvalidRequiredAcks 21 "INVALID_REQUIRED_ACKS" final "acks must be 0, 1 or -1.";
    InvalidTimestamp 32 "INVALID_TIMESTAMP" final "A record's timestamp is out of the bounds that its topic sets.";
    UnsupportedVersion 35 "UNSUPPORTED_VERSION" final "This version of the API is not supported.";
    TopicAlreadyExists 36 "TOPIC_ALREADY_EXISTS" final "A topic of that name exists.";
    InvalidPartitions 37 "INVALID_PARTITIONS" final "The number of partitions must be positive.";
    InvalidReplicationFactor 38 "INVALID_REPLICATION_FACTOR" final "The replication factor must be positive and at most the number of brokers.";
    InvalidReplicaAssignment 39 "INVALID_REPLICA_ASSIGNMENT" final "The replica assignment is not legal.";
    InvalidConfig 40 "INVALID_CONFIG" final "A configuration key or value is not legal.";
    NotController 41 "NOT_CONTROLLER" retry "This is not the active controller.";
    InvalidRequest 42 "INVALID_REQUEST" final "The request is malformed or contradicts itself.";
    UnsupportedForMessageFormat 43 "UNSUPPORTED_FOR_MESSAGE_FORMAT" final "The record format on the broker does not support this.";
    PolicyViolation 44 "POLICY_VIOLATION" final "A policy forbids it.";
    OutOfOrderSequenceNumber 45 "OUT_OF_ORDER_SEQUENCE_NUMBER" final "The batch's sequence does not follow the last one of its producer.";
    DuplicateSequenceNumber 46 "DUPLICATE_SEQUENCE_NUMBER" final "The batch was written before.";
    InvalidProducerEpoch 47 "INVALID_PRODUCER_EPOCH" final "A newer instance of this producer is at work.";
    InvalidTxnState 48 "INVALID_TXN_STATE" final "The transaction is not in a state that allows it.";
    InvalidProducerIdMapping 49 "INVALID_PRODUCER_ID_MAPPING" final "The producer id does not belong to that transactional id.";
    InvalidTransactionTimeout 50 "INVALID_TRANSACTION_TIMEOUT" final "The transaction timeout is larger than the broker allows.";
    KafkaStorageError 56 "KAFKA_STORAGE_ERROR" retry "The log directory failed.";
    UnknownProducerId 59 "UNKNOWN_PRODUCER_ID" final "The broker knows nothing of that producer id.";
    FencedLeaderEpoch 74 "FENCED_LEADER_EPOCH" retry "The request carries an older leader epoch than the broker's.";
    UnknownLeaderEpoch 75 "UNKNOWN_LEADER_EPOCH" retry "The request carries a newer leader epoch than the broker's.";
    UnsupportedCompressionType 76 "UNSUPPORTED_COMPRESSION_TYPE" final "The compression is not supported in this version.";
    StaleBrokerEpoch 77 "STALE_BROKER_EPOCH" final "The broker's epoch is not the current one.";
    OffsetNotAvailable 78 "OFFSET_NOT_AVAILABLE" retry "The new leader's high watermark has not caught up yet.";
    InvalidRecord 87 "INVALID_RECORD" final "A record is not legal on this topic.";
    ProducerFenced 90 "PRODUCER_FENCED" final "A newer producer with the same transactional id fenced this one.";
    InconsistentVoterSet 94 "INCONSISTENT_VOTER_SET" final "The voter is not in the voter set.";
    InvalidUpdateVersion 95 "INVALID_UPDATE_VERSION" final "The partition epoch is not the current one.";
    SnapshotNotFound 98 "SNAPSHOT_NOT_FOUND" final "That snapshot is not here.";
    UnknownTopicId 100 "UNKNOWN_TOPIC_ID" retry "This server does not know that topic id.";
    DuplicateBrokerRegistration 101 "DUPLICATE_BROKER_REGISTRATION" retry "Another incarnation of this broker has a live session.";
    BrokerIdNotRegistered 102 "BROKER_ID_NOT_REGISTERED" final "No broker of that id is registered.";
    InconsistentTopicId 103 "INCONSISTENT_TOPIC_ID" retry "The log's topic id is another one.";
    InconsistentClusterId 104 "INCONSISTENT_CLUSTER_ID" final "The cluster id is another one.";
    IneligibleReplica 107 "INELIGIBLE_REPLICA" final "A proposed in-sync replica is fenced, shutting down, or of an older broker epoch.";
    NewLeaderElected 108 "NEW_LEADER_ELECTED" final "The change elected another leader.";
    InvalidRegistration 119 "INVALID_REGISTRATION" final "The broker's registration contradicts itself or another one.";
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), *self as i16)
    }
}

impl std::error::Error for ErrorCode {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_comes_back_from_its_number() {
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_code(*code as i16), *code);
        }
        assert_eq!(ErrorCode::from_code(9999), ErrorCode::UnknownServerError);
    }
}
