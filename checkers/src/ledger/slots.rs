//! What is known of each offset of a partition: which record readers saw there, and which was acknowledged.

use super::{VersionId, Word};
use std::collections::BTreeMap;

/// One offset.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    /// The record that the first reader saw, and the entry of that reading.
    pub read: Word,
    pub read_at: u32,
    /// The record that the final reading saw, and its entry.
    pub last: Word,
    pub last_at: u32,
    /// The record that a producer was told stands here, and the entry.
    pub acked: Word,
    /// Batches that brokers acknowledged here and of which no producer was told yet: the latest, and one before. Two only
    /// when two leaders answer at the same time.
    untold: [Option<VersionId>; 2],
    /// The batch of which a producer was told last, and the same if another was untold then.
    told: Option<VersionId>,
    paired: Option<VersionId>,
}

impl Slot {
    /// A broker acknowledged this batch.
    pub fn answered(&mut self, version: VersionId) {
        if self.told != Some(version) && !self.untold.contains(&Some(version)) {
            self.untold = [Some(version), self.untold[0]];
        }
    }

    /// A producer is told of a record here: the batch that it is in, and another one that it may be in.
    pub fn tell(&mut self) -> (Option<VersionId>, Option<VersionId>) {
        let [latest, earlier] = self.untold;
        self.untold = [earlier, None];
        let rival = earlier.or(self.paired);
        self.paired = if earlier.is_some() { latest } else { None };
        self.told = latest.or(self.told);
        (latest, rival)
    }
}

const EMPTY: Slot = Slot {
    read: Word::UNSEEN,
    read_at: 0,
    last: Word::UNSEEN,
    last_at: 0,
    acked: Word::UNSEEN,
    untold: [None; 2],
    told: None,
    paired: None,
};
const PAGE: i64 = 256;

/// Slots by offset, in pages: offsets are dense, but a hostile history may name any.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    pages: BTreeMap<i64, Box<[Slot]>>,
}

impl Slots {
    pub fn get(&self, offset: i64) -> Slot {
        let page = self.pages.get(&offset.div_euclid(PAGE));
        page.map_or(EMPTY, |page| page[offset.rem_euclid(PAGE) as usize])
    }

    pub fn at(&mut self, offset: i64) -> &mut Slot {
        let fresh = || vec![EMPTY; PAGE as usize].into_boxed_slice();
        let page = self.pages.entry(offset.div_euclid(PAGE)).or_insert_with(fresh);
        &mut page[offset.rem_euclid(PAGE) as usize]
    }

    /// Every offset of which anything may be known, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (i64, Slot)> {
        self.pages.iter().flat_map(|(page, slots)| {
            let base = page.saturating_mul(PAGE);
            slots.iter().enumerate().map(move |(at, slot)| (base.saturating_add(at as i64), *slot))
        })
    }
}
