//! The consumer's thinking: where each partition stands, what to fetch from whom, what an answer means. No I/O.

use super::{ConsumerConfig, Fetched, StartAt};
use crate::connection::CallResult;
use crate::metadata::{ClusterView, METADATA_VERSION};
use crate::request;
use bytes::Bytes;
use klamm_base::{ErrorCode, Mark, Now, Observation, Observe, Outbox, TopicPartition};
use klamm_env::Address;
use klamm_wire::Str;
use klamm_wire::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use klamm_wire::messages::fetch_response::{FetchResponse, PartitionData};
use klamm_wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use klamm_wire::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use klamm_wire::messages::{ListOffsetsResponse, MetadataResponse, OffsetForLeaderEpochResponse};
use klamm_wire::records;
use std::collections::{BTreeMap, BTreeSet};

const FETCH_VERSION: i16 = 16;
/// A record's length, attributes, deltas, key, value and headers, each in one byte: bounds what a count may reserve.
const LEAST_RECORD_BYTES: usize = 7;
const LIST_OFFSETS_VERSION: i16 = 7;
const OFFSET_FOR_LEADER_EPOCH_VERSION: i16 = 4;

/// What happens to a consumer.
#[derive(Debug)]
pub enum Event {
    /// Read exactly these partitions from now on.
    Assign(Vec<(Str, i32, StartAt)>),
    /// An ask ended.
    Answer { ask: u64, result: CallResult },
    /// The application takes what is there.
    Poll,
    /// The deadline came.
    Deadline,
}

/// What a consumer wants done.
#[derive(Debug)]
pub enum Command {
    /// Send a request; its end comes back as [`Event::Answer`].
    Ask { id: u64, to: Address, request: request::Encoded, timeout_ms: u64 },
    /// Records for the application, in offset order per partition.
    Deliver(Vec<Fetched>),
}

#[derive(Debug)]
enum Open {
    Metadata,
    Fetch { node: i32, asked: Vec<(Place, i64)> },
    ListOffsets { place: Place },
    EpochEnd { place: Place, leader_epoch: i32 },
}

/// A partition by name: (topic, index).
type Place = (Str, i32);
/// A partition, the position in it, and the leader epoch known for it.
type Standing = (Place, i64, i32);

/// Where a partition stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    /// The position is to be looked up: -2 earliest, -1 latest.
    Lookup(i64),
    /// The next offset to hand out, and the epoch of the record before it (-1 unknown).
    At { position: i64, epoch: i32 },
    /// Out of range, and `auto.offset.reset=none`.
    Lost,
}

#[derive(Debug)]
struct Partition {
    stand: Stand,
    /// The leader epoch under which the position was last found valid (KIP-320).
    validated_epoch: i32,
    /// A lookup or validation is open.
    busy: bool,
    not_before_ns: u64,
    ready: Option<Fetched>,
    log_end: Option<i64>,
    /// Why the last fetch brought nothing, or not all.
    trouble: Option<ErrorCode>,
}

impl Partition {
    /// Its position is to be looked up, or to be compared with what the leader of this epoch knows.
    fn is_unsure(&self, leader_epoch: i32) -> bool {
        matches!(self.stand, Stand::Lookup(_)) || self.validated_epoch != leader_epoch
    }
}

/// See the module.
pub struct Core {
    config: ConsumerConfig,
    observe: Observe,
    view: ClusterView,
    partitions: BTreeMap<Place, Partition>,
    open: BTreeMap<u64, Open>,
    next_ask: u64,
    fetching: BTreeSet<i32>,
    metadata_due_ns: u64,
    metadata_open: bool,
}

impl Core {
    /// Knows nothing yet but where to ask.
    pub fn new(config: ConsumerConfig, bootstrap: Vec<Address>, observe: Observe) -> Self {
        Self {
            config,
            observe,
            view: ClusterView::new(bootstrap),
            partitions: BTreeMap::new(),
            open: BTreeMap::new(),
            next_ask: 0,
            fetching: BTreeSet::new(),
            metadata_due_ns: u64::MAX,
            metadata_open: false,
        }
    }

