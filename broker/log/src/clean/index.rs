//! The first pass of a clean: which offset is the last of each key.

use super::{OffsetMap, Verdicts};
use crate::format::TxnEntry;
use klamm_wire::WireError;
use klamm_wire::records::{Batch, raw_records};

/// Fills an [`OffsetMap`] from the batches of the dirty part.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    keys: OffsetMap,
    verdicts: Verdicts,
}

impl Index {
    /// A pass from `first_dirty` on; `aborted` are the transactions that it will meet.
    pub(crate) fn new(buffer_bytes: u64, first_dirty: i64, aborted: Vec<TxnEntry>) -> Self {
        Self { keys: OffsetMap::new(buffer_bytes, first_dirty), verdicts: Verdicts::new(aborted) }
    }

    /// Takes the next batch, in the order of offsets. False, and nothing is taken, if its keys do not fit: the map ends before
    /// it. Aborted records supersede nothing, and markers have no keys.
    ///
    /// # Errors
    /// What is wrong with the batch's bytes: such a log cannot be cleaned.
    pub(crate) fn take(&mut self, batch: &Batch) -> Result<bool, WireError> {
        let next = batch.header.next_offset();
        let unwanted = self.verdicts.take(batch)?;
        if unwanted || batch.header.is_control() {
            self.keys.skip_to(next);
            return Ok(true);
        }
        let plain = batch.unpacked()?;
        Ok(self.keys.take(&raw_records(&batch.header, &plain)?, next))
    }

    /// Hands over the map. All below `end` was taken: what follows the last batch is a gap.
    pub(crate) fn finish(&mut self, end: i64) -> OffsetMap {
        self.keys.skip_to(end);
        std::mem::take(&mut self.keys)
    }
}

/// The aborted transactions that the batches of a log tell of.
#[cfg(test)]
pub(super) fn aborted_in(batches: &[Batch]) -> Vec<TxnEntry> {
    use crate::format::{EndMarker, ProducerTable};
    let mut table = ProducerTable::default();
    let mut tell = |batch: &Batch| table.push(&batch.header, EndMarker::of(batch).expect("a sound marker"));
    batches.iter().filter_map(&mut tell).collect()
}

/// The map of a whole log.
#[cfg(test)]
pub(super) fn keys_of(batches: &[Batch], aborted: &[TxnEntry], first_dirty: i64) -> OffsetMap {
    let mut index = Index::new(1 << 20, first_dirty, aborted.to_vec());
    for batch in batches {
        assert!(index.take(batch).expect("sound bytes"), "a buffer that is large enough");
    }
    index.finish(first_dirty)
}
