//! What a replica is between two steps.

use crate::isr::Isr;
use crate::offsets::Asker;
use crate::{FetchQuery, PartitionState};
use klamm_base::NodeId;
use klamm_log::TimestampHit;
use std::collections::BTreeMap;

/// How far the replica's life has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Loading,
    Live,
    /// Told to stop; the log is being flushed.
    Stopping,
    Stopped,
    /// The disk failed.
    Failed,
}

/// What metadata makes of the replica.
#[derive(Debug)]
pub(crate) enum Standing {
    Follower(Following),
    /// Elected, while writes of an earlier role are still under way: the leadership begins when they are done.
    Assuming,
    Leader(Box<Leader>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Following {
    pub(crate) leader: Option<NodeId>,
    /// As the leader of this epoch told it last.
    pub(crate) leader_high_watermark: Option<i64>,
}

/// What a leader keeps.
#[derive(Debug)]
pub(crate) struct Leader {
    /// The log's end when the leadership began.
    pub(crate) epoch_start: i64,
    pub(crate) isr: Isr,
    /// The other replicas.
    pub(crate) peers: BTreeMap<NodeId, Peer>,
    /// When to look for lagging members, in monotonic nanoseconds.
    pub(crate) next_check_ns: u64,
    /// Committed and maximal ISR as they were observed last.
    pub(crate) noted: Option<(Vec<NodeId>, Vec<NodeId>)>,
}

/// What a leader knows of a follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// -1 until its first fetch in this leader epoch.
    pub(crate) log_end: i64,
    /// As `log_end`.
    pub(crate) log_start: i64,
    /// Wall clock, in milliseconds, when it last had all that this leader had [R10].
    pub(crate) caught_up_ms: i64,
    last_fetch_ms: i64,
    leader_end_at_last_fetch: i64,
    /// The incarnation that fetched; -1 unknown.
    pub(crate) broker_epoch: i64,
}

impl Peer {
    /// A follower at the beginning of a leadership: an ISR member counts as caught up.
    pub(crate) fn new(in_isr: bool, wall_ms: i64) -> Peer {
        let caught_up_ms = if in_isr { wall_ms } else { i64::MIN };
        Peer {
            log_end: -1,
            log_start: -1,
            caught_up_ms,
            last_fetch_ms: 0,
            leader_end_at_last_fetch: -1,
            broker_epoch: -1,
        }
    }

    /// It fetched from `offset`, so it has all below.
    pub(crate) fn fetched(&mut self, offset: i64, leader_end: i64, broker_epoch: i64, wall_ms: i64) {
        if offset >= leader_end {
            self.caught_up_ms = self.caught_up_ms.max(wall_ms);
        } else if self.leader_end_at_last_fetch >= 0 && offset >= self.leader_end_at_last_fetch {
            self.caught_up_ms = self.caught_up_ms.max(self.last_fetch_ms);
        }
        self.log_end = offset;
        self.last_fetch_ms = wall_ms;
        self.leader_end_at_last_fetch = leader_end;
        self.broker_epoch = broker_epoch;
    }

    /// It has all that the leader has, or had it less than `lag_ms` ago [R19].
    pub(crate) fn is_caught_up(&self, leader_end: i64, wall_ms: i64, lag_ms: i64) -> bool {
        self.log_end == leader_end || wall_ms.saturating_sub(self.caught_up_ms) <= lag_ms
    }
}

impl PartitionState {
    /// The broker epoch under which metadata lists `node` as eligible for the ISR.
    pub(crate) fn eligible_epoch(&self, node: NodeId) -> Option<i64> {
        self.eligible.iter().find(|(eligible, _)| *eligible == node).map(|(_, epoch)| *epoch)
    }

    /// An incarnation that fetched with `broker_epoch` may be in the ISR (KIP-841, KIP-903) [R20].
    pub(crate) fn is_eligible(&self, node: NodeId, broker_epoch: i64) -> bool {
        self.eligible_epoch(node).is_some_and(|known| broker_epoch == -1 || broker_epoch == known)
    }
}

/// A read under way, and what it is for.
#[derive(Clone, Debug)]
pub(crate) enum OpenRead {
    Fetch(OpenFetch),
    Timestamp(OpenLookup),
}

#[derive(Clone, Debug)]
pub(crate) struct OpenFetch {
    pub(crate) ticket: u64,
    pub(crate) query: FetchQuery,
    pub(crate) bounds: Bounds,
    pub(crate) end_offset: i64,
}

/// A batch that is read for a record of a certain time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OpenLookup {
    pub(crate) search: Search,
    pub(crate) leader_epoch: i32,
    pub(crate) hit: TimestampHit,
}

/// A search for a record by its time, and how far it has come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Search {
    pub(crate) ticket: u64,
    pub(crate) asker: Asker,
    /// As asked: -3 or a time.
    pub(crate) timestamp: i64,
    /// The last batch that was read and did not hold what its header told: the start of the log lies behind that record, or
    /// compaction took it.
    pub(crate) after: Option<TimestampHit>,
    /// The record with the greatest timestamp that was seen in such batches.
    pub(crate) greatest: Option<Found>,
}

/// A record: timestamp, offset and leader epoch.
pub(crate) type Found = (i64, i64, i32);

/// The bounds of one fetch, read once [L15].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) leader_epoch: i32,
    pub(crate) high_watermark: i64,
    pub(crate) log_start: i64,
    /// Below it every transaction is decided.
    pub(crate) last_stable_offset: i64,
    /// Only what lies below is given.
    pub(crate) below: i64,
}
