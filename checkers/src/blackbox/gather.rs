//! Our own history as operations: only what clients did and were told, nothing that a broker knows but where logs begin.
//!
//! A process does one thing at a time, a producer does not: each of its open records is a process of its own, taken up again by a
//! later record once this one has ended. After an unknown outcome the process is gone, as in Jepsen. A consumer incarnation is one
//! process; what it reads in one instant is one poll. Where it was positioned anew stands an `assign` without the partition and
//! one with it: so every judge of such histories forgets where it was.

use super::Settings;
use super::operations::{Does, Ended, FOREIGN, Key, NO_OFFSET, Numbers, Op, Operations, Process, Record};
use crate::slice::partition_of;
use crate::{Event, History, World};
use klamm_base::{ClientId, ClientKind, ClientRecord, NodeId, Observation, Outcome, Source, TopicPartition, Uuid};
use std::collections::{BTreeMap, BTreeSet};

/// A history in which something happens that cannot: an operation that ends before it begins.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Broken {
    /// Index of the entry.
    pub entry: usize,
    /// What is wrong with it, and what was expected.
    pub message: String,
}

/// Values of one client in decimal: 50000000017 is record 17 of client 5.
const CLIENT: i64 = 10_000_000_000;

fn name_of(record: ClientRecord) -> i64 {
    i64::from(record.client.0).wrapping_mul(CLIENT).wrapping_add(i64::from(record.number))
}

/// The record of a name.
pub(super) fn record_of(name: i64) -> ClientRecord {
    ClientRecord { client: ClientId((name / CLIENT) as u32), number: (name % CLIENT) as u32 }
}

/// A record of a producer on its way.
#[derive(Clone, Copy, Debug)]
enum Sending {
    Unheard,
    Open {
        lane: u32,
        invoked: (u32, u64),
    },
    Ended,
    /// Its client died first.
    Gone,
}

/// One process of a producer, and the record that it is about.
#[derive(Clone, Copy, Debug)]
struct Lane {
    process: u32,
    open: Option<(u32, u32)>,
}

#[derive(Debug, Default)]
struct Client {
    name: String,
    settings: Settings,
    lanes: Vec<Lane>,
    free: Vec<u32>,
    reader: Option<Reader>,
}

/// A consumer.
#[derive(Debug)]
struct Reader {
    process: u32,
    assigned: Vec<u32>,
    /// Keys read since they were positioned.
    read: BTreeSet<u32>,
    /// The poll that goes on, and when it began and went on last.
    poll: Vec<Record>,
    began: (u32, u64),
    last: (u32, u64),
}

struct Gather {
    operations: Operations,
    keys: Numbers<TopicPartition>,
    topics: BTreeMap<Uuid, String>,
    clients: BTreeMap<u32, Client>,
    /// Numbers of values by key and client, by the record's number; odd ones apart.
    values: BTreeMap<(u32, u32), Vec<u32>>,
    odd: BTreeMap<(u32, ClientRecord), u32>,
    sending: Vec<Sending>,
    /// Keys that a final reading read to its end.
    finals: BTreeMap<u32, Vec<TopicPartition>>,
    /// Where the log of each node begins, and who leads.
    starts: BTreeMap<(TopicPartition, NodeId), i64>,
    leaders: BTreeMap<TopicPartition, (i32, NodeId)>,
    /// Compacted topics: nothing of them is gathered.
    compacted: BTreeSet<Uuid>,
}

