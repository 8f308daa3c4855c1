//! A log that lives through steps and then crashes, and what may be left of it.
#![allow(dead_code, reason = "each test uses its part")]

use crate::bench::{Bench, DIR, batch, load_on, marker, nobody, written};
use crate::disk::Disk;
use klamm_base::{DiskOp, Draws, StartCause, chain};
use klamm_log::format::{
    EndMarker, IndexBuilder, OffsetEntry, ProducerTable, SegmentFile, SegmentKind, TimeEntry, decode_producer_snapshot,
    encode_offset_index, encode_time_index, encode_txn_index, file, parse_epochs,
};
use klamm_log::{Compaction, LastKnown, Log, LogConfig};
use klamm_wire::records::{Batch, BatchHeader, split};
use proptest::prelude::*;

/// Small limits, so that a short run meets them.
pub const SMALL: LogConfig = LogConfig {
    segment_bytes: 600,
    segment_ms: 1 << 40,
    index_interval_bytes: 100,
    max_index_bytes: 1 << 20,
    max_message_bytes: 1 << 20,
    flush_messages: i64::MAX,
    flush_ms: i64::MAX,
    delete: true,
    compact: false,
    retention_ms: -1,
    retention_bytes: 2_000,
    compaction: Compaction::KAFKAS,
    file_delete_delay_ms: 60_000,
};

/// No word of an earlier life.
pub const UNCLEAN: LastKnown = LastKnown { clean: false, recovery_point: 0, log_start: 0 };

/// What happens to a log before it crashes.
#[derive(Clone, Debug)]
pub enum Step {
    /// Batches of so many record pairs.
    Append(Vec<u64>),
    /// A batch of an idempotent producer, in a transaction or not.
    Sequenced {
        producer: i64,
        transactional: bool,
    },
    /// A marker of this producer.
    End {
        producer: i64,
        committed: bool,
    },
    /// A new leader epoch, with a record or without.
    Epoch,
    /// To so many percent of the log.
    Cut(u8),
    /// Begins anew, so far behind the end.
    BeginAnew(u8),
    /// Records below so many percent of what is there are not wanted any more.
    Start(u8),
    /// The retention looks.
    Expire,
    /// Files of deleted segments go.
    Remove,
    Flush,
    /// Recovery point and log start are written down.
    Checkpoint,
    /// The disk does so many operations.
    Disk(u8),
}

pub fn step() -> impl Strategy<Value = Step> {
    let producer = 1..4_i64;
    prop_oneof![
        6 => prop::collection::vec(1..4_u64, 1..4).prop_map(Step::Append),
        3 => (producer.clone(), any::<bool>())
            .prop_map(|(producer, transactional)| Step::Sequenced { producer, transactional }),
        1 => (producer, any::<bool>()).prop_map(|(producer, committed)| Step::End { producer, committed }),
        2 => Just(Step::Epoch),
        2 => (0..100_u8).prop_map(Step::Cut),
        1 => (0..5_u8).prop_map(Step::BeginAnew),
        1 => (0..100_u8).prop_map(Step::Start),
        1 => Just(Step::Expire),
        1 => Just(Step::Remove),
        2 => Just(Step::Flush),
        1 => Just(Step::Checkpoint),
        6 => (1..12_u8).prop_map(Step::Disk),
    ]
}

/// A batch as a log holds it: base and last offset, epoch, identity.
type Held = (i64, i64, i32, u64);

/// A content that the log was meant to have at some time.
#[derive(Clone, Debug)]
struct Version {
    /// Where it began at first, and the latest start that was told since.
    begin: i64,
    raised: i64,
    batches: Vec<Held>,
}

impl Version {
    /// True if this content, cut to `end` and read from `start`, has this digest.
    fn holds(&self, start: i64, end: i64, digest: u64) -> bool {
        (self.begin..=self.raised).contains(&start) && self.prefix_digest(start, end) == Some(digest)
    }

    /// The digest of the batches from the one that holds `start` to `end`; `None` if there is no boundary.
    fn prefix_digest(&self, start: i64, end: i64) -> Option<u64> {
        let prefix: Vec<&Held> = self.batches.iter().filter(|held| held.1 >= start && held.1 < end).collect();
        let ends = prefix.last().map_or(start, |held| held.1 + 1);
        (ends == end).then(|| prefix.iter().fold(0, |digest, held| chain(digest, held.0, held.2, held.3)))
    }
}

/// A log that lives.
pub struct Life {
    pub bench: Bench,
    versions: Vec<Version>,
    epoch: i32,
    draws: Draws,
    sequences: [i32; 4],
    known: LastKnown,
}

