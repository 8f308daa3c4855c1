//! Compaction of the replica's log. Each replica cleans its own, by its own clock; what is not committed stays as it is.

use crate::Replica;
use crate::state::Phase;
use crate::types::Command;
use klamm_base::{DiskDone, Now, Outbox};
use klamm_log::{CleanError, CleanOrders, Cleaned, Cleaner, Log, LogConfig, Survey};

/// What is known of the cleaning of a log.
#[derive(Debug, Default)]
pub(crate) struct Cleaning {
    /// The clean that is under way.
    cleaner: Option<Cleaner>,
    /// All below is clean; `None` if nobody remembers a clean.
    clean_to: Option<i64>,
    /// The log holds something that cannot be cleaned: it is left alone while this process lives.
    given_up: bool,
}

impl Cleaning {
    pub(crate) fn knowing(clean_to: Option<i64>) -> Self {
        Self { clean_to, ..Self::default() }
    }
}

impl Replica {
    /// All below is clean, as `cleaner-offset-checkpoint` has it; `None` if the log was never cleaned.
    pub fn clean_to(&self) -> Option<i64> {
        self.cleaning.clean_to
    }

    /// What its log may do.
    pub fn log_config(&self) -> &LogConfig {
        &self.config.log
    }

    /// What a clean would do now; `None` if this log is not to be cleaned, or is being cleaned. `recovery_point` is what the
    /// checkpoint on disk says of it.
    pub fn survey(&self, now: Now, recovery_point: i64) -> Option<Survey> {
        let cleaning = &self.cleaning;
        let may = self.phase == Phase::Live && self.config.log.compact && !cleaning.given_up;
        let log = self.log.as_ref().filter(|_| may && cleaning.cleaner.is_none())?;
        let stable = log.last_stable_offset(self.high_watermark).min(recovery_point);
        Some(log.survey(stable, cleaning.clean_to, now.wall_ms))
    }

    pub(crate) fn clean(&mut self, now: Now, recovery_point: i64, dedupe_buffer_bytes: u64, out: &mut Outbox<Command>) {
        let orders = CleanOrders { dedupe_buffer_bytes, guards: self.guards };
        let survey = self.survey(now, recovery_point).filter(|survey| survey.dirty_bytes > 0);
        let Some((survey, log)) = survey.zip(self.log.as_mut()) else {
            return out.push(Command::CleanEnded);
        };
        let cleaner = Cleaner::start(log, &survey, orders, now, &mut self.disk);
        self.cleaning.cleaner = Some(cleaner);
    }

    /// True if the completion was the cleaner's.
    pub(crate) fn cleaner_done(&mut self, now: Now, done: &DiskDone, out: &mut Outbox<Command>) -> bool {
        let Some(cleaner) = self.cleaning.cleaner.as_mut().filter(|cleaner| cleaner.owns(done.ticket)) else {
            return false;
        };
        let ended = match &mut self.log {
            Some(log) if self.phase == Phase::Live => {
                cleaner.step(log, now, done.clone(), &mut self.disk).err().map(Err)
            }
            _ => Some(Err(CleanError::Cut)),
        };
        self.clean_ended(ended, out);
        true
    }

    /// A cleaned segment is in its place.
    pub(crate) fn swapped(&mut self, now: Now, out: &mut Outbox<Command>) {
        let Some((cleaner, log)) = self.cleaning.cleaner.as_mut().zip(self.log.as_mut()) else { return };
        let ended = match self.phase {
            Phase::Live => cleaner.swapped(log, now, &mut self.disk).transpose(),
            _ => Some(Err(CleanError::Cut)),
        };
        self.clean_ended(ended, out);
    }

    fn clean_ended(&mut self, ended: Option<Result<Cleaned, CleanError>>, out: &mut Outbox<Command>) {
        let Some(ended) = ended else { return };
        self.cleaning.cleaner = None;
        match ended {
            Ok(cleaned) => self.cleaning.clean_to = Some(cleaned.first_dirty),
            Err(CleanError::Cut) => {}
            Err(CleanError::Unreadable { .. }) => self.cleaning.given_up = true,
            Err(CleanError::Disk(error)) => self.fail(error, out),
        }
        out.push(Command::CleanEnded);
    }

    /// The log was cut: what comes behind its end is dirty.
    pub(crate) fn clean_only_below(&mut self) {
        let end = self.log.as_ref().map_or(0, Log::next_offset);
        self.cleaning.clean_to = self.cleaning.clean_to.map(|clean_to| clean_to.min(end));
    }
}
