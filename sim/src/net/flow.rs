//! How bytes go along a connection.

use super::conn::{Conn, EndId, Flight, Segment};
use super::ring::{Incoming, Outgoing};
use crate::event::LinkState;
use crate::slab::Id;
use crate::timer::Event;
use crate::trace::Kind;
use crate::world::Inner;
use std::io::{self, ErrorKind};
use std::task::Waker;

/// What came of an attempt: done, or a waker was left (and the one that it replaced is given back for dropping).
pub(crate) type Attempt<T> = Result<io::Result<T>, Option<Waker>>;

impl Inner {
    fn conn(&mut self, id: Id) -> &mut Conn {
        self.net.conns.get_mut(id).expect("a connection that is in use")
    }

    /// Whether segments from one host reach another now.
    pub fn reaches(&mut self, from: u32, to: u32) -> bool {
        self.machines[to as usize].powered && self.net.link(from, to).passes()
    }

    /// Writes what there is room for, as one segment.
    pub fn write(&mut self, at: EndId, from: Outgoing<'_, '_>, waker: &Waker) -> Attempt<usize> {
        let (side, window) = (at.side as usize, u64::from(self.net.profile.window));
        let Some(conn) = self.net.conns.get_mut(at.conn) else { return Ok(Err(ErrorKind::NotConnected.into())) };
        if let Some(error) = write_error(conn, side) {
            return Ok(Err(error.into()));
        }
        let (heard, between) = (conn.ends[1 - side].open, (conn.ends[side].host, conn.ends[1 - side].host));
        let half = &mut conn.halves[side];
        let room = (window - (half.written - half.known_read)) as usize;
        if room == 0 {
            return Err(self.wait_for_room(at, waker));
        }
        let (taken, digest) = if self.net.splits {
            let part = self.net.link(between.0, between.1).take_part(room.min(from.len()));
            self.conn(at.conn).halves[side].take(from, part, heard)
        } else {
            half.take(from, room, heard)
        };
        if taken == 0 {
            return Ok(Ok(0));
        }
        self.note(Kind::Send, at, taken as u64, digest);
        self.send(at, Segment::Data(taken as u32));
        Ok(Ok(taken))
    }

    fn wait_for_room(&mut self, at: EndId, waker: &Waker) -> Option<Waker> {
        let half = &mut self.conn(at.conn).halves[at.side as usize];
        let (old, learns) = (half.writer.replace(waker.clone()), half.read > half.known_read);
        if learns {
            self.tell_window(at);
        }
        old
    }

    /// The writer of that half learns how much was read once a window update has come back.
    fn tell_window(&mut self, at: EndId) {
        let side = at.side as usize;
        let conn = self.net.conns.get_mut(at.conn).expect("a connection that is in use");
        let (writer, reader) = (conn.ends[side].host, conn.ends[1 - side].host);
        if conn.halves[side].window_due || conn.is_blocked() || !self.reaches(reader, writer) {
            return; // under way, or lost: then the heal brings it
        }
        self.conn(at.conn).halves[side].window_due = true;
        let now = self.now;
        let arrives = self.net.link(reader, writer).carry_surely(now);
        self.timers.push(arrives, Event::Window(at.conn, at.side));
    }

    /// The window update is there.
    pub fn open_window(&mut self, id: Id, side: usize) {
        let half = &mut self.conn(id).halves[side];
        half.window_due = false;
        half.known_read = half.read;
        let waker = half.writer.take();
        self.wakers.extend(waker);
    }

    /// Reads what has arrived.
    pub fn read(&mut self, at: EndId, into: Incoming<'_, '_>, waker: &Waker) -> Attempt<()> {
        let side = at.side as usize;
        let Some(conn) = self.net.conns.get_mut(at.conn) else { return Ok(Err(ErrorKind::NotConnected.into())) };
        let (error, open) = (conn.ends[side].error, conn.ends[side].open);
        let half = &mut conn.halves[1 - side];
        if half.arrived == 0 || !open {
            return match error {
                _ if !open => Ok(Err(ErrorKind::NotConnected.into())),
                Some(ErrorKind::BrokenPipe) => Ok(Ok(())),
                Some(error) => Ok(Err(error.into())),
                None if half.fin_arrived => Ok(Ok(())),
                None if half.reader.as_ref().is_some_and(|old| old.will_wake(waker)) => Err(None),
                None => Err(half.reader.replace(waker.clone())),
            };
        }
        let count = half.arrived.min(into.room());
        let half = if self.net.splits {
            let between = (conn.ends[1 - side].host, conn.ends[side].host);
            let part = self.net.link(between.0, between.1).take_part(count);
            let half = &mut self.conn(at.conn).halves[1 - side];
            half.give(part, into);
            half
        } else {
            half.give(count, into);
            half
        };
        if half.writer.is_some() {
            self.tell_window(EndId { conn: at.conn, side: 1 - at.side });
        }
        Ok(Ok(()))
    }

