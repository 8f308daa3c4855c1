//! What files and directories of a log directory are called [L9] [L10].

use std::fmt;

/// Names of the files that are there once in a partition's directory or in a log directory.
pub mod file {
    /// Leader epochs and their first offsets; in a partition's directory.
    pub const LEADER_EPOCHS: &str = "leader-epoch-checkpoint";
    /// The topic's id; in a partition's directory.
    pub const PARTITION_METADATA: &str = "partition.metadata";
    /// The voter's vote and epoch; in the metadata log's directory (KIP-595).
    pub const QUORUM_STATE: &str = "quorum-state";
    /// Offsets below which all was synced, by partition.
    pub const RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";
    /// High watermarks, by partition.
    pub const HIGH_WATERMARKS: &str = "replication-offset-checkpoint";
    /// Log starts that lie behind the first segment's base offset, by partition.
    pub const LOG_STARTS: &str = "log-start-offset-checkpoint";
    /// Offsets up to which the cleaner came, by partition.
    pub const CLEANER_OFFSETS: &str = "cleaner-offset-checkpoint";
    /// Ids of cluster, node and directory.
    pub const META_PROPERTIES: &str = "meta.properties";
    /// Written by a clean stop, consumed by the next start.
    pub const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";
    /// Metadata records that a formatted directory starts with; a snapshot in all but its name.
    pub const BOOTSTRAP: &str = "bootstrap.checkpoint";
    /// Held by the broker that runs on the directory; empty.
    pub const LOCK: &str = ".lock";
    /// Suffix of a checkpoint that is being written; renamed when it is whole.
    pub const TEMPORARY: &str = ".tmp";
}

/// What a file of a segment holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SegmentKind {
    /// `.log`: the batches.
    Log,
    /// `.index`: offset to position.
    OffsetIndex,
    /// `.timeindex`: timestamp to offset.
    TimeIndex,
    /// `.txnindex`: aborted transactions.
    TxnIndex,
    /// `.snapshot`: the producers at the offset in the name, which need not be a segment's.
    ProducerSnapshot,
}

impl SegmentKind {
    /// All kinds.
    pub const ALL: [SegmentKind; 5] = [
        SegmentKind::Log,
        SegmentKind::OffsetIndex,
        SegmentKind::TimeIndex,
        SegmentKind::TxnIndex,
        SegmentKind::ProducerSnapshot,
    ];

    /// The suffix of its name, dot included.
    pub fn suffix(self) -> &'static str {
        match self {
            SegmentKind::Log => ".log",
            SegmentKind::OffsetIndex => ".index",
            SegmentKind::TimeIndex => ".timeindex",
            SegmentKind::TxnIndex => ".txnindex",
            SegmentKind::ProducerSnapshot => ".snapshot",
        }
    }
}

/// What a second suffix says of a file that is on its way in or out [L17].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transient {
    /// `.cleaned`: written by the cleaner or a split, not yet whole; dropped at the next start.
    Cleaned,
    /// `.swap`: whole, about to take the place of the segments that it was made from; the next start completes that.
    Swap,
    /// `.deleted`: no part of the log any more; removed after a delay.
    Deleted,
}

impl Transient {
    /// All of them.
    pub const ALL: [Transient; 3] = [Transient::Cleaned, Transient::Swap, Transient::Deleted];

    /// The suffix, dot included.
    pub fn suffix(self) -> &'static str {
        match self {
            Transient::Cleaned => ".cleaned",
            Transient::Swap => ".swap",
            Transient::Deleted => ".deleted",
        }
    }
}

/// Cuts the suffix of a transient file off.
fn split_transient(name: &str) -> (&str, Option<Transient>) {
    let found = Transient::ALL.into_iter().find_map(|state| Some((name.strip_suffix(state.suffix())?, Some(state))));
    found.unwrap_or((name, None))
}

/// A number of exactly `width` digits.
fn digits<T: std::str::FromStr>(text: &str, width: usize) -> Option<T> {
    let whole = text.len() == width && text.bytes().all(|byte| byte.is_ascii_digit());
    if whole { text.parse().ok() } else { None }
}

/// The name of a segment's file: `00000000000000000042.log`, `00000000000000000042.index.deleted`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SegmentFile {
    /// Offset of its first record (of the first that could be in it); of a producer snapshot the offset it was taken at.
    pub base_offset: i64,
    /// What it holds.
    pub kind: SegmentKind,
    /// If it is on its way in or out.
    pub transient: Option<Transient>,
}

