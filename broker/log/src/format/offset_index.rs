//! `.index`: where in the segment an offset stands [L9].

use super::{Extent, FormatError, entries, field};

/// Bytes of an entry.
pub const OFFSET_ENTRY_BYTES: usize = 8;

/// An entry: the batch at `position` ends with `offset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetEntry {
    /// Offset of the last record of the batch (of the append, before Kafka 4.1) that begins at `position`. Kept relative to the
    /// segment's base offset.
    pub offset: i64,
    /// Where the batch begins in the `.log`, in bytes.
    pub position: u32,
}

impl OffsetEntry {
    /// The entry's bytes in the index of the segment at `base_offset`.
    pub fn to_bytes(&self, base_offset: i64) -> [u8; OFFSET_ENTRY_BYTES] {
        let relative =
            i32::try_from(self.offset - base_offset).expect("a segment is rolled before its offsets overflow");
        let mut out = [0; OFFSET_ENTRY_BYTES];
        out[..4].copy_from_slice(&relative.to_be_bytes());
        out[4..].copy_from_slice(&self.position.to_be_bytes());
        out
    }
}

/// The file of the segment at `base_offset`.
pub fn encode_offset_index(index: &[OffsetEntry], base_offset: i64) -> Vec<u8> {
    index.iter().flat_map(|entry| entry.to_bytes(base_offset)).collect()
}

/// Reads the index of the segment `of`.
///
/// # Errors
/// Part of an entry, offsets or positions that do not grow, and what points outside of the segment.
pub fn decode_offset_index(bytes: &[u8], of: Extent) -> Result<Vec<OffsetEntry>, FormatError> {
    let mut index: Vec<OffsetEntry> = Vec::with_capacity(bytes.len() / OFFSET_ENTRY_BYTES);
    for (at, raw) in entries::<OFFSET_ENTRY_BYTES>(bytes)? {
        let entry = OffsetEntry {
            offset: of.base_offset.saturating_add(i64::from(i32::from_be_bytes(field(raw, 0)))),
            position: u32::from_be_bytes(field(raw, 4)),
        };
        check(entry, index.last(), at, of)?;
        index.push(entry);
    }
    Ok(index)
}

fn check(entry: OffsetEntry, before: Option<&OffsetEntry>, at: u64, of: Extent) -> Result<(), FormatError> {
    FormatError::check_range(at, "offset", entry.offset, (of.base_offset, of.end_offset - 1))?;
    FormatError::check_range(at, "position", i64::from(entry.position), (0, of.bytes as i64 - 1))?;
    let Some(before) = before else { return Ok(()) };
    if entry.offset <= before.offset {
        return Err(FormatError::NotGrowing { at, field: "offset", value: entry.offset, before: before.offset });
    }
    if entry.position <= before.position {
        let (value, before) = (i64::from(entry.position), i64::from(before.position));
        return Err(FormatError::NotGrowing { at, field: "position", value, before });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OF: Extent = Extent { base_offset: 100, end_offset: 200, bytes: 1000 };

    fn entry(offset: i64, position: u32) -> OffsetEntry {
        OffsetEntry { offset, position }
    }

    #[test]
    fn an_entry_is_a_relative_offset_and_a_position() {
        let index = [entry(110, 300), entry(199, 999)];
        let bytes = encode_offset_index(&index, 100);
        assert_eq!(bytes, [0, 0, 0, 10, 0, 0, 1, 44, 0, 0, 0, 99, 0, 0, 3, 231]);
        assert_eq!(decode_offset_index(&bytes, OF), Ok(index.to_vec()));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_byte() {
        let wrong = |index: &[OffsetEntry]| decode_offset_index(&encode_offset_index(index, 100), OF).unwrap_err();
        let stands = FormatError::NotGrowing { at: 8, field: "offset", value: 110, before: 110 };
        assert_eq!(wrong(&[entry(110, 300), entry(110, 400)]), stands);
        let back = FormatError::NotGrowing { at: 8, field: "position", value: 200, before: 300 };
        assert_eq!(wrong(&[entry(110, 300), entry(120, 200)]), back);
        let beyond = FormatError::OutOfRange { at: 0, field: "offset", value: 200, least: 100, most: 199 };
        assert_eq!(wrong(&[entry(200, 300)]), beyond);
        let behind = FormatError::OutOfRange { at: 0, field: "position", value: 1000, least: 0, most: 999 };
        assert_eq!(wrong(&[entry(110, 1000)]), behind);
        let torn = decode_offset_index(&[0, 0, 0, 10, 0, 0, 1, 44, 0], OF);
        assert_eq!(torn, Err(FormatError::PartEntry { at: 8, bytes: 1, entry: 8 }));
    }
}
