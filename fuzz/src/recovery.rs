//! All that a broker does with a partition's directory of unknown content: load it, at once and with what an earlier life
//! left word of, cut that short and load again, read, clean, cut, expire, append. The input is a list of files.

use crate::bench::{Bench, DIR, batch, load, load_on, nobody};
use crate::disk::Disk;
use klamm_base::{DiskOp, Draws, Guards};
use klamm_log::format::{ProducerEntry, SegmentFile, SegmentKind, TxnEntry, file};
use klamm_log::{CleanOrders, Compaction, LastKnown, Log, LogConfig, Progress};
use klamm_wire::records::{HEADER_LEN, UNPACKED_LIMIT, UNPACKING_SCRATCH, split};

const CONFIG: LogConfig = LogConfig {
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
    retention_bytes: 1_000,
    compaction: Compaction { delete_retention_ms: 0, ..Compaction::KAFKAS },
    file_delete_delay_ms: 60_000,
};

const UNCLEAN: LastKnown = LastKnown { clean: false, recovery_point: 0, log_start: 0 };

/// The most bytes that an input may take: the copies of the directory that this makes, and what a log keeps of its batches.
/// A load unpacks nothing; a clean does.
#[allow(dead_code, reason = "whoever replays the corpus measures nothing")]
pub fn bound(input: &[u8]) -> usize {
    let cleans = Input(input).choice().is_some_and(|choice| choice.config.compact);
    let unpacked = if cleans { 2 * UNPACKED_LIMIT + UNPACKING_SCRATCH } else { 0 };
    128 * input.len() + (256 << 10) + unpacked
}

/// What the first bytes of an input choose.
struct Choice {
    config: LogConfig,
    known: LastKnown,
    /// After so many changes to the disk the first recovery is cut short.
    limit: u64,
}

/// Panics if anything does not hold.
pub fn recovery(data: &[u8]) {
    let mut input = Input(data);
    let Some(choice) = input.choice() else { return };
    let mut disk = Disk::default();
    while let Some((name, content)) = input.file() {
        disk.perform(DiskOp::Write { path: format!("{DIR}/{name}"), data: content.into() }).expect("it takes all");
    }
    let trusting = choice.known != UNCLEAN;
    recover(disk.clone(), &Choice { known: UNCLEAN, ..choice });
    if trusting {
        recover(disk, &choice);
    }
}

/// What a log says of itself.
#[derive(Debug, PartialEq, Eq)]
struct Facts {
    offsets: (i64, i64, i64),
    digest: u64,
    epochs: Vec<Option<(i32, i64)>>,
    producers: Vec<ProducerEntry>,
    aborted: Vec<TxnEntry>,
    stable: i64,
}

impl Facts {
    fn of(log: &Log) -> Facts {
        let (start, end) = (log.log_start_offset(), log.log_end_offset());
        let probes = [start, start.midpoint(end), end - 1].map(|at| log.epoch_at(at));
        Facts {
            offsets: (log.first_segment_offset(), start, end),
            digest: log.digest(),
            epochs: probes.into_iter().flatten().chain([0, 1, 2]).map(|epoch| log.end_offset_for(epoch)).collect(),
            producers: log.producers(),
            aborted: log.aborted_within(start, end).copied().collect(),
            stable: log.last_stable_offset(end),
        }
    }
}

/// Loads; loads again; loads what is left when the first load is cut short; goes on with the log.
fn recover(mut disk: Disk, choice: &Choice) {
    let Choice { config, known, limit } = *choice;
    let mut cut_short = disk.clone();
    let log = load_on(&mut disk, config, known).0;
    let (facts, files) = (Facts::of(&log), disk.files());
    let (again, changes) = load_on(&mut disk, config, known);
    assert_eq!(Facts::of(&again), facts, "loading twice is not loading once");
    assert_eq!(disk.files(), files, "the second load changed files");
    // The directory is made again, and where nothing is in it, its name is made durable again.
    assert_eq!(changes, 1 + u64::from(files.is_empty()), "the second load repaired again");
    if load(&mut cut_short, config, known, nobody(), limit).is_none() {
        let resumed = load_on(&mut cut_short, config, known).0;
        assert_eq!((Facts::of(&resumed).offsets, resumed.digest()), (facts.offsets, facts.digest), "after a cut");
    }
    go_on(Bench::knowing(disk, config, known), &facts, choice);
}

/// What was loaded is read to its end, and lives on.
fn go_on(mut bench: Bench, facts: &Facts, choice: &Choice) {
    let Choice { config, known, .. } = *choice;
    let (_, start, end) = facts.offsets;
    read_all(&mut bench);
    bench.log.find_by_timestamp(0, start, end);
    bench.log.find_max_timestamp(end, None);
    bench.flush();
    bench.pump_all();
    if config.compact && bench.clean(None, CleanOrders { dedupe_buffer_bytes: 1 << 10, guards: Guards::default() }) {
        bench.pump_all();
        assert!(bench.cleaned.is_some(), "a clean ends");
        read_all(&mut bench);
    }
    bench.truncate(start.midpoint(end));
    bench.log.expire(bench.now, bench.log.log_end_offset(), &mut bench.out);
    // Where offsets end, so does a log.
    if bench.log.next_offset() < i64::MAX - 100 {
        bench.lead(i32::MAX, vec![batch(&mut Draws::from_seed(1), 2, 10)]);
    }
    bench.flush();
    bench.pump_all();
    read_all(&mut bench);
    let log = &bench.log;
    let left = LastKnown { clean: false, recovery_point: log.durable_end(), log_start: log.log_start_offset() };
    let (lived, digest) = (log.log_end_offset(), log.digest());
    let log = load_on(&mut bench.disk, config, left).0;
    // What was taken without a look at its checksums may be doubted later.
    let same = (log.log_end_offset(), log.digest()) == (lived, digest);
    assert!(same || known != UNCLEAN, "{lived} was synced, {} is there", log.log_end_offset());
}

