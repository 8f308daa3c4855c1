//! Observations: what a core says of itself to whoever judges. Free in the real world.

use crate::{ClientId, ClientRecord, ErrorCode, Mark, NodeId, TopicPartition, Uuid};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Who observed: every observation is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// A broker or controller.
    Node(NodeId),
    /// A client incarnation.
    Client(ClientId),
}

/// What a client was told of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The broker acknowledged it at this offset.
    Acked(i64),
    /// Every attempt ended in a definite error: it is not in the log.
    Refused(ErrorCode),
    /// Some attempt may have been appended: a time-out, a lost connection, error 6, 7 or 20.
    Unknown(ErrorCode),
    /// acks=0: written to a socket, nothing more is known.
    Sent,
}

/// What a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientKind {
    /// Sends records.
    Producer {
        /// `acks`: 0, 1, or -1 for all.
        acks: i16,
        /// `enable.idempotence`.
        idempotent: bool,
    },
    /// Reads records.
    Consumer,
    /// Creates and describes.
    Admin,
}

/// How a leader came to lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Election {
    /// The leader did not change.
    None,
    /// From the in-sync replicas, or nobody was elected.
    Clean,
    /// From outside of them: `unclean.leader.election.enable`.
    Unclean,
}

/// Why a log was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TruncationCause {
    /// The leader named where the epochs part.
    DivergingEpoch,
    /// The guard `epoch-truncation` is off: to the own high watermark.
    HighWatermark,
    /// The leader's log ends or begins elsewhere (OFFSET_OUT_OF_RANGE).
    OutOfRange,
}

/// Why a log begins later than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StartCause {
    /// DeleteRecords.
    DeleteRecords,
    /// A follower takes up its leader's start.
    Leader,
    /// A segment ended at or below the start.
    Start,
    /// `retention.bytes`.
    RetentionBytes,
    /// `retention.ms`.
    RetentionMs,
}

/// A segment, as a check of the retention saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentFact {
    /// Offset of its first record, or of the one that would be it.
    pub base_offset: i64,
    /// Length of its file.
    pub bytes: u64,
    /// Greatest timestamp of its records, in milliseconds; if none has one, when it was opened.
    pub newest_ms: i64,
}

/// What a batch says of the producer that wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sequences {
    /// `producer.id`.
    pub producer_id: i64,
    /// Its epoch.
    pub producer_epoch: i16,
    /// Of the first record; -1: a marker that ends a transaction.
    pub first: i32,
    /// Of the last record; -1 as above.
    pub last: i32,
}

/// What compaction goes by, of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyFact {
    /// A hash of its key; records without one all have 0.
    pub key: u64,
    /// It has no value: it deletes its key.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tombstone: bool,
}

impl KeyFact {
    /// Of a record with this key.
    pub fn of(key: Option<&[u8]>, tombstone: bool) -> Self {
        let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        Self { key: key.map_or(0, |key| key.iter().fold(0xcbf2_9ce4_8422_2325, mix)), tombstone }
    }
}

/// What a clean made of one batch. Batches that it leaves as they are it does not tell of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CleanedBatch {
    /// Where it begins; a clean moves no offset.
    pub base_offset: i64,
    /// The mark of what is left of it, which may be a header without a record; `None` if nothing is.
    pub batch: Option<u64>,
    /// Offsets of the records that are left, ascending.
    pub kept: Vec<i64>,
    /// Its delete horizon (KIP-534): wall clock in milliseconds from which on its tombstones may go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub horizon_ms: Option<i64>,
}

/// What a log knows of a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProducerFact {
    /// `producer.id`.
    pub producer_id: i64,
    /// Its latest epoch.
    pub producer_epoch: i16,
    /// The sequence of its last record in that epoch; -1 if it has none.
    pub last_sequence: i32,
}