    /// One event; commands in the order in which they must be performed.
    pub fn step(&mut self, now: Now, event: Event, out: &mut Outbox<Command>) {
        match event {
            Event::Assign(partitions) => self.assign(now, partitions),
            Event::Answer { ask, result } => self.answered(now, ask, result),
            Event::Poll => self.deliver(out),
            Event::Deadline => {}
        }
        for partition in self.partitions.values_mut() {
            if partition.not_before_ns <= now.mono_ns {
                partition.not_before_ns = 0;
            }
        }
        self.ask_metadata(now, out);
        self.look_up(out);
        self.fetch(out);
    }

    /// True if a poll would hand out something.
    pub fn has_records(&self) -> bool {
        self.partitions.values().any(|partition| partition.ready.is_some())
    }

    /// The next instant at which a step without other cause is due.
    pub fn deadline(&self) -> Option<u64> {
        let quiet = self.metadata_open || self.partitions.is_empty();
        let mut due = if quiet { u64::MAX } else { self.metadata_due_ns };
        for partition in self.partitions.values() {
            if partition.not_before_ns > 0 && !partition.busy && partition.ready.is_none() {
                due = due.min(partition.not_before_ns);
            }
        }
        (due != u64::MAX).then_some(due)
    }

    /// Why the last fetch of a partition brought nothing, or not all.
    pub fn trouble(&self, topic: &str, partition: i32) -> Option<ErrorCode> {
        self.partitions.get(&(Str::from(topic), partition))?.trouble
    }

    /// The next offset to hand out of a partition, and the end of its log as last heard (its high watermark).
    pub fn position(&self, topic: &str, partition: i32) -> Option<(i64, Option<i64>)> {
        let partition = self.partitions.get(&(Str::from(topic), partition))?;
        match partition.stand {
            Stand::At { position, .. } => Some((position, partition.log_end)),
            _ => None,
        }
    }

    fn assign(&mut self, now: Now, partitions: Vec<(Str, i32, StartAt)>) {
        self.partitions.clear();
        for (topic, index, start) in partitions {
            let stand = match start {
                StartAt::Earliest => Stand::Lookup(-2),
                StartAt::Latest => Stand::Lookup(-1),
                StartAt::Offset(position) => Stand::At { position, epoch: -1 },
            };
            let partition = Partition {
                stand,
                validated_epoch: -1,
                busy: false,
                not_before_ns: 0,
                ready: None,
                log_end: None,
                trouble: None,
            };
            self.partitions.insert((topic, index), partition);
        }
        self.metadata_due_ns = now.mono_ns;
    }

    fn ask(&mut self, open: Open, to: Address, request: request::Encoded, timeout_ms: u64, out: &mut Outbox<Command>) {
        let id = self.next_ask;
        self.next_ask += 1;
        self.open.insert(id, open);
        out.push(Command::Ask { id, to, request, timeout_ms });
    }

    fn ask_metadata(&mut self, now: Now, out: &mut Outbox<Command>) {
        if self.metadata_open || now.mono_ns < self.metadata_due_ns || self.partitions.is_empty() {
            return;
        }
        let topics: BTreeSet<Str> = self.partitions.keys().map(|(topic, _)| topic.clone()).collect();
        let message = ClusterView::request(topics.iter(), false);
        let request = request::Encoded::new(&message, METADATA_VERSION, &self.config.client_id);
        let to = self.view.next_to_ask();
        self.metadata_open = true;
        self.metadata_due_ns = now.after_ms(self.config.metadata_max_age_ms);
        self.ask(Open::Metadata, to, request, self.config.request_timeout_ms, out);
    }

    fn refresh_metadata(&mut self, now: Now) {
        self.metadata_due_ns = self.metadata_due_ns.min(now.after_ms(self.config.retry_backoff_ms));
    }