fn read_all(bench: &mut Bench) {
    let mut at = bench.log.log_start_offset();
    while let Some(Progress::Read { result, .. }) = bench.read(at, 300, i64::MAX) {
        for batch in split(&result.expect("what is there is read")) {
            at = batch.expect("whole batches").header.next_offset();
        }
    }
    assert!(at <= bench.log.log_end_offset());
}

/// What is left of the input.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.bytes(1).map(|bytes| bytes[0])
    }

    /// An offset of one byte, or of eight.
    fn offset(&mut self, large: bool) -> Option<i64> {
        if !large {
            return self.byte().map(i64::from);
        }
        let bytes = self.bytes(8)?.first_chunk()?;
        Some(i64::from_be_bytes(*bytes) & i64::MAX)
    }

    fn choice(&mut self) -> Option<Choice> {
        let choice = self.byte()?;
        let config = LogConfig { compact: choice & 1 != 0, delete: choice & 2 == 0, ..CONFIG };
        let limit = u64::from(self.byte()?);
        let recovery_point = self.offset(choice & 4 != 0)?;
        let log_start = self.offset(choice & 8 != 0)?;
        Some(Choice { config, known: LastKnown { clean: choice & 16 != 0, recovery_point, log_start }, limit })
    }

    /// Name and content of the next file. The last one has what is left.
    fn file(&mut self) -> Option<(String, Vec<u8>)> {
        let choice = self.byte()?;
        let (kind, is_sealed) = (choice & 7, choice & 32 == 0);
        let base = self.offset(choice & 64 != 0)?;
        let len = self.bytes(2)?.first_chunk().map(|bytes| usize::from(u16::from_be_bytes(*bytes)))?;
        let mut content = self.bytes(len.min(self.0.len()))?.to_vec();
        let Some(kind) = SegmentKind::ALL.get(usize::from(kind)).copied() else { return Some(other(kind, content)) };
        match kind {
            SegmentKind::Log if is_sealed => seal_batches(&mut content, base, choice & 128 == 0),
            SegmentKind::ProducerSnapshot if is_sealed => seal_snapshot(&mut content),
            _ => {}
        }
        let suffix = ["", ".cleaned", ".swap", ".deleted"][usize::from(choice >> 3 & 3)];
        Some((format!("{}{suffix}", SegmentFile::new(base, kind)), content))
    }
}

/// A file that is none of a segment's: the checkpoint of epochs, or one whose name opens its content.
fn other(kind: u8, content: Vec<u8>) -> (String, Vec<u8>) {
    if kind == SegmentKind::ALL.len() as u8 {
        return (file::LEADER_EPOCHS.to_owned(), content);
    }
    let name: String = content.iter().take(40).map(|byte| char::from(byte & 127)).collect();
    (name.replace(['/', '\0'], "."), content)
}

/// Batches with lengths and checksums made right, and with offsets that go on: so what lies behind those is reached.
fn seal_batches(content: &mut [u8], base: i64, goes_on: bool) {
    let (mut rest, mut next) = (content, base);
    while rest.len() > HEADER_LEN {
        let len = usize::from(u16::from_be_bytes([rest[10], rest[11]])) + 12;
        let (one, behind) = rest.split_at_mut(len.clamp(HEADER_LEN, rest.len()));
        let length = one.len() as u32 - 12;
        one[8..12].copy_from_slice(&length.to_be_bytes());
        one[16] = 2;
        if goes_on {
            // Compaction leaves gaps, sometimes wide ones.
            let gap = if one[7] & 3 == 3 { 1 << (one[6] & 31) } else { 0 };
            next = next.saturating_add(gap);
            one[..8].copy_from_slice(&next.to_be_bytes());
            let delta = i32::from_be_bytes([one[23], one[24], one[25], one[26]]);
            next = next.saturating_add(i64::from(delta) + 1);
        }
        let crc = crc32c::crc32c(&one[21..]);
        one[17..21].copy_from_slice(&crc.to_be_bytes());
        rest = behind;
    }
}

/// A snapshot with version, count and checksum made right.
fn seal_snapshot(content: &mut [u8]) {
    const HEAD: usize = 10;
    const ENTRY: usize = 46;
    if content.len() < HEAD {
        return;
    }
    let count = ((content.len() - HEAD) / ENTRY) as u32;
    content[..2].copy_from_slice(&1_u16.to_be_bytes());
    content[6..HEAD].copy_from_slice(&count.to_be_bytes());
    let crc = crc32c::crc32c(&content[6..]);
    content[2..6].copy_from_slice(&crc.to_be_bytes());
}