impl Operations {
    /// What the clients of a history did.
    ///
    /// # Errors
    /// If a record ends that is not open, or is handed in twice.
    pub fn of(history: &History) -> Result<Operations, Broken> {
        let mut gather = Gather {
            operations: Operations::default(),
            keys: Numbers::default(),
            topics: BTreeMap::new(),
            clients: BTreeMap::new(),
            values: BTreeMap::new(),
            odd: BTreeMap::new(),
            sending: Vec::new(),
            finals: final_readers(history),
            starts: BTreeMap::new(),
            leaders: BTreeMap::new(),
            compacted: BTreeSet::new(),
        };
        let mut end = (0, 0);
        for (entry, fact) in history.entries.iter().enumerate() {
            let now = (entry as u32, fact.at_ns);
            end = now;
            let broken = |message| Broken { entry, message };
            match &fact.event {
                Event::World(World::ClientDisturbed { client, what }) if what == "killed" || what == "powered off" => {
                    gather.died(client, now);
                }
                // What compaction took nobody lost, and clients are not told what that is.
                Event::Stack { observation, .. } if gather.is_of_a_compacted_topic(observation) => {}
                Event::Stack { observation: Observation::TopicCreated { topic, compacted: Some(_), .. }, .. } => {
                    gather.compacted.insert(*topic);
                }
                Event::Stack { source: Source::Client(client), observation } => {
                    gather.told(now, client.0, observation).map_err(broken)?;
                }
                Event::Stack { source: Source::Node(node), observation } => gather.known(*node, observation),
                Event::World(_) => {}
            }
        }
        gather.finish(end);
        Ok(gather.operations)
    }
}

fn final_readers(history: &History) -> BTreeMap<u32, Vec<TopicPartition>> {
    let mut finals: BTreeMap<u32, Vec<TopicPartition>> = BTreeMap::new();
    for entry in &history.entries {
        if let Event::Stack { source: Source::Client(client), observation } = &entry.event
            && let Observation::FinallyRead { tp, complete, .. } = observation
        {
            let keys = finals.entry(client.0).or_default();
            if *complete {
                keys.push(*tp);
            }
        }
    }
    finals
}

impl Gather {
    fn is_of_a_compacted_topic(&self, observation: &Observation) -> bool {
        !self.compacted.is_empty() && partition_of(observation).is_some_and(|tp| self.compacted.contains(&tp.topic))
    }

    fn told(&mut self, now: (u32, u64), client: u32, observation: &Observation) -> Result<(), String> {
        match observation {
            Observation::ClientStarted { name, kind } => self.started(client, name, *kind),
            Observation::Invoked { tp, record } => return self.invoked(now, client, *tp, *record),
            Observation::Ended { tp, record, outcome } => return self.ended(now, *tp, *record, *outcome),
            Observation::Read { tp, offset, records, .. } => self.read(now, client, *tp, *offset, records),
            Observation::Positioned { tp, .. } => self.positioned(now, client, *tp),
            _ => {}
        }
        Ok(())
    }

    fn named(&mut self, topic: Uuid, name: &str) {
        self.topics.insert(topic, name.to_owned());
        for key in &mut self.operations.keys {
            if let Some((tp, known)) = &mut key.partition
                && tp.topic == topic
            {
                *known = name.to_owned();
            }
        }
    }

    /// What nodes tell that clients are not told: topics' names, and why they cannot have what stood below a leader's start.
    /// Whether a log may begin there is the properties' affair.
    fn known(&mut self, node: NodeId, observation: &Observation) {
        match observation {
            Observation::TopicCreated { topic, name, .. } => self.named(*topic, name),
            Observation::LogStartMoved { tp, to, .. } => self.begins(*tp, node, *to),
            Observation::LogLoaded { tp, log_start, .. } => drop(self.starts.insert((*tp, node), *log_start)),
            Observation::BecameLeader { tp, leader_epoch, .. } => {
                if self.leaders.get(tp).is_none_or(|(epoch, _)| epoch < leader_epoch) {
                    self.leaders.insert(*tp, (*leader_epoch, node));
                }
                let start = self.starts.get(&(*tp, node)).copied().unwrap_or(0);
                self.begins(*tp, node, start);
            }
            _ => {}
        }
    }

    /// Only a leader's start keeps clients from what stands below.
    fn begins(&mut self, tp: TopicPartition, node: NodeId, to: i64) {
        self.starts.insert((tp, node), to);
        if to > 0 && self.leaders.get(&tp).is_some_and(|(_, leader)| *leader == node) {
            let key = self.key(tp);
            let begins = self.operations.begins.entry(key).or_default();
            *begins = to.max(*begins);
        }
    }

