//! The bytes of one direction, from the write to the read, in the pieces in which they were written.

use crate::trace::sample;
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::io::IoSlice;
use tokio::io::ReadBuf;

/// Where bytes come from when they are written.
pub(crate) enum Outgoing<'a, 'b> {
    /// They are copied.
    Slices(&'a [IoSlice<'b>]),
    /// What is taken is taken out, and shared.
    Pieces(&'a mut VecDeque<Bytes>),
}

impl Outgoing<'_, '_> {
    /// Bytes in all.
    pub fn len(&self) -> usize {
        match self {
            Self::Slices(slices) => slices.iter().map(|slice| slice.len()).sum(),
            Self::Pieces(pieces) => pieces.iter().map(Bytes::len).sum(),
        }
    }

    /// Puts the first `room` bytes into a ring, or nowhere; how many that were, and a digest of them.
    pub fn move_into(self, room: usize, mut ring: Option<&mut Ring>) -> (usize, u64) {
        let (mut taken, mut digest) = (0, 0);
        match self {
            Self::Slices(slices) => {
                for slice in slices {
                    let slice = &slice[..slice.len().min(room - taken)];
                    taken += slice.len();
                    digest = sample(slice).wrapping_add(digest);
                    if let Some(ring) = &mut ring {
                        ring.copy(slice);
                    }
                }
            }
            Self::Pieces(pieces) => {
                while taken < room
                    && let Some(first) = pieces.front_mut()
                {
                    let whole = first.len() <= room - taken;
                    let piece = if whole { pieces.pop_front() } else { Some(first.split_to(room - taken)) };
                    let piece = piece.expect("the first piece");
                    taken += piece.len();
                    digest = sample(&piece).wrapping_add(digest);
                    if let Some(ring) = &mut ring {
                        ring.push(piece);
                    }
                }
            }
        }
        (taken, digest)
    }
}

