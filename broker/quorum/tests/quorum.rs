//! One voter: opening, committing, serving observers, and coming back after every possible crash.

mod common;

use bytes::Bytes;
use common::{Crash, Disk, show_op};
use klamm_base::{ErrorCode, Guards, NodeId, Now, Observe, Outbox, Source, Uuid};
use klamm_log::LogConfig;
use klamm_quorum::{Command, CommittedBatch, Event, Origin, Quorum, QuorumConfig, QuorumState, Role};
use klamm_wire::messages::fetch_request::{FetchPartition, FetchTopic};
use klamm_wire::messages::fetch_response::PartitionData;
use klamm_wire::messages::{FetchRequest, FetchResponse, ProducerIdsRecord};
use klamm_wire::metadata::MetadataRecord;
use klamm_wire::records::split;
use std::collections::BTreeMap;

const NODE: NodeId = NodeId(1);
const DIR: &str = "data/__cluster_metadata-0";

/// A voter on its disk, and all it said.
struct World {
    disk: Disk,
    quorum: Quorum,
    now: Now,
    committed: Vec<CommittedBatch>,
    answers: BTreeMap<u64, FetchResponse>,
    active: Option<i32>,
    stopped: bool,
    failed: Option<String>,
    dialogue: Vec<String>,
}

impl World {
    fn on(disk: Disk) -> World {
        let config = QuorumConfig {
            node: NODE,
            voters: vec![NODE],
            cluster_id: "castle".to_owned(),
            dir: DIR.to_owned(),
            log: LogConfig::default(),
        };
        let quorum = Quorum::new(config, Guards::default(), Observe::nobody(Source::Node(NODE)));
        World {
            disk,
            quorum,
            now: Now { mono_ns: 1, wall_ms: 1_000 },
            committed: Vec::new(),
            answers: BTreeMap::new(),
            active: None,
            stopped: false,
            failed: None,
            dialogue: Vec::new(),
        }
    }

    fn fresh() -> World {
        World::on(Disk::with_dir("data"))
    }

    fn started() -> World {
        let mut world = World::fresh();
        world.event(Event::Start);
        world.settle();
        world
    }

    fn event(&mut self, event: Event) {
        let mut out = Outbox::new();
        self.quorum.step(self.now, event, &mut out);
        self.take(out);
    }

    fn append(&mut self, ids: &[i64]) -> Result<i64, ErrorCode> {
        let mut out = Outbox::new();
        let appended = self.quorum.append(self.now, ids.iter().copied().map(block).collect(), &mut out);
        self.take(out);
        appended
    }

    fn take(&mut self, mut out: Outbox<Command>) {
        for command in out.drain() {
            self.dialogue.push(show(&command));
            match command {
                Command::Disk(request) => self.disk.ask(request),
                Command::Committed(batch) => self.committed.push(batch),
                Command::Active { epoch } => self.active = Some(epoch),
                Command::Fetched { token, response } => {
                    assert!(self.answers.insert(token, response).is_none(), "{token} is answered twice");
                }
                Command::Stopped => self.stopped = true,
                Command::Failed(error) => self.failed = Some(error.to_string()),
            }
        }
    }

    /// Performs one disk operation; false if none waits.
    fn tick(&mut self) -> bool {
        let Some(done) = self.disk.perform() else { return false };
        self.event(Event::DiskDone(done));
        true
    }

    fn settle(&mut self) {
        while self.tick() {}
    }

    fn crashed(mut self, crash: Crash) -> World {
        self.disk.crash(crash);
        World::on(self.disk)
    }

    /// The records of all committed batches: offset, epoch, id.
    fn records(&self) -> Vec<(i64, i32, i64)> {
        let of = |batch: &CommittedBatch| {
            let (base, epoch) = (batch.base_offset, batch.epoch);
            batch.records.iter().enumerate().map(move |(n, record)| (base + n as i64, epoch, id_of(record))).collect()
        };
        self.committed.iter().flat_map(|batch| -> Vec<_> { of(batch) }).collect()
    }

    fn fetch(&mut self, token: u64, ask: FetchPartition, max_wait_ms: i32) {
        let request = request(ask, max_wait_ms);
        self.event(Event::Fetch { token, request });
    }

