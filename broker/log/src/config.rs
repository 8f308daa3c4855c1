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
        }
    }
}
