//! The records of one partition on their way: batches in order, their sequences, and which attempt may have landed.

use bytes::Bytes;
use klamm_base::ErrorCode;
use klamm_wire::Str;
use klamm_wire::records::{Batch, BatchBuilder, Codec};
use std::collections::VecDeque;

/// Per record: its fields, and the handle under which the application waits.
#[derive(Debug)]
pub struct Pending {
    /// Names the record towards the application.
    pub handle: u64,
    /// CreateTime, milliseconds.
    pub timestamp_ms: i64,
    /// Key.
    pub key: Option<Bytes>,
    /// Value.
    pub value: Option<Bytes>,
    /// Headers in their order; a key may repeat.
    pub headers: Vec<(Str, Bytes)>,
}

impl Pending {
    fn size(&self) -> usize {
        let bytes = |field: &Option<Bytes>| field.as_ref().map_or(0, Bytes::len);
        let headers: usize = self.headers.iter().map(|(key, value)| key.as_str().len() + value.len() + 4).sum();
        bytes(&self.key) + bytes(&self.value) + headers + 16
    }
}

/// A batch from its first record to its end.
#[derive(Debug)]
pub struct QueuedBatch {
    /// Its records; never empty.
    pub records: Vec<Pending>,
    /// When its first record came, monotonic: the delivery clock starts here (P5).
    pub created_ns: u64,
    /// Not sent again before this instant.
    pub not_before_ns: u64,
    /// Attempts that were sent.
    pub attempts: u32,
    /// Its first sequence once it was drained; kept across retries (P6).
    pub base_sequence: Option<i32>,
    /// Some attempt may have been appended: the outcome is unknown unless it is acknowledged.
    pub maybe_appended: bool,
    /// The last error, for the application.
    pub error: ErrorCode,
    /// The application was told already (delivery time-out while in flight).
    pub settled: bool,
    bytes: usize,
    built: Option<Batch>,
}

impl QueuedBatch {
    fn new(now_ns: u64) -> Self {
        Self {
            records: Vec::new(),
            created_ns: now_ns,
            not_before_ns: 0,
            attempts: 0,
            base_sequence: None,
            maybe_appended: false,
            error: ErrorCode::RequestTimedOut,
            settled: false,
            bytes: 61,
            built: None,
        }
    }

    /// Sequence of the last record; the batch must have one.
    pub fn last_sequence(&self) -> i32 {
        let base = self.base_sequence.expect("a sequenced batch");
        sequence_add(base, self.records.len() as i32 - 1)
    }

    /// The encoded batch under these ids; the same bytes for every attempt with the same ids.
    pub fn bytes(&mut self, producer_id: i64, producer_epoch: i16, codec: Codec) -> Bytes {
        let sequence = self.base_sequence.unwrap_or(-1);
        if let Some(built) = &self.built {
            let header = &built.header;
            if (header.producer_id, header.producer_epoch, header.base_sequence)
                == (producer_id, producer_epoch, sequence)
            {
                return built.bytes.clone();
            }
        }
        let mut builder = BatchBuilder::new(self.records[0].timestamp_ms);
        builder.reserve(self.bytes);
        for record in &self.records {
            let headers: Vec<_> = record.headers.iter().map(|(key, value)| (key.as_str(), Some(&value[..]))).collect();
            builder.push(record.timestamp_ms, record.key.as_deref(), record.value.as_deref(), &headers);
        }
        let built = builder.producer(producer_id, producer_epoch, sequence).compressed(codec).build();
        self.built.insert(built).bytes.clone()
    }
}

/// Adds to a sequence; it wraps from `i32::MAX` to 0 (L5).
pub fn sequence_add(sequence: i32, add: i32) -> i32 {
    (i64::from(sequence) + i64::from(add)).rem_euclid(i64::from(i32::MAX) + 1) as i32
}

/// One partition's batches. `queue` holds those that wait, oldest first; a batch that is sent again stands at the front, in
/// sequence order.
#[derive(Debug)]
pub struct PartitionBatches {
    queue: VecDeque<QueuedBatch>,
    /// Sequenced batches that are in flight: (base sequence or a running number, last).
    in_flight: Vec<Option<i32>>,
    /// Producer id and epoch that this partition's sequences count in.
    pub ids: Option<(i64, i16)>,
    next_sequence: i32,
    last_acked: i32,
    /// A sequenced batch ended without an answer: nothing new is sent until that is resolved (P5).
    pub unresolved: bool,
    /// Sequences must begin anew under a higher epoch as soon as nothing is in flight (P10).
    pub bump: bool,
}

/// Why a partition sends nothing at the moment, or what it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Nothing waits, or it must wait for an answer.
    No,
    /// A batch could go at this instant, not before.
    At(u64),
}

/// The limits that decide when a batch goes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// `batch.size`.
    pub batch_bytes: usize,
    /// `linger.ms` in nanoseconds.
    pub linger_ns: u64,
    /// `max.in.flight.requests.per.connection`; for one partition too, whatever leaders it had.
    pub in_flight_max: usize,
    /// Sequences are assigned.
    pub idempotent: bool,
}

