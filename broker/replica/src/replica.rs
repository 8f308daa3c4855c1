//! The replica: its events, its looks, its invariants.

use crate::cleaning::Cleaning;
use crate::deletion::Deletion;
use crate::offsets::Asker;
use crate::state::{Following, OpenRead, Phase, Standing};
use crate::types::{Command, Event, FollowerQuery, PartitionState, Remembered, ReplicaConfig, Role};
use crate::waits::Waits;
use klamm_base::{
    DiskDone, DiskError, DiskRequest, ErrorCode, Guard, Guards, Mark, NodeId, Now, Observation, Observe, Outbox,
    Ticket, TruncationCause, sometimes,
};
use klamm_log::{Loader, Log, LogConfig, Progress, ReadError};

/// One partition's replica. See the crate's documentation.
#[derive(Debug)]
pub struct Replica {
    pub(crate) config: ReplicaConfig,
    pub(crate) guards: Guards,
    pub(crate) observe: Observe,
    pub(crate) phase: Phase,
    loader: Loader,
    /// There from the end of the load on.
    pub(crate) log: Option<Log>,
    /// What metadata said last; while the log is loaded it waits.
    pub(crate) state: Option<PartitionState>,
    pub(crate) standing: Standing,
    /// Until the log is loaded, what the checkpoint says.
    pub(crate) high_watermark: i64,
    /// The log was cut in this step, or came out of its load.
    pub(crate) truncated: bool,
    /// Offsets that the leader's last answer left out: from, to.
    pub(crate) gap: Option<(i64, i64)>,
    /// What has gone out of date goes when no write is in flight.
    expiry_waits: bool,
    /// DeleteRecords that wait for followers.
    pub(crate) deletions: Vec<Deletion>,
    pub(crate) cleaning: Cleaning,
    pub(crate) waits: Waits,
    pub(crate) reads: Vec<(Ticket, OpenRead)>,
    /// An answer to [`Command::Alter`] is open, from this leadership or an earlier one.
    pub(crate) alter_open: bool,
    /// Disk operations of the step.
    pub(crate) disk: Outbox<DiskRequest>,
    /// What a completion brought about; empty between steps.
    progress: Outbox<Progress>,
    /// What others saw after the last step.
    seen: Glance,
}

/// What others look at: a change of it is [`Command::Progress`].
#[derive(Debug, PartialEq)]
struct Glance {
    role: Role,
    leader_epoch: i32,
    offsets: [i64; 3],
    next_fetch: Option<FollowerQuery>,
}

impl Replica {
    /// A replica whose log lies in `dir`. It does nothing before [`Event::Start`].
    pub fn new(
        config: ReplicaConfig,
        dir: String,
        remembered: Remembered,
        guards: Guards,
        observe: Observe,
    ) -> Replica {
        let loader = Loader::new(config.tp, dir, config.log, remembered.log, guards, observe.clone());
        Replica {
            config,
            guards,
            observe,
            phase: Phase::Loading,
            loader,
            log: None,
            state: None,
            standing: Standing::Follower(Following { leader: None, leader_high_watermark: None }),
            high_watermark: remembered.high_watermark,
            truncated: false,
            gap: None,
            expiry_waits: false,
            deletions: Vec::new(),
            cleaning: Cleaning::knowing(remembered.clean_to),
            waits: Waits::default(),
            reads: Vec::new(),
            alter_open: false,
            disk: Outbox::new(),
            progress: Outbox::new(),
            seen: Glance { role: Role::Loading, leader_epoch: -1, offsets: [0; 3], next_fetch: None },
        }
    }

