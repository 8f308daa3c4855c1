//! When things happen: shorter runs, shorter faults, earlier instants, smaller counts, rounder numbers.

use super::{edited, shorter, smaller};
use crate::script::{Script, Span, Step, Trigger};

/// A shorter run; what would strike later strikes no more.
pub fn run_length(script: &Script) -> Vec<Script> {
    let lengths = shorter(script.duration, 100).into_iter();
    lengths.map(|duration| edited(script, |script| script.duration = duration)).collect()
}

/// Everything earlier, each fault shorter, each trigger sooner.
pub fn times(script: &Script) -> Vec<Script> {
    let mut all = earlier(script);
    for index in 0..script.producers.len() {
        let starts = shorter(script.producers[index].start, 0).into_iter();
        all.extend(starts.map(|start| edited(script, |script| script.producers[index].start = start)));
    }
    for index in 0..script.consumers.len() {
        let starts = shorter(script.consumers[index].start, 0).into_iter();
        all.extend(starts.map(|start| edited(script, |script| script.consumers[index].start = start)));
    }
    for index in 0..script.steps.len() {
        all.extend(of_step(&script.steps[index]).into_iter().map(|step| edited(script, |s| s.steps[index] = step)));
    }
    all
}

/// Nothing happens before the first step or record: all that and the end of the run come earlier by as much, or by a part.
fn earlier(script: &Script) -> Vec<Script> {
    let strikes = script.steps.iter().map(|step| step.at.unwrap_or(Span::ZERO));
    let first = strikes.chain(script.producers.iter().map(|p| p.start)).min().unwrap_or(Span::ZERO);
    let parts = [8, 6, 4, 2].into_iter().map(|eighths| Span::ms(first.as_ms() * eighths / 8));
    parts.filter(|by| !by.is_zero()).map(|by| moved(script, by)).collect()
}

fn moved(script: &Script, by: Span) -> Script {
    edited(script, |script| {
        let starts = script.producers.iter_mut().map(|p| &mut p.start);
        let starts = starts.chain(script.consumers.iter_mut().map(|c| &mut c.start));
        let strikes = script.steps.iter_mut().filter_map(|step| step.at.as_mut());
        let all = starts.chain(strikes).chain(std::iter::once(&mut script.duration));
        all.for_each(|time| time.0 = time.0.saturating_sub(by.0));
    })
}

/// A step that is over sooner, or comes sooner.
fn of_step(step: &Step) -> Vec<Step> {
    let mut all = Vec::new();
    if step.when.is_some() && step.at.is_some() {
        all.push(Step { at: None, ..step.clone() });
    }
    if let Some(after) = step.after {
        all.push(Step { after: None, ..step.clone() });
        all.extend(shorter(after, 0).into_iter().map(|after| Step { after: Some(after), ..step.clone() }));
    }
    if let Some(lasts) = step.lasts {
        all.extend(shorter(lasts, 1).into_iter().map(|lasts| Step { lasts: Some(lasts), ..step.clone() }));
    }
    if let Some(at) = step.at {
        all.extend(shorter(at, 0).into_iter().map(|at| Step { at: Some(at), ..step.clone() }));
    }
    all.extend(sooner(step));
    all
}

/// A step whose trigger counts less far.
fn sooner(step: &Step) -> Vec<Step> {
    let mut step = step.clone();
    let Some(nth) = step.when.as_mut().and_then(Trigger::count_mut).map(|nth| *nth) else { return Vec::new() };
    let with = |less: u64| {
        let mut step = step.clone();
        if let Some(nth) = step.when.as_mut().and_then(Trigger::count_mut) {
            *nth = less;
        }
        step
    };
    smaller(nth, 1).into_iter().map(with).collect()
}

/// Times that people write: whole seconds, or tenths, or hundredths of a second, or milliseconds; all at once, then each. Only
/// downwards, so that no other pass undoes it for ever.
pub fn rounded(script: &Script) -> Vec<Script> {
    let count = spans(&mut script.clone()).len();
    let units = [1_000_000_000, 100_000_000, 10_000_000, 1_000_000];
    let at_once = units
        .into_iter()
        .map(|unit| edited(script, |script| spans(script).into_iter().for_each(|span| span.0 = round(span.0, unit))));
    let each = (0..count).flat_map(|index| {
        units.into_iter().map(move |unit| {
            edited(script, |script| {
                let span = &mut spans(script)[index];
                span.0 = round(span.0, unit);
            })
        })
    });
    at_once.chain(each).collect()
}

/// Down to the unit, unless that leaves nothing.
fn round(ns: u64, unit: u64) -> u64 {
    if ns < unit { ns } else { ns / unit * unit }
}

/// Every time in a script.
fn spans(script: &mut Script) -> Vec<&mut Span> {
    let starts = script.producers.iter_mut().map(|p| &mut p.start);
    let starts = starts.chain(script.consumers.iter_mut().map(|c| &mut c.start));
    let steps = script
        .steps
        .iter_mut()
        .flat_map(|step| [step.at.as_mut(), step.after.as_mut(), step.lasts.as_mut()].into_iter().flatten());
    std::iter::once(&mut script.duration).chain(starts).chain(steps).collect()
}
