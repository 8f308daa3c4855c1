//! The producer's thinking: what to send to whom, what an answer means, what the application is told. No I/O.
//!
//! Follows Kafka's producer: idempotence by sequences (KIP-98), local epoch bumps (KIP-360), delivery time-out (KIP-91).

use super::ProducerConfig;
use super::batches::{Limits, PartitionBatches, Pending, QueuedBatch, Readiness};
use super::partitioner;
use crate::connection::{CallError, CallFailure, CallResult};
use crate::metadata::{ClusterView, METADATA_VERSION, TopicInfo};
use crate::request;
use bytes::Bytes;
use klamm_base::{ErrorCode, Mark, Now, Observation, Observe, Outbox, Outcome, sometimes};
use klamm_env::Address;
use klamm_wire::Str;
use klamm_wire::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use klamm_wire::messages::produce_response::{PartitionProduceResponse, ProduceResponse};
use klamm_wire::messages::{InitProducerIdRequest, InitProducerIdResponse, MetadataResponse};
use std::collections::{BTreeMap, BTreeSet};

const PRODUCE_VERSION: i16 = 11;
const INIT_PRODUCER_ID_VERSION: i16 = 4;
const MS: u64 = 1_000_000;

/// A record as the application hands it in.
#[derive(Debug)]
pub struct Submitted {
    pub topic: Str,
    /// `None`: by key, or round robin without one.
    pub partition: Option<i32>,
    pub record: Pending,
}

/// What happens to a producer.
#[derive(Debug)]
pub enum Event {
    /// The application hands in a record.
    Send(Submitted),
    /// The application wants to know a topic.
    Want(Str),
    /// An ask ended.
    Answer { ask: u64, result: CallResult },
    /// Send all that waits, whatever lingers.
    Flush,
    /// The deadline came.
    Deadline,
}

/// What a producer wants done.
#[derive(Debug)]
pub enum Command {
    /// Send a request; its end comes back as [`Event::Answer`].
    Ask { id: u64, to: Address, request: request::Encoded, timeout_ms: u64 },
    /// Tell the application how a record ended.
    Settle { handle: u64, outcome: Outcome },
    /// A wanted topic is known, or known anew.
    TopicKnown { topic: Str, info: TopicInfo },
}

#[derive(Debug)]
enum Open {
    Metadata,
    InitProducerId,
    Produce { node: i32, batches: Vec<(Place, QueuedBatch)> },
}

/// A partition by name: (topic, index).
type Place = (Str, i32);

/// See the module.
pub struct Core {
    config: ProducerConfig,
    observe: Observe,
    view: ClusterView,
    topics: BTreeSet<Str>,
    wanted: BTreeSet<Str>,
    /// Records whose topic is not known yet.
    homeless: Vec<(u64, Submitted)>,
    partitions: BTreeMap<Place, PartitionBatches>,
    producer: Option<(i64, i16)>,
    open: BTreeMap<u64, Open>,
    next_ask: u64,
    in_flight: BTreeMap<i32, usize>,
    metadata_due_ns: u64,
    metadata_open: bool,
    id_due_ns: u64,
    id_open: bool,
    round_robin: u32,
    flushing: bool,
}

impl Core {
    /// Knows nothing yet but where to ask.
    pub fn new(config: ProducerConfig, bootstrap: Vec<Address>, observe: Observe) -> Self {
        Self {
            config,
            observe,
            view: ClusterView::new(bootstrap),
            topics: BTreeSet::new(),
            wanted: BTreeSet::new(),
            homeless: Vec::new(),
            partitions: BTreeMap::new(),
            producer: None,
            open: BTreeMap::new(),
            next_ask: 0,
            in_flight: BTreeMap::new(),
            metadata_due_ns: u64::MAX,
            metadata_open: false,
            id_due_ns: 0,
            id_open: false,
            round_robin: 0,
            flushing: false,
        }
    }