impl SegmentFile {
    /// A file that is there to stay.
    pub fn new(base_offset: i64, kind: SegmentKind) -> Self {
        Self { base_offset, kind, transient: None }
    }

    /// Reads a name; `None` if it is not one of a segment's file.
    pub fn parse(name: &str) -> Option<Self> {
        let (rest, transient) = split_transient(name);
        let with = |kind: SegmentKind| Some((rest.strip_suffix(kind.suffix())?, kind));
        let (number, kind) = SegmentKind::ALL.into_iter().find_map(with)?;
        Some(Self { base_offset: digits(number, 20)?, kind, transient })
    }
}

impl fmt::Display for SegmentFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transient = self.transient.map_or("", Transient::suffix);
        write!(f, "{:020}{}{transient}", self.base_offset, self.kind.suffix())
    }
}

/// The name of a snapshot of the metadata log: `00000000000000000470-0000000003.checkpoint` (KIP-630).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SnapshotName {
    /// One past the last offset that it stands for.
    pub end_offset: i64,
    /// Epoch of that last offset.
    pub epoch: i32,
    /// `.part`: it is being written or fetched, and no snapshot yet.
    pub partial: bool,
    /// `.deleted`: it is on its way out.
    pub deleted: bool,
}

impl SnapshotName {
    /// Reads a name; `None` if it is not one of a snapshot.
    pub fn parse(name: &str) -> Option<Self> {
        let (rest, deleted) = name.strip_suffix(".deleted").map_or((name, false), |rest| (rest, true));
        let (rest, partial) = rest.strip_suffix(".part").map_or((rest, false), |rest| (rest, true));
        let (end_offset, epoch) = rest.strip_suffix(".checkpoint")?.split_once('-')?;
        Some(Self { end_offset: digits(end_offset, 20)?, epoch: digits(epoch, 10)?, partial, deleted })
    }
}

impl fmt::Display for SnapshotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = if self.partial { ".part" } else { "" };
        let deleted = if self.deleted { ".deleted" } else { "" };
        write!(f, "{:020}-{:010}.checkpoint{part}{deleted}", self.end_offset, self.epoch)
    }
}

/// What the name of a partition's directory says of its log. The number is drawn anew for each such directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DirState {
    /// `TOPIC-PARTITION`
    Live,
    /// `TOPIC-PARTITION.UUID-delete`: deleted, removed after a delay.
    Deleted(u128),
    /// `TOPIC-PARTITION.UUID-future`: a copy on its way from another log directory (KIP-113).
    Future(u128),
    /// `TOPIC-PARTITION.UUID-stray`: the metadata knows of no such replica on this broker.
    Stray(u128),
}

/// The name of a partition's directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirName {
    /// Topic; in the name of a deleted or stray directory it may have been cut at its end to fit 255 characters.
    pub topic: String,
    /// Partition, from 0.
    pub partition: i32,
    /// What the rest of the name says.
    pub state: DirState,
}

/// Longest name that file systems take, in bytes.
const NAME_MAX: usize = 255;

impl DirName {
    /// The directory of a live log.
    pub fn new(topic: &str, partition: i32) -> Self {
        Self { topic: topic.to_owned(), partition, state: DirState::Live }
    }

    /// Reads a name; `None` if it is not one of a partition's directory.
    pub fn parse(name: &str) -> Option<Self> {
        let marked = |suffix: &str| {
            let (rest, unique) = name.strip_suffix(suffix)?.rsplit_once('.')?;
            Some((rest, hex(unique)?))
        };
        if let Some((rest, unique)) = marked("-delete") {
            return Self::of_partition(rest, DirState::Deleted(unique));
        }
        if let Some((rest, unique)) = marked("-future") {
            return Self::of_partition(rest, DirState::Future(unique));
        }
        if let Some((rest, unique)) = marked("-stray") {
            return Self::of_partition(rest, DirState::Stray(unique));
        }
        Self::of_partition(name, DirState::Live)
    }

