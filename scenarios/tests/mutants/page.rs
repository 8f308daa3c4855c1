//! `docs/properties.md`: what is judged, and the matrix of properties and mutants.

use crate::table::{MUTANTS, Mutant};
use klamm_checkers::{Property, properties};
use std::fmt::Write;

pub const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/properties.md");

const INTRO: &str = "\
# Properties

What the judges hold a run against, root causes first: when one loss breaks several promises, the first of this list names
it best. `klamm list properties` prints the names.

This page is generated from `klamm_checkers::properties` and from the table of mutants in `scenarios/tests/mutants`. To renew
it: `KLAMM_RENEW=1 cargo test -p scenarios --test mutants`.
";

/// Invariants by their usual names, and which property judges each at which moment. What is judged by none says why.
const INVARIANTS: &[(&str, &str, &str)] = &[
    ("1", "offsets in one log rise, batches are contiguous", "log-matching"),
    ("2", "leader epochs in one log never fall", "log-matching"),
    ("3", "one broker, and one life of it, writes in an epoch", "one-leader-per-epoch"),
    ("4", "equal offset and epoch mean an equal prefix; a follower has only what a leader wrote", "log-matching"),
    ("5", "who is in sync cuts nothing that is committed", "high-watermark"),
    ("6", "no high watermark passes its log's end, no follower's passes what a leader's covered", "high-watermark"),
    ("7", "a leader's high watermark does not go back within its epoch", "high-watermark"),
    ("8", "what was committed once stands in every later leader's log", "high-watermark"),
    ("9", "all members of the maximal ISR hold what is committed", "high-watermark"),
    ("9b", "nothing is committed with fewer than min(min.insync.replicas, replicas) in sync", "high-watermark"),
    ("11", "an elected leader's log holds all that is committed, unless the loss budget explains it", "high-watermark"),
    ("12", "acks=all is answered behind the commit, and nothing is committed below the minimum", "ack-after-commit"),
    ("13", "acks=1 is answered behind the append; the offset told is the record's", "ack-after-commit"),
    ("14", "what is committed and not given up is there at the end", "acked-survive"),
    ("15", "the ISR is among the replicas, the leader in the ISR", "elections"),
    ("16", "who joins the ISR holds what is committed and what the epoch began with", "high-watermark"),
    ("17", "no fenced broker is elected or joins an ISR", "elections"),
    ("19", "a leader comes from the ISR, or uncleanly where the topic permits it", "elections"),
    ("20", "partition epoch and leader epoch rise one by one", "elections"),
    ("27", "no batch of an idempotent producer twice, none missing before an acknowledged one", "idempotence"),
    ("27", "in each log a producer's sequences follow one another, and wrap after 2^31 - 1", "producer-state"),
    ("28", "what a loaded log knows of producers is what its batches tell", "producer-state"),
    ("29", "in each log a producer's epochs do not fall", "producer-state"),
    ("31", "a fetch gives nothing above the high watermark", "consumers-read-committed"),
    ("43", "what a reader is given is what stands there, without a gap", "consumers-read-committed"),
    ("45", "a log has no hole", "log-matching"),
    ("45", "the segments that a check of the retention names hold what was appended, byte for byte", "retention-exact"),
    ("47", "a recovered log is a prefix of what was written, with all that was flushed", "recovery"),
    ("48", "no checkpoint makes a log begin where it was not told to", "recovery"),
    (
        "49",
        "a log's start is committed; the retention takes whole segments from the front, no more and no less",
        "retention-exact",
    ),
    ("49", "compaction keeps the last value of each key, and moves no offset", "compaction-keeps"),
    ("G13", "NOT_ENOUGH_REPLICAS is definite for its own attempt", "refused-stay-out"),
    ("G14", "an unclean election loses exactly what the elected log lacked, in both directions", "acked-survive"),
    (
        "L1, L2",
        "after the heal all partitions have leaders and full ISRs, take a write and can be read",
        "serves-after-heal",
    ),
];

const UNJUDGED: &str = "
Judged elsewhere: 46 (recovery is idempotent, also when it is cut short) by the tests of `klamm-log`, which crash at every
write; 51 and 52 (every request is answered once; two runs of a seed are equal) by the driver's assertions and by `klamm doctor`.
Not judged: 18 (a lagging follower leaves the ISR within `replica.lag.time.max.ms`), because a history does not hold
the settings of brokers; the broker epochs in 17, because a history does not hold those of a request; 10 and 44, which need a
look at the bytes. Those of transactions, groups and the metadata quorum wait for their parts.
";

const MATRIX: &str = "
## Properties and mutants

Who judges the judges: each mutant changes one thing in a recorded good run, at several places. The property marked **N** must
name it: it is violated, and none before it in the list is. One marked **+** may be violated too, as a consequence. All others
stay silent. Each property has a mutant that only it catches; one that had none would be removed.
";

const WAITS: &str = "
Waiting for what does not exist yet: *cut a marker*, *flip a transaction's outcome* and *drop a committed offset* need
transactions and groups.
";

pub fn page() -> String {
    let mut page = String::from(INTRO);
    properties().iter().enumerate().for_each(|(at, property)| told(&mut page, at + 1, property));
    invariants(&mut page);
    page.push_str(UNJUDGED);
    page.push_str(MATRIX);
    matrix(&mut page);
    page.push_str(WAITS);
    page
}

fn told(page: &mut String, number: usize, property: &Property) {
    let Property { name, summary, premise, explanation, .. } = property;
    let rules: String = property.rules.iter().map(|rule| format!("* {}.\n", rule.trim_end_matches('.'))).collect();
    let alone: Vec<_> = MUTANTS.iter().filter(|it| it.names == *name && it.also.is_empty()).collect();
    let alone = alone.iter().map(|it| format!("`{}`", it.name)).collect::<Vec<_>>().join(", ");
    write!(
        page,
        "\n## {number}. {name}\n\nPromise: {summary}.\n\nTested when {premise}.\n\n{explanation}\n\nWhat a witness names as broken:\n\n{rules}\nOnly it catches {alone}.\n"
    )
    .expect("a String takes everything");
}

fn invariants(page: &mut String) {
    page.push_str(
        "\n## Which invariant is judged where\n\nNumbers as in the notes on judging that the design rests on.\n\n",
    );
    page.push_str("| | invariant | property |\n|---|---|---|\n");
    for (number, invariant, property) in INVARIANTS {
        assert!(klamm_checkers::property(property).is_some(), "{property} is no property");
        writeln!(page, "| {number} | {invariant} | {property} |").expect("a String takes everything");
    }
}

fn matrix(page: &mut String) {
    let numbers: Vec<String> = (1..=properties().len()).map(|number| number.to_string()).collect();
    write!(page, "\n| mutant | what it changes | {} |\n", numbers.join(" | ")).expect("a String takes everything");
    writeln!(page, "|---|---|{}", ":-:|".repeat(numbers.len())).expect("a String takes everything");
    for mutant in MUTANTS {
        let marks: Vec<&str> = properties().iter().map(|property| mark(mutant, property.name)).collect();
        writeln!(page, "| `{}` | {} | {} |", mutant.name, mutant.what, marks.join(" | "))
            .expect("a String takes everything");
    }
}

fn mark(mutant: &Mutant, property: &str) -> &'static str {
    match property {
        _ if mutant.names == property => "**N**",
        _ if mutant.also.contains(&property) => "+",
        _ => "",
    }
}
