//! Frames: four bytes of length, then that many bytes.

use crate::WireError;
use bytes::{Buf, Bytes, BytesMut};

/// Bytes of a frame's length.
const LENGTH: usize = 4;

/// Cuts a byte stream into frames.
#[derive(Clone, Debug)]
pub struct FrameReader {
    buffer: BytesMut,
    limit: usize,
}

impl FrameReader {
    /// Refuses frames of more than `limit` bytes (`socket.request.max.bytes`), before memory is taken for them.
    pub fn new(limit: usize) -> FrameReader {
        FrameReader { buffer: BytesMut::new(), limit }
    }

    /// Takes the next bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The buffer that stream bytes may be read into directly, at its end.
    pub fn buffer_mut(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next whole frame without its length; `None` if more bytes are needed.
    ///
    /// # Errors
    /// `FrameTooLarge`: the stream cannot be read any further.
    pub fn pop(&mut self) -> Result<Option<Bytes>, WireError> {
        let Some(head) = self.buffer.first_chunk::<LENGTH>() else {
            return Ok(None);
        };
        let announced = i32::from_be_bytes(*head);
        let too_large = WireError::FrameTooLarge { length: i64::from(announced), limit: self.limit };
        let length = usize::try_from(announced).ok().filter(|length| *length <= self.limit).ok_or(too_large)?;
        if self.buffer.len() < LENGTH + length {
            // Room for as much again at most: memory follows the bytes that came, not those that were announced.
            let missing = LENGTH + length - self.buffer.len();
            self.buffer.reserve(missing.min(self.buffer.len()));
            return Ok(None);
        }
        self.buffer.advance(LENGTH);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }

    /// Bytes that wait for the rest of their frame.
    pub fn pending(&self) -> usize {
        self.buffer.len()
    }
}

/// A frame on its way out, as two pieces: so that its bytes need not be copied behind its length.
#[derive(Clone, Debug, Default)]
pub struct FrameWriter {
    length: [u8; LENGTH],
    /// Of the length, not yet written.
    length_left: usize,
    body: Bytes,
}

impl FrameWriter {
    /// Nothing of it is written. `body` must be below 2 GiB.
    pub fn new(body: Bytes) -> FrameWriter {
        FrameWriter { length: write_length(body.len()), length_left: LENGTH, body }
    }

    /// What is left to write, in order.
    pub fn pieces(&self) -> [&[u8]; 2] {
        [&self.length[LENGTH - self.length_left..], &self.body]
    }

    /// So many bytes of it were written.
    pub fn advance(&mut self, written: usize) {
        let of_length = written.min(self.length_left);
        self.length_left -= of_length;
        self.body.advance(written - of_length);
    }

    /// All of it is written.
    pub fn is_done(&self) -> bool {
        self.length_left == 0 && self.body.is_empty()
    }
}

/// The four bytes that go before a frame of `length` bytes, which must be below 2 GiB.
#[inline]
pub fn write_length(length: usize) -> [u8; LENGTH] {
    i32::try_from(length).expect("a frame is smaller than 2 GiB").to_be_bytes()
}
