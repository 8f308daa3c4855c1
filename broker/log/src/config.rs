//! What a log may be told.

/// Limits of one log. The defaults are Kafka's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// `segment.bytes`: a segment never grows beyond this, unless by its first batch.
    pub segment_bytes: u32,
    /// `segment.ms`: roll when the incoming batch is this much newer than the segment's first one.
    pub segment_ms: i64,
    /// `index.interval.bytes`: one index entry for about this many bytes of batches.
    pub index_interval_bytes: u32,
    /// `segment.index.bytes`: roll when the index file would be larger.
    pub max_index_bytes: u32,
    /// `max.message.bytes`: the largest batch that a leader takes, in bytes.
    pub max_message_bytes: u32,
    /// `flush.messages`: force a sync when this many records are not durable. The end of the log then moves only with
    /// the sync, so that an acknowledgement rests on it.
    pub flush_messages: i64,
    /// `flush.ms`: sync when records were not durable for so long.
    pub flush_ms: i64,
    /// `cleanup.policy` contains `delete`.
    pub delete: bool,
    /// `cleanup.policy` contains `compact`: offsets may have gaps.
    pub compact: bool,
    /// `retention.ms`: a segment goes when its newest record is older than this; -1 never.
    pub retention_ms: i64,
    /// `retention.bytes`: the oldest segments go while the others hold at least this much; -1 never.
    pub retention_bytes: i64,
    /// When and how a compacted log is cleaned.
    pub compaction: Compaction,
    /// `file.delete.delay.ms`: how long the files of deleted segments stay, under another name.
    pub file_delete_delay_ms: u64,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 3_600_000,
            index_interval_bytes: 4096,
            max_index_bytes: 10 << 20,
            max_message_bytes: 1_048_588,
            flush_messages: i64::MAX,
            flush_ms: i64::MAX,
            delete: true,
            compact: false,
            retention_ms: 7 * 24 * 3_600_000,
            retention_bytes: -1,
            compaction: Compaction::KAFKAS,
            file_delete_delay_ms: 60_000,
        }
    }
}

/// When and how a compacted log is cleaned [L23] [L25].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compaction {
    /// `min.cleanable.dirty.ratio`, in millionths: a clean is due when more of the log than this is dirty.
    pub min_dirty_millionths: u32,
    /// `delete.retention.ms`: how long tombstones and markers stay after the first clean that could drop them.
    pub delete_retention_ms: i64,
    /// `min.compaction.lag.ms`: a record is not cleaned before it is so old.
    pub min_lag_ms: i64,
    /// `max.compaction.lag.ms`: a clean is due when something dirty is older.
    pub max_lag_ms: i64,
}

impl Compaction {
    /// Kafka's defaults.
    pub const KAFKAS: Compaction = Compaction {
        min_dirty_millionths: 500_000,
        delete_retention_ms: 24 * 3_600_000,
        min_lag_ms: 0,
        max_lag_ms: i64::MAX,
    };
}

impl LogConfig {
    /// How old a segment may get before it is rolled: what is written to is never cleaned, so a compacted log rolls in time for
    /// `max.compaction.lag.ms`.
    pub(crate) fn roll_ms(&self) -> i64 {
        match self.compaction.max_lag_ms {
            lag if self.compact && lag > 0 => self.segment_ms.min(lag),
            _ => self.segment_ms,
        }
    }
}
