//! Frames: four bytes of length, then that many bytes.

use crate::WireError;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::collections::VecDeque;

/// Bytes of a frame's length.
pub const LENGTH: usize = 4;

/// Cuts a byte stream into frames. A frame that came in one piece is a slice of it, without a copy.
#[derive(Clone, Debug)]
pub struct FrameReader {
    pieces: VecDeque<Bytes>,
    /// Bytes in all pieces.
    pending: usize,
    limit: usize,
}

impl FrameReader {
    /// Refuses frames of more than `limit` bytes (`socket.request.max.bytes`), before memory is taken for them.
    pub fn new(limit: usize) -> FrameReader {
        FrameReader { pieces: VecDeque::new(), pending: 0, limit }
    }

    /// Takes the next bytes of the stream.
    pub fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.pending += piece.len();
            self.pieces.push_back(piece);
        }
    }

    /// The length of the next frame, once the bytes that say it are there.
    fn announced(&self) -> Option<i32> {
        let mut head = [0; LENGTH];
        if let Some(whole) = self.pieces.front()?.first_chunk::<LENGTH>() {
            head = *whole;
        } else if self.pending >= LENGTH {
            let bytes = self.pieces.iter().flatten();
            head.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        } else {
            return None;
        }
        Some(i32::from_be_bytes(head))
    }

    /// Whether a whole frame is there.
    ///
    /// # Errors
    /// `FrameTooLarge`: the stream cannot be read any further.
    #[inline]
    pub fn is_whole(&self) -> Result<bool, WireError> {
        if self.pending < LENGTH {
            return Ok(false);
        }
        Ok(self.length()?.is_some_and(|length| self.pending >= LENGTH + length))
    }

    fn length(&self) -> Result<Option<usize>, WireError> {
        let Some(announced) = self.announced() else { return Ok(None) };
        match usize::try_from(announced) {
            Ok(length) if length <= self.limit => Ok(Some(length)),
            _ => Err(WireError::FrameTooLarge { length: i64::from(announced), limit: self.limit }),
        }
    }

    /// The next whole frame without its length; `None` if more bytes are needed.
    ///
    /// # Errors
    /// `FrameTooLarge`: the stream cannot be read any further.
    #[inline]
    pub fn pop(&mut self) -> Result<Option<Bytes>, WireError> {
        if self.pending < LENGTH { Ok(None) } else { self.pop_begun() }
    }

    /// The same, where the next frame's length is there.
    fn pop_begun(&mut self) -> Result<Option<Bytes>, WireError> {
        let Some(length) = self.length()?.filter(|length| self.pending >= LENGTH + length) else { return Ok(None) };
        self.skip(LENGTH);
        Ok(Some(self.take(length)))
    }

    fn skip(&mut self, count: usize) {
        let mut left = count;
        while left > 0 {
            let first = self.pieces.front_mut().expect("as many bytes as are pending");
            let here = left.min(first.len());
            first.advance(here);
            left -= here;
            if first.is_empty() {
                self.pieces.pop_front();
            }
        }
        self.pending -= count;
    }

    /// The next bytes, as one slice.
    fn take(&mut self, count: usize) -> Bytes {
        let Some(first) = self.pieces.front_mut().filter(|first| first.len() >= count) else {
            let mut whole = BytesMut::with_capacity(count);
            for piece in &self.pieces {
                whole.put_slice(&piece[..piece.len().min(count - whole.len())]);
            }
            self.skip(count);
            return whole.freeze();
        };
        self.pending -= count;
        match first.len() == count {
            true => self.pieces.pop_front().expect("the first piece"),
            false => first.split_to(count),
        }
    }

    /// Bytes that wait for the rest of their frame.
    pub fn pending(&self) -> usize {
        self.pending
    }
}

/// Begins a frame with room for so many bytes: header and body are appended to it, then it is finished.
#[inline]
pub fn begin(capacity: usize) -> Vec<u8> {
    let mut frame = Vec::with_capacity(LENGTH + capacity);
    frame.extend_from_slice(&[0; LENGTH]);
    frame
}

/// The whole frame, its length in front, as it goes over the wire. It must be below 2 GiB.
#[inline]
pub fn finish(mut frame: Vec<u8>) -> Bytes {
    let length = frame.len().checked_sub(LENGTH).expect("a frame that was begun");
    frame[..LENGTH].copy_from_slice(&write_length(length));
    Bytes::from(frame)
}

/// The four bytes that go before a frame of `length` bytes, which must be below 2 GiB.
#[inline]
pub fn write_length(length: usize) -> [u8; LENGTH] {
    i32::try_from(length).expect("a frame is smaller than 2 GiB").to_be_bytes()
}
