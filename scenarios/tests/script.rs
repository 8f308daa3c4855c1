//! Scripts as text: what is wrong is said with file, line, value and the nearest name; what is right reads back the same.

use klamm_scenarios::script::{Action, Expected, Script, Span, Target, Trigger};

const WHOLE: &str = r#"
lesson = "One. Two."
seed = 7
duration = "12s"
without = ["epoch-truncation"]

[cluster]
brokers = 3
latency-max = "2ms"

[cluster.config]
broker.session.timeout.ms = 3000

[cluster.host.b2]
"replica.lag.time.max.ms" = 3000

[[topic]]
name = "orders"
partitions = 2
[topic.config]
min.insync.replicas = 2

[[producer]]
name = "p1"
topics = ["orders"]
rate = 50
[producer.config]
acks = "all"

[[consumer]]
name = "r1"
topics = ["orders-1"]

[[step]]
name = "kill"
at = "2s"
when = "ack 100 of p1"
after = "1500us"
crash = "leader(orders-0)"
for = "1.5s"

[[step]]
when = "election on orders-0"
cut = { between = "b1", and = "p1" }

[[step]]
when = "isr(orders-0) is [b2, b1]"
slow = { from = "brokers", to = "clients", min = "1ms", max = "50ms" }

[[step]]
at = "3s"
skew = { target = "struck(kill)", by = "-4s" }
"#;

fn errors_of(edit: (&str, &str)) -> String {
    let text = WHOLE.replace(edit.0, edit.1);
    assert_ne!(text, WHOLE, "the edit {edit:?} changed nothing");
    Script::from_toml("bad.toml", &text).expect_err("the script is wrong").to_string()
}

#[test]
fn a_whole_script_is_read_and_reads_back_from_what_it_writes() {
    let script = Script::from_toml("library/story.toml", WHOLE).unwrap();
    assert_eq!(script.name, "story");
    assert_eq!(script.steps.len(), 4);
    assert_eq!(script.steps[0].when, Some(Trigger::Ack { nth: 100, producer: Some("p1".to_owned()) }));
    assert_eq!(script.steps[0].lasts, Some(Span::ms(1500)));
    let Action::Cut(cut) = &script.steps[1].action else { panic!("{:?}", script.steps[1]) };
    assert_eq!((&cut.link.to, cut.link.both), (&Target::Producer("p1".to_owned()), true));
    assert_eq!(script.topics[0].config["min.insync.replicas"], "2");
    assert_eq!(script.cluster.host["b2"]["replica.lag.time.max.ms"], "3000");
    let written = script.to_toml();
    assert_eq!(Script::from_toml("elsewhere.toml", &written).unwrap(), script, "{written}");
}

#[test]
fn expectations_are_verdict_words_for_known_properties() {
    let name = klamm_scenarios::script::property_names()[0];
    let text = format!("{WHOLE}\n[expect]\n{name} = \"allowed\"\n");
    assert_eq!(Script::from_toml("s.toml", &text).unwrap().expect[name], Expected::Allowed);
    let wrong = format!("{WHOLE}\n[expect]\n{name} = \"alowed\"\n");
    let error = Script::from_toml("s.toml", &wrong).unwrap_err().to_string();
    assert!(
        error.ends_with(&format!("`{name}` cannot be expected to be `alowed`; did you mean `allowed`?")),
        "{error}"
    );
    let unknown = format!("{WHOLE}\n[expect]\nx{name} = \"held\"\n");
    let error = Script::from_toml("s.toml", &unknown).unwrap_err().to_string();
    assert!(error.ends_with(&format!("there is no property `x{name}`; did you mean `{name}`?")), "{error}");
}

