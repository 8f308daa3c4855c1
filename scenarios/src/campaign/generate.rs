//! A whole script from a seed.

use super::biases::weighted;
use super::draft::{Draft, On};
use super::profile::{Between, Profile};
use super::{compaction, harms, shape};
use crate::script::{
    ClusterSpec, ConsumerSpec, FILE_SYSTEMS, Heal, Keys, Preset, ProducerSpec, Script, Span, Step, TopicSpec,
    default_of,
};
use klamm_base::{Draws, Properties};
use std::collections::BTreeMap;
use toml::Spanned;

/// Draws the script of `seed`. The same profile and seed give the same script, always.
pub fn generate(profile: &Profile, seed: u64) -> Script {
    let mut draws = Draws::named(seed, "script");
    let mut script = Script {
        name: profile.name.clone(),
        lesson: None,
        seed,
        duration: span(&mut draws, profile.duration),
        heal: heal(profile, seed),
        without: Vec::new(),
        expect: BTreeMap::new(),
        cluster: cluster(&mut draws, profile),
        topics: topics(&mut draws, profile),
        producers: Vec::new(),
        consumers: Vec::new(),
        steps: Vec::new(),
    };
    script.producers = producers(&mut draws, profile, &script);
    script.consumers = consumers(&mut draws, profile, &script);
    place(profile, &mut script);
    shape::draw(profile, &mut script);
    compaction::draw(profile, &mut script);
    script.steps = steps(profile, &script);
    script
}

/// What strikes: nothing in a seed that is to be without faults.
fn steps(profile: &Profile, script: &Script) -> Vec<Step> {
    let seed = script.seed;
    if Draws::named(seed, "fault-free").chance(profile.fault_free, 100) {
        return Vec::new();
    }
    let mut faults = Draws::named(seed, "faults");
    let on = On::draw(&mut faults, seed, profile);
    let periods = periods(&mut faults, profile, script.duration);
    let mut steps = Vec::new();
    for (from, until) in &periods {
        steps.extend(period(&mut faults, profile, &on, script, *from, *until));
    }
    steps.extend(harms::draw(profile, &on, script, &periods));
    steps
}

/// Whether all is healed in the end, or a core.
fn heal(profile: &Profile, seed: u64) -> Heal {
    if Draws::named(seed, "heal").chance(profile.core_heal, 100) { Heal::Core } else { Heal::All }
}

/// Where hosts stand and what disks they have, from a stream of its own.
fn place(profile: &Profile, script: &mut Script) {
    let mut draws = Draws::named(script.seed, "places");
    let mut one_of = |texts: &[Spanned<String>]| (!texts.is_empty()).then(|| draws.pick(texts).get_ref().clone());
    fn named<T: Copy>(words: &[(&str, T)], name: Option<String>) -> Option<T> {
        words.iter().find(|(word, _)| name.as_deref() == Some(*word)).map(|(_, value)| *value)
    }
    script.cluster.topology = named(&Preset::WORDS, one_of(&profile.topologies));
    script.cluster.disk.file_system = named(&FILE_SYSTEMS, one_of(&profile.file_systems));
}

fn span(draws: &mut Draws, [low, high]: Between<Span>) -> Span {
    Span::ms(draws.between(low.as_ms(), high.as_ms()))
}

fn number(draws: &mut Draws, [low, high]: Between<u64>) -> u64 {
    draws.between(low, high)
}

fn cluster(draws: &mut Draws, profile: &Profile) -> ClusterSpec {
    let latency_max = *draws.pick(&profile.latency);
    ClusterSpec {
        latency_min: Span(latency_max.0 / draws.between(2, 5)),
        latency_max,
        config: scaled(draws, profile, &profile.broker_timeouts, Keys::Broker),
        ..ClusterSpec::default()
    }
}

/// Every group of settings at 1, 1/3 or 1/10 of its defaults.
fn scaled(draws: &mut Draws, profile: &Profile, groups: &[Vec<Spanned<String>>], keys: Keys) -> Properties {
    let mut properties = Properties::new();
    for group in groups {
        let divisor = [1, 3, 10][weighted_pick(draws, &profile.scales)];
        for key in group {
            let value = (default_of(keys, key.get_ref()) / divisor).max(1);
            properties.insert(key.get_ref().clone(), value.to_string());
        }
    }
    properties
}

