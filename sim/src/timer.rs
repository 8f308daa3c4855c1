//! Everything that happens later, in two heaps: what is soon, which nearly all steps are made of, and time-outs and the like,
//! which are many and seldom come. Timers of tasks are set again and again; what is set to a later time costs nothing until
//! the old time comes, and entries that mean nothing any more are dropped when met, or all at once when they are half of all.

use crate::slab::{Id, Slab};
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::task::Waker;

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A task's timer.
    Timer(Id),
    /// A segment of that connection, sent by that side, arrives.
    Arrive(Id, u8),
    /// That side learns how much of what it wrote was read.
    Window(Id, u8),
    /// That side of a connection may have waited too long for an acknowledgement.
    Retransmit(Id, u8),
    /// That side sends again what was lost.
    Resend(Id, u8),
    /// What that side sent met something that answers with an RST.
    Rejected(Id, u8),
    /// That side of a connection may have heard nothing for long.
    KeepAlive(Id, u8),
    /// A connect's question arrives.
    Syn(Id),
    /// Its answer arrives: accepted or refused.
    SynAnswer(Id, bool),
    /// It asks again, or gives up.
    SynAgain(Id),
    /// A disk operation takes effect.
    DiskEffect(Id),
    /// Its caller is told.
    DiskDone(Id),
    /// An episode of a disk fault of that host begins or ends.
    DiskFault(u32),
    /// A slow CPU of that host is through with a step.
    Cpu(u32, u32),
    /// The process of that host in that life had time to stop.
    StopDeadline(u32, u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub at: u64,
    pub sequence: u64,
    pub event: Event,
}

