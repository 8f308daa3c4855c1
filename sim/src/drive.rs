//! How a run goes on: what is ready is polled, one task after the other, and when nothing is, the next thing happens.

use crate::ctx;
use crate::embed::OuterClock;
use crate::exec::Turn;
use crate::guest;
use crate::slab::Id;
use crate::spans;
use crate::timer::NEVER;
use crate::waits::{self, check_limit};
use crate::world::{Inner, settle, with};
use std::future::poll_fn;
use std::mem::ManuallyDrop;
use std::rc::Rc;
use std::task::{Context, Poll};

/// So long madsim gets to drop what guests left.
const LINGER_NS: u64 = 20_000_000;

/// A whole run, from `open` to the end of every task, with nobody beside it. `advance` hears of each time step.
pub(crate) fn alone(open: impl FnOnce(), is_over: &dyn Fn() -> bool, advance: &dyn Fn(u64)) {
    open();
    to_the_end(is_over, advance);
    shut_down();
}

/// Not generic, so that it is compiled here, with all that it calls.
fn to_the_end(is_over: &dyn Fn() -> bool, advance: &dyn Fn(u64)) {
    settle(false);
    loop {
        match with(Inner::turn) {
            Some((id, turn)) => {
                settle(poll(id, turn));
                // Only a poll can end it.
                if is_over() {
                    return;
                }
            }
            None => settle(step(advance)),
        }
    }
}

/// The same as one task of madsim, with guests beside it. It takes its own time steps when madsim's clock is there, and
/// rests whenever there is nothing to do before that.
pub(crate) async fn as_task(open: impl FnOnce(), is_over: &dyn Fn() -> bool) {
    let clock = OuterClock::here();
    let mut open = Some(open);
    let mut wakes_at = None;
    poll_fn(|cx| {
        guest::come_in();
        if let Some(open) = open.take() {
            open();
        }
        settle(false);
        let due = loop {
            if is_over() {
                return Poll::Ready(());
            }
            match with(Inner::turn) {
                Some((id, turn)) => settle(poll(id, turn)),
                None => match until(clock.now_ns()) {
                    Some(due) => break due,
                    None => settle(step(&|_| ())),
                },
            }
        };
        // A time that was asked for cannot be taken back, but asking twice for one is a waste.
        if due != NEVER && wakes_at.is_none_or(|at| at > due || at <= clock.now_ns()) {
            clock.wake_at(due, cx);
            wakes_at = Some(due);
        }
        guest::go_out(cx.waker(), &clock);
        Poll::Pending
    })
    .await;
    shut_down();
    if with(|world| !world.guests.is_empty()) {
        // madsim drops what is dead when it meets it, and keeps for ever what it never met.
        let leave = |cx: &mut Context<'_>| {
            guest::go_out(cx.waker(), &clock);
            Poll::Ready(())
        };
        poll_fn(leave).await;
        clock.wait(LINGER_NS).await;
        guest::come_in();
    }
}

/// Until when there is nothing to do; `None` if something is due.
fn until(now: u64) -> Option<u64> {
    let (next, limit, has_guests) =
        with(|world| (world.next_at(), world.config.limit_ns.unwrap_or(NEVER), !world.guests.is_empty()));
    check_limit(now, limit);
    match next {
        Some(at) if at <= now => None,
        Some(at) => Some(at.min(limit.saturating_add(1))),
        // A step that never comes says what is wrong. With guests only madsim knows that it never comes.
        None => has_guests.then_some(NEVER),
    }
}

/// Polls a task. True if that left nobody to be woken, told or buried.
#[inline(always)]
fn poll(id: Id, turn: Turn) -> bool {
    let before = ctx::enter(turn.context);
    let span = spans::enter(turn.context);
    assert!(!turn.livelocked, "a million polls at one instant: this task, or those that wake it, never wait");
    let polled = turn.body.poll();
    let body = ManuallyDrop::into_inner(turn.body);
    let quiet = match polled {
        Poll::Pending => {
            let ended_meanwhile = Rc::strong_count(&body) == 1;
            drop(body);
            !ended_meanwhile && with(|world| world.is_quiet())
        }
        Poll::Ready(()) => {
            let future = body.future.take();
            let freed = with(|world| world.exec.remove(id));
            assert!(freed.is_none(), "the future of a task that is over is not in the table");
            drop(future);
            false
        }
    };
    drop(span);
    ctx::enter(before);
    quiet
}

/// The next thing in time happens. True if that left nobody to be woken, told or buried.
#[inline(always)]
fn step(advance: &dyn Fn(u64)) -> bool {
    let Some((entry, after_ns)) = with(Inner::next_step) else { panic!("{}", waits::deadlock()) };
    if after_ns > 0 {
        advance(after_ns);
    }
    let (waker, quiet) = with(|world| {
        world.set_time(entry.at);
        world.handle(entry.event);
        (world.only_waker(), world.is_quiet())
    });
    // Nearly always there is one task to wake, and nothing else.
    let Some(waker) = waker else { return quiet };
    waker.wake();
    with(|world| world.is_quiet())
}

/// Ends every task, as its host. What it spawns from a Drop is swallowed.
fn shut_down() {
    loop {
        let corpses = with(|world| {
            world.over = true;
            let mut corpses = world.exec.remove_all(|_| true);
            corpses.append(&mut world.exec.graveyard);
            corpses
        });
        if corpses.is_empty() {
            return;
        }
        for corpse in corpses {
            corpse.bury();
        }
    }
}
