//! What the command line takes.

use crate::campaign::{Seeds, Shard};
use crate::compare::Axis;
use crate::script::Span;
use crate::stage::Plant;
use clap::{Args, Parser, Subcommand, ValueEnum};
use klamm_base::Guard;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

/// A Kafka-compatible cluster in a seeded world that breaks on purpose: which promises held?
#[derive(Debug, Parser)]
#[command(name = "klamm", version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Klamm {
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 all as expected; 1 a guarantee violated; 2 bad usage or bad input; 3 a required guarantee was not \
tested; 4 the run was not deterministic.
RUST_LOG=debug shows the stack's tracing, each line stamped with simulated time and host.";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run many seeds of a profile, each with faults of its own, and judge them all.
    #[command(after_help = "\
Examples:
  klamm campaign                                  seeds 0..100 of `core`
  klamm campaign --profile storm --for 10m        until time is up, from seed 0 on
  klamm campaign --seed-range 500..700 --json
  klamm campaign --without epoch-truncation       stops at the first finding, with the line that repeats it
  klamm campaign --fresh --seeds 500              seeds that nobody ran before, for the night
  klamm campaign --seeds 4000 --shard 2/4 --out part-2 --resume    then: klamm merge part-1 part-2 part-3 part-4
  klamm campaign --junit junit.xml --known known.toml              for CI

Ctrl-C finishes the seeds that run and reports those that were run; again, it ends at once (130). An interrupted campaign \
exits as its verdicts say (1, 3, 4), else 0: what it had no time to test is no news. SIGTERM does the same and exits 143 \
instead of 0, so that no scheduler takes half a campaign for a whole one.
A seed on which Klamm itself panics is told with its line and counted by itself; it tested nothing, so the exit is 3 if \
nothing worse was found.
On GitHub (GITHUB_ACTIONS=true) findings become annotations and the table goes to $GITHUB_STEP_SUMMARY.")]
    Campaign(CampaignArgs),
    /// Join the result folders of a campaign's shards into one answer.
    #[command(after_help = "\
Example:
  klamm merge part-1 part-2 part-3 part-4 --json --junit junit.xml

The folders must hold all seeds of one campaign: gaps, seeds that were run twice, and other commits, profiles or guards \
are refused. The answer and the exit code are those of the same campaign in one piece; only wall_seconds is merge's own.")]
    Merge(MergeArgs),
    /// Run one script, from the library, from a file, or drawn from a profile's seed.
    #[command(after_help = "\
Examples:
  klamm run acked-records-survive-a-leader-crash
  klamm run my-story.toml --seed 7 --history run.jsonl
  klamm run core --seed 17 --without epoch-truncation
  klamm run acks-one-loses-the-unreplicated-suffix --seeds 20")]
    Run(RunArgs),
    /// Run a stored failure again: does it still fail, and in the same way?
    #[command(after_help = "\
Examples:
  klamm replay failures/core-3.toml
  klamm replay guard-epoch-truncation             of the bug base, scenarios/bugs/
  klamm replay failures/core-3.toml --at 20.5s    who leads, who is in sync, what is committed at that instant
Exit codes: 1 a guarantee is violated, as then or otherwise; 0 it no longer fails; 3 it does not even test it any more.")]
    Replay(ReplayArgs),
    /// Make a failing script smaller until nothing can go without the failure going too.
    #[command(after_help = "\
Examples:
  klamm shrink failures/core-3.toml --out small.toml
  klamm shrink core --seed 3 --without epoch-truncation > small.toml
  klamm run small.toml                            it says what it expects: that its promise breaks")]
    Shrink(ShrinkArgs),
    /// Switch each guard off whose bug a campaign can meet: how many seeds until it is found? Then all on: nothing may be found.
    #[command(after_help = "\
Examples:
  klamm bugs                                      the whole table
  klamm bugs --guard epoch-truncation --ranges 3 --clean-seeds 0