#[test]
fn every_mistake_is_named_with_its_place_its_value_and_the_nearest_name() {
    let golden = [
        (("seed = 7", "heal = \"cores\""), "bad.toml:3:8: `heal` cannot be `cores`; did you mean `core`?"),
        (("seed = 7", "sead = 7"), "bad.toml:3:1: unknown key `sead`; did you mean `seed`?"),
        (("seed = 7", "seed = \"x\""), "bad.toml:3:8: `seed` cannot be \"x\": a whole number 0 or more is wanted"),
        (("\"12s\"", "\"-12s\""), "bad.toml:4:12: `duration` cannot be \"-12s\": a duration cannot be negative"),
        (
            ("\"12s\"", "12"),
            "bad.toml:4:12: `duration` cannot be 12: a duration is a number and a unit in quotes, such as \"200ms\", \"3s\" or \"2m\"",
        ),
        (
            ("epoch-truncation", "epoch-trunkation"),
            "bad.toml:5:12: there is no guard `epoch-trunkation`; did you mean `epoch-truncation`?",
        ),
        (
            ("brokers = 3", "brokers = 30"),
            "bad.toml:8:11: `brokers` cannot be 30: a whole number from 1 to 9 is wanted",
        ),
        (("[cluster.host.b2]", "[cluster.host.b4]"), "bad.toml:14:15: there is no host `b4`; did you mean `b1`?"),
        (
            ("name = \"orders\"", "name = \"or ders\""),
            "bad.toml:18:8: a topic cannot be named `or ders`: letters, digits, dot, underscore and dash are allowed",
        ),
        (
            ("topics = [\"orders\"]", "topics = [\"order\"]"),
            "bad.toml:25:11: there is no topic or partition `order`; did you mean `orders`?",
        ),
        (("name = \"r1\"", "name = \"p1\""), "bad.toml:31:8: the name `p1` is taken by another host"),
        (("crash = \"leader(orders-0)\"", "crsh = \"b1\""), "bad.toml:39:1: unknown key `crsh`; did you mean `crash`?"),
        (
            ("crash = \"leader(orders-0)\"", "crash = \"b7\""),
            "bad.toml:39:9: there is no host `b7`; did you mean `b1`?",
        ),
        (
            ("leader(orders-0)", "leader(orders-5)"),
            "bad.toml:39:9: there is no partition `orders-5`; did you mean `orders-0`?",
        ),
        (
            ("leader(orders-0)", "leeder(orders-0)"),
            "bad.toml:39:9: there is no target `leeder(orders-0)`; did you mean `leader`?",
        ),
        (("ack 100 of p1", "ack 100 of p9"), "bad.toml:37:8: there is no producer `p9`; did you mean `p1`?"),
        (("at = \"2s\"", "at = \"2m\""), "bad.toml:36:6: `at` 2m lies beyond the run's duration 12s"),
        (("struck(kill)", "struck(kil)"), "bad.toml:52:19: there is no step `kil`; did you mean `kill`?"),
        (("max = \"50ms\"", "max = \"50us\""), "bad.toml:48:63: `max` 50us is less than `min` 1ms"),
        (
            ("and = \"p1\"", "to = \"p1\""),
            "bad.toml:44:7: a link needs its two ends: `{ between = \"A\", and = \"B\" }` for both directions or `{ from = \"A\", to = \"B\" }` for one",
        ),
        (
            ("by = \"-4s\"", "buy = \"-4s\""),
            "bad.toml:52:8: `skew` needs one of `by`, `jump`, `drift`, `timers` and `leap`",
        ),
        (("by = \"-4s\"", "by = \"-4s\", bye = 1"), "bad.toml:52:47: `skew` has no key `bye`; did you mean `by`?"),
        (("seed = 7", "seed = = 7"), "bad.toml:3:8: extra `=`, expected nothing"),
    ];
    for (edit, message) in golden {
        assert_eq!(errors_of(edit), message, "{edit:?}");
    }
}

