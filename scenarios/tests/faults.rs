//! The list of faults as people meet it: the page is what the table says, and every line can strike a cluster.

use klamm_scenarios::script::Script;
use klamm_scenarios::stage::{RunOptions, run};
use klamm_sim::{FAULTS, FaultFamily};
use std::collections::BTreeMap;
use std::fmt::Write;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/faults.md");

/// The page as the table wants it.
fn page() -> String {
    let mut page = String::from(
        "# Faults\n\nWhat a script, a campaign or a plain user of the simulator can do to the world, and the real incident \
         that each fault stands for. `klamm list faults` prints the same list.\n\nThis page is generated from \
         `klamm_sim::FAULTS`. To renew it: `KLAMM_RENEW=1 cargo test -p scenarios --test faults`.\n",
    );
    let families = [
        (FaultFamily::Network, "Network: links, connections and listeners"),
        (FaultFamily::Disk, "Disk: devices and the bytes on them"),
        (FaultFamily::Clock, "Clock: wall clocks and timers"),
        (FaultFamily::Process, "Process: one program, while its machine goes on"),
        (FaultFamily::Host, "Host: a whole machine"),
        (FaultFamily::Group, "Group: any of the others, on several hosts at the same instant"),
    ];
    for (family, title) in families {
        write!(
            page,
            "\n## {title}\n\n| fault | what it does | what it stands for | how a script says it |\n|---|---|---|---|\n"
        )
        .unwrap();
        for info in FAULTS.iter().filter(|info| info.family == family) {
            let incident = if info.source.is_empty() {
                info.incident.to_owned()
            } else {
                format!("{} ([source]({}))", info.incident, info.source)
            };
            writeln!(page, "| `{}` | {} | {incident} | `{}` |", info.name, info.effect, steps()[info.name]).unwrap();
        }
    }
    page
}

