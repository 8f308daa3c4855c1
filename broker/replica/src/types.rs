//! The words of a replica: its events, its commands, and what they carry.

use bytes::Bytes;
use klamm_base::{DiskDone, DiskError, DiskRequest, ErrorCode, NodeId, TopicPartition};
use klamm_log::{LastKnown, LogConfig};
use klamm_wire::records::Batch;

/// A partition's state as metadata tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionState {
    /// Who leads; `None` if nobody is elected.
    pub leader: Option<NodeId>,
    /// Grows with each election.
    pub leader_epoch: i32,
    /// Grows with each change.
    pub partition_epoch: i32,
    /// The assignment, in its order.
    pub replicas: Vec<NodeId>,
    /// In-sync replicas as the controller committed them.
    pub isr: Vec<NodeId>,
    /// The leader was elected uncleanly and has not yet changed the ISR (KIP-704).
    pub recovering: bool,
    /// Those of `replicas` that may join the ISR (unfenced, not shutting down), with their broker epochs (KIP-841, KIP-903).
    pub eligible: Vec<(NodeId, i64)>,
}

/// What an earlier life left word of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    /// Of the log.
    pub log: LastKnown,
    /// `replication-offset-checkpoint`: a high watermark of up to five seconds before the end of that life [L16].
    pub high_watermark: i64,
    /// `cleaner-offset-checkpoint`: all below is clean.
    pub clean_to: Option<i64>,
}

/// What a replica is told when it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaConfig {
    /// This broker.
    pub node: NodeId,
    /// The partition.
    pub tp: TopicPartition,
    /// `min.insync.replicas`.
    pub min_insync_replicas: i32,
    /// `replica.lag.time.max.ms`, on the wall clock as in Kafka.
    pub replica_lag_time_max_ms: i64,
    /// Limits of the log.
    pub log: LogConfig,
}

/// What a replica is at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The log is being loaded.
    Loading,
    /// It leads.
    Leader,
    /// It follows this broker, or nobody: none is elected, or it is about to lead and its last writes are still under way.
    Follower(Option<NodeId>),
    /// Its disk failed, or it was stopped.
    Offline,
}

/// A fetch, by a follower or a consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchQuery {
    /// The follower and its broker epoch (-1 unknown); `None` is a consumer.
    pub replica: Option<(NodeId, i64)>,
    /// The leader epoch that the asker knows; -1 none.
    pub current_leader_epoch: i32,
    /// First offset wanted.
    pub fetch_offset: i64,
    /// Epoch of the asker's last record; -1 none.
    pub last_fetched_epoch: i32,
    /// The follower's log start; -1 for consumers.
    pub log_start_offset: i64,
    /// At most this many bytes of batches.
    pub max_bytes: u32,
    /// Give the first batch even if it is larger than `max_bytes` (KIP-74).
    pub at_least_one: bool,
    /// `isolation.level`: only what is decided.
    pub read_committed: bool,
}

/// How a follower wants to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowerQuery {
    /// Whom to ask.
    pub leader: NodeId,
    /// The leader epoch of which this follower knows.
    pub leader_epoch: i32,
    /// Its log end.
    pub fetch_offset: i64,
    /// Epoch of its last record; -1 none, or the guard `epoch-truncation` is off.
    pub last_fetched_epoch: i32,
    /// Its log start.
    pub log_start_offset: i64,
}

/// The leader's answer to a [`FollowerQuery`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowerAnswer {
    /// The query's leader epoch.
    pub leader_epoch: i32,
    /// The query's fetch offset.
    pub fetch_offset: i64,
    /// The partition's error.
    pub error: ErrorCode,
    /// Where the logs part: epoch and its end offset in the leader's log. With OFFSET_OUT_OF_RANGE: the leader's last epoch and log end.
    pub diverging: Option<(i32, i64)>,
    /// The leader's high watermark.
    pub high_watermark: i64,
    /// The leader's log start.
    pub log_start_offset: i64,
    /// Batches.
    pub records: Bytes,
}

/// The answer to [`Event::Fetch`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchAnswerOut {
    /// None, or why there are no records.
    pub error: ErrorCode,
    /// As [`FollowerAnswer::diverging`]: to be sent with an error too.
    pub diverging: Option<(i32, i64)>,
    /// -1 with an error other than OFFSET_OUT_OF_RANGE.
    pub high_watermark: i64,
    /// As `high_watermark`.
    pub last_stable_offset: i64,
    /// As `high_watermark`.
    pub log_start_offset: i64,
    /// Whole batches; the first holds the offset asked for.
    pub records: Bytes,
    /// For a reader of committed records: producer and first offset of each aborted transaction within.
    pub aborted: Option<Vec<(i64, i64)>>,
}

/// What a produce request's partition is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Produced {
    /// Offset of the first record.
    pub base_offset: i64,
    /// The log's start.
    pub log_start_offset: i64,
    /// Milliseconds; -1: the producer's own timestamps stand. Of a batch that was in the log before, its greatest
    /// timestamp.
    pub append_time: i64,
}