impl Life {
    pub fn new(seed: u64, config: LogConfig) -> Life {
        let versions = vec![Version { begin: 0, raised: 0, batches: Vec::new() }];
        Life {
            bench: Bench::new(config),
            versions,
            epoch: 1,
            draws: Draws::from_seed(seed),
            sequences: [0; 4],
            known: UNCLEAN,
        }
    }

    fn version(&mut self) -> &mut Version {
        self.versions.last_mut().unwrap()
    }

    /// The content changes otherwise than by growing.
    fn change(&mut self) -> &mut Version {
        let copy = self.version().clone();
        self.versions.push(copy);
        self.version()
    }

    pub fn live(&mut self, step: &Step) {
        match step {
            Step::Append(pairs) => {
                let sizes: Vec<u64> = pairs.iter().map(|_| self.draws.below(150)).collect();
                let batches =
                    pairs.iter().zip(sizes).map(|(pairs, size)| batch(&mut self.draws, *pairs, size)).collect();
                self.append(batches);
            }
            Step::Sequenced { producer, transactional } => {
                let sequence = &mut self.sequences[*producer as usize];
                let sequenced = written(*producer, *sequence, *transactional, self.draws.next_u64());
                *sequence += 2;
                self.append(vec![sequenced]);
            }
            Step::End { producer, committed } => self.append(vec![marker(*producer, *committed)]),
            Step::Epoch => {
                self.epoch += 1;
                let (log, out) = (&mut self.bench.log, &mut self.bench.out);
                log.assign_epoch(self.epoch, log.next_offset(), out);
            }
            Step::Cut(percent) => self.cut(*percent),
            Step::BeginAnew(further) => {
                let start = self.bench.log.next_offset() + i64::from(*further);
                self.bench.log.truncate_fully_and_start_at(start, &mut self.bench.out);
                *self.change() = Version { begin: start, raised: start, batches: Vec::new() };
            }
            Step::Start(percent) => {
                let (start, end) = (self.bench.log.log_start_offset(), self.bench.log.log_end_offset());
                let to = start + (end - start) * i64::from(*percent) / 100;
                let (log, out) = (&mut self.bench.log, &mut self.bench.out);
                log.raise_log_start(self.bench.now, to, StartCause::DeleteRecords, out);
            }
            Step::Expire => {
                let high_watermark = self.bench.log.log_end_offset();
                self.bench.log.expire(self.bench.now, high_watermark, &mut self.bench.out);
            }
            Step::Remove => {
                self.bench.now.mono_ns += 61_000_000_000;
                self.bench.log.deadline_came(self.bench.now, &mut self.bench.out);
            }
            Step::Flush => _ = self.bench.flush(),
            Step::Checkpoint => {
                let log = &self.bench.log;
                let (recovery_point, log_start) = (log.durable_end(), log.log_start_offset());
                let within = log_start > log.first_segment_offset();
                self.known = LastKnown { clean: false, recovery_point, log_start: if within { log_start } else { 0 } };
            }
            Step::Disk(count) => _ = self.bench.pump(usize::from(*count)),
        }
        self.bench.queue.extend(self.bench.out.drain());
        // An older content may come back with a newer start.
        let start = self.bench.log.log_start_offset();
        self.versions.iter_mut().for_each(|version| version.raised = version.raised.max(start));
    }

    fn cut(&mut self, percent: u8) {
        let (start, end) = (self.bench.log.log_start_offset(), self.bench.log.next_offset());
        let end = self.bench.truncate(start + (end - start) * i64::from(percent) / 100);
        // What was synced above is no more; a node checkpoints a cut at once.
        self.known.recovery_point = self.known.recovery_point.min(end);
        self.known.log_start = self.known.log_start.min(end);
        self.change().batches.retain(|held| held.1 < end);
    }

    fn append(&mut self, batches: Vec<Batch>) {
        let mut base = self.bench.log.next_offset();
        let epoch = self.epoch;
        for batch in &batches {
            let header = BatchHeader { base_offset: base, ..batch.header };
            self.version().batches.push((base, header.last_offset(), epoch, header.identity()));
            base = header.next_offset();
        }
        self.bench.lead(self.epoch, batches);
        assert_eq!(self.bench.log.next_offset(), base);
    }

