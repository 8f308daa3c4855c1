//! Log directories that Kafka wrote: every small file comes back to the byte, and every index and producer snapshot follows
//! from the log beside it.

#![allow(clippy::disallowed_methods, reason = "tests read their data")]

use bytes::Bytes;
use klamm_log::format::{
    Appended, CleanShutdown, DirName, EndMarker, EpochStart, Extent, FormatError, IndexBuilder, MetaProperties,
    PartitionMetadata, ProducerTable, QuorumState, SegmentFile, SegmentKind, SnapshotName, TimeEntry,
    decode_offset_index, decode_producer_snapshot, decode_time_index, decode_txn_index, encode_offset_index,
    encode_producer_snapshot, encode_time_index, encode_txn_index, file, parse_epochs, parse_offsets, render_epochs,
    render_offsets, without_preallocation,
};
use klamm_wire::records::{Batch, split_whole};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

/// Files of one directory by name.
type Files = BTreeMap<String, Bytes>;

/// The log directory in an archive: partition directories by name, and `""` for the files beside them.
fn unpack(archive: &str) -> BTreeMap<String, Files> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(archive);
    let packed = std::fs::File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut dirs: BTreeMap<String, Files> = BTreeMap::new();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(packed));
    for entry in archive.entries().expect("an archive") {
        let mut entry = entry.expect("an entry");
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = entry.path().expect("a path").to_str().expect("UTF-8").trim_start_matches("./").to_owned();
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", &path));
        let mut content = Vec::new();
        entry.read_to_end(&mut content).expect("test data is whole");
        dirs.entry(dir.to_owned()).or_default().insert(name.to_owned(), content.into());
    }
    dirs
}

fn text(bytes: &Bytes) -> &str {
    std::str::from_utf8(bytes).expect("a file of text")
}

/// The whole batches of a log, as far as they go.
fn batches(log: &Bytes) -> Vec<Batch> {
    split_whole(log).collect::<Result<_, _>>().expect("batches")
}

fn extent(base_offset: i64, log: &Bytes) -> Extent {
    let end_offset = batches(log).last().map_or(base_offset, |batch| batch.header.next_offset());
    Extent { base_offset, end_offset, bytes: log.len() as u64 }
}

fn name(base_offset: i64, kind: SegmentKind) -> String {
    SegmentFile::new(base_offset, kind).to_string()
}

/// Base offsets of a directory's segments.
fn segments(files: &Files) -> Vec<i64> {
    let logs = files.keys().filter_map(|name| SegmentFile::parse(name));
    logs.filter(|file| file.kind == SegmentKind::Log).map(|file| file.base_offset).collect()
}

/// A file with its name, read and written again.
fn again(files: &Files, name: &str, content: &Bytes) -> Result<Vec<u8>, FormatError> {
    let text = || text(content);
    match name {
        file::LEADER_EPOCHS => return Ok(render_epochs(&parse_epochs(text())?).into()),
        file::RECOVERY_POINTS | file::HIGH_WATERMARKS | file::LOG_STARTS | file::CLEANER_OFFSETS => {
            return Ok(render_offsets(&parse_offsets(text())?).into());
        }
        file::PARTITION_METADATA => return Ok(PartitionMetadata::parse(text())?.to_string().into()),
        file::META_PROPERTIES => return Ok(MetaProperties::parse(text())?.to_string().into()),
        file::CLEAN_SHUTDOWN => return Ok(CleanShutdown::parse(text())?.render().into()),
        file::QUORUM_STATE => return Ok(QuorumState::parse(text())?.render().into()),
        _ => {}
    }
    let Some(segment) = SegmentFile::parse(name) else {
        assert!(name == file::BOOTSTRAP || SnapshotName::parse(name).is_some(), "{name} is no file that we know");
        return Ok(content.to_vec());
    };
    assert_eq!(segment.to_string(), name);
    again_segment(files, segment, content)
}

fn again_segment(files: &Files, segment: SegmentFile, content: &Bytes) -> Result<Vec<u8>, FormatError> {
    let base = segment.base_offset;
    let of = || extent(base, &files[&self::name(base, SegmentKind::Log)]);
    let padded = |mut entries: Vec<u8>| {
        entries.resize(content.len(), 0);
        entries
    };
    Ok(match segment.kind {
        SegmentKind::Log => batches(content).concat_bytes(),
        SegmentKind::OffsetIndex => {
            padded(encode_offset_index(&decode_offset_index(without_preallocation(content, 8), of())?, base))
        }
        SegmentKind::TimeIndex => {
            padded(encode_time_index(&decode_time_index(without_preallocation(content, 12), of())?, base))
        }
        SegmentKind::TxnIndex => encode_txn_index(&decode_txn_index(content, of())?),
        SegmentKind::ProducerSnapshot => encode_producer_snapshot(&decode_producer_snapshot(content, base)?),
    })
}

