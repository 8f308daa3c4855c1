//! Around every poll a `tracing` span with the host and the task, for subscribers that want the target `klamm_sim::task` at
//! `TRACE`. Where none does, it costs one comparison.

use crate::ctx::{self, Context};
use tracing::span::EnteredSpan;
use tracing::{Level, level_filters::LevelFilter};

/// Enters the span of whoever is polled.
pub(crate) fn enter(context: Context) -> Option<EnteredSpan> {
    if LevelFilter::current() < Level::TRACE {
        return None;
    }
    wanted(context)
}

#[cold]
fn wanted(context: Context) -> Option<EnteredSpan> {
    if !tracing::enabled!(target: "klamm_sim::task", Level::TRACE) {
        return None;
    }
    let host = ctx::host_name(context.host).unwrap_or_else(|| "stage".to_owned());
    let task = ctx::task_name(context.name);
    Some(tracing::span!(target: "klamm_sim::task", Level::TRACE, "task", %host, %task).entered())
}
