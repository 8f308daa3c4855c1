//! Reads batches of segments one after the other, in pieces.

use super::CleanError;
use crate::loader::PIECE;
use bytes::{Buf, Bytes, BytesMut};
use klamm_base::DiskOp;
use klamm_wire::WireError;
use klamm_wire::records::Batch;
use std::collections::VecDeque;
use std::sync::Arc;

/// A part of a segment file that is read to its end.
#[derive(Clone, Debug)]
pub(super) struct Stretch {
    pub(super) path: Arc<str>,
    /// Where the next byte stands that was not read.
    pub(super) position: u64,
    /// Where it ends.
    pub(super) end: u64,
}

/// Reads stretches in their order.
#[derive(Clone, Debug, Default)]
pub(super) struct Reader {
    stretches: VecDeque<Stretch>,
    /// Read of the first stretch, and not yet handed out.
    buffer: Bytes,
}

/// What comes next.
pub(super) enum Next {
    Batch(Batch),
    /// This must be read first, and given to [`Reader::feed`].
    Read(DiskOp),
    /// Nothing: all was handed out.
    End,
}

impl Reader {
    pub(super) fn new(stretches: impl IntoIterator<Item = Stretch>) -> Self {
        Self { stretches: stretches.into_iter().collect(), buffer: Bytes::new() }
    }

    /// The next batch, if enough is read. Its checksum is looked at: a clean must not put a good checksum on damage.
    ///
    /// # Errors
    /// `Unreadable` where no whole batch stands.
    pub(super) fn next(&mut self) -> Result<Next, CleanError> {
        while self.buffer.is_empty() && self.stretches.pop_front_if(|first| first.position == first.end).is_some() {}
        let Some(first) = self.stretches.front() else { return Ok(Next::End) };
        if let Some(batch) = self.cut()? {
            self.buffer.advance(batch.bytes.len());
            return Ok(Next::Batch(batch));
        }
        if first.position == first.end {
            return Err(self.unreadable(0, "it ends within a batch"));
        }
        let len = PIECE.min(first.end - first.position) as u32;
        Ok(Next::Read(DiskOp::Read { path: first.path.to_string(), position: first.position, len }))
    }

    /// The batch that the buffer opens with; `None` if it is not whole.
    fn cut(&self) -> Result<Option<Batch>, CleanError> {
        match Batch::parse(&self.buffer) {
            Ok(batch) if batch.crc_ok() => Ok(Some(batch)),
            Ok(_) => Err(self.unreadable(0, "a wrong checksum")),
            Err(WireError::Truncated) => Ok(None),
            Err(_) => Err(self.unreadable(0, "no batch")),
        }
    }

    /// Takes what was read.
    ///
    /// # Errors
    /// `Unreadable` if there was nothing: the file is shorter than its log.
    pub(super) fn feed(&mut self, data: Bytes) -> Result<(), CleanError> {
        if data.is_empty() {
            return Err(self.unreadable(0, "its end is missing"));
        }
        let first = self.stretches.front_mut().expect("something was asked for");
        first.position += data.len() as u64;
        assert!(first.position <= first.end, "{}: more was read than was asked for", first.path);
        if self.buffer.is_empty() {
            self.buffer = data;
            return Ok(());
        }
        let mut joined = BytesMut::with_capacity(self.buffer.len() + data.len());
        joined.extend_from_slice(&self.buffer);
        joined.extend_from_slice(&data);
        self.buffer = joined.freeze();
        Ok(())
    }

    /// What stands so many bytes before the next batch cannot be cleaned.
    pub(super) fn unreadable(&self, before: usize, what: &'static str) -> CleanError {
        let first = self.stretches.front().expect("something is being read");
        let position = first.position - (self.buffer.len() + before) as u64;
        CleanError::Unreadable { path: first.path.to_string(), position, what }
    }
}