    /// The leader's node, address and epoch, if there is one that can be asked.
    fn leader(&self, place: &Place) -> Option<(i32, Address, i32)> {
        let leader = self.view.leader(&place.0, place.1)?;
        let node = leader.node?;
        Some((node, self.view.address(node)?.clone(), leader.epoch))
    }

    fn leader_node(&self, place: &Place) -> Option<i32> {
        self.view.leader(&place.0, place.1)?.node
    }

    /// Looks positions up, and validates them against a leader of a new epoch.
    fn look_up(&mut self, out: &mut Outbox<Command>) {
        let unsure = |(place, partition): &(&Place, &Partition)| {
            let idle = !partition.busy && partition.not_before_ns == 0 && partition.stand != Stand::Lost;
            idle && partition.is_unsure(self.view.leader(&place.0, place.1).map_or(-1, |leader| leader.epoch))
        };
        let places: Vec<Place> = self.partitions.iter().filter(unsure).map(|(place, _)| place.clone()).collect();
        for place in places {
            let Some((_, to, leader_epoch)) = self.leader(&place) else { continue };
            let partition = self.partitions.get_mut(&place).expect("its partition");
            match partition.stand {
                Stand::Lookup(timestamp) => {
                    partition.busy = true;
                    self.ask_offset(place, to, leader_epoch, timestamp, out);
                }
                Stand::At { epoch, .. } if epoch >= 0 && leader_epoch > partition.validated_epoch => {
                    partition.busy = true;
                    self.ask_epoch_end(place, to, leader_epoch, epoch, out);
                }
                _ => partition.validated_epoch = leader_epoch,
            }
        }
    }

    fn ask_offset(&mut self, place: Place, to: Address, epoch: i32, timestamp: i64, out: &mut Outbox<Command>) {
        let partition = ListOffsetsPartition { partition_index: place.1, current_leader_epoch: epoch, timestamp };
        let topic = ListOffsetsTopic { name: place.0.clone(), partitions: vec![partition] };
        let message = ListOffsetsRequest {
            replica_id: -1,
            isolation_level: self.config.read_committed as i8,
            topics: vec![topic],
            timeout_ms: self.config.request_timeout_ms as i32,
        };
        let request = request::Encoded::new(&message, LIST_OFFSETS_VERSION, &self.config.client_id);
        self.ask(Open::ListOffsets { place }, to, request, self.config.request_timeout_ms, out);
    }

    fn ask_epoch_end(&mut self, place: Place, to: Address, leader_epoch: i32, epoch: i32, out: &mut Outbox<Command>) {
        let partition =
            OffsetForLeaderPartition { partition: place.1, current_leader_epoch: leader_epoch, leader_epoch: epoch };
        let topic = OffsetForLeaderTopic { topic: place.0.clone(), partitions: vec![partition] };
        let message = OffsetForLeaderEpochRequest { replica_id: -1, topics: vec![topic] };
        let request = request::Encoded::new(&message, OFFSET_FOR_LEADER_EPOCH_VERSION, &self.config.client_id);
        self.ask(Open::EpochEnd { place, leader_epoch }, to, request, self.config.request_timeout_ms, out);
    }