/// A step for each line of the list.
fn steps() -> BTreeMap<&'static str, &'static str> {
    BTreeMap::from([
        ("cut", r#"cut = { between = "leader(orders-0)", and = "followers(orders-0)" }"#),
        ("one-way-cut", r#"cut = { from = "b1", to = "controller" }"#),
        ("slow", r#"slow = { between = "b1", and = "all", latency = "lognormal 5ms 90ms" }"#),
        ("stall", r#"cut = { between = "b1", and = "b2", hold = true }"#),
        ("reset", r#"cut = { between = "b1", and = "b2", reset = true }"#),
        ("jitter", r#"slow = { between = "b1", and = "brokers", jitter = "50ms" }"#),
        ("narrow", r#"slow = { between = "b1", and = "brokers", rate = 50_000, queue = 9_000 }"#),
        ("loss", r#"drop = { between = "b1", and = "brokers", loss = 0.2 }"#),
        ("corrupt", r#"corrupt = { from = "p1", to = "brokers", share = 0.01 }"#),
        ("partial", r#"split = { between = "p1", and = "brokers", share = 0.9 }"#),
        ("connection-reset", r#"connection = { from = "followers(orders-0)", role = "fetch", fault = "reset" }"#),
        ("connection-stall", r#"connection = { from = "brokers", role = "heartbeat", fault = "stall" }"#),
        ("half-open", r#"connection = { from = "brokers", role = "heartbeat", fault = "half-open" }"#),
        ("slow-close", r#"connection = { from = "p1", role = "producer", fault = "slow-close", by = "2s" }"#),
        ("connection-corrupt", r#"connection = { from = "p1", role = "producer", fault = "corrupt", share = 0.1 }"#),
        ("connection-delay", r#"connection = { from = "p1", role = "producer", fault = "delay", by = "300ms" }"#),
        ("refuse", r#"listen = { target = "controller", answer = "refuse" }"#),
        ("no-answer", r#"listen = { target = "controller", answer = "silent" }"#),
        ("read-error", r#"disk = { target = "b1", fault = "read-error" }"#),
        ("write-error", r#"disk = { target = "b1", fault = "write-error" }"#),
        ("sync-error", r#"disk = { target = "b1", fault = "sync-error" }"#),
        ("no-space", r#"fill = "b1""#),
        ("short-write", r#"disk = { target = "b1", fault = "short-write", nth = 3 }"#),
        ("bit-rot", r#"corrupt = { target = "b1", bits = 3, path = "orders-0" }"#),
        ("misdirected-write", r#"disk = { target = "b1", fault = "misdirected-write", nth = 3 }"#),
        ("misdirected-read", r#"disk = { target = "b1", fault = "misdirected-read", nth = 3 }"#),
        ("lying-sync", r#"disk = { target = "b1", fault = "lying-sync" }"#),
        ("disk-stuck", r#"disk = { target = "b1", fault = "stuck" }"#),
        ("disk-slow", r#"disk = { target = "b1", fault = "slow", factor = 20 }"#),
        ("disk-throttled", r#"disk = { target = "b1", fault = "throttled", bytes-per-second = 20_000 }"#),
        ("disk-removed", r#"disk = { target = "b1", fault = "removed" }"#),
        ("disk-wiped", r#"disk = { target = "b1", fault = "wiped" }"#),
        ("skew", r#"skew = { target = "b1", by = "-4s" }"#),
        ("clock-jump", r#"skew = { target = "b1", jump = "30s" }"#),
        ("clock-drift", r#"skew = { target = "b1", drift = 500 }"#),
        ("timer-drift", r#"skew = { target = "b1", timers = -100_000 }"#),
        ("leap-second", r#"skew = { target = "brokers", leap = "repeated" }"#),
        ("leap-smear", r#"skew = { target = "brokers", leap = "10s" }"#),
        ("kill", r#"crash = "b1""#),
        ("stop", r#"stop = { target = "b1", within = "2s" }"#),
        ("pause", r#"pause = "b1""#),
        ("gc", r#"gc = { target = "b1", collector = "g1-small" }"#),
        ("slow-cpu", r#"slow = { cpu = "b1", min = "10us", max = "100us" }"#),
        ("open-files", r#"limit = { target = "b1", open-files = 8 }"#),
        ("out-of-memory", r#"limit = { target = "b1", memory = 20_000 }"#),
        ("oom-kill", r#"limit = { target = "b1", memory = 20_000, kill = true }"#),
        ("power-off", r#"power-off = "b1""#),
        ("machine-loss", r#"lose = "b1""#),
        ("machine-and-disk-loss", r#"lose = { target = "b1", disk = "lost" }"#),
        ("wipe", r#"wipe = "b1""#),
        ("rack", r#"crash = "rack(rack2)""#),
        ("data-centre", r#"pause = "data-centre(dc1)""#),
        ("replicas", r#"crash = "replicas(orders-0)""#),
    ])
}

#[test]
#[allow(clippy::disallowed_methods, reason = "the page lies beside the source")]
fn the_page_is_what_the_table_says() {
    let wanted = page();
    if std::env::var("KLAMM_RENEW").is_ok() {
        std::fs::write(PAGE, &wanted).expect("docs/ is writable");
    }
    let found = std::fs::read_to_string(PAGE).unwrap_or_default();
    assert!(found == wanted, "docs/faults.md is stale; renew it: KLAMM_RENEW=1 cargo test -p scenarios --test faults");
}

#[test]
fn every_fault_strikes_a_cluster_by_its_own_script_and_the_cluster_serves_after_it() {
    for info in FAULTS {
        let step = steps()[info.name];
        let text = format!(
            "duration = \"6s\"\n[cluster]\nbrokers = 3\ntopology = \"three-racks\"\n[[topic]]\nname = \"orders\"\n\
             [[producer]]\nname = \"p1\"\ntopics = [\"orders\"]\nrate = 50\n\
             [[step]]\nname = \"it\"\nat = \"2s\"\nfor = \"1500ms\"\n{step}\n"
        );
        let script = Script::from_toml("fault.toml", &text).unwrap_or_else(|error| panic!("{}: {error}", info.name));
        let named = script.steps[0].action.fault_names();
        assert!(named.contains(&info.name), "{}: the step is {named:?}", info.name);
        let result = run(&script, RunOptions::default());
        assert!(result.panic.is_none(), "{}: {:?}", info.name, result.panic);
        assert_eq!(result.never_struck, Vec::<String>::new(), "{}", info.name);
        assert_eq!(result.report.violated(), Vec::<&str>::new(), "{}", info.name);
    }
}
