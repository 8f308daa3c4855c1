//! The consumer: reads assigned partitions in offset order.

mod core;

use crate::config::CONSUMER;
use crate::mailbox::Mailbox;
use crate::pool::{Ask, Pool};
use core::{Command, Core, Event};
use klamm_base::{ConfigError, ErrorCode, Now, Observe, Outbox, Properties, TopicPartition};
use klamm_env::{Address, Env, Timer};
use klamm_wire::Str;
use klamm_wire::records::Record;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Where reading a partition begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// The first offset of the log.
    Earliest,
    /// Behind the last committed record.
    Latest,
    /// This offset.
    Offset(i64),
}

/// Settings of a consumer. Times in milliseconds.
#[derive(Clone, Debug)]
pub struct ConsumerConfig {
    /// `client.id`.
    pub client_id: Str,
    pub(crate) reset: Option<StartAt>,
    pub(crate) read_committed: bool,
    pub(crate) min_bytes: i32,
    pub(crate) max_bytes: i32,
    pub(crate) partition_max_bytes: i32,
    pub(crate) max_wait_ms: u64,
    pub(crate) retry_backoff_ms: u64,
    pub(crate) request_timeout_ms: u64,
    pub(crate) metadata_max_age_ms: u64,
}

impl ConsumerConfig {
    /// Reads Kafka's keys.
    pub fn from_properties(given: &Properties) -> Result<Self, ConfigError> {
        CONSUMER.check(given)?;
        let number = |key| CONSUMER.int(given, key);
        Ok(Self {
            client_id: CONSUMER.text(given, "client.id").into(),
            reset: match CONSUMER.text(given, "auto.offset.reset") {
                "earliest" => Some(StartAt::Earliest),
                "latest" => Some(StartAt::Latest),
                _ => None,
            },
            read_committed: CONSUMER.text(given, "isolation.level") == "read_committed",
            min_bytes: number("fetch.min.bytes") as i32,
            max_bytes: number("fetch.max.bytes") as i32,
            partition_max_bytes: number("max.partition.fetch.bytes") as i32,
            max_wait_ms: number("fetch.max.wait.ms") as u64,
            retry_backoff_ms: number("retry.backoff.ms") as u64,
            request_timeout_ms: number("request.timeout.ms") as u64,
            metadata_max_age_ms: number("metadata.max.age.ms") as u64,
        })
    }
}

/// Records of one partition, in offset order.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Name of the topic.
    pub topic: Str,
    /// Its id, and the partition.
    pub tp: TopicPartition,
    /// The position after them.
    pub next_offset: i64,
    /// Leader epoch of the last batch; -1 if there was none.
    pub next_epoch: i32,
    /// The records; control records are left out.
    pub records: Vec<Record>,
}

/// A consumer with manual assignment. It works while it is polled.
pub struct Consumer {
    env: Env,
    pool: Arc<Pool>,
    timer: Box<dyn Timer>,
    core: Core,
    mailbox: Arc<Mailbox<Event>>,
    out: Outbox<Command>,
}

impl Consumer {
    /// A consumer without partitions. `bootstrap` must not be empty. It notes `Positioned` whenever its position is looked
    /// up or reset.
    pub fn start(env: &Env, config: ConsumerConfig, bootstrap: Vec<Address>, observe: Observe) -> Consumer {
        Consumer {
            env: env.clone(),
            pool: Pool::new(env.clone(), "consumer"),
            timer: env.clock.timer(),
            core: Core::new(config, bootstrap, observe),
            mailbox: Arc::default(),
            out: Outbox::new(),
        }
    }

    /// Reads exactly these partitions from now on; what was fetched for others is dropped.
    pub fn assign(&mut self, partitions: impl IntoIterator<Item = (Str, i32, StartAt)>) {
        self.step(Event::Assign(partitions.into_iter().collect()));
    }

    /// The next records of some partitions, as soon as there are any; empty after `max_wait_ms`.
    pub async fn poll(&mut self, max_wait_ms: u64) -> Vec<Fetched> {
        let until_ns = self.env.clock.mono_ns().saturating_add(max_wait_ms.saturating_mul(1_000_000));
        poll_fn(|cx| self.poll_records(cx, until_ns)).await
    }

    /// The next offset to hand out of a partition, and its high watermark as last heard; `None` before they are known.
    pub fn position(&self, topic: &str, partition: i32) -> Option<(i64, Option<i64>)> {
        self.core.position(topic, partition)
    }

    /// Why the last fetch of a partition brought nothing, or not all: an error that its broker told, CORRUPT_MESSAGE for a batch
    /// whose checksum is wrong. It is tried again with the next poll; the position stands before what is damaged.
    pub fn trouble(&self, topic: &str, partition: i32) -> Option<ErrorCode> {
        self.core.trouble(topic, partition)
    }

    fn poll_records(&mut self, cx: &mut Context<'_>, until_ns: u64) -> Poll<Vec<Fetched>> {
        loop {
            while let Poll::Ready(event) = self.mailbox.poll_take(cx) {
                self.step(event);
            }
            if self.core.has_records() {
                return Poll::Ready(self.step(Event::Poll));
            }
            if self.env.clock.mono_ns() >= until_ns {
                return Poll::Ready(Vec::new());
            }
            let deadline_ns = self.core.deadline().unwrap_or(u64::MAX).min(until_ns);
            self.timer.set(Some(deadline_ns));
            if self.timer.poll_fired(cx).is_pending() {
                return Poll::Pending;
            }
            self.step(Event::Deadline);
        }
    }

    /// Steps the core and performs what it asks; gives back what it delivers.
    fn step(&mut self, event: Event) -> Vec<Fetched> {
        let now = Now { mono_ns: self.env.clock.mono_ns(), wall_ms: self.env.clock.wall_ms() };
        self.core.step(now, event, &mut self.out);
        let mut delivered = Vec::new();
        for command in self.out.drain() {
            match command {
                Command::Deliver(fetched) => delivered.extend(fetched),
                Command::Ask { id, to, request, timeout_ms } => {
                    let mailbox = self.mailbox.clone();
                    let ask = Ask {
                        encode: Box::new(move |correlation_id| request.frame(correlation_id)),
                        deadline_ns: now.after_ms(timeout_ms),
                        answered: true,
                        done: Box::new(move |result| mailbox.put(Event::Answer { ask: id, result })),
                    };
                    self.pool.ask(&to, ask);
                }
            }
        }
        delivered
    }
}