    /// One fetch a leader, of all its partitions together, once none of them has records that wait for the application: a fetch
    /// of the others alone could wait long at their end and hold the busy one up (KAFKA-17182).
    /// A node of which records wait to be handed out is not asked: its long poll for the other partitions would hold up
    /// the next records of these (KAFKA-17182).
    fn fetch(&mut self, out: &mut Outbox<Command>) {
        let waiting = self.partitions.iter().filter(|(_, partition)| partition.ready.is_some());
        let holding: Vec<i32> = waiting.filter_map(|(place, _)| self.leader_node(place)).collect();
        let mut by_node: BTreeMap<i32, (Address, Vec<Standing>)> = BTreeMap::new();
        for (place, partition) in &self.partitions {
            let Stand::At { position, .. } = partition.stand else { continue };
            if partition.busy || partition.ready.is_some() || partition.not_before_ns > 0 {
                continue;
            }
            // The common case first: what is asked for already needs no address.
            if self.leader_node(place).is_none_or(|node| self.fetching.contains(&node)) {
                continue;
            }
            let Some((node, to, epoch)) = self.leader(place) else { continue };
            if !holding.contains(&node) {
                by_node.entry(node).or_insert_with(|| (to, Vec::new())).1.push((place.clone(), position, epoch));
            }
        }
        for (node, (to, partitions)) in by_node {
            self.fetch_from(node, to, partitions, out);
        }
    }

    fn fetch_from(&mut self, node: i32, to: Address, partitions: Vec<Standing>, out: &mut Outbox<Command>) {
        let mut topics: Vec<FetchTopic> = Vec::new();
        for ((topic, index), position, epoch) in &partitions {
            let id = self.view.topic(topic).expect("a topic with a leader is known").id;
            let partition = FetchPartition {
                partition: *index,
                current_leader_epoch: *epoch,
                fetch_offset: *position,
                partition_max_bytes: self.config.partition_max_bytes,
                ..Default::default()
            };
            match topics.iter_mut().find(|topic| topic.topic_id == id) {
                Some(topic) => topic.partitions.push(partition),
                None => topics.push(FetchTopic { topic_id: id, partitions: vec![partition], ..Default::default() }),
            }
        }
        let message = FetchRequest {
            max_wait_ms: self.config.max_wait_ms as i32,
            min_bytes: self.config.min_bytes,
            max_bytes: self.config.max_bytes,
            isolation_level: self.config.read_committed as i8,
            session_id: 0,
            session_epoch: -1,
            topics,
            ..Default::default()
        };
        let request = request::Encoded::new(&message, FETCH_VERSION, &self.config.client_id);
        let asked = partitions.into_iter().map(|(place, position, _)| (place, position)).collect();
        self.fetching.insert(node);
        let timeout_ms = self.config.request_timeout_ms.max(self.config.max_wait_ms);
        self.ask(Open::Fetch { node, asked }, to, request, timeout_ms, out);
    }

    fn answered(&mut self, now: Now, ask: u64, result: CallResult) {
        let frame = result.ok();
        match self.open.remove(&ask).expect("an answer to an open ask") {
            Open::Metadata => self.metadata_answered(now, frame),
            Open::Fetch { node, asked } => {
                self.fetching.remove(&node);
                self.fetch_answered(now, asked, frame);
            }
            Open::ListOffsets { place } => self.offset_answered(now, place, frame),
            Open::EpochEnd { place, leader_epoch } => self.epoch_end_answered(now, place, leader_epoch, frame),
        }
    }

    fn metadata_answered(&mut self, now: Now, frame: Option<Bytes>) {
        self.metadata_open = false;
        match frame.and_then(|frame| request::decode::<MetadataResponse>(frame, METADATA_VERSION)) {
            Some(response) => self.view.apply(&response),
            None => self.refresh_metadata(now),
        }
        if self.partitions.keys().any(|place| self.leader(place).is_none()) {
            self.refresh_metadata(now);
        }
    }

    /// Something about this partition failed: a pause, then with fresh metadata.
    fn pause(&mut self, now: Now, place: &Place) {
        if let Some(partition) = self.partitions.get_mut(place) {
            partition.not_before_ns = now.after_ms(self.config.retry_backoff_ms);
        }
        self.metadata_due_ns = self.metadata_due_ns.min(now.mono_ns);
    }

    fn offset_answered(&mut self, now: Now, place: Place, frame: Option<Bytes>) {
        let Some(partition) = self.partitions.get_mut(&place) else { return };
        partition.busy = false;
        let response = frame.and_then(|frame| request::decode::<ListOffsetsResponse>(frame, LIST_OFFSETS_VERSION));
        let answer = response.as_ref().and_then(|response| response.topics.first()?.partitions.first());
        match answer {
            Some(answer) if answer.error_code == 0 => self.position_at(&place, answer.offset),
            _ => self.pause(now, &place),
        }
    }

