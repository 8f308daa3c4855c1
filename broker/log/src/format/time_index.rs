//! `.timeindex`: from which offset on records may be newer than a timestamp [L9].

use super::{Extent, FormatError, entries, field};

/// Bytes of an entry.
pub const TIME_ENTRY_BYTES: usize = 12;

/// An entry: no record up to `offset` is newer than `timestamp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeEntry {
    /// Greatest timestamp of the segment so far, in milliseconds since 1970.
    pub timestamp: i64,
    /// Offset of the last record of the batch that brought it. Kept relative to the segment's base offset.
    pub offset: i64,
}

impl TimeEntry {
    /// The entry's bytes in the index of the segment at `base_offset`.
    pub fn to_bytes(&self, base_offset: i64) -> [u8; TIME_ENTRY_BYTES] {
        let relative =
            i32::try_from(self.offset - base_offset).expect("a segment is rolled before its offsets overflow");
        let mut out = [0; TIME_ENTRY_BYTES];
        out[..8].copy_from_slice(&self.timestamp.to_be_bytes());
        out[8..].copy_from_slice(&relative.to_be_bytes());
        out
    }
}

/// The file of the segment at `base_offset`.
pub fn encode_time_index(index: &[TimeEntry], base_offset: i64) -> Vec<u8> {
    index.iter().flat_map(|entry| entry.to_bytes(base_offset)).collect()
}

/// Reads the time index of the segment `of`.
///
/// # Errors
/// Part of an entry, timestamps or offsets that do not grow, and what points outside of the segment.
pub fn decode_time_index(bytes: &[u8], of: Extent) -> Result<Vec<TimeEntry>, FormatError> {
    let mut index: Vec<TimeEntry> = Vec::with_capacity(bytes.len() / TIME_ENTRY_BYTES);
    for (at, raw) in entries::<TIME_ENTRY_BYTES>(bytes)? {
        let entry = TimeEntry {
            timestamp: i64::from_be_bytes(field(raw, 0)),
            offset: of.base_offset.saturating_add(i64::from(i32::from_be_bytes(field(raw, 8)))),
        };
        check(entry, index.last(), at, of)?;
        index.push(entry);
    }
    Ok(index)
}

fn check(entry: TimeEntry, before: Option<&TimeEntry>, at: u64, of: Extent) -> Result<(), FormatError> {
    FormatError::check_range(at, "offset", entry.offset, (of.base_offset, of.end_offset - 1))?;
    FormatError::check_range(at, "timestamp", entry.timestamp, (0, i64::MAX))?;
    let Some(before) = before else { return Ok(()) };
    for (field, value, before) in
        [("timestamp", entry.timestamp, before.timestamp), ("offset", entry.offset, before.offset)]
    {
        if value <= before {
            return Err(FormatError::NotGrowing { at, field, value, before });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OF: Extent = Extent { base_offset: 100, end_offset: 200, bytes: 1000 };

    fn entry(timestamp: i64, offset: i64) -> TimeEntry {
        TimeEntry { timestamp, offset }
    }

    #[test]
    fn an_entry_is_a_timestamp_and_a_relative_offset() {
        let index = [entry(258, 110), entry(259, 199)];
        let bytes = encode_time_index(&index, 100);
        assert_eq!(bytes[..12], [0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 10]);
        assert_eq!(decode_time_index(&bytes, OF), Ok(index.to_vec()));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_byte() {
        let wrong = |index: &[TimeEntry]| decode_time_index(&encode_time_index(index, 100), OF).unwrap_err();
        let stands = FormatError::NotGrowing { at: 12, field: "timestamp", value: 5, before: 5 };
        assert_eq!(wrong(&[entry(5, 110), entry(5, 120)]), stands);
        let back = FormatError::NotGrowing { at: 12, field: "offset", value: 109, before: 110 };
        assert_eq!(wrong(&[entry(5, 110), entry(6, 109)]), back);
        let beyond = FormatError::OutOfRange { at: 0, field: "offset", value: 200, least: 100, most: 199 };
        assert_eq!(wrong(&[entry(5, 200)]), beyond);
        let torn = decode_time_index(&[0; 13], OF);
        assert_eq!(torn, Err(FormatError::PartEntry { at: 12, bytes: 1, entry: 12 }));
    }
}
