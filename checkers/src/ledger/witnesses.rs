//! Clients as witnesses: where each consumer stands, and which clients a spoilt frame may have misled.

use super::harm::FRAME_NS;
use klamm_base::ClientId;
use std::collections::BTreeMap;

/// A consumer that was led elsewhere than to its position.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Astray {
    /// Entry of what led it there.
    pub cause: u32,
    /// Its position then: all below it has read.
    pub from: i64,
}

/// What clients can be believed.
#[derive(Debug, Default)]
pub(crate) struct Witnesses {
    /// The offset after the last one read, or the one it was set to.
    positions: BTreeMap<(ClientId, usize), i64>,
    strays: BTreeMap<(ClientId, usize), Astray>,
    /// Spoilt frames by the client's name: entry and world time in nanoseconds, ascending.
    frames: BTreeMap<String, Vec<(u32, u64)>>,
}

impl Witnesses {
    /// A frame on one of a client's connections was spoilt.
    pub fn misled(&mut self, name: &str, at: u32, at_ns: u64) {
        self.frames.entry(name.to_owned()).or_default().push((at, at_ns));
    }

    /// The last spoilt frame after entry `from` and before entry `to`.
    pub fn misled_between(&self, name: &str, from: u32, to: u32) -> Option<u32> {
        let frames = self.frames.get(name)?;
        frames.iter().rev().map(|(at, _)| *at).find(|at| from < *at && *at < to)
    }

    /// The last spoilt frame, if its consequence may still come.
    pub fn misled_lately(&self, name: &str, now_ns: u64) -> Option<u32> {
        let (at, at_ns) = *self.frames.get(name)?.last()?;
        (now_ns.saturating_sub(at_ns) <= FRAME_NS).then_some(at)
    }

    /// A consumer was set to an offset: it may be believed again.
    pub fn positioned(&mut self, client: ClientId, part: usize, offset: i64) {
        self.positions.insert((client, part), offset);
        if !self.strays.is_empty() {
            self.strays.remove(&(client, part));
        }
    }

    /// A consumer read up to `next`; where it stood before.
    pub fn read_on(&mut self, client: ClientId, part: usize, next: i64) -> Option<i64> {
        self.positions.insert((client, part), next)
    }

    /// A consumer reads elsewhere than it should. Where it left its way first counts.
    pub fn lead_astray(&mut self, client: ClientId, part: usize, astray: Astray) {
        self.strays.entry((client, part)).or_insert(astray);
    }

    /// Where and why a consumer left its way, if it did.
    pub fn astray(&self, client: ClientId, part: usize) -> Option<Astray> {
        self.strays.get(&(client, part)).copied()
    }
}