    fn started(&mut self, client: u32, name: &str, kind: ClientKind) {
        let settings = match kind {
            ClientKind::Producer { acks, idempotent } => Settings { acks: Some(acks), idempotent: Some(idempotent) },
            ClientKind::Consumer | ClientKind::Admin => Settings::default(),
        };
        let client = self.clients.entry(client).or_default();
        (client.name, client.settings) = (name.to_owned(), settings);
    }

    fn key(&mut self, tp: TopicPartition) -> u32 {
        let (topics, operations) = (&self.topics, &mut self.operations);
        self.keys.number(tp, || {
            let topic = topics.get(&tp.topic).cloned().unwrap_or_else(|| tp.topic.to_string());
            let number = operations.keys.len() as i64;
            operations.add_key(Key { number, partition: Some((tp, topic)) })
        })
    }

    fn value(&mut self, key: u32, record: ClientRecord) -> u32 {
        let dense = self.values.entry((key, record.client.0)).or_default();
        if let Some(value) = dense.get(record.number as usize) {
            return *value;
        }
        let (operations, sending) = (&mut self.operations, &mut self.sending);
        let mut make = || {
            sending.push(Sending::Unheard);
            operations.add_value(name_of(record))
        };
        if record.number as usize != dense.len() {
            return *self.odd.entry((key, record)).or_insert_with(make);
        }
        let value = self.odd.remove(&(key, record)).unwrap_or_else(&mut make);
        dense.push(value);
        value
    }

    fn invoked(
        &mut self,
        now: (u32, u64),
        client: u32,
        tp: TopicPartition,
        record: ClientRecord,
    ) -> Result<(), String> {
        let key = self.key(tp);
        let value = self.value(key, record);
        if !matches!(self.sending[value as usize], Sending::Unheard) {
            return Err(format!("record {} of client {client} is handed in a second time", record.number));
        }
        let lane = self.lane(client);
        let lanes = &mut self.clients.entry(client).or_default().lanes;
        lanes[lane as usize].open = Some((key, value));
        self.sending[value as usize] = Sending::Open { lane, invoked: now };
        Ok(())
    }

    /// A process of this producer that does nothing.
    fn lane(&mut self, client: u32) -> u32 {
        let known = self.clients.entry(client).or_default();
        if let Some(lane) = known.free.pop() {
            return lane;
        }
        let process = self.operations.add_process(Process {
            number: self.operations.processes.len() as i64,
            client: known.name.clone(),
            settings: known.settings,
        });
        known.lanes.push(Lane { process, open: None });
        known.lanes.len() as u32 - 1
    }

    fn ended(
        &mut self,
        now: (u32, u64),
        tp: TopicPartition,
        record: ClientRecord,
        outcome: Outcome,
    ) -> Result<(), String> {
        let key = self.key(tp);
        let value = self.value(key, record);
        let whose = format_args!("record {} of client {}", record.number, record.client.0);
        let (lane, invoked) = match self.sending[value as usize] {
            Sending::Open { lane, invoked } => (lane, invoked),
            Sending::Gone => return Ok(()),
            Sending::Ended => return Err(format!("{whose} ends a second time")),
            Sending::Unheard => return Err(format!("{whose} ends before it begins: it was never handed in")),
        };
        let (ended, offset) = match outcome {
            Outcome::Acked(offset) => (Ended::Ok, offset),
            Outcome::Refused(_) => (Ended::Fail, NO_OFFSET),
            Outcome::Unknown(_) | Outcome::Sent => (Ended::Info, NO_OFFSET),
        };
        self.sending[value as usize] = Sending::Ended;
        let Some(client) = self.clients.get_mut(&record.client.0) else { return Ok(()) };
        let Some(lane_of) = client.lanes.get_mut(lane as usize) else { return Ok(()) };
        lane_of.open = None;
        let op = Op::new(lane_of.process, Does::Send, ended, invoked, now);
        if ended != Ended::Info {
            client.free.push(lane);
        }
        self.operations.push(op, &[Record::sent(key, offset, value)], &[]);
        Ok(())
    }