Guards are hunted in scripts of the profile `storm`, of 20 seconds each. `klamm list guards` says which no campaign can meet
yet, and why; to ask for one of those is bad usage. A guard's depth, written down before its first run, sets the budget: 20,
200, 2,000 and 20,000 seeds for depths 1 to 4. Exit codes: 0 each is found in nine of ten ranges of seeds and nothing is found
with all guards on; 1 if not; 2 bad usage.")]
    Bugs(BugsArgs),
    /// Put settings side by side: one script on the same seeds with every combination of their values.
    #[command(after_help = "\
Examples:
  klamm compare unclean-election-loses-the-unreplicated-suffix --vary acks=0,1,all
  klamm compare my-story.toml --vary acks=1,all --vary min.insync.replicas=1,2 --seeds 200 --csv table.csv

A setting is looked for among those of topics, of brokers, of producers and of consumers, in this order, and set for all of \
them; `producer:request.timeout.ms=1000,5000` says whose is meant. Exit codes: 1 some run broke a promise; 0 none did; 2 bad \
usage.")]
    Compare(CompareArgs),
    /// List what there is, one item a line, its name first.
    List {
        /// What to list.
        what: What,
    },
    /// Say what a word means: a term, a promise, a guard, a fault, an error code, a setting.
    #[command(after_help = "\
Examples:
  klamm explain                                   every name that can be explained
  klamm explain high watermark
  klamm explain NOT_ENOUGH_REPLICAS               or its number: klamm explain 19")]
    Explain {
        /// The name, in one word or several.
        name: Vec<String>,
    },
    /// Judge a saved history again: one of ours, or one of Jepsen's Kafka workload.
    #[command(after_help = "\
Examples:
  klamm check run.jsonl --json                    the promises, and what clients alone could see
  klamm check store/latest/history.edn            by the anomaly classes of Jepsen's Kafka workload
  klamm check history.edn --write-order           circles among writes too, which Kafka permits")]
    Check(CheckArgs),
    /// Prove that seeds repeat: each one in order, in reverse, in threads, in other processes, and with tracing on.
    #[command(after_help = "\
Examples:
  klamm doctor --seeds 200
  klamm doctor --seeds 10 --hashes here.txt       one line a seed, to compare with another build or machine
  klamm doctor --seeds 2 --plant clock            a leak on purpose: exit 4, and the first differing event")]
    Doctor(DoctorArgs),
    /// Look into a broker's log directory: ours, or Kafka's.
    #[command(subcommand)]
    Log(LogCommand),
    /// Serve real Kafka clients on TCP.
    #[command(after_help = "\
Example:
  klamm broker --dev --listen 127.0.0.1:9092 --dir ./klamm-data
  kcat -b 127.0.0.1:9092 -L")]
    Broker(BrokerArgs),
}

#[derive(Debug, Args)]
pub struct CampaignArgs {
    /// How many seeds, from 0 on [default: 100].
    #[arg(long, value_name = "N", conflicts_with = "seed_range", value_parser = clap::value_parser!(u64).range(1..))]
    pub seeds: Option<u64>,
    /// These seeds, the last one not included.
    #[arg(long, value_name = "A..B", value_parser = seed_range)]
    pub seed_range: Option<Range<u64>>,
    /// Seeds that nobody ran before: the first one is drawn by the system, printed, and kept in --out.
    #[arg(long, conflicts_with_all = ["seed_range", "shard"])]
    pub fresh: bool,
    /// Begin no new seed after this much real time, such as 90s or 10m; seeds then have no end unless one is given.
    #[arg(long = "for", value_name = "TIME", value_parser = real_time)]
    pub time: Option<Duration>,
    /// From which profile scripts are drawn.
    #[arg(long, value_name = "NAME", default_value = "core")]
    pub profile: String,
    /// Switch a guard off; may be given again. The campaign stops at the first finding then.
    #[arg(long, value_name = "GUARD", value_parser = guard)]
    pub without: Vec<Guard>,
    /// Go on after a finding, though a guard is off.
    #[arg(long)]
    pub keep_going: bool,
    /// Do not play the bug base first.
    #[arg(long, hide = true)]
    pub no_bugs: bool,
    /// Worker threads [default: one for each core].
    #[arg(long, value_name = "N")]
    pub jobs: Option<usize>,
    /// Run only part I of N equal parts of the seeds, I from 1 to N. `klamm merge` says which guarantees nothing tested.
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,
    /// Keep results here: the script of every failing seed, one line a seed in seeds.jsonl, and result.json.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Go on with what --out holds, if it holds anything: no seed is run or counted twice.
    #[arg(long, requires = "out")]
    pub resume: bool,
    #[command(flatten)]
    pub papers: PaperArgs,
}

