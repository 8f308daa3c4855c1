//! The bytes of one direction, from the write to the read, in the pieces in which they were written.

use crate::trace::sample;
use bytes::Bytes;
use std::collections::VecDeque;
use std::io::IoSlice;
use tokio::io::ReadBuf;

/// Where bytes come from when they are written.
pub(crate) enum From<'a, 'b> {
    /// They are copied.
    Slices(&'a [IoSlice<'b>]),
    /// What is taken is taken out, and shared.
    Pieces(&'a mut VecDeque<Bytes>),
}

impl From<'_, '_> {
    /// Bytes in all.
    pub fn len(&self) -> usize {
        match self {
            Self::Slices(slices) => slices.iter().map(|slice| slice.len()).sum(),
            Self::Pieces(pieces) => pieces.iter().map(Bytes::len).sum(),
        }
    }

    /// Hands over the first `room` bytes, piece by piece; how many that were, and a digest of them.
    pub fn move_into(self, room: usize, mut take: impl FnMut(Bytes)) -> (usize, u64) {
        let (mut taken, mut digest) = (0, 0);
        let mut hand_over = |piece: Bytes| {
            taken += piece.len();
            digest = sample(&piece).wrapping_add(digest);
            take(piece);
            room - taken
        };
        match self {
            Self::Slices(slices) => {
                let mut left = room;
                for slice in slices {
                    left = hand_over(Bytes::copy_from_slice(&slice[..slice.len().min(left)]));
                }
            }
            Self::Pieces(pieces) => {
                let mut left = room;
                while left > 0
                    && let Some(first) = pieces.front_mut()
                {
                    let whole = first.len() <= left;
                    let piece = if whole { pieces.pop_front() } else { Some(first.split_to(left)) };
                    left = hand_over(piece.expect("the first piece"));
                }
            }
        }
        (taken, digest)
    }
}

/// Where bytes go when they are read.
pub(crate) enum Into<'a, 'b> {
    /// They are copied.
    Buffer(&'a mut ReadBuf<'b>),
    /// One piece of them is handed over.
    Piece(&'a mut Bytes),
}

impl Into<'_, '_> {
    /// Bytes that fit.
    pub fn room(&self) -> usize {
        match self {
            Self::Buffer(buffer) => buffer.remaining(),
            Self::Piece(_) => usize::MAX,
        }
    }
}

/// Bytes in order.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    pieces: VecDeque<Bytes>,
    len: usize,
}

impl Ring {
    /// Bytes in it.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Adds a piece at the end.
    pub fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.len += piece.len();
            self.pieces.push_back(piece);
        }
    }

    /// Takes up to `count` bytes from the front: all of them into a buffer, or those of the first piece; how many.
    pub fn take(&mut self, count: usize, into: Into<'_, '_>) -> usize {
        assert!(count <= self.len, "no more is read than there is");
        let before = self.len;
        match into {
            Into::Buffer(buffer) => {
                while self.len > before - count {
                    buffer.put_slice(&self.take_piece(count - (before - self.len)));
                }
            }
            Into::Piece(piece) => *piece = self.take_piece(count),
        }
        before - self.len
    }

    /// Takes the first piece, or its first `most` bytes.
    fn take_piece(&mut self, most: usize) -> Bytes {
        let Some(first) = self.pieces.front_mut() else { return Bytes::new() };
        let piece = match first.len() <= most {
            true => self.pieces.pop_front().expect("the first piece"),
            false => first.split_to(most),
        };
        self.len -= piece.len();
        piece
    }

    /// Flips one bit of the byte at `place`. Whoever else holds the piece keeps it as it was.
    pub fn flip(&mut self, mut place: usize, bit: u32) {
        for piece in &mut self.pieces {
            if place < piece.len() {
                let mut changed = piece.to_vec();
                changed[place] ^= 1 << bit;
                *piece = changed.into();
                return;
            }
            place -= piece.len();
        }
        panic!("a byte beyond the end of what was written");
    }

    /// Keeps the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        while self.len > len {
            let over = self.len - len;
            let last = self.pieces.back_mut().expect("as many bytes as the length says");
            let gone = over.min(last.len());
            self.len -= gone;
            match gone == last.len() {
                true => drop(self.pieces.pop_back()),
                false => last.truncate(last.len() - gone),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bytes_come_out_as_they_went_in(acts in prop::collection::vec((0..4_u8, 0..40_usize), 1..60)) {
            let (mut ring, mut model, mut next) = (Ring::default(), VecDeque::new(), 0_u8);
            for (act, count) in acts {
                match act {
                    0 => {
                        let piece: Vec<u8> = (0..count).map(|_| { next = next.wrapping_add(1); next }).collect();
                        model.extend(&piece);
                        ring.push(Bytes::from(piece));
                    }
                    1 => {
                        let count = count.min(ring.len());
                        let mut room = [0; 40];
                        let mut into = ReadBuf::new(&mut room);
                        prop_assert_eq!(ring.take(count, Into::Buffer(&mut into)), count);
                        let expected: Vec<u8> = model.drain(..count).collect();
                        prop_assert_eq!(into.filled(), &expected[..]);
                    }
                    2 => {
                        let (count, mut piece) = (count.min(ring.len()), Bytes::new());
                        prop_assert_eq!(ring.take(count, Into::Piece(&mut piece)), piece.len());
                        prop_assert!(piece.len() <= count && piece.is_empty() == (count == 0));
                        let expected: Vec<u8> = model.drain(..piece.len()).collect();
                        prop_assert_eq!(&piece[..], &expected[..]);
                    }
                    _ => {
                        ring.truncate(count);
                        model.truncate(count);
                    }
                }
                prop_assert_eq!(ring.len(), model.len());
            }
        }
    }
}