    /// One event; commands in the order in which they must be performed.
    pub fn step(&mut self, now: Now, event: Event, out: &mut Outbox<Command>) {
        match event {
            Event::Send(submitted) => self.submit(now, submitted),
            Event::Want(topic) => self.want(now, topic, out),
            Event::Answer { ask, result } => self.answered(now, ask, result, out),
            Event::Flush => self.flushing = true,
            Event::Deadline => {}
        }
        self.expire(now, out);
        self.resolve();
        self.ask_metadata(now, out);
        self.ask_producer_id(now, out);
        self.send_ready(now, out);
        self.flushing &= !self.is_idle();
    }

    /// True when nothing waits and nothing is in flight.
    pub fn is_idle(&self) -> bool {
        self.homeless.is_empty() && self.partitions.values().all(PartitionBatches::is_idle)
    }

    /// The next instant at which a step without other cause is due.
    pub fn deadline(&self) -> Option<u64> {
        let limits = self.limits();
        let mut due = if self.metadata_open { u64::MAX } else { self.metadata_due_ns };
        if self.needs_id() {
            due = due.min(self.id_due_ns);
        }
        let delivery_ns = self.config.delivery_timeout_ms * MS;
        for (place, batches) in &self.partitions {
            if let Some(oldest) = batches.oldest_ns() {
                due = due.min(oldest + delivery_ns);
            }
            if let Readiness::At(at) = batches.readiness(&limits, self.flushing)
                && self.node_with_room(place).is_some()
                && self.has_id()
            {
                due = due.min(at);
            }
        }
        for open in self.open.values() {
            if let Open::Produce { batches, .. } = open {
                let unsettled = batches.iter().filter(|(_, batch)| !batch.settled);
                due = due.min(unsettled.map(|(_, batch)| batch.created_ns + delivery_ns).min().unwrap_or(u64::MAX));
            }
        }
        if let Some(oldest) = self.homeless.iter().map(|(at, _)| *at).min() {
            due = due.min(oldest + delivery_ns);
        }
        (due != u64::MAX).then_some(due)
    }

    fn limits(&self) -> Limits {
        Limits {
            batch_bytes: self.config.batch_bytes,
            linger_ns: self.config.linger_ms * MS,
            in_flight_max: self.config.in_flight_max,
            idempotent: self.config.idempotent,
        }
    }

    fn has_id(&self) -> bool {
        !self.config.idempotent || self.producer.is_some()
    }

    fn want(&mut self, now: Now, topic: Str, out: &mut Outbox<Command>) {
        match self.view.topic(&topic) {
            Some(info) => out.push(Command::TopicKnown { topic, info }),
            None => {
                self.wanted.insert(topic.clone());
                self.know(now, topic);
            }
        }
    }

    /// Metadata of this topic is asked for from now on.
    fn know(&mut self, now: Now, topic: Str) {
        if self.topics.insert(topic) {
            self.refresh_metadata(now, 0);
        }
    }

    fn submit(&mut self, now: Now, submitted: Submitted) {
        if !self.topics.contains(&submitted.topic) {
            self.know(now, submitted.topic.clone());
        }
        match self.view.topic(&submitted.topic) {
            Some(info) => self.place(now.mono_ns, submitted, info.partitions),
            None => self.homeless.push((now.mono_ns, submitted)),
        }
    }

    fn place(&mut self, created_ns: u64, submitted: Submitted, partitions: i32) {
        let partition = submitted.partition.unwrap_or_else(|| match &submitted.record.key {
            Some(key) => partitioner::by_key(key, partitions),
            None => {
                self.round_robin = self.round_robin.wrapping_add(1);
                (self.round_robin % partitions as u32) as i32
            }
        });
        let batches = self.partitions.entry((submitted.topic, partition)).or_default();
        batches.push(submitted.record, created_ns, self.config.batch_bytes);
    }

    fn refresh_metadata(&mut self, now: Now, after_ms: u64) {
        self.metadata_due_ns = self.metadata_due_ns.min(now.after_ms(after_ms));
    }

