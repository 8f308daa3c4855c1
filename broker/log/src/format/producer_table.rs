//! Producer snapshots and transaction indexes, derived from the batches of a log.

use super::{ProducerEntry, TxnEntry};
use crate::producers::{Place, Producers, Stamp};
use klamm_base::Guards;
use klamm_wire::WireError;
use klamm_wire::records::{Batch, BatchHeader, Codec, ControlType, Record, records};

/// A marker that ends a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndMarker {
    /// Committed, or aborted.
    pub committed: bool,
    /// Epoch of the coordinator that wrote it.
    pub coordinator_epoch: i32,
}

impl EndMarker {
    /// The marker in a batch; `None` if the batch is data or another control batch.
    ///
    /// # Errors
    /// What is wrong with a control batch's record.
    pub fn of(batch: &Batch) -> Result<Option<EndMarker>, WireError> {
        if !batch.header.is_control() || !batch.header.has_producer() {
            return Ok(None);
        }
        // No broker packs one, and nobody is to unpack megabytes to learn what a few bytes say.
        if batch.header.codec()? != Codec::None {
            return Err(WireError::BadBatch("a marker that is compressed"));
        }
        // Compaction may leave a marker's batch without its record.
        records(batch).next().transpose()?.map_or(Ok(None), |record| EndMarker::of_record(&record))
    }

    /// The marker that the record of a control batch is; `None` if it is another control record.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of_record(record: &Record) -> Result<Option<EndMarker>, WireError> {
        let committed = match ControlType::of(record)? {
            Some(ControlType::Commit) => true,
            Some(ControlType::Abort) => false,
            _ => return Ok(None),
        };
        let value = record.value.as_ref().ok_or(WireError::UnexpectedNull)?;
        let epoch = value.get(2..6).and_then(|raw| raw.try_into().ok()).ok_or(WireError::Truncated)?;
        Ok(Some(EndMarker { committed, coordinator_epoch: i32::from_be_bytes(epoch) }))
    }
}

/// The producers of a log and their open transactions, as far as its batches tell: what a [`crate::Log`] keeps of them, for
/// who has only its files.
///
/// Fed with every batch from the log's start (or from a snapshot on), it holds at each offset what Kafka writes into the snapshot
/// of that offset: when a segment is rolled, and at a clean stop. It checks nothing: what stands in a log was accepted. When
/// Kafka forgot a producer that was silent for a day no log tells; [`ProducerTable::forget`] is for who knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerTable {
    producers: Producers,
}

impl Default for ProducerTable {
    fn default() -> Self {
        Self { producers: Producers::new(Guards::default()) }
    }
}

impl ProducerTable {
    /// As a snapshot has it.
    pub fn from_snapshot(producers: &[ProducerEntry]) -> Self {
        Self { producers: Producers::believed(Guards::default(), producers) }
    }

    /// The producers in ascending order of their ids.
    ///
    /// Kafka's order is that of a hash table: the same while ids are smaller than that table, which has sixteen places at least.
    pub fn snapshot(&self) -> Vec<ProducerEntry> {
        self.producers.entries().collect()
    }

    /// Forgets who has no open transaction and wrote nothing newer than `until_ms` [P8]. Kafka does so every ten minutes and when it
    /// loads a log, with its wall clock less `producer.id.expiration.ms`. Where producers set old timestamps, that is at once.
    pub fn forget(&mut self, until_ms: i64) {
        self.producers.forget_until(until_ms);
    }

    /// The first offset of the oldest open transaction.
    pub fn first_open(&self) -> Option<i64> {
        self.producers.transactions.first_open()
    }