    /// Whether what that end sends reaches the other.
    pub fn gets_through(&mut self, at: EndId) -> bool {
        let (side, conn) = (at.side as usize, self.net.conns.get(at.conn).expect("a connection that is in use"));
        let (from, to, blocked) = (conn.ends[side].host, conn.ends[1 - side].host, conn.is_blocked());
        !blocked && self.reaches(from, to)
    }

    /// Sends a segment, or lets it wait for the link. An RST is not sent twice: a black hole swallows it for good.
    pub fn send(&mut self, at: EndId, segment: Segment) {
        let side = at.side as usize;
        let conn = self.net.conns.get(at.conn).expect("a connection that is in use");
        let (from, to, queued, blocked) =
            (conn.ends[side].host, conn.ends[1 - side].host, !conn.halves[side].waiting.is_empty(), conn.is_blocked());
        let passes = self.reaches(from, to) && !blocked;
        let is_acked = passes && self.net.link(to, from).passes();
        let is_rst = segment == Segment::Rst;
        if passes && (is_rst || !queued) {
            self.launch(at, segment, self.now);
        } else if !is_rst || self.is_stalled(at) {
            self.conn(at.conn).halves[side].waiting.push_back(segment);
        }
        if !is_rst && !is_acked {
            self.mark_unacked(at);
            self.meet_reset(at, self.now);
        }
    }

    /// Whether even an RST waits.
    pub fn is_stalled(&mut self, at: EndId) -> bool {
        let (side, conn) = (at.side as usize, self.net.conns.get(at.conn).expect("a connection that is in use"));
        let (from, to, faults) = (conn.ends[side].host, conn.ends[1 - side].host, conn.faults.as_ref());
        let (stalled, forgotten) = faults.map_or((false, false), |struck| (struck.stalled, struck.forgotten));
        !forgotten && (stalled || self.net.link(from, to).state == LinkState::Stalled)
    }

    /// Puts a segment on its way, never ahead of an earlier one, or loses it.
    pub fn launch(&mut self, at: EndId, segment: Segment, departs: u64) {
        let (side, now) = (at.side as usize, self.now);
        let conn = self.net.conns.get(at.conn).expect("a connection that is in use");
        let (from, to, struck) = (conn.ends[side].host, conn.ends[1 - side].host, conn.faults.as_deref().copied());
        let link = self.net.link(from, to);
        let Some(mut carried) = link.carry(now, departs, segment.bytes()) else {
            return self.lose(at, segment, departs);
        };
        let mut departs = departs;
        if let Some(struck) = struck {
            departs += struck.delay_of(segment);
            carried.arrives += struck.delay_of(segment);
            carried.flip = carried.flip.max(link.flip(segment.bytes(), struck.corrupt_ppm));
        }
        let half = &mut self.conn(at.conn).halves[side];
        let arrives = carried.arrives.max(half.last_arrival);
        let together = half.flying.back().is_some_and(|last| last.arrives == arrives);
        half.last_arrival = arrives;
        half.flying.push_back(Flight { departs, arrives, segment, flip: carried.flip });
        if !together {
            self.timers.push(arrives, Event::Arrive(at.conn, at.side));
        }
    }

    /// What side `side` sent arrives.
    pub fn arrive(&mut self, id: Id, side: usize) {
        let at = EndId { conn: id, side: side as u8 };
        while let Some(conn) = self.net.conns.get_mut(id) {
            let half = &mut conn.halves[side];
            let Some(flight) = half.flying.front().copied().filter(|flight| flight.arrives <= self.now) else { break };
            half.flying.pop_front();
            half.heard_at = self.now;
            self.deliver(at, flight.segment, flight.flip);
        }
        self.free_if_over(id);
    }

    fn deliver(&mut self, at: EndId, segment: Segment, flip: u32) {
        self.deliveries += 1;
        match segment {
            Segment::Data(bytes) => self.deliver_data(at, bytes as usize, flip),
            Segment::Open => self.deliver_open(at),
            Segment::Fin => self.deliver_fin(at),
            Segment::Rst => self.deliver_rst(at),
        }
    }

