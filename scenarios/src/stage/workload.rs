//! What the script's clients do: producers that write numbered records at a rate, consumers that read what they are
//! assigned. Every call and every answer is observed.

use super::roster::PORT;
use crate::script::{ConsumerSpec, Partition, ProducerSpec, Script};
use bytes::Bytes;
use klamm_base::{
    ClientId, ClientKind, ClientRecord, Observation, Observe, Observer, Properties, Source, TopicPartition,
};
use klamm_client::{Consumer, ConsumerConfig, Fetched, Message, Producer, ProducerConfig, Record, StartAt, Str};
use klamm_env::{Address, Env};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

/// Records that a producer may wait for: more are not handed in until some have ended.
const MOST_OPEN: u64 = 2_000;

/// What all clients of a run share.
pub struct Clients {
    /// Takes what they observe.
    pub observer: Arc<dyn Observer>,
    /// Every broker.
    pub bootstrap: Vec<Address>,
    /// Ids of the script's partitions, known once its topics are made.
    pub ids: OnceLock<BTreeMap<Partition, TopicPartition>>,
    /// Set when the script is over: producers stop handing in.
    pub closing: AtomicBool,
    /// Records of each producer without an outcome.
    pub open: Vec<AtomicU64>,
    /// Topics in which a record needs a key.
    compacted: BTreeSet<String>,
    incarnations: AtomicU32,
}

impl Clients {
    /// No client yet.
    pub fn new(script: &Script, observer: Arc<dyn Observer>) -> Self {
        let broker = |n: u32| Address::new(&format!("b{n}"), PORT);
        Self {
            observer,
            bootstrap: (1..=script.cluster.brokers).map(broker).collect(),
            ids: OnceLock::new(),
            closing: AtomicBool::new(false),
            open: script.producers.iter().map(|_| AtomicU64::new(0)).collect(),
            compacted: script
                .topics
                .iter()
                .filter(|topic| topic.is_compacted())
                .map(|topic| topic.name.clone())
                .collect(),
            incarnations: AtomicU32::new(0),
        }
    }

    /// A new incarnation of a client.
    pub fn incarnation(&self, name: &str, kind: ClientKind) -> (ClientId, Observe) {
        let id = ClientId(self.incarnations.fetch_add(1, Relaxed) + 1);
        let observe = Observe::new(Source::Client(id), self.observer.clone());
        observe.note(|| Observation::ClientStarted { name: name.to_owned(), kind });
        (id, observe)
    }

    fn id(&self, partition: &Partition) -> TopicPartition {
        self.ids.get().expect("topics are made before clients start")[partition]
    }

    /// True if a record of this topic needs a key.
    pub fn is_compacted(&self, topic: &str) -> bool {
        self.compacted.contains(topic)
    }

    /// Records without an outcome, over all producers.
    pub fn open_records(&self) -> u64 {
        self.open.iter().map(|open| open.load(Relaxed)).sum()
    }
}

/// Hands in one record and observes its outcome.
pub struct Writer {
    producer: Producer,
    observe: Observe,
    client: ClientId,
    clients: Arc<Clients>,
    load: Load,
    places: BTreeMap<Partition, Place>,
}

/// What records are made of.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Bytes of a value.
    pub size: u32,
    /// Different keys; 0: none.
    pub keys: u64,
    /// Of a hundred records, so many have no value.
    pub tombstones: u64,
}

/// Where a writer writes.
struct Place {
    topic: Str,
    tp: TopicPartition,
    /// Of the next record.
    number: u32,
}

impl Writer {
    /// A producer of this name, started now.
    pub fn start(env: &Env, clients: &Arc<Clients>, name: &str, config: ProducerConfig, load: Load) -> Self {
        let kind = ClientKind::Producer { acks: config.acks, idempotent: config.idempotent };
        let (client, observe) = clients.incarnation(name, kind);
        let producer = Producer::start(env, config, clients.bootstrap.clone(), observe.clone());
        Self { producer, observe, client, clients: clients.clone(), load, places: BTreeMap::new() }
    }

    /// Hands in the partition's next record; `ended` is told when it has its outcome.
    pub fn write(&mut self, partition: &Partition, ended: impl FnOnce() + Send + 'static) {
        if !self.places.contains_key(partition) {
            let place = Place { topic: partition.topic.as_str().into(), tp: self.clients.id(partition), number: 0 };
            self.places.insert(partition.clone(), place);
        }
        let place = self.places.get_mut(partition).expect("it was just made");
        let (tp, record) = (place.tp, ClientRecord { client: self.client, number: place.number });
        place.number += 1;
        self.observe.note(|| Observation::Invoked { tp, record });
        let observe = self.observe.clone();
        let message = self.load.message(place.topic.clone(), tp.partition, record);
        self.producer.send_with(message, move |outcome| {
            observe.note(|| Observation::Ended { tp, record, outcome });
            ended();
        });
    }

    /// From now on its records have one of so many keys.
    pub fn set_keys(&mut self, keys: u64) {
        self.load.keys = keys;
    }

    /// Sends what lingers and waits for every outcome.
    pub async fn flush(&self) {
        self.producer.flush().await;
    }
}

impl Load {
    /// The record as it is sent: its name opens the value, or stands in a header if it has none.
    fn message(self, topic: Str, partition: i32, record: ClientRecord) -> Message {
        let plain = Message::to(topic, partition, value(record, self.size as usize));
        if self.keys == 0 {
            return plain;
        }
        let drawn = mixed(record);
        let key = Some(Bytes::from(format!("k{}", drawn % self.keys)));
        if drawn / self.keys % 100 >= self.tombstones {
            return Message { key, ..plain };
        }
        let name = Bytes::copy_from_slice(&record.to_bytes());
        Message { key, value: None, headers: vec![(NAME.into(), name)], ..plain }
    }
}