    fn answer(&mut self, token: u64) -> PartitionData {
        let mut response = self.answers.remove(&token).unwrap_or_else(|| panic!("{token} is not answered"));
        assert_eq!(response.error_code, 0);
        response.responses.remove(0).partitions.remove(0)
    }
}

fn request(ask: FetchPartition, max_wait_ms: i32) -> FetchRequest {
    let topic = FetchTopic { topic_id: Uuid::METADATA_TOPIC, partitions: vec![ask], ..FetchTopic::default() };
    FetchRequest { max_wait_ms, max_bytes: i32::MAX, topics: vec![topic], ..FetchRequest::default() }
}

fn from(fetch_offset: i64, last_fetched_epoch: i32, current_leader_epoch: i32) -> FetchPartition {
    FetchPartition {
        fetch_offset,
        last_fetched_epoch,
        current_leader_epoch,
        partition_max_bytes: 1 << 20,
        ..FetchPartition::default()
    }
}

fn block(next_producer_id: i64) -> MetadataRecord {
    MetadataRecord::ProducerIdsRecord(ProducerIdsRecord { next_producer_id, ..ProducerIdsRecord::default() })
}

fn id_of(record: &MetadataRecord) -> i64 {
    match record {
        MetadataRecord::ProducerIdsRecord(record) => record.next_producer_id,
        other => panic!("nobody appended {other:?}"),
    }
}

fn show(command: &Command) -> String {
    match command {
        Command::Disk(request) => format!("disk  {}", show_op(&request.op)),
        Command::Committed(batch) => format!(
            "committed {}..={} of epoch {} ({} records, {:?})",
            batch.base_offset,
            batch.last_offset,
            batch.epoch,
            batch.records.len(),
            batch.origin
        ),
        Command::Active { epoch } => format!("active in epoch {epoch}"),
        Command::Fetched { token, response } if response.error_code != 0 => {
            format!("answer {token}: error {} of the whole", response.error_code)
        }
        Command::Fetched { token, response } => {
            let data = &response.responses[0].partitions[0];
            let batches = split(data.records.as_ref().unwrap_or(&Bytes::new())).count();
            format!(
                "answer {token}: error {}, high watermark {}, {batches} batches",
                data.error_code, data.high_watermark
            )
        }
        Command::Stopped => "stopped".to_owned(),
        Command::Failed(error) => format!("failed: {error}"),
    }
}

#[test]
fn an_epoch_is_durable_before_it_is_led_and_its_leader_change_before_anything_counts() {
    let mut world = World::fresh();
    world.event(Event::Start);
    world.settle();
    assert_eq!((world.quorum.role(), world.active), (Role::Leader, Some(1)));
    insta::assert_snapshot!("opening", world.dialogue.join("\n"));
    let state = QuorumState::parse(world.disk.content(&format!("{DIR}/quorum-state")).unwrap()).unwrap();
    assert_eq!((state.leader_id, state.leader_epoch), (1, 1));
}

#[test]
fn a_batch_is_committed_by_its_flush_and_then_answers_who_waited_for_it() {
    let mut world = World::started();
    world.dialogue.clear();
    world.fetch(7, from(1, 1, 1), 500);
    assert_eq!(world.append(&[1000, 2000]), Ok(1));
    assert_eq!(world.append(&[3000]), Ok(3));
    world.settle();
    world.append(&[4000]).unwrap();
    world.event(Event::Stop);
    world.settle();
    assert!(world.stopped && world.failed.is_none());
    insta::assert_snapshot!("commit", world.dialogue.join("\n"));
}

#[test]
fn nobody_is_served_and_nothing_is_taken_before_the_log_is_replayed() {
    let mut world = World::started();
    world.append(&[1000]).unwrap();
    world.settle();
    let mut world = world.crashed(Crash::Kill);
    world.event(Event::Start);
    let mut token = 0;
    while world.active.is_none() {
        token += 1;
        world.fetch(token, from(0, 0, 1), 500);
        let answer = world.answer(token);
        assert_eq!(answer.error_code, ErrorCode::NotLeaderOrFollower as i16);
        assert_eq!(world.append(&[9]), Err(ErrorCode::NotController));
        assert!(world.tick(), "it never gets active");
    }
    assert_eq!(world.records(), [(1, 1, 1000)]);
    assert!(world.committed.iter().all(|batch| batch.origin == Origin::Loaded));
}

