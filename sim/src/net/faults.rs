//! What breaks links and connections, and what heals them.

use super::conn::{Conn, EndId};
use super::profile::LinkProfile;
use crate::ctx;
use crate::event::{LinkState, WorldEvent};
use crate::slab::Id;
use crate::timer::Event;
use crate::trace::Kind;
use crate::world::Inner;
use std::io::ErrorKind;

impl Inner {
    /// Sets one direction.
    pub fn set_link(&mut self, from: u32, to: u32, state: LinkState) {
        assert_ne!(from, to, "a host cannot be cut off from itself");
        let now = self.now;
        let link = self.net.link(from, to);
        let passed = link.passes();
        let before = std::mem::replace(&mut link.state, state);
        if before == state {
            return;
        }
        if passed {
            link.down_since = now;
        }
        self.net.resetting += u32::from(state == LinkState::Reset);
        self.net.resetting -= u32::from(before == LinkState::Reset);
        let words = [u64::from(from), u64::from(to), state as u64];
        self.trace.note(now, Kind::Fault, words, || {
            let names = [from, to].map(|host| ctx::host_name(host).unwrap_or_default());
            format!("{} > {} {state:?}", names[0], names[1])
        });
        let event = WorldEvent::LinkChanged { from: self.name(from), to: self.name(to), state };
        self.tell(event);
        self.link_changed(from, to);
        if state == LinkState::Up && before == LinkState::Stalled {
            self.release_connects(from, to);
        }
    }

    /// What is on its way over a direction, and what waits for it, follows its new state.
    fn link_changed(&mut self, from: u32, to: u32) {
        if self.net.link(from, to).passes() {
            return self.release_link(from, to);
        }
        self.hold_link(from, to);
        if self.net.link(from, to).state == LinkState::Reset {
            self.resend_into_reset(from, to);
        }
    }

    /// Sets what one direction is like, from the next segment on.
    pub fn set_link_profile(&mut self, from: u32, to: u32, profile: LinkProfile) {
        if *self.net.link(from, to).profile() == profile {
            return;
        }
        let [one, two] = profile.words();
        self.trace.note(self.now, Kind::Fault, [u64::from(from) << 32 | u64::from(to), one, two], || {
            let names = [from, to].map(|host| ctx::host_name(host).unwrap_or_default());
            format!("{} > {} {profile}", names[0], names[1])
        });
        let event = WorldEvent::LinkProfileChanged { from: self.name(from), to: self.name(to), profile };
        self.tell(event);
        self.adopt_profile(from, to, profile);
    }

    /// The same without a word of it.
    pub fn adopt_profile(&mut self, from: u32, to: u32, profile: LinkProfile) {
        let now = self.now;
        let link = self.net.link(from, to);
        let (passed, before) = (link.passes(), *link.profile());
        link.set_profile(profile);
        let passes = link.passes();
        if passed && !passes {
            link.down_since = now;
        }
        self.net.splits |= profile.partial_ppm > 0;
        if passed != passes || before.loss_ppm > profile.loss_ppm {
            self.link_changed(from, to);
        }
    }

    /// Everything up, and as it was at first.
    pub fn heal_all_links(&mut self) {
        let hosts = self.machines.len() as u32;
        for from in 0..hosts {
            for to in (0..hosts).filter(|to| *to != from) {
                self.set_link(from, to, LinkState::Up);
                let usual = self.net.usual(from, to);
                self.set_link_profile(from, to, usual);
            }
        }
    }

    /// The sides of connections whose bytes go over that direction.
    fn senders(&self, matches: impl Fn(u32, u32) -> bool) -> Vec<EndId> {
        let sides = |conn: &Conn| [0, 1].map(|side| matches(conn.ends[side].host, conn.ends[1 - side].host));
        let all = self.net.conns.iter().map(|(conn, data)| (conn, sides(data)));
        let ends = |(conn, sides): (Id, [bool; 2])| {
            [0, 1].into_iter().filter(move |side| sides[*side as usize]).map(move |side| EndId { conn, side })
        };
        all.flat_map(ends).collect()
    }