    fn ask_metadata(&mut self, now: Now, out: &mut Outbox<Command>) {
        if self.metadata_open || now.mono_ns < self.metadata_due_ns {
            return;
        }
        let message = ClusterView::request(self.topics.iter(), true);
        let to = self.view.next_to_ask();
        let request = request::Encoded::new(&message, METADATA_VERSION, &self.config.client_id);
        self.metadata_open = true;
        self.metadata_due_ns = now.after_ms(self.config.metadata_max_age_ms);
        self.ask(Open::Metadata, to, request, out);
    }

    fn needs_id(&self) -> bool {
        self.config.idempotent && self.producer.is_none() && !self.id_open && !self.partitions.is_empty()
    }

    fn ask_producer_id(&mut self, now: Now, out: &mut Outbox<Command>) {
        if !self.needs_id() || now.mono_ns < self.id_due_ns {
            return;
        }
        let message = InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: i32::MAX,
            producer_id: -1,
            producer_epoch: -1,
        };
        let to = self.view.next_to_ask();
        let request = request::Encoded::new(&message, INIT_PRODUCER_ID_VERSION, &self.config.client_id);
        self.id_open = true;
        self.ask(Open::InitProducerId, to, request, out);
    }

    fn ask(&mut self, open: Open, to: Address, request: request::Encoded, out: &mut Outbox<Command>) {
        let id = self.next_ask;
        self.next_ask += 1;
        self.open.insert(id, open);
        out.push(Command::Ask { id, to, request, timeout_ms: self.config.request_timeout_ms });
    }

    fn node_with_room(&self, place: &Place) -> Option<i32> {
        let node = self.view.leader(&place.0, place.1)?.node?;
        self.view.address(node)?;
        (self.in_flight.get(&node).copied().unwrap_or(0) < self.config.in_flight_max).then_some(node)
    }

    /// Sends every batch that may go, one a partition, gathered by leader.
    fn send_ready(&mut self, now: Now, out: &mut Outbox<Command>) {
        if !self.has_id() {
            return;
        }
        let limits = self.limits();
        loop {
            let mut ready: Vec<(i32, Place)> = Vec::new();
            for (place, batches) in &self.partitions {
                match batches.readiness(&limits, self.flushing) {
                    Readiness::At(at) if at <= now.mono_ns => {}
                    _ => continue,
                }
                if let Some(node) = self.node_with_room(place) {
                    ready.push((node, place.clone()));
                }
            }
            if ready.is_empty() {
                return;
            }
            ready.sort_by_key(|(node, _)| *node);
            for places in ready.chunk_by(|a, b| a.0 == b.0) {
                self.send_to(places, &limits, out);
            }
        }
    }

    /// Sends one batch of each of these partitions, which one node leads.
    fn send_to(&mut self, places: &[(i32, Place)], limits: &Limits, out: &mut Outbox<Command>) {
        let node = places[0].0;
        let (mut batches, mut record_bytes) = (Vec::with_capacity(places.len()), 0);
        let mut topics: Vec<TopicProduceData> = Vec::with_capacity(places.len());
        for (_, place) in places {
            let queue = self.partitions.get_mut(place).expect("a ready partition");
            let mut batch = queue.drain(limits);
            let (producer_id, epoch) = queue.ids.unwrap_or((-1, -1));
            assert!(limits.idempotent == (producer_id >= 0), "sequences and a producer id go together");
            let bytes = batch.bytes(producer_id, epoch, self.config.codec);
            record_bytes += bytes.len();
            add_batch(&mut topics, place, bytes);
            batches.push((place.clone(), batch));
        }
        let message = ProduceRequest {
            acks: self.config.acks,
            timeout_ms: self.config.request_timeout_ms as i32,
            topic_data: topics,
            ..Default::default()
        };
        let client_id = &self.config.client_id;
        let mut request = request::Encoded::with_records(&message, PRODUCE_VERSION, client_id, record_bytes);
        request.answered = self.config.acks != 0;
        *self.in_flight.entry(node).or_default() += 1;
        let to = self.view.address(node).expect("a known leader").clone();
        self.ask(Open::Produce { node, batches }, to, request, out);
    }

    fn answered(&mut self, now: Now, ask: u64, result: CallResult, out: &mut Outbox<Command>) {
        match self.open.remove(&ask).expect("an answer to an open ask") {
            Open::Metadata => self.metadata_answered(now, result, out),
            Open::InitProducerId => self.id_answered(now, result),
            Open::Produce { node, batches } => {
                *self.in_flight.get_mut(&node).expect("a node in flight") -= 1;
                self.produce_answered(now, batches, result, out);
            }
        }
    }

    fn metadata_answered(&mut self, now: Now, result: CallResult, out: &mut Outbox<Command>) {
        self.metadata_open = false;
        match result.ok().and_then(|frame| request::decode::<MetadataResponse>(frame, METADATA_VERSION)) {
            Some(response) => self.view.apply(&response),
            None => self.refresh_metadata(now, self.config.retry_backoff_ms),
        }
        for (created_ns, submitted) in std::mem::take(&mut self.homeless) {
            match self.view.topic(&submitted.topic) {
                Some(info) => self.place(created_ns, submitted, info.partitions),
                None => self.homeless.push((created_ns, submitted)),
            }
        }
        let view = &self.view;
        self.wanted.retain(|topic| match view.topic(topic) {
            Some(info) => {
                out.push(Command::TopicKnown { topic: topic.clone(), info });
                false
            }
            None => true,
        });
        let leaderless = |place: &Place| view.leader(&place.0, place.1).is_none_or(|leader| leader.node.is_none());
        let waiting = self.partitions.iter().any(|(place, batches)| !batches.is_idle() && leaderless(place));
        if waiting || !self.wanted.is_empty() || !self.homeless.is_empty() {
            self.refresh_metadata(now, self.config.retry_backoff_ms);
        }
    }

    fn id_answered(&mut self, now: Now, result: CallResult) {
        self.id_open = false;
        let answer = result.ok();
        let answer =
            answer.and_then(|frame| request::decode::<InitProducerIdResponse>(frame, INIT_PRODUCER_ID_VERSION));
        match answer {
            Some(answer) if answer.error_code == 0 => {
                let (producer_id, producer_epoch) = (answer.producer_id, answer.producer_epoch);
                self.observe.note(|| Observation::ProducerIdLearned { producer_id, producer_epoch });
                self.producer = Some((producer_id, producer_epoch));
            }
            _ => self.id_due_ns = now.after_ms(self.config.retry_backoff_ms),
        }
    }

    fn produce_answered(
        &mut self,
        now: Now,
        batches: Vec<(Place, QueuedBatch)>,
        result: CallResult,
        out: &mut Outbox<Command>,
    ) {
        if self.config.acks == 0 {
            return self.sent_without_answer(now, batches, result.err(), out);
        }
        let answer = result.map(|frame| request::decode::<ProduceResponse>(frame, PRODUCE_VERSION));
        for (place, batch) in batches {
            let end = match &answer {
                Err(error) => End::Failed(failure_code(*error), error.maybe_sent),
                Ok(None) => End::Failed(ErrorCode::UnknownServerError, true),
                Ok(Some(answer)) => {
                    find(answer, &place).map_or(End::Failed(ErrorCode::UnknownServerError, true), End::of)
                }
            };
            self.batch_ended(now, place, batch, end, out);
        }
    }

    fn sent_without_answer(
        &mut self,
        now: Now,
        batches: Vec<(Place, QueuedBatch)>,
        error: Option<CallError>,
        out: &mut Outbox<Command>,
    ) {
        for (place, batch) in batches {
            match error {
                None => {
                    self.partitions.get_mut(&place).expect("its partition").landed(&batch);
                    settle(batch, Outcome::Sent, out);
                }
                Some(error) => {
                    let end = End::Failed(failure_code(error), error.maybe_sent);
                    self.batch_ended(now, place, batch, end, out);
                }
            }
        }
    }

    fn batch_ended(&mut self, now: Now, place: Place, mut batch: QueuedBatch, end: End, out: &mut Outbox<Command>) {
        let queue = self.partitions.get_mut(&place).expect("its partition");
        queue.landed(&batch);
        let (error, maybe_appended) = match end {
            End::Acked { base_offset } => {
                queue.acked(&batch);
                sometimes!(self.observe, batch.settled, Mark::AckedAfterExpiry);
                return settle_acked(batch, base_offset, out);
            }
            End::Failed(error, maybe_appended) => (error, maybe_appended),
        };
        batch.maybe_appended |= maybe_appended;
        batch.error = error;
        if is_about_leadership(error) {
            self.refresh_metadata(now, 0);
        }
        if !self.may_retry(&place, &batch, error) {
            return self.give_up(place, batch, out);
        }
        let pause_ms = self.backoff_ms(batch.attempts);
        batch.not_before_ns = now.after_ms(pause_ms);
        self.partitions.get_mut(&place).expect("its partition").requeue(batch);
    }

    /// P9: whether an error lets the batch go again; asks for an epoch bump where only that helps.
    fn may_retry(&mut self, place: &Place, batch: &QueuedBatch, error: ErrorCode) -> bool {
        if batch.settled || batch.attempts > self.config.retries {
            return false;
        }
        let queue = self.partitions.get_mut(place).expect("its partition");
        if error == ErrorCode::OutOfOrderSequenceNumber && self.config.idempotent {
            if queue.unresolved || queue.is_next_in_line(batch) {
                queue.bump = true;
            }
            return true;
        }
        error.is_retriable()
    }

    fn backoff_ms(&self, attempts: u32) -> u64 {
        let doubled = self.config.retry_backoff_ms.saturating_mul(1 << (attempts - 1).min(20));
        doubled.min(self.config.retry_backoff_max_ms)
    }

    /// The batch will not be sent again. Its sequence is spent in a way that nobody knows.
    fn give_up(&mut self, place: Place, batch: QueuedBatch, out: &mut Outbox<Command>) {
        if batch.base_sequence.is_some() {
            self.partitions.get_mut(&place).expect("its partition").unresolved = true;
        }
        settle_failed(batch, out);
    }

    /// Tells the application of records whose delivery time is over (P5).
    fn expire(&mut self, now: Now, out: &mut Outbox<Command>) {
        let Some(before_ns) = now.mono_ns.checked_sub(self.config.delivery_timeout_ms * MS) else { return };
        let mut expired = Vec::new();
        for (place, batches) in &mut self.partitions {
            expired.extend(batches.expire(before_ns).into_iter().map(|batch| (place.clone(), batch)));
        }
        for (place, batch) in expired {
            self.give_up(place, batch, out);
        }
        for open in self.open.values_mut() {
            let Open::Produce { batches, .. } = open else { continue };
            for (_, batch) in batches.iter_mut().filter(|(_, batch)| !batch.settled && batch.created_ns <= before_ns) {
                self.observe.mark(Mark::DeliveryExpired);
                batch.settled = true;
                for record in &batch.records {
                    out.push(Command::Settle {
                        handle: record.handle,
                        outcome: Outcome::Unknown(ErrorCode::RequestTimedOut),
                    });
                }
            }
        }
        self.homeless.retain(|(created_ns, submitted)| {
            let keep = *created_ns > before_ns;
            if !keep {
                let outcome = Outcome::Refused(ErrorCode::RequestTimedOut);
                out.push(Command::Settle { handle: submitted.record.handle, outcome });
            }
            keep
        });
    }

    /// Epoch bumps: asked for by a partition, adopted by each as soon as nothing of it is in flight (KIP-360).
    fn resolve(&mut self) {
        let Some((producer_id, epoch)) = self.producer else { return };
        let mut bump = false;
        for batches in self.partitions.values_mut() {
            if batches.resolve() {
                batches.bump = true;
            }
            bump |= batches.bump && batches.ids == Some((producer_id, epoch));
        }
        if bump && epoch == i16::MAX - 1 {
            // The epoch is spent: a new id follows. Partitions adopt it when it is known.
            self.producer = None;
            return;
        }
        sometimes!(self.observe, bump, Mark::ProducerEpochBumped);
        let ids = (producer_id, if bump { epoch + 1 } else { epoch });
        self.producer = Some(ids);
        self.partitions.values_mut().for_each(|batches| batches.adopt(ids));
    }
}