trait ConcatBytes {
    fn concat_bytes(&self) -> Vec<u8>;
}

impl ConcatBytes for Vec<Batch> {
    fn concat_bytes(&self) -> Vec<u8> {
        self.iter().flat_map(|batch| batch.bytes.iter().copied()).collect()
    }
}

/// Reads and writes every file of a directory; returns how many came back to the byte, and what is said of the others.
fn all_again(archive: &str) -> (usize, Vec<String>) {
    let (mut same, mut wrong) = (0, Vec::new());
    for (dir, files) in unpack(archive) {
        let parsed = DirName::parse(&dir);
        assert!(dir.is_empty() || parsed.is_some_and(|parsed| parsed.to_string() == dir), "{dir}");
        for (name, content) in &files {
            match again(&files, name, content) {
                Ok(written) if written == *content => same += 1,
                Ok(_) => wrong.push(format!("{dir}/{name}: other bytes")),
                Err(error) => wrong.push(format!("{dir}/{name}: {error}")),
            }
        }
    }
    (same, wrong)
}

#[test]
fn every_file_of_a_clean_directory_comes_back_to_the_byte() {
    assert_eq!(all_again("data-dir-clean.tar.gz"), (252, Vec::new()));
    assert_eq!(all_again("metadata-snapshot.tar.gz"), (28, Vec::new()));
}

#[test]
fn of_a_killed_brokers_directory_only_the_torn_log_does_not_come_back() {
    let (_, told) = all_again("data-dir-unclean.tar.gz");
    assert_eq!(told, ["tiny-batches-0/00000000000000000000.log: other bytes"]);
}

/// `index.interval.bytes` of these directories; the metadata log has its own settings.
fn interval(dir: &str) -> u32 {
    if dir.starts_with("__cluster_metadata") { 4096 } else { 512 }
}

/// Offsets at which the broker was restarted, as the leader epochs tell: a lone replica's restart opens a new one where its log
/// ended. The metadata log's indexes are built anew at each start, so that only the last start shows in them.
fn restarts(dir: &str, files: &Files) -> BTreeSet<i64> {
    let Some(epochs) = files.get(file::LEADER_EPOCHS) else { return BTreeSet::new() };
    let epochs = parse_epochs(text(epochs)).expect("epochs");
    let starts = epochs.iter().skip(1).map(|epoch: &EpochStart| epoch.start);
    let count = if dir.starts_with("__cluster_metadata") { 1 } else { usize::MAX };
    starts.rev().take(count).collect()
}

/// Segments that the cleaner wrote, after the last restart, and where its second write into them began. It writes what is left of
/// one segment, or of one buffer of it, at once, and up to Kafka 4.0 a write is what gets an entry (`IndexBuilder::push_write`).
/// Nothing but the index itself tells where a write began. In the first two both writes are one batch, so that a position is given
/// only for the third; that the rest of its two files follows from it is what is tested.
const CLEANED: [(&str, u32); 3] =
    [("compacted-0", 2662), ("compacted-keep-tombstones-0", 2977), ("compacted-txn-0", 3165)];

/// The writes that made a log: of one batch each, but for the cleaner's.
fn writes(dir: &str, base_offset: i64, log: &Bytes) -> Vec<Appended> {
    let cleaned = CLEANED.iter().find(|(name, _)| *name == dir && base_offset == 0);
    let mut writes: Vec<Appended> = Vec::new();
    let mut position = 0;
    for batch in batches(log) {
        let next = Appended::batch(&batch.header, position);
        match cleaned {
            Some((_, second)) if position > 0 && position != *second => {
                let last = writes.pop().expect("a first batch");
                writes.push(last.and(next));
            }
            _ => writes.push(next),
        }
        position += batch.header.size() as u32;
    }
    writes
}

/// The `.index` and `.timeindex` of a segment as they follow from its batches, restarts included.
fn rebuilt(dir: &str, files: &Files, base_offset: i64, closed: bool) -> (Vec<u8>, Vec<u8>) {
    let interval = interval(dir);
    let cleaned = base_offset == 0 && CLEANED.iter().any(|(name, _)| *name == dir);
    let restarts = if cleaned { BTreeSet::new() } else { restarts(dir, files) };
    let mut builder = IndexBuilder::new(interval);
    let (mut offsets, mut times): (Vec<_>, Vec<TimeEntry>) = (Vec::new(), Vec::new());
    let mut end = base_offset;
    for write in writes(dir, base_offset, &files[&name(base_offset, SegmentKind::Log)]) {
        if restarts.contains(&end) && end > base_offset {
            times.extend(builder.close());
            builder = IndexBuilder::resume(interval, times.last().copied(), builder.newest());
        }
        let entries = builder.push_write(write);
        offsets.extend(entries.offset);
        times.extend(entries.time);
        end = write.last_offset + 1;
    }
    if closed || restarts.contains(&end) {
        times.extend(builder.close());
    }
    (encode_offset_index(&offsets, base_offset), encode_time_index(&times, base_offset))
}

