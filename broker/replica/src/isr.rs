//! A leader's view of its in-sync replicas, with at most one change on its way to the controller (KIP-497).

use klamm_base::NodeId;

/// Where a proposed change stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// Asked for; the answer is open.
    Asked,
    /// To be asked for again at this monotonic instant, in nanoseconds.
    RetryAt(u64),
    /// The controller knows something newer: metadata will tell it [R23].
    AwaitsMetadata,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) proposed: Vec<NodeId>,
    pub(crate) status: Status,
}

/// Committed members, and the change in flight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Isr {
    committed: Vec<NodeId>,
    change: Option<Change>,
}

impl Isr {
    pub(crate) fn new(committed: &[NodeId]) -> Self {
        Self { committed: sorted(committed.to_vec()), change: None }
    }

    pub(crate) fn committed(&self) -> &[NodeId] {
        &self.committed
    }

    /// All that may be in the ISR while a change is in flight: these hold the high watermark back [R21].
    pub(crate) fn maximal(&self) -> Vec<NodeId> {
        let proposed = self.change.iter().flat_map(|change| &change.proposed);
        sorted(self.committed.iter().chain(proposed).copied().collect())
    }

    /// True if this member holds the high watermark back [R21]: all that may be in the ISR do. If a shrink need not be
    /// `confirmed` (the guard is off), those alone whom the change in flight keeps.
    pub(crate) fn counts(&self, node: NodeId, confirmed: bool) -> bool {
        match &self.change {
            Some(change) if !confirmed => change.proposed.contains(&node),
            _ => self.in_maximal(node),
        }
    }

    pub(crate) fn in_maximal(&self, node: NodeId) -> bool {
        self.committed.contains(&node) || self.change.as_ref().is_some_and(|change| change.proposed.contains(&node))
    }

    pub(crate) fn change(&self) -> Option<&Change> {
        self.change.as_ref()
    }

    pub(crate) fn propose(&mut self, proposed: Vec<NodeId>) {
        assert!(self.change.is_none(), "two ISR changes at once");
        self.change = Some(Change { proposed: sorted(proposed), status: Status::Asked });
    }

    /// The change in flight goes on like this.
    pub(crate) fn set_status(&mut self, status: Status) {
        if let Some(change) = &mut self.change {
            change.status = status;
        }
    }

    /// The controller refused the change for good.
    pub(crate) fn revert(&mut self) {
        self.change = None;
    }

    /// The controller committed these members; whatever was in flight builds on what is no more.
    pub(crate) fn commit(&mut self, members: &[NodeId]) {
        *self = Isr::new(members);
    }
}

fn sorted(mut members: Vec<NodeId>) -> Vec<NodeId> {
    members.sort_unstable();
    members.dedup();
    members
}