/// One fact. White-box ones come from cores on the step that made them so, the others from clients.
/// Offsets are record offsets; `*_end` and `to` are exclusive. `batch` is `wire`'s 64-bit identity of a batch's
/// content, the same wherever it is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "what")]
pub enum Observation {
    /// A process began; its logs are not loaded yet.
    NodeStarted { incarnation: Uuid },
    /// The log of a partition is loaded and repaired: it holds exactly `log_start..log_end`; `digest` is the [`chain`] over
    /// its batches.
    LogLoaded { tp: TopicPartition, log_start: i64, log_end: i64, digest: u64 },
    /// A batch is in the log (in the page cache, not yet durable): seen at the write's completion. It stands in `bytes` bytes
    /// at `position` of its segment's file, which begins anew at 0 with each segment. `max_timestamp` is the greatest of its
    /// records', in milliseconds; -1 is none.
    Appended {
        tp: TopicPartition,
        base_offset: i64,
        last_offset: i64,
        leader_epoch: i32,
        batch: u64,
        as_leader: bool,
        position: u32,
        bytes: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        producer: Option<Sequences>,
        max_timestamp: i64,
        /// In a compacted topic: of each of its records.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        keys: Vec<KeyFact>,
    },
    /// What the log that was just loaded knows of producers, by rising id.
    ProducersLoaded { tp: TopicPartition, producers: Vec<ProducerFact> },
    /// All below `to` is durable.
    Flushed { tp: TopicPartition, to: i64 },
    /// The log was cut to `to`: records at and above it are gone. `high_watermark` is this replica's before the cut.
    Truncated { tp: TopicPartition, to: i64, high_watermark: i64, leader_epoch: i32, cause: TruncationCause },
    /// Records below `to` are no part of the log any more; `wall_ms` is the node's own wall clock.
    LogStartMoved { tp: TopicPartition, to: i64, cause: StartCause, wall_ms: i64 },
    /// The retention looked at these segments, the oldest first, under this high watermark and its limits, by the node's own wall
    /// clock, and deleted the first `deleted`. A limit of -1 is none.
    RetentionRan {
        tp: TopicPartition,
        wall_ms: i64,
        high_watermark: i64,
        log_start: i64,
        retention_ms: i64,
        retention_bytes: i64,
        segments: Vec<SegmentFact>,
        deleted: u32,
    },
    /// A clean, by what stands below `end` and by the node's own wall clock, has written the segments of `from..to` anew, and
    /// puts them in the place of the old ones from now on: after a crash either may be there.
    LogCleaned { tp: TopicPartition, from: i64, to: i64, end: i64, wall_ms: i64, batches: Vec<CleanedBatch> },
    /// This replica's high watermark moved.
    HighWatermark { tp: TopicPartition, to: i64, leader_epoch: i32, as_leader: bool },
    /// This broker took up leadership; its log ends at `epoch_start`.
    BecameLeader { tp: TopicPartition, leader_epoch: i32, epoch_start: i64 },
    /// This broker follows `leader` (nobody: none is elected).
    BecameFollower { tp: TopicPartition, leader_epoch: i32, leader: Option<NodeId> },
    /// A leader's view of its ISR: what is committed, and the maximal set that counts while a change is in flight.
    LeaderIsr { tp: TopicPartition, leader_epoch: i32, committed: Vec<NodeId>, maximal: Vec<NodeId> },
    /// A produce request's partition is being answered without error.
    ProduceAcked {
        tp: TopicPartition,
        base_offset: i64,
        last_offset: i64,
        acks: i16,
        leader_epoch: i32,
        duplicate: bool,
    },
    /// A fetch by a consumer is being answered with records `from..to`, under this high watermark.
    FetchServed { tp: TopicPartition, from: i64, to: i64, high_watermark: i64 },
    /// The active controller committed a topic. What it keeps is -1 where it deletes nothing by that; `compacted`: its
    /// `cleanup.policy` names `compact`.
    TopicCreated {
        topic: Uuid,
        name: String,
        partitions: i32,
        replication: i16,
        min_insync_replicas: i32,
        unclean: bool,
        retention_ms: i64,
        retention_bytes: i64,
        /// `delete.retention.ms` if its `cleanup.policy` contains `compact`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        compacted: Option<i64>,
    },
    /// The active controller committed a partition's state.
    PartitionChanged {
        tp: TopicPartition,
        leader: Option<NodeId>,
        leader_epoch: i32,
        partition_epoch: i32,
        replicas: Vec<NodeId>,
        isr: Vec<NodeId>,
        election: Election,
    },
    /// The active controller committed a registration.
    BrokerRegistered { broker: NodeId, broker_epoch: i64, incarnation: Uuid },
    /// The active controller committed that a broker may (not) lead and be in sync.
    BrokerFenced { broker: NodeId, fenced: bool },
    /// A client began.
    ClientStarted { name: String, kind: ClientKind },
    /// A producer learned its id.
    ProducerIdLearned { producer_id: i64, producer_epoch: i16 },
    /// The application handed a record to its producer.
    Invoked { tp: TopicPartition, record: ClientRecord },
    /// The producer told the application how it ended.
    Ended { tp: TopicPartition, record: ClientRecord, outcome: Outcome },
    /// A consumer handed `records` to its application; they stood at `offset`, `offset + 1`, …; `None` is a value that
    /// no workload wrote. `finally` marks the reading of every partition after the last heal.
    Read { tp: TopicPartition, offset: i64, records: Vec<Option<ClientRecord>>, finally: bool },
    /// A consumer's position was set: at its start, or by a reset.
    Positioned { tp: TopicPartition, offset: i64 },
    /// The final reading of a partition reached its end, or gave up before it.
    FinallyRead { tp: TopicPartition, log_start: i64, log_end: i64, complete: bool },
}