/// The place of one of `weights`, drawn by weight.
fn weighted_pick(draws: &mut Draws, weights: &[u64]) -> usize {
    let mut left = draws.below(weights.iter().sum());
    weights
        .iter()
        .position(|weight| {
            let here = left < *weight;
            left = left.saturating_sub(*weight);
            here
        })
        .expect("the draw lies below the sum")
}

fn topics(draws: &mut Draws, profile: &Profile) -> Vec<TopicSpec> {
    let names = ["orders", "payments", "clicks", "audit", "stock"];
    let count = number(draws, profile.topics) as usize;
    let topic = |name: &&str| {
        let min_insync = number(draws, profile.min_insync_replicas).to_string();
        let mut config = Properties::from([("min.insync.replicas".to_owned(), min_insync)]);
        if draws.chance(profile.small_segments, 100) {
            config.insert("segment.bytes".to_owned(), number(draws, profile.segment_bytes).to_string());
        }
        let partitions = number(draws, profile.partitions) as u32;
        TopicSpec { name: (*name).to_owned(), partitions, replication: 1, config }
    };
    names.iter().take(count).map(topic).collect()
}

/// A topic, a partition or all topics.
fn places(draws: &mut Draws, script: &Script) -> Vec<String> {
    let topics: Vec<String> = script.topics.iter().map(|topic| topic.name.clone()).collect();
    match draws.below(3) {
        0 => topics,
        1 => vec![draws.pick(&topics).clone()],
        _ => vec![draws.pick(&script.partitions()).to_string()],
    }
}

fn producers(draws: &mut Draws, profile: &Profile, script: &Script) -> Vec<ProducerSpec> {
    let count = number(draws, profile.producers);
    (1..=count).map(|n| producer(draws, profile, script, n)).collect()
}

fn producer(draws: &mut Draws, profile: &Profile, script: &Script, n: u64) -> ProducerSpec {
    let mut config = scaled(draws, profile, &profile.producer_timeouts, Keys::Producer);
    let all = draws.chance(profile.acks_all, 100);
    let idempotent = all && draws.chance(profile.idempotent, 100);
    let acks = if all { "all" } else { *draws.pick(&["1", "1", "1", "0"]) };
    let settings = [
        ("acks", acks.to_owned()),
        ("enable.idempotence", idempotent.to_string()),
        ("linger.ms", draws.below(6).to_string()),
        ("batch.size", (*draws.pick(&[200, 1_000, 16_384])).to_string()),
    ];
    config.extend(settings.map(|(key, value)| (key.to_owned(), value)));
    ProducerSpec {
        name: format!("p{n}"),
        topics: places(draws, script),
        records: 1_000_000,
        rate: number(draws, profile.rate),
        burst: 1,
        record_size: number(draws, profile.record_size) as u32,
        keys: 0,
        tombstones: 0,
        start: Span::ms(draws.below(500)),
        config,
    }
}

fn consumers(draws: &mut Draws, profile: &Profile, script: &Script) -> Vec<ConsumerSpec> {
    let count = number(draws, profile.consumers);
    let consumer = |n: u64| ConsumerSpec {
        name: format!("r{n}"),
        topics: places(draws, script),
        start: Span::ms(draws.below(5_000)),
        config: scaled(draws, profile, &profile.consumer_timeouts, Keys::Consumer),
    };
    (1..=count).map(consumer).collect()
}

/// The periods that cover the run, from its first second on.
fn periods(draws: &mut Draws, profile: &Profile, duration: Span) -> Vec<(Span, Span)> {
    let mut all = Vec::new();
    let mut from = Span::ms(500);
    while from < duration {
        let until = Span((from.0 + span(draws, profile.period).0).min(duration.0));
        all.push((from, until));
        from = until;
    }
    all
}

/// The steps of one period, as they are drawn: none in a quiet one, else one to three incidents.
pub(super) fn period(
    draws: &mut Draws,
    profile: &Profile,
    on: &On,
    script: &Script,
    from: Span,
    until: Span,
) -> Vec<Step> {
    let choices = weighted(on, &profile.biases);
    if choices.is_empty() || draws.chance(profile.quiet, 100) {
        return Vec::new();
    }
    let weights: Vec<u64> = choices.iter().map(|(weight, _)| *weight).collect();
    let incidents = draws.between(1, 3);
    (0..incidents)
        .flat_map(|_| {
            let bias = choices[weighted_pick(draws, &weights)].1;
            bias(&mut Draft { draws: &mut *draws, on, victim: harms::victim(script), script, from, until })
        })
        .collect()
}