/// The header in which a record without a value has its name.
const NAME: &str = "record";

/// A number that follows from a record's name, and looks as if it did not.
fn mixed(record: ClientRecord) -> u64 {
    let word = u64::from(record.client.0) << 32 | u64::from(record.number);
    let mixed = (word ^ word >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ mixed >> 32
}

/// The record's name and padding up to the size.
fn value(record: ClientRecord, size: usize) -> Bytes {
    let mut value = vec![b'.'; size.max(8)];
    value[..8].copy_from_slice(&record.to_bytes());
    Bytes::from(value)
}

/// The name of a record that was read; `None` if no workload wrote it.
fn name_of(record: &Record) -> Option<ClientRecord> {
    let named = || record.headers.iter().find(|(key, _)| key.as_str() == NAME).and_then(|(_, name)| name.as_ref());
    record.value.as_ref().or_else(named).and_then(|name| ClientRecord::from_value(name))
}

/// A producer's program.
pub async fn produce(env: Env, clients: Arc<Clients>, spec: ProducerSpec, index: usize, partitions: Vec<Partition>) {
    let config = ProducerConfig::from_properties(&spec.config).expect("the script was checked");
    clients.open[index].store(0, Relaxed);
    env.clock.sleep_ms(spec.start.as_ms()).await;
    let load = Load { size: spec.record_size, keys: spec.keys, tombstones: spec.tombstones };
    let mut writer = Writer::start(&env, &clients, &spec.name, config, load);
    let pause_ns = 1_000_000_000 / spec.rate;
    let mut next_ns = env.clock.mono_ns();
    for number in 0..spec.records {
        while clients.open[index].load(Relaxed) >= MOST_OPEN && !clients.closing.load(Relaxed) {
            env.clock.sleep_ms(10).await;
        }
        if clients.closing.load(Relaxed) {
            break;
        }
        clients.open[index].fetch_add(1, Relaxed);
        let counted = clients.clone();
        let partition = &partitions[(number % partitions.len() as u64) as usize];
        writer.write(partition, move || {
            counted.open[index].fetch_sub(1, Relaxed);
        });
        next_ns += pause_ns;
        if (number + 1).is_multiple_of(spec.burst) {
            env.clock.sleep_until(next_ns).await;
        }
    }
    writer.flush().await;
}

/// A consumer's program: reads until the run is over.
pub async fn consume(env: Env, clients: Arc<Clients>, spec: ConsumerSpec, partitions: Vec<Partition>) {
    env.clock.sleep_ms(spec.start.as_ms()).await;
    let mut reader = Reader::start(&env, &clients, &spec.name, spec.config, &partitions, false);
    loop {
        reader.poll(500).await;
    }
}

/// A consumer whose reading is observed.
pub struct Reader {
    consumer: Consumer,
    observe: Observe,
    finally: bool,
    /// The first offset read of each partition.
    begun: BTreeMap<TopicPartition, i64>,
}

impl Reader {
    /// A consumer of this name, assigned these partitions from their first offset on.
    pub fn start(
        env: &Env,
        clients: &Arc<Clients>,
        name: &str,
        mut config: Properties,
        partitions: &[Partition],
        finally: bool,
    ) -> Self {
        config.entry("auto.offset.reset".to_owned()).or_insert_with(|| "earliest".to_owned());
        let config = ConsumerConfig::from_properties(&config).expect("the script was checked");
        let (_, observe) = clients.incarnation(name, ClientKind::Consumer);
        let mut consumer = Consumer::start(env, config, clients.bootstrap.clone(), observe.clone());
        consumer.assign(partitions.iter().map(|p| (p.topic.as_str().into(), p.partition, StartAt::Earliest)));
        Self { consumer, observe, finally, begun: BTreeMap::new() }
    }

    /// Waits for records and observes them; true if there were any.
    pub async fn poll(&mut self, max_wait_ms: u64) -> bool {
        let fetched = self.consumer.poll(max_wait_ms).await;
        for fetched in &fetched {
            if let Some(first) = fetched.records.first() {
                self.begun.entry(fetched.tp).or_insert(first.offset);
            }
            self.observe_read(fetched);
        }
        !fetched.is_empty()
    }

    /// The first offset that was read of a partition.
    pub fn begun(&self, tp: TopicPartition) -> Option<i64> {
        self.begun.get(&tp).copied()
    }

    /// The next offset of a partition, and its high watermark as last heard.
    pub fn position(&self, partition: &Partition) -> Option<(i64, Option<i64>)> {
        self.consumer.position(&partition.topic, partition.partition)
    }

    /// For what only the caller knows.
    pub fn observe(&self) -> &Observe {
        &self.observe
    }

    /// One observation for each run of offsets without a gap.
    fn observe_read(&self, fetched: &Fetched) {
        let mut rest = fetched.records.as_slice();
        while let Some(first) = rest.first() {
            let run = rest.iter().zip(first.offset..).take_while(|(record, offset)| record.offset == *offset).count();
            let (now, later) = rest.split_at(run);
            let records = now.iter().map(name_of).collect();
            let (tp, offset, finally) = (fetched.tp, first.offset, self.finally);
            self.observe.note(|| Observation::Read { tp, offset, records, finally });
            rest = later;
        }
    }
}
