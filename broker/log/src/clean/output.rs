//! The segment that a clean writes.

use crate::LogConfig;
use crate::format::{SegmentKind, Transient, TxnEntry};
use crate::loader::PIECE;
use crate::producers::Stamp;
use crate::segment::{Segment, segment_path};
use crate::writes::index_files;
use bytes::Bytes;
use klamm_base::DiskOp;
use klamm_wire::records::Batch;

/// A new segment with what is left of a group of old ones. Its files end in `.cleaned` while they are written.
#[derive(Debug)]
pub(super) struct Output {
    dir: String,
    segment: Segment,
    /// Batches that no write was asked for yet.
    chunk: Vec<u8>,
}

impl Output {
    /// An empty one, and what makes its file: a left-over of an earlier clean is emptied.
    pub(super) fn new(dir: &str, base_offset: i64, opened_ms: i64) -> (Self, DiskOp) {
        let segment = Segment::new(dir, base_offset, opened_ms);
        let output = Self { dir: dir.to_owned(), segment, chunk: Vec::new() };
        let op = DiskOp::Write { path: output.path(SegmentKind::Log), data: Bytes::new() };
        (output, op)
    }

    fn path(&self, kind: SegmentKind) -> String {
        let path = segment_path(&self.dir, self.segment.base_offset, kind);
        format!("{path}{}", Transient::Cleaned.suffix())
    }

    /// Adds a batch. A write when a piece is full.
    pub(super) fn push(&mut self, batch: &Batch, config: &LogConfig) -> Option<DiskOp> {
        self.segment.push(&batch.header, Stamp::of(batch), config);
        self.chunk.extend_from_slice(&batch.bytes);
        if self.chunk.len() as u64 >= PIECE { self.write() } else { None }
    }

    /// Writes what is left of the last piece.
    pub(super) fn write(&mut self) -> Option<DiskOp> {
        let data = Bytes::from(std::mem::take(&mut self.chunk));
        (!data.is_empty()).then(|| DiskOp::Append { path: self.path(SegmentKind::Log), data })
    }

    /// What it holds so far.
    pub(super) fn segment(&self) -> &Segment {
        &self.segment
    }

    /// Writes the indexes, then makes the content and the names of all its files durable. `aborted` are the transactions
    /// whose markers it holds.
    pub(super) fn finish(&mut self, aborted: &[TxnEntry], config: &LogConfig) -> Vec<DiskOp> {
        let mut kinds = vec![SegmentKind::Log];
        let mut ops: Vec<DiskOp> = self.write().into_iter().collect();
        if !self.segment.entries.is_empty() {
            self.segment.indexed = Some(self.segment.entries.len());
            self.segment.txn_indexed = !aborted.is_empty();
            for (kind, data) in index_files(&self.segment, aborted, config) {
                ops.push(DiskOp::Write { path: self.path(kind), data });
                kinds.push(kind);
            }
        }
        ops.extend(kinds.into_iter().map(|kind| DiskOp::Sync { path: self.path(kind) }));
        ops.push(DiskOp::SyncDir { path: self.dir.clone() });
        ops
    }

    /// The segment, as it will be under its own name.
    pub(super) fn into_segment(mut self) -> Segment {
        assert!(self.chunk.is_empty(), "{}: a segment that is not written", self.segment.path);
        self.segment.created = true;
        self.segment
    }

    /// Its files, if they are all there.
    pub(super) fn removals(&self) -> Vec<DiskOp> {
        let kinds = SegmentKind::ALL.into_iter().filter(|kind| *kind != SegmentKind::ProducerSnapshot);
        kinds.map(|kind| DiskOp::Remove { path: self.path(kind) }).collect()
    }
}