/// Empty, without ids.
impl Default for PartitionBatches {
    fn default() -> Self {
        Self {
            queue: VecDeque::new(),
            in_flight: Vec::new(),
            ids: None,
            next_sequence: 0,
            last_acked: -1,
            unresolved: false,
            bump: false,
        }
    }
}

impl PartitionBatches {
    /// Adds a record to the last batch, or opens a new one.
    pub fn push(&mut self, record: Pending, now_ns: u64, batch_bytes: usize) {
        let size = record.size();
        let fits = |batch: &QueuedBatch| {
            batch.attempts == 0 && batch.base_sequence.is_none() && batch.bytes + size <= batch_bytes
        };
        if !self.queue.back().is_some_and(fits) {
            self.queue.push_back(QueuedBatch::new(now_ns));
        }
        let batch = self.queue.back_mut().expect("just made");
        batch.bytes += size;
        batch.records.push(record);
    }

    /// True when nothing waits and nothing is in flight.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.in_flight.is_empty()
    }

    /// When the front batch may go (P3, P4).
    pub fn readiness(&self, limits: &Limits, flushing: bool) -> Readiness {
        let Some(front) = self.queue.front() else { return Readiness::No };
        if self.bump
            || self.in_flight.len() >= self.in_flight_max(limits)
            || (self.unresolved && front.base_sequence.is_none())
        {
            return Readiness::No;
        }
        if let Some(sequence) = front.base_sequence {
            // A batch that goes again must be the oldest one without an answer, or the broker would refuse its order.
            let older = |other: &Option<i32>| other.is_some_and(|other| sequence_before(other, sequence));
            if self.in_flight.iter().any(older) {
                return Readiness::No;
            }
        }
        let full = self.queue.len() > 1 || front.bytes >= limits.batch_bytes || flushing || front.attempts > 0;
        let due_ns = if full { 0 } else { front.created_ns + limits.linger_ns };
        Readiness::At(due_ns.max(front.not_before_ns))
    }

    /// Until a batch is acknowledged under these ids only one is on its way: a broker that knows nothing of a producer takes any
    /// sequence from it, so the second batch would be taken where the first was refused for the moment, and never after it.
    /// Kafka's own client does without this and can reorder there; `scenarios/bugs/first-batch-overtaken.toml`.
    fn in_flight_max(&self, limits: &Limits) -> usize {
        if limits.idempotent && self.last_acked < 0 { 1 } else { limits.in_flight_max }
    }

    /// Takes the front batch to send it, giving it its sequence.
    pub fn drain(&mut self, limits: &Limits) -> QueuedBatch {
        let mut batch = self.queue.pop_front().expect("a ready batch");
        if limits.idempotent && batch.base_sequence.is_none() {
            batch.base_sequence = Some(self.next_sequence);
            self.next_sequence = sequence_add(self.next_sequence, batch.records.len() as i32);
        }
        batch.attempts += 1;
        self.in_flight.push(batch.base_sequence);
        batch
    }

    /// An answer for a batch came: it is not in flight any more.
    pub fn landed(&mut self, batch: &QueuedBatch) {
        let at = self.in_flight.iter().position(|sequence| *sequence == batch.base_sequence);
        self.in_flight.swap_remove(at.expect("a batch that was in flight"));
    }

    /// The batch is acknowledged.
    pub fn acked(&mut self, batch: &QueuedBatch) {
        if batch.base_sequence.is_some() {
            self.last_acked = batch.last_sequence();
        }
    }

    /// True if the batch follows directly on what was acknowledged last.
    pub fn is_next_in_line(&self, batch: &QueuedBatch) -> bool {
        batch.base_sequence == Some(sequence_add(self.last_acked, 1))
    }

    /// Puts a batch back to the front, before those of higher sequence.
    pub fn requeue(&mut self, batch: QueuedBatch) {
        let behind = |other: &QueuedBatch| match (batch.base_sequence, other.base_sequence) {
            (Some(mine), Some(other)) => sequence_before(other, mine),
            _ => false,
        };
        let at = self.queue.iter().take_while(|other| behind(other)).count();
        self.queue.insert(at, batch);
    }

    /// Takes out the waiting batches whose delivery time is over.
    pub fn expire(&mut self, created_before_ns: u64) -> Vec<QueuedBatch> {
        let expired = self.queue.iter().take_while(|batch| batch.created_ns <= created_before_ns).count();
        self.queue.drain(..expired).collect()
    }

    /// Creation of the oldest waiting batch.
    pub fn oldest_ns(&self) -> Option<u64> {
        self.queue.front().map(|batch| batch.created_ns)
    }

    /// Decides what became of an unresolved sequence once nothing sequenced is on its way: true if the epoch must be bumped.
    pub fn resolve(&mut self) -> bool {
        let outstanding = !self.in_flight.is_empty() || self.queue.iter().any(|batch| batch.base_sequence.is_some());
        if !self.unresolved || outstanding {
            return false;
        }
        self.unresolved = false;
        self.next_sequence != sequence_add(self.last_acked, 1)
    }

    /// Begins anew at sequence 0 under these ids, if nothing is in flight and no batch insists on its sequence (P10).
    pub fn adopt(&mut self, ids: (i64, i16)) {
        let sequenced = self.queue.iter().any(|batch| batch.base_sequence.is_some());
        if !self.in_flight.is_empty() || self.ids == Some(ids) || (sequenced && !self.bump) {
            return;
        }
        self.ids = Some(ids);
        self.next_sequence = 0;
        self.last_acked = -1;
        self.bump = false;
        self.unresolved = false;
        for batch in &mut self.queue {
            batch.base_sequence = None;
        }
    }
}

