//! Every file of a Kafka data directory, as bytes: names, indexes, producer snapshots, checkpoints [L9] [L10].
//!
//! Pure codecs: bytes or text go in, values come out, and the other way round to the same byte. Nothing here opens a file.
//! What a file must say about the log beside it is derived from the log's batches by [`IndexBuilder`] (offset and time
//! index) and [`ProducerTable`] (producer snapshot and transaction index).
//!
//! A decoder never repairs. It names the first thing that is wrong and the byte where that stands ([`FormatError`]); what to do
//! about it is the caller's to decide, who can always build the file anew from the log.

mod build;
mod checkpoint;
mod error;
mod json;
mod names;
mod offset_index;
mod producer_table;
mod properties;
mod snapshot;
mod time_index;
mod txn_index;

pub use build::{Appended, IndexBuilder, IndexEntries};
pub use checkpoint::{EpochStart, PartitionOffset, parse_epochs, parse_offsets, render_epochs, render_offsets};
pub use error::FormatError;
pub use json::{CleanShutdown, QuorumState, QuorumVoter};
pub use names::{DirName, DirState, SegmentFile, SegmentKind, SnapshotName, Transient, file};
pub use offset_index::{OFFSET_ENTRY_BYTES, OffsetEntry, decode_offset_index, encode_offset_index};
pub use producer_table::{EndMarker, ProducerTable};
pub use properties::{MetaProperties, PartitionMetadata};
pub use snapshot::{
    ProducerEntry, SNAPSHOT_ENTRY_BYTES, SNAPSHOT_HEAD_BYTES, decode_producer_snapshot, encode_producer_snapshot,
};
pub use time_index::{TIME_ENTRY_BYTES, TimeEntry, decode_time_index, encode_time_index};
pub use txn_index::{TXN_ENTRY_BYTES, TxnEntry, decode_txn_index, encode_txn_index};

/// What a segment's log holds, against which entries of its indexes are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The segment's base offset, from its name.
    pub base_offset: i64,
    /// One past the offset of its last record; the base offset if it is empty.
    pub end_offset: i64,
    /// Length of its `.log`, in bytes.
    pub bytes: u64,
}

/// `bytes` without the zeros that a broker leaves behind the last entry of an active index.
///
/// Kafka makes an active segment's `.index` and `.timeindex` as large as they may ever get (`segment.index.bytes`, rounded
/// down to whole entries) and cuts them to size when the segment is closed. A killed broker never comes to that, so a tail of
/// zeros is no damage. An entry of zeros is never cut by mistake in an offset index, as no entry has position 0; in a time
/// index an only entry of timestamp 0 at the first offset looks like the tail, and costs nothing where it is lost.
pub fn without_preallocation(bytes: &[u8], entry_bytes: usize) -> &[u8] {
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    &bytes[..used.next_multiple_of(entry_bytes).min(bytes.len())]
}

/// The entries of a file that is nothing but entries of `N` bytes, each with its position.
fn entries<const N: usize>(bytes: &[u8]) -> Result<impl Iterator<Item = (u64, &[u8; N])>, FormatError> {
    let (whole, rest) = bytes.as_chunks::<N>();
    if !rest.is_empty() {
        return Err(FormatError::PartEntry { at: (bytes.len() - rest.len()) as u64, bytes: rest.len(), entry: N });
    }
    Ok((0u64..).step_by(N).zip(whole))
}

/// `N` bytes of `bytes` from `at`.
fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_behind_the_last_entry_are_cut_in_whole_entries() {
        assert_eq!(without_preallocation(&[0, 0, 0, 7, 0, 0, 0, 0], 4), [0, 0, 0, 7]);
        assert_eq!(without_preallocation(&[7, 0, 0, 0, 0, 0, 0, 0], 4), [7, 0, 0, 0], "an entry keeps its own zeros");
        assert!(without_preallocation(&[0; 8], 4).is_empty());
        assert_eq!(without_preallocation(&[0, 0, 0, 7, 0, 0, 7], 4), [0, 0, 0, 7, 0, 0, 7], "a torn entry stays");
    }
}
