//! The words of this field, and of this house.

/// A word with its meaning.
#[derive(Clone, Copy, Debug)]
pub struct Term {
    /// As texts and reports write it.
    pub name: &'static str,
    /// What it means, and what follows from it.
    pub text: &'static str,
    /// The KIP or paper that it comes from; empty for words that need none.
    pub source: &'static str,
}

const fn term(name: &'static str, text: &'static str, source: &'static str) -> Term {
    Term { name, text, source }
}

/// Every term: Kafka's, then the judges', then the simulator's.
pub const TERMS: &[Term] = &[
    term(
        "partition",
        "One ordered log of a topic. Order, offsets and promises hold within a partition, never across two.",
        "",
    ),
    term("offset", "The place of a record in its partition's log: 0, 1, 2 … A record keeps its offset for ever.", ""),
    term(
        "replica",
        "One copy of a partition on one broker. One replica leads, the others fetch from it as a consumer would.",
        "",
    ),
    term("replication factor", "How many replicas a partition has.", ""),
    term(
        "leader",
        "The replica that takes writes and serves reads. It is elected by the controller for one leader epoch.",
        "",
    ),
    term(
        "in-sync replicas",
        "The ISR: the replicas that hold all that is committed, by the controller's record. A leader proposes who leaves \
         (lag beyond replica.lag.time.max.ms) and who joins (log end at the high watermark and at the epoch's start); the \
         controller decides. Leaders are elected from it.",
        "KIP-497",
    ),
    term(
        "maximal ISR",
        "Everybody who may be in the ISR while a change is on its way to the controller: the old members and the proposed \
         ones. The high watermark waits for all of them, since the controller may still elect any.",
        "KIP-497",
    ),
    term(
        "high watermark",
        "The offset below which everything is committed: every member of the maximal ISR holds it. Consumers read up to it. \
         It never goes back within a leader epoch, and nothing below it is lost while one in-sync replica lives.",
        "",
    ),
    term("log end offset", "LEO: the offset that the next record of this replica will get.", ""),
    term(
        "committed",
        "Below the high watermark of a leader. With acks=all a record is acknowledged only when it is committed.",
        "",
    ),
    term(
        "acks",
        "What a producer waits for: 0 nothing, 1 the leader's own append, all (-1) the high watermark. With 1 a record dies \
         with its leader if nobody fetched it; with 0 nobody is told of anything.",
        "",
    ),
    term(
        "min.insync.replicas",
        "With fewer members in the ISR a write with acks=all is refused (NOT_ENOUGH_REPLICAS) and the high watermark stands \
         still. It buys that an acknowledged record has so many copies, and costs availability.",
        "KIP-966",
    ),
    term(
        "unclean election",
        "A leader from outside of the ISR, when no member lives and unclean.leader.election.enable=true. The partition is \
         available again, and what only the ISR had is lost: exactly the suffix that the new leader lacks.",
        "",
    ),
    term(
        "leader epoch",
        "The number of a leadership; it rises with every change of leader and stands in every batch. Two logs that agree on \
         offset and epoch agree on everything before.",
        "KIP-101, KIP-279, KIP-320",
    ),
    term(
        "partition epoch",
        "The version of a partition's record at the controller; it rises with every change, of the ISR too.",
        "KIP-497",
    ),
    term(
        "broker epoch",
        "The number of a broker's registration. A request of an earlier life of the process carries an older one and is \
         refused.",
        "KIP-903",
    ),
    term(
        "truncation",
        "A new follower cuts its log to where it and its leader part, found by leader epochs. Cutting to one's own high \
         watermark instead loses committed records, since that is one fetch old.",
        "KIP-101, KIP-279",
    ),
    term("controller", "The node that decides on metadata: who leads, who is in sync, which brokers live.", "KIP-500"),
    term(
        "KRaft",
        "Kafka's own Raft: controllers keep metadata in a replicated log, __cluster_metadata, and brokers learn it by \
         fetching that log.",
        "KIP-500, KIP-595",
    ),
    term(
        "fencing",
        "Refusing what comes from the past: a broker whose session ended may not lead; a request with an older epoch has no \
         effect. Epochs are how it is done.",
        "KIP-631",
    ),
    term(
        "zombie",
        "A process that goes on after it was replaced, as a leader does that wakes from a pause. Nothing stops it from \
         answering; epochs stop what it says from counting.",
        "",
    ),
    term(
        "session",
        "A broker lives as long as its heartbeats come within broker.session.timeout.ms. A pause beyond it costs its \
         leaderships.",
        "KIP-631",
    ),
    term(
        "AlterPartition",
        "The request by which a leader asks the controller to change the ISR. It names the partition epoch that it builds \
         on, and one is on its way at a time.",
        "KIP-497",
    ),
    term(
        "flush",
        "Making bytes durable (fsync). Kafka does not flush before it acknowledges: copies on several machines are its \
         durability. Power lost everywhere at once takes what no machine had flushed.",
        "",
    ),
    term(
        "page cache",
        "Where written bytes are until the system writes them out. It outlives the process, and not the power.",
        "",
    ),
    term(
        "recovery",
        "What a broker does with its logs after an unclean end: from the last known good place on it checks every batch and \
         cuts the log at the first bad one.",
        "",
    ),
    term(
        "idempotent producer",
        "A producer with an id whose batches carry sequence numbers, so that a broker knows a retried batch again and writes \
         it once. It holds for one session of the producer and needs acks=all.",
        "KIP-98",
    ),
    term(
        "producer id",
        "The number by which brokers know an idempotent producer. The controller gives them out in blocks; none is given \
         twice.",
        "KIP-98, KIP-730",
    ),
    term(
        "sequence",
        "The number of a record within its producer id and partition. A gap is OUT_OF_ORDER_SEQUENCE_NUMBER, a repetition is \
         answered as the duplicate that it is.",
        "KIP-98",
    ),
    term(
        "in flight",
        "Sent and not answered. A producer may have five requests in flight to a broker; brokers remember the last five \
         batches of a producer for that reason.",
        "KAFKA-5494",
    ),
    term(
        "eligible leader replicas",
        "ELR: members that left the ISR while it was below min.insync.replicas and still hold all that is committed. Klamm \
         runs without it so far (eligible.leader.replicas.version=0).",
        "KIP-966",
    ),
    term("acked", "The broker told the client that the record is written, at an offset.", ""),
    term(
        "refused",
        "Every attempt ended in an error that says that nothing was written. The record is not in the log.",
        "",
    ),
    term(
        "unknown",
        "Some attempt may have been written: a time-out, a lost connection, or an error that leaves it open \
         (NOT_LEADER_OR_FOLLOWER, REQUEST_TIMED_OUT, NOT_ENOUGH_REPLICAS_AFTER_APPEND). A third outcome; who takes it for a \
         failure and sends again writes twice.",
        "",
    ),
    term("sent", "acks=0: written to a socket. Nobody will say more.", ""),
    term("property", "One thing that Kafka promises, as it is judged here. `klamm list properties` names them.", ""),
    term(
        "premise",
        "What must happen for a property to be tested at all. A run without it leaves the property not tested, never green.",
        "",
    ),
    term("obligation", "One occurrence of a premise: one time that the property could have been broken.", ""),
    term("held", "Verdict: the premise occurred, and each time the promise was kept.", ""),
    term("violated", "Verdict: the promise was broken. Exit code 1, with a witness and the line that repeats it.", ""),
    term(
        "allowed",
        "Verdict: something was lost, and a named setting (or a fault that destroyed every copy) permits exactly that. Told \
         as the price of the setting, with the records.",
        "",
    ),
    term(
        "not tested",
        "Verdict: the premise never occurred. Exit code 3 if the property is required by the profile or the script.",
        "",
    ),
    term("witness", "The smallest proof of a violation: two facts, and the rule that they break together.", ""),
    term(
        "root cause",
        "One lost record makes readers skip, logs differ and counts fall short. The first property in the list that is \
         broken names it; what follows is counted as derived.",
        "",
    ),
    term(
        "history",
        "Everything that happened in a run, in one order: what clients were told, what the stack did, what the world did. \
         The only thing that judges look at.",
        "",
    ),
    term(
        "ledger",
        "What the judge knows at each moment: who holds each record, where it is durable, who was told what.",
        "",
    ),
    term(
        "black-box",
        "Judged from what clients saw alone, as Jepsen does against a real system.",
        "Jepsen's Kafka workload",
    ),
    term(
        "white-box",
        "Judged from what the stack did inside, which only a simulator sees: logs, epochs, watermarks.",
        "",
    ),
    term(
        "guard",
        "One of Kafka's protections behind a switch. `--without NAME` takes it away, and a campaign must then find the bug \
         that it was bought with. `klamm list guards` names them.",
        "",
    ),
    term(
        "depth",
        "How many faults or timings must come in the right order for a bug to show. A random search needs the more seeds, \
         the deeper it is.",
        "",
    ),
    term(
        "mark",
        "A rare course of events that a sweep should really have met somewhere. A profile lists those that a sweep of a \
         hundred seeds must hit; `klamm list marks` names them all.",
        "",
    ),
    term("seed", "The one number from which a run draws everything. One seed is one run, for ever.", ""),
    term(
        "script",
        "A run as data: cluster, topics, clients, steps, expectations. What people write, campaigns draw, failures store and \
         the shrinker edits.",
        "",
    ),
    term(
        "step",
        "One thing that a script does, at a time or on a trigger, to targets that are looked up as it strikes.",
        "",
    ),
    term("trigger", "What a step waits for: an election, an acknowledgement, a size of the ISR, another step.", ""),
    term(
        "profile",
        "The ranges from which a campaign draws its scripts, as a data file. `klamm list profiles` names them.",
        "",
    ),
    term(
        "campaign",
        "Many seeds of a profile, all judged, merged into one table. Violated outweighs held, held outweighs allowed, \
         allowed outweighs not tested.",
        "",
    ),
    term(
        "compaction",
        "In a topic with cleanup.policy=compact a clean takes every record that a later one with the same key overtook; offsets \
         stay, with gaps. Each replica cleans its own log, by its own clock.",
        "",
    ),
    term(
        "tombstone",
        "A record without a value: it deletes its key. The first clean that meets it sets its delete horizon, \
         delete.retention.ms ahead; a clean after that takes it. A reader or a replica that is away for longer never learns of \
         the deletion.",
        "KIP-534",
    ),
    term(
        "swarm",
        "Each family of faults is on in some seeds and off in others, so that none drowns the others.",
        "Groce et al., ISSTA 2012",
    ),
    term(
        "heal",
        "All faults are taken back, at the end of every run. Then the cluster must come to rest, take a write and give every \
         partition to read.",
        "",
    ),
    term(
        "shrink",
        "Taking away from a failing script what the failure does not need, as long as the same promise breaks in the same \
         way.",
        "",
    ),
    term("signature", "What makes two failures the same: the property and the rule that is broken.", ""),
    term(
        "world time",
        "Simulated time as the world counts it. Nodes have clocks of their own, which may be wrong.",
        "",
    ),
    term(
        "fault atlas",
        "What the world knows of damage: which bytes of which copy are not what their writer believes. A campaign destroys \
         every copy only when its script says so.",
        "Alagappan et al., FAST 2018",
    ),
    term(
        "frame",
        "One Kafka request or response, counted where a node decodes the one and encodes the other: the unit of cost.",
        "",
    ),
];