#[test]
fn both_indexes_of_every_segment_follow_from_its_log_to_the_byte() {
    let mut entries = 0;
    for (dir, files) in unpack("data-dir-clean.tar.gz") {
        for base in segments(&files) {
            let (offsets, times) = rebuilt(&dir, &files, base, true);
            assert_eq!(offsets, files[&name(base, SegmentKind::OffsetIndex)], "{dir}/{base}.index");
            assert_eq!(times, files[&name(base, SegmentKind::TimeIndex)], "{dir}/{base}.timeindex");
            entries += offsets.len() / 8 + times.len() / 12;
        }
    }
    assert_eq!(entries, 842, "entries of both kinds");
}

#[test]
fn a_killed_brokers_indexes_lack_the_closing_entry_and_nothing_else() {
    for (dir, files) in unpack("data-dir-unclean.tar.gz") {
        // Its log lost the batch that its time index names; see above.
        let torn = dir == "tiny-batches-0";
        let all = segments(&files);
        for base in all.iter().filter(|_| !torn) {
            let (offsets, times) = rebuilt(&dir, &files, *base, Some(base) != all.last());
            let index = without_preallocation(&files[&name(*base, SegmentKind::OffsetIndex)], 8);
            assert_eq!(offsets, index, "{dir}/{base}.index");
            let index = without_preallocation(&files[&name(*base, SegmentKind::TimeIndex)], 12);
            assert_eq!(times, index, "{dir}/{base}.timeindex");
        }
    }
}

/// A day before the directories were written: older producers were forgotten at each restart, and all but those of transactions
/// had set older timestamps.
const DAY_BEFORE_MS: i64 = 1_795_000_000_000;

/// Runs through a partition's log: the transaction index of each segment, and the producer snapshot of each offset that is asked.
fn replayed(dir: &str, files: &Files) -> (BTreeMap<String, Vec<u8>>, BTreeMap<i64, Vec<u8>>) {
    let mut table = ProducerTable::default();
    let (mut indexes, mut snapshots) = (BTreeMap::new(), BTreeMap::new());
    let restarts = restarts(dir, files);
    for base in segments(files) {
        let mut index = Vec::new();
        for batch in batches(&files[&name(base, SegmentKind::Log)]) {
            snapshots.entry(batch.header.base_offset).or_insert(encode_producer_snapshot(&table.snapshot()));
            if restarts.contains(&batch.header.base_offset) {
                table.forget(DAY_BEFORE_MS);
            }
            let marker = EndMarker::of(&batch).expect("a marker that can be read");
            index.extend(table.push(&batch.header, marker));
            snapshots.insert(batch.header.next_offset(), encode_producer_snapshot(&table.snapshot()));
        }
        if !index.is_empty() {
            indexes.insert(name(base, SegmentKind::TxnIndex), encode_txn_index(&index));
        }
    }
    (indexes, snapshots)
}

#[test]
fn every_transaction_index_and_producer_snapshot_follows_from_the_log_to_the_byte() {
    let (mut indexes, mut snapshots) = (0, 0);
    for archive in ["data-dir-clean.tar.gz", "data-dir-unclean.tar.gz", "metadata-snapshot.tar.gz"] {
        for (dir, files) in unpack(archive) {
            let (index, snapshot) = replayed(&dir, &files);
            for (name, content) in &files {
                match SegmentFile::parse(name) {
                    Some(SegmentFile { kind: SegmentKind::ProducerSnapshot, base_offset, .. }) => {
                        // A torn log ends before the offset of its snapshot; no producer wrote there.
                        let known = snapshot.range(..=base_offset).next_back().map(|(_, bytes)| &bytes[..]);
                        assert_eq!(known, Some(&content[..]), "{archive} {dir}/{name}");
                        snapshots += 1;
                    }
                    Some(SegmentFile { kind: SegmentKind::TxnIndex, .. }) => {
                        assert_eq!(index.get(name).map(|bytes| &bytes[..]), Some(&content[..]), "{dir}/{name}");
                        indexes += 1;
                    }
                    _ => {}
                }
            }
            let missing: Vec<_> = index.keys().filter(|name| !files.contains_key(*name)).collect();
            assert!(missing.is_empty(), "{archive} {dir}: the log has aborted transactions, but no {missing:?}");
        }
    }
    assert_eq!((indexes, snapshots), (12, 88));
}