    /// Takes one event.
    pub fn step(&mut self, now: Now, event: Event, out: &mut Outbox<Command>) {
        let looks_only = event.looks_only();
        match event {
            Event::Start => self.loader.start(&mut self.disk),
            Event::State(state) => self.learn(now, state, out),
            Event::Config { min_insync_replicas, log } => self.reconfigure(now, min_insync_replicas, log, out),
            Event::Expire => self.expire(now),
            Event::Clean { recovery_point, dedupe_buffer_bytes } => {
                self.clean(now, recovery_point, dedupe_buffer_bytes, out);
            }
            Event::DeleteRecords { ticket, offset, deadline_ns } => {
                self.delete_records(now, ticket, offset, deadline_ns, out);
            }
            Event::Produce { ticket, acks, batches, deadline_ns } => {
                self.produce(now, ticket, acks, batches, deadline_ns, out);
            }
            Event::FollowerFetched(query) => self.follower_fetched(now, &query, out),
            Event::Fetch { ticket, query } => self.serve(ticket, query, out),
            Event::FetchAnswer(answer) => self.fetch_answered(now, answer),
            Event::ListOffsets { ticket, current_leader_epoch, timestamp, read_committed, from_client } => {
                let asker = if from_client { Asker::Client { read_committed } } else { Asker::Broker };
                self.list_offsets(ticket, current_leader_epoch, timestamp, asker, out);
            }
            Event::AlterAnswer { result } => self.alter_answered(now, result, out),
            Event::DirFailed(error) if self.phase != Phase::Failed => self.fail(error, out),
            Event::DirFailed(_) => {}
            Event::DiskDone(done) => self.disk_done(now, done, out),
            Event::Deadline => self.deadline_came(now, out),
            Event::Stop => self.stop(now, out),
        }
        // Before the cut itself: whenever a crash comes, no checkpoint says more than is there.
        if std::mem::take(&mut self.truncated) {
            out.push(Command::Truncated);
        }
        // Most steps ask for nothing, and to begin a drain costs more than to look.
        if !self.disk.is_empty() {
            self.disk.drain().for_each(|request| out.push(Command::Disk(request)));
        }
        if !looks_only {
            let now_seen = self.glance();
            if now_seen != self.seen {
                self.seen = now_seen;
                out.push(Command::Progress);
            }
        }
        self.check();
    }

    /// The next monotonic instant, in nanoseconds, at which [`Event::Deadline`] is wanted.
    pub fn deadline(&self) -> Option<u64> {
        let log = self.log.as_ref().filter(|_| self.phase == Phase::Live).and_then(Log::deadline);
        let deletion = self.deletions.iter().map(|deletion| deletion.deadline_ns).min();
        [self.waits.deadline(), self.leader_deadline(), log, deletion].into_iter().flatten().min()
    }

    /// What it is.
    pub fn role(&self) -> Role {
        match (self.phase, &self.standing) {
            (Phase::Loading, _) => Role::Loading,
            (Phase::Stopping | Phase::Stopped | Phase::Failed, _) => Role::Offline,
            (Phase::Live, Standing::Leader(_)) => Role::Leader,
            (Phase::Live, Standing::Assuming) => Role::Follower(None),
            (Phase::Live, Standing::Follower(following)) => Role::Follower(following.leader),
        }
    }

    /// The leader epoch that it knows; -1 before any metadata.
    pub fn leader_epoch(&self) -> i32 {
        self.state.as_ref().map_or(-1, |state| state.leader_epoch)
    }

    /// The partition epoch that it knows; -1 before any metadata.
    pub fn partition_epoch(&self) -> i32 {
        self.state.as_ref().map_or(-1, |state| state.partition_epoch)
    }

    /// One past the last offset known to be committed. After a load it is what the checkpoint said, as far as the log goes.
    pub fn high_watermark(&self) -> i64 {
        self.high_watermark
    }

    /// The log was loaded, so that it tells what is there; it still does when the replica is stopped or its disk has failed.
    pub fn is_loaded(&self) -> bool {
        self.log.is_some()
    }

    /// All below survives a power loss; 0 while the log is loaded.
    pub fn recovery_point(&self) -> i64 {
        let honest = self.guards.stands(Guard::CheckpointAfterFlush);
        self.log.as_ref().map_or(0, if honest { Log::durable_end } else { Log::log_end_offset })
    }

