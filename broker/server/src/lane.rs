//! A queue of disk operations and the tasks that serve it.

use crate::machine::DiskId;
use klamm_base::DiskOp;
use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

/// One operation to perform.
pub(crate) type Work = (DiskId, DiskOp);

/// Which queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LaneName {
    /// What changes the log directory: one task, strictly in order.
    Writes,
    /// List, Len and Read: several tasks, beside each other and beside the writes.
    Reads,
}

#[derive(Debug, Default)]
pub(crate) struct Lane {
    queue: VecDeque<Work>,
    /// Tasks that wait for work.
    idle: Vec<(usize, Waker)>,
}

impl Lane {
    /// Queues an operation; wakes one task that waits.
    pub(crate) fn push(&mut self, work: Work) {
        self.queue.push_back(work);
        if let Some((_, waker)) = self.idle.pop() {
            waker.wake();
        }
    }

    /// The oldest operation.
    pub(crate) fn pop(&mut self) -> Option<Work> {
        self.queue.pop_front()
    }

    /// As `pop`; without one the task `worker` is woken when there is.
    pub(crate) fn poll(&mut self, worker: usize, cx: &mut Context<'_>) -> Poll<Work> {
        self.idle.retain(|(waiting, _)| *waiting != worker);
        match self.pop() {
            Some(work) => Poll::Ready(work),
            None => {
                self.idle.push((worker, cx.waker().clone()));
                Poll::Pending
            }
        }
    }

    pub(crate) fn wake_all(&mut self) {
        self.idle.drain(..).for_each(|(_, waker)| waker.wake());
    }
}
