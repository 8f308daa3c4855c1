//! From what stands in the file to a [`Script`]: types, bounds, names, and whether everything that is named exists.

use super::disks::FILE_SYSTEMS;
use super::error::{ScriptError, Source};
use super::raw::{Any, RawCluster, RawConfig, RawConsumer, RawDisk, RawLink, RawProducer, RawScript, RawTopic, Text};
use super::verbs::Share;
use super::{
    ClusterSpec, ConsumerSpec, DeviceKind, DiskSpec, Expected, Heal, LinkSpec, Preset, ProducerSpec, Script, Span,
    TopicSpec, latency, tables,
};
use klamm_base::{Guard, Properties, nearest};
use klamm_sim::LinkProfile;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Range, RangeInclusive};
use toml::Value;

type Lowered<T> = Result<T, Box<ScriptError>>;

/// The sentence that suggests the nearest of `known`.
pub(crate) fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(word, known).map(|near| format!("did you mean `{near}`?"))
}

/// Lowers a whole script.
pub(super) fn lower(source: &Source, mut raw: RawScript) -> Lowered<Script> {
    let settings = raw.cluster.config.0.first().map_or(0..0, |(at, ..)| at.clone());
    let racks = (std::mem::take(&mut raw.cluster.rack), std::mem::take(&mut raw.cluster.data_centre));
    let cluster = cluster(source, raw.cluster)?;
    let topics = raw.topic.into_iter().map(|t| topic(source, &cluster, t.into_inner())).collect::<Lowered<Vec<_>>>()?;
    let mut script = Script {
        name: raw.name.map_or_else(|| stem(source.file), toml::Spanned::into_inner),
        lesson: raw.lesson.map(toml::Spanned::into_inner),
        seed: raw.seed.map_or(Ok(1), |v| whole(source, "seed", &v, 0..=i64::MAX))? as u64,
        duration: raw.duration.map_or(Ok(Span::ms(20_000)), |v| duration(source, "duration", &v))?,
        heal: raw.heal.map_or(Ok(Heal::All), |text| word(source, "heal", &text, &Heal::WORDS))?,
        without: raw.without.iter().map(|name| guard(source, name)).collect::<Lowered<_>>()?,
        expect: expect(source, raw.expect)?,
        cluster,
        topics,
        producers: Vec::new(),
        consumers: Vec::new(),
        steps: Vec::new(),
    };
    for raw in raw.producer {
        let whole = raw.span();
        let producer = producer(source, &script, raw.into_inner())?;
        tables::producer_settings(&producer.config).map_err(|reason| source.error(whole, reason, None))?;
        script.producers.push(producer);
    }
    for raw in raw.consumer {
        let whole = raw.span();
        let consumer = consumer(source, &script, raw.into_inner())?;
        tables::consumer_settings(&consumer.config).map_err(|reason| source.error(whole, reason, None))?;
        script.consumers.push(consumer);
    }
    script.cluster.rack = groups(source, ["rack", "host"], racks.0, &script.host_names())?;
    let named: Vec<String> = script.cluster.rack.keys().cloned().collect();
    script.cluster.data_centre = groups(source, ["data centre", "rack"], racks.1, &named)?;
    let names: BTreeSet<String> =
        raw.step.iter().filter_map(|s| s.get_ref().name.as_ref().map(|n| n.get_ref().clone())).collect();
    for raw in raw.step {
        let step = super::lower_step::step(source, &script, &names, raw)?;
        script.steps.push(step);
    }
    // What single settings cannot tell; a client's was told where the client stands.
    script.check().map_err(|reason| source.error(settings, reason, None))?;
    Ok(script)
}

fn stem(file: &str) -> String {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.strip_suffix(".toml").unwrap_or(name).to_owned()
}

/// A whole number within bounds.
pub(super) fn whole(source: &Source, key: &str, value: &Any, bounds: RangeInclusive<i64>) -> Lowered<i64> {
    match value.get_ref() {
        Value::Integer(n) if bounds.contains(n) => Ok(*n),
        other => {
            let (low, high) = (bounds.start(), bounds.end());
            let range = if *high == i64::MAX { format!("{low} or more") } else { format!("from {low} to {high}") };
            Err(source.error(
                value.span(),
                format!("`{key}` cannot be {other}: a whole number {range} is wanted"),
                None,
            ))
        }
    }
}

