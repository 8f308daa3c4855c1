//! Disks that fail, lie, fill and forget.

use super::{for_a_while, on_the_victim, some_node};
use crate::campaign::draft::Draft;
use crate::script::{Action, Corrupt, DiskHarm, Fill, Rot, Share, Step, Target};
use klamm_sim::{DiskFaultKind, Often};

fn harm(target: Target, kind: DiskFaultKind, often: Often) -> Action {
    Action::Disk(DiskHarm { target, kind, often, path: String::new(), device: None })
}

/// At the nth operation, now and then, or always.
fn often(draft: &mut Draft) -> Often {
    match draft.draws.below(3) {
        0 => Often::Nth(draft.draws.between(1, 60)),
        1 => Often::Sometimes(*draft.draws.pick(&[0.01, 0.1, 0.5])),
        _ => Often::Always,
    }
}

/// An error that is told: whoever meets it stops, and is started again when the episode is over.
fn told(draft: &mut Draft, kind: DiskFaultKind) -> Vec<Step> {
    let (target, often) = (some_node(draft), often(draft));
    for_a_while(draft, harm(target, kind, often))
}

pub fn read_error(draft: &mut Draft) -> Vec<Step> {
    told(draft, DiskFaultKind::ReadError)
}

pub fn write_error(draft: &mut Draft) -> Vec<Step> {
    told(draft, DiskFaultKind::WriteError)
}

pub fn short_write(draft: &mut Draft) -> Vec<Step> {
    told(draft, DiskFaultKind::ShortWrite)
}

pub fn no_space(draft: &mut Draft) -> Vec<Step> {
    let target = some_node(draft);
    for_a_while(draft, Action::Fill(Fill { target, full: Share(1_000_000), device: None }))
}

pub fn stuck(draft: &mut Draft) -> Vec<Step> {
    let target = some_node(draft);
    for_a_while(draft, harm(target, DiskFaultKind::Stuck, Often::Always))
}

pub fn slow(draft: &mut Draft) -> Vec<Step> {
    let (target, factor) = (some_node(draft), *draft.draws.pick(&[3.0, 20.0, 200.0]));
    for_a_while(draft, harm(target, DiskFaultKind::Slow { factor }, Often::Always))
}

pub fn throttled(draft: &mut Draft) -> Vec<Step> {
    let (target, bytes_per_second) = (some_node(draft), draft.draws.between(2_000, 200_000));
    for_a_while(draft, harm(target, DiskFaultKind::Throttled { bytes_per_second }, Often::Always))
}

pub fn sync_error(draft: &mut Draft) -> Vec<Step> {
    on_the_victim(draft, |victim| harm(victim, DiskFaultKind::SyncError, Often::Always))
}

pub fn bit_rot(draft: &mut Draft) -> Vec<Step> {
    on_the_victim(draft, |target| {
        Action::Corrupt(Corrupt::AtRest(Rot { target, bits: 3, path: String::new(), device: None }))
    })
}

pub fn misdirected_write(draft: &mut Draft) -> Vec<Step> {
    on_the_victim(draft, |victim| harm(victim, DiskFaultKind::MisdirectedWrite, Often::Nth(5)))
}

pub fn misdirected_read(draft: &mut Draft) -> Vec<Step> {
    on_the_victim(draft, |victim| harm(victim, DiskFaultKind::MisdirectedRead, Often::Nth(3)))
}

/// A sync that lies, and then the loss of power that shows it.
pub fn lying_sync(draft: &mut Draft) -> Vec<Step> {
    let mut steps = on_the_victim(draft, |victim| harm(victim, DiskFaultKind::LyingSync, Often::Always));
    let partition = draft.partition();
    if let (true, Some(first), Some(trigger)) = (draft.draws.chance(1, 2), steps.first(), draft.in_sync(partition)) {
        let loss = Step::new(Action::PowerOff(Target::Broker(draft.victim))).when(trigger);
        let loss = loss.at(first.at.unwrap_or_default()).after(draft.soon()).lasting(draft.around_session());
        steps.push(loss);
    }
    steps
}

pub fn removed(draft: &mut Draft) -> Vec<Step> {
    on_the_victim(draft, |victim| harm(victim, DiskFaultKind::Removed, Often::Always))
}

pub fn wiped(draft: &mut Draft) -> Vec<Step> {
    on_the_victim(draft, |victim| harm(victim, DiskFaultKind::Wiped, Often::Always))
}
