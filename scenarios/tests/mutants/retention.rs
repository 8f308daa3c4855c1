//! Mutations of where logs begin, and of what checks of the retention told.

use super::scene::Scene;
use klamm_base::{Draws, NodeId, Observation, StartCause, TopicPartition};

/// A check that saw some segments whole, deleted so many of them (or none), and is told (entry, node).
fn check(scene: &Scene, draws: &mut Draws, wanted: impl Fn(&Observation) -> bool) -> Option<(usize, NodeId)> {
    scene.place_told(draws, |at, node, it| {
        let Observation::RetentionRan { tp, segments, .. } = it else { return None };
        let whole = *tp != TopicPartition::METADATA && segments.len() > 1;
        (whole && wanted(it)).then_some((at, node))
    })
}

fn deleted_nothing(it: &Observation) -> bool {
    matches!(it, Observation::RetentionRan { deleted: 0, .. })
}

/// A check deletes one segment more than had to go.
pub fn segment_too_many(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let (at, _) = check(scene, draws, deleted_nothing)?;
    let Observation::RetentionRan { deleted, .. } = scene.observation(at) else { return None };
    *deleted += 1;
    Some(())
}

/// A check leaves a segment that had to go.
pub fn segment_kept(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let (at, _) = check(scene, draws, |it| matches!(it, Observation::RetentionRan { deleted: 1.., .. }))?;
    let Observation::RetentionRan { deleted, .. } = scene.observation(at) else { return None };
    *deleted -= 1;
    Some(())
}

/// A check names a segment that is a byte longer than what was written.
pub fn segment_misnamed(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let (at, _) = check(scene, draws, deleted_nothing)?;
    let Observation::RetentionRan { segments, .. } = scene.observation(at) else { return None };
    segments[0].bytes += 1;
    Some(())
}

/// A check names a segment that is a millisecond older than its newest record.
pub fn segment_aged(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let (at, _) = check(scene, draws, deleted_nothing)?;
    let Observation::RetentionRan { segments, .. } = scene.observation(at) else { return None };
    segments[0].newest_ms -= 1;
    Some(())
}

/// A check goes by other limits than the topic was made with.
pub fn limits_changed(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let (at, _) = check(scene, draws, deleted_nothing)?;
    let Observation::RetentionRan { retention_bytes, .. } = scene.observation(at) else { return None };
    *retention_bytes += 1;
    Some(())
}

/// A check goes by a lower high watermark than its node told last.
pub fn check_lags(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let (at, _) = check(scene, draws, |it| {
        deleted_nothing(it) && matches!(it, Observation::RetentionRan { high_watermark: 1.., .. })
    })?;
    let Observation::RetentionRan { high_watermark, .. } = scene.observation(at) else { return None };
    *high_watermark -= 1;
    Some(())
}

/// A check goes by a clock that is wrong, and nobody made it so.
pub fn check_late(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let (at, _) = check(scene, draws, deleted_nothing)?;
    let Observation::RetentionRan { wall_ms, .. } = scene.observation(at) else { return None };
    *wall_ms += 2_000;
    Some(())
}

/// A log begins later by records that nobody asked to delete.
pub fn start_unasked(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let (at, node) = check(scene, draws, |it| {
        let Observation::RetentionRan { log_start, high_watermark, .. } = it else { return false };
        deleted_nothing(it) && log_start < high_watermark
    })?;
    let Observation::RetentionRan { tp, log_start, wall_ms, .. } = *scene.observation(at) else { return None };
    let (to, cause) = (log_start + 1, StartCause::DeleteRecords);
    scene.insert(at + 1, node, Observation::LogStartMoved { tp, to, cause, wall_ms });
    Some(())
}

/// A log begins later, and no check says why.
pub fn start_unfounded(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let (at, node) = check(scene, draws, deleted_nothing)?;
    let Observation::RetentionRan { tp, log_start, wall_ms, .. } = *scene.observation(at) else { return None };
    let (to, cause) = (log_start + 1, StartCause::Leader);
    let highest = scene.told_before(at).filter_map(|(_, _, it)| match it {
        Observation::LogStartMoved { tp: of, to, .. } if *of == tp => Some(*to),
        _ => None,
    });
    (highest.max().unwrap_or(0) < to).then_some(())?;
    scene.insert(at + 1, node, Observation::LogStartMoved { tp, to, cause, wall_ms });
    Some(())
}

/// A log begins behind what is committed.
pub fn start_uncommitted(scene: &mut Scene, draws: &mut Draws) -> Option<()> {
    let (at, node, tp, to) = scene.place_told(draws, |at, node, it| match it {
        Observation::Appended { tp, last_offset, as_leader: true, .. } if *tp != TopicPartition::METADATA => {
            (scene.frontier(*tp, at) <= *last_offset).then_some((at, node, *tp, *last_offset + 1))
        }
        _ => None,
    })?;
    let wall_ms = 0;
    scene.insert(at + 1, node, Observation::LogStartMoved { tp, to, cause: StartCause::DeleteRecords, wall_ms });
    Some(())
}