#[test]
fn a_step_without_a_verb_with_two_verbs_or_without_an_instant_is_refused() {
    assert!(
        errors_of(("crash = \"leader(orders-0)\"\nfor = \"1.5s\"", ""))
            .contains("a step needs a verb: crash, power-off")
    );
    assert!(
        errors_of(("crash = \"leader(orders-0)\"", "crash = \"b1\"\npause = \"b2\"")).contains("a step has one verb")
    );
    assert!(errors_of(("when = \"election on orders-0\"\n", "")).contains("a step needs `at`, `when` or both"));
    assert!(errors_of(("crash = \"leader(orders-0)\"", "restart = \"b1\"")).contains("`for` has no meaning here"));
}

const VERBS: &str = r#"
[cluster]
brokers = 3
link = { latency = "lognormal 1ms 9ms", jitter = "1ms", rate = 1_000_000, queue = 9_000, loss = 0.001, corrupt = 0.0001, split = 0.1 }
topology = "two-data-centres"
disk = { device = "cloud-volume", file-system = "ext4-ordered", capacity = 100_000_000, memory = 1_000_000 }
rack = { a = ["b1", "c1"], b = ["b2", "p1"] }
data-centre = { x = ["a"], y = ["b"] }
[[topic]]
name = "orders"
[[producer]]
name = "p1"
topics = ["orders"]
[[step]]
at = "1s"
"#;

/// Every verb in every form.
const FORMS: &[&str] = &[
    "crash = \"rack(a)\"",
    "power-off = \"data-centre(x)\"",
    "lose = { target = \"b1\", disk = \"lost\" }",
    "lose = \"replicas(orders-0)\"",
    "wipe = \"b1\"",
    "restore-disk = \"b1\"",
    "restart = \"down\"",
    "stop = \"b1\"",
    "stop = { target = \"b1\", within = \"5s\" }",
    "pause = \"b1\"",
    "resume = \"b1\"",
    "cut = { between = \"rack(a)\", and = \"rack(b)\" }",
    "cut = { from = \"b1\", to = \"b2\", hold = true }",
    "heal = \"all\"",
    "slow = { between = \"b1\", and = \"b2\", min = \"1ms\", max = \"9ms\" }",
    "slow = { cpu = \"b1\", min = \"1us\", max = \"9us\" }",
    "slow = { between = \"b1\", and = \"b2\", latency = \"constant 5ms\" }",
    "slow = { between = \"b1\", and = \"b2\", latency = \"exponential 1ms 5ms\" }",
    "slow = { between = \"b1\", and = \"b2\", latency = \"lognormal 2ms 50ms\" }",
    "slow = { between = \"b1\", and = \"b2\", latency = \"bimodal 1ms 2ms 100ms 200ms 0.1\" }",
    "slow = { from = \"b1\", to = \"b2\", jitter = \"5ms\" }",
    "slow = { from = \"b1\", to = \"b2\", rate = 10000, queue = 65536 }",
    "drop = { between = \"rack(a)\", and = \"brokers\", loss = 0.2 }",
    "split = { between = \"b1\", and = \"b2\", share = 0.5 }",
    "corrupt = { from = \"b1\", to = \"b2\", share = 0.001 }",
    "cut = { from = \"b1\", to = \"b2\", reset = true }",
    "connection = { from = \"b1\", to = \"leader(orders-0)\", role = \"fetch\", fault = \"reset\" }",
    "connection = { to = \"b1\", fault = \"half-open\" }",
    "connection = { from = \"p1\", fault = \"stall\" }",
    "connection = { from = \"p1\", fault = \"corrupt\", share = 0.01 }",
    "connection = { from = \"p1\", fault = \"delay\", by = \"2s\" }",
    "connection = { from = \"p1\", fault = \"slow-close\", by = \"2s\" }",
    "listen = { target = \"b1\", answer = \"refuse\" }",
    "listen = { target = \"b1\", answer = \"silent\" }",
    "skew = { target = \"b1\", by = \"-4s\" }",
    "skew = { target = \"b1\", jump = \"4s\" }",
    "skew = { target = \"b1\", drift = -200 }",
    "skew = { target = \"b1\", timers = 200 }",
    "skew = { target = \"b1\", leap = \"repeated\" }",
    "skew = { target = \"b1\", leap = \"10s\" }",
    "fill = \"b1\"",
    "fill = { target = \"b1\", full = 0.97, device = \"disk\" }",
    "corrupt = { target = \"b1\", bits = 3, path = \"orders-0\" }",
    "disk = { target = \"b1\", fault = \"sync-error\", nth = 3 }",
    "disk = { target = \"b1\", fault = \"read-error\", probability = 0.25, path = \"log\" }",
    "disk = { target = \"b1\", fault = \"slow\", factor = 10 }",
    "disk = { target = \"b1\", fault = \"throttled\", bytes-per-second = 1000 }",
    "disk = { target = \"b1\", fault = \"no-space\", fill = 0.5 }",
    "limit = { target = \"b1\", open-files = 30 }",
    "limit = { target = \"b1\", memory = 1_000_000, kill = true }",
    "gc = { target = \"b1\", collector = \"g1-small\" }",
];

