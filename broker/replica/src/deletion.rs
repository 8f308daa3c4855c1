//! DeleteRecords (KIP-107) [L21].

use crate::Replica;
use crate::state::Standing;
use crate::types::Command;
use klamm_base::{ErrorCode, Now, Outbox, StartCause};

/// Asks for all that is committed.
const HIGH_WATERMARK: i64 = -1;

/// A DeleteRecords that waits for followers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deletion {
    pub(crate) ticket: u64,
    pub(crate) to: i64,
    pub(crate) deadline_ns: u64,
}

impl Replica {
    pub(crate) fn delete_records(
        &mut self,
        now: Now,
        ticket: u64,
        offset: i64,
        deadline_ns: u64,
        out: &mut Outbox<Command>,
    ) {
        match self.admit_deletion(offset) {
            Err(error) => out.push(Command::RecordsDeleted { ticket, result: Err(error) }),
            Ok(to) => {
                let log = self.log.as_mut().expect("a leader's log is loaded");
                log.raise_log_start(now, to, StartCause::DeleteRecords, &mut self.disk);
                self.deletions.push(Deletion { ticket, to, deadline_ns });
                self.answer_deletions(out);
            }
        }
    }

    fn admit_deletion(&self, offset: i64) -> Result<i64, ErrorCode> {
        self.check_leader()?;
        if !self.config.log.delete {
            return Err(ErrorCode::PolicyViolation);
        }
        let to = if offset == HIGH_WATERMARK { self.high_watermark } else { offset };
        if (0..=self.high_watermark).contains(&to) { Ok(to) } else { Err(ErrorCode::OffsetOutOfRange) }
    }

    /// The least start among this leader and its live followers.
    fn low_watermark(&self) -> i64 {
        let own = self.log_start_offset();
        let (Standing::Leader(leader), Some(state)) = (&self.standing, &self.state) else { return own };
        let live = leader.peers.iter().filter(|(node, _)| state.eligible_epoch(**node).is_some());
        live.map(|(_, peer)| peer.log_start).fold(own, i64::min)
    }

    /// Answers every deletion that has come to all.
    pub(crate) fn answer_deletions(&mut self, out: &mut Outbox<Command>) {
        if self.deletions.is_empty() {
            return;
        }
        let low = self.low_watermark();
        let done = self.deletions.extract_if(.., |deletion| deletion.to <= low);
        done.for_each(|deletion| out.push(Command::RecordsDeleted { ticket: deletion.ticket, result: Ok(low) }));
    }

    /// Those that waited long enough: the records may be gone here and not there.
    pub(crate) fn expire_deletions(&mut self, now: Now, out: &mut Outbox<Command>) {
        for deletion in self.deletions.extract_if(.., |deletion| deletion.deadline_ns <= now.mono_ns) {
            let result = Err(ErrorCode::RequestTimedOut);
            out.push(Command::RecordsDeleted { ticket: deletion.ticket, result });
        }
    }
}
