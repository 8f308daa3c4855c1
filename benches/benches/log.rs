//! `cargo bench -p klamm-benches --bench log`: a log on a real directory (`TMPDIR` names its place). Append of 1 KiB records in batches of
//! a hundred, through validation, beside a plain buffered write of the same bytes; recovery beside reading the same file and beside
//! the checksum alone; and the look-up of an offset. `-- --mib N` takes another size than 1024 MiB.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

use bytes::Bytes;
use klamm_base::{
    DiskDone, DiskError, DiskOp, DiskOut, DiskRequest, DiskResult, Guards, NodeId, Now, Observe, Outbox, Source,
    TopicPartition, Uuid,
};
use klamm_log::{LastKnown, Loader, Log, LogConfig};
use klamm_wire::records::{BatchBuilder, Rules, validate};
use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::hint::black_box;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

const ROUNDS: usize = 3;
const RECORD: usize = 1024;
const RECORDS: usize = 100;
const NOW: Now = Now { mono_ns: 0, wall_ms: 1_700_000_000_000 };
const TP: TopicPartition = TopicPartition { topic: Uuid(9), partition: 0 };

/// Performs what a log asks for, as the driver does on the real side: handles stay open.
struct Disk {
    root: PathBuf,
    files: BTreeMap<String, File>,
}

impl Disk {
    fn new(root: &Path) -> Disk {
        Disk { root: root.to_owned(), files: BTreeMap::new() }
    }

    fn file(&mut self, path: &str) -> std::io::Result<&mut File> {
        if !self.files.contains_key(path) {
            let file = OpenOptions::new().read(true).append(true).create(true).open(self.root.join(path))?;
            self.files.insert(path.to_owned(), file);
        }
        Ok(self.files.get_mut(path).expect("it was just opened"))
    }

    fn perform(&mut self, op: DiskOp) -> DiskResult {
        let path = op.path().to_owned();
        self.try_perform(op).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => DiskError::NotFound { path },
            _ => DiskError::Io { path, message: error.to_string() },
        })
    }

    fn try_perform(&mut self, op: DiskOp) -> std::io::Result<DiskOut> {
        match op {
            DiskOp::CreateDir { path } => fs::create_dir_all(self.root.join(path))?,
            DiskOp::List { path } => {
                let names = fs::read_dir(self.root.join(path))?.map(|entry| entry.map(|entry| entry.file_name()));
                let mut names: Vec<String> =
                    names.map(|name| name.map(|name| name.to_string_lossy().into_owned())).collect::<Result<_, _>>()?;
                names.sort();
                return Ok(DiskOut::Names(names));
            }
            DiskOp::Len { path } => return Ok(DiskOut::Len(self.file(&path)?.metadata()?.len())),
            DiskOp::Append { path, data } => self.file(&path)?.write_all(&data)?,
            DiskOp::Write { path, data } => fs::write(self.root.join(path), data)?,
            DiskOp::Read { path, position, len } => {
                let mut data = vec![0; len as usize];
                let file = self.file(&path)?;
                let mut read = 0;
                while read < data.len() {
                    match file.read_at(&mut data[read..], position + read as u64)? {
                        0 => break,
                        more => read += more,
                    }
                }
                data.truncate(read);
                return Ok(DiskOut::Data(data.into()));
            }
            DiskOp::Sync { .. } | DiskOp::SyncDir { .. } => {}
            DiskOp::Rename { from, to } => fs::rename(self.root.join(from), self.root.join(to))?,
            DiskOp::Truncate { path, len } => self.file(&path)?.set_len(len)?,
            DiskOp::Remove { path } => fs::remove_file(self.root.join(path))?,
            DiskOp::RemoveDir { path } => fs::remove_dir_all(self.root.join(path))?,
        }
        Ok(DiskOut::Done)
    }
}

fn load(disk: &mut Disk, dir: &str) -> Log {
    let observe = Observe::nobody(Source::Node(NodeId(1)));
    let known = LastKnown::default();
    let mut loader = Loader::new(TP, dir.to_owned(), LogConfig::default(), known, Guards::default(), observe);
    let (mut out, mut queue) = (Outbox::new(), VecDeque::new());
    loader.start(&mut out);
    queue.extend(out.drain());
    while let Some(DiskRequest { ticket, op }) = queue.pop_front() {
        let result = disk.perform(op);
        if let Some(log) = loader.step(NOW, DiskDone { ticket, result }, &mut out).expect("the disk is fine") {
            return log;
        }
        queue.extend(out.drain());
    }
    panic!("the loader asks for nothing and is not done")
}

/// Every batch in bytes of its own, as it comes out of a request.
fn batches(mib: usize) -> Vec<Bytes> {
    let count = (mib << 20) / (RECORD * RECORDS);
    let mut state = 7_u64;
    (0..count)
        .map(|_| {
            let mut builder = BatchBuilder::new(NOW.wall_ms);
            for _ in 0..RECORDS {
                let value: Vec<u8> = (0..RECORD / 8)
                    .flat_map(|_| {
                        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                        state.to_be_bytes()
                    })
                    .collect();
                builder.push(NOW.wall_ms, None, Some(&value), &[]);
            }
            builder.build().bytes
        })
        .collect()
}