#[test]
fn every_form_of_every_verb_reads_back_from_what_it_writes() {
    let mut verbs = std::collections::BTreeSet::new();
    for form in FORMS {
        let script = Script::from_toml("a.toml", &format!("{VERBS}{form}\n")).unwrap_or_else(|error| panic!("{error}"));
        let written = script.to_toml();
        let read = Script::from_toml("a.toml", &written).unwrap_or_else(|error| panic!("{form}: {error}\n{written}"));
        assert_eq!(read, script, "{written}");
        verbs.insert(script.steps[0].action.verb());
    }
    assert_eq!(verbs, Action::VERBS.into_iter().collect(), "a verb has no form here");
}

/// Steps that no world could do, and what is said of them.
const HOSTILE: &[(&str, &str)] = &[
    ("fill = { target = \"b1\", full = 2.0 }", "`full` cannot be 2.0: a share from 0.000001 to 1 is wanted"),
    (
        "slow = { between = \"b1\", and = \"b2\", min = \"-1ms\", max = \"9ms\" }",
        "`min` cannot be \"-1ms\": a duration cannot be negative",
    ),
    (
        "slow = { cpu = \"b1\", min = \"0s\", max = \"9us\" }",
        "`slow`: the least cost of a step is zero: leave it out for none, or set it to at least 1",
    ),
    (
        "skew = { target = \"b1\", drift = -1000000 }",
        "`skew`: a clock cannot be off by -1000000 parts in a million: from -999999 to 1000000",
    ),
    (
        "skew = { target = \"b1\", by = \"1s\", jump = \"1s\" }",
        "`skew` needs one of `by`, `jump`, `drift`, `timers` and `leap`",
    ),
    (
        "skew = { target = \"b1\", leap = \"0s\" }",
        "`skew`: the length of a smear is zero: leave it out for none, or set it to at least 1",
    ),
    ("skew = \"b1\"", "`skew` needs one of `by`, `jump`, `drift`, `timers` and `leap`"),
    (
        "disk = { target = \"b1\", fault = \"sync-eror\" }",
        "there is no disk fault `sync-eror`; did you mean `sync-error`?",
    ),
    (
        "disk = { target = \"b1\", fault = \"slow\", factor = 0.5 }",
        "`factor` cannot be 0.5: a number of at least 1 is wanted",
    ),
    (
        "disk = { target = \"b1\", fault = \"stuck\", probability = 0.5 }",
        "`disk`: probability below 1 for `stuck`: a device is in that state or it is not",
    ),
    (
        "limit = { target = \"b1\", open-files = 0 }",
        "`open-files` cannot be 0: a whole number from 1 to 4294967295 is wanted",
    ),
    (
        "drop = { between = \"b1\", and = \"b2\", loss = 2.0 }",
        "`loss` cannot be 2.0: a share from 0.000001 to 1 is wanted",
    ),
    ("drop = { between = \"b1\", and = \"b2\" }", "`drop` needs a `loss`"),
    (
        "slow = { between = \"b1\", and = \"b2\", latency = \"lognormal 5ms 2ms\" }",
        "a median of 5000000 ns and a p99 of 2000000 ns",
    ),
    (
        "slow = { between = \"b1\", and = \"b2\", latency = \"normal 5ms 2ms\" }",
        "a distribution is one of: constant TIME",
    ),
    (
        "slow = { between = \"b1\", and = \"b2\", rate = 1000, queue = 100 }",
        "a queue of 100 bytes holds not one segment",
    ),
    ("cut = { between = \"b1\", and = \"b2\", hold = true, reset = true }", "`hold` and `reset` exclude each other"),
    (
        "connection = { from = \"b1\", role = \"fetsch\", fault = \"reset\" }",
        "`role` cannot be `fetsch`; did you mean `fetch`?",
    ),
    ("connection = { from = \"b1\", fault = \"delay\" }", "`connection` needs `by`, how much later"),
    ("connection = { fault = \"reset\" }", "`connection` needs `from` or `to`"),
    ("listen = { target = \"b1\", answer = \"yes\" }", "`answer` cannot be `yes`"),
    ("gc = { target = \"b1\", collector = \"g1\" }", "`collector` cannot be `g1`; did you mean `zgc`?"),
    ("crash = \"rack(c)\"", "there is no rack `c`; did you mean `a`?"),
    ("crash = \"data-centre(z)\"", "there is no data centre `z`; did you mean `x`?"),
    ("crash = { target = \"b1\", hard = true }", "`crash` has no key `hard`"),
    ("cut = \"b1\"", "a link needs its two ends"),
    ("stop = { within = \"1s\" }", "`stop` needs a `target`"),
];

