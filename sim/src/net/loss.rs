//! What becomes of segments that are lost, rejected or damaged on their way.

use super::conn::{EndId, Segment};
use super::link::{RETRANSMIT_LONGEST_NS, RETRANSMIT_MIN_NS};
use crate::event::{LinkState, WorldEvent};
use crate::slab::Id;
use crate::timer::Event;
use crate::trace::Kind;
use crate::world::Inner;

impl Inner {
    /// A segment is lost. All but an RST wait to be sent again, first in line and later each time.
    pub fn lose(&mut self, at: EndId, segment: Segment, departs: u64) {
        self.note(Kind::Lost, at, segment.bytes(), 0);
        if segment == Segment::Rst {
            return;
        }
        let half = &mut self.net.conns.get_mut(at.conn).expect("a connection that is in use").halves[at.side as usize];
        half.waiting.push_back(segment);
        assert!(half.resend_at.is_none(), "nothing leaves before what was lost");
        let wait = RETRANSMIT_MIN_NS.saturating_mul(1 << half.losses.min(32)).min(RETRANSMIT_LONGEST_NS);
        half.losses += 1;
        half.resend_at = Some(departs + wait);
        self.timers.push(departs + wait, Event::Resend(at.conn, at.side));
        self.mark_unacked(at);
    }

    /// What was lost is sent again, and what waited behind it.
    pub fn resend(&mut self, id: Id, side: usize) {
        let at = EndId { conn: id, side: side as u8 };
        let retransmits = self.net.profile.retransmits;
        let half = &mut self.net.conns.get_mut(id).expect("a connection that is in use").halves[side];
        half.resend_at = None;
        if half.losses > retransmits {
            self.give_up(id, side);
        } else if self.gets_through(at) {
            self.send_waiting(at, self.now);
        } // else it is the heal that sends
    }

    /// All that waits leaves, up to a segment that is lost.
    pub fn send_waiting(&mut self, at: EndId, departs: u64) {
        let half = &mut self.net.conns.get_mut(at.conn).expect("a connection that is in use").halves[at.side as usize];
        half.resend_at = None;
        let (mut waiting, losses) = (std::mem::take(&mut half.waiting), half.losses);
        while let Some(segment) = waiting.pop_front() {
            self.launch(at, segment, departs);
            let half =
                &mut self.net.conns.get_mut(at.conn).expect("a connection that is in use").halves[at.side as usize];
            if !half.waiting.is_empty() {
                half.waiting.append(&mut waiting);
                return;
            }
            if losses > 0 {
                half.losses = 0;
                self.refresh_unacked(at);
            }
        }
    }

    /// A segment that meets something that answers with an RST: a link in that state, or a box in between that forgot the
    /// connection. It is answered from there; until then, as far as its sender knows, it is under way.
    pub fn meet_reset(&mut self, at: EndId, departs: u64) {
        let (side, now) = (at.side as usize, self.now);
        let conn = self.net.conns.get(at.conn).expect("a connection that is in use");
        let (from, to, forgotten) = (conn.ends[side].host, conn.ends[1 - side].host, conn.is_forgotten());
        let link = self.net.link(from, to);
        let passes = link.state == LinkState::Reset || (forgotten && link.passes());
        if !passes {
            return;
        }
        if let Some(carried) = link.carry(now, departs, Segment::Fin.bytes()) {
            self.timers.push(carried.arrives, Event::Rejected(at.conn, at.side));
        }
    }

    /// A segment of that side met a reset: the RST goes back to it, as far as the link lets it.
    pub fn rejected(&mut self, id: Id, side: usize) {
        let back = EndId { conn: id, side: 1 - side as u8 };
        let conn = self.net.conns.get(id).expect("a connection that is in use");
        let (from, to) = (conn.ends[1 - side].host, conn.ends[side].host);
        if self.reaches(from, to) {
            self.launch(back, Segment::Rst, self.now);
        } else if self.is_stalled(back) {
            self.net.conns.get_mut(id).expect("as just seen").halves[1 - side].waiting.push_back(Segment::Rst);
        }
    }

    /// Bytes of that side arrived. If what acknowledges them meets a reset, that strikes the one who acknowledges.
    pub fn acknowledge_into_reset(&mut self, at: EndId) {
        let side = at.side as usize;
        let conn = self.net.conns.get(at.conn).expect("a connection that is in use");
        let (from, to) = (conn.ends[1 - side].host, conn.ends[side].host);
        if self.net.link(from, to).state == LinkState::Reset {
            self.meet_reset(EndId { conn: at.conn, side: 1 - at.side }, self.now);
        }
    }

    /// One bit of the segment that is just arriving is flipped. It lies behind all that arrived before.
    pub fn corrupt(&mut self, at: EndId, bit: u32) {
        let side = at.side as usize;
        let conn = self.net.conns.get_mut(at.conn).expect("a connection that is in use");
        let half = &mut conn.halves[side];
        let place = half.arrived + bit as usize / 8;
        half.data.flip(place, bit % 8);
        let at_byte = half.read + place as u64;
        let (from, to, role) = (conn.ends[side].host, conn.ends[1 - side].host, conn.role.to_owned());
        self.note(Kind::Corrupt, at, at_byte, u64::from(bit));
        let (from, to) = (self.name(from), self.name(to));
        self.tell(WorldEvent::SegmentCorrupted { from, to, role, at_byte });
    }
}