    /// The process dies while the disk does its next operation: of an append some bytes may be there.
    pub fn kill(self) -> Crashed {
        let Life { mut bench, versions, mut draws, known, .. } = self;
        if let Some(DiskOp::Append { path, data }) = bench.queue.pop_front().map(|request| request.op) {
            let part = data.slice(..draws.below(data.len() as u64) as usize);
            bench.disk.perform(DiskOp::Append { path, data: part }).unwrap();
        }
        let log = &bench.log;
        let (start, least) = (log.log_start_offset(), log.log_end_offset());
        Crashed { start, least, disk: bench.disk, versions, known }
    }

    /// `seed` draws what survives of that which was not synced.
    pub fn power_off(self, seed: u64) -> Crashed {
        let Life { mut bench, versions, known, .. } = self;
        bench.disk.lose_power(&mut Draws::from_seed(seed));
        let (start, least) = (bench.log.log_start_offset(), bench.log.durable_end());
        Crashed { start, least, disk: bench.disk, versions, known }
    }
}

/// What a crash left.
pub struct Crashed {
    pub disk: Disk,
    pub known: LastKnown,
    /// Where the log began, and the end that it may not fall below.
    start: i64,
    least: i64,
    versions: Vec<Version>,
}

impl Crashed {
    /// Properties 45, 47 and 48 of the recovered log, and 44 of its files.
    pub fn judge(&self, disk: &Disk, log: &Log) {
        let (start, end) = (log.log_start_offset(), log.log_end_offset());
        let known = self.versions.iter().any(|version| version.holds(start, end, log.digest()));
        assert!(known, "{start}..{end} was never in the log: {:?}", self.versions);
        if self.least > self.start {
            assert!(start <= self.start, "the log begins at {start}, behind {}", self.start);
            assert!(end >= self.least, "it ends at {end}, but {} was promised", self.least);
        }
        assert_epochs_fit(disk, log);
        assert_files_fit(disk, log);
    }
}

/// The epoch cache says what the batches say, and its file no more.
fn assert_epochs_fit(disk: &Disk, log: &Log) {
    let epochs: Vec<i32> = (log.log_start_offset()..log.log_end_offset()).map(|at| log.epoch_at(at).unwrap()).collect();
    assert!(epochs.is_sorted(), "epochs go back: {epochs:?}");
    assert_eq!(log.latest_epoch(), epochs.last().copied(), "an epoch without records came back");
    let Some(text) = disk.content(&format!("{DIR}/{}", file::LEADER_EPOCHS)) else {
        return assert!(epochs.is_empty(), "epochs without a file");
    };
    let written = parse_epochs(std::str::from_utf8(text).unwrap()).unwrap();
    for entry in &written {
        assert_eq!(log.epoch_start(entry.epoch), Some(entry.start), "the file of epochs");
        assert!(entry.start < log.log_end_offset(), "an epoch begins behind the end");
    }
    assert_eq!(written.len(), log.epoch_count());
}

/// Segments tile the log, sealed ones have the indexes that their batches give, and every snapshot is that of its offset.
fn assert_files_fit(disk: &Disk, log: &Log) {
    let files: Vec<SegmentFile> = disk.list(DIR).iter().filter_map(|name| SegmentFile::parse(name)).collect();
    assert!(files.iter().all(|file| file.transient.is_none()), "left over: {files:?}");
    let content = |base, kind| disk.content(&format!("{DIR}/{}", SegmentFile::new(base, kind)));
    let bases: Vec<i64> =
        files.iter().filter(|file| file.kind == SegmentKind::Log).map(|file| file.base_offset).collect();
    let mut producers = ProducerTable::default();
    let mut snapshots = vec![(bases.first().copied().unwrap_or(0), producers.clone())];
    let mut end = bases.first().copied();
    for (at, base) in bases.iter().enumerate() {
        assert_eq!(end, Some(*base), "a hole before segment {base}");
        let segment = Contents::of(content(*base, SegmentKind::Log).unwrap(), *base, &mut producers);
        end = Some(segment.end);
        snapshots.push((segment.end, producers.clone()));
        if at + 1 < bases.len() {
            assert_eq!(content(*base, SegmentKind::OffsetIndex), Some(&segment.offsets[..]), "index of {base}");
            assert_eq!(content(*base, SegmentKind::TimeIndex), Some(&segment.times[..]), "time index of {base}");
            let aborted = Some(&segment.aborted[..]).filter(|aborted| !aborted.is_empty());
            // Where the beginning is gone, batches alone do not tell which transactions were open.
            let tells_all = bases.first() == Some(&0);
            assert!(!tells_all || content(*base, SegmentKind::TxnIndex) == aborted, "transaction index of {base}");
        } else {
            assert_eq!(content(*base, SegmentKind::OffsetIndex), None, "an index of the segment that is written to");
        }
    }
    assert_eq!(end.unwrap_or(log.log_end_offset()), log.log_end_offset(), "what is on disk");
    for snapshot in files.iter().filter(|file| file.kind == SegmentKind::ProducerSnapshot) {
        let at = snapshot.base_offset;
        assert!(at <= log.log_end_offset(), "a snapshot at {at} of a log that ends before");
        let there = snapshots.iter().find(|(offset, _)| *offset == at && bases.first() == Some(&0));
        if let Some((_, producers)) = there {
            let content = content(at, SegmentKind::ProducerSnapshot).unwrap();
            // A torn one is never the newest: those are not believed.
            let said = decode_producer_snapshot(content, at);
            assert!(said.is_err() || said == Ok(producers.snapshot()), "the snapshot at {at}: {said:?}");
        }
    }
}