/// A duration; a bare number is refused, as its unit would be guessed.
pub(super) fn duration(source: &Source, key: &str, value: &Any) -> Lowered<Span> {
    let refuse = |reason: &str| {
        let shown = value.get_ref();
        Err(source.error(value.span(), format!("`{key}` cannot be {shown}: {reason}"), None))
    };
    match value.get_ref() {
        Value::String(text) => text.parse().or_else(|reason: String| refuse(&reason)),
        Value::Integer(n) if *n < 0 => refuse("a duration cannot be negative"),
        _ => refuse("a duration is a number and a unit in quotes, such as \"200ms\", \"3s\" or \"2m\""),
    }
}

fn guard(source: &Source, name: &Text) -> Lowered<Guard> {
    Guard::from_name(name.get_ref()).ok_or_else(|| {
        let help = did_you_mean(name.get_ref(), Guard::ALL.into_iter().map(Guard::name));
        source.error(name.span(), format!("there is no guard `{}`", name.get_ref()), help)
    })
}

fn expect(source: &Source, raw: RawConfig) -> Lowered<BTreeMap<String, Expected>> {
    let one = |(at, property, word): (Range<usize>, String, String)| {
        if !tables::property_names().contains(&property.as_str()) {
            let help = did_you_mean(&property, tables::property_names());
            return Err(source.error(at, format!("there is no property `{property}`"), help));
        }
        let verdict = Expected::from_word(&word).ok_or_else(|| {
            let help = did_you_mean(&word, Expected::WORDS.iter().map(|(name, _)| *name))
                .or_else(|| Some("held, violated, allowed or not-tested is wanted".to_owned()));
            source.error(at, format!("`{property}` cannot be expected to be `{word}`"), help)
        })?;
        Ok((property, verdict))
    };
    raw.0.into_iter().map(one).collect()
}

/// Settings, each checked by its table.
fn settings(source: &Source, raw: RawConfig, check: fn(&str, &str) -> Result<(), String>) -> Lowered<Properties> {
    let one = |(at, key, value): (Range<usize>, String, String)| {
        check(&key, &value).map_err(|reason| source.error(at, reason, None))?;
        Ok((key, value))
    };
    raw.0.into_iter().map(one).collect()
}

fn cluster(source: &Source, raw: RawCluster) -> Lowered<ClusterSpec> {
    let plain = ClusterSpec::default();
    let count = |key: &str, value: Option<Any>, most: i64, usual: u32| {
        value.map_or(Ok(usual), |v| whole(source, key, &v, 1..=most).map(|n| n as u32))
    };
    let brokers = count("brokers", raw.brokers, 9, plain.brokers)?;
    let controllers = count("controllers", raw.controllers, 1, plain.controllers)?;
    let hosts: Vec<String> = host_names(brokers, controllers);
    let latency_max = raw.latency_max.as_ref().map_or(Ok(plain.latency_max), |v| duration(source, "latency-max", v))?;
    let latency_min =
        raw.latency_min.map_or(Ok(plain.latency_min.min(latency_max)), |v| duration(source, "latency-min", &v))?;
    if latency_min > latency_max {
        let at = raw.latency_max.map_or(0..0, |v| v.span());
        return Err(source.error(
            at,
            format!("`latency-max` {latency_max} is less than `latency-min` {latency_min}"),
            None,
        ));
    }
    let mut host = BTreeMap::new();
    for (name, config) in raw.host {
        if !hosts.contains(name.get_ref()) {
            let help = did_you_mean(name.get_ref(), hosts.iter().map(String::as_str));
            return Err(source.error(name.span(), format!("there is no host `{}`", name.get_ref()), help));
        }
        host.insert(name.into_inner(), settings(source, config, tables::broker_setting)?);
    }
    let config = settings(source, raw.config, tables::broker_setting)?;
    let disk = raw.disk.map_or(Ok(DiskSpec::default()), |disk| disks(source, disk))?;
    let topology = raw.topology.map(|text| word(source, "topology", &text, &Preset::WORDS)).transpose()?;
    let mut cluster =
        ClusterSpec { controllers, brokers, latency_min, latency_max, topology, disk, config, host, ..plain };
    cluster.link = raw.link.map(|link| usual_link(source, &cluster, link)).transpose()?;
    Ok(cluster)
}

