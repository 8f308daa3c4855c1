//! What the controller is to know of where replicas lie (KIP-858): one AssignReplicasToDirs request under way.

use crate::io::SendError;
use crate::node::{Cx, Node, SendUse};
use crate::request::OutBody;
use crate::response::decode_answer;
use crate::timers::Timer;
use bytes::Bytes;
use klamm_base::{TopicPartition, Uuid};
use klamm_wire::messages::assign_replicas_to_dirs_request::{DirectoryData, PartitionData, TopicData};
use klamm_wire::messages::{AssignReplicasToDirsRequest, AssignReplicasToDirsResponse};
use std::collections::BTreeMap;

const VERSION: i16 = 0;
/// After a lost request or one that was refused.
const RETRY_MS: u64 = 100;
/// As many as Kafka puts into one request.
const MOST: usize = 2250;

/// Replicas that lie elsewhere than metadata says.
#[derive(Debug, Default)]
pub(crate) struct Assignments {
    wanted: BTreeMap<TopicPartition, Wanted>,
    in_flight: bool,
    not_before: u64,
}

#[derive(Debug)]
struct Wanted {
    dir: Uuid,
    /// It stands in the request under way.
    asked: bool,
}

impl Assignments {
    /// Waiting after a failure is over; the end of the step sends.
    pub(crate) fn wake(&mut self) {
        self.not_before = 0;
    }

    /// The replica lies in `dir`, and metadata says `known`.
    pub(crate) fn compare(&mut self, tp: TopicPartition, dir: Uuid, known: Uuid) {
        if dir == known {
            self.wanted.remove(&tp);
        } else {
            let wanted = self.wanted.entry(tp).or_insert(Wanted { dir, asked: false });
            if wanted.dir != dir {
                *wanted = Wanted { dir, asked: false };
            }
        }
    }

    fn has_news(&self) -> bool {
        self.wanted.values().any(|wanted| !wanted.asked)
    }
}

impl Node {
    pub(crate) fn send_assignments(&mut self, cx: &mut Cx) {
        let queue = &mut self.assignments;
        let waits = queue.in_flight || queue.not_before > cx.now.mono_ns || self.lifecycle.broker_epoch < 0;
        if waits || !queue.has_news() || !self.phase.serves() {
            return;
        }
        queue.in_flight = true;
        let mut directories: Vec<DirectoryData> = Vec::new();
        for (tp, wanted) in queue.wanted.iter_mut().filter(|(_, wanted)| !wanted.asked).take(MOST) {
            wanted.asked = true;
            put(&mut directories, wanted.dir, *tp);
        }
        let (broker_id, broker_epoch) = (self.config.node.0, self.lifecycle.broker_epoch);
        let request = AssignReplicasToDirsRequest { broker_id, broker_epoch, directories };
        let (to, timeout) = (self.config.controller_endpoint.clone(), self.config.request_timeout_ms);
        let body = (VERSION, OutBody::AssignReplicasToDirs(request));
        self.send(cx, to, "directory-assignments", SendUse::Assign, body, timeout);
    }

    /// The controller answered, or not. What it did not take is said again, as long as it is so.
    pub(crate) fn assigned(&mut self, result: Result<Bytes, SendError>, cx: &mut Cx) {
        let queue = &mut self.assignments;
        queue.in_flight = false;
        let answer = result.ok().and_then(|frame| decode_answer::<AssignReplicasToDirsResponse>(frame, VERSION).ok());
        let taken = answer.filter(|answer| answer.error_code == 0).map(|answer| taken(&answer)).unwrap_or_default();
        queue.wanted.retain(|tp, wanted| !wanted.asked || taken.get(tp) != Some(&wanted.dir));
        let refused = queue.wanted.values_mut().filter(|wanted| wanted.asked);
        if refused.map(|wanted| wanted.asked = false).count() > 0 {
            queue.not_before = cx.now.after_ms(RETRY_MS);
            self.timers.set(queue.not_before, Timer::Assign);
        }
    }
}

fn put(directories: &mut Vec<DirectoryData>, id: Uuid, tp: TopicPartition) {
    let partition = PartitionData { partition_index: tp.partition };
    let at = directories.iter().position(|dir| dir.id == id).unwrap_or_else(|| {
        directories.push(DirectoryData { id, topics: Vec::new() });
        directories.len() - 1
    });
    let topics = &mut directories[at].topics;
    match topics.iter_mut().find(|topic| topic.topic_id == tp.topic) {
        Some(topic) => topic.partitions.push(partition),
        None => topics.push(TopicData { topic_id: tp.topic, partitions: vec![partition] }),
    }
}

/// The partitions that the controller took, and in which directory.
fn taken(answer: &AssignReplicasToDirsResponse) -> BTreeMap<TopicPartition, Uuid> {
    let topics = answer.directories.iter().flat_map(|dir| dir.topics.iter().map(move |topic| (dir.id, topic)));
    let partitions = topics.flat_map(|(id, topic)| topic.partitions.iter().map(move |it| (id, topic.topic_id, it)));
    let taken = partitions.filter(|(_, _, partition)| partition.error_code == 0);
    taken.map(|(id, topic, it)| (TopicPartition { topic, partition: it.partition_index }, id)).collect()
}
