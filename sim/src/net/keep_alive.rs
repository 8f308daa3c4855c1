//! How an end that has nothing to say finds out that its peer is gone.

use super::conn::EndId;
use super::profile::KeepAlive;
use crate::event::LinkState;
use crate::slab::Id;
use crate::timer::Event;
use crate::trace::Kind;
use crate::world::Inner;

/// What comes of a question.
enum Answer {
    /// The peer is there.
    There,
    /// It knows of no such connection.
    Reset,
    /// Silence.
    Nothing,
}

impl Inner {
    /// From now on that end asks for its peer when it hears nothing, if the profile says so.
    pub fn watch_idle(&mut self, at: EndId) {
        if let Some(KeepAlive { idle_ns, .. }) = self.net.profile.keep_alive {
            self.timers.push(self.now.saturating_add(idle_ns), Event::KeepAlive(at.conn, at.side));
        }
    }

    /// An end may have heard nothing for long.
    pub fn keep_alive(&mut self, id: Id, side: usize) {
        let at = EndId { conn: id, side: side as u8 };
        let Some(keep_alive) = self.net.profile.keep_alive else { return };
        let conn = self.net.conns.get(id).expect("a connection that is in use");
        let end = &conn.ends[side];
        if !end.open || end.error.is_some() {
            return; // there is nobody to tell
        }
        let heard = conn.halves.iter().map(|half| half.heard_at).max().unwrap_or(0);
        let due = heard.saturating_add(keep_alive.idle_ns);
        // While bytes wait for an acknowledgement, their retransmissions find out.
        let busy = conn.halves[side].unacked_since.is_some();
        if busy || (due > self.now && end.unanswered == 0) {
            let next = if busy { self.now.saturating_add(keep_alive.idle_ns) } else { due };
            self.timers.push(next, Event::KeepAlive(id, at.side));
            return;
        }
        if end.unanswered >= keep_alive.probes {
            return self.give_up(id, side);
        }
        self.probe(at, keep_alive);
    }

    /// Asks for the peer.
    fn probe(&mut self, at: EndId, times: KeepAlive) {
        self.note(Kind::Probe, at, 0, 0);
        let answer = self.ask_peer(at);
        let unanswered = {
            let end = &mut self.net.conns.get_mut(at.conn).expect("as just seen").ends[at.side as usize];
            end.unanswered = if matches!(answer, Answer::Nothing) { end.unanswered + 1 } else { 0 };
            end.unanswered
        };
        match answer {
            Answer::Reset => {
                self.reset_end(at);
                self.free_if_over(at.conn);
            }
            Answer::There | Answer::Nothing => {
                let wait = if unanswered == 0 { times.idle_ns } else { times.interval_ns };
                self.timers.push(self.now.saturating_add(wait), Event::KeepAlive(at.conn, at.side));
            }
        }
    }

    /// The answer of the peer is known at once: its round trip is short beside the times of keep-alive.
    fn ask_peer(&mut self, at: EndId) -> Answer {
        let side = at.side as usize;
        let conn = self.net.conns.get(at.conn).expect("as just seen");
        let (from, to) = (conn.ends[side].host, conn.ends[1 - side].host);
        let (forgotten, blocked) = (conn.is_forgotten(), conn.is_blocked());
        let knows = conn.ends[1 - side].open && conn.ends[1 - side].error.is_none();
        let comes_back = self.reaches(to, from) && !self.net.link(to, from).loses_probe();
        let link = self.net.link(from, to);
        let is_reset = link.state == LinkState::Reset || (forgotten && link.passes());
        let goes = (is_reset || (!blocked && self.reaches(from, to))) && !self.net.link(from, to).loses_probe();
        match goes && comes_back {
            false => Answer::Nothing,
            true if is_reset || !knows => Answer::Reset,
            true => Answer::There,
        }
    }
}
