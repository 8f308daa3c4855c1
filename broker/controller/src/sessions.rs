//! Who was heard of, and when: soft state of the active controller, on the monotonic clock (K14).

use crate::MetadataImage;
use klamm_base::{NodeId, Now};
use std::collections::BTreeMap;

/// Sessions of registered brokers, fenced ones too: while one lives, no other incarnation may register.
#[derive(Debug)]
pub(crate) struct Sessions {
    timeout_ms: u64,
    sessions: BTreeMap<NodeId, Session>,
}

#[derive(Clone, Copy, Debug)]
struct Session {
    /// Monotonic nanoseconds.
    deadline_ns: u64,
    /// Last offset that the broker said it had replayed.
    metadata_offset: i64,
    /// All active brokers must know the metadata up to here before the broker may shut down (K16).
    shutdown_offset: Option<i64>,
}

impl Sessions {
    pub(crate) fn new(timeout_ms: u64) -> Self {
        assert!(timeout_ms > 0, "a session that never lives");
        Self { timeout_ms, sessions: BTreeMap::new() }
    }

    /// A new active controller knows of no heartbeat: every registered broker gets a fresh session.
    pub(crate) fn refresh_all(&mut self, now: Now, image: &MetadataImage) {
        self.sessions.clear();
        for (broker, state) in &image.brokers {
            self.begin(now, *broker);
            if state.in_controlled_shutdown {
                self.shut_down_after(*broker, image.offset);
            }
        }
    }

    /// A broker registered.
    pub(crate) fn begin(&mut self, now: Now, broker: NodeId) {
        let deadline_ns = now.after_ms(self.timeout_ms);
        self.sessions.insert(broker, Session { deadline_ns, metadata_offset: -1, shutdown_offset: None });
    }

    /// A broker was heard of.
    pub(crate) fn touch(&mut self, now: Now, broker: NodeId, metadata_offset: i64) {
        let shutdown_offset = self.sessions.get(&broker).and_then(|session| session.shutdown_offset);
        let deadline_ns = now.after_ms(self.timeout_ms);
        self.sessions.insert(broker, Session { deadline_ns, metadata_offset, shutdown_offset });
    }

    pub(crate) fn end(&mut self, broker: NodeId) {
        self.sessions.remove(&broker);
    }

    pub(crate) fn is_alive(&self, now: Now, broker: NodeId) -> bool {
        self.sessions.get(&broker).is_some_and(|session| session.deadline_ns > now.mono_ns)
    }

    /// The broker may shut down when all active brokers know the metadata up to `offset`; the first such offset stays.
    pub(crate) fn shut_down_after(&mut self, broker: NodeId, offset: i64) {
        let session = self.sessions.get_mut(&broker).expect("a broker that is heard of has a session");
        session.shutdown_offset.get_or_insert(offset);
    }

    /// True if every active broker knows the metadata that moved this broker's leaderships away.
    pub(crate) fn may_shut_down(&self, broker: NodeId, image: &MetadataImage) -> bool {
        let needed = self.sessions.get(&broker).and_then(|session| session.shutdown_offset).unwrap_or(image.offset);
        let active = image.brokers.iter().filter(|(_, state)| state.is_active());
        active.map(|(id, _)| self.sessions.get(id).map_or(-1, |session| session.metadata_offset)).all(|at| at >= needed)
    }

    /// Unfenced brokers whose session ended.
    pub(crate) fn expired(&self, now: Now, image: &MetadataImage) -> Vec<NodeId> {
        let unfenced = image.brokers.iter().filter(|(_, state)| !state.fenced).map(|(id, _)| *id);
        unfenced.filter(|id| !self.is_alive(now, *id)).collect()
    }

    /// When the next session of an unfenced broker ends, monotonic nanoseconds.
    pub(crate) fn next_expiry(&self, image: &MetadataImage) -> Option<u64> {
        let unfenced = image.brokers.iter().filter(|(_, state)| !state.fenced);
        unfenced.map(|(id, _)| self.sessions.get(id).map_or(0, |session| session.deadline_ns)).min()
    }
}