/// A link that is more than its latency.
fn usual_link(source: &Source, cluster: &ClusterSpec, raw: toml::Spanned<RawLink>) -> Lowered<LinkSpec> {
    let at = raw.span();
    let raw = raw.into_inner();
    let number = |key: &str, value: Option<Any>| {
        value.map_or(Ok(0), |v| whole(source, key, &v, 1..=i64::MAX).map(|number| number as u64))
    };
    let part = |key: &str, value: Option<Any>| value.map_or(Ok(0), |v| share(source, key, &v).map(|share| share.0));
    let plain = cluster.usual_link();
    let latency = raw.latency.map_or(Ok(plain.latency), |text| {
        let read = latency::read(text.get_ref());
        read.map_err(|reason| {
            source.error(text.span(), format!("`latency` cannot be `{}`: {reason}", text.get_ref()), None)
        })
    })?;
    let profile = LinkProfile {
        latency,
        jitter_ns: raw.jitter.map_or(Ok(0), |v| duration(source, "jitter", &v).map(|span| span.0))?,
        bytes_per_second: number("rate", raw.rate)?,
        queue_bytes: number("queue", raw.queue)?,
        loss_ppm: part("loss", raw.loss)?,
        corrupt_ppm: part("corrupt", raw.corrupt)?,
        partial_ppm: part("split", raw.split)?,
    };
    match profile.check() {
        Ok(()) => Ok(LinkSpec(profile)),
        Err(error) => Err(source.error(at, format!("`link`: {error}"), None)),
    }
}

/// A share of one, to a part in a million; never nothing.
pub(super) fn share(source: &Source, key: &str, value: &Any) -> Lowered<Share> {
    let number = match value.get_ref() {
        Value::Float(number) => Some(*number),
        Value::Integer(number) => Some(*number as f64),
        _ => None,
    };
    number.and_then(Share::from_one).ok_or_else(|| {
        let shown = value.get_ref();
        source.error(value.span(), format!("`{key}` cannot be {shown}: a share from 0.000001 to 1 is wanted"), None)
    })
}

/// One of some words.
pub(super) fn word<T: Copy>(source: &Source, key: &str, text: &Text, words: &[(&str, T)]) -> Lowered<T> {
    let found = words.iter().find(|(word, _)| *word == text.get_ref().as_str());
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let help = did_you_mean(text.get_ref(), names.iter().copied())
            .or_else(|| Some(format!("there are {}", names.join(", "))));
        source.error(text.span(), format!("`{key}` cannot be `{}`", text.get_ref()), help)
    })
}

/// Checks that each is one of some words.
pub(crate) fn check_words<T: Copy>(
    source: &Source,
    key: &str,
    texts: &[Text],
    words: &[(&str, T)],
) -> Result<(), Box<ScriptError>> {
    texts.iter().try_for_each(|text| word(source, key, text, words).map(drop))
}

fn disks(source: &Source, raw: toml::Spanned<RawDisk>) -> Lowered<DiskSpec> {
    let whole_span = raw.span();
    let raw = raw.into_inner();
    let bytes = |key: &str, value: Option<Any>| {
        value.map(|v| whole(source, key, &v, 0..=i64::MAX).map(|bytes| bytes as u64)).transpose()
    };
    let spec = DiskSpec {
        device: raw.device.map(|text| word(source, "device", &text, &DeviceKind::WORDS)).transpose()?,
        file_system: raw.file_system.map(|text| word(source, "file-system", &text, &FILE_SYSTEMS)).transpose()?,
        capacity: bytes("capacity", raw.capacity)?,
        memory: bytes("memory", raw.memory)?,
    };
    match spec.setup() {
        Ok(_) => Ok(spec),
        Err(error) => Err(source.error(whole_span, format!("`disk`: {error}"), None)),
    }
}

/// Racks or data centres: everything that one names exists, and stands in one of them only.
fn groups(
    source: &Source,
    what: [&str; 2],
    raw: BTreeMap<Text, Vec<Text>>,
    known: &[String],
) -> Lowered<BTreeMap<String, Vec<String>>> {
    let mut placed = BTreeSet::new();
    let mut all = BTreeMap::new();
    for (name, members) in raw {
        for member in &members {
            let wanted = member.get_ref();
            if !known.contains(wanted) {
                let help = did_you_mean(wanted, known.iter().map(String::as_str));
                return Err(source.error(member.span(), format!("there is no {} `{wanted}`", what[1]), help));
            }
            if !placed.insert(wanted.clone()) {
                let message = format!("{} `{wanted}` stands in two places: one {} each", what[1], what[0]);
                return Err(source.error(member.span(), message, None));
            }
        }
        all.insert(name.into_inner(), members.into_iter().map(toml::Spanned::into_inner).collect());
    }
    Ok(all)
}

pub(super) fn host_names(brokers: u32, controllers: u32) -> Vec<String> {
    (1..=controllers).map(|n| format!("c{n}")).chain((1..=brokers).map(|n| format!("b{n}"))).collect()
}