#[derive(Debug, Args)]
pub struct MergeArgs {
    /// Folders that `klamm campaign --out` wrote, in any order.
    #[arg(required = true, value_name = "DIR")]
    pub dirs: Vec<PathBuf>,
    #[command(flatten)]
    pub papers: PaperArgs,
}

/// What is written of a campaign besides its report.
#[derive(Debug, Args)]
pub struct PaperArgs {
    /// Write JUnit XML: a suite for the profile, a case for each guarantee.
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Known failures, counted and told but not red: TOML, `[[known]]` with property, why, link and, where it is not the same
    /// everywhere, profile, seed or rule (words of it).
    #[arg(long, value_name = "FILE")]
    pub known: Option<PathBuf>,
    /// Print one JSON object as the last line.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct RunArgs {
    /// Name of a library script or a profile, or path of a TOML file.
    pub script: String,
    /// This seed instead of the script's own.
    #[arg(long, value_name = "N", conflicts_with = "seeds")]
    pub seed: Option<u64>,
    /// Seeds 0 to N-1, merged.
    #[arg(long, value_name = "N")]
    pub seeds: Option<u64>,
    /// Set a setting (or `duration`); may be given again.
    #[arg(long, value_name = "KEY=VALUE", value_parser = setting)]
    pub set: Vec<(String, String)>,
    /// Switch a guard off; may be given again.
    #[arg(long, value_name = "GUARD", value_parser = guard)]
    pub without: Vec<Guard>,
    /// Go on after a broken promise; else the run ends at the first instant at which one is broken, whatever comes later.
    #[arg(long)]
    pub to_the_end: bool,
    /// Write the history as JSON lines, or in Jepsen's format if the file's name ends in `.edn`.
    #[arg(long, value_name = "FILE", conflicts_with = "seeds")]
    pub history: Option<PathBuf>,
    /// Write the world's trace as text.
    #[arg(long, value_name = "FILE", conflicts_with = "seeds")]
    pub trace: Option<PathBuf>,
    /// Print the script as TOML and run nothing.
    #[arg(long)]
    pub print: bool,
    /// Print one JSON object as the last line.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Path of a failure file, or a name of the bug base.
    pub failure: String,
    /// Tell what had happened by that instant of simulated time, and how every partition stood then.
    #[arg(long, value_name = "TIME")]
    pub at: Option<Span>,
    /// Print one JSON object as the last line.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct ShrinkArgs {
    /// Path of a failure file or a script, a name of the bug base or the library, or a profile.
    pub failure: String,
    /// The seed, of a profile above all.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Switch a guard off; may be given again.
    #[arg(long, value_name = "GUARD", value_parser = guard)]
    pub without: Vec<Guard>,
    /// Set a setting (or `duration`); may be given again.
    #[arg(long, value_name = "KEY=VALUE", value_parser = setting)]
    pub set: Vec<(String, String)>,
    /// Write the shrunk failure to this file, and what failed otherwise on the way beside it [default: print it].
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Runs at a time [default: one for each core].
    #[arg(long, value_name = "N")]
    pub jobs: Option<usize>,
    /// Give up shrinking after this much real time, with the smallest script until then.
    #[arg(long = "for", value_name = "TIME", default_value = "60s", value_parser = real_time)]
    pub time: Duration,
}