    /// The log begins within its first segment: the directory alone does not tell where.
    pub fn log_start_is_within(&self) -> bool {
        self.log.as_ref().is_some_and(|log| log.log_start_offset() > log.first_segment_offset())
    }

    /// First offset of the log; 0 while it is loaded.
    pub fn log_start_offset(&self) -> i64 {
        self.log.as_ref().map_or(0, Log::log_start_offset)
    }

    /// One past the last offset that is written; 0 while the log is loaded.
    pub fn log_end_offset(&self) -> i64 {
        self.log.as_ref().map_or(0, Log::log_end_offset)
    }

    /// The committed in-sync replicas, as far as this broker knows.
    pub fn isr(&self) -> &[NodeId] {
        self.state.as_ref().map_or(&[], |state| &state.isr)
    }

    /// Digest of the log, as in [`Observation::LogLoaded`]; 0 while it is loaded.
    pub fn digest(&self) -> u64 {
        self.log.as_ref().map_or(0, Log::digest)
    }

    /// Compares a request's leader epoch (-1 none) with the own one [R7].
    ///
    /// # Errors
    /// FENCED_LEADER_EPOCH if the request's is older, UNKNOWN_LEADER_EPOCH if it is newer.
    pub fn check_leader_epoch(&self, current: i32) -> Result<(), ErrorCode> {
        match current.cmp(&self.leader_epoch()) {
            _ if current < 0 => Ok(()),
            std::cmp::Ordering::Less => Err(ErrorCode::FencedLeaderEpoch),
            std::cmp::Ordering::Equal => Ok(()),
            std::cmp::Ordering::Greater => Err(ErrorCode::UnknownLeaderEpoch),
        }
    }

    /// Only a live leader may answer.
    ///
    /// # Errors
    /// KAFKA_STORAGE_ERROR if its disk failed, else NOT_LEADER_OR_FOLLOWER.
    pub fn check_leader(&self) -> Result<(), ErrorCode> {
        match (self.phase, &self.standing) {
            (Phase::Failed, _) => Err(ErrorCode::KafkaStorageError),
            (Phase::Live, Standing::Leader(_)) => Ok(()),
            _ => Err(ErrorCode::NotLeaderOrFollower),
        }
    }

    /// How this follower wants to fetch; `None` while the log is loaded, a cut or a fetched append is in flight, or there
    /// is nobody to follow. Ask again after each step that said [`Command::Progress`], and after each answer.
    pub fn next_fetch(&self) -> Option<FollowerQuery> {
        let Standing::Follower(Following { leader: Some(leader), .. }) = self.standing else { return None };
        let log = self.log.as_ref().filter(|log| self.phase == Phase::Live && log.quiet())?;
        let epoch = log.latest_epoch().filter(|_| self.guards.stands(Guard::EpochTruncation));
        Some(FollowerQuery {
            leader,
            leader_epoch: self.leader_epoch(),
            fetch_offset: log.log_end_offset(),
            last_fetched_epoch: epoch.unwrap_or(-1),
            log_start_offset: log.log_start_offset(),
        })
    }

    pub(crate) fn log(&self) -> &Log {
        self.log.as_ref().expect("the log is loaded")
    }

    /// Metadata has come. What is older than what is known is dropped [R24].
    fn learn(&mut self, now: Now, new: PartitionState, out: &mut Outbox<Command>) {
        let known = self.state.as_ref();
        let stale =
            |old: &PartitionState| new.partition_epoch < old.partition_epoch || new.leader_epoch < old.leader_epoch;
        if known.is_some_and(stale) {
            return;
        }
        let old = self.state.replace(new);
        if self.phase == Phase::Live {
            self.apply(now, old.as_ref(), out);
        }
    }

