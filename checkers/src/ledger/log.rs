//! The judge's own model of the logs of one partition: which batches each replica holds.
//!
//! A batch as stored, with everything before it, is a *version*. Versions form a tree; a log is a path in it. So two logs
//! share a prefix exactly when they share versions, and what a log lost is what was popped from its path.

use super::compaction::Left;
use super::harm::Place;
use super::starts::Starts;
use crate::nodes::{NodeIndex, NodeSet};
use klamm_base::{KeyFact, Sequences, TruncationCause};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A version of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct VersionId(pub u32);

/// What became of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Never below a leader's high watermark: it may vanish.
    Open,
    /// Below one, and in the log of every leader since.
    Committed,
    /// Below one, and missing from a later leader's log: an index into the partition's losses.
    Lost(usize),
}

/// How a version was committed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Commit {
    /// Entry of the high watermark's move.
    pub at: u32,
    /// By which leader.
    pub leader: NodeIndex,
    /// The leader's view of its ISR then: an index into the partition's views.
    pub view: Option<usize>,
    /// How many decisions of the controller were known to the judge then.
    pub decided: usize,
}

/// A batch where it was stored.
#[derive(Debug)]
pub(crate) struct Version {
    pub base: i64,
    pub last: i64,
    pub epoch: i32,
    pub batch: u64,
    /// [`klamm_base::chain`] up to and with this batch.
    pub digest: u64,
    /// Where the log begins that it was first seen in: digests of other beginnings do not compare.
    pub root: i64,
    pub parent: Option<VersionId>,
    /// The first version seen to follow it; others are in the partition's `forks`.
    pub next: Option<VersionId>,
    /// Bytes that a restart found and nobody had announced: `batch` and `epoch` are unknown.
    pub opaque: bool,
    /// Where the log began whose digest an opaque version ends with.
    pub under: i64,
    /// What it says of its producer, and that producer's batch before it.
    pub producer: Option<Sequences>,
    pub prior: Option<VersionId>,
    /// In a compacted topic: of each of its records, if they were told.
    pub keys: Box<[KeyFact]>,
    /// Entry of its first append.
    pub first: u32,
    pub fate: Fate,
    /// A leader deleted it by rule.
    pub deleted: bool,
    pub commit: Option<Commit>,
    /// Every replica that ever held it.
    pub held: NodeSet,
    /// Replicas whose copy the script destroyed (power loss before a flush, a wiped disk) and that have not got it again.
    pub destroyed: NodeSet,
}

/// The last high watermark that a replica announced.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    pub to: i64,
    pub epoch: i32,
    pub incarnation: u32,
    pub as_leader: bool,
    pub at: u32,
}

/// The last cut of a log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    pub at: u32,
    pub to: i64,
    pub cause: TruncationCause,
}

/// The log of one partition on one node.
#[derive(Debug, Default)]
pub(crate) struct LogModel {
    /// Where the path begins: at or below where the log does. What the log deleted from its front stays in the path.
    pub start: i64,
    pub starts: Starts,
    /// Ascending, contiguous from `start`.
    pub path: Vec<VersionId>,
    /// The last batch of each producer.
    pub writers: BTreeMap<i64, VersionId>,
    pub end: i64,
    /// All below was flushed.
    pub flushed: i64,
    /// So many versions at the front of the path are known to be committed.
    pub marked: usize,
    pub mark: Option<Mark>,
    pub cut: Option<Cut>,
    /// Entry of the last load; 0 before.
    pub loaded: u32,
    /// In which of its node's lives that was.
    pub life: u32,
    /// Whether anything was ever told of this log.
    pub known: bool,
    /// Its broker leads, as far as that knows.
    pub leads: bool,
    /// The leader's current view of its ISR: an index into the partition's views.
    pub view: Option<usize>,
    /// Where each batch stands in its file, by ascending offset; above `end` of no meaning.
    pub places: Vec<Place>,
    /// What cleans left of its batches, where that is not all.
    pub left: BTreeMap<VersionId, Arc<Left>>,
    /// Where its cleaned segments end: where their batches stand in their files nobody told.
    pub cleaned_to: i64,
}

/// An append that a sound log cannot make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AppendFault {
    /// It does not begin where the log ended.
    Gap { end: i64 },
    /// Its leader epoch is older than the one before it.
    EpochFell { before: i32 },
    /// Another batch, or the same after another prefix, stands at the same offset in the same epoch.
    Rival { other: VersionId },
    /// A follower has it, and no leader wrote it.
    Unwritten,
}

/// How a loaded log compares to the model of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reload {
    /// A prefix of what it held, or all of it.
    Prefix,
    /// Another known content: a cut that did not reach the disk, or an append whose completion nobody saw.
    Known,
    /// What it held, and more that nobody announced.
    Grown,
    /// It begins below all that its node told since it last began anew, as a cut that did not reach the disk leaves it.
    Moved,
    /// It begins where its node never said that it does.
    Beyond,
    /// No history of appends explains it.
    Unexplained,
}
