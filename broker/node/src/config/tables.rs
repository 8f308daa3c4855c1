//! The settings by name. A key that is taken and has no effect yet says so.

use klamm_base::{Key, Kind, Table};

const fn int(name: &'static str, min: i64, max: i64, default: &'static str, doc: &'static str) -> Key {
    Key { name, kind: Kind::Int { min, max }, default, doc }
}

const fn switch(name: &'static str, default: &'static str, doc: &'static str) -> Key {
    Key { name, kind: Kind::Bool, default, doc }
}

const fn share(name: &'static str, default: &'static str, doc: &'static str) -> Key {
    Key { name, kind: Kind::Share, default, doc }
}

const fn text(name: &'static str, default: &'static str, doc: &'static str) -> Key {
    Key { name, kind: Kind::Text, default, doc }
}

const fn word(name: &'static str, words: &'static [&'static str], default: &'static str, doc: &'static str) -> Key {
    Key { name, kind: Kind::OneOf(words), default, doc }
}

const I16: i64 = i16::MAX as i64;
const I32: i64 = i32::MAX as i64;
const POLICIES: &[&str] = &["delete", "compact", "compact,delete", "delete,compact"];
const CODECS: &[&str] = &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"];
const GZIP_LEVELS: &[&str] = &["-1", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
const TIMESTAMPS: &[&str] = &["CreateTime", "LogAppendTime"];

const COMPRESSION: Key = word("compression.type", CODECS, "producer", "How batches are kept; producer: as they came.");
const GZIP_LEVEL: Key =
    word("compression.gzip.level", GZIP_LEVELS, "-1", "Where a batch is compressed anew with gzip; -1: its default.");
const LZ4_LEVEL: Key = int("compression.lz4.level", 1, 17, "9", "Taken, no effect: our LZ4 has one level.");
const ZSTD_LEVEL: Key = int("compression.zstd.level", -131_072, 22, "3", "Where a batch is compressed anew with zstd.");

const fn timestamp_type(name: &'static str) -> Key {
    word(name, TIMESTAMPS, "CreateTime", "Whose time records carry: the producer's, or the broker's on appending.")
}

const fn timestamp_before(name: &'static str) -> Key {
    int(name, 0, i64::MAX, "9223372036854775807", "How far a record's time may lie before the broker's, ms.")
}

const fn timestamp_after(name: &'static str) -> Key {
    int(name, 0, i64::MAX, "3600000", "How far a record's time may lie after the broker's, ms.")
}

/// Settings of a node.
pub const BROKER: Table = Table {
    what: "broker",
    keys: &[
        text("process.roles", "", "broker, controller or both with a comma; must be given."),
        int("node.id", -1, I32, "-1", "This node's number, from 0; must be given."),
        text("controller.quorum.voters", "", "The controller as id@host:port; must be given."),
        text("controller.listener.names", "", "Taken, no effect yet: one listener serves all."),
        text(
            "klamm.cluster.id",
            "a2xhbW0ta2xhbW0ta2xhbQ",
            "The cluster's id. Kafka's is written when a disk is formatted.",
        ),
        text("listeners", "PLAINTEXT://:9092", "Where to listen, NAME://host:port."),
        text("advertised.listeners", "", "Where others connect; empty: as `listeners`."),
        text("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT", "Taken, no effect yet: all is plain text."),
        text("inter.broker.listener.name", "", "Taken, no effect yet: one listener serves all."),
        text("broker.rack", "", "The rack; empty: none."),
        text("log.dirs", "klamm-data", "Data directories with a comma between. Kafka's default lies in /tmp."),
        int(
            "log.dir.failure.timeout.ms",
            1,
            i64::MAX,
            "30000",
            "From a directory's failure until the broker stops if no controller could be told, ms.",
        ),
        int("broker.heartbeat.interval.ms", 1, I32, "2000", "Between heartbeats, ms."),
        int("broker.session.timeout.ms", 1, I32, "9000", "Without a heartbeat until a broker is fenced, ms."),
        int("controller.quorum.request.timeout.ms", 1, I32, "2000", "For fetches of the metadata log, ms."),
        int("request.timeout.ms", 1, I32, "30000", "For other requests among nodes, ms."),
        switch("controlled.shutdown.enable", "true", "Hand leaderships over before stopping."),
        int("socket.request.max.bytes", 1, I32, "104857600", "The largest request, bytes."),
        int("fetch.max.bytes", 1024, I32, "57671680", "The most that one fetch answers, bytes."),
        int(
            "replica.lag.time.max.ms",
            1,
            i64::MAX,
            "30000",
            "Without being caught up until a replica leaves the ISR, ms.",
        ),
        int("replica.fetch.wait.max.ms", 0, I32, "500", "How long a follower's fetch may wait, ms."),
        int("replica.fetch.min.bytes", 0, I32, "1", "What a follower's fetch waits for, bytes."),
        int("replica.fetch.max.bytes", 0, I32, "1048576", "The most that a follower fetches of one partition, bytes."),
        int("replica.fetch.response.max.bytes", 0, I32, "10485760", "The most that a follower's fetch answers, bytes."),
        int("replica.fetch.backoff.ms", 0, I32, "1000", "After a failed fetch of a partition, ms."),
        int("replica.socket.timeout.ms", 1, I32, "30000", "Until a follower gives its fetch up, ms."),
        switch("auto.create.topics.enable", "true", "A Metadata request may create a topic."),
        int("num.partitions", 1, I32, "1", "Partitions of a topic that names no number."),
        int("default.replication.factor", 1, I16, "1", "Replicas of a topic that names no number."),
        int("min.insync.replicas", 1, I32, "1", "In-sync replicas that an acks=all write needs."),
        switch("unclean.leader.election.enable", "false", "A replica that is not in sync may lead when none is."),
        int("log.segment.bytes", 14, I32, "1073741824", "Size of a segment, bytes."),
        int("log.roll.ms", -1, i64::MAX, "-1", "Age of a segment, ms; -1: log.roll.hours."),
        int("log.roll.hours", 1, I32, "168", "Age of a segment, hours."),
        int("log.index.interval.bytes", 0, I32, "4096", "Between two entries of the offset index, bytes."),
        int("log.index.size.max.bytes", 4, I32, "10485760", "Size of an offset index, bytes."),
        int("message.max.bytes", 0, I32, "1048588", "The largest record batch, bytes."),
        int("log.flush.interval.messages", 1, i64::MAX, "9223372036854775807", "Records between two flushes."),
        int(
            "log.flush.interval.ms",
            -1,
            i64::MAX,
            "-1",
            "How long records may be not durable, ms; -1: until the system writes them.",
        ),
        int(
            "log.flush.offset.checkpoint.interval.ms",
            1,
            I32,
            "60000",
            "Between two checkpoints of recovery points, ms.",
        ),
        int(
            "log.flush.start.offset.checkpoint.interval.ms",
            1,
            I32,
            "60000",
            "Between two checkpoints of log starts, ms.",
        ),
        int(
            "replica.high.watermark.checkpoint.interval.ms",
            1,
            I32,
            "5000",
            "Between two checkpoints of high watermarks, ms.",
        ),
        int("log.retention.ms", -1, i64::MAX, "-1", "Age at which records expire, ms; -1: log.retention.minutes."),
        int("log.retention.minutes", -1, I32, "-1", "Age at which records expire, minutes; -1: log.retention.hours."),
        int("log.retention.hours", -1, I32, "168", "Age at which records expire, hours; -1: never."),
        int(
            "log.retention.bytes",
            -1,
            i64::MAX,
            "-1",
            "What a partition keeps at most, bytes, rounded up to segments; -1: all.",
        ),
        int("log.retention.check.interval.ms", 1, i64::MAX, "300000", "Between two looks for what has expired, ms."),
        int("log.initial.task.delay.ms", 0, i64::MAX, "30000", "From the start to the first look, ms."),
        int("log.segment.delete.delay.ms", 0, i64::MAX, "60000", "From a segment's deletion to that of its files, ms."),
        switch("log.cleaner.enable", "true", "Compact logs whose policy says so."),
        int("log.cleaner.threads", 1, 1, "1", "Logs that are compacted at once; more than one is not done."),
        int("log.cleaner.backoff.ms", 0, i64::MAX, "15000", "Between two looks for a log to compact, ms."),
        int(
            "log.cleaner.dedupe.buffer.size",
            1 << 20,
            i64::MAX,
            "134217728",
            "What the keys of a clean may take, bytes.",
        ),
        share("log.cleaner.min.cleanable.ratio", "0.5", "How much of a log must be dirty before it is compacted."),
        int("log.cleaner.delete.retention.ms", 0, i64::MAX, "86400000", "How long a deletion stays to be read, ms."),
        int("log.cleaner.min.compaction.lag.ms", 0, i64::MAX, "0", "Age below which a record is not compacted, ms."),
        int(
            "log.cleaner.max.compaction.lag.ms",
            1,
            i64::MAX,
            "9223372036854775807",
            "Age above which a record is compacted however little is dirty, ms.",
        ),
        word("log.cleanup.policy", POLICIES, "delete", "What becomes of old records: delete, compact, or both."),
        COMPRESSION,
        GZIP_LEVEL,
        LZ4_LEVEL,
        ZSTD_LEVEL,
        timestamp_type("log.message.timestamp.type"),
        timestamp_before("log.message.timestamp.before.max.ms"),
        timestamp_after("log.message.timestamp.after.max.ms"),
        int("metadata.log.segment.bytes", 12, I32, "1073741824", "Size of a segment of the metadata log, bytes."),
    ],
};

/// Settings of a topic.
pub const TOPIC: Table = Table {
    what: "topic",
    keys: &[
        int("min.insync.replicas", 1, I32, "1", "In-sync replicas that an acks=all write needs."),
        switch("unclean.leader.election.enable", "false", "A replica that is not in sync may lead when none is."),
        int("segment.bytes", 14, I32, "1073741824", "Size of a segment, bytes."),
        int("segment.ms", 1, i64::MAX, "604800000", "Age of a segment, ms."),
        int("max.message.bytes", 0, I32, "1048588", "The largest record batch, bytes."),
        int("flush.messages", 1, i64::MAX, "9223372036854775807", "Records between two flushes."),
        int("index.interval.bytes", 0, I32, "4096", "Between two entries of the offset index, bytes."),
        int("flush.ms", 0, i64::MAX, "9223372036854775807", "How long records may be not durable, ms."),
        int("segment.index.bytes", 4, I32, "10485760", "Size of an offset index, bytes."),
        int("file.delete.delay.ms", 0, i64::MAX, "60000", "From a segment's deletion to that of its files, ms."),
        int("retention.ms", -1, i64::MAX, "604800000", "Age at which records expire, ms; -1: never."),
        int(
            "retention.bytes",
            -1,
            i64::MAX,
            "-1",
            "What a partition keeps at most, bytes, rounded up to segments; -1: all.",
        ),
        share("min.cleanable.dirty.ratio", "0.5", "How much of the log must be dirty before it is compacted."),
        int("delete.retention.ms", 0, i64::MAX, "86400000", "How long a deletion stays to be read, ms."),
        int("min.compaction.lag.ms", 0, i64::MAX, "0", "Age below which a record is not compacted, ms."),
        int(
            "max.compaction.lag.ms",
            1,
            i64::MAX,
            "9223372036854775807",
            "Age above which a record is compacted however little is dirty, ms.",
        ),
        word("cleanup.policy", POLICIES, "delete", "What becomes of old records: delete, compact, or both."),
        COMPRESSION,
        GZIP_LEVEL,
        LZ4_LEVEL,
        ZSTD_LEVEL,
        timestamp_type("message.timestamp.type"),
        timestamp_before("message.timestamp.before.max.ms"),
        timestamp_after("message.timestamp.after.max.ms"),
    ],
};
