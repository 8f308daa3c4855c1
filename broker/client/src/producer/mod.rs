//! The producer: batches, retries, and one of four outcomes for each record.

mod batches;
mod core;
#[cfg(test)]
mod core_tests;
mod partitioner;

use crate::config::PRODUCER;
use crate::mailbox::Mailbox;
use crate::metadata::TopicInfo;
use crate::pool::{Ask, Pool};
use batches::Pending;
use bytes::Bytes;
use core::{Command, Core, Event, Submitted};
use klamm_base::{ConfigError, ErrorCode, Now, Observe, Outbox, Outcome, Properties};
use klamm_env::{Address, Env, Timer};
use klamm_wire::Str;
use klamm_wire::records::Codec;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use tokio::sync::oneshot;

/// Settings of a producer. Times in milliseconds.
#[derive(Clone, Debug)]
pub struct ProducerConfig {
    /// `client.id`.
    pub client_id: Str,
    /// `acks`: 0, 1, or -1 for all.
    pub acks: i16,
    /// `enable.idempotence`, after Kafka's rule for acks and retries.
    pub idempotent: bool,
    pub(crate) codec: Codec,
    pub(crate) batch_bytes: usize,
    pub(crate) linger_ms: u64,
    pub(crate) in_flight_max: usize,
    pub(crate) retries: u32,
    pub(crate) retry_backoff_ms: u64,
    pub(crate) retry_backoff_max_ms: u64,
    pub(crate) request_timeout_ms: u64,
    pub(crate) delivery_timeout_ms: u64,
    pub(crate) metadata_max_age_ms: u64,
    pub(crate) max_request_bytes: usize,
}

impl ProducerConfig {
    /// Reads Kafka's keys. Idempotence needs acks=all, retries and at most five requests in flight; where it was not asked for
    /// by name, other settings switch it off silently, as in Kafka (P6).
    pub fn from_properties(given: &Properties) -> Result<Self, ConfigError> {
        PRODUCER.check(given)?;
        let number = |key| PRODUCER.int(given, key) as u64;
        let acks = match PRODUCER.text(given, "acks") {
            "all" => -1,
            acks => acks.parse().expect("a checked value"),
        };
        let in_flight_max = number("max.in.flight.requests.per.connection") as usize;
        let retries = number("retries") as u32;
        let config = Self {
            client_id: PRODUCER.text(given, "client.id").into(),
            acks,
            idempotent: PRODUCER.bool(given, "enable.idempotence") && acks == -1 && retries > 0,
            codec: Codec::from_name(PRODUCER.text(given, "compression.type")).expect("a checked value"),
            batch_bytes: number("batch.size") as usize,
            linger_ms: number("linger.ms"),
            in_flight_max,
            retries,
            retry_backoff_ms: number("retry.backoff.ms"),
            retry_backoff_max_ms: number("retry.backoff.max.ms"),
            request_timeout_ms: number("request.timeout.ms"),
            delivery_timeout_ms: number("delivery.timeout.ms"),
            metadata_max_age_ms: number("metadata.max.age.ms"),
            max_request_bytes: number("max.request.size") as usize,
        };
        config.check_together(given)
    }

    fn check_together(self, given: &Properties) -> Result<Self, ConfigError> {
        let bad = |key: &str, expected: String| {
            let value = PRODUCER.text(given, key).to_owned();
            Err(ConfigError::BadValue { what: "producer", key: key.to_owned(), value, expected })
        };
        let asked = given.get("enable.idempotence").is_some_and(|value| value == "true");
        if asked && !self.idempotent {
            return bad("acks", "enable.idempotence=true needs acks=all and retries above 0".to_owned());
        }
        if self.idempotent && self.in_flight_max > 5 {
            let key = "max.in.flight.requests.per.connection";
            return bad(key, "enable.idempotence=true allows at most 5".to_owned());
        }
        let least = self.linger_ms + self.request_timeout_ms;
        if self.delivery_timeout_ms < least && given.contains_key("delivery.timeout.ms") {
            return bad("delivery.timeout.ms", format!("at least linger.ms + request.timeout.ms = {least} is wanted"));
        }
        Ok(Self { delivery_timeout_ms: self.delivery_timeout_ms.max(least), ..self })
    }
}

/// A record as an application hands it in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Name of the topic.
    pub topic: Str,
    /// Where to; `None`: the key decides, and without a key the partitions take turns.
    pub partition: Option<i32>,
    /// Key, if any.
    pub key: Option<Bytes>,
    /// Value; `None` deletes the key in a compacted topic.
    pub value: Option<Bytes>,
    /// Headers in their order; a key may repeat.
    pub headers: Vec<(Str, Bytes)>,
}

impl Message {
    /// A value without a key, to this partition.
    pub fn to(topic: impl Into<Str>, partition: i32, value: Bytes) -> Self {
        Self { topic: topic.into(), partition: Some(partition), key: None, value: Some(value), headers: Vec::new() }
    }

    /// Bytes of its parts.
    fn size(&self) -> usize {
        let bytes = |field: &Option<Bytes>| field.as_ref().map_or(0, Bytes::len);
        let headers: usize = self.headers.iter().map(|(key, value)| key.as_str().len() + value.len()).sum();
        bytes(&self.key) + bytes(&self.value) + headers
    }
}

type Done = Box<dyn FnOnce(Outcome) + Send>;

/// A running producer. Dropping it leaves what was handed in to its task, which runs on until its process ends.
#[derive(Clone)]
pub struct Producer {
    env: Env,
    shared: Arc<Shared>,
    max_request_bytes: usize,
}

