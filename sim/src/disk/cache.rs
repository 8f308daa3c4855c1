//! Which parts of files are in memory. Kept only on hosts whose devices tell a miss from a hit.

use std::collections::BTreeMap;

/// Memory is counted in pieces of so many bytes, half of what Linux reads ahead.
pub(super) const PIECE: u64 = 64 << 10;

/// A piece of a file: drive, inode, number.
pub(super) type Piece = (u32, u32, u64);

/// Least recently used first out.
#[derive(Debug, Default)]
pub(super) struct PageCache {
    tick: u64,
    by_piece: BTreeMap<Piece, u64>,
    by_age: BTreeMap<u64, Piece>,
}

impl PageCache {
    /// Uses a piece; false if it was not there.
    pub(super) fn touch(&mut self, piece: Piece) -> bool {
        self.tick += 1;
        self.by_age.insert(self.tick, piece);
        match self.by_piece.insert(piece, self.tick) {
            Some(before) => self.by_age.remove(&before).is_some(),
            None => false,
        }
    }

    pub(super) fn remove(&mut self, piece: Piece) {
        if let Some(age) = self.by_piece.remove(&piece) {
            self.by_age.remove(&age);
        }
    }

    /// Forgets all pieces of an inode.
    pub(super) fn remove_file(&mut self, drive: u32, inode: u32) {
        let pieces: Vec<Piece> =
            self.by_piece.range((drive, inode, 0)..=(drive, inode, u64::MAX)).map(|(piece, _)| *piece).collect();
        pieces.into_iter().for_each(|piece| self.remove(piece));
    }

    pub(super) fn oldest(&self) -> Option<Piece> {
        self.by_age.first_key_value().map(|(_, piece)| *piece)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.by_piece.len() as u64 * PIECE
    }

    /// All pieces of a drive, or of all drives.
    pub(super) fn pieces(&self, drive: Option<u32>) -> Vec<Piece> {
        self.by_piece.keys().filter(|piece| drive.is_none_or(|drive| drive == piece.0)).copied().collect()
    }
}

/// The pieces that `len` bytes at `start` lie in.
pub(super) fn pieces(start: u64, len: u64) -> std::ops::Range<u64> {
    if len == 0 { 0..0 } else { start / PIECE..(start + len).div_ceil(PIECE) }
}