enum End {
    Acked { base_offset: i64 },
    Failed(ErrorCode, bool),
}

impl End {
    fn of(partition: &PartitionProduceResponse) -> End {
        match ErrorCode::from_code(partition.error_code) {
            ErrorCode::None | ErrorCode::DuplicateSequenceNumber => End::Acked { base_offset: partition.base_offset },
            error => End::Failed(error, may_have_appended(error)),
        }
    }
}

/// Errors after which the record may be in the log all the same (reference [R3]).
fn may_have_appended(error: ErrorCode) -> bool {
    matches!(
        error,
        ErrorCode::UnknownServerError
            | ErrorCode::NotLeaderOrFollower
            | ErrorCode::RequestTimedOut
            | ErrorCode::NotEnoughReplicasAfterAppend
            | ErrorCode::NetworkException
            | ErrorCode::KafkaStorageError
    )
}

fn is_about_leadership(error: ErrorCode) -> bool {
    matches!(
        error,
        ErrorCode::NotLeaderOrFollower
            | ErrorCode::LeaderNotAvailable
            | ErrorCode::UnknownTopicOrPartition
            | ErrorCode::UnknownTopicId
            | ErrorCode::NetworkException
            | ErrorCode::RequestTimedOut
            | ErrorCode::KafkaStorageError
    )
}

