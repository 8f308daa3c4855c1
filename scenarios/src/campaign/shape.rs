//! What a script is made of besides its skeleton: how many brokers and replicas, which limits, which load. All of it is drawn
//! from streams of its own, so that a profile that says nothing of it draws what it always drew.

use super::profile::{Choices, Profile};
use crate::script::{ProducerSpec, Script, TopicSpec, choice, producer_ms};
use klamm_base::{Draws, Properties};

/// Bytes that a producer may write in a second where its records are large.
const BYTES_A_SECOND: u64 = 20_000;
/// The least value that a workload can write: its own name.
const TINY: u32 = 8;

/// Draws the shape of a script whose skeleton stands.
pub fn draw(profile: &Profile, script: &mut Script) {
    let mut draws = Draws::named(script.seed, "shape");
    script.cluster.brokers = *draws.pick(profile.brokers.choices());
    choose(&mut draws, &profile.settings.broker, &mut script.cluster.config);
    for topic in &mut script.topics {
        draw_topic(&mut draws, profile, topic);
    }
    let mut draws = Draws::named(script.seed, "load");
    for producer in &mut script.producers {
        choose(&mut draws, &profile.settings.producer, &mut producer.config);
        draw_load(&mut draws, profile, producer);
    }
    for consumer in &mut script.consumers {
        choose(&mut draws, &profile.settings.consumer, &mut consumer.config);
    }
    let Script { seed, cluster, topics, producers, consumers, .. } = script;
    draw_own(*seed, &profile.own.broker, [&mut cluster.config]);
    draw_own(*seed, &profile.own.topic, topics.iter_mut().map(|topic| &mut topic.config));
    draw_own(*seed, &profile.own.producer, producers.iter_mut().map(|producer| &mut producer.config));
    draw_own(*seed, &profile.own.consumer, consumers.iter_mut().map(|consumer| &mut consumer.config));
}

/// Gives every setting one of its values in each of these, from a stream of the setting's own.
fn draw_own<'a>(seed: u64, choices: &Choices, configs: impl IntoIterator<Item = &'a mut Properties>) {
    let mut streams: Vec<_> =
        choices.keys().map(|key| Draws::named(seed, &format!("setting/{}", key.get_ref()))).collect();
    for config in configs {
        for ((key, values), draws) in choices.iter().zip(&mut streams) {
            config.insert(key.get_ref().clone(), choice(draws.pick(values)));
        }
    }
}

/// Gives every setting one of its values.
pub(super) fn choose(draws: &mut Draws, choices: &Choices, config: &mut Properties) {
    for (key, values) in choices {
        config.insert(key.get_ref().clone(), choice(draws.pick(values)));
    }
}

fn draw_topic(draws: &mut Draws, profile: &Profile, topic: &mut TopicSpec) {
    topic.replication = *draws.pick(profile.replication.choices());
    if draws.chance(profile.min_insync_all, 100) {
        topic.config.insert("min.insync.replicas".to_owned(), topic.replication.to_string());
    }
    if draws.chance(profile.unclean, 100) {
        topic.config.insert("unclean.leader.election.enable".to_owned(), "true".to_owned());
    }
    choose(draws, &profile.settings.topic, &mut topic.config);
}

/// Size of the records, and how they come.
fn draw_load(draws: &mut Draws, profile: &Profile, producer: &mut ProducerSpec) {
    if draws.chance(profile.odd_sizes, 100) {
        let batch = producer_ms(&producer.config, "batch.size");
        let near = batch.saturating_sub(80) + draws.below(160);
        producer.record_size = if draws.chance(1, 2) { TINY } else { (near as u32).max(TINY) };
        producer.rate = producer.rate.min((BYTES_A_SECOND / u64::from(producer.record_size)).max(1));
    }
    let load = profile.load;
    match draws.below(load.steady + load.bursts + load.idle) {
        drawn if drawn < load.steady => {}
        drawn if drawn < load.steady + load.bursts => producer.burst = draws.between(2, producer.rate.max(2) * 2),
        _ => producer.rate = draws.between(1, 5).min(producer.rate),
    }
}

#[cfg(test)]
mod tests {
    use crate::campaign::{Profile, generate};
    use crate::script::{Heal, Script};
    use std::collections::BTreeSet;

    const CORE: &str = include_str!("../../profiles/core.toml");

    fn scripts() -> impl Iterator<Item = Script> {
        let core = Profile::from_toml("core.toml", CORE).unwrap();
        (0..600).map(move |seed| generate(&core, seed))
    }

    /// In how many of a hundred of all `seeds` something is so.
    fn share(is_so: impl Fn(&Script) -> bool) -> usize {
        scripts().filter(is_so).count() / 6
    }