#[derive(Debug, Args)]
pub struct BugsArgs {
    /// Only this guard; may be given again.
    #[arg(long, value_name = "NAME", value_parser = guard)]
    pub guard: Vec<Guard>,
    /// Seeds of a range [default: as the guard's depth says].
    #[arg(long, value_name = "SEEDS", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub budget: Option<u64>,
    /// Disjoint ranges of seeds, each searched on its own.
    #[arg(long, value_name = "R", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    pub ranges: u64,
    /// Seeds with all guards on.
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    pub clean_seeds: u64,
    /// Shrink each guard's first failure for this much real time at most.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = real_time)]
    pub shrink_for: Duration,
    /// Worker threads [default: one for each core].
    #[arg(long, value_name = "N")]
    pub jobs: Option<usize>,
    /// Print one JSON object as the last line.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct CompareArgs {
    /// Name of a library script, or path of a TOML file.
    pub script: String,
    /// A setting and its values; may be given again: every value meets every other.
    #[arg(long, value_name = "KEY=V1,V2", value_parser = axis, required = true)]
    pub vary: Vec<Axis>,
    /// Seeds 0 to N-1, the same for every row.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub seeds: u64,
    /// Set a setting for all rows (or `duration`); may be given again.
    #[arg(long, value_name = "KEY=VALUE", value_parser = setting)]
    pub set: Vec<(String, String)>,
    /// Worker threads [default: one for each core].
    #[arg(long, value_name = "N")]
    pub jobs: Option<usize>,
    /// Write the table as CSV.
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Print one JSON object as the last line.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// A file that `klamm run --history` wrote, or a `history.edn` of Jepsen's.
    pub history: PathBuf,
    /// Order the writes of a key too: finds circles in which transactions see each other's writes in different orders (G0, and
    /// G1c through it), which Kafka permits.
    #[arg(long)]
    pub write_order: bool,
    /// Print one JSON object as the last line.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// How many seeds, from 0 on [default: 20].
    #[arg(long, value_name = "N", conflicts_with = "seed_range", value_parser = clap::value_parser!(u64).range(1..))]
    pub seeds: Option<u64>,
    /// These seeds, the last one not included.
    #[arg(long, value_name = "A..B", value_parser = seed_range)]
    pub seed_range: Option<Range<u64>>,
    /// From which profile scripts are drawn.
    #[arg(long, value_name = "NAME", default_value = "core")]
    pub profile: String,
    /// Plant a leak from the real world into every run; it must be found.
    #[arg(long, value_name = "KIND")]
    pub plant: Option<Plant>,
    /// Write one line a seed: its trace hash and the hash of its history's bytes.
    #[arg(long, value_name = "FILE")]
    pub hashes: Option<PathBuf>,
    /// Print one JSON object as the last line.
    #[arg(long)]
    pub json: bool,
    /// Compare nothing, print what --hashes writes: for the process that started this one.
    #[arg(long, hide = true)]
    pub only_hashes: bool,
    /// With --only-hashes: write the trace of the first seed as text.
    #[arg(long, hide = true, value_name = "FILE", requires = "only_hashes")]
    pub trace_to: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// Print what is in it: batches, indexes, epochs, producers, checkpoints, in the manner of kafka-dump-log.
    #[command(after_help = "\
Examples:
  klamm log dump klamm-data/logs                  every file
  klamm log dump klamm-data/logs/orders-0 --records    one partition, with keys, payloads and headers
  klamm log dump klamm-data/logs/orders-0/00000000000000000000.timeindex
Records of __cluster_metadata, __consumer_offsets and __transaction_state are decoded. What cannot be read is said at its place, \
and the dump goes on with the next file. Exit codes: 0 printed; 2 DIR is no log directory or cannot be read.")]
    Dump(LogDumpArgs),
    /// Check every file of it: checksums, order, epochs, indexes, producers, checkpoints.
    #[command(after_help = "\
Examples:
  klamm log verify klamm-data/logs
  klamm log verify /var/lib/kafka/data/orders-0 --json
Stop the broker first: what it is writing looks torn. Nothing is changed. A `note` is what a killed broker leaves and its next start \
deals with, or what follows from a damage that is told. Exit codes: 0 no damage; 1 damage; 2 DIR is no log directory or cannot \
be read.")]
    Verify(LogVerifyArgs),
}