    fn deliver_data(&mut self, at: EndId, bytes: usize, flip: u32) {
        self.note(Kind::Deliver, at, bytes as u64, 0);
        let side = at.side as usize;
        let conn = self.conn(at.conn);
        if !conn.ends[1 - side].open || conn.ends[1 - side].error.is_some() {
            return self.refuse(at);
        }
        if flip > 0 {
            self.corrupt(at, flip - 1);
        }
        let conn = self.conn(at.conn);
        // What travels towards the receiver also tells it how much of its own bytes were read.
        let back = &mut conn.halves[1 - side];
        back.known_read = back.read;
        let writer = back.writer.take();
        let half = &mut conn.halves[side];
        half.arrived += bytes;
        assert!(half.arrived <= half.data.len(), "more arrived than was written");
        let reader = half.reader.take();
        self.wakers.extend(writer);
        self.wakers.extend(reader);
        if self.net.resetting > 0 {
            self.acknowledge_into_reset(at);
        }
    }

    fn deliver_fin(&mut self, at: EndId) {
        self.note(Kind::Fin, at, 0, 0);
        let half = &mut self.conn(at.conn).halves[at.side as usize];
        half.fin_arrived = true;
        let reader = half.reader.take();
        self.wakers.extend(reader);
    }

    fn deliver_rst(&mut self, at: EndId) {
        self.note(Kind::Rst, at, 0, 0);
        let end = EndId { conn: at.conn, side: 1 - at.side };
        let conn = self.conn(at.conn);
        if conn.ends[end.side as usize].open && conn.ends[end.side as usize].error.is_none() {
            self.reset_end(end);
        }
    }

    /// An RST ends an end. As on Linux, behind a FIN it breaks only the writing; what is read stays at its end.
    pub fn reset_end(&mut self, at: EndId) {
        let after_fin = self.conn(at.conn).halves[1 - at.side as usize].fin_arrived;
        self.fail(at, if after_fin { ErrorKind::BrokenPipe } else { ErrorKind::ConnectionReset });
    }

    /// Answers a segment that nobody wants with an RST.
    pub fn refuse(&mut self, at: EndId) {
        let back = EndId { conn: at.conn, side: 1 - at.side };
        self.conn(at.conn).halves[back.side as usize].drop_waiting();
        self.send(back, Segment::Rst);
    }

    /// No more bytes from this end.
    pub fn shut(&mut self, at: EndId) -> io::Result<()> {
        let side = at.side as usize;
        let Some(conn) = self.net.conns.get_mut(at.conn) else { return Err(ErrorKind::NotConnected.into()) };
        if let Some(error) = conn.ends[side].error {
            return Err(error.into());
        }
        if conn.ends[side].open && !std::mem::replace(&mut conn.halves[side].fin_sent, true) {
            self.send(at, Segment::Fin);
        }
        Ok(())
    }

    /// The process lets go of this end: a FIN behind all that was written, or an RST where bytes lie unread or `abruptly`.
    pub fn close(&mut self, at: EndId, abruptly: bool) {
        let side = at.side as usize;
        let Some(conn) = self.net.conns.get_mut(at.conn).filter(|conn| conn.ends[side].open) else { return };
        let reset = abruptly || conn.halves[1 - side].has_unread();
        conn.ends[side].open = false;
        conn.halves[1 - side].discard();
        let wakers = [conn.halves[1 - side].reader.take(), conn.halves[side].writer.take()];
        let silent = conn.ends[side].error.is_some();
        let done = std::mem::replace(&mut conn.halves[side].fin_sent, true);
        self.wakers.extend(wakers.into_iter().flatten());
        if !silent && reset {
            let now = self.now;
            self.conn(at.conn).halves[side].drop_unsent(now);
            self.send(at, Segment::Rst);
        } else if !silent && !done {
            self.send(at, Segment::Fin);
        }
        self.free_if_over(at.conn);
    }

    /// A connection that nobody holds and of which nothing is under way is forgotten.
    pub fn free_if_over(&mut self, id: Id) {
        if self.net.conns.get(id).is_some_and(|conn| conn.is_over()) {
            self.net.conns.remove(id);
        }
    }

    /// Into the trace.
    pub fn note(&mut self, kind: Kind, at: EndId, bytes: u64, digest: u64) {
        let conn = &self.net.conns;
        let place = u64::from(at.conn.slot) << 32 | u64::from(at.conn.age) << 1 | u64::from(at.side);
        self.trace.note(self.now, kind, [place, bytes, digest], || {
            let ends = conn
                .get(at.conn)
                .map(|conn| (&conn.ends[at.side as usize].address, &conn.ends[1 - at.side as usize].address));
            ends.map(|(from, to)| format!("{from} > {to} {bytes} {digest:016x}")).unwrap_or_default()
        });
    }
}

fn write_error(conn: &mut Conn, side: usize) -> Option<ErrorKind> {
    let end = &mut conn.ends[side];
    if !end.open {
        return Some(ErrorKind::NotConnected);
    }
    let broken = conn.halves[side].fin_sent.then_some(ErrorKind::BrokenPipe);
    end.error.or(broken)
}
