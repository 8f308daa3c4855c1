//! Logs that Kafka wrote, loaded: they end where Kafka says, with its epochs and producers, and a consumer reads from them what
//! Kafka gave its own.

#![allow(clippy::disallowed_methods, reason = "tests read their data")]

mod bench;
mod disk;

use bench::{DIR, load_on};
use bytes::Bytes;
use disk::Disk;
use klamm_base::{DiskDone, DiskOp, Outbox};
use klamm_log::format::{EpochStart, ProducerEntry, decode_producer_snapshot, file, parse_epochs, parse_offsets};
use klamm_log::{Compaction, LastKnown, Log, LogConfig, Progress};
use klamm_wire::records::{Batch, Record, records, split};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

/// As the broker was configured; compacted topics have smaller segments, which matters to writers only.
const CONFIG: LogConfig = LogConfig {
    segment_bytes: 64 << 10,
    segment_ms: i64::MAX,
    index_interval_bytes: 512,
    max_index_bytes: 8 << 10,
    max_message_bytes: 1_048_588,
    flush_messages: i64::MAX,
    flush_ms: i64::MAX,
    delete: true,
    compact: true,
    retention_ms: -1,
    retention_bytes: -1,
    compaction: Compaction::KAFKAS,
    file_delete_delay_ms: 60_000,
};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// The directories of an archive by name, `""` for the files beside them.
fn unpack(archive: &str) -> BTreeMap<String, BTreeMap<String, Vec<u8>>> {
    let packed = std::fs::File::open(data(archive)).expect("the archive is there");
    let mut dirs: BTreeMap<String, BTreeMap<String, Vec<u8>>> = BTreeMap::new();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(packed));
    for entry in archive.entries().expect("an archive") {
        let mut entry = entry.expect("an entry");
        let path = entry.path().expect("a path").to_str().expect("UTF-8").trim_start_matches("./").to_owned();
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", &path));
        let mut content = Vec::new();
        entry.read_to_end(&mut content).expect("test data is whole");
        if entry.header().entry_type().is_file() {
            dirs.entry(dir.to_owned()).or_default().insert(name.to_owned(), content);
        }
    }
    dirs
}