    /// The direction went down: what is on the wire arrives, what had not left waits, and acknowledgements are lost.
    fn hold_link(&mut self, from: u32, to: u32) {
        for at in self.senders(|sender, receiver| (sender, receiver) == (from, to)) {
            self.hold_end(at);
        }
    }

    /// The same for what one end of a connection sends.
    pub fn hold_end(&mut self, at: EndId) {
        let now = self.now;
        let conn = self.net.conns.get_mut(at.conn).expect("a listed connection");
        let half = &mut conn.halves[at.side as usize];
        half.hold_flights(|flight| flight.departs > now);
        if !half.waiting.is_empty() || !half.flying.is_empty() {
            self.mark_unacked(at);
        }
        let back = EndId { conn: at.conn, side: 1 - at.side };
        if !self.net.conns.get(at.conn).expect("a listed connection").halves[back.side as usize].flying.is_empty() {
            self.mark_unacked(back);
        }
    }

    /// The direction answers with RST from now on: what waits meets that with its next retransmission.
    fn resend_into_reset(&mut self, from: u32, to: u32) {
        for at in self.senders(|sender, receiver| (sender, receiver) == (from, to)) {
            self.resend_one_into_reset(at);
        }
    }

    /// The same for what one end of a connection sends.
    pub fn resend_one_into_reset(&mut self, at: EndId) {
        let (side, now) = (at.side as usize, self.now);
        let conn = self.net.conns.get(at.conn).expect("a listed connection");
        if !conn.halves[side].waiting.is_empty() {
            let (from, to) = (conn.ends[side].host, conn.ends[1 - side].host);
            let departs = now + self.net.link(from, to).retransmission_delay(now, now);
            self.meet_reset(at, departs);
        }
    }

    /// The direction is up again.
    fn release_link(&mut self, from: u32, to: u32) {
        for at in self.senders(|sender, receiver| (sender, receiver) == (from, to)) {
            self.release_end(at);
        }
    }

    /// What one end of a connection sends reaches the other again.
    pub fn release_end(&mut self, at: EndId) {
        self.release(at);
        let back = EndId { conn: at.conn, side: 1 - at.side };
        self.refresh_unacked(back);
        self.retell_window(back);
    }

    /// A window update may have been lost with the link.
    fn retell_window(&mut self, at: EndId) {
        let Some(conn) = self.net.conns.get(at.conn) else { return };
        let half = &conn.halves[at.side as usize];
        let (writer, reader) = (conn.ends[at.side as usize].host, conn.ends[1 - at.side as usize].host);
        let from = EndId { conn: at.conn, side: 1 - at.side };
        if half.writer.is_some() && half.read > half.known_read && !half.window_due && self.gets_through(from) {
            let now = self.now;
            let arrives = self.net.link(reader, writer).carry_surely(now);
            self.net.conns.get_mut(at.conn).expect("a listed connection").halves[at.side as usize].window_due = true;
            self.timers.push(arrives, Event::Window(at.conn, at.side));
        }
    }

    /// What waits leaves, at once or with the stream's next retransmission.
    fn release(&mut self, at: EndId) {
        let (side, now) = (at.side as usize, self.now);
        let conn = self.net.conns.get(at.conn).expect("a listed connection");
        let (from, to) = (conn.ends[side].host, conn.ends[1 - side].host);
        if !self.gets_through(at) {
            return;
        }
        let half = &self.net.conns.get(at.conn).expect("a listed connection").halves[side];
        let (lost_since, waits) = (half.unacked_since.filter(|_| half.losses > 0), !half.waiting.is_empty());
        self.refresh_unacked(at);
        if !waits {
            return;
        }
        let link = self.net.link(from, to);
        let departs = now + link.retransmission_delay(now, lost_since.unwrap_or(link.down_since));
        self.send_waiting(at, departs);
    }

    /// That side waits for an acknowledgement which cannot come as things stand.
    pub fn mark_unacked(&mut self, at: EndId) {
        let now = self.now;
        let conn = self.net.conns.get_mut(at.conn).expect("a connection that is in use");
        let half = &mut conn.halves[at.side as usize];
        if half.unacked_since.is_none() {
            half.unacked_since = Some(now);
            self.timers
                .push(now.saturating_add(self.net.profile.retransmit_limit_ns), Event::Retransmit(at.conn, at.side));
        }
    }

