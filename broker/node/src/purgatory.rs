//! Fetches that wait for data: looked at again only when one of their own partitions moved, with one deadline for all of a
//! request's partitions.

use crate::api::fetch::empty;
use crate::io::Token;
use crate::node::{Cx, Node};
use crate::request::Head;
use crate::slab::Slab;
use crate::timers::Timer;
use klamm_base::{ErrorCode, Uuid};
use klamm_replica::FetchQuery;
use klamm_wire::Str;
use klamm_wire::messages::fetch_response::PartitionData;

/// All open fetches.
#[derive(Default)]
pub(crate) struct Purgatory {
    pub(crate) open: Slab<OpenFetch>,
    /// Fetches that a look found ready; empty between looks.
    ready: Vec<u64>,
}

/// A fetch from its arrival to its answer.
#[derive(Debug)]
pub(crate) struct OpenFetch {
    /// None when its connection ended.
    pub(crate) token: Option<Token>,
    pub(crate) head: Head,
    pub(crate) items: Vec<Item>,
    pub(crate) topics: Vec<Shape>,
    pub(crate) max_bytes: u32,
    min_bytes: u64,
    /// Sum over the items.
    bytes: u64,
    stage: Stage,
}

/// One partition of a fetch.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) slot: Result<u32, ErrorCode>,
    pub(crate) query: FetchQuery,
    /// What it had when it was last looked at.
    pub(crate) bytes: u64,
    pub(crate) data: PartitionData,
}

/// A topic of a fetch: its next `count` items.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) name: Str,
    pub(crate) id: Uuid,
    pub(crate) count: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Arrived,
    Parked { until: u64 },
    Reading { remaining: usize },
}

impl Item {
    pub(crate) fn new(partition: i32, slot: Result<u32, ErrorCode>, query: FetchQuery) -> Item {
        Item { slot, query, bytes: 0, data: empty(partition) }
    }
}

impl OpenFetch {
    pub(crate) fn new(
        token: Token,
        head: Head,
        items: Vec<Item>,
        topics: Vec<Shape>,
        min_bytes: u64,
        max_bytes: u32,
    ) -> Self {
        Self { token: Some(token), head, items, topics, max_bytes, min_bytes, bytes: 0, stage: Stage::Arrived }
    }

    /// From now on every partition answers once, and the request itself once more. How many partitions there are.
    pub(crate) fn begin_reading(&mut self) -> usize {
        assert!(!matches!(self.stage, Stage::Reading { .. }), "a fetch is read once");
        self.stage = Stage::Reading { remaining: self.items.len() + 1 };
        self.items.len()
    }

    /// True when that was the last.
    pub(crate) fn part_done(&mut self) -> bool {
        let Stage::Reading { remaining } = &mut self.stage else { panic!("only a fetch that is read is answered") };
        *remaining -= 1;
        *remaining == 0
    }

    fn has_enough(&self) -> bool {
        self.bytes >= self.min_bytes
    }
}

impl Node {
    /// Looks at every partition once; true if the answer need not wait.
    pub(crate) fn first_look(&mut self, key: u64, cx: &Cx) -> bool {
        let open = self.purgatory.open.get_mut(key).expect("it just arrived");
        let mut now = open.items.is_empty();
        for item in &mut open.items {
            match item.slot {
                Err(_) => now = true,
                Ok(slot) => {
                    let available = self.partitions.slot(slot).replica.available(&item.query, cx.now);
                    item.bytes = available.bytes;
                    open.bytes += available.bytes;
                    now |= available.answer_now;
                }
            }
        }
        now || open.has_enough()
    }

    pub(crate) fn park(&mut self, key: u64, until: u64) {
        let open = self.purgatory.open.get_mut(key).expect("it was just looked at");
        open.stage = Stage::Parked { until };
        for (place, item) in open.items.iter().enumerate() {
            let slot = item.slot.expect("an error is answered at once");
            self.partitions.slot_mut(slot).parked.push((key, place as u32));
        }
        self.timers.set(until, Timer::Fetch(key));
    }

    /// The partition moved: fetches that wait for it look again, at this partition only.
    pub(crate) fn look_at_parked(&mut self, slot: u32, cx: &mut Cx) {
        if self.partitions.slot(slot).parked.is_empty() {
            return;
        }
        let parked = std::mem::take(&mut self.partitions.slot_mut(slot).parked);
        let mut ready = std::mem::take(&mut self.purgatory.ready);
        for &(key, place) in &parked {
            let open = self.purgatory.open.get_mut(key).expect("a parked fetch is open");
            let item = &mut open.items[place as usize];
            let available = self.partitions.slot(slot).replica.available(&item.query, cx.now);
            open.bytes = open.bytes - item.bytes + available.bytes;
            item.bytes = available.bytes;
            if (available.answer_now || open.has_enough()) && !ready.contains(&key) {
                ready.push(key);
            }
        }
        self.partitions.slot_mut(slot).parked = parked;
        for key in ready.drain(..) {
            self.unpark(key);
            self.read(key, cx);
        }
        self.purgatory.ready = ready;
    }

    pub(crate) fn fetch_expired(&mut self, key: u64, cx: &mut Cx) {
        if self.purgatory.open.get_mut(key).is_some_and(|open| matches!(open.stage, Stage::Parked { .. })) {
            self.unpark(key);
            self.read(key, cx);
        }
    }

    fn unpark(&mut self, key: u64) {
        let open = self.purgatory.open.get_mut(key).expect("a parked fetch is open");
        let Stage::Parked { until } = open.stage else { panic!("only a parked fetch is let go") };
        self.timers.clear(until, Timer::Fetch(key));
        for item in &open.items {
            if let Ok(slot) = item.slot {
                self.partitions.slot_mut(slot).parked.retain(|(other, _)| *other != key);
            }
        }
    }

    /// The connection ended: a parked fetch is dropped, one that is read ends unheard.
    pub(crate) fn fetch_gone(&mut self, token: Token) {
        let found = self.purgatory.open.iter_mut().find(|(_, open)| open.token == Some(token));
        let Some((key, open)) = found else { return };
        open.token = None;
        if matches!(open.stage, Stage::Parked { .. }) {
            self.unpark(key);
            self.purgatory.open.remove(key);
        }
    }
}
