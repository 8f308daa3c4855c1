//! The bytes of a file as the cache has them. What is appended in shared pieces stays in them, and is read as the same piece
//! again; all else is done on one flat vector, into which the pieces are moved first.

use bytes::{Bytes, BytesMut};

/// A smaller append is copied, while the content is flat.
const PIECE_LEAST: usize = 512;

#[derive(Debug, Default)]
pub(super) struct Content {
    flat: Vec<u8>,
    /// Behind the flat part, in order: where each begins.
    pieces: Vec<(usize, Bytes)>,
    len: usize,
}

impl Content {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn append(&mut self, data: &Bytes) {
        if self.pieces.is_empty() && data.len() < PIECE_LEAST {
            self.flat.extend_from_slice(data);
        } else {
            self.pieces.push((self.len, data.clone()));
        }
        self.len += data.len();
    }

    /// The bytes from `start` up to `end`, which must not lie beyond the content's.
    pub(super) fn read(&self, start: usize, end: usize) -> Bytes {
        assert!(start <= end && end <= self.len, "{start}..{end} of {}", self.len);
        let at = self.pieces.partition_point(|(begin, _)| *begin <= start).wrapping_sub(1);
        if let Some((begin, piece)) = self.pieces.get(at).filter(|(begin, piece)| end <= begin + piece.len()) {
            return piece.slice(start - begin..end - begin);
        }
        if end <= self.flat.len() {
            return Bytes::copy_from_slice(&self.flat[start..end]);
        }
        let mut whole = BytesMut::with_capacity(end - start);
        whole.extend_from_slice(self.flat.get(start..).unwrap_or_default());
        for (begin, piece) in self.pieces.iter().skip(if at == usize::MAX { 0 } else { at }) {
            if *begin >= end {
                break;
            }
            whole.extend_from_slice(&piece[start.saturating_sub(*begin)..piece.len().min(end - begin)]);
        }
        whole.freeze()
    }

    /// Something other than reading and appending is done to it: all of it, as one vector. Its new length counts once
    /// the change is over.
    pub(super) fn change<T>(&mut self, change: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        self.flatten();
        let done = change(&mut self.flat);
        self.len = self.flat.len();
        done
    }

    /// All of it as one slice.
    pub(super) fn flat(&mut self) -> &[u8] {
        self.flatten();
        &self.flat
    }

    fn flatten(&mut self) {
        if !self.pieces.is_empty() {
            self.flat.reserve_exact(self.len - self.flat.len());
            for (begin, piece) in self.pieces.drain(..) {
                assert_eq!(begin, self.flat.len(), "pieces follow each other");
                self.flat.extend_from_slice(&piece);
            }
        }
        assert_eq!(self.flat.len(), self.len, "the whole content");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_reads_as_one_vector_would(acts in prop::collection::vec((0..5_u8, 0..2_000_usize, 0..2_000_usize), 1..40)) {
            let (mut content, mut model) = (Content::default(), vec![]);
            for (act, one, two) in acts {
                match act {
                    0..=2 => {
                        let data = Bytes::from(vec![one as u8; two]);
                        content.append(&data);
                        model.extend_from_slice(&data);
                    }
                    3 => {
                        let end = two.min(model.len());
                        let start = one.min(end);
                        prop_assert_eq!(&content.read(start, end)[..], &model[start..end]);
                    }
                    _ => {
                        content.change(|bytes| bytes.truncate(one));
                        model.truncate(one);
                    }
                }
                prop_assert_eq!(content.len(), model.len());
                prop_assert_eq!(&content.read(0, model.len())[..], &model[..]);
            }
            prop_assert_eq!(content.flat(), &model[..]);
        }
    }
}