/// What a segment's bytes say.
struct Contents {
    end: i64,
    offsets: Vec<u8>,
    times: Vec<u8>,
    aborted: Vec<u8>,
}

impl Contents {
    fn of(bytes: &[u8], base: i64, producers: &mut ProducerTable) -> Contents {
        let mut builder = IndexBuilder::new(SMALL.index_interval_bytes);
        let (mut offsets, mut times, mut aborted): (Vec<OffsetEntry>, Vec<TimeEntry>, Vec<_>) = Default::default();
        let (mut end, mut position) = (base, 0);
        for batch in split(&bytes.to_vec().into()) {
            let batch = batch.expect("recovery leaves whole batches");
            assert_eq!(batch.header.base_offset, end, "a hole in segment {base}");
            assert!(batch.crc_ok());
            let entries = builder.push(&batch.header, position);
            offsets.extend(entries.offset);
            times.extend(entries.time);
            aborted.extend(producers.push(&batch.header, EndMarker::of(&batch).unwrap()));
            end = batch.header.next_offset();
            position += batch.bytes.len() as u32;
        }
        times.extend(builder.close());
        let offsets = encode_offset_index(&offsets, base);
        Contents { end, offsets, times: encode_time_index(&times, base), aborted: encode_txn_index(&aborted) }
    }
}

/// Loads, loads again, and goes on.
pub fn recover(mut crashed: Crashed) {
    let (log, _) = load_on(&mut crashed.disk, SMALL, crashed.known);
    crashed.judge(&crashed.disk, &log);
    let files = crashed.disk.files();
    let again = load_on(&mut crashed.disk, SMALL, crashed.known);
    assert_eq!(again.0.digest(), log.digest(), "loading twice is not loading once");
    assert_eq!(again.0.log_end_offset(), log.log_end_offset());
    let after = crashed.disk.files();
    let changed: Vec<_> = files.iter().filter(|(name, content)| after.get(*name) != Some(content)).collect();
    let added: Vec<_> = after.iter().filter(|(name, _)| !files.contains_key(*name)).collect();
    assert!(changed.is_empty() && added.is_empty(), "the second load changed {changed:?} and added {added:?}");
    // The directory is made again, and where nothing is in it, its name is made durable again.
    assert_eq!(again.1, 1 + u64::from(files.is_empty()), "the second load repaired again");
    go_on(crashed.disk, crashed.known);
}

/// The recovered log takes records, and has them after the next kill.
fn go_on(disk: Disk, known: LastKnown) {
    let mut bench = Bench::knowing(disk, SMALL, known);
    let mut draws = Draws::from_seed(5);
    bench.lead(1_000_000, vec![batch(&mut draws, 2, 10), batch(&mut draws, 1, 500)]);
    assert!(bench.flush());
    bench.pump_all();
    let (end, digest) = (bench.log.log_end_offset(), bench.log.digest());
    assert_eq!(bench.log.durable_end(), end);
    bench.disk.lose_power(&mut draws);
    let (log, _) = load_on(&mut bench.disk, SMALL, known);
    assert_eq!((log.log_end_offset(), log.digest()), (end, digest), "flushed records were lost");
}

/// After each write of a recovery that is cut there, the next one ends as if nothing had happened. Returns how many cuts there were.
pub fn recover_with_every_cut(crashed: &Crashed, power: bool, draws: &mut Draws) -> u64 {
    for limit in 0.. {
        let mut disk = crashed.disk.clone();
        if crate::bench::load(&mut disk, SMALL, crashed.known, nobody(), limit).is_some() {
            return limit;
        }
        if power {
            disk.lose_power(draws);
        }
        let (log, _) = load_on(&mut disk, SMALL, crashed.known);
        crashed.judge(&disk, &log);
    }
    unreachable!("a recovery ends")
}