fn topic(source: &Source, cluster: &ClusterSpec, raw: RawTopic) -> Lowered<TopicSpec> {
    let name = raw.name.get_ref();
    let legal =
        !name.is_empty() && name.len() <= 249 && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    if !legal {
        let why = "letters, digits, dot, underscore and dash are allowed";
        return Err(source.error(raw.name.span(), format!("a topic cannot be named `{name}`: {why}"), None));
    }
    let most = i64::from(cluster.brokers);
    let usual = cluster.brokers.min(3);
    Ok(TopicSpec {
        partitions: raw.partitions.map_or(Ok(1), |v| whole(source, "partitions", &v, 1..=100))? as u32,
        replication: raw.replication.map_or(Ok(i64::from(usual)), |v| whole(source, "replication", &v, 1..=most))?
            as u32,
        config: settings(source, raw.config, tables::topic_setting)?,
        name: raw.name.into_inner(),
    })
}

/// A client's name is its host's name: it must be free.
fn client_name(source: &Source, script: &Script, name: Text) -> Lowered<String> {
    let reserved = ["admin", "judge", "all", "down", "brokers", "clients", "controller"];
    let hosts = host_names(script.cluster.brokers, script.cluster.controllers);
    let taken = script.producers.iter().map(|p| &p.name).chain(script.consumers.iter().map(|c| &c.name)).chain(&hosts);
    let wanted = name.get_ref();
    if reserved.contains(&wanted.as_str()) || taken.into_iter().any(|other| other == wanted) {
        return Err(source.error(name.span(), format!("the name `{wanted}` is taken by another host"), None));
    }
    if wanted.is_empty() || !wanted.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
        let why = "letters, digits, dash and underscore are allowed";
        return Err(source.error(name.span(), format!("a client cannot be named `{wanted}`: {why}"), None));
    }
    Ok(name.into_inner())
}

/// Topics and partitions that a client names: each must exist.
fn client_topics(source: &Source, script: &Script, topics: &toml::Spanned<Vec<Text>>) -> Lowered<Vec<String>> {
    if topics.get_ref().is_empty() {
        return Err(source.error(topics.span(), "`topics` is empty: the client would do nothing", None));
    }
    let known = known_places(script);
    let one = |name: &Text| {
        if !known.contains(name.get_ref()) {
            let help = did_you_mean(name.get_ref(), known.iter().map(String::as_str));
            return Err(source.error(
                name.span(),
                format!("there is no topic or partition `{}`", name.get_ref()),
                help,
            ));
        }
        Ok(name.get_ref().clone())
    };
    topics.get_ref().iter().map(one).collect()
}

/// Every topic and every partition by its name.
fn known_places(script: &Script) -> Vec<String> {
    let topics = script.topics.iter().map(|t| t.name.clone());
    topics.chain(script.partitions().iter().map(ToString::to_string)).collect()
}

fn producer(source: &Source, script: &Script, raw: RawProducer) -> Lowered<ProducerSpec> {
    let number = |key: &str, value: Option<Any>, bounds: RangeInclusive<i64>, usual: i64| {
        value.map_or(Ok(usual), |v| whole(source, key, &v, bounds))
    };
    let keys = number("keys", raw.keys, 0..=1_000_000, 0)? as u64;
    let share = raw.tombstones.as_ref().map(toml::Spanned::span);
    let tombstones = number("tombstones", raw.tombstones, 0..=100, 0)? as u64;
    if let Some(span) = share.filter(|_| tombstones > 0 && keys == 0) {
        let help = "say how many keys the producer has: keys = 20".to_owned();
        return Err(source.error(span, "a tombstone deletes a key, and this producer has none".to_owned(), Some(help)));
    }
    Ok(ProducerSpec {
        name: client_name(source, script, raw.name)?,
        topics: client_topics(source, script, &raw.topics)?,
        records: number("records", raw.records, 1..=100_000_000, 1_000_000)? as u64,
        rate: number("rate", raw.rate, 1..=1_000_000, 100)? as u64,
        burst: number("burst", raw.burst, 1..=100_000, 1)? as u64,
        record_size: number("record-size", raw.record_size, 8..=10_000_000, 100)? as u32,
        keys,
        tombstones,
        start: raw.start.map_or(Ok(Span::ZERO), |v| duration(source, "start", &v))?,
        config: settings(source, raw.config, tables::producer_setting)?,
    })
}

fn consumer(source: &Source, script: &Script, raw: RawConsumer) -> Lowered<ConsumerSpec> {
    Ok(ConsumerSpec {
        name: client_name(source, script, raw.name)?,
        topics: client_topics(source, script, &raw.topics)?,
        start: raw.start.map_or(Ok(Span::ZERO), |v| duration(source, "start", &v))?,
        config: settings(source, raw.config, tables::consumer_setting)?,
    })
}
