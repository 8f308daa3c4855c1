//! Which segments become one.

use std::ops::Range;

/// How large one segment is. Bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// Offset that its name tells.
    pub(crate) base_offset: i64,
    /// Of its `.log` file.
    pub(crate) bytes: u64,
    /// Of its `.index` file.
    pub(crate) index_bytes: u64,
    /// Of its `.timeindex` file.
    pub(crate) time_index_bytes: u64,
}

/// Cuts the segments of a clean into groups; each is cleaned into one new segment, which is then no larger than
/// `segment.bytes`, with indexes within `segment.index.bytes` and offsets that fit 31 bits above its base. `end` is where
/// the last of them ends.
pub(crate) fn groups(segments: &[Sizes], max_bytes: u64, max_index_bytes: u64, end: i64) -> Vec<Range<usize>> {
    let mut groups: Vec<Range<usize>> = Vec::new();
    for at in 0..segments.len() {
        let ends = segments.get(at + 1).map_or(end, |next| next.base_offset);
        let fits = |group: &Range<usize>| fit(&segments[group.start..=at], ends, max_bytes, max_index_bytes);
        match groups.last_mut().filter(|group| fits(group)) {
            Some(group) => group.end = at + 1,
            None => groups.push(at..at + 1),
        }
    }
    groups
}

fn fit(group: &[Sizes], ends: i64, max_bytes: u64, max_index_bytes: u64) -> bool {
    let sum = |size: fn(&Sizes) -> u64| group.iter().map(size).sum::<u64>();
    let last_is_empty = group.last().is_some_and(|last| last.bytes == 0);
    let near = last_is_empty || ends - 1 - group[0].base_offset <= i64::from(i32::MAX);
    let small = sum(|one| one.bytes) <= max_bytes;
    near && small && sum(|one| one.index_bytes) <= max_index_bytes && sum(|one| one.time_index_bytes) <= max_index_bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sized(all: &[(i64, u64)]) -> Vec<Sizes> {
        let one = |&(base_offset, bytes)| Sizes { base_offset, bytes, index_bytes: 8, time_index_bytes: 12 };
        all.iter().map(one).collect()
    }

    /// Where each group begins and ends.
    fn cut(segments: &[Sizes], max_bytes: u64, max_index_bytes: u64, end: i64) -> Vec<(usize, usize)> {
        groups(segments, max_bytes, max_index_bytes, end).into_iter().map(|group| (group.start, group.end)).collect()
    }

    #[test]
    fn small_neighbours_are_joined_up_to_the_size_of_a_segment() {
        let segments = sized(&[(0, 400), (10, 400), (20, 200), (30, 1), (40, 2_000), (50, 1)]);
        assert_eq!(cut(&segments, 1_000, 1 << 20, 60), [(0, 3), (3, 4), (4, 5), (5, 6)]);
    }

    #[test]
    fn the_indexes_of_a_group_must_fit_too() {
        let segments = sized(&[(0, 1), (10, 1), (20, 1)]);
        assert_eq!(cut(&segments, 1_000, 24, 30), [(0, 2), (2, 3)], "36 bytes of time index are too many");
        assert_eq!(cut(&segments, 1_000, 36, 30), [(0, 3)]);
    }

    #[test]
    fn the_offsets_of_a_group_fit_31_bits_above_its_base() {
        let far = i64::from(i32::MAX);
        let segments = sized(&[(0, 1), (100, 1)]);
        assert_eq!(cut(&segments, 1_000, 1 << 20, far + 1), [(0, 2)]);
        assert_eq!(cut(&segments, 1_000, 1 << 20, far + 2), [(0, 1), (1, 2)]);
        let empty = sized(&[(0, 1), (100, 0)]);
        assert_eq!(cut(&empty, 1_000, 1 << 20, far + 2), [(0, 2)], "an empty one adds no offset");
    }

    #[test]
    fn nothing_becomes_no_group() {
        assert_eq!(cut(&[], 1, 1, 0), []);
    }
}
