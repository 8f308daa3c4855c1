//! A log's directory: the same operations leave the same bytes.

use crate::{Stage, expectations};
use klamm_base::{
    DiskDone, DiskError, DiskOp, DiskOut, DiskRequest, DiskResult, Guards, NodeId, Now, Observe, Outbox, Source,
    StartCause, TopicPartition, Uuid,
};
use klamm_env::{Disk, OpenMode};
use klamm_log::{LastKnown, Loader, Log, LogConfig};
use klamm_wire::records::{Batch, BatchBuilder, end_txn_value};
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind};
use std::sync::Arc;

expectations!(a_logs_directory_has_the_bytes_that_its_operations_say);

const DIR: &str = "data/orders-0";
/// Small limits, so that a short life meets them.
fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 1_000,
        index_interval_bytes: 100,
        retention_ms: -1,
        retention_bytes: 3_000,
        file_delete_delay_ms: 5,
        ..LogConfig::default()
    }
}

/// What the operations say that there is: a file system that cannot fail.
#[derive(Default)]
struct Model(BTreeMap<String, Vec<u8>>);

impl Model {
    fn perform(&mut self, op: &DiskOp) {
        match op {
            DiskOp::Append { path, data } => self.0.entry(path.clone()).or_default().extend_from_slice(data),
            DiskOp::Write { path, data } => drop(self.0.insert(path.clone(), data.to_vec())),
            DiskOp::Truncate { path, len } => self.0.get_mut(path).expect("a file").truncate(*len as usize),
            DiskOp::Rename { from, to } => {
                let content = self.0.remove(from).expect("a file");
                self.0.insert(to.clone(), content);
            }
            DiskOp::Remove { path } => drop(self.0.remove(path)),
            DiskOp::RemoveDir { path } => self.0.retain(|name, _| !name.starts_with(path.as_str())),
            DiskOp::CreateDir { .. } | DiskOp::Sync { .. } | DiskOp::SyncDir { .. } => {}
            DiskOp::List { .. } | DiskOp::Len { .. } | DiskOp::Read { .. } => {}
        }
    }
}

/// A log on a world's disk, and what should be on it.
struct Bench {
    disk: Arc<dyn Disk>,
    model: Model,
    now: Now,
}

impl Bench {
    async fn perform(&mut self, op: DiskOp) -> DiskResult {
        self.model.perform(&op);
        let path = op.path().to_owned();
        self.try_perform(op).await.map_err(|error| match error.kind() {
            ErrorKind::NotFound => DiskError::NotFound { path },
            _ => DiskError::Io { path, message: error.to_string() },
        })
    }

    async fn try_perform(&self, op: DiskOp) -> io::Result<DiskOut> {
        let disk = &self.disk;
        match op {
            DiskOp::CreateDir { path } => disk.create_dir(&path).await?,
            DiskOp::RemoveDir { path } => disk.remove_dir(&path).await?,
            DiskOp::List { path } => return disk.list(&path).await.map(DiskOut::Names),
            DiskOp::Len { path } => {
                return disk.open(&path, OpenMode::Existing).await?.len().await.map(DiskOut::Len);
            }
            DiskOp::Append { path, data } => disk.open(&path, OpenMode::Create).await?.append(data).await?,
            DiskOp::Write { path, data } => {
                let file = disk.open(&path, OpenMode::Create).await?;
                file.truncate(0).await?;
                file.append(data).await?;
            }
            DiskOp::Read { path, position, len } => {
                let file = disk.open(&path, OpenMode::Existing).await?;
                return file.read_at(position, len).await.map(DiskOut::Data);
            }
            DiskOp::Truncate { path, len } => disk.open(&path, OpenMode::Existing).await?.truncate(len).await?,
            DiskOp::Sync { path } => disk.open(&path, OpenMode::Existing).await?.sync().await?,
            DiskOp::SyncDir { path } => disk.sync_dir(&path).await?,
            DiskOp::Rename { from, to } => disk.rename(&from, &to).await?,
            DiskOp::Remove { path } => disk.remove(&path).await?,
        }
        Ok(DiskOut::Done)
    }

