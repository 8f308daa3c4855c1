//! What a process may hold: descriptors and memory. Excess is the error that Linux gives: `EMFILE`, `ENOMEM`, or the
//! process's end where the machine kills who takes too much.

use crate::ctx;
use crate::disk::Request;
use crate::event::WorldEvent;
use crate::hosts::HostError;
use crate::world::{Inner, try_with};
use serde::{Deserialize, Serialize};
use std::io;

const EMFILE: i32 = 24;
const ENOMEM: i32 = 12;

/// Limits of one host's process. The default has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Open files, listeners and connections together. Opening, listening, connecting and accepting fail with `EMFILE`
    /// beyond it; a connection that cannot be accepted waits in the backlog.
    pub open_files: Option<u32>,
    /// Bytes that the world can see: those in its sockets, of disk reads and writes under way, and what code says that it
    /// takes through [`reserve`](crate::reserve). Beyond it those fail with `ENOMEM` ([`io::ErrorKind::OutOfMemory`]).
    pub memory_bytes: Option<u64>,
    /// Memory beyond the limit ends the process, as Linux's OOM killer does, instead of an error.
    pub kill_on_excess: bool,
}

impl Limits {
    /// True if there is none.
    pub(crate) const fn is_none(&self) -> bool {
        self.open_files.is_none() && self.memory_bytes.is_none()
    }

    pub(crate) fn check(self) -> Result<Self, HostError> {
        match self {
            Self { open_files: Some(0), .. } => Err(HostError::Zero { what: "the limit on open files" }),
            Self { memory_bytes: Some(0), .. } => Err(HostError::Zero { what: "the memory budget" }),
            limits => Ok(limits),
        }
    }
}

/// What a process holds.
#[derive(Debug, Default)]
pub(crate) struct Holdings {
    files: u32,
    memory: u64,
}

/// One open file, listener or connection of one life of a host.
#[derive(Debug)]
pub(crate) struct Descriptor {
    host: u32,
    life: u32,
}

impl Descriptor {
    /// Takes one.
    pub fn take(host: u32) -> io::Result<Self> {
        try_with(|world| {
            let Some(machine) = world.machines.get_mut(host as usize) else { return Ok(Self { host, life: 0 }) };
            if machine.limits.open_files.is_some_and(|limit| machine.holdings.files >= limit) {
                return Err(io::Error::from_raw_os_error(EMFILE));
            }
            machine.holdings.files += 1;
            Ok(Self { host, life: machine.life })
        })
        .unwrap_or_else(|| Ok(Self { host, life: 0 }))
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        try_with(|world| {
            let machine = world.machines.get_mut(self.host as usize).filter(|machine| machine.life == self.life);
            if let Some(machine) = machine {
                machine.holdings.files = machine.holdings.files.saturating_sub(1);
            }
        });
    }
}

/// Memory that a process holds until this is dropped.
#[derive(Debug)]
pub struct Memory {
    host: u32,
    life: u32,
    bytes: u64,
}

impl Memory {
    /// Of the current process.
    pub(crate) fn reserve(bytes: u64) -> io::Result<Self> {
        let host = ctx::current().host;
        try_with(|world| world.hold(host, bytes)).unwrap_or_else(|| Ok(Self { host, life: 0, bytes: 0 }))
    }

    /// For an operation under way; nothing is counted where no budget is set.
    pub(crate) fn pass(host: u32, request: &Request) -> io::Result<Option<Self>> {
        let bytes = match request {
            Request::Write(_, _, data) => data.len() as u64,
            Request::Read(_, _, len) => u64::from(*len),
            _ => return Ok(None),
        };
        let is_limited = |world: &mut Inner| world.machines[host as usize].limits.memory_bytes.is_some();
        if !try_with(is_limited).unwrap_or(false) {
            return Ok(None);
        }
        try_with(|world| world.hold(host, bytes).map(Some)).unwrap_or(Ok(None))
    }

    /// How many bytes.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        try_with(|world| {
            let machine = world.machines.get_mut(self.host as usize).filter(|machine| machine.life == self.life);
            if let Some(machine) = machine {
                machine.holdings.memory = machine.holdings.memory.saturating_sub(self.bytes);
            }
        });
    }
}

impl Inner {
    fn hold(&mut self, host: u32, bytes: u64) -> io::Result<Memory> {
        let sockets = match self.machines.get(host as usize).and_then(|machine| machine.limits.memory_bytes) {
            Some(_) => self.net.socket_bytes(host),
            None => 0,
        };
        let Some(machine) = self.machines.get_mut(host as usize) else { return Ok(Memory { host, life: 0, bytes: 0 }) };
        let wanted = machine.holdings.memory.saturating_add(bytes);
        if machine.limits.memory_bytes.is_some_and(|budget| wanted.saturating_add(sockets) > budget) {
            let kills = machine.limits.kill_on_excess;
            if kills {
                self.end_for_memory(host, wanted.saturating_add(sockets));
            }
            return Err(io::Error::from_raw_os_error(ENOMEM));
        }
        machine.holdings.memory = wanted;
        Ok(Memory { host, life: machine.life, bytes })
    }

    fn end_for_memory(&mut self, host: u32, wanted_bytes: u64) {
        if !self.machines[host as usize].running || self.is_zombie(host) {
            return;
        }
        self.tell(WorldEvent::OutOfMemory { host: self.name(host), wanted_bytes });
        self.kill_later(host);
    }
}