fn expected(name: &str) -> Option<String> {
    let file = std::fs::File::open(data("expected").join(format!("{name}.gz"))).ok()?;
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(file).read_to_end(&mut bytes).expect("test data is whole");
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// A log directory of Kafka's.
struct Dirs {
    dirs: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    clean: bool,
}

impl Dirs {
    fn of(archive: &str, clean: bool) -> Dirs {
        Dirs { dirs: unpack(archive), clean }
    }

    fn checkpoint(&self, name: &str, dir: &str) -> i64 {
        let Some(text) = self.dirs[""].get(name) else { return 0 };
        let entries = parse_offsets(std::str::from_utf8(text).unwrap()).unwrap();
        let here = entries.iter().find(|entry| format!("{}-{}", entry.topic, entry.partition) == dir);
        here.map_or(0, |entry| entry.offset)
    }

    fn load(&self, dir: &str) -> (Disk, Log) {
        let mut disk = Disk::default();
        for (name, content) in &self.dirs[dir] {
            let path = format!("{DIR}/{name}");
            disk.perform(DiskOp::Write { path, data: content.clone().into() }).unwrap();
        }
        let known = LastKnown {
            clean: self.clean,
            recovery_point: self.checkpoint(file::RECOVERY_POINTS, dir),
            log_start: self.checkpoint(file::LOG_STARTS, dir),
        };
        let log = load_on(&mut disk, CONFIG, known).0;
        (disk, log)
    }

    /// Topics with their partitions.
    fn partitions(&self) -> Vec<(String, i32)> {
        let split = |dir: &String| {
            let (topic, partition) = dir.rsplit_once('-')?;
            Some((topic.to_owned(), partition.parse().ok()?))
        };
        self.dirs.keys().filter_map(split).filter(|(topic, _)| topic != "__cluster_metadata").collect()
    }
}

/// All batches that a reader below `limit` gets.
fn read_all(disk: &mut Disk, log: &mut Log, limit: i64) -> Vec<Batch> {
    let (mut at, mut batches) = (log.log_start_offset(), Vec::new());
    while let Some(plan) = log.plan_read(at, 1 << 20, limit, true) {
        at = plan.end_offset();
        let mut out = Outbox::new();
        log.start_read(plan, &mut out);
        let mut progress = Outbox::new();
        for request in out.drain() {
            let result = disk.perform(request.op);
            log.disk_done(DiskDone { ticket: request.ticket, result }, &mut progress);
        }
        for one in progress.drain() {
            let Progress::Read { result: Ok(data), .. } = one else { panic!("{one:?}") };
            batches.extend(split(&data).map(|batch| batch.expect("whole batches")));
        }
    }
    batches
}

/// What a consumer's application gets, as lines of the expected files.
fn consume(disk: &mut Disk, log: &mut Log, partition: i32, committed_only: bool) -> Vec<Value> {
    let high_watermark = log.log_end_offset();
    let limit = if committed_only { log.last_stable_offset(high_watermark) } else { high_watermark };
    let start = log.log_start_offset();
    let batches = read_all(disk, log, limit);
    let mut begins: Vec<(i64, i64)> =
        log.aborted_within(start, limit).map(|aborted| (aborted.first_offset, aborted.producer_id)).collect();
    begins.sort_unstable_by(|a, b| b.cmp(a));
    let mut aborting = BTreeSet::new();
    let mut lines = Vec::new();
    for batch in batches {
        while let Some((_, producer)) = begins.pop_if(|(first, _)| *first <= batch.header.last_offset()) {
            aborting.insert(producer);
        }
        if batch.header.is_control() {
            aborting.remove(&batch.header.producer_id);
            continue;
        }
        let dropped = committed_only && batch.header.is_transactional() && aborting.contains(&batch.header.producer_id);
        if dropped {
            continue;
        }
        let all = records(&batch).map(|record| record.expect("a record"));
        lines.extend(all.filter(|record| record.offset >= start).map(|record| line(&batch, &record, partition)));
    }
    // A reader of committed records is told the last stable offset in the place of the high watermark.
    lines.push(json!({"partition": partition, "end": limit, "log_start": start, "high_watermark": limit}));
    lines
}

fn line(batch: &Batch, record: &Record, partition: i32) -> Value {
    let headers: Vec<Value> =
        record.headers.iter().map(|(key, value)| json!([&**key, shown(value.as_ref())])).collect();
    json!({
        "partition": partition,
        "offset": record.offset,
        "ts_type": if batch.header.is_append_time() { "append" } else { "create" },
        "ts": record.timestamp,
        "leader_epoch": batch.header.partition_leader_epoch,
        "key": shown(record.key.as_ref()),
        "value": shown(record.value.as_ref()),
        "headers": headers,
    })
}

/// A text, or hex where the bytes are not printable ASCII.
fn shown(bytes: Option<&Bytes>) -> Value {
    let Some(bytes) = bytes else { return Value::Null };
    if bytes.iter().all(|byte| (32..127).contains(byte)) {
        return json!(String::from_utf8_lossy(bytes));
    }
    json!({"hex": bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()})
}

/// Every topic of which `PREFIX-TOPIC-ISOLATION` tells gives a consumer the same; how many lines were compared.
fn read_as(dirs: &Dirs, prefix: &str) -> usize {
    let mut compared = 0;
    let mut topics: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    dirs.partitions().into_iter().for_each(|(topic, partition)| topics.entry(topic).or_default().push(partition));
    for (topic, partitions) in topics {
        for (isolation, committed_only) in [("read_committed", true), ("read_uncommitted", false)] {
            let Some(text) = expected(&format!("{prefix}-{topic}-{isolation}.jsonl")) else { continue };
            let wanted: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            let mut got = Vec::new();
            for partition in &partitions {
                let (mut disk, mut log) = dirs.load(&format!("{topic}-{partition}"));
                got.extend(consume(&mut disk, &mut log, *partition, committed_only));
            }
            let (mut records, mut ends): (Vec<_>, Vec<_>) =
                got.into_iter().partition(|line| line.get("offset").is_some());
            let (wanted_records, wanted_ends): (Vec<_>, Vec<_>) =
                wanted.into_iter().partition(|line| line.get("offset").is_some());
            let first = records.iter().zip(&wanted_records).position(|(got, wanted)| got != wanted);
            assert_eq!(first.map(|at| (&records[at], &wanted_records[at])), None, "{topic} {isolation}");
            assert_eq!(records.len(), wanted_records.len(), "{topic} {isolation}");
            assert_eq!(ends, wanted_ends, "{topic} {isolation}");
            compared += records.drain(..).len() + ends.drain(..).len();
        }
    }
    compared
}

#[test]
fn a_consumer_of_a_clean_directory_reads_what_kafkas_did() {
    let compared = read_as(&Dirs::of("data-dir-clean.tar.gz", true), "consumed");
    assert!(compared > 10_000, "{compared} lines");
}

#[test]
fn a_consumer_of_a_clean_directory_reads_the_same_if_nobody_says_that_it_is_clean() {
    read_as(&Dirs::of("data-dir-clean.tar.gz", false), "consumed");
}

#[test]
fn a_consumer_of_the_recovered_directory_reads_what_kafkas_did_after_kafkas_own_recovery() {
    let compared = read_as(&Dirs::of("data-dir-unclean.tar.gz", false), "recovered");
    assert!(compared > 1_000, "{compared} lines");
}

/// Epochs by partition directory, after Kafka loaded it and led it anew.
fn recovered_epochs() -> BTreeMap<String, Vec<EpochStart>> {
    let text = expected("checkpoints-recovered.txt").unwrap();
    let mut epochs = BTreeMap::new();
    for part in text.split("== ").skip(1) {
        let (name, content) = part.split_once('\n').unwrap();
        if let Some(dir) = name.strip_suffix("/leader-epoch-checkpoint") {
            epochs.insert(dir.to_owned(), parse_epochs(content).unwrap());
        }
    }
    epochs
}

#[test]
fn recovery_of_a_killed_brokers_logs_finds_kafkas_ends_and_epochs() {
    let dirs = Dirs::of("data-dir-unclean.tar.gz", false);
    let recovered = expected("checkpoints-recovered.txt").unwrap();
    let (_, points) = recovered.split_once("== recovery-point-offset-checkpoint\n").unwrap();
    let points = parse_offsets(points.split("== ").next().unwrap()).unwrap();
    let epochs = recovered_epochs();
    for (topic, partition) in dirs.partitions() {
        let dir = format!("{topic}-{partition}");
        let (_, log) = dirs.load(&dir);
        let end = log.log_end_offset();
        let point = points.iter().find(|point| point.topic == topic && point.partition == partition);
        // Kafka recovered to here, and stopped cleanly.
        assert_eq!(point.map(|point| point.offset), Some(end), "the end of {dir}");
        // The epoch in which Kafka led it anew has no record.
        let known: Vec<EpochStart> = epochs[&dir].iter().copied().filter(|entry| entry.start < end).collect();
        let ours: Vec<EpochStart> = known
            .iter()
            .map(|entry| EpochStart { epoch: entry.epoch, start: log.epoch_start(entry.epoch).unwrap_or(-1) })
            .collect();
        assert_eq!(ours, known, "epochs of {dir}");
        assert_eq!(log.epoch_count(), known.len(), "epochs of {dir}");
    }
}

#[test]
fn producers_after_a_clean_load_are_those_that_kafka_wrote_down_last() {
    let dirs = Dirs::of("data-dir-clean.tar.gz", true);
    let mut compared = 0;
    for (topic, partition) in dirs.partitions() {
        let dir = format!("{topic}-{partition}");
        let (_, log) = dirs.load(&dir);
        let name = format!("{:020}.snapshot", log.log_end_offset());
        let Some(content) = dirs.dirs[&dir].get(&name) else { continue };
        let wanted: Vec<ProducerEntry> = decode_producer_snapshot(content, log.log_end_offset()).unwrap();
        let ours = log.producers();
        let missing: Vec<_> = wanted.iter().filter(|entry| !ours.contains(entry)).collect();
        assert!(missing.is_empty(), "{dir}: {missing:?}");
        // Kafka had forgotten those whose records were years old by its clock.
        let known: BTreeSet<i64> = wanted.iter().map(|entry| entry.producer_id).collect();
        let forgotten = ours.iter().filter(|entry| !known.contains(&entry.producer_id));
        forgotten.for_each(|entry| assert!(entry.timestamp < 1_710_000_000_000, "{dir}: {entry:?}"));
        compared += wanted.len();
    }
    assert_eq!(compared, 11, "producers");
}
