//! The table of mutants: each changes one thing in a recorded good run, and one property must name it.

use super::scene::Scene;
use super::{brokers, clients, compaction, retention};
use klamm_base::Draws;

pub struct Mutant {
    pub name: &'static str,
    /// What it changes.
    pub what: &'static str,
    /// The property that must name it.
    pub names: &'static str,
    /// Properties that it may break too, as a consequence.
    pub also: &'static [&'static str],
    /// Finds its place from the draws and changes the run there; `None` if the run has no such place.
    pub apply: fn(&mut Scene, &mut Draws) -> Option<()>,
}

const fn mutant(
    names: &'static str,
    name: &'static str,
    apply: fn(&mut Scene, &mut Draws) -> Option<()>,
    what: &'static str,
) -> Mutant {
    Mutant { name, what, names, also: &[], apply }
}

impl Mutant {
    const fn also(self, also: &'static [&'static str]) -> Mutant {
        Mutant { also, ..self }
    }
}

pub const MUTANTS: &[Mutant] = &[
    mutant("no-panic", "panic", brokers::panic, "a task panicked"),
    mutant(
        "elections",
        "elected-outside-isr",
        brokers::elected_outside_isr,
        "the ISR before an election lacks the new leader",
    ),
    mutant("elections", "stranger-in-isr", brokers::stranger_in_isr, "a node that is no replica is in the ISR"),
    mutant("elections", "leader-out-of-isr", brokers::leader_out_of_isr, "a change of the ISR leaves the leader out"),
    mutant("elections", "version-repeated", brokers::version_repeated, "a decision has the version of the one before"),
    mutant("elections", "leader-epoch-kept", brokers::leader_epoch_kept, "a new leader has the epoch of the old one")
        .also(&["one-leader-per-epoch"]),
    mutant("elections", "version-skipped", brokers::version_skipped, "a decision skips a version"),
    mutant("elections", "leader-epoch-skipped", brokers::leader_epoch_skipped, "a new leader skips an epoch")
        .also(&["one-leader-per-epoch"]),
    mutant("elections", "fenced-elected", brokers::fenced_elected, "a broker that is fenced is elected"),
    mutant(
        "one-leader-per-epoch",
        "two-leaders",
        brokers::two_leaders,
        "another replica in sync takes up the same epoch",
    ),
    mutant(
        "one-leader-per-epoch",
        "old-life-writes",
        brokers::old_life_writes,
        "a leader starts again and writes on in its epoch",
    ),
    mutant("recovery", "load-changed", brokers::load_changed, "the digest of a loaded log is another"),
    mutant("recovery", "load-forgets", brokers::load_forgets, "a crash of the process takes the last batch of a log"),
    mutant("log-matching", "append-twice", brokers::append_twice, "a follower appends a batch twice"),
    mutant("log-matching", "append-dropped", brokers::append_dropped, "a follower skips a batch")
        .also(&["high-watermark"]),
    mutant("log-matching", "other-batch", brokers::other_batch, "a follower appends another batch than its leader")
        .also(&["high-watermark", "acked-survive"]),
    mutant("log-matching", "epoch-fell", brokers::epoch_fell, "a follower appends a batch of an older epoch")
        .also(&["high-watermark"]),
    mutant(
        "log-matching",
        "epoch-unwritten",
        brokers::epoch_unwritten,
        "a follower appends a batch of an epoch in which nobody wrote it",
    )
    .also(&["high-watermark"]),
    mutant(
        "retention-exact",
        "segment-too-many",
        retention::segment_too_many,
        "a check of the retention deletes one segment too many",
    ),
    mutant("retention-exact", "segment-kept", retention::segment_kept, "it leaves one that had to go"),
    mutant(
        "retention-exact",
        "segment-misnamed",
        retention::segment_misnamed,
        "it names a segment otherwise than it was written",
    ),
    mutant(
        "retention-exact",
        "segment-aged",
        retention::segment_aged,
        "it names a segment as older than its newest record",
    ),
    mutant(
        "retention-exact",
        "limits-changed",
        retention::limits_changed,
        "it goes by other limits than the topic has",
    ),
    mutant(
        "retention-exact",
        "check-lags",
        retention::check_lags,
        "it goes by another high watermark than the replica has",
    ),
    mutant("retention-exact", "check-late", retention::check_late, "it goes by a wrong time"),
    mutant(
        "retention-exact",
        "start-unasked",
        retention::start_unasked,
        "a log begins later by records that nobody asked to delete",
    ),
    mutant(
        "retention-exact",
        "start-unfounded",
        retention::start_unfounded,
        "a log begins later, and nothing says why",
    ),
    mutant(
        "retention-exact",
        "start-uncommitted",
        retention::start_uncommitted,
        "a log begins behind what is committed",
    ),
    mutant(
        "compaction-keeps",
        "last-of-key-taken",
        compaction::last_of_key_taken,
        "a clean takes the last record of a key",
    ),
    mutant(
        "compaction-keeps",
        "tombstone-taken",
        compaction::tombstone_taken,
        "a clean takes a tombstone before its horizon",
    ),
    mutant(
        "compaction-keeps",
        "overtaken-left",
        compaction::overtaken_left,
        "a clean leaves a record that a later one overtook",
    ),
    mutant(
        "compaction-keeps",
        "horizon-early",
        compaction::horizon_early,
        "the horizon of a tombstone lies a millisecond too early",
    ),
    mutant(
        "compaction-keeps",
        "last-of-producer-taken",
        compaction::last_of_producer_taken,
        "nothing is left of a live producer's last batch",
    ),
    mutant(
        "compaction-keeps",
        "clean-uncommitted",
        compaction::clean_uncommitted,
        "a clean goes by what is not committed",
    ),
    mutant(
        "compaction-keeps",
        "clean-strange",
        compaction::clean_strange,
        "a clean tells of a batch that nobody wrote",
    ),
    mutant("high-watermark", "mark-back", brokers::mark_back, "a leader's high watermark goes back"),
    mutant("high-watermark", "mark-early", brokers::mark_early, "a leader commits before a follower in sync has it"),
    mutant("high-watermark", "follower-ahead", brokers::follower_ahead, "a follower's high watermark leads"),
    mutant("high-watermark", "mark-beyond-end", brokers::mark_beyond_end, "a high watermark passes its log's end"),
    mutant("high-watermark", "mark-under-minimum", brokers::mark_under_minimum, "a leader that is alone commits"),
    mutant(
        "high-watermark",
        "joined-early",
        brokers::joined_early,
        "a replica joins the ISR before it has what is committed",
    ),
    mutant("high-watermark", "cut-in-sync", brokers::cut_in_sync, "a follower in sync cuts what is committed"),
    mutant("high-watermark", "leader-lacks", brokers::leader_lacks, "an elected leader lacks what is committed")
        .also(&["acked-survive"]),
    mutant("ack-after-commit", "answered-early", brokers::answered_early, "acks=all is answered before the commit"),
    mutant("ack-after-commit", "answered-nothing", brokers::answered_nothing, "an answer names what is in no log"),
    mutant("acked-survive", "final-value-dropped", clients::final_value_dropped, "the final reading lacks a value"),
    mutant(
        "acked-survive",
        "final-values-swapped",
        clients::final_values_swapped,
        "it shows two in each other's place",
    ),
    mutant(
        "acked-survive",
        "final-value-doubled",
        clients::final_value_doubled,
        "it shows one in the next one's place",
    ),
    mutant("acked-survive", "final-tail-forgotten", clients::final_tail_forgotten, "it ends before the log does")
        .also(&["consumers-read-committed"]),
    mutant("acked-survive", "acked-elsewhere", clients::acked_elsewhere, "a producer was told another offset"),
    mutant("acked-survive", "refused-is-acked", clients::refused_is_acked, "a refused record was told as written"),
    mutant("acked-survive", "lost-is-read", clients::lost_is_read, "what an unclean election gave up is there again"),
    mutant("refused-stay-out", "acked-is-refused", clients::acked_is_refused, "a written record was told as refused"),
    mutant("idempotence", "batch-twice", brokers::batch_twice, "a batch is appended and committed a second time")
        .also(&["producer-state"]),
    mutant(
        "idempotence",
        "predecessor-missing",
        clients::predecessor_missing,
        "the record before an acknowledged one, in flight with it, is gone",
    ),
    mutant("producer-order", "batches-swapped", clients::batches_swapped, "two records stand in the other order"),
    mutant(
        "producer-state",
        "sequence-skipped",
        brokers::sequence_skipped,
        "a leader appends a batch with a sequence that leaves one out",
    ),
    mutant(
        "producer-state",
        "memory-changed",
        brokers::memory_changed,
        "a loaded log knows another last sequence of a producer",
    ),
    mutant("consumers-read-committed", "value-dropped", clients::value_dropped, "a consumer was not given a value"),
    mutant("consumers-read-committed", "values-swapped", clients::values_swapped, "it was given two in other places"),
    mutant("consumers-read-committed", "value-doubled", clients::value_doubled, "it was given one twice"),
    mutant("consumers-read-committed", "served-early", brokers::served_early, "a fetch gives what is not committed"),
    mutant("consumers-read-committed", "read-and-vanished", clients::read_and_vanished, "what one has read is gone"),
    mutant("consumers-in-order", "reading-dropped", clients::reading_dropped, "a consumer skips what it should read"),
    mutant("consumers-in-order", "reading-repeated", clients::reading_repeated, "a consumer is given the same again"),
    mutant("serves-after-heal", "never-rests", brokers::never_rests, "the healed cluster does not come to rest"),
    mutant("serves-after-heal", "rest-untold", brokers::rest_untold, "the run ends before it comes to rest"),
    mutant("serves-after-heal", "last-write-lost", clients::last_write_lost, "a write after the heal is not answered"),
    mutant("serves-after-heal", "final-reading-gave-up", clients::final_reading_gave_up, "a log is not read whole"),
];