    fn position_at(&mut self, place: &Place, position: i64) {
        let tp = self.topic_partition(place);
        let Some(partition) = self.partitions.get_mut(place) else { return };
        partition.stand = Stand::At { position, epoch: -1 };
        partition.not_before_ns = 0;
        self.observe.note(|| Observation::Positioned { tp, offset: position });
    }

    fn topic_partition(&self, place: &Place) -> TopicPartition {
        let topic = self.view.topic(&place.0).expect("a partition that was asked about is known");
        TopicPartition { topic: topic.id, partition: place.1 }
    }

    /// KIP-320: the new leader's log may end the epoch of our last record below our position: then that record is gone.
    fn epoch_end_answered(&mut self, now: Now, place: Place, leader_epoch: i32, frame: Option<Bytes>) {
        let Some(partition) = self.partitions.get_mut(&place) else { return };
        partition.busy = false;
        let version = OFFSET_FOR_LEADER_EPOCH_VERSION;
        let response = frame.and_then(|frame| request::decode::<OffsetForLeaderEpochResponse>(frame, version));
        let answer = response.as_ref().and_then(|response| response.topics.first()?.partitions.first());
        let (Some(answer), Stand::At { position, .. }) = (answer, partition.stand) else {
            return self.pause(now, &place);
        };
        if answer.error_code != 0 {
            return self.pause(now, &place);
        }
        partition.validated_epoch = leader_epoch;
        if answer.end_offset < 0 {
            self.reset(&place);
        } else if answer.end_offset < position {
            self.observe.mark(Mark::ConsumerTruncated);
            partition.ready = None;
            self.position_at(&place, answer.end_offset);
        }
    }

    /// The position is not in the log: `auto.offset.reset` decides.
    fn reset(&mut self, place: &Place) {
        let Some(partition) = self.partitions.get_mut(place) else { return };
        self.observe.mark(Mark::ConsumerReset);
        partition.ready = None;
        partition.stand = match self.config.reset {
            Some(StartAt::Earliest) => Stand::Lookup(-2),
            Some(StartAt::Latest) => Stand::Lookup(-1),
            _ => Stand::Lost,
        };
    }

    fn fetch_answered(&mut self, now: Now, asked: Vec<(Place, i64)>, frame: Option<Bytes>) {
        let response = frame.and_then(|frame| request::decode::<FetchResponse>(frame, FETCH_VERSION));
        let Some(response) = response.filter(|response| response.error_code == 0) else {
            return asked.iter().for_each(|(place, _)| self.pause(now, place));
        };
        for topic in response.responses {
            let Some(name) = self.view.name(topic.topic_id).cloned() else { continue };
            for data in topic.partitions {
                let place = (name.clone(), data.partition_index);
                if let Some((_, position)) = asked.iter().find(|(other, _)| *other == place) {
                    self.partition_answered(now, &place, *position, data);
                }
            }
        }
    }

    fn partition_answered(&mut self, now: Now, place: &Place, asked: i64, data: PartitionData) {
        let Some(partition) = self.partitions.get_mut(place) else { return };
        if !matches!(partition.stand, Stand::At { position, .. } if position == asked) || partition.busy {
            return;
        }
        let error = ErrorCode::from_code(data.error_code);
        partition.trouble = (error != ErrorCode::None).then_some(error);
        match error {
            ErrorCode::None => self.records_answered(now, place, asked, data),
            ErrorCode::OffsetOutOfRange => self.reset(place),
            _ => self.pause(now, place),
        }
    }

