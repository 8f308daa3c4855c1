//! What the black-box judge looks for, by Jepsen's names, and what of it Kafka permits.

/// One class of anomaly that clients alone can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anomaly {
    /// Jepsen's name for it, stable.
    pub name: &'static str,
    /// What it is, in one line.
    pub summary: &'static str,
    /// What counts as one test of it.
    pub premise: &'static str,
    /// The rule that it breaks, in one sentence.
    pub rule: &'static str,
    /// When Kafka permits it.
    pub legality: Legality,
}

/// When an anomaly is no breach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Legality {
    /// Kafka never permits it.
    Never,
    /// Kafka promises nothing of the kind.
    Always,
    /// In a history with `subscribe`: partitions move at any time, and positions with them.
    Subscribed,
    /// If the producer did not ask for acks=all.
    WeakAcks,
    /// If the producer is not idempotent: a retry may write a record twice.
    NotIdempotent,
    /// If the producer did not ask for acks=all, or nobody read the partition from its beginning after the send: late and
    /// lost look alike.
    NoFinalPolls,
    /// If the order of writes was drawn into the graph: Kafka does not isolate writes.
    WriteOrder,
}

impl Legality {
    /// In words, for people.
    pub fn words(self) -> &'static str {
        match self {
            Legality::Never => "never",
            Legality::Always => "always: Kafka does not isolate the writes of a transaction",
            Legality::Subscribed => "if the history has a `subscribe`: partitions then move at any time",
            Legality::WeakAcks => "if the producer did not ask for acks=all",
            Legality::NotIdempotent => "if the producer is not idempotent",
            Legality::NoFinalPolls => {
                "if the producer did not ask for acks=all, or if nobody read the partition from its beginning after \
                 the send: late and lost look alike then"
            }
            Legality::WriteOrder => "if edges between writes were drawn: Kafka does not isolate writes",
        }
    }
}

pub(super) const LOST_WRITE: &str = "lost-write";
pub(super) const INCONSISTENT: &str = "inconsistent-offsets";
pub(super) const DUPLICATE: &str = "duplicate";
pub(super) const G1A: &str = "G1a";
pub(super) const PRECOMMITTED: &str = "precommitted-read";
pub(super) const UNSEEN: &str = "unseen";
pub(super) const G1C: &str = "G1c";
pub(super) const G0: &str = "G0";
pub(super) const POLL_SKIP: &str = "poll-skip";
pub(super) const POLL_BACK: &str = "nonmonotonic-poll";
pub(super) const INT_POLL_SKIP: &str = "int-poll-skip";
pub(super) const INT_POLL_BACK: &str = "int-nonmonotonic-poll";
pub(super) const SEND_BACK: &str = "nonmonotonic-send";
pub(super) const INT_SEND_BACK: &str = "int-nonmonotonic-send";
pub(super) const INT_SEND_SKIP: &str = "int-send-skip";

/// Every class, root causes first.
pub const ANOMALIES: [Anomaly; 15] = [
    Anomaly {
        name: LOST_WRITE,
        summary: "a value that is surely written was never polled, though later ones of its partition were",
        premise: "a value surely written, at or below the highest offset that anybody polled",
        rule: "What is acknowledged, or was seen of a transaction, is read by those who read past it.",
        legality: Legality::WeakAcks,
    },
    Anomaly {
        name: INCONSISTENT,
        summary: "one offset of a partition held different values",
        premise: "an offset that was seen again after somebody had seen it first",
        rule: "An offset holds one value, for everybody and for ever.",
        legality: Legality::Never,
    },
    Anomaly {
        name: DUPLICATE,
        summary: "one value stands at several offsets of its partition",
        premise: "a value whose offset is known",
        rule: "A record that was sent once is written once.",
        legality: Legality::NotIdempotent,
    },
    Anomaly {
        name: G1A,
        summary: "aborted read: a value was polled although its send had definitely failed",
        premise: "a value whose send failed",
        rule: "What failed is not written.",
        legality: Legality::Never,
    },
    Anomaly {
        name: PRECOMMITTED,
        summary: "a transaction polled a value that it sent itself, before it was committed",
        premise: "an operation that both sent and polled",
        rule: "Nobody reads a transaction before it is committed, not even the transaction itself.",
        legality: Legality::Never,
    },
    Anomaly {
        name: G1C,
        summary: "circular flow: transactions that each polled what the next one had sent",
        premise: "a transaction polled what another one that polls as well had sent",
        rule: "What a transaction read happened before it; nothing happens before itself.",
        legality: Legality::WriteOrder,
    },
    Anomaly {
        name: UNSEEN,
        summary: "an acknowledged value was never polled, though its partition was read from the beginning at the end",
        premise: "a value acknowledged before its partition was read from the beginning",
        rule: "A reader who begins at the beginning in the end sees all that is written.",
        legality: Legality::NoFinalPolls,
    },
    Anomaly {
        name: INT_POLL_SKIP,
        summary: "within one operation a consumer jumped over a value that is there",
        premise: "two values of one partition polled one after the other within an operation",
        rule: "A consumer reads a partition without a gap.",
        legality: Legality::Never,
    },
    Anomaly {
        name: INT_POLL_BACK,
        summary: "within one operation a consumer read backwards, or the same again",
        premise: "two values of one partition polled one after the other within an operation",
        rule: "A consumer reads a partition forwards.",
        legality: Legality::Never,
    },
    Anomaly {
        name: POLL_SKIP,
        summary: "from one operation to the next a consumer jumped over a value that is there",
        premise: "a partition polled again by the same process, not positioned anew in between",
        rule: "A consumer reads on where it stopped.",
        legality: Legality::Subscribed,
    },
    Anomaly {
        name: POLL_BACK,
        summary: "from one operation to the next a consumer went backwards",
        premise: "a partition polled again by the same process, not positioned anew in between",
        rule: "A consumer reads on where it stopped.",
        legality: Legality::Subscribed,
    },
    Anomaly {
        name: INT_SEND_BACK,
        summary: "within one operation a later send stands before an earlier one",
        premise: "two sends of one operation to one partition, both at known offsets",
        rule: "A producer's records stand in the order in which it sent them.",
        legality: Legality::Never,
    },
    Anomaly {
        name: SEND_BACK,
        summary: "a process sent again after its send had ended, and the later value stands first",
        premise: "a process sent to a partition again, both at known offsets",
        rule: "A producer's records stand in the order in which it sent them.",
        legality: Legality::Never,
    },
    Anomaly {
        name: INT_SEND_SKIP,
        summary: "another's record stands between two sends of one operation",
        premise: "two sends of one operation to one partition, both at known offsets",
        rule: "The writes of a transaction stand together.",
        legality: Legality::Always,
    },
    Anomaly {
        name: G0,
        summary: "write cycle: transactions whose writes stand in different orders in different partitions",
        premise: "a value follows another transaction's value in a partition",
        rule: "The writes of transactions have one order.",
        legality: Legality::Always,
    },
];

/// The class of this name.
pub fn anomaly(name: &str) -> Option<&'static Anomaly> {
    ANOMALIES.iter().find(|anomaly| anomaly.name == name)
}
