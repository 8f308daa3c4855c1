//! Settings of the clients: Kafka's keys and defaults.

use klamm_base::{Key, Kind, Table};

const fn int(name: &'static str, min: i64, max: i64, default: &'static str, doc: &'static str) -> Key {
    Key { name, kind: Kind::Int { min, max }, default, doc }
}

const MS_MAX: i64 = i32::MAX as i64;

/// What both kinds of client take.
const CLIENT_ID: Key =
    Key { name: "client.id", kind: Kind::Text, default: "klamm", doc: "Name of the client in its requests." };

/// Settings of a producer.
pub const PRODUCER: Table = Table {
    what: "producer",
    keys: &[
        CLIENT_ID,
        Key {
            name: "acks",
            kind: Kind::OneOf(&["all", "-1", "0", "1"]),
            default: "all",
            doc: "Who must hold a record before it is acknowledged: all in-sync replicas, the leader (1), nobody (0).",
        },
        Key {
            name: "enable.idempotence",
            kind: Kind::Bool,
            default: "true",
            doc: "Retries make no duplicates and keep the order (KIP-98); needs acks=all.",
        },
        Key {
            name: "compression.type",
            kind: Kind::OneOf(&["none", "gzip", "snappy", "lz4", "zstd"]),
            default: "none",
            doc: "How a batch's records are packed. A batch is full by its size before that.",
        },
        int("batch.size", 0, i32::MAX as i64, "16384", "Bytes at which a batch is full."),
        int("linger.ms", 0, MS_MAX, "5", "How long a batch waits for more records, in milliseconds."),
        int("max.in.flight.requests.per.connection", 1, 1000, "5", "Requests without an answer on one connection."),
        int("retries", 0, i32::MAX as i64, "2147483647", "Attempts after the first."),
        int("retry.backoff.ms", 0, MS_MAX, "100", "First pause before a retry, in milliseconds; it doubles."),
        int("retry.backoff.max.ms", 0, MS_MAX, "1000", "Longest pause before a retry, in milliseconds."),
        int("request.timeout.ms", 1, MS_MAX, "30000", "How long an answer may take, in milliseconds."),
        int("delivery.timeout.ms", 1, MS_MAX, "120000", "When the application is told at last, in milliseconds."),
        int("metadata.max.age.ms", 1, MS_MAX, "300000", "Metadata older than this is fetched anew, in milliseconds."),
        int("max.request.size", 1, i32::MAX as i64, "1048576", "Largest record, in bytes."),
    ],
};

/// Settings of a consumer.
pub const CONSUMER: Table = Table {
    what: "consumer",
    keys: &[
        CLIENT_ID,
        Key {
            name: "auto.offset.reset",
            kind: Kind::OneOf(&["latest", "earliest", "none"]),
            default: "latest",
            doc: "Where to go when the position is not in the log.",
        },
        Key {
            name: "isolation.level",
            kind: Kind::OneOf(&["read_uncommitted", "read_committed"]),
            default: "read_uncommitted",
            doc: "Whether records of open and aborted transactions are read.",
        },
        int("fetch.min.bytes", 0, i32::MAX as i64, "1", "A fetch waits for this many bytes."),
        int("fetch.max.wait.ms", 0, MS_MAX, "500", "How long a fetch waits for them, in milliseconds."),
        int("fetch.max.bytes", 0, i32::MAX as i64, "52428800", "Most bytes of a fetch."),
        int("max.partition.fetch.bytes", 0, i32::MAX as i64, "1048576", "Most bytes of a partition in a fetch."),
        int("retry.backoff.ms", 0, MS_MAX, "100", "Pause before a failed request is tried again, in milliseconds."),
        int("request.timeout.ms", 1, MS_MAX, "30000", "How long an answer may take, in milliseconds."),
        int("metadata.max.age.ms", 1, MS_MAX, "300000", "Metadata older than this is fetched anew, in milliseconds."),
    ],
};