    async fn load(&mut self, known: LastKnown) -> Log {
        let tp = TopicPartition { topic: Uuid(9), partition: 0 };
        let observe = Observe::nobody(Source::Node(NodeId(1)));
        let mut loader = Loader::new(tp, DIR.to_owned(), config(), known, Guards::default(), observe);
        let (mut out, mut queue) = (Outbox::new(), VecDeque::new());
        loader.start(&mut out);
        queue.extend(out.drain());
        while let Some(DiskRequest { ticket, op }) = queue.pop_front() {
            let result = self.perform(op).await;
            if let Some(log) = loader.step(self.now, DiskDone { ticket, result }, &mut out).expect("a sound disk") {
                return log;
            }
            queue.extend(out.drain());
        }
        panic!("the loader asks for nothing and is not done")
    }

    /// Does what the log asks for.
    async fn settle(&mut self, log: &mut Log, mut out: Outbox<DiskRequest>) {
        let mut progress = Outbox::new();
        for DiskRequest { ticket, op } in out.drain() {
            let result = self.perform(op).await;
            log.disk_done(DiskDone { ticket, result }, &mut progress);
        }
    }

    async fn compare(&self, after: &str) {
        let mut there = BTreeMap::new();
        for name in self.disk.list(DIR).await.expect("it is there") {
            let path = format!("{DIR}/{name}");
            let file = self.disk.open(&path, OpenMode::Existing).await.expect("it was listed");
            there.insert(path, file.read_at(0, u32::MAX).await.expect("it can be read").to_vec());
        }
        assert_eq!(there.keys().collect::<Vec<_>>(), self.model.0.keys().collect::<Vec<_>>(), "after {after}");
        assert!(there == self.model.0, "other bytes after {after}");
    }
}

fn batch(base_sequence: i32, size: usize) -> Batch {
    let mut builder = BatchBuilder::new(1_000 + i64::from(base_sequence));
    let value = vec![base_sequence as u8; size];
    builder.push(1_000, None, Some(&value), &[]).push(1_001, Some(b"key"), None, &[]);
    builder.producer(7, 0, base_sequence).transactional().build()
}

fn marker() -> Batch {
    let mut builder = BatchBuilder::new(1_000);
    builder.push(1_000, Some(&[0; 4]), Some(&end_txn_value(3)), &[]);
    builder.producer(7, 0, -1).transactional().control().build()
}

async fn a_logs_directory_has_the_bytes_that_its_operations_say(stage: Stage) {
    let now = Now { mono_ns: 0, wall_ms: 2_000 };
    let mut bench = Bench { disk: stage.server.disk.clone(), model: Model::default(), now };
    let mut log = bench.load(LastKnown::default()).await;
    for round in 0..20 {
        let mut out = Outbox::new();
        let batches = vec![batch(round * 4, 40 * round as usize), batch(round * 4 + 2, 10)];
        log.append_as_leader(bench.now, batches, round / 5, &mut out).expect("it takes them");
        log.append_as_leader(bench.now, vec![marker()], round / 5, &mut out).expect("it takes them");
        bench.settle(&mut log, out).await;
    }
    bench.compare("appends").await;
    let mut out = Outbox::new();
    let end = log.truncate_to(log.log_end_offset() - 7, &mut out);
    bench.settle(&mut log, out).await;
    bench.compare("a cut").await;
    let mut out = Outbox::new();
    log.raise_log_start(bench.now, end / 4, StartCause::DeleteRecords, &mut out);
    log.expire(bench.now, end, &mut out);
    assert!(log.first_segment_offset() > 0, "something was deleted");
    bench.settle(&mut log, out).await;
    bench.compare("the retention").await;
    bench.now.mono_ns += 10_000_000;
    let mut out = Outbox::new();
    log.deadline_came(bench.now, &mut out);
    bench.settle(&mut log, out).await;
    bench.compare("the files went").await;
    let mut out = Outbox::new();
    log.close(bench.now, &mut out);
    bench.settle(&mut log, out).await;
    bench.compare("a clean stop").await;
    let known = LastKnown { clean: true, recovery_point: end, log_start: log.log_start_offset() };
    let loaded = bench.load(known).await;
    assert_eq!(loaded.digest(), log.digest());
    bench.compare("a load").await;
    let unclean = LastKnown { clean: false, ..known };
    let loaded = bench.load(unclean).await;
    assert_eq!(loaded.digest(), log.digest());
    bench.compare("a load that trusts nothing").await;
}