    /// Takes up what metadata says. Only a newer leader epoch is a new role: any other change must not touch what is known
    /// of followers, and one without a newer partition epoch must not touch the ISR (KAFKA-13790, KAFKA-12686).
    fn apply(&mut self, now: Now, old: Option<&PartitionState>, out: &mut Outbox<Command>) {
        let state = self.state.as_ref().expect("there is one to apply");
        let same_role = old.is_some_and(|old| old.leader_epoch == state.leader_epoch && old.leader == state.leader);
        let newer = old.is_none_or(|old| old.partition_epoch < state.partition_epoch);
        let lead = state.leader == Some(self.config.node);
        match (lead, same_role) {
            (true, false) => self.assume(now, out),
            (true, true) => self.state_changed(now, newer, out),
            (false, false) => self.become_follower(out),
            (false, true) => {}
        }
    }

    fn disk_done(&mut self, now: Now, done: DiskDone, out: &mut Outbox<Command>) {
        if self.cleaner_done(now, &done, out) {
            return;
        }
        let Some(log) = &mut self.log else { return self.load_on(now, done, out) };
        let mut progress = std::mem::take(&mut self.progress);
        log.disk_done(done, &mut progress);
        for one in progress.drain() {
            match one {
                Progress::Appended { .. } => self.appended(now, out),
                Progress::Flushed { .. } => self.flushed(out),
                Progress::Read { ticket, result } => {
                    let failed = result.as_ref().err().and_then(ReadError::storage);
                    self.read_done(ticket, result, out);
                    // A log directory that cannot be read goes offline as one that cannot be written does.
                    failed.into_iter().for_each(|error| self.fail(error, out));
                }
                Progress::Swapped => self.swapped(now, out),
                Progress::Failed(error) => self.fail(error, out),
            }
        }
        self.progress = progress;
        self.assume_if_quiet(now, out);
        if self.expiry_waits && self.log().quiet() {
            self.expire(now);
        }
    }

    fn load_on(&mut self, now: Now, done: DiskDone, out: &mut Outbox<Command>) {
        if self.phase != Phase::Loading {
            return;
        }
        match self.loader.step(now, done, &mut self.disk) {
            Ok(None) => {}
            Ok(Some(log)) => {
                self.high_watermark = self.high_watermark.clamp(log.log_start_offset(), log.log_end_offset());
                self.log = Some(log);
                self.phase = Phase::Live;
                // Checkpoints may say more than was found: it is not to be believed of what comes in its place.
                self.truncated = true;
                self.clean_only_below();
                if self.state.is_some() {
                    self.apply(now, None, out);
                }
            }
            Err(klamm_log::LoadError::Disk(error)) => self.fail(error, out),
        }
    }

    /// More of the log is there.
    fn appended(&mut self, now: Now, out: &mut Outbox<Command>) {
        match self.standing {
            Standing::Leader(_) => self.advance(now, out),
            Standing::Follower(_) => self.follow_high_watermark(),
            Standing::Assuming => {}
        }
    }

    /// The disk failed: what was appended may or may not be there, so produces end in an error that says so.
    pub(crate) fn fail(&mut self, error: DiskError, out: &mut Outbox<Command>) {
        let stopping = self.phase == Phase::Stopping;
        self.phase = Phase::Failed;
        self.refuse_waiting(out);
        out.push(Command::Failed(error));
        if stopping {
            out.push(Command::Stopped);
        }
    }

    fn reconfigure(&mut self, now: Now, min_insync_replicas: i32, config: LogConfig, out: &mut Outbox<Command>) {
        self.config.min_insync_replicas = min_insync_replicas;
        self.config.log = config;
        if let Some(log) = &mut self.log {
            log.set_config(config);
        }
        self.advance(now, out);
    }

    /// Only what is committed goes, on leader and follower alike [L20].
    fn expire(&mut self, now: Now) {
        if let Some(log) = self.log.as_mut().filter(|_| self.phase == Phase::Live) {
            self.expiry_waits = !log.expire(now, self.high_watermark, &mut self.disk);
        }
    }

