//! Replica fetchers: one for each leader that this broker follows, with at most one request under way (R6). Sessionless,
//! by topic id (Fetch version 17).

use crate::io::SendError;
use crate::node::{Cx, Node, SendUse};
use crate::partitions::Partitions;
use crate::request::OutBody;
use crate::response::decode_answer;
use crate::timers::Timer;
use bytes::Bytes;
use klamm_base::{ErrorCode, NodeId, TopicPartition};
use klamm_replica::{Event, FollowerAnswer, Role};
use klamm_wire::messages::fetch_request::{FetchPartition, FetchTopic, ReplicaState};
use klamm_wire::messages::fetch_response::PartitionData;
use klamm_wire::messages::{FetchRequest, FetchResponse};
use std::collections::BTreeMap;

/// The version in which nodes fetch from each other: topic ids, replica state, diverging epochs.
pub(crate) const FETCH_VERSION: i16 = 17;

/// All leaders that are followed.
#[derive(Default)]
pub(crate) struct Fetchers {
    leaders: BTreeMap<NodeId, Fetcher>,
    dirty: Vec<NodeId>,
}

/// What is fetched from one leader.
#[derive(Debug, Default)]
struct Fetcher {
    slots: Vec<u32>,
    in_flight: Option<InFlight>,
    dirty: bool,
}

/// The request under way.
#[derive(Debug)]
struct InFlight {
    key: u64,
    asked: Vec<Asked>,
}

/// What was asked of one partition.
#[derive(Clone, Copy, Debug)]
struct Asked {
    slot: u32,
    tp: TopicPartition,
    leader_epoch: i32,
    fetch_offset: i64,
}

impl Fetchers {
    /// The partition of `slot` is fetched from `after`, not from `before` any more. A fetcher without partitions is
    /// forgotten, its late answer too.
    pub(crate) fn assign(&mut self, slot: u32, before: Option<NodeId>, after: Option<NodeId>) {
        if before != after {
            if let Some(leader) = before {
                let fetcher = self.leaders.get_mut(&leader).expect("an assigned slot has a fetcher");
                fetcher.slots.retain(|other| *other != slot);
                if fetcher.slots.is_empty() {
                    self.leaders.remove(&leader);
                }
            }
            if let Some(leader) = after {
                self.leaders.entry(leader).or_default().slots.push(slot);
            }
        }
        if let Some(leader) = after {
            self.touch(leader);
        }
    }

    /// Something about this leader's partitions changed: maybe it can be asked now.
    pub(crate) fn touch(&mut self, leader: NodeId) {
        if let Some(fetcher) = self.leaders.get_mut(&leader)
            && !std::mem::replace(&mut fetcher.dirty, true)
        {
            self.dirty.push(leader);
        }
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.dirty.is_empty()
    }

    /// As [`Fetchers::touch`] for the leader of this slot.
    pub(crate) fn touch_slot(&mut self, slot: u32, partitions: &Partitions) {
        if let Some(leader) = partitions.slot(slot).fetcher {
            self.touch(leader);
        }
    }
}

impl Node {
    pub(crate) fn send_fetches(&mut self, cx: &mut Cx) {
        while let Some(leader) = self.fetchers.dirty.pop() {
            if let Some(fetcher) = self.fetchers.leaders.get_mut(&leader) {
                fetcher.dirty = false;
                if fetcher.in_flight.is_none() && self.phase.serves() {
                    self.send_fetch(leader, cx);
                }
            }
        }
    }

    /// Asks a leader for all partitions that are ready. One that is still writing what the last answer brought holds the
    /// request back, so that its next round does not wait for the others' long poll.
    fn send_fetch(&mut self, leader: NodeId, cx: &mut Cx) {
        let Some(endpoint) = self.broker_endpoint(leader) else { return };
        let Some(topics_and_asked) = self.gather(leader, cx) else { return };
        let (topics, asked) = topics_and_asked;
        let config = self.config.replica_fetch;
        let request = FetchRequest {
            replica_state: ReplicaState { replica_id: self.config.node.0, replica_epoch: self.lifecycle.broker_epoch },
            max_wait_ms: config.wait_max_ms,
            min_bytes: config.min_bytes,
            max_bytes: config.response_max_bytes,
            session_epoch: -1,
            topics,
            ..FetchRequest::default()
        };
        let body = (FETCH_VERSION, OutBody::Fetch(request));
        let key = self.send(cx, endpoint, "fetch", SendUse::Fetch(leader), body, config.socket_timeout_ms);
        let fetcher = self.fetchers.leaders.get_mut(&leader).expect("it was gathered from");
        fetcher.in_flight = Some(InFlight { key, asked });
    }