/// True if `a` comes before `b` on the circle of sequences: less than half of it behind.
fn sequence_before(a: i32, b: i32) -> bool {
    let ahead = (i64::from(b) - i64::from(a)).rem_euclid(i64::from(i32::MAX) + 1);
    ahead != 0 && ahead < i64::from(i32::MAX) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { batch_bytes: 100, linger_ns: 5, in_flight_max: 5, idempotent: true };

    fn record(handle: u64) -> Pending {
        Pending { handle, timestamp_ms: 1, key: None, value: Some(Bytes::from_static(&[0; 20])), headers: Vec::new() }
    }

    /// Three batches behind one that is acknowledged.
    fn three_batches() -> PartitionBatches {
        let mut batches = PartitionBatches { next_sequence: 1, last_acked: 0, ..PartitionBatches::default() };
        (0..3).for_each(|handle| batches.push(record(handle), 10, 100));
        batches
    }

    #[test]
    fn sequences_wrap_to_zero() {
        assert_eq!(sequence_add(i32::MAX, 1), 0);
        assert!(sequence_before(i32::MAX, 0) && !sequence_before(0, i32::MAX));
    }

    #[test]
    fn a_batch_lingers_until_it_is_full() {
        let mut batches = PartitionBatches::default();
        batches.push(record(0), 10, 1000);
        assert_eq!(batches.readiness(&LIMITS, false), Readiness::At(15));
        assert_eq!(batches.readiness(&LIMITS, true), Readiness::At(0));
        batches.push(record(1), 11, 90);
        assert_eq!(batches.readiness(&LIMITS, false), Readiness::At(0));
    }

    #[test]
    fn retried_batches_keep_their_sequences_and_their_order() {
        let mut batches = three_batches();
        let sent: Vec<_> = (0..3).map(|_| batches.drain(&LIMITS)).collect();
        assert_eq!(sent.iter().map(|b| b.base_sequence).collect::<Vec<_>>(), [Some(1), Some(2), Some(3)]);
        for batch in sent.into_iter().rev() {
            batches.landed(&batch);
            batches.requeue(batch);
        }
        let again = batches.drain(&LIMITS);
        assert_eq!(again.base_sequence, Some(1));
        let second = batches.drain(&LIMITS);
        batches.landed(&second);
        batches.requeue(second);
        assert_eq!(batches.readiness(&LIMITS, false), Readiness::No, "sequence 0 has no answer yet");
    }

    #[test]
    fn the_first_batch_under_new_ids_goes_alone() {
        let mut batches = PartitionBatches::default();
        (0..3).for_each(|handle| batches.push(record(handle), 10, 100));
        let first = batches.drain(&LIMITS);
        assert_eq!(batches.readiness(&LIMITS, false), Readiness::No);
        batches.landed(&first);
        batches.acked(&first);
        assert_eq!(batches.readiness(&LIMITS, false), Readiness::At(0));
        batches.drain(&LIMITS);
        assert_eq!(
            batches.readiness(&LIMITS, false),
            Readiness::At(15),
            "the third lingers, and may go beside the second"
        );
    }

    #[test]
    fn an_expired_sequence_is_resolved_by_a_later_acknowledgement_or_bumps() {
        let mut batches = three_batches();
        let first = batches.drain(&LIMITS);
        let second = batches.drain(&LIMITS);
        batches.landed(&first);
        batches.unresolved = true;
        assert!(!batches.resolve(), "the second is still on its way");
        batches.landed(&second);
        batches.acked(&second);
        assert!(!batches.resolve(), "the broker took 1 after 0, so it had 0");

        let third = batches.drain(&LIMITS);
        batches.landed(&third);
        batches.unresolved = true;
        assert!(batches.resolve());
    }

    #[test]
    fn a_new_epoch_begins_at_zero_once_nothing_is_in_flight() {
        let mut batches = three_batches();
        let first = batches.drain(&LIMITS);
        batches.bump = true;
        batches.adopt((7, 1));
        assert_eq!(batches.ids, None);
        batches.landed(&first);
        batches.requeue(first);
        batches.adopt((7, 1));
        assert_eq!((batches.ids, batches.drain(&LIMITS).base_sequence), (Some((7, 1)), Some(0)));
    }
}