/// A change of the ISR that this leader proposes (AlterPartition).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlterProposal {
    /// This leader's epoch.
    pub leader_epoch: i32,
    /// The partition epoch that the change builds on.
    pub partition_epoch: i32,
    /// Members with the broker epochs that they fetched with; -1 where none is known, the leader's own among them
    /// unless metadata listed it as eligible.
    pub isr: Vec<(NodeId, i64)>,
    /// Leader recovery state after the change; always recovered.
    pub recovering: bool,
}

/// The controller accepted a proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlteredPartition {
    /// Leader after the change.
    pub leader: Option<NodeId>,
    /// Its epoch.
    pub leader_epoch: i32,
    /// Committed ISR.
    pub isr: Vec<NodeId>,
    /// Committed partition epoch.
    pub partition_epoch: i32,
    /// Leader recovery state.
    pub recovering: bool,
}

/// A proposal was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlterFailure {
    /// The controller said so.
    Code(ErrorCode),
    /// No answer came: it may or may not have been accepted.
    Lost,
}

/// What a replica is told. Each event belongs to one step.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Load the log.
    Start,
    /// Metadata: a new state, or the same with other eligible brokers.
    State(PartitionState),
    /// Settings changed.
    Config { min_insync_replicas: i32, log: LogConfig },
    /// Delete what has gone out of date.
    Expire,
    /// Compact the log; ends in one [`Command::CleanEnded`], unless the disk fails first. `recovery_point` is what the checkpoint on
    /// disk says, `dedupe_buffer_bytes` is `log.cleaner.dedupe.buffer.size`.
    Clean { recovery_point: i64, dedupe_buffer_bytes: u64 },
    /// Records below `offset` (-1: all that is committed) are not wanted any more; ends in one [`Command::RecordsDeleted`], when
    /// no live replica has them or the deadline has come.
    DeleteRecords { ticket: u64, offset: i64, deadline_ns: u64 },
    /// Append; ends in one [`Command::Produced`].
    Produce { ticket: u64, acks: i16, batches: Vec<Batch>, deadline_ns: u64 },
    /// A follower's fetch offset as its acknowledgement, once for each fetch request.
    FollowerFetched(FetchQuery),
    /// Answer now with what is there; ends in one [`Command::Fetched`].
    Fetch { ticket: u64, query: FetchQuery },
    /// The leader answered this follower.
    FetchAnswer(FollowerAnswer),
    /// -1 latest, -2 earliest, -3 greatest timestamp, else the first offset at or after a time in milliseconds; ends in one
    /// [`Command::OffsetListed`].
    ListOffsets { ticket: u64, current_leader_epoch: i32, timestamp: i64, read_committed: bool, from_client: bool },
    /// The answer to [`Command::Alter`].
    AlterAnswer { result: Result<AlteredPartition, AlterFailure> },
    /// The log's directory failed under another log.
    DirFailed(DiskError),
    /// A completion.
    DiskDone(DiskDone),
    /// [`crate::Replica::deadline`] has come.
    Deadline,
    /// Flush, then [`Command::Stopped`].
    Stop,
}

impl Event {
    /// It asks for what is there and changes nothing that others see, no deadline either.
    pub fn looks_only(&self) -> bool {
        matches!(self, Event::Fetch { .. })
    }
}

/// What a replica wants done, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// A disk operation.
    Disk(DiskRequest),
    /// The end of a produce, with acks=0 too.
    Produced { ticket: u64, result: Result<Produced, ErrorCode> },
    /// The end of a fetch.
    Fetched { ticket: u64, answer: FetchAnswerOut },
    /// Timestamp (-1 for latest and earliest), offset (-1 if none is that late) and leader epoch (-1 unknown).
    OffsetListed { ticket: u64, result: Result<(i64, i64, i32), ErrorCode> },
    /// The low watermark: no live replica has anything below it.
    RecordsDeleted { ticket: u64, result: Result<i64, ErrorCode> },
    /// The log was cut, or is loaded: checkpoints that say more than is there must be written anew, before what comes next.
    Truncated,
    /// Ask the controller; ends in one [`Event::AlterAnswer`]. At most one is open.
    Alter(AlterProposal),
    /// High watermark, log end, epoch, role or the wish to fetch changed: look again at parked fetches and at `next_fetch`.
    Progress,
    /// The end of an [`Event::Clean`], whatever came of it.
    CleanEnded,
    /// After [`Event::Stop`]: all that was written is durable, or the disk failed.
    Stopped,
    /// The disk failed; the replica is offline.
    Failed(DiskError),
}

/// Whether a parked fetch should be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Available {
    /// Bytes that could be given now, up to the query's limit.
    pub bytes: u64,
    /// Do not wait: the answer is an error, a divergence or out of range.
    pub answer_now: bool,
}