    /// The partitions to ask for, and what is asked; `None` if none is ready or one will be in a moment.
    fn gather(&mut self, leader: NodeId, cx: &mut Cx) -> Option<(Vec<FetchTopic>, Vec<Asked>)> {
        let fetcher = &self.fetchers.leaders[&leader];
        let (mut topics, mut asked) = (Vec::<FetchTopic>::new(), Vec::with_capacity(fetcher.slots.len()));
        let mut wake = u64::MAX;
        for &slot in &fetcher.slots {
            let place = self.partitions.slot(slot);
            if place.backoff_until > cx.now.mono_ns {
                wake = wake.min(place.backoff_until);
                continue;
            }
            let Some(query) = place.replica.next_fetch().filter(|query| query.leader == leader) else {
                if place.replica.role() == Role::Follower(Some(leader)) {
                    return None;
                }
                continue;
            };
            let partition = FetchPartition {
                partition: place.tp.partition,
                current_leader_epoch: query.leader_epoch,
                fetch_offset: query.fetch_offset,
                last_fetched_epoch: query.last_fetched_epoch,
                log_start_offset: query.log_start_offset,
                partition_max_bytes: self.config.replica_fetch.max_bytes,
                ..FetchPartition::default()
            };
            asked.push(Asked {
                slot,
                tp: place.tp,
                leader_epoch: query.leader_epoch,
                fetch_offset: query.fetch_offset,
            });
            match topics.last_mut().filter(|topic| topic.topic_id == place.tp.topic) {
                Some(topic) => topic.partitions.push(partition),
                None => topics.push(FetchTopic {
                    topic_id: place.tp.topic,
                    partitions: vec![partition],
                    ..FetchTopic::default()
                }),
            }
        }
        if asked.is_empty() && wake != u64::MAX {
            self.timers.set(wake, Timer::Fetcher(leader));
        }
        (!asked.is_empty()).then_some((topics, asked))
    }

    /// A leader answered, or not. An answer to a fetcher that was forgotten meanwhile is not applied.
    pub(crate) fn replicas_fetched(&mut self, leader: NodeId, key: u64, result: Result<Bytes, SendError>, cx: &mut Cx) {
        let Some(fetcher) = self.fetchers.leaders.get_mut(&leader) else { return };
        let Some(in_flight) = fetcher.in_flight.take_if(|in_flight| in_flight.key == key) else { return };
        self.fetchers.touch(leader);
        let answer = result.ok().and_then(|frame| decode_answer::<FetchResponse>(frame, FETCH_VERSION).ok());
        let mut asked = in_flight.asked;
        if let Some(answer) = answer.filter(|answer| answer.error_code == 0) {
            for topic in answer.responses {
                for partition in topic.partitions {
                    let tp = TopicPartition { topic: topic.topic_id, partition: partition.partition_index };
                    if let Some(place) = asked.iter().position(|asked| asked.tp == tp) {
                        let asked = asked.swap_remove(place);
                        self.replica_fetched(asked, partition, cx);
                    }
                }
            }
        }
        let until = cx.now.after_ms(self.config.replica_fetch.backoff_ms);
        for asked in asked {
            self.back_off(asked.slot, leader, until);
        }
    }

    fn replica_fetched(&mut self, asked: Asked, data: PartitionData, cx: &mut Cx) {
        let error = ErrorCode::from_code(data.error_code);
        if error != ErrorCode::None {
            let until = cx.now.after_ms(self.config.replica_fetch.backoff_ms);
            if let Some(leader) = self.partitions.slot(asked.slot).fetcher {
                self.back_off(asked.slot, leader, until);
            }
        }
        let brought = data.records.as_ref().is_some_and(|records| !records.is_empty());
        let diverging = &data.diverging_epoch;
        let answer = FollowerAnswer {
            leader_epoch: asked.leader_epoch,
            fetch_offset: asked.fetch_offset,
            error,
            diverging: (diverging.end_offset >= 0).then_some((diverging.epoch, diverging.end_offset)),
            high_watermark: data.high_watermark,
            log_start_offset: data.log_start_offset,
            records: data.records.unwrap_or_default(),
        };
        self.step_replica(asked.slot, Event::FetchAnswer(answer), cx);
        // Damaged batches are asked for again, but not as fast as the leader can send them.
        let place = self.partitions.slot(asked.slot);
        let again = place.replica.next_fetch().map(|query| (query.leader_epoch, query.fetch_offset));
        if let (true, Some(leader), true) =
            (brought, place.fetcher, again == Some((asked.leader_epoch, asked.fetch_offset)))
        {
            self.back_off(asked.slot, leader, cx.now.after_ms(self.config.replica_fetch.backoff_ms));
        }
    }

    /// The partition is left alone until `until`; the others go on.
    fn back_off(&mut self, slot: u32, leader: NodeId, until: u64) {
        let place = self.partitions.slot_mut(slot);
        if place.fetcher == Some(leader) {
            place.backoff_until = until;
        }
    }
}