    fn stop(&mut self, now: Now, out: &mut Outbox<Command>) {
        if matches!(self.phase, Phase::Stopping | Phase::Stopped) {
            return;
        }
        self.refuse_waiting(out);
        let flushing = match &mut self.log {
            Some(log) if self.phase == Phase::Live => log.close(now, &mut self.disk),
            _ => false,
        };
        self.phase = if flushing { Phase::Stopping } else { Phase::Stopped };
        if !flushing {
            out.push(Command::Stopped);
        }
    }

    fn flushed(&mut self, out: &mut Outbox<Command>) {
        let log = self.log();
        if self.phase == Phase::Stopping && log.durable_end() == log.next_offset() {
            self.phase = Phase::Stopped;
            out.push(Command::Stopped);
        }
    }

    /// Every produce that waits ends in NOT_LEADER_OR_FOLLOWER: its records may yet survive.
    pub(crate) fn refuse_waiting(&mut self, out: &mut Outbox<Command>) {
        for wait in self.waits.take_all() {
            let result = Err(ErrorCode::NotLeaderOrFollower);
            out.push(Command::Produced { ticket: wait.ticket, result });
        }
        for deletion in std::mem::take(&mut self.deletions) {
            let result = Err(ErrorCode::NotLeaderOrFollower);
            out.push(Command::RecordsDeleted { ticket: deletion.ticket, result });
        }
    }

    pub(crate) fn set_high_watermark(&mut self, to: i64) {
        if to == self.high_watermark {
            return;
        }
        self.high_watermark = to;
        let (tp, leader_epoch) = (self.config.tp, self.leader_epoch());
        let as_leader = matches!(self.standing, Standing::Leader(_));
        self.observe.note(|| Observation::HighWatermark { tp, to, leader_epoch, as_leader });
    }

    /// Cuts the log to `to`; the high watermark goes with it if it must [R18].
    pub(crate) fn cut(&mut self, to: i64, cause: TruncationCause) {
        assert!(!matches!(self.standing, Standing::Leader(_)), "a leader never cuts its log");
        let log = self.log.as_mut().expect("the log is loaded");
        let (before, epochs) = (log.next_offset(), log.epoch_count());
        let end = log.truncate_to(to, &mut self.disk);
        self.truncated |= end < before;
        let by_epoch = end < before && cause == TruncationCause::DivergingEpoch;
        sometimes!(self.observe, by_epoch, Mark::TruncatedByEpoch);
        sometimes!(self.observe, log.epoch_count() + 1 < epochs, Mark::TruncatedSeveralEpochs);
        let (start, log_end) = (log.log_start_offset(), log.log_end_offset());
        let (tp, high_watermark, leader_epoch) = (self.config.tp, self.high_watermark, self.leader_epoch());
        if end < before {
            self.observe.note(|| Observation::Truncated { tp, to: end, high_watermark, leader_epoch, cause });
        }
        self.set_high_watermark(high_watermark.clamp(start, log_end));
        self.clean_only_below();
    }

    fn glance(&self) -> Glance {
        Glance {
            role: self.role(),
            leader_epoch: self.leader_epoch(),
            offsets: [self.log_start_offset(), self.high_watermark, self.log_end_offset()],
            next_fetch: self.next_fetch(),
        }
    }

    /// The invariants.
    fn check(&self) {
        let Some(log) = &self.log else { return };
        let (start, end, high) = (log.log_start_offset(), log.log_end_offset(), self.high_watermark);
        assert!(start <= high && high <= end, "high watermark {high} outside of {start}..{end}");
        let leads = matches!(self.standing, Standing::Leader(_) | Standing::Assuming) && self.phase == Phase::Live;
        assert!(leads || self.waits.is_empty(), "produces wait where nobody leads");
        if let Standing::Leader(leader) = &self.standing {
            assert!(leader.isr.in_maximal(self.config.node), "a leader outside of its ISR: {:?}", leader.isr);
            assert!(leader.epoch_start <= end, "the log ends before its leader's epoch began");
            self.waits.assert_none_ready(end, high);
        }
        assert!(self.disk.is_empty(), "disk operations were left behind");
    }
}
