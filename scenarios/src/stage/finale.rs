//! How a run ends: the cluster comes to rest, takes one write on every partition and is read whole.

use super::ledger::Ledger;
use super::workload::{Clients, Load, Reader, Writer};
use crate::script::{Partition, Script, Span, broker_ms, producer_ms};
use klamm_base::{NodeId, Observation, Properties};
use klamm_client::ProducerConfig;
use klamm_env::Env;
use std::collections::BTreeSet;
use std::sync::Arc;

/// How long the cluster may take to come to rest after the heal: every wait that its settings allow, one after another,
/// twice over for a second try, and half a minute for connections to notice that they are dead.
pub fn settle_bound(script: &Script) -> Span {
    let waits = [
        "broker.session.timeout.ms",
        "replica.lag.time.max.ms",
        "replica.socket.timeout.ms",
        "replica.fetch.backoff.ms",
        "controller.quorum.request.timeout.ms",
        "request.timeout.ms",
    ];
    let cluster: u64 = waits.iter().map(|key| broker_ms(&script.cluster.config, key)).sum();
    let clients = script.producers.iter().map(|p| producer_ms(&p.config, "delivery.timeout.ms")).max().unwrap_or(0);
    Span::ms(2 * cluster + clients + 30_000)
}

/// The partitions that these brokers can serve: one of them is in sync.
pub fn awake(script: &Script, ledger: &Ledger, brokers: &BTreeSet<NodeId>) -> Vec<Partition> {
    script.partitions().into_iter().filter(|partition| !ledger.sleeps(partition, brokers)).collect()
}

/// What is still amiss, if anything is.
pub fn unrest(partitions: &[Partition], ledger: &Ledger, up: &BTreeSet<NodeId>, clients: &Clients) -> Option<String> {
    let partition = partitions.iter().find_map(|partition| ledger.unrest(partition, up));
    partition.or_else(|| match clients.open_records() {
        0 => None,
        open => Some(format!("{open} records of producers have no outcome yet")),
    })
}

fn settings(pairs: &[(&str, &str)]) -> Properties {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// One write to every partition, with every protection on.
pub async fn write_once(env: &Env, clients: &Arc<Clients>, partitions: &[Partition]) {
    let patient = settings(&[("request.timeout.ms", "5000"), ("delivery.timeout.ms", "60000"), ("linger.ms", "0")]);
    let config = ProducerConfig::from_properties(&patient).expect("these settings are right");
    let mut writer = Writer::start(env, clients, "judge", config, Load { size: 16, keys: 0, tombstones: 0 });
    for partition in partitions {
        writer.set_keys(u64::from(clients.is_compacted(&partition.topic)));
        writer.write(partition, || {});
    }
    writer.flush().await;
}

/// Reads every partition from its first offset to its high watermark.
pub async fn read_all(env: &Env, clients: &Arc<Clients>, partitions: &[Partition], bound: Span) {
    let give_up_ns = env.clock.mono_ns() + bound.0;
    let patient = settings(&[("request.timeout.ms", "5000")]);
    let mut reader = Reader::start(env, clients, "judge", patient, partitions, true);
    let mut left: Vec<Partition> = partitions.to_vec();
    while !left.is_empty() && env.clock.mono_ns() < give_up_ns {
        reader.poll(100).await;
        left.retain(|partition| match end_reached(&reader, partition) {
            Some(log_end) => !finished(&reader, clients, partition, log_end, true),
            None => true,
        });
    }
    for partition in &left {
        let log_end = reader.position(partition).map_or(0, |(position, _)| position);
        finished(&reader, clients, partition, log_end, false);
    }
}

/// The high watermark, if the reader stands at it.
fn end_reached(reader: &Reader, partition: &Partition) -> Option<i64> {
    let (position, high_watermark) = reader.position(partition)?;
    high_watermark.filter(|end| position >= *end)
}

/// Observes the end of the final reading of a partition.
fn finished(reader: &Reader, clients: &Clients, partition: &Partition, log_end: i64, complete: bool) -> bool {
    let tp = clients.ids.get().expect("topics are made before they are read")[partition];
    let log_start = reader.begun(tp).unwrap_or(log_end);
    reader.observe().note(|| Observation::FinallyRead { tp, log_start, log_end, complete });
    true
}