#[test]
fn what_no_world_could_do_is_refused_with_its_place_and_its_value() {
    for (step, message) in HOSTILE {
        let error = Script::from_toml("a.toml", &format!("{VERBS}{step}\n")).expect_err(step).to_string();
        assert!(error.starts_with("a.toml:16:") && error.contains(message), "{step}\n{error}");
    }
}

#[test]
fn a_cluster_that_cannot_be_is_refused_with_its_place_and_its_value() {
    let golden = [
        (
            ("capacity = 100_000_000", "capacity = 0"),
            "a.toml:6:8: `disk`: device \"disk\": capacity = 0: a drive of zero bytes",
        ),
        (("memory = 1_000_000", "memory = 10"), "a.toml:6:8: `disk`: memory of 10 bytes"),
        (("\"cloud-volume\"", "\"clout\""), "a.toml:6:19: `device` cannot be `clout`"),
        (("\"ext4-ordered\"", "\"ext4\""), "a.toml:6:49: `file-system` cannot be `ext4`"),
        (("\"b1\", \"c1\"", "\"b1\", \"c9\""), "a.toml:7:21: there is no host `c9`; did you mean `c1`?"),
        (("\"b2\", \"p1\"", "\"b1\", \"p1\""), "host `b1` stands in two places: one rack each"),
        (("loss = 0.001", "loss = 2.0"), "a.toml:4:97: `loss` cannot be 2.0: a share from 0.000001 to 1 is wanted"),
        (("jitter = \"1ms\"", "jitter = \"-1ms\""), "`jitter` cannot be \"-1ms\": a duration cannot be negative"),
        (("rate = 1_000_000, ", ""), "a.toml:4:8: `link`: a queue of 9000 bytes is never used without a bandwidth"),
        (
            ("\"two-data-centres\"", "\"two-data-centers\""),
            "a.toml:5:12: `topology` cannot be `two-data-centers`; did you mean `two-data-centres`?",
        ),
        (("y = [\"b\"]", "y = [\"q\"]"), "there is no rack `q`"),
    ];
    for (edit, message) in golden {
        let text = VERBS.replace(edit.0, edit.1) + "crash = \"b1\"\n";
        let error = Script::from_toml("a.toml", &text).expect_err(edit.1).to_string();
        assert!(error.contains(message), "{edit:?}\n{error}");
    }
}
