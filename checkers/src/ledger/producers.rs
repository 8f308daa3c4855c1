//! Producers as the batches of a log tell of them: what each log must remember.

use super::VersionId;
use super::partition::Partition;
use crate::nodes::NodeIndex;
use klamm_base::{ProducerFact, Sequences};
use std::collections::BTreeMap;

/// A producer's last batch, its epoch and last sequence.
type Tail = (VersionId, i16, i32);

impl Partition {
    /// What a batch that is being appended says of its producer, and that producer's batch before it.
    pub(super) fn stamp(&mut self, node: NodeIndex, id: VersionId, producer: Option<Sequences>) {
        let Some(told) = producer.filter(|_| self.version(id).producer.is_none()) else { return };
        let prior = self.log_mut(node).writers.get(&told.producer_id).copied();
        let version = self.version_mut(id);
        (version.producer, version.prior) = (Some(told), prior);
    }

    /// That producer's batch before a fresh one in a node's log, if it does not follow that one [P7].
    pub fn slipped(&self, node: NodeIndex, id: VersionId) -> Option<VersionId> {
        let version = self.version(id);
        let (producer, prior) = (version.producer?, version.prior?);
        let known = self.is_told(node, self.version(prior).last) && !self.is_deleted(node, prior);
        (known && !self.follows(prior, producer)).then_some(prior)
    }

    /// True if nothing that nobody told of stands in a node's log above this offset.
    fn is_told(&self, node: NodeIndex, offset: i64) -> bool {
        let Some(log) = self.log(node) else { return false };
        let opaque = |id: &VersionId| self.version(*id).opaque || self.is_unsure(node, *id);
        self.opaque.is_empty() && log.left.is_empty()
            || !log.path.iter().rev().take_while(|id| self.version(**id).last > offset).any(opaque)
    }

    /// What a log deleted from its front it may forget.
    fn is_deleted(&self, node: NodeIndex, id: VersionId) -> bool {
        self.log(node).is_none_or(|log| self.version(id).last < log.starts.now.max(log.starts.legal))
    }

    fn follows(&self, prior: VersionId, next: Sequences) -> bool {
        let Some(before) = self.version(prior).producer else { return true };
        match next.producer_epoch.cmp(&before.producer_epoch) {
            std::cmp::Ordering::Less => false,
            _ if next.first < 0 => true,
            std::cmp::Ordering::Greater => next.first == 0,
            std::cmp::Ordering::Equal => match self.last_sequence(prior, before.producer_epoch) {
                -1 => next.first == 0,
                last => next.first == last.checked_add(1).unwrap_or(0),
            },
        }
    }

    /// The sequence of the last record in this epoch up to that batch of its producer; -1 if there is none.
    fn last_sequence(&self, from: VersionId, epoch: i16) -> i32 {
        let mut cursor = Some(from);
        while let Some(version) = cursor.map(|id| self.version(id)) {
            match version.producer {
                Some(told) if told.producer_epoch == epoch && told.first >= 0 => return told.last,
                Some(told) if told.producer_epoch == epoch => cursor = version.prior,
                _ => return -1,
            }
        }
        -1
    }

    /// A loaded log told what it knows of producers; the first of which its batches tell something else.
    pub fn remembers_wrongly(&mut self, node: NodeIndex, told: &[ProducerFact]) -> Option<i64> {
        self.relearn(node);
        let log = self.log(node)?;
        if log.path.iter().any(|id| self.version(*id).opaque || self.is_unsure(node, *id)) {
            return None;
        }
        let (whole, known) = (log.start == 0, self.tails(node, |_| true));
        // Of what cleans took a snapshot may tell, if the log was cut behind it; or none does.
        let least = self.tails(node, |id| !self.is_gone(node, id));
        let stray = |fact: &&ProducerFact| match known.get(&fact.producer_id) {
            None => whole,
            Some((id, epoch, last)) => {
                let lowest = least.get(&fact.producer_id).map_or((i16::MIN, -1), |tail| (tail.1, tail.2));
                let may_be = lowest..=(*epoch, *last);
                !self.is_deleted(node, *id) && !may_be.contains(&(fact.producer_epoch, fact.last_sequence))
            }
        };
        let missing = |(id, tail): &(&i64, &Tail)| {
            !self.is_deleted(node, tail.0) && !told.iter().any(|fact| fact.producer_id == **id)
        };
        let wrong = told.iter().find(stray).map(|fact| fact.producer_id);
        wrong.or_else(|| least.iter().find(missing).map(|(id, _)| *id))
    }

    /// The last of these batches of each producer in a node's log, its epoch, and the last sequence in that; -1 if it has none.
    fn tails(&self, node: NodeIndex, of: impl Fn(VersionId) -> bool) -> BTreeMap<i64, Tail> {
        let mut tails: BTreeMap<i64, Tail> = BTreeMap::new();
        for id in self.log(node).map_or(&[][..], |log| &log.path).iter().filter(|id| of(**id)) {
            let Some(told) = self.version(*id).producer else { continue };
            let tail = tails.entry(told.producer_id).or_insert((*id, told.producer_epoch, -1));
            let last = if tail.1 == told.producer_epoch { tail.2 } else { -1 };
            *tail = (*id, told.producer_epoch, if told.first < 0 { last } else { told.last });
        }
        tails
    }

    /// Takes the writers of a node's log from its path.
    pub(super) fn relearn(&mut self, node: NodeIndex) {
        let writers = self.tails(node, |_| true).into_iter().map(|(id, tail)| (id, tail.0)).collect();
        self.log_mut(node).writers = writers;
    }
}