impl Entry {
    /// Time and sequence in one number: one comparison, and no branch that depends on the first half.
    fn key(&self) -> u128 {
        u128::from(self.at) << 64 | u128::from(self.sequence)
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        // The heap gives the greatest first; the earliest shall be that.
        other.key().cmp(&self.key())
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// What is so much later than the last thing that happened is not soon.
const SOON_NS: u64 = 100_000_000;

/// "No time".
pub(crate) const NEVER: u64 = u64::MAX;

/// A task's timer.
#[derive(Debug)]
struct Slot {
    /// Whose clock it follows.
    host: u32,
    deadline: u64,
    /// The time of its entry in a heap; not after the deadline.
    queued: u64,
    sequence: u64,
    waker: Option<Waker>,
}

/// The heaps and the timers of tasks.
#[derive(Debug)]
pub(crate) struct Timers {
    soon: BinaryHeap<Entry>,
    later: BinaryHeap<Entry>,
    /// The time of the last entry that was taken out.
    reached: u64,
    slots: Slab<Slot>,
    sequence: u64,
    stale: usize,
}

impl Timers {
    /// Nothing will happen.
    pub const fn new() -> Self {
        Self {
            soon: BinaryHeap::new(),
            later: BinaryHeap::new(),
            reached: 0,
            slots: Slab::new(),
            sequence: 0,
            stale: 0,
        }
    }

    /// `event` happens at `at`. Of one time, what was said first happens first.
    pub fn push(&mut self, at: u64, event: Event) -> u64 {
        self.sequence += 1;
        let is_soon = at <= self.reached.saturating_add(SOON_NS);
        let heap = if is_soon { &mut self.soon } else { &mut self.later };
        heap.push(Entry { at, sequence: self.sequence, event });
        self.sequence
    }

    /// A new timer of a host, not set.
    pub fn create(&mut self, host: u32) -> Id {
        self.slots.insert_with(|_| Slot { host, deadline: NEVER, queued: NEVER, sequence: 0, waker: None })
    }

    /// Ends a timer. The waker is given back for dropping where the world is not borrowed.
    pub fn remove(&mut self, id: Id) -> Option<Waker> {
        let slot = self.slots.remove(id)?;
        if slot.queued != NEVER {
            self.forget_entry();
        }
        slot.waker
    }

    /// Sets a timer; [`NEVER`] unsets it.
    pub fn set(&mut self, id: Id, deadline: u64) {
        if let Some(slot) = self.slots.get_mut(id) {
            slot.deadline = deadline;
            if slot.waker.is_some() {
                self.queue(id); // somebody waits already, perhaps for a later time
            }
        }
    }

    /// Sets all timers of a host that are set, to what `anew` makes of their deadlines.
    pub fn reset_all(&mut self, host: u32, anew: impl Fn(u64) -> u64) {
        for id in self.slots.ids(|slot| slot.host == host && slot.deadline != NEVER) {
            let deadline = self.slots.get(id).map_or(NEVER, |slot| anew(slot.deadline));
            self.set(id, deadline);
        }
    }

    /// What the timer that will wake this one is set to, if one will.
    pub fn waits(&self, waker: &Waker) -> Option<u64> {
        let waits = |slot: &Slot| slot.waker.as_ref().is_some_and(|other| other.will_wake(waker));
        self.slots.iter().find(|(_, slot)| waits(slot)).map(|(_, slot)| slot.deadline)
    }

    /// Ready if its time has come; else `waker` will be woken then. Gives back the waker it replaced.
    pub fn poll(&mut self, id: Id, now: u64, waker: &Waker) -> Result<(), Option<Waker>> {
        let slot = self.slots.get_mut(id).ok_or(None)?;
        if slot.deadline <= now {
            return Ok(());
        }
        let keep = slot.waker.as_ref().is_some_and(|old| old.will_wake(waker));
        let old = if keep { None } else { slot.waker.replace(waker.clone()) };
        self.queue(id);
        Err(old)
    }

    /// Makes sure that a heap has an entry at or before the deadline.
    fn queue(&mut self, id: Id) {
        let sequence = self.sequence + 1;
        let slot = self.slots.get_mut(id).expect("a timer that was just looked at");
        if slot.deadline == NEVER || slot.queued <= slot.deadline {
            return;
        }
        let at = slot.deadline;
        let was_queued = slot.queued != NEVER;
        (slot.queued, slot.sequence) = (at, sequence);
        assert_eq!(self.push(at, Event::Timer(id)), sequence, "the entry is the timer's own");
        if was_queued {
            self.forget_entry();
        }
    }

    fn forget_entry(&mut self) {
        self.stale += 1;
        if self.stale > 64 && self.stale * 2 > self.len() {
            let slots = &self.slots;
            self.soon.retain(|entry| !is_stale(slots, entry));
            self.later.retain(|entry| !is_stale(slots, entry));
            self.stale = 0;
        }
    }

    /// The earliest entry of both heaps.
    #[inline(always)]
    fn earliest(&mut self) -> Option<Entry> {
        // Of two entries the earlier is the greater, and none is the least.
        let heap = if self.later.peek() > self.soon.peek() { &mut self.later } else { &mut self.soon };
        let entry = heap.pop()?;
        self.reached = entry.at;
        Some(entry)
    }

    /// The next entry that still means something.
    #[inline(always)]
    pub fn pop(&mut self) -> Option<Entry> {
        while let Some(entry) = self.earliest() {
            let Event::Timer(id) = entry.event else { return Some(entry) };
            if is_stale(&self.slots, &entry) {
                self.stale = self.stale.saturating_sub(1);
                continue;
            }
            let slot = self.slots.get_mut(id).expect("an entry that is not stale has a timer");
            slot.queued = NEVER;
            if slot.deadline <= entry.at {
                return Some(entry);
            }
            self.queue(id); // it was set to a later time, or to none
        }
        None
    }

    /// It did not happen yet, after all.
    pub fn put_back(&mut self, entry: Entry) {
        if let Event::Timer(id) = entry.event {
            let slot = self.slots.get_mut(id).expect("a timer that was just found in the heap");
            slot.queued = entry.at;
        }
        self.soon.push(entry);
    }

    /// The timer's time has come: whom to wake.
    pub fn fire(&mut self, id: Id) -> Option<Waker> {
        self.slots.get_mut(id)?.waker.take()
    }

    /// Entries in both heaps, those that mean nothing included.
    pub fn len(&self) -> usize {
        self.soon.len() + self.later.len()
    }
}

fn is_stale(slots: &Slab<Slot>, entry: &Entry) -> bool {
    let Event::Timer(id) = entry.event else { return false };
    slots.get(id).is_none_or(|slot| slot.queued == NEVER || slot.sequence != entry.sequence)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What somebody does with one of eight timers.
    #[derive(Clone, Debug)]
    enum Act {
        Set(usize, Option<u64>),
        Poll(usize),
        Renew(usize),
        Pop,
    }

    fn act() -> impl Strategy<Value = Act> {
        let later = prop_oneof![Just(None), (0..50_u64).prop_map(Some)];
        prop_oneof![
            4 => (0..8_usize, later).prop_map(|(timer, after)| Act::Set(timer, after)),
            4 => (0..8_usize).prop_map(Act::Poll),
            1 => (0..8_usize).prop_map(Act::Renew),
            2 => Just(Act::Pop),
        ]
    }

    /// A timer as its user thinks of it.
    #[derive(Clone, Copy)]
    struct Wish {
        id: Id,
        deadline: u64,
        waits: bool,
    }

    fn earliest(wishes: &[Wish]) -> Option<u64> {
        wishes.iter().filter(|wish| wish.waits && wish.deadline != NEVER).map(|wish| wish.deadline).min()
    }

    /// The next timer fires; somebody must have waited for just that time, and for none earlier.
    fn pop(timers: &mut Timers, wishes: &mut [Wish], now: &mut u64) {
        let due = earliest(wishes).map(|due| due.max(*now));
        let entry = timers.pop();
        assert_eq!(entry.map(|entry| entry.at.max(*now)), due, "the earliest timer that somebody waits for");
        let Some(Entry { event: Event::Timer(id), .. }) = entry else { return };
        *now = due.expect("it fired");
        let wish = wishes.iter_mut().find(|wish| wish.id == id).expect("a timer that lives");
        assert!(wish.waits && wish.deadline <= *now, "nobody is woken early");
        assert!(timers.fire(id).is_some(), "and somebody is");
        wish.waits = false;
    }

    proptest! {
        #[test]
        fn every_timer_fires_at_its_last_setting(acts in prop::collection::vec(act(), 1..400)) {
            let (mut timers, mut now) = (Timers::new(), 0);
            let fresh = |timers: &mut Timers| Wish { id: timers.create(0), deadline: NEVER, waits: false };
            let mut wishes: Vec<Wish> = (0..8).map(|_| fresh(&mut timers)).collect();
            for act in acts {
                match act {
                    Act::Set(timer, after) => {
                        wishes[timer].deadline = after.map_or(NEVER, |after| now + after);
                        timers.set(wishes[timer].id, wishes[timer].deadline);
                    }
                    Act::Poll(timer) => {
                        let wish = &mut wishes[timer];
                        let ready = timers.poll(wish.id, now, Waker::noop()).is_ok();
                        prop_assert_eq!(ready, wish.deadline <= now);
                        wish.waits |= !ready;
                    }
                    Act::Renew(timer) => {
                        timers.remove(wishes[timer].id);
                        wishes[timer] = fresh(&mut timers);
                    }
                    Act::Pop => pop(&mut timers, &mut wishes, &mut now),
                }
            }
            while earliest(&wishes).is_some() {
                pop(&mut timers, &mut wishes, &mut now);
            }
            prop_assert!(timers.pop().is_none());
        }
    }
}