    #[test]
    fn clusters_topics_and_load_have_every_shape_that_the_profile_names() {
        let brokers: BTreeSet<u32> = scripts().map(|script| script.cluster.brokers).collect();
        assert_eq!(brokers, BTreeSet::from([3, 4, 5]));
        let topics: Vec<_> = scripts().flat_map(|script| script.topics).collect();
        let min_insync = |topic: &crate::script::TopicSpec| topic.config["min.insync.replicas"].parse::<u32>().unwrap();
        let pairs: BTreeSet<(u32, u32)> = topics.iter().map(|topic| (topic.replication, min_insync(topic))).collect();
        assert_eq!(pairs, BTreeSet::from([(2, 1), (2, 2), (3, 1), (3, 2), (3, 3)]));
        let producers: Vec<_> = scripts().flat_map(|script| script.producers).collect();
        let count = |is_so: fn(&crate::script::ProducerSpec) -> bool| producers.iter().filter(|p| is_so(p)).count();
        assert!(count(|p| p.record_size == 8) > 50 && count(|p| p.record_size > 800) > 20);
        assert!(count(|p| p.burst > 1) > 100 && count(|p| p.rate <= 5) > 50);
        let in_flight = |n: &str| producers.iter().any(|p| p.config["max.in.flight.requests.per.connection"] == n);
        assert!(["1", "2", "5"].into_iter().all(in_flight));
    }

    #[test]
    fn producers_of_a_storm_use_every_codec_and_nothing_else_of_a_seed_depends_on_which() {
        let text = include_str!("../../profiles/storm.toml");
        let line = text.lines().find(|line| line.starts_with("\"compression.type\"")).unwrap();
        let storm = |text: &str| Profile::from_toml("storm.toml", text).unwrap();
        let (with, without) = (storm(text), storm(&text.replace(line, "")));
        let mut codecs = BTreeSet::new();
        for seed in 0..100 {
            let mut script = generate(&with, seed);
            codecs.extend(script.producers.iter_mut().filter_map(|p| p.config.remove("compression.type")));
            assert_eq!(script, generate(&without, seed));
        }
        assert_eq!(codecs, ["gzip", "lz4", "none", "snappy", "zstd"].map(String::from).into());
    }

    #[test]
    fn some_seeds_have_no_faults_some_heal_a_core_and_some_topics_may_be_led_by_anybody() {
        let healthy = share(|script| script.steps.is_empty());
        assert!((3..12).contains(&healthy), "{healthy} of a hundred");
        let core = share(|script| script.heal == Heal::Core);
        assert!((15..25).contains(&core), "{core} of a hundred");
        let unclean = share(|script| script.to_toml().contains("\"unclean.leader.election.enable\" = \"true\""));
        assert!((5..18).contains(&unclean), "{unclean} of a hundred");
    }

    #[test]
    fn what_a_profile_says_wrongly_is_refused_with_the_way_out() {
        let wrong = |from: &str, to: &str| {
            assert!(CORE.contains(from), "{from}");
            Profile::from_toml("p.toml", &CORE.replace(from, to)).unwrap_err().to_string()
        };
        let golden = [
            (("fault-free = 5", "fault-free = 500"), "`fault-free` cannot be 500: a share of a hundred is wanted"),
            (("replication = [3, 3, 3, 2]", "replication = 4"), "must hold `replication`"),
            (("replication = [3, 3, 3, 2]", "replication = 1"), "must hold `replication`"),
            (("replication = [3, 3, 3, 2]", "replication = []"), "must hold `replication`"),
            (
                ("brokers = [3, 3, 3, 3, 3, 4, 5]", "brokers = \"three\""),
                "a number, or a list of numbers to choose from",
            ),
            (("\"fetch.min.bytes\" = [1, ", "\"fetch.min.bites\" = [1, "), "did you mean `fetch.min.bytes`?"),
            (("\"fetch.min.bytes\" = [1, ", "\"fetch.min.bytes\" = [-1, "), "cannot be `-1`"),
            (("\"fetch.min.bytes\" = [1, 1, 1, 1_000]", "\"fetch.min.bytes\" = []"), "has no value to choose from"),
            (("steady = 7\nbursts = 2\nidle = 1", "steady = 0\nbursts = 0\nidle = 0"), "must offer something"),
            (("\"torn-tail-cut\"", "\"torn-tale-cut\""), "did you mean `torn-tail-cut`?"),
        ];
        for ((from, to), expected) in golden {
            let error = wrong(from, to);
            assert!(error.contains(expected), "{error}");
        }
    }
}