/// Seconds to append all through validation.
fn append(disk: &mut Disk, log: &mut Log, batches: Vec<Bytes>) -> f64 {
    let (mut out, mut progress) = (Outbox::new(), Outbox::new());
    let rules = Rules::default();
    let begin = Instant::now();
    for bytes in batches {
        let batch = validate(&bytes, &rules, NOW.wall_ms).expect("a valid batch");
        drop(bytes);
        log.append_as_leader(NOW, vec![batch], 1, &mut out).expect("it takes it");
        for DiskRequest { ticket, op } in out.drain() {
            let result = disk.perform(op);
            log.disk_done(DiskDone { ticket, result }, &mut progress);
        }
        progress.drain().for_each(drop);
    }
    begin.elapsed().as_secs_f64()
}

fn plain_write(path: &Path, batches: &[Bytes]) -> f64 {
    let mut file = File::create(path).expect("a file");
    let begin = Instant::now();
    for bytes in batches {
        file.write_all(bytes).expect("the disk takes it");
    }
    begin.elapsed().as_secs_f64()
}

/// Seconds to read a file in pieces of one MiB, and to take its checksum besides.
fn plain_read(path: &Path, checksum: bool) -> f64 {
    let file = File::open(path).expect("the file is there");
    let mut piece = vec![0; 1 << 20];
    let (mut position, mut crc, mut summing) = (0, 0, 0.0);
    let begin = Instant::now();
    loop {
        let read = file.read_at(&mut piece, position).expect("it can be read");
        if read == 0 {
            break;
        }
        if checksum {
            let begin = Instant::now();
            crc = crc32c::crc32c_append(crc, &piece[..read]);
            summing += begin.elapsed().as_secs_f64();
        }
        position += read as u64;
    }
    black_box(crc);
    if checksum { summing } else { begin.elapsed().as_secs_f64() }
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let mib = words.iter().position(|word| word == "--mib").map_or(1024, |at| words[at + 1].parse().expect("a number"));
    let root = tempfile::tempdir().expect("a temporary directory");
    let (mut through, mut plain) = (Vec::new(), Vec::new());
    // A quarter at a time keeps the batches in memory beside the page cache.
    let quarter = batches(mib / 4);
    for round in 0..ROUNDS {
        let path = root.path().join("plain");
        plain.push(plain_write(&path, &quarter));
        fs::remove_file(path).expect("it was just written");
        let mut disk = Disk::new(root.path());
        let dir = format!("round-{round}");
        let mut log = load(&mut disk, &dir);
        let own = quarter.iter().map(|bytes| Bytes::copy_from_slice(bytes)).collect();
        through.push(append(&mut disk, &mut log, own));
        fs::remove_dir_all(root.path().join(dir)).expect("it was just written");
    }
    let bytes: usize = quarter.iter().map(Bytes::len).sum();
    let rate = |bytes: usize, seconds: f64| bytes as f64 / seconds / 1e9;
    let (through, plain) = (rate(bytes, median(through)), rate(bytes, median(plain)));
    println!("append through validation {through:.2} GB/s, plain write {plain:.2} GB/s, ratio {:.2}", through / plain);
    recover(root.path(), &quarter);
    look_up();
}

fn recover(root: &Path, quarter: &[Bytes]) {
    let mut disk = Disk::new(root);
    let mut log = load(&mut disk, "whole");
    for _ in 0..4 {
        append(&mut disk, &mut log, quarter.iter().map(|bytes| Bytes::copy_from_slice(bytes)).collect());
    }
    let path = root.join("whole/00000000000000000000.log");
    let bytes = fs::metadata(&path).expect("the segment").len() as usize;
    let (mut recovery, mut reading, mut checksum) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        reading.push(plain_read(&path, false));
        checksum.push(plain_read(&path, true));
        let begin = Instant::now();
        let loaded = load(&mut Disk::new(root), "whole");
        recovery.push(begin.elapsed().as_secs_f64());
        assert_eq!(loaded.log_end_offset(), log.log_end_offset());
    }
    let rate = |seconds| bytes as f64 / median(seconds) / 1e9;
    println!(
        "recovery {:.2} GB/s, reading alone {:.2} GB/s, checksum alone {:.2} GB/s, over {} MiB",
        rate(recovery),
        rate(reading),
        rate(checksum),
        bytes >> 20
    );
}

/// Half a million batches in one segment, asked for in an order that helps no cache.
fn look_up() {
    let mut log = load(&mut Disk::new(tempfile::tempdir().expect("a temporary directory").path()), "index");
    let (mut out, mut progress) = (Outbox::new(), Outbox::new());
    const BATCHES: i64 = 500_000;
    for _ in 0..BATCHES {
        let batch = BatchBuilder::new(NOW.wall_ms).push(NOW.wall_ms, None, Some(b"v"), &[]).build();
        log.append_as_leader(NOW, vec![batch], 1, &mut out).expect("it takes it");
        for DiskRequest { ticket, .. } in out.drain() {
            log.disk_done(DiskDone { ticket, result: Ok(DiskOut::Done) }, &mut progress);
        }
        progress.drain().for_each(drop);
    }
    const LOOKUPS: i64 = 1_000_000;
    let mut at = 1;
    let begin = Instant::now();
    for _ in 0..LOOKUPS {
        at = (at * 48_281 + 11) % BATCHES;
        black_box(log.readable_bytes(at, 1024, i64::MAX, true));
    }
    let ns = begin.elapsed().as_nanos() as f64 / LOOKUPS as f64;
    println!("look-up of an offset among {BATCHES} batches: {ns:.0} ns");
}
