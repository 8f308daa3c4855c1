//! A Produce request's batches on their way to a log: as they came, then checked under their topic's rules. That is done
//! outside of the node's lock, because it may mean to unpack and pack them.

use crate::node::Node;
use crate::request::{Body, Request};
use bytes::Bytes;
use klamm_base::{ErrorCode, Uuid};
use klamm_wire::Str;
use klamm_wire::messages::ProduceRequest;
use klamm_wire::messages::produce_request::TopicProduceData;
use klamm_wire::records::{Batch, Refused, Rules, sole_batch, validate};

/// First version that knows zstd (KIP-110).
const ZSTD_FROM: i16 = 7;

/// A Produce request.
#[derive(Debug)]
pub(crate) struct Produce {
    pub(super) acks: i16,
    pub(super) timeout_ms: i32,
    transactional: bool,
    pub(super) topics: Vec<ProduceTopic>,
}

#[derive(Debug)]
pub(super) struct ProduceTopic {
    pub(super) name: Str,
    pub(super) id: Uuid,
    pub(super) partitions: Vec<(i32, Sent)>,
}

/// One partition's part.
#[derive(Debug)]
pub(super) enum Sent {
    /// One batch, whole and not looked at.
    Raw(Bytes),
    /// Looked at under these rules.
    Checked(Rules, Result<Batch, Refused>),
    /// Refused under any rules.
    Refused(ErrorCode),
}

/// Rules for each partition of one request, in its order; none where this broker has no such partition.
#[derive(Debug)]
pub struct RequestRules(Vec<Option<Rules>>);

impl Produce {
    /// Cuts out the batches: one a partition.
    pub(crate) fn new(request: ProduceRequest, version: i16) -> Produce {
        let zstd = version >= ZSTD_FROM;
        let topic = |topic: TopicProduceData| {
            let sent = |records: Option<Bytes>| match sole_batch(&records.unwrap_or_default(), zstd) {
                Ok(batch) => Sent::Raw(batch),
                Err(error) => Sent::Refused(error),
            };
            let partitions = topic.partition_data.into_iter().map(|data| (data.index, sent(data.records))).collect();
            ProduceTopic { name: topic.name.detached(), id: topic.topic_id, partitions }
        };
        Produce {
            acks: request.acks,
            timeout_ms: request.timeout_ms,
            transactional: request.transactional_id.is_some(),
            topics: request.topic_data.into_iter().map(topic).collect(),
        }
    }

    /// Refuses all of it.
    pub(super) fn refuse(&mut self, error: ErrorCode) {
        self.parts().for_each(|sent| *sent = Sent::Refused(error));
    }

    fn parts(&mut self) -> impl Iterator<Item = &mut Sent> {
        self.topics.iter_mut().flat_map(|topic| &mut topic.partitions).map(|(_, sent)| sent)
    }

    /// What becomes of each partition's batch, under the rules that hold now.
    pub(super) fn check_part(sent: Sent, transactional: bool, rules: &Rules, now_ms: i64) -> Result<Batch, Refused> {
        let checked = match sent {
            Sent::Refused(error) => Err(error.into()),
            Sent::Raw(bytes) => validate(&bytes, rules, now_ms),
            // The topic was created or changed since.
            Sent::Checked(before, Ok(batch)) if before != *rules => validate(&batch.bytes, rules, now_ms),
            Sent::Checked(_, checked) => checked,
        };
        match checked {
            Ok(batch) if transactional || batch.header.is_transactional() => Err(ErrorCode::InvalidTxnState.into()),
            checked => checked,
        }
    }

    pub(super) fn is_transactional(&self) -> bool {
        self.transactional
    }
}

impl Request {
    /// Checks the batches of a Produce under rules from [`Node::record_rules`]; `now_ms` is the wall clock. Runs outside of
    /// the node's lock. A batch that was not checked is checked in the step that appends it.
    pub fn check_records(&mut self, rules: RequestRules, now_ms: i64) {
        let Body::Produce(produce) = &mut *self.body else { return };
        for (sent, rules) in produce.parts().zip(rules.0) {
            if let (Sent::Raw(bytes), Some(rules)) = (&mut *sent, rules) {
                // Whoever stamps the batch does so in place if nothing else holds on to its bytes.
                let bytes = std::mem::take(bytes);
                *sent = Sent::Checked(rules, validate(&bytes, &rules, now_ms));
            }
        }
    }
}

impl Node {
    /// The rules for a Produce request's batches; `None` for any other request.
    pub fn record_rules(&self, request: &Request) -> Option<RequestRules> {
        let Body::Produce(produce) = &*request.body else { return None };
        let rules = |topic: &ProduceTopic, index| {
            let slot = self.replica_of(&topic.name, topic.id, index).ok()?;
            Some(self.partitions.slot(slot).rules)
        };
        let all = produce.topics.iter().flat_map(|topic| {
            let rules = &rules;
            topic.partitions.iter().map(move |(index, _)| rules(topic, *index))
        });
        Some(RequestRules(all.collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use klamm_wire::records::{BatchBuilder, Codec};

    #[test]
    fn a_batch_that_was_checked_under_other_rules_is_checked_again() {
        let batch = BatchBuilder::new(7).push(7, None, None, &[]).build();
        let before = Rules::default();
        let checked = || Sent::Checked(before, Ok(batch.clone()));
        let under = |rules: &Rules| Produce::check_part(checked(), false, rules, 7).map_err(|refused| refused.error);
        assert_eq!(under(&before), Ok(batch.clone()));
        assert_eq!(under(&Rules { compacted: true, ..before }), Err(ErrorCode::InvalidRecord));
        let packed = under(&Rules { compression: Some(Codec::Gzip.into()), ..before }).unwrap();
        assert_eq!(packed.header.codec(), Ok(Codec::Gzip));
    }
}