#[test]
fn an_observer_is_fenced_by_its_epoch_and_told_the_leaders() {
    let mut world = World::started();
    for (epoch, code) in
        [(0, ErrorCode::FencedLeaderEpoch), (-1, ErrorCode::FencedLeaderEpoch), (2, ErrorCode::UnknownLeaderEpoch)]
    {
        world.fetch(1, from(0, 0, epoch), 0);
        let answer = world.answer(1);
        assert_eq!(answer.error_code, code as i16);
        assert_eq!((answer.current_leader.leader_id, answer.current_leader.leader_epoch), (1, 1));
    }
}

#[test]
fn an_observer_whose_log_parts_from_ours_is_told_where() {
    let mut world = World::started();
    world.append(&[1000]).unwrap();
    world.settle();
    // Offset 2 is our end; epoch 5 is unknown, epoch 1 ends at 2.
    for (offset, epoch, part) in [(2, 5, (1, 2)), (9, 1, (1, 2))] {
        world.fetch(1, from(offset, epoch, 1), 500);
        let answer = world.answer(1);
        assert_eq!(answer.error_code, 0);
        assert_eq!((answer.diverging_epoch.epoch, answer.diverging_epoch.end_offset), part);
        assert!(answer.records.unwrap_or_default().is_empty());
    }
    world.fetch(2, from(2, 1, 1), 0);
    assert_eq!(world.answer(2).diverging_epoch.epoch, -1, "the same log does not part");
}

#[test]
fn a_long_poll_ends_at_its_deadline_without_records() {
    let mut world = World::started();
    world.fetch(1, from(1, 1, 1), 500);
    world.fetch(2, from(1, 1, 1), 200);
    assert_eq!(world.quorum.deadline(), Some(world.now.after_ms(200)));
    world.now.mono_ns = world.now.after_ms(200);
    world.event(Event::Deadline);
    let answer = world.answer(2);
    assert_eq!((answer.error_code, answer.high_watermark), (0, 1));
    assert!(world.answers.is_empty(), "the other one still waits");
    world.now.mono_ns = world.now.after_ms(300);
    world.event(Event::Deadline);
    assert_eq!(world.answer(1).high_watermark, 1);
    assert_eq!(world.quorum.deadline(), None);
}

#[test]
fn an_observer_reads_all_that_is_committed_in_pieces_and_nothing_else() {
    let mut world = World::started();
    for id in 1..=20 {
        world.append(&[id * 1000]).unwrap();
    }
    world.fetch(1, from(0, 0, 1), 0);
    let answer = world.answer_settled(1);
    assert!(answer.high_watermark <= 1, "nothing is flushed yet but the LeaderChange");
    world.settle();
    let (mut next, mut last_epoch) = (0, 0);
    while next < world.quorum.high_watermark() {
        let mut ask = from(next, last_epoch, 1);
        ask.partition_max_bytes = 250;
        world.fetch(2, ask, 0);
        let answer = world.answer_settled(2);
        assert_eq!(answer.high_watermark, 21);
        let records = answer.records.unwrap();
        let batches: Vec<_> = split(&records).map(Result::unwrap).collect();
        assert!(!batches.is_empty() && records.len() <= 250);
        assert_eq!(batches[0].header.base_offset, next);
        next = batches.last().unwrap().header.last_offset() + 1;
        last_epoch = 1;
    }
    assert_eq!(next, 21);
}

impl World {
    fn answer_settled(&mut self, token: u64) -> PartitionData {
        while !self.answers.contains_key(&token) {
            assert!(self.tick(), "{token} is never answered");
        }
        self.answer(token)
    }
}

#[test]
fn a_request_of_another_cluster_or_partition_is_refused_whole() {
    let mut world = World::started();
    let mut other = request(from(0, 0, 1), 0);
    other.cluster_id = Some("village".into());
    world.event(Event::Fetch { token: 1, request: other });
    assert_eq!(world.answers[&1].error_code, ErrorCode::InconsistentClusterId as i16);
    let mut other = request(from(0, 0, 1), 0);
    other.topics[0].topic_id = Uuid(77);
    world.event(Event::Fetch { token: 2, request: other });
    assert_eq!(world.answers[&2].error_code, ErrorCode::InvalidRequest as i16);
}