#[derive(Debug, Args)]
pub struct LogDumpArgs {
    /// A log directory, one TOPIC-PARTITION directory in it, or one file.
    pub dir: PathBuf,
    /// Print each record: key, payload, headers.
    #[arg(long)]
    pub records: bool,
    /// Print one JSON object as the last line.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct LogVerifyArgs {
    /// A log directory, one TOPIC-PARTITION directory in it, or one file.
    pub dir: PathBuf,
    /// Print one JSON object as the last line.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct BrokerArgs {
    /// One process, broker and controller, with defaults for development: killed, it serves again 2 s after its restart
    /// (broker.session.timeout.ms=2000, broker.heartbeat.interval.ms=500). The only way to serve so far.
    #[arg(long, required = true)]
    pub dev: bool,
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092", value_parser = place)]
    pub listen: String,
    /// Where the data lie; one broker at a time.
    #[arg(long, value_name = "DIR", default_value = "./klamm-data")]
    pub dir: PathBuf,
    /// A broker setting; may be given again.
    #[arg(long, value_name = "KEY=VALUE", value_parser = setting)]
    pub set: Vec<(String, String)>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum What {
    /// Scripts of the library.
    Scripts,
    /// Protections that --without switches off.
    Guards,
    /// Promises that are judged.
    Properties,
    /// What can be done to the world, and what it stands for.
    Faults,
    /// Profiles of campaigns.
    Profiles,
    /// Rare things that some seed of a campaign should meet.
    Marks,
}

fn guard(text: &str) -> Result<Guard, String> {
    Guard::from_name(text).ok_or_else(|| {
        let known = Guard::ALL.into_iter().map(Guard::name);
        crate::script::did_you_mean(text, known)
            .map(|help| format!("there is no guard `{text}`; {help}"))
            .unwrap_or_else(|| format!("there is no guard `{text}`; `klamm list guards` shows them"))
    })
}

fn seed_range(text: &str) -> Result<Range<u64>, String> {
    let seeds: Seeds = text.parse()?;
    match seeds.0 {
        _ if !seeds.have_an_end() => Err(format!("the range {text} has no end; write A..B, such as 100..200")),
        range if range.is_empty() => Err(format!("the range {text} is empty")),
        range => Ok(range),
    }
}

fn real_time(text: &str) -> Result<Duration, String> {
    text.parse::<Span>().map(|span| Duration::from_nanos(span.0))
}

/// A host and a port; an IPv6 address stands in brackets.
fn place(text: &str) -> Result<String, String> {
    let wanted = || format!("`{text}` is not HOST:PORT, such as 127.0.0.1:9092 or [::1]:9092");
    let (host, port) = text.rsplit_once(':').ok_or_else(wanted)?;
    port.parse::<u16>().map_err(|_| wanted())?;
    let name = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let is_host = match name {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')),
    };
    if is_host { Ok(text.to_owned()) } else { Err(wanted()) }
}

fn axis(text: &str) -> Result<Axis, String> {
    let (key, values) = setting(text).map_err(|_| format!("`{text}` is not KEY=VALUE,VALUE"))?;
    let values: Vec<String> = values.split(',').map(|value| value.trim().to_owned()).collect();
    if values.iter().any(String::is_empty) {
        return Err(format!("`{text}` has an empty value: KEY=VALUE,VALUE is wanted"));
    }
    Ok(Axis { key, values })
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is not KEY=VALUE"))?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        <Klamm as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn a_misspelled_guard_names_the_nearest() {
        let error = Klamm::try_parse_from(["klamm", "campaign", "--without", "epoch-trunction"]).unwrap_err();
        assert!(error.to_string().contains("did you mean `epoch-truncation`?"), "{error}");
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn places_have_a_host_and_a_port() {
        for good in ["127.0.0.1:0", "localhost:9092", "[::1]:9092", "0.0.0.0:65535"] {
            assert_eq!(place(good), Ok(good.to_owned()));
        }
        for bad in ["nonsense", "127.0.0.1", "127.0.0.1:65536", ":9092", "::1:9092", "[x]:9092", "a/b:1", "a,b:1", ""] {
            assert!(place(bad).is_err_and(|message| message.contains(bad)), "{bad}");
        }
    }

    #[test]
    fn ranges_of_seeds_are_read_and_checked() {
        assert_eq!(seed_range("5..9"), Ok(5..9));
        assert!(
            seed_range("9..5").is_err()
                && seed_range("5..").is_err()
                && seed_range("5").is_err()
                && seed_range("-1..5").is_err()
        );
    }
}
