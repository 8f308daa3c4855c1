//! Whose a disk operation is.

use crate::dirs::Step;
use crate::io::{Command, DiskId};
use crate::node::{Cx, Node};
use klamm_base::{DiskDone, DiskRequest, DiskResult, Ticket};

/// Who asked for a disk operation, and under which ticket of its own.
#[derive(Debug)]
pub(crate) enum DiskUse {
    Replica(u32, Ticket),
    Controller(Ticket),
    /// Of a log directory, by its place in `log.dirs`.
    Dir(u32, Step),
}

impl Node {
    pub(crate) fn disk_done(&mut self, id: DiskId, result: DiskResult, cx: &mut Cx) {
        match self.disk.remove(id.0) {
            None => panic!("a disk operation ends once: {id:?}"),
            Some(DiskUse::Dir(dir, step)) => self.dir_disk_done(dir as usize, step, result, cx),
            Some(DiskUse::Replica(slot, ticket)) => {
                self.step_replica(slot, klamm_replica::Event::DiskDone(DiskDone { ticket, result }), cx);
            }
            Some(DiskUse::Controller(ticket)) => {
                self.step_controller(klamm_controller::Event::DiskDone(DiskDone { ticket, result }), cx);
            }
        }
    }

    pub(crate) fn replica_disk(&mut self, slot: u32, request: DiskRequest, cx: &mut Cx) {
        let id = DiskId(self.disk.insert(DiskUse::Replica(slot, request.ticket)));
        cx.out.push(Command::Disk { id, op: request.op });
    }

    pub(crate) fn controller_disk(&mut self, request: DiskRequest, cx: &mut Cx) {
        let id = DiskId(self.disk.insert(DiskUse::Controller(request.ticket)));
        cx.out.push(Command::Disk { id, op: request.op });
    }
}
