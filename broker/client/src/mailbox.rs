//! A queue that one task empties and others fill.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

/// Events for one task. Filling it wakes the task once.
pub struct Mailbox<E> {
    inner: Mutex<Inner<E>>,
}

struct Inner<E> {
    events: VecDeque<E>,
    waker: Option<Waker>,
}

impl<E> Default for Mailbox<E> {
    fn default() -> Self {
        Self { inner: Mutex::new(Inner { events: VecDeque::new(), waker: None }) }
    }
}

impl<E> Mailbox<E> {
    /// Adds an event and wakes the task that waits, if one does.
    pub fn put(&self, event: E) {
        let waker = {
            let mut inner = self.inner.lock().expect("a mailbox is never poisoned");
            inner.events.push_back(event);
            inner.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The oldest event, if there is one.
    pub fn take(&self) -> Option<E> {
        self.inner.lock().expect("a mailbox is never poisoned").events.pop_front()
    }

    /// The oldest event; the task is woken when one comes.
    pub fn poll_take(&self, cx: &mut Context<'_>) -> Poll<E> {
        let mut inner = self.inner.lock().expect("a mailbox is never poisoned");
        match inner.events.pop_front() {
            Some(event) => Poll::Ready(event),
            None => {
                inner.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}