/// Continues the digest of a log by one batch; an empty log's digest is 0.
pub fn chain(digest: u64, base_offset: i64, leader_epoch: i32, batch: u64) -> u64 {
    let mut hash = digest ^ 0x9e37_79b9_7f4a_7c15;
    for word in [base_offset as u64, leader_epoch as u64, batch] {
        hash = (hash ^ word).wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash ^= hash >> 32;
    }
    hash
}

/// Takes observations. It may only look: an observer must not call back into who observes.
pub trait Observer: Send + Sync {
    /// One fact, signed.
    fn observe(&self, source: Source, observation: Observation);

    /// A Kafka request was decoded, or its response encoded: the unit in which the cost of a run is told.
    fn frame(&self) {}

    /// Something rare happened. No part of the history.
    fn mark(&self, _mark: Mark) {}
}

/// A core's handle to its observer, or to none.
#[derive(Clone)]
pub struct Observe {
    source: Source,
    observer: Option<Arc<dyn Observer>>,
}

impl Observe {
    /// Observations of `source` go to `observer`.
    pub fn new(source: Source, observer: Arc<dyn Observer>) -> Self {
        Self { source, observer: Some(observer) }
    }

    /// Nobody looks: the real world.
    pub fn nobody(source: Source) -> Self {
        Self { source, observer: None }
    }

    /// Observes what `fact` makes; it is not called when nobody looks.
    pub fn note(&self, fact: impl FnOnce() -> Observation) {
        if let Some(observer) = &self.observer {
            observer.observe(self.source, fact());
        }
    }

    /// Counts a frame.
    pub fn frame(&self) {
        if let Some(observer) = &self.observer {
            observer.frame();
        }
    }

    /// Says that something rare happened, as [`crate::sometimes!`] does.
    pub fn mark(&self, mark: Mark) {
        if let Some(observer) = &self.observer {
            observer.mark(mark);
        }
    }

    /// True when somebody looks.
    pub fn watched(&self) -> bool {
        self.observer.is_some()
    }

    /// Who signs.
    pub fn source(&self) -> Source {
        self.source
    }
}

impl std::fmt::Debug for Observe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Observe({:?}, watched: {})", self.source, self.watched())
    }
}