    /// The next batch of the log, and the marker in it. Returns the entry that it brings to the segment's transaction index.
    ///
    /// Kafka computes the last stable offset after all batches of the same write were taken in. Only followers write several batches
    /// at once: where no transaction is open at the marker, theirs may be the first offset of one that begins behind it.
    pub fn push(&mut self, header: &BatchHeader, marker: Option<EndMarker>) -> Option<TxnEntry> {
        let stamp = Stamp::told(header, marker)?;
        self.producers.enter(stamp, Place::of(header))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use klamm_wire::records::{BatchBuilder, control_batch, end_txn_value};

    fn data(producer_id: i64, base_offset: i64) -> BatchHeader {
        let mut builder = BatchBuilder::new(1_000);
        let record = builder.at(base_offset, 0).push(1_000, None, Some(b"v"), &[]).build();
        let header = record.header;
        let attributes = header.attributes | 1 << 4;
        BatchHeader { producer_id, producer_epoch: 0, base_sequence: 0, attributes, ..header }
    }

    fn marker(producer_id: i64, offset: i64) -> BatchHeader {
        let batch = control_batch(offset, 0, 2_000, ControlType::Abort, &end_txn_value(5));
        BatchHeader { producer_id, producer_epoch: 0, ..batch.header }
    }

    const ABORT: Option<EndMarker> = Some(EndMarker { committed: false, coordinator_epoch: 5 });

    #[test]
    fn an_aborted_transaction_names_the_oldest_that_is_still_open() {
        let mut table = ProducerTable::default();
        table.push(&data(2, 0), None);
        table.push(&data(3, 1), None);
        let first = table.push(&marker(3, 2), ABORT);
        let entry = TxnEntry { producer_id: 3, first_offset: 1, last_offset: 2, last_stable_offset: 0 };
        assert_eq!(first, Some(entry));
        let second = table.push(&marker(2, 3), ABORT);
        let entry = TxnEntry { producer_id: 2, first_offset: 0, last_offset: 3, last_stable_offset: 4 };
        assert_eq!(second, Some(entry));
        assert_eq!(table.push(&marker(2, 4), ABORT), None, "nothing was open");
    }

    #[test]
    fn a_marker_keeps_the_last_batch_and_leaves_its_time_and_coordinator() {
        let mut table = ProducerTable::default();
        table.push(&data(2, 0), None);
        assert_eq!(table.first_open(), Some(0));
        table.push(&marker(2, 1), ABORT);
        let entry = table.snapshot()[0];
        assert_eq!((entry.last_offset, entry.timestamp, entry.coordinator_epoch), (0, 2_000, 5));
        assert_eq!(entry.txn_first_offset, None);
    }

    #[test]
    fn a_marker_is_not_unpacked() {
        let mut builder = BatchBuilder::new(1_000);
        builder.push(1_000, Some(&[0, 0, 0, 1]), Some(&end_txn_value(5)), &[]);
        builder.producer(2, 0, -1).transactional().control();
        let commit = EndMarker { committed: true, coordinator_epoch: 5 };
        assert_eq!(EndMarker::of(&builder.build()), Ok(Some(commit)));
        assert!(EndMarker::of(&builder.compressed(Codec::Zstd).build()).is_err());
    }

    #[test]
    fn a_marker_of_a_newer_epoch_forgets_the_last_batch() {
        let mut table = ProducerTable::default();
        table.push(&data(2, 0), None);
        let fencing = BatchHeader { producer_epoch: 1, ..marker(2, 1) };
        assert!(table.push(&fencing, ABORT).is_some(), "the older epoch's transaction ends with it");
        let entry = table.snapshot()[0];
        assert_eq!((entry.producer_epoch, entry.last_sequence, entry.last_offset), (1, -1, -1));
    }

    #[test]
    fn a_silent_producer_is_forgotten_unless_its_transaction_is_open() {
        let mut table = ProducerTable::default();
        table.push(&data(2, 0), None);
        table.push(&data(3, 1), None);
        table.push(&marker(3, 2), ABORT);
        table.forget(1_999);
        assert_eq!(table.snapshot().len(), 2);
        table.forget(2_000);
        assert_eq!(table.snapshot().iter().map(|entry| entry.producer_id).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn what_a_snapshot_holds_goes_on_from_there() {
        let mut table = ProducerTable::default();
        table.push(&data(2, 0), None);
        let again = ProducerTable::from_snapshot(&table.snapshot());
        assert_eq!(again, table);
    }
}