struct Shared {
    mailbox: Mailbox<Event>,
    waits: Mutex<Waits>,
}

/// Who waits for what.
#[derive(Default)]
struct Waits {
    next_handle: u64,
    records: BTreeMap<u64, Done>,
    topics: BTreeMap<Str, Vec<oneshot::Sender<TopicInfo>>>,
    idle: Vec<oneshot::Sender<()>>,
}

impl Producer {
    /// Starts a producer's task in `env`. `bootstrap` must not be empty.
    pub fn start(env: &Env, config: ProducerConfig, bootstrap: Vec<Address>, observe: Observe) -> Producer {
        let shared = Arc::new(Shared { mailbox: Mailbox::default(), waits: Mutex::default() });
        let max_request_bytes = config.max_request_bytes;
        let drive = Drive {
            env: env.clone(),
            pool: Pool::new(env.clone(), "producer"),
            timer: env.clock.timer(),
            armed: None,
            core: Core::new(config, bootstrap, observe),
            shared: shared.clone(),
            out: Outbox::new(),
        };
        env.tasks.spawn("producer", Box::pin(drive));
        Producer { env: env.clone(), shared, max_request_bytes }
    }

    /// The topic's id and size, as soon as the cluster tells them; creates it where the brokers do so (`auto.create.topics.enable`).
    pub async fn topic(&self, topic: &str) -> Option<TopicInfo> {
        let (tell, told) = oneshot::channel();
        let topic = Str::from(topic);
        self.shared.waits().topics.entry(topic.clone()).or_default().push(tell);
        self.shared.mailbox.put(Event::Want(topic));
        told.await.ok()
    }

    /// Hands in a record; `done` is called once with its outcome, from the producer's task.
    pub fn send_with(&self, message: Message, done: impl FnOnce(Outcome) + Send + 'static) {
        if message.size() > self.max_request_bytes {
            return done(Outcome::Refused(ErrorCode::MessageTooLarge));
        }
        let handle = {
            let mut waits = self.shared.waits();
            let handle = waits.next_handle;
            waits.next_handle += 1;
            waits.records.insert(handle, Box::new(done));
            handle
        };
        let Message { topic, partition, key, value, headers } = message;
        let record = Pending { handle, timestamp_ms: self.env.clock.wall_ms(), key, value, headers };
        self.shared.mailbox.put(Event::Send(Submitted { topic, partition, record }));
    }

    /// As [`Producer::send_with`], as a future.
    pub async fn send(&self, message: Message) -> Outcome {
        let (tell, told) = oneshot::channel();
        self.send_with(message, move |outcome| {
            // The caller may have stopped waiting.
            let _ = tell.send(outcome);
        });
        told.await.unwrap_or(Outcome::Unknown(ErrorCode::NetworkException))
    }

    /// Sends what lingers and waits until every record handed in so far has its outcome.
    pub async fn flush(&self) {
        let (tell, told) = oneshot::channel();
        self.shared.waits().idle.push(tell);
        self.shared.mailbox.put(Event::Flush);
        // A task that is gone has nothing left to flush.
        let _ = told.await;
    }
}

impl Shared {
    fn waits(&self) -> std::sync::MutexGuard<'_, Waits> {
        self.waits.lock().expect("a producer's waits")
    }
}

/// The producer's task: steps the core and performs what it asks.
struct Drive {
    env: Env,
    pool: Arc<Pool>,
    timer: Box<dyn Timer>,
    armed: Option<u64>,
    core: Core,
    shared: Arc<Shared>,
    out: Outbox<Command>,
}

impl Future for Drive {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            while let Poll::Ready(event) = self.shared.mailbox.poll_take(cx) {
                self.step(event);
            }
            let deadline = self.core.deadline();
            if deadline != self.armed {
                self.armed = deadline;
                self.timer.set(deadline);
            }
            if deadline.is_none() || self.timer.poll_fired(cx).is_pending() {
                return Poll::Pending;
            }
            self.armed = None;
            self.step(Event::Deadline);
        }
    }
}

impl Drive {
    fn step(&mut self, event: Event) {
        let now = Now { mono_ns: self.env.clock.mono_ns(), wall_ms: self.env.clock.wall_ms() };
        self.core.step(now, event, &mut self.out);
        let mut out = std::mem::take(&mut self.out);
        for command in out.drain() {
            self.perform(now, command);
        }
        self.out = out;
        if self.core.is_idle() {
            for tell in std::mem::take(&mut self.shared.waits().idle) {
                // Who flushed may have stopped waiting.
                let _ = tell.send(());
            }
        }
    }

    fn perform(&mut self, now: Now, command: Command) {
        match command {
            Command::Ask { id, to, request, timeout_ms } => {
                let shared = self.shared.clone();
                let answered = request.answered;
                let ask = Ask {
                    encode: Box::new(move |correlation_id| request.frame(correlation_id)),
                    deadline_ns: now.after_ms(timeout_ms),
                    answered,
                    done: Box::new(move |result| shared.mailbox.put(Event::Answer { ask: id, result })),
                };
                self.pool.ask(&to, ask);
            }
            Command::Settle { handle, outcome } => {
                let done = self.shared.waits().records.remove(&handle).expect("a record settled once");
                done(outcome);
            }
            Command::TopicKnown { topic, info } => {
                for tell in self.shared.waits().topics.remove(&topic).unwrap_or_default() {
                    // Who asked may have stopped waiting.
                    let _ = tell.send(info.clone());
                }
            }
        }
    }
}
