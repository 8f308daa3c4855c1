//! The way to leadership of a lone voter: load the log, read the epoch, raise it, make it durable.

use crate::QuorumConfig;
use crate::state_file::{self, QuorumState};
use klamm_base::{
    DiskDone, DiskError, DiskOp, DiskOut, DiskRequest, Guards, Now, Observe, Outbox, Ticket, TopicPartition,
};
use klamm_log::{LastKnown, Loader, Log};
use std::collections::VecDeque;

/// Tickets from here on are the quorum's own, those below are its log's.
pub(crate) const OWN_TICKETS: u64 = 1 << 63;

/// Before leading.
pub(crate) struct Opening {
    stage: Stage,
    next_ticket: u64,
}

enum Stage {
    Loading(Box<Loader>),
    /// The log's directory is made durable in its parents, and the state is read.
    Reading {
        log: Box<Log>,
        rest: VecDeque<DiskOp>,
    },
    Saving {
        log: Box<Log>,
        epoch: i32,
        rest: VecDeque<DiskOp>,
    },
    Over,
}

/// How far the opening is.
pub(crate) enum Opened {
    NotYet,
    /// `epoch` is durable and greater than any that was ever used: lead it on this log.
    Lead {
        log: Box<Log>,
        epoch: i32,
    },
    Failed(DiskError),
}

impl Opening {
    /// Begins with the log.
    pub(crate) fn start(
        config: &QuorumConfig,
        guards: Guards,
        observe: Observe,
        disk: &mut Outbox<DiskRequest>,
    ) -> Opening {
        let tp = TopicPartition::METADATA;
        let mut loader = Loader::new(tp, config.dir.clone(), config.log, LastKnown::default(), guards, observe);
        loader.start(disk);
        Opening { stage: Stage::Loading(Box::new(loader)), next_ticket: OWN_TICKETS }
    }

    /// One completion, of the loader or of an own operation.
    pub(crate) fn disk_done(
        &mut self,
        config: &QuorumConfig,
        now: Now,
        done: DiskDone,
        disk: &mut Outbox<DiskRequest>,
    ) -> Opened {
        let own = done.ticket.0 >= OWN_TICKETS;
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Loading(loader) => {
                assert!(!own, "nothing own is asked while the log loads");
                self.loading(config, now, loader, done, disk)
            }
            Stage::Reading { log, rest } => {
                assert!(own, "a loaded log asked for {:?}", done.ticket);
                self.reading(config, log, rest, done, disk)
            }
            Stage::Saving { log, epoch, rest } => {
                assert!(own, "a loaded log asked for {:?}", done.ticket);
                self.saving(log, epoch, rest, done, disk)
            }
            Stage::Over => panic!("a completion after the opening ended"),
        }
    }

    fn loading(
        &mut self,
        config: &QuorumConfig,
        now: Now,
        mut loader: Box<Loader>,
        done: DiskDone,
        disk: &mut Outbox<DiskRequest>,
    ) -> Opened {
        match loader.step(now, done, disk) {
            Ok(None) => self.stage = Stage::Loading(loader),
            Ok(Some(log)) => {
                let mut rest = sync_parents(&config.dir);
                rest.push_back(DiskOp::Read {
                    path: state_file::path(&config.dir),
                    position: 0,
                    len: state_file::MAX_LEN,
                });
                self.ask_next(&mut rest, disk);
                self.stage = Stage::Reading { log: Box::new(log), rest };
            }
            Err(error) => {
                return Opened::Failed(DiskError::Io { path: config.dir.clone(), message: error.to_string() });
            }
        }
        Opened::NotYet
    }

    fn reading(
        &mut self,
        config: &QuorumConfig,
        log: Box<Log>,
        mut rest: VecDeque<DiskOp>,
        done: DiskDone,
        disk: &mut Outbox<DiskRequest>,
    ) -> Opened {
        let seen = match done.result {
            Ok(DiskOut::Data(content)) => match QuorumState::parse(&content) {
                Ok(state) => state.leader_epoch,
                Err(message) => return Opened::Failed(DiskError::Io { path: state_file::path(&config.dir), message }),
            },
            Ok(_) => {
                self.ask_next(&mut rest, disk);
                self.stage = Stage::Reading { log, rest };
                return Opened::NotYet;
            }
            Err(DiskError::NotFound { .. }) if rest.is_empty() => 0,
            Err(error) => return Opened::Failed(error),
        };
        // Never again in an old epoch, not even in one of which only the log knows (K02, K4).
        let epoch = seen.max(log.latest_epoch().unwrap_or(0)) + 1;
        let mut rest = state_file::save(&config.dir, &QuorumState::leading(config, epoch));
        self.ask_next(&mut rest, disk);
        self.stage = Stage::Saving { log, epoch, rest };
        Opened::NotYet
    }

    fn saving(
        &mut self,
        log: Box<Log>,
        epoch: i32,
        mut rest: VecDeque<DiskOp>,
        done: DiskDone,
        disk: &mut Outbox<DiskRequest>,
    ) -> Opened {
        if let Err(error) = done.result {
            return Opened::Failed(error);
        }
        if rest.is_empty() {
            return Opened::Lead { log, epoch };
        }
        self.ask_next(&mut rest, disk);
        self.stage = Stage::Saving { log, epoch, rest };
        Opened::NotYet
    }

    fn ask_next(&mut self, rest: &mut VecDeque<DiskOp>, disk: &mut Outbox<DiskRequest>) {
        let op = rest.pop_front().expect("something is left to ask");
        disk.push(DiskRequest { ticket: Ticket(self.next_ticket), op });
        self.next_ticket += 1;
    }
}

/// Makes the entry of `dir` durable in each directory above it: the loader may just have made them.
fn sync_parents(dir: &str) -> VecDeque<DiskOp> {
    let parents = dir.match_indices('/').rev().map(|(at, _)| &dir[..at]).filter(|parent| !parent.is_empty());
    parents.map(|parent| DiskOp::SyncDir { path: parent.to_owned() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_directory_above_the_log_is_synced_innermost_first() {
        let paths: Vec<_> = sync_parents("a/b/c").iter().map(|op| op.path().to_owned()).collect();
        assert_eq!(paths, ["a/b", "a"]);
        assert!(sync_parents("c").is_empty());
    }
}