    /// Nobody will be told how its open records ended.
    fn died(&mut self, name: &str, now: (u32, u64)) {
        for client in self.clients.values_mut().filter(|client| client.name == name) {
            for lane in client.lanes.iter_mut() {
                let Some((key, value)) = lane.open.take() else { continue };
                let sending = std::mem::replace(&mut self.sending[value as usize], Sending::Gone);
                if let Sending::Open { invoked, .. } = sending {
                    let op = Op::new(lane.process, Does::Send, Ended::Info, invoked, now);
                    self.operations.push(op, &[Record::sent(key, NO_OFFSET, value)], &[]);
                }
            }
        }
    }

    fn reader(&mut self, client: u32, now: (u32, u64)) -> &mut Reader {
        let known = self.clients.entry(client).or_default();
        let operations = &mut self.operations;
        known.reader.get_or_insert_with(|| Reader {
            process: operations.add_process(Process {
                number: operations.processes.len() as i64,
                client: known.name.clone(),
                settings: Settings::default(),
            }),
            assigned: Vec::new(),
            read: BTreeSet::new(),
            poll: Vec::new(),
            began: now,
            last: now,
        })
    }

    fn read(
        &mut self,
        now: (u32, u64),
        client: u32,
        tp: TopicPartition,
        offset: i64,
        records: &[Option<ClientRecord>],
    ) {
        let key = self.key(tp);
        self.flush(client, Some(now.1));
        let offsets = (0i64..).map(|step| offset.saturating_add(step));
        let polled: Vec<Record> = records
            .iter()
            .zip(offsets)
            .map(|(record, offset)| {
                let value = record.map_or(FOREIGN, |record| self.value(key, record));
                Record::polled(key, offset, value)
            })
            .collect();
        let reader = self.reader(client, now);
        if reader.poll.is_empty() {
            reader.began = now;
        }
        reader.last = now;
        reader.read.insert(key);
        reader.poll.extend(polled);
    }

    /// Ends a consumer's poll, unless it goes on at this time.
    fn flush(&mut self, client: u32, unless_at: Option<u64>) {
        let Some(reader) = self.clients.get_mut(&client).and_then(|client| client.reader.as_mut()) else { return };
        if reader.poll.is_empty() || Some(reader.last.1) == unless_at {
            return;
        }
        let op = Op::new(reader.process, Does::Poll, Ended::Ok, reader.began, reader.last);
        reader.poll.sort_by_key(|record| record.key());
        self.operations.push(op, &reader.poll, &[]);
        reader.poll.clear();
    }

    fn positioned(&mut self, now: (u32, u64), client: u32, tp: TopicPartition) {
        self.flush(client, None);
        let key = self.key(tp);
        let finals = self.finals.remove(&client);
        let process = self.reader(client, now).process;
        if let Some(finals) = finals {
            let finals: Vec<u32> = finals.into_iter().map(|tp| self.key(tp)).collect();
            self.reader(client, now).assigned = finals.clone();
            if !finals.is_empty() {
                let mut op = Op::new(process, Does::Assign, Ended::Ok, now, now);
                op.from_beginning = true;
                self.operations.push(op, &[], &finals);
            }
        }
        let reader = self.reader(client, now);
        let again = reader.read.remove(&key);
        let is_new = !reader.assigned.contains(&key);
        if is_new {
            reader.assigned.push(key);
        }
        let assigned = reader.assigned.clone();
        let assign = Op::new(process, Does::Assign, Ended::Ok, now, now);
        if again && !is_new {
            let others: Vec<u32> = assigned.iter().copied().filter(|other| *other != key).collect();
            self.operations.push(assign, &[], &others);
        }
        if again || is_new {
            self.operations.push(assign, &[], &assigned);
        }
    }

    /// Nobody was told how what is still open ended.
    fn finish(&mut self, end: (u32, u64)) {
        let names: BTreeSet<String> = self.clients.values().map(|client| client.name.clone()).collect();
        names.iter().for_each(|name| self.died(name, end));
        let clients: Vec<u32> = self.clients.keys().copied().collect();
        clients.into_iter().for_each(|client| self.flush(client, None));
    }
}
