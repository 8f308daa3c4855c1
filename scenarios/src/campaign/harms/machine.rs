//! Clocks, processes and whole machines.

use super::{for_a_while, on_the_victim, some_broker, some_node};
use crate::campaign::draft::Draft;
use crate::script::{Action, Gc, Limit, Lose, Skew, SkewKind, Slow, SlowCpu, Span, Step, Stop, Target};
use klamm_sim::{Collector, DiskFate, Leap};

fn skewed(draft: &mut Draft, how: SkewKind) -> Vec<Step> {
    let target = some_node(draft);
    for_a_while(draft, Action::Skew(Skew { target, how }))
}

/// So much, of either sign.
fn either_sign(draft: &mut Draft, least: u64, most: u64) -> i64 {
    let sign = if draft.draws.chance(1, 2) { 1 } else { -1 };
    sign * draft.draws.between(least, most) as i64
}

pub fn clock_jump(draft: &mut Draft) -> Vec<Step> {
    let ms = either_sign(draft, 100, 60_000);
    skewed(draft, SkewKind::Jump(ms))
}

pub fn clock_drift(draft: &mut Draft) -> Vec<Step> {
    let ppm = either_sign(draft, 50, 200_000);
    skewed(draft, SkewKind::Drift(ppm))
}

pub fn timer_drift(draft: &mut Draft) -> Vec<Step> {
    let ppm = either_sign(draft, 50, 300_000);
    skewed(draft, SkewKind::Timers(ppm))
}

pub fn leap_second(draft: &mut Draft) -> Vec<Step> {
    skewed(draft, SkewKind::Leap(Leap::Repeated))
}

pub fn leap_smear(draft: &mut Draft) -> Vec<Step> {
    let over_ns = draft.draws.between(1_000, 20_000) * 1_000_000;
    skewed(draft, SkewKind::Leap(Leap::Smeared { over_ns }))
}

/// A stop in good order, or one that is cut short.
pub fn stop(draft: &mut Draft) -> Vec<Step> {
    let within = *draft.draws.pick(&[Span::ms(1), Span::ms(200), Stop::GRACE]);
    let target = some_node(draft);
    for_a_while(draft, Action::Stop(Stop { target, within }))
}

pub fn gc(draft: &mut Draft) -> Vec<Step> {
    let (_, collector) = *draft.draws.pick(&Collector::ALL);
    let target = some_node(draft);
    let lasts = Span::ms(draft.draws.between(5_000, 20_000));
    vec![Step::new(Action::Gc(Gc { target, collector })).at(draft.instant()).lasting(lasts)]
}

pub fn slow_cpu(draft: &mut Draft) -> Vec<Step> {
    let min = Span(draft.draws.between(1, 50) * 1_000);
    let max = Span(min.0 * draft.draws.between(2, 20));
    let cpu = some_node(draft);
    for_a_while(draft, Action::Slow(Slow::Cpu(SlowCpu { cpu, min, max })))
}

fn limited(draft: &mut Draft, open_files: Option<u32>, memory: Option<u64>, kill: bool) -> Vec<Step> {
    let target = some_broker(draft);
    for_a_while(draft, Action::Limit(Limit { target, open_files, memory, kill }))
}

pub fn open_files(draft: &mut Draft) -> Vec<Step> {
    let limit = draft.draws.between(3, 60) as u32;
    limited(draft, Some(limit), None, false)
}

pub fn out_of_memory(draft: &mut Draft) -> Vec<Step> {
    let bytes = draft.draws.between(1_000, 200_000);
    limited(draft, None, Some(bytes), false)
}

pub fn oom_kill(draft: &mut Draft) -> Vec<Step> {
    let bytes = draft.draws.between(1_000, 200_000);
    limited(draft, None, Some(bytes), true)
}

/// What was not synced is at risk: it waits for a full in-sync set, as every loss of power does.
pub fn machine_loss(draft: &mut Draft) -> Vec<Step> {
    let (target, at, lasts) = (some_broker(draft), draft.instant(), draft.around_session());
    let partition = target.partition().cloned().unwrap_or_else(|| draft.partition());
    let step = Step::new(Action::Lose(Lose { target, disk: DiskFate::Returns })).at(at).lasting(lasts);
    draft.in_sync(partition).map(|trigger| step.when(trigger)).into_iter().collect()
}

pub fn machine_and_disk_loss(draft: &mut Draft) -> Vec<Step> {
    on_the_victim(draft, |target| Action::Lose(Lose { target, disk: DiskFate::Lost }))
}

pub fn wipe(draft: &mut Draft) -> Vec<Step> {
    on_the_victim(draft, Action::Wipe as fn(Target) -> Action)
}
