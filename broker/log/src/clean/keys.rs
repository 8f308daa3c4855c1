//! The last offset of each key in the dirty part of a log.

use klamm_wire::records::RawRecord;
use md5::{Digest, Md5};
use std::collections::{BTreeMap, BTreeSet};

/// A key's hash and an offset, in bytes.
const ENTRY_BYTES: u64 = 24;

/// The offset map of one clean [L24]. Keys are remembered by their MD5, as in Kafka: two that share it by chance are not to
/// be expected among any number of keys that a disk can hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct OffsetMap {
    /// Keys that fit.
    capacity: usize,
    last: BTreeMap<u128, i64>,
    /// Records at and above this offset were not looked at.
    end: i64,
}

impl OffsetMap {
    /// An empty map for records from `start` on. `buffer_bytes` is `log.cleaner.dedupe.buffer.size`; like Kafka we fill nine
    /// tenths of it, at 24 bytes a key. (What our tree takes is that and half as much again.)
    pub(crate) fn new(buffer_bytes: u64, start: i64) -> Self {
        let capacity = buffer_bytes / ENTRY_BYTES * 9 / 10;
        Self { capacity: usize::try_from(capacity).unwrap_or(usize::MAX), last: BTreeMap::new(), end: start }
    }

    /// One past the last record that was looked at.
    pub(crate) fn end(&self) -> i64 {
        self.end
    }

    /// Takes the keys of a whole batch that ends before `next_offset`; records below the map's start count as clean. False,
    /// and nothing is taken, if they do not all fit: the clean ends before that batch. The first keys of all are taken even
    /// if there are too many of them, or a log with such a batch would never be cleaned.
    #[must_use]
    pub(crate) fn take(&mut self, records: &[RawRecord<'_>], next_offset: i64) -> bool {
        let dirty = records.iter().filter(|record| record.offset >= self.end);
        let keys: Vec<(u128, i64)> = dirty.filter_map(|record| Some((hash(record.key?), record.offset))).collect();
        let fresh: BTreeSet<u128> =
            keys.iter().map(|(key, _)| *key).filter(|key| !self.last.contains_key(key)).collect();
        if !self.last.is_empty() && self.last.len() + fresh.len() > self.capacity {
            return false;
        }
        self.last.extend(keys);
        self.skip_to(next_offset);
        true
    }

    /// Nothing below `offset` has a key that counts: control batches, aborted records, gaps.
    pub(crate) fn skip_to(&mut self, offset: i64) {
        self.end = self.end.max(offset);
    }

    /// The offset of the last dirty record with this key.
    pub(crate) fn last(&self, key: &[u8]) -> Option<i64> {
        self.last.get(&hash(key)).copied()
    }
}

fn hash(key: &[u8]) -> u128 {
    u128::from_be_bytes(Md5::digest(key).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use klamm_wire::records::{Batch, BatchBuilder, raw_records};

    fn batch(base_offset: i64, keys: &[&str]) -> Batch {
        let mut builder = BatchBuilder::new(0);
        keys.iter().for_each(|key| _ = builder.push(0, Some(key.as_bytes()), Some(b"v"), &[]));
        builder.at(base_offset, 0).build()
    }

    fn take(map: &mut OffsetMap, base_offset: i64, keys: &[&str]) -> bool {
        let batch = batch(base_offset, keys);
        let plain: Bytes = batch.unpacked().unwrap();
        map.take(&raw_records(&batch.header, &plain).unwrap(), batch.header.next_offset())
    }

    /// A buffer for so many keys.
    fn for_keys(keys: u64) -> u64 {
        (keys * 10).div_ceil(9) * ENTRY_BYTES
    }

    #[test]
    fn the_last_offset_of_a_key_counts() {
        let mut map = OffsetMap::new(for_keys(10), 0);
        assert!(take(&mut map, 0, &["a", "b", "a"]));
        assert!(take(&mut map, 7, &["b"]));
        assert_eq!((map.last(b"a"), map.last(b"b"), map.last(b"c")), (Some(2), Some(7), None));
        assert_eq!(map.end(), 8);
    }

    #[test]
    fn records_below_its_start_are_clean() {
        let mut map = OffsetMap::new(for_keys(10), 2);
        assert!(take(&mut map, 0, &["a", "b", "c"]));
        assert_eq!((map.last(b"a"), map.last(b"b"), map.last(b"c")), (None, None, Some(2)));
    }

    #[test]
    fn a_full_map_ends_at_the_last_whole_batch() {
        let mut map = OffsetMap::new(for_keys(3), 0);
        assert!(take(&mut map, 0, &["a", "b"]));
        assert!(!take(&mut map, 2, &["c", "d"]), "one would fit, two do not");
        assert_eq!((map.end(), map.last(b"c")), (2, None));
        assert!(take(&mut map, 4, &["c", "c", "a"]), "one new key fits, however often it comes");
    }

    #[test]
    fn the_first_keys_are_taken_though_they_are_too_many() {
        let mut map = OffsetMap::new(for_keys(1), 0);
        assert!(take(&mut map, 0, &["a", "b"]));
        assert!(!take(&mut map, 2, &["c"]));
        assert_eq!(map.end(), 2);
    }

    #[test]
    fn the_default_buffer_holds_as_many_keys_as_kafkas() {
        assert_eq!(OffsetMap::new(128 << 20, 0).capacity, 5_033_164);
    }
}
