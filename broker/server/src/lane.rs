//! Queues of disk operations and the tasks that serve them.

use crate::machine::DiskId;
use klamm_base::DiskOp;
use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

/// One operation to perform.
pub(crate) type Work = (DiskId, DiskOp);

/// Which queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LaneName {
    /// What changes a log directory, by its place in `log.dirs`: one task for each, strictly in order. A disk that is slow or
    /// hangs holds up no other.
    Writes(usize),
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

/// The queues of what changes something.
#[derive(Debug)]
pub(crate) struct Writes {
    /// `log.dirs`.
    dirs: Vec<String>,
    /// One for each.
    lanes: Vec<Lane>,
}

impl Writes {
    pub(crate) fn new(dirs: Vec<String>) -> Writes {
        assert!(!dirs.is_empty(), "a node has a log directory");
        Writes { lanes: dirs.iter().map(|_| Lane::default()).collect(), dirs }
    }

    /// Queues an operation behind those of its directory.
    pub(crate) fn push(&mut self, work: Work) {
        let dir = self.dir_of(work.1.path());
        self.lanes[dir].push(work);
    }

    pub(crate) fn lane(&mut self, dir: usize) -> &mut Lane {
        &mut self.lanes[dir]
    }

    pub(crate) fn count(&self) -> usize {
        self.lanes.len()
    }

    pub(crate) fn wake_all(&mut self) {
        self.lanes.iter_mut().for_each(Lane::wake_all);
    }

    /// The directory that a path lies in; the innermost, should one lie in another. What lies in none, like the folder above
    /// them, goes with the first.
    fn dir_of(&self, path: &str) -> usize {
        if self.dirs.len() == 1 {
            return 0;
        }
        let holds = |dir: &str| path.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let holding = self.dirs.iter().enumerate().filter(|(_, dir)| holds(dir));
        holding.max_by_key(|(_, dir)| dir.len()).map_or(0, |(at, _)| at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_log_directory_has_its_own_queue() {
        let mut writes = Writes::new(["a", "b", "b/c"].map(str::to_owned).to_vec());
        for (id, path) in ["b/x", "b/c/x", "a", "", "bc/x", "b/c", "b", "a/b/x"].into_iter().enumerate() {
            writes.push((DiskId(id as u64), DiskOp::SyncDir { path: path.to_owned() }));
        }
        let mut queued = |dir: usize| std::iter::from_fn(|| Some(writes.lane(dir).pop()?.0.0)).collect::<Vec<_>>();
        assert_eq!([queued(0), queued(1), queued(2)], [vec![2, 3, 4, 7], vec![0, 6], vec![1, 5]]);
    }
}