    /// If acknowledgements pass again, nothing is overdue.
    pub fn refresh_unacked(&mut self, at: EndId) {
        let Some(conn) = self.net.conns.get(at.conn) else { return };
        let (from, to) = (conn.ends[at.side as usize].host, conn.ends[1 - at.side as usize].host);
        if !conn.is_blocked() && self.reaches(from, to) && self.net.link(to, from).passes() {
            let conn = self.net.conns.get_mut(at.conn).expect("a connection that was just seen");
            conn.halves[at.side as usize].unacked_since = None;
        }
    }

    /// Nobody acknowledged anything for too long.
    pub fn give_up(&mut self, id: Id, side: usize) {
        self.fail(EndId { conn: id, side: side as u8 }, ErrorKind::TimedOut);
        self.free_if_over(id);
    }

    /// An end is of no use any more.
    pub fn fail(&mut self, at: EndId, error: ErrorKind) {
        let (side, now) = (at.side as usize, self.now);
        let conn = self.net.conns.get_mut(at.conn).expect("a connection that is in use");
        conn.ends[side].error = Some(error);
        conn.halves[side].drop_unsent(now);
        conn.halves[side].unacked_since = None;
        let wakers = [conn.halves[side].writer.take(), conn.halves[1 - side].reader.take()];
        let (host, peer, role) = (conn.ends[side].host, conn.ends[1 - side].host, conn.role.to_owned());
        self.wakers.extend(wakers.into_iter().flatten());
        self.note(Kind::Rst, at, 1, u64::from(error == ErrorKind::TimedOut));
        let (host, peer) = (self.name(host), self.name(peer));
        self.tell(match error {
            ErrorKind::TimedOut => WorldEvent::ConnectionTimedOut { host, peer, role },
            _ => WorldEvent::ConnectionReset { host, peer, role },
        });
    }

    /// The process of a host died: its kernel closes what it held.
    pub fn close_host(&mut self, host: u32) {
        self.end_connects(host);
        self.close_ports(host);
        for at in self.senders(|sender, _| sender == host) {
            let Some(conn) = self.net.conns.get_mut(at.conn) else { continue };
            let end = &mut conn.ends[at.side as usize];
            if end.accepted {
                self.close(at, false);
            } else {
                end.open = false; // the handshake is not complete: what comes next gets an RST
                conn.halves[0].discard();
            }
        }
    }

    /// A host lost power: it says nothing to anybody, and what was meant for it waits.
    pub fn lose_host(&mut self, host: u32) {
        assert!(!self.machines[host as usize].powered, "only what has no power falls silent");
        for at in self.senders(|sender, _| sender == host) {
            self.lose_end(at);
        }
        for at in self.senders(|_, receiver| receiver == host) {
            let conn = self.net.conns.get_mut(at.conn).expect("a listed connection");
            conn.halves[at.side as usize].hold_flights(|_| true);
            if conn.ends[at.side as usize].host == host {
                conn.halves[at.side as usize].drop_waiting();
            } else if !conn.halves[at.side as usize].waiting.is_empty() {
                self.mark_unacked(at);
            }
        }
        self.end_connects(host);
        self.close_ports(host);
        for id in self.net.conns.ids(|conn| conn.is_over()) {
            self.net.conns.remove(id);
        }
    }

    fn lose_end(&mut self, at: EndId) {
        let (side, now) = (at.side as usize, self.now);
        let conn = self.net.conns.get_mut(at.conn).expect("a listed connection");
        conn.ends[side].open = false;
        conn.halves[1 - side].discard();
        let half = &mut conn.halves[side];
        half.drop_unsent(now);
        half.unacked_since = None;
        half.fin_sent = true;
        let wakers = [half.writer.take(), conn.halves[1 - side].reader.take()];
        self.wakers.extend(wakers.into_iter().flatten());
    }

    /// A host has power again: what waited for it arrives, and is answered with RST.
    pub fn find_host(&mut self, host: u32) {
        for at in self.senders(|_, receiver| receiver == host) {
            self.release(at);
        }
    }
}
