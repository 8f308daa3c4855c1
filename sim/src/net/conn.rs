//! One connection: two ends, and one half for each direction. Bytes lie in one ring a half from the write to the read, and
//! segments are lengths, so that what was written as a shared piece is read as the same piece.

use super::conn_faults::Struck;
use super::ring::{Incoming, Outgoing, Ring};
use crate::slab::Id;
use klamm_env::Address;
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::task::Waker;

/// A connection. Side 0 connected, side 1 listened. Half `s` carries what side `s` sends.
#[derive(Debug)]
pub(crate) struct Conn {
    /// What it is for, as the one who connected said.
    pub role: &'static str,
    pub ends: [End; 2],
    pub halves: [Half; 2],
    /// What is wrong with this one and not with its link.
    pub faults: Option<Box<Struck>>,
}

impl Conn {
    /// A connection that side 0 sees as established.
    pub fn new(role: &'static str, client: Address, client_host: u32, server: Address, server_host: u32) -> Self {
        let end = |host, address| End { host, address, open: true, accepted: false, unanswered: 0, error: None };
        Self {
            role,
            ends: [end(client_host, client), end(server_host, server)],
            halves: [Half::default(), Half::default()],
            faults: None,
        }
    }

    /// A fault of its own keeps its segments back.
    pub fn is_blocked(&self) -> bool {
        self.faults.as_ref().is_some_and(|struck| struck.stalled || struck.forgotten)
    }

    /// Somewhere between its ends it was forgotten: every segment is answered with an RST from there.
    pub fn is_forgotten(&self) -> bool {
        self.faults.as_ref().is_some_and(|struck| struck.forgotten)
    }

    /// Nobody holds it and nothing of it is under way.
    pub fn is_over(&self) -> bool {
        self.ends.iter().all(|end| !end.open)
            && self.halves.iter().all(|half| half.flying.is_empty() && half.waiting.is_empty())
    }
}

/// One end.
#[derive(Debug)]
pub(crate) struct End {
    pub host: u32,
    pub address: Address,
    /// A process holds it, or it waits to be accepted. Else segments that carry bytes are answered with an RST.
    pub open: bool,
    /// The handshake is complete for this end.
    pub accepted: bool,
    /// Questions of keep-alive in a row without an answer.
    pub unanswered: u32,
    /// Why it is of no use any more.
    pub error: Option<ErrorKind>,
}

/// What goes over the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    /// The third part of the handshake.
    Open,
    /// So many bytes of the ring.
    Data(u32),
    /// No more bytes.
    Fin,
    /// The end of everything.
    Rst,
}

impl Segment {
    /// Bytes on the wire, headers included.
    pub fn bytes(self) -> u64 {
        match self {
            Self::Data(bytes) => u64::from(bytes) + 66,
            _ => 66,
        }
    }
}

/// A segment under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flight {
    /// When it leaves; later than now for a retransmission to come.
    pub departs: u64,
    pub arrives: u64,
    pub segment: Segment,
    /// Which of its bits is flipped on the way, plus one; 0 for none.
    pub flip: u32,
}

/// One direction.
#[derive(Debug, Default)]
pub(crate) struct Half {
    /// All bytes written and not yet read. The first `arrived` may be read.
    pub data: Ring,
    pub arrived: usize,
    /// Under way, in order.
    pub flying: VecDeque<Flight>,
    /// Behind a link that is down, or lost and to be sent again, in order; after all that is under way.
    pub waiting: VecDeque<Segment>,
    /// When what was lost is sent again.
    pub resend_at: Option<u64>,
    /// How often in a row the first that waits was lost.
    pub losses: u32,
    pub last_arrival: u64,
    /// Bytes ever written, ever read, and how many of those the writer knows to be read.
    pub written: u64,
    pub read: u64,
    pub known_read: u64,
    /// The writer waits for room and will learn of it.
    pub window_due: bool,
    /// The sender said that it is done.
    pub fin_sent: bool,
    /// The receiver knows.
    pub fin_arrived: bool,
    /// Since when the sender waits for an acknowledgement that the world does not let through.
    pub unacked_since: Option<u64>,
    /// When something of it arrived last.
    pub heard_at: u64,
    pub reader: Option<Waker>,
    pub writer: Option<Waker>,
}

impl Half {
    /// Drops what has not left yet.
    pub fn drop_waiting(&mut self) {
        (self.resend_at, self.losses) = (None, 0);
        let lost: usize = self.waiting.drain(..).map(segment_len).sum();
        self.data.truncate(self.data.len().saturating_sub(lost));
    }

    /// Takes up to `room` bytes, or only counts them where nobody hears; says how many and a digest of them.
    pub fn take(&mut self, from: Outgoing<'_, '_>, room: usize, heard: bool) -> (usize, u64) {
        let (taken, digest) = from.move_into(room, heard.then_some(&mut self.data));
        self.written += taken as u64;
        (taken, digest)
    }

    /// Hands out the next `count` bytes that arrived.
    pub fn give(&mut self, count: usize, into: Incoming<'_, '_>) {
        let given = self.data.take(count, into);
        self.arrived -= given;
        self.read += given as u64;
    }

    /// Drops what has not left yet, retransmissions to come included.
    pub fn drop_unsent(&mut self, now: u64) {
        self.hold_flights(|flight| flight.departs > now);
        self.drop_waiting();
    }

    /// Moves what has not left yet from the flights to what waits.
    pub fn hold_flights(&mut self, still_here: impl Fn(&Flight) -> bool) {
        while let Some(flight) = self.flying.back().copied().filter(&still_here) {
            self.flying.pop_back();
            self.waiting.push_front(flight.segment);
        }
        self.last_arrival = self.flying.back().map_or(0, |flight| flight.arrives);
    }

    /// The receiver is gone: its bytes are of no use.
    pub fn discard(&mut self) {
        self.data = Ring::default();
        self.arrived = 0;
    }

    /// True if bytes that arrived were never read.
    pub fn has_unread(&self) -> bool {
        self.arrived > 0
    }
}

fn segment_len(segment: Segment) -> usize {
    if let Segment::Data(bytes) = segment { bytes as usize } else { 0 }
}

/// One end of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EndId {
    pub conn: Id,
    pub side: u8,
}
