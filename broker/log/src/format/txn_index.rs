//! `.txnindex`: the aborted transactions whose marker stands in the segment (KIP-98) [L9].

use super::{Extent, FormatError, entries, field};

/// Bytes of an entry.
pub const TXN_ENTRY_BYTES: usize = 34;

/// The only version of an entry.
const VERSION: i16 = 0;

/// An aborted transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxnEntry {
    /// Whose transaction it was.
    pub producer_id: i64,
    /// Offset of its first record; it may stand in an earlier segment.
    pub first_offset: i64,
    /// Offset of its marker.
    pub last_offset: i64,
    /// The last stable offset once it was aborted: the first offset of the oldest transaction that was open then, or the offset after
    /// the marker. A reader that comes to an entry whose last stable offset is beyond what it fetched need not look any further.
    pub last_stable_offset: i64,
}

impl TxnEntry {
    /// The entry's bytes.
    pub fn to_bytes(&self) -> [u8; TXN_ENTRY_BYTES] {
        let mut out = [0; TXN_ENTRY_BYTES];
        out[..2].copy_from_slice(&VERSION.to_be_bytes());
        out[2..10].copy_from_slice(&self.producer_id.to_be_bytes());
        out[10..18].copy_from_slice(&self.first_offset.to_be_bytes());
        out[18..26].copy_from_slice(&self.last_offset.to_be_bytes());
        out[26..34].copy_from_slice(&self.last_stable_offset.to_be_bytes());
        out
    }
}

/// The file.
pub fn encode_txn_index(index: &[TxnEntry]) -> Vec<u8> {
    index.iter().flat_map(TxnEntry::to_bytes).collect()
}

/// Reads the transaction index of the segment `of`.
///
/// # Errors
/// Part of an entry, an unknown version, markers that do not grow or do not stand in the segment, a transaction that begins
/// behind its marker.
pub fn decode_txn_index(bytes: &[u8], of: Extent) -> Result<Vec<TxnEntry>, FormatError> {
    let mut index: Vec<TxnEntry> = Vec::with_capacity(bytes.len() / TXN_ENTRY_BYTES);
    for (at, raw) in entries::<TXN_ENTRY_BYTES>(bytes)? {
        let version = i16::from_be_bytes(field(raw, 0));
        if version != VERSION {
            return Err(FormatError::Version { at, found: i64::from(version), known: "0" });
        }
        let entry = TxnEntry {
            producer_id: i64::from_be_bytes(field(raw, 2)),
            first_offset: i64::from_be_bytes(field(raw, 10)),
            last_offset: i64::from_be_bytes(field(raw, 18)),
            last_stable_offset: i64::from_be_bytes(field(raw, 26)),
        };
        check(entry, index.last(), at, of)?;
        index.push(entry);
    }
    Ok(index)
}

fn check(entry: TxnEntry, before: Option<&TxnEntry>, at: u64, of: Extent) -> Result<(), FormatError> {
    FormatError::check_range(at, "marker", entry.last_offset, (of.base_offset, of.end_offset - 1))?;
    FormatError::check_range(at, "producer id", entry.producer_id, (0, i64::MAX))?;
    FormatError::check_range(at, "first offset", entry.first_offset, (0, entry.last_offset))?;
    FormatError::check_range(at, "last stable offset", entry.last_stable_offset, (0, i64::MAX))?;
    match before {
        Some(before) if entry.last_offset <= before.last_offset => {
            let (value, before) = (entry.last_offset, before.last_offset);
            Err(FormatError::NotGrowing { at, field: "marker", value, before })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OF: Extent = Extent { base_offset: 100, end_offset: 200, bytes: 1000 };

    fn entry(first_offset: i64, last_offset: i64) -> TxnEntry {
        TxnEntry { producer_id: 7, first_offset, last_offset, last_stable_offset: last_offset + 1 }
    }

    #[test]
    fn a_transaction_may_begin_before_the_segment_that_holds_its_marker() {
        let index = vec![entry(42, 110), entry(150, 199)];
        assert_eq!(decode_txn_index(&encode_txn_index(&index), OF), Ok(index));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_byte() {
        let wrong = |index: &[TxnEntry]| decode_txn_index(&encode_txn_index(index), OF).unwrap_err();
        let outside = FormatError::OutOfRange { at: 0, field: "marker", value: 99, least: 100, most: 199 };
        assert_eq!(wrong(&[entry(42, 99)]), outside);
        let backwards = FormatError::OutOfRange { at: 34, field: "first offset", value: 151, least: 0, most: 150 };
        assert_eq!(wrong(&[entry(42, 110), entry(151, 150)]), backwards);
        let again = FormatError::NotGrowing { at: 34, field: "marker", value: 110, before: 110 };
        assert_eq!(wrong(&[entry(42, 110), entry(43, 110)]), again);
        let mut other = entry(42, 110).to_bytes();
        other[1] = 1;
        assert_eq!(decode_txn_index(&other, OF), Err(FormatError::Version { at: 0, found: 1, known: "0" }));
    }
}