    /// Keeps what the answer holds at and above the position, up to the first damaged batch; that one is asked for again.
    /// Control batches move the position only.
    fn records_answered(&mut self, now: Now, place: &Place, asked: i64, data: PartitionData) {
        let tp = self.topic_partition(place);
        let mut fetched =
            Fetched { topic: place.0.clone(), tp, next_offset: asked, next_epoch: -1, records: Vec::new() };
        let whole = fill(&mut fetched, &data.records.unwrap_or_default());
        if !whole {
            self.pause(now, place);
        }
        let partition = self.partitions.get_mut(place).expect("its partition");
        partition.trouble = (!whole).then_some(ErrorCode::CorruptMessage);
        partition.log_end = Some(data.high_watermark);
        if fetched.next_offset > asked {
            partition.ready = Some(fetched);
        }
    }

    fn deliver(&mut self, out: &mut Outbox<Command>) {
        let mut delivered = Vec::new();
        for partition in self.partitions.values_mut() {
            if let Some(fetched) = partition.ready.take() {
                partition.stand = Stand::At { position: fetched.next_offset, epoch: fetched.next_epoch };
                delivered.push(fetched);
            }
        }
        out.push(Command::Deliver(delivered));
    }
}

/// Decodes the batches; false if one is damaged: nothing of it is kept, nor of what follows.
fn fill(fetched: &mut Fetched, bytes: &Bytes) -> bool {
    for batch in records::split_whole(bytes) {
        let Ok(batch) = batch else { return false };
        if !batch.crc_ok() {
            return false;
        }
        if !batch.header.is_control() {
            let records_at_most = batch.bytes.len() / LEAST_RECORD_BYTES;
            fetched.records.reserve(records_at_most.min(batch.header.record_count.unsigned_abs() as usize));
            let before = fetched.records.len();
            for record in records::records(&batch) {
                let Ok(record) = record else {
                    fetched.records.truncate(before);
                    return false;
                };
                if record.offset >= fetched.next_offset {
                    fetched.records.push(record);
                }
            }
        }
        fetched.next_offset = fetched.next_offset.max(batch.header.last_offset() + 1);
        fetched.next_epoch = batch.header.partition_leader_epoch;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use klamm_base::TopicPartition;
    use klamm_wire::records::{BatchBuilder, Codec};

    /// One batch of each codec, two records each.
    fn all_codecs() -> Vec<u8> {
        let batch = |(place, codec): (usize, Codec)| {
            let mut builder = BatchBuilder::new(7);
            builder.push(7, Some(b"k"), Some(&[7; 500]), &[("h", None)]).push(8, None, None, &[]);
            builder.at(2 * place as i64, 1).compressed(codec).build().bytes
        };
        Codec::ALL.into_iter().enumerate().flat_map(batch).collect()
    }

    fn fetched(bytes: Vec<u8>) -> (bool, Fetched) {
        let tp = TopicPartition { topic: klamm_base::Uuid::ZERO, partition: 0 };
        let mut fetched = Fetched { topic: "t".into(), tp, next_offset: 0, next_epoch: -1, records: Vec::new() };
        (fill(&mut fetched, &Bytes::from(bytes)), fetched)
    }

    #[test]
    fn batches_of_every_codec_are_read() {
        let (sound, fetched) = fetched(all_codecs());
        let offsets: Vec<i64> = fetched.records.iter().map(|record| record.offset).collect();
        assert_eq!((sound, fetched.next_offset, fetched.next_epoch), (true, 10, 1));
        assert_eq!(offsets, (0..10).collect::<Vec<_>>());
        assert!(fetched.records.iter().step_by(2).all(|record| record.value.as_deref() == Some(&[7; 500])));
    }

    #[test]
    fn nothing_of_a_batch_is_kept_whose_checksum_fails_nor_of_what_follows() {
        let mut bytes = all_codecs();
        bytes[600 + 200] ^= 1;
        let (sound, fetched) = fetched(bytes);
        assert_eq!((sound, fetched.records.len(), fetched.next_offset), (false, 4, 4));
    }
}