    fn of_partition(name: &str, state: DirState) -> Option<Self> {
        let (topic, partition) = name.rsplit_once('-')?;
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let canonical = partition == "0" || !partition.starts_with('0');
        let well_formed = !topic.is_empty() && topic.bytes().all(legal) && canonical;
        let number = digits(partition, partition.len())?;
        well_formed.then(|| Self { topic: topic.to_owned(), partition: number, state })
    }
}

/// 32 hex digits.
fn hex(text: &str) -> Option<u128> {
    let whole = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if whole { u128::from_str_radix(text, 16).ok() } else { None }
}

impl fmt::Display for DirName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tail = match self.state {
            DirState::Live => format!("-{}", self.partition),
            DirState::Deleted(unique) => format!("-{}.{unique:032x}-delete", self.partition),
            DirState::Future(unique) => format!("-{}.{unique:032x}-future", self.partition),
            DirState::Stray(unique) => format!("-{}.{unique:032x}-stray", self.partition),
        };
        let room = NAME_MAX - tail.len();
        write!(f, "{}{tail}", self.topic.get(..room).unwrap_or(&self.topic))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_read_and_written(name: &str, expected: SegmentFile) {
        assert_eq!(SegmentFile::parse(name), Some(expected));
        assert_eq!(expected.to_string(), name);
    }

    #[test]
    fn a_segments_files_are_named_by_twenty_digits_and_what_they_hold() {
        is_read_and_written("00000000000000000042.log", SegmentFile::new(42, SegmentKind::Log));
        is_read_and_written("00000000000000000000.txnindex", SegmentFile::new(0, SegmentKind::TxnIndex));
        let swap = SegmentFile { transient: Some(Transient::Swap), ..SegmentFile::new(7, SegmentKind::TimeIndex) };
        is_read_and_written("00000000000000000007.timeindex.swap", swap);
        let gone =
            SegmentFile { transient: Some(Transient::Deleted), ..SegmentFile::new(7, SegmentKind::ProducerSnapshot) };
        is_read_and_written("00000000000000000007.snapshot.deleted", gone);
        for name in ["42.log", "00000000000000000042.txt", "0000000000000000004x.log", "00000000000000000042"] {
            assert_eq!(SegmentFile::parse(name), None, "{name}");
        }
        assert_eq!(SegmentFile::parse("99999999999999999999.log"), None, "no offset");
    }

    #[test]
    fn a_snapshot_of_the_metadata_log_is_named_by_its_end() {
        let whole = SnapshotName { end_offset: 470, epoch: 3, partial: false, deleted: false };
        assert_eq!(SnapshotName::parse("00000000000000000470-0000000003.checkpoint"), Some(whole));
        assert_eq!(whole.to_string(), "00000000000000000470-0000000003.checkpoint");
        let partial = SnapshotName { partial: true, ..whole };
        assert_eq!(SnapshotName::parse(&partial.to_string()), Some(partial));
        assert_eq!(SnapshotName::parse("bootstrap.checkpoint"), None);
    }

    #[test]
    fn a_directory_is_named_by_topic_and_partition_and_what_becomes_of_it() {
        let unique = 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef;
        let states = [DirState::Live, DirState::Deleted(unique), DirState::Future(unique), DirState::Stray(unique)];
        for state in states {
            let dir = DirName { state, ..DirName::new("a.b-c_d-7", 12) };
            assert_eq!(DirName::parse(&dir.to_string()), Some(dir));
        }
        let deleted = DirName { state: DirState::Deleted(unique), ..DirName::new("t", 0) };
        assert_eq!(deleted.to_string(), "t-0.0123456789abcdef0123456789abcdef-delete");
        for name in ["lost+found", "t", "-0", "t-", "t-01", "t-+1", "t--1x", "t 1-0"] {
            assert_eq!(DirName::parse(name), None, "{name}");
        }
    }

    #[test]
    fn a_topic_with_a_marks_own_ending_is_still_live() {
        let dir = DirName::new("orders.x-delete", 3);
        assert_eq!(DirName::parse("orders.x-delete-3"), Some(dir));
    }

    #[test]
    fn a_long_topic_is_cut_where_its_directory_is_marked() {
        let dir = DirName { state: DirState::Deleted(1), ..DirName::new(&"t".repeat(249), 100) };
        let name = dir.to_string();
        assert_eq!(name.len(), 255);
        assert_eq!(DirName::parse(&name).map(|dir| (dir.partition, dir.state)), Some((100, DirState::Deleted(1))));
    }
}
