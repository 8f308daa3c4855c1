//! Which log is compacted next: one at a time, as Kafka's one cleaner thread does it [L23].

use crate::node::{Cx, Node};
use crate::timers::Timer;
use klamm_base::Now;
use klamm_log::format::file;
use klamm_replica::Event;

impl Node {
    /// Looks for a log to clean, and again later if there is none.
    pub(crate) fn clean_due(&mut self, cx: &mut Cx) {
        if self.cleaning.is_some() {
            return;
        }
        let Some(slot) = self.dirtiest(cx.now) else {
            return self.timers.set(cx.now.after_ms(self.config.cleaner.backoff_ms), Timer::Clean);
        };
        self.cleaning = Some(slot);
        let recovery_point = self.written_recovery_point(slot);
        let dedupe_buffer_bytes = self.config.cleaner.dedupe_buffer_bytes;
        self.step_replica(slot, Event::Clean { recovery_point, dedupe_buffer_bytes }, cx);
    }

    /// The log with the most dirt in proportion, among those that are due.
    fn dirtiest(&self, now: Now) -> Option<u32> {
        let mut best = None;
        for slot in 0..self.partitions.len() as u32 {
            let replica = &self.partitions.slot(slot).replica;
            let Some(survey) = replica.survey(now, self.written_recovery_point(slot)) else { continue };
            let ratio = survey.dirty_ratio();
            let is_due = survey.dirty_bytes > 0 && survey.is_due(&replica.log_config().compaction);
            if is_due && best.is_none_or(|(dirtiest, _)| ratio > dirtiest) {
                best = Some((ratio, slot));
            }
        }
        best.map(|(_, slot)| slot)
    }

    /// The recovery point that the checkpoint says: its write was asked for before any write of a clean that rests on it, and a
    /// directory's writes keep their order.
    fn written_recovery_point(&self, slot: u32) -> i64 {
        let place = self.partitions.slot(slot);
        let checkpoints = &self.dirs.all[place.dir].checkpoints;
        checkpoints.loaded(file::RECOVERY_POINTS, place.topic(), place.tp.partition).unwrap_or(0)
    }

    /// A clean has ended. What is clean now is written down at once: the next look is for another log.
    pub(crate) fn clean_ended(&mut self, slot: u32, cx: &mut Cx) {
        if self.cleaning != Some(slot) {
            return;
        }
        self.cleaning = None;
        let dir = self.partitions.slot(slot).dir;
        if self.dirs.all[dir].is_online() {
            self.write_checkpoint(dir, file::CLEANER_OFFSETS, cx);
        }
        self.timers.set(cx.now.mono_ns, Timer::Clean);
    }
}
