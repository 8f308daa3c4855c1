//! Who waits for the network, and what lies in it.

use super::Net;
use crate::ctx::host_name;
use std::task::Waker;

fn name(host: u32) -> String {
    host_name(host).unwrap_or_default()
}

impl Net {
    /// What the one with this waker waits for, if that is the network.
    pub fn waits(&self, waker: &Waker) -> Option<String> {
        let is = |other: &Option<Waker>| other.as_ref().is_some_and(|other| other.will_wake(waker));
        if let Some((host, port)) = self.ports.iter().find(|(_, port)| is(&port.waker)).map(|(place, _)| place) {
            return Some(format!("a connection to {}:{port}", name(*host)));
        }
        if let Some((_, connecting)) = self.connects.iter().find(|(_, connecting)| is(&connecting.waker)) {
            let (to, port, role) = (name(connecting.to), connecting.port, connecting.role);
            return Some(format!("the answer of {to}:{port} to its connect ({role})"));
        }
        self.conns.iter().find_map(|(_, conn)| {
            (0..2).find_map(|side| {
                let half = &conn.halves[side];
                let (writer, reader) = (&conn.ends[side].address, &conn.ends[1 - side].address);
                let role = conn.role;
                if is(&half.reader) {
                    return Some(format!("bytes from {writer} ({role})"));
                }
                is(&half.writer).then(|| format!("room to write to {reader} ({role})"))
            })
        })
    }

    /// Bytes in the sockets of a host: those that it has not read, and those that it wrote and that were not read yet.
    pub fn socket_bytes(&self, host: u32) -> u64 {
        let of = |conn: &super::Conn| -> usize {
            let mine = conn.ends.iter().filter(|end| end.host == host && end.open).count();
            if mine == 0 { 0 } else { conn.halves.iter().map(|half| half.data.len()).sum() }
        };
        self.conns.iter().map(|(_, conn)| of(conn) as u64).sum()
    }
}

impl crate::world::Inner {
    /// Whether a connection waits for that listener.
    pub fn can_accept(&self, id: super::connect::ListenId) -> bool {
        self.net.ports.get(&(id.host, id.port)).is_some_and(|port| !port.queue.is_empty())
    }
}
