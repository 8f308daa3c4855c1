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
