//! Who waits for what, when nothing will ever happen again.

use crate::ctx;
use crate::exec::Task;
use crate::run::Panic;
use crate::timer::NEVER;
use crate::world::{Inner, with};
use std::task::Waker;

/// So many tasks are told of.
const TOLD: usize = 20;

/// Nothing will ever happen again, and main is not over: who waits for what.
pub(crate) fn deadlock() -> String {
    let mut waiting: Vec<String> = with(|world| world.exec.tasks.iter().map(|(_, task)| world.tell_of(task)).collect());
    let more = waiting.len().saturating_sub(TOLD);
    waiting.truncate(TOLD);
    if more > 0 {
        waiting.push(format!("and {more} more tasks"));
    }
    format!("deadlock: nothing will ever happen, and these wait:\n  {}", waiting.join("\n  "))
}

/// What madsim says where guests run, in our words: it sees that nothing will ever happen, but not who waits.
pub(crate) fn explain(panic: Panic) -> Panic {
    let limit = with(|world| world.config.limit_ns);
    let message = match (panic.message.as_str(), limit) {
        ("no events, all tasks will block forever", _) => deadlock(),
        (said, Some(limit)) if said.starts_with("time limit exceeded") => over_limit(limit),
        _ => return panic,
    };
    Panic { message, ..panic }
}

/// That a run does not go on beyond its limit.
pub(crate) fn check_limit(at_ns: u64, limit_ns: u64) {
    assert!(at_ns <= limit_ns, "{}", over_limit(limit_ns));
}

/// A run takes longer than it may.
pub(crate) fn over_limit(limit_ns: u64) -> String {
    format!("the run is not over after {limit_ns} ns")
}

fn who(task: &Task) -> String {
    let host = ctx::host_name(task.context.host).unwrap_or_else(|| "stage".to_owned());
    format!("{host}/{}", ctx::task_name(task.context.name))
}

impl Inner {
    /// `host/task, made at FILE:LINE:COLUMN, waits for …`
    fn tell_of(&self, task: &Task) -> String {
        let site = task.site.map(|site| format!(", made at {site},")).unwrap_or_default();
        let is_paused = self.machines.get(task.context.host as usize).is_some_and(|machine| machine.pauses != 0);
        let what = match task.body.is_running() {
            _ if is_paused => "its paused host".to_owned(),
            true => "its own end".to_owned(),
            false => self.waits_for(&task.body.waker),
        };
        format!("{}{site} waits for {what}", who(task))
    }

    fn waits_for(&self, waker: &Waker) -> String {
        let is = |other: &Waker| other.will_wake(waker);
        if let Some(what) = self.net.waits(waker) {
            return what;
        }
        let joined = self.exec.tasks.iter().find(|(_, task)| task.joiner.as_ref().is_some_and(is));
        if let Some((_, task)) = joined {
            return format!("the end of {}", who(task));
        }
        if self.machines.iter().any(|machine| machine.stop.wakers.iter().any(is)) {
            return "a stop".to_owned();
        }
        match self.timers.waits(waker) {
            Some(NEVER) => "a timer that is not set".to_owned(),
            Some(at) => format!("a timer that is set to {at} ns"),
            None => "another task: a channel, a lock, or nothing".to_owned(),
        }
    }
}