fn failure_code(error: CallError) -> ErrorCode {
    match error.failure {
        CallFailure::TimedOut => ErrorCode::RequestTimedOut,
        CallFailure::NotConnected | CallFailure::Disconnected => ErrorCode::NetworkException,
        CallFailure::Malformed => ErrorCode::UnknownServerError,
    }
}

fn add_batch(topics: &mut Vec<TopicProduceData>, place: &Place, bytes: Bytes) {
    let data = PartitionProduceData { index: place.1, records: Some(bytes) };
    match topics.iter_mut().find(|topic| topic.name == place.0) {
        Some(topic) => topic.partition_data.push(data),
        None => {
            topics.push(TopicProduceData { name: place.0.clone(), partition_data: vec![data], ..Default::default() })
        }
    }
}

fn find<'a>(answer: &'a ProduceResponse, place: &Place) -> Option<&'a PartitionProduceResponse> {
    let topic = answer.responses.iter().find(|topic| topic.name == place.0)?;
    topic.partition_responses.iter().find(|partition| partition.index == place.1)
}

fn settle(batch: QueuedBatch, outcome: Outcome, out: &mut Outbox<Command>) {
    if !batch.settled {
        for record in batch.records {
            out.push(Command::Settle { handle: record.handle, outcome });
        }
    }
}

fn settle_acked(batch: QueuedBatch, base_offset: i64, out: &mut Outbox<Command>) {
    if !batch.settled {
        for (at, record) in batch.records.into_iter().enumerate() {
            let outcome = Outcome::Acked(base_offset + at as i64);
            out.push(Command::Settle { handle: record.handle, outcome });
        }
    }
}

fn settle_failed(batch: QueuedBatch, out: &mut Outbox<Command>) {
    let error = batch.error;
    let outcome = if batch.maybe_appended { Outcome::Unknown(error) } else { Outcome::Refused(error) };
    settle(batch, outcome, out);
}