#[test]
fn a_damaged_quorum_state_stops_the_voter_instead_of_starting_over() {
    let mut world = World::started();
    let path = format!("{DIR}/quorum-state");
    let mut disk = world.disk.clone();
    disk.ask(klamm_base::DiskRequest {
        ticket: klamm_base::Ticket(0),
        op: klamm_base::DiskOp::Truncate { path: path.clone(), len: 5 },
    });
    disk.perform();
    world = World::on(disk);
    world.event(Event::Start);
    world.settle();
    assert!(world.failed.as_ref().is_some_and(|error| error.contains(&path)), "{:?}", world.failed);
    assert_eq!(world.quorum.role(), Role::Resigned);
}

/// Runs a start and three appends until `stop_after` disk operations are done; answers the world there, and whether
/// anything was left to do.
fn run(disk: Disk, stop_after: usize, ids: [i64; 3]) -> (World, bool) {
    let mut world = World::on(disk);
    let limit = world.disk.performed.saturating_add(stop_after);
    world.event(Event::Start);
    let mut left = ids.into_iter();
    loop {
        if world.disk.performed == limit {
            return (world, true);
        }
        if world.disk.idle() {
            let Some(id) = left.next() else { return (world, false) };
            world.append(&[id, id + 1]).unwrap();
        }
        // The last operation takes effect, and nobody is told.
        if world.disk.performed + 1 == limit {
            world.disk.perform();
        } else {
            world.tick();
        }
    }
}

#[test]
fn what_was_committed_stays_and_no_epoch_is_led_twice_whatever_operation_a_crash_hits() {
    for first in Crash::ALL {
        for second in Crash::ALL {
            let mut crashes = 0;
            for stop_after in 0.. {
                let (one, more) = run(Disk::with_dir("data"), stop_after, [10, 20, 30]);
                crashes += 1;
                let (known, epoch) = (one.records(), one.quorum.epoch());
                let mut disk = one.disk;
                disk.crash(first);
                let (two, _) = run(disk, stop_after, [40, 50, 60]);
                assert_continues(&known, &two, epoch);
                let (known, epoch) = (two.records().max(known), two.quorum.epoch().max(epoch));
                let mut disk = two.disk;
                disk.crash(second);
                let (three, unfinished) = run(disk, usize::MAX, [70, 80, 90]);
                assert!(!unfinished && three.failed.is_none());
                assert_continues(&known, &three, epoch);
                assert_eq!(three.records().iter().filter(|record| record.2 >= 70).count(), 6);
                if !more {
                    break;
                }
            }
            assert!(crashes > 20, "only {crashes} crashes");
        }
    }
}

/// A later life has led no earlier epoch, and once active has handed out all that was handed out before.
fn assert_continues(known: &[(i64, i32, i64)], later: &World, epoch: i32) {
    assert!(later.failed.is_none(), "{:?}", later.failed);
    assert!(later.quorum.epoch() == 0 || later.quorum.epoch() > epoch, "epoch {epoch} is led again");
    let records = later.records();
    if later.active.is_some() {
        assert!(records.starts_with(known), "{known:?} became {records:?}");
    } else {
        let common = records.len().min(known.len());
        assert_eq!(records[..common], known[..common]);
    }
    assert!(records.windows(2).all(|pair| pair[0].0 < pair[1].0), "offsets come twice: {records:?}");
}

#[test]
fn a_log_of_several_megabytes_is_replayed_in_pieces_of_whole_batches() {
    let mut world = World::started();
    let mut expected: Vec<i64> = Vec::new();
    for round in 0..60i64 {
        let ids: Vec<i64> = (0..2000).map(|n| round * 2000 + n).collect();
        expected.extend(&ids);
        world.append(&ids).unwrap();
        world.settle();
    }
    let mut world = world.crashed(Crash::PowerLoss);
    world.event(Event::Start);
    world.settle();
    assert_eq!(world.records().iter().map(|record| record.2).collect::<Vec<_>>(), expected);
    let reads = world.dialogue.iter().filter(|line| line.starts_with("disk  read") && line.contains(".log")).count();
    assert!(reads > 4, "{reads} reads");
}