/// Where bytes go when they are read.
pub(crate) enum Incoming<'a, 'b> {
    /// They are copied.
    Buffer(&'a mut ReadBuf<'b>),
    /// One piece of them is handed over.
    Piece(&'a mut Bytes),
}

impl Incoming<'_, '_> {
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
    pieces: VecDeque<Piece>,
    /// The bytes of all pieces that are copies: so a small write costs no allocation.
    copies: VecDeque<u8>,
    len: usize,
}

#[derive(Debug)]
enum Piece {
    Shared(Bytes),
    /// So many of the copied bytes.
    Copied(usize),
}

impl Piece {
    fn len(&self) -> usize {
        match self {
            Self::Shared(bytes) => bytes.len(),
            Self::Copied(count) => *count,
        }
    }
}

impl Ring {
    /// Bytes in it.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Adds a piece at the end.
    fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.len += piece.len();
            self.pieces.push_back(Piece::Shared(piece));
        }
    }

    /// Adds a copy at the end.
    fn copy(&mut self, slice: &[u8]) {
        self.len += slice.len();
        self.copies.extend(slice);
        match self.pieces.back_mut() {
            Some(Piece::Copied(count)) => *count += slice.len(),
            _ if slice.is_empty() => {}
            _ => self.pieces.push_back(Piece::Copied(slice.len())),
        }
    }

    /// Takes up to `count` bytes from the front: all of them into a buffer, or those of the first piece; how many.
    pub fn take(&mut self, count: usize, into: Incoming<'_, '_>) -> usize {
        assert!(count <= self.len, "no more is read than there is");
        let before = self.len;
        match into {
            Incoming::Buffer(buffer) => {
                while self.len > before - count {
                    let left = count - (before - self.len);
                    match self.pieces.front_mut() {
                        Some(Piece::Copied(_)) => self.take_copies(left, |part| buffer.put_slice(part)),
                        _ => buffer.put_slice(&self.take_shared(left)),
                    }
                }
            }
            Incoming::Piece(piece) => match self.pieces.front_mut() {
                Some(Piece::Copied(left)) => {
                    let mut copied = BytesMut::with_capacity(count.min(*left));
                    self.take_copies(count, |part| copied.extend_from_slice(part));
                    *piece = copied.freeze();
                }
                _ => *piece = self.take_shared(count),
            },
        }
        before - self.len
    }

    /// The first piece, which is a copy, or its first `most` bytes, in one or two parts.
    fn take_copies(&mut self, most: usize, mut give: impl FnMut(&[u8])) {
        let Some(Piece::Copied(left)) = self.pieces.front_mut() else { return };
        let count = most.min(*left);
        *left -= count;
        if *left == 0 {
            self.pieces.pop_front();
        }
        let (front, back) = self.copies.as_slices();
        let first = count.min(front.len());
        give(&front[..first]);
        give(&back[..count - first]);
        self.copies.drain(..count);
        self.len -= count;
    }

    /// The first piece, which is shared, or its first `most` bytes.
    fn take_shared(&mut self, most: usize) -> Bytes {
        let Some(Piece::Shared(first)) = self.pieces.front_mut() else { return Bytes::new() };
        let piece = if first.len() <= most { std::mem::take(first) } else { first.split_to(most) };
        if first.is_empty() {
            self.pieces.pop_front();
        }
        self.len -= piece.len();
        piece
    }

    /// Flips one bit of the byte at `place`. Whoever else holds the piece keeps it as it was.
    pub fn flip(&mut self, mut place: usize, bit: u32) {
        let mut copied = 0;
        for piece in &mut self.pieces {
            let len = piece.len();
            match piece {
                Piece::Shared(bytes) if place < len => {
                    let mut changed = bytes.to_vec();
                    changed[place] ^= 1 << bit;
                    *bytes = changed.into();
                    return;
                }
                Piece::Copied(_) if place < len => return self.copies[copied + place] ^= 1 << bit,
                Piece::Shared(_) => {}
                Piece::Copied(_) => copied += len,
            }
            place -= len;
        }
        panic!("a byte beyond the end of what was written");
    }

    /// Keeps the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        while self.len > len {
            let last = self.pieces.back_mut().expect("as many bytes as the length says");
            let gone = (self.len - len).min(last.len());
            let left = last.len() - gone;
            self.len -= gone;
            match last {
                Piece::Shared(bytes) => bytes.truncate(left),
                Piece::Copied(count) => {
                    *count = left;
                    self.copies.truncate(self.copies.len() - gone);
                }
            }
            if left == 0 {
                self.pieces.pop_back();
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
        fn bytes_come_out_as_they_went_in(acts in prop::collection::vec((0..6_u8, 0..40_usize), 1..60)) {
            let (mut ring, mut model, mut next) = (Ring::default(), VecDeque::new(), 0_u8);
            for (act, count) in acts {
                match act {
                    0 => {
                        let piece: Vec<u8> = (0..count).map(|_| { next = next.wrapping_add(1); next }).collect();
                        model.extend(&piece);
                        ring.push(Bytes::from(piece));
                    }
                    4 => {
                        let piece: Vec<u8> = (0..count).map(|_| { next = next.wrapping_add(1); next }).collect();
                        model.extend(&piece);
                        ring.copy(&piece);
                    }
                    5 if count < ring.len() => {
                        ring.flip(count, 3);
                        model[count] ^= 8;
                    }
                    1 => {
                        let count = count.min(ring.len());
                        let mut room = [0; 40];
                        let mut into = ReadBuf::new(&mut room);
                        prop_assert_eq!(ring.take(count, Incoming::Buffer(&mut into)), count);
                        let expected: Vec<u8> = model.drain(..count).collect();
                        prop_assert_eq!(into.filled(), &expected[..]);
                    }
                    2 => {
                        let (count, mut piece) = (count.min(ring.len()), Bytes::new());
                        prop_assert_eq!(ring.take(count, Incoming::Piece(&mut piece)), piece.len());
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
