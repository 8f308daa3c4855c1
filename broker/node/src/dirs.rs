//! The log directories: their identity, the mark of a clean stop, and which partition lies where [L10] [L18].

use crate::checkpoints::Checkpoints;
use crate::disk::DiskUse;
use crate::io::{Command, DiskId};
use crate::node::{Cx, Node};
use crate::phase::Phase;
use crate::timers::Timer;
use bytes::Bytes;
use klamm_base::{DiskError, DiskOp, DiskOut, DiskResult, Uuid};
use klamm_controller::directory;
use klamm_log::LastKnown;
use klamm_log::format::{CleanShutdown, DirName, DirState, MetaProperties, file};
use klamm_replica::Remembered;
use std::collections::BTreeSet;

/// What is read of a small file.
const SMALL_FILE: u32 = 4096;
/// What is read of a checkpoint at once.
const CHECKPOINT_PIECE: u32 = 1 << 20;

/// One directory of `log.dirs`.
#[derive(Debug, Default)]
pub(crate) struct LogDir {
    pub(crate) path: String,
    /// `directory.id` (KIP-858).
    pub(crate) id: Uuid,
    /// Why it failed: nothing in it is served any more.
    pub(crate) failure: Option<DiskError>,
    /// How far the word of that has come.
    told: Told,
    /// All that the start needs of it is read, or it failed before.
    read: bool,
    /// The last stop was clean: its logs need no recovery.
    pub(crate) clean: bool,
    /// Broker epoch at that stop; -1 unknown.
    previous_epoch: i64,
    /// Partitions that it held at the start.
    found: BTreeSet<(String, i32)>,
    /// Partitions in it.
    held: usize,
    pub(crate) checkpoints: Checkpoints,
    /// Questions at the start that have no answer yet.
    open: u32,
}

/// What the controller knows of a directory's failure (KIP-858).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Told {
    /// Nothing.
    #[default]
    No,
    /// The heartbeat under way says so.
    UnderWay,
    Yes,
}

/// All of them, in the order of `log.dirs`.
#[derive(Debug, Default)]
pub(crate) struct LogDirs {
    pub(crate) all: Vec<LogDir>,
    /// The metadata log has no `partition.metadata`.
    pub(crate) metadata_unnamed: bool,
    /// Directories that are still being read; at the end, marks that are still being written.
    waiting: usize,
}

/// What an own disk operation is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// One of several; only its failure matters.
    Part,
    /// `meta.properties` was read.
    MetaRead,
    /// `meta.properties` was written and is durable.
    MetaWritten,
    /// The name of the directory is durable in the one above it, or that one's further above.
    NameSynced,
    /// The clean mark was read.
    CleanRead,
    /// The clean mark is gone, durably.
    CleanGone,
    /// A checkpoint was read.
    CheckpointRead(&'static str),
    /// The directory was listed.
    Listed,
    /// The clean mark stands, durably.
    CleanWritten,
    /// `partition.metadata` of the metadata log was read.
    MetadataIdentity,
    /// `partition.metadata` of the replica in this slot was read.
    IdentityRead(u32),
    /// It was written and is durable.
    Identified(u32),
}

impl LogDirs {
    /// The broker epoch that all marks of a clean stop agree on; -1 if there is none [K13].
    pub(crate) fn previous_epoch(&self) -> i64 {
        let mut epochs = self.online().map(|dir| dir.previous_epoch);
        let first = epochs.next().unwrap_or(-1);
        if epochs.all(|epoch| epoch == first) { first } else { -1 }
    }

    /// The last stop was clean in every directory.
    pub(crate) fn clean(&self) -> bool {
        self.online().all(|dir| dir.clean)
    }

    fn online(&self) -> impl Iterator<Item = &LogDir> {
        self.all.iter().filter(|dir| dir.is_online())
    }

    /// What the controller may count on.
    pub(crate) fn online_ids(&self) -> Vec<Uuid> {
        self.online().map(|dir| dir.id).collect()
    }

    /// The directories that failed, for a heartbeat. One whose id was never read cannot be named; it was not registered either.
    pub(crate) fn tell_failed(&mut self) -> Vec<Uuid> {
        let failed = self.all.iter_mut().filter(|dir| !dir.is_online() && !directory::is_reserved(dir.id));
        let tell = |dir: &mut LogDir| {
            if dir.told == Told::No {
                dir.told = Told::UnderWay;
            }
            dir.id
        };
        failed.map(tell).collect()
    }

    /// A heartbeat was answered: the controller has moved away what it can.
    pub(crate) fn failed_are_known(&mut self) {
        let told = self.all.iter_mut().filter(|dir| dir.told == Told::UnderWay);
        told.for_each(|dir| dir.told = Told::Yes);
    }

    /// Some directory failed, and no heartbeat has said so.
    pub(crate) fn has_untold(&self) -> bool {
        self.all.iter().any(|dir| !dir.is_online() && dir.told == Told::No)
    }

    /// Where a partition lies, or is to lie: where it was found, where metadata says, or else in the directory with the fewest
    /// partitions. One that may lie in a directory that failed is not made anew elsewhere: then the place is that directory.
    pub(crate) fn place(&mut self, topic: &str, partition: i32, assigned: Uuid) -> usize {
        let key = (topic.to_owned(), partition);
        if let Some(at) = self.all.iter().position(|dir| dir.found.contains(&key)) {
            return at;
        }
        let at = self.all.iter().position(|dir| dir.id == assigned && !directory::is_reserved(assigned));
        let failed = || self.all.iter().position(|dir| !dir.is_online() && assigned != directory::UNASSIGNED);
        let at = at.or_else(failed).unwrap_or_else(|| {
            let online = self.all.iter().enumerate().filter(|(_, dir)| dir.is_online());
            online.min_by_key(|(_, dir)| dir.held).expect("a node without a directory has ended").0
        });
        self.all[at].held += 1;
        at
    }
}

impl LogDir {
    /// It did not fail.
    pub(crate) fn is_online(&self) -> bool {
        self.failure.is_none()
    }

    /// What an earlier life left word of for a partition.
    pub(crate) fn remembered(&self, topic: &str, partition: i32) -> Remembered {
        let offset = |name| self.checkpoints.loaded(name, topic, partition).unwrap_or(0);
        let log = LastKnown {
            clean: self.clean,
            recovery_point: offset(file::RECOVERY_POINTS),
            log_start: offset(file::LOG_STARTS),
        };
        let clean_to = self.checkpoints.loaded(file::CLEANER_OFFSETS, topic, partition);
        Remembered { log, high_watermark: offset(file::HIGH_WATERMARKS), clean_to }
    }

    pub(crate) fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.path)
    }
}

impl Node {
    /// Reads every directory; [`Node::run`] comes when all are read.
    pub(crate) fn read_dirs(&mut self, cx: &mut Cx) {
        let dirs = self.config.log_dirs.iter();
        self.dirs.all =
            dirs.map(|path| LogDir { path: path.clone(), previous_epoch: -1, ..LogDir::default() }).collect();
        self.dirs.waiting = self.dirs.all.len();
        for dir in 0..self.dirs.all.len() {
            let path = self.dirs.all[dir].path.clone();
            self.dir_disk(dir, Step::Part, DiskOp::CreateDir { path }, cx);
            self.read_small(dir, Step::MetaRead, file::META_PROPERTIES, cx);
        }
    }

    pub(crate) fn dir_disk_done(&mut self, dir: usize, step: Step, result: DiskResult, cx: &mut Cx) {
        if !self.dirs.all[dir].is_online() && step != Step::CleanWritten {
            return;
        }
        match (step, result) {
            (Step::MetaRead, Err(DiskError::NotFound { .. })) => self.write_meta(dir, cx),
            (Step::MetaRead, Ok(DiskOut::Data(data))) => self.meta_read(dir, &data, cx),
            (Step::CleanRead, Err(DiskError::NotFound { .. })) => self.read_rest(dir, cx),
            (Step::CleanRead, Ok(DiskOut::Data(data))) => self.clean_read(dir, &data, cx),
            (Step::CheckpointRead(_), Err(DiskError::NotFound { .. })) => self.rest_read(dir, cx),
            (Step::CheckpointRead(name), Ok(DiskOut::Data(data))) => self.checkpoint_read(dir, name, &data, cx),
            (Step::Listed, Ok(DiskOut::Names(names))) => self.listed(dir, &names, cx),
            (Step::MetadataIdentity, Err(DiskError::NotFound { .. })) => self.metadata_identity_read(None, cx),
            (Step::MetadataIdentity, Ok(DiskOut::Data(data))) => self.metadata_identity_read(Some(&data), cx),
            (Step::IdentityRead(slot), Err(DiskError::NotFound { .. })) => self.identity_read(slot, None, cx),
            (Step::IdentityRead(slot), Ok(DiskOut::Data(data))) => self.identity_read(slot, Some(&data), cx),
            (Step::Identified(slot), Ok(_)) => self.identified(slot, cx),
            (step, Err(error)) => {
                self.dir_failed(dir, &error, cx);
                if step == Step::CleanWritten && !self.phase.is_over() {
                    self.marked(cx);
                }
            }
            (Step::MetaWritten, Ok(_)) => self.sync_name(dir, cx),
            (Step::NameSynced, Ok(_)) => self.name_synced(dir, cx),
            (Step::CleanGone, Ok(_)) => self.read_rest(dir, cx),
            (Step::CleanWritten, Ok(_)) => self.marked(cx),
            (_, Ok(_)) => {}
        }
    }

    /// A new directory gets its identity, durably, before anything else stands in it.
    fn write_meta(&mut self, dir: usize, cx: &mut Cx) {
        let id = self.new_dir_id();
        let meta = MetaProperties {
            written: String::new(),
            node_id: self.config.node.0,
            directory_id: Some(id),
            cluster_id: self.config.cluster_id.clone(),
        };
        let place = &mut self.dirs.all[dir];
        place.id = id;
        let path = place.path.clone();
        self.replace_file(dir, file::META_PROPERTIES, meta.to_string(), Step::Part, cx);
        self.dir_disk(dir, Step::MetaWritten, DiskOp::SyncDir { path }, cx);
    }

    fn new_dir_id(&mut self) -> Uuid {
        loop {
            let id = Uuid(self.draws.next_u128());
            if !directory::is_reserved(id) {
                return id;
            }
        }
    }

    /// What lies above the directory is no log directory: only when the directory is certainly there its name can be synced.
    fn sync_name(&mut self, dir: usize, cx: &mut Cx) {
        let above = parents(&self.dirs.all[dir].path);
        self.dirs.all[dir].open = above.len() as u32;
        for path in above {
            self.dir_disk(dir, Step::NameSynced, DiskOp::SyncDir { path }, cx);
        }
    }

    fn name_synced(&mut self, dir: usize, cx: &mut Cx) {
        self.dirs.all[dir].open -= 1;
        if self.dirs.all[dir].open == 0 {
            self.read_small(dir, Step::CleanRead, file::CLEAN_SHUTDOWN, cx);
        }
    }

    fn meta_read(&mut self, dir: usize, data: &[u8], cx: &mut Cx) {
        let path = self.dirs.all[dir].path(file::META_PROPERTIES);
        let meta = match MetaProperties::parse(&String::from_utf8_lossy(data)) {
            Ok(meta) => meta,
            Err(error) => return self.fatal(format!("{path}: {error}"), cx),
        };
        let (node, cluster) = (self.config.node.0, &self.config.cluster_id);
        if meta.node_id != node {
            return self.fatal(format!("{path}: belongs to node.id {}, this is {node}", meta.node_id), cx);
        }
        if meta.cluster_id != *cluster {
            return self.fatal(format!("{path}: belongs to cluster {}, this is {cluster}", meta.cluster_id), cx);
        }
        match meta.directory_id.filter(|id| !directory::is_reserved(*id)) {
            Some(id) => {
                self.dirs.all[dir].id = id;
                self.read_small(dir, Step::CleanRead, file::CLEAN_SHUTDOWN, cx);
            }
            // From before directories had ids.
            None => self.write_meta(dir, cx),
        }
    }

    /// The mark is spent before any log is touched, so that a crash from now on counts as unclean (L18).
    fn clean_read(&mut self, dir: usize, data: &[u8], cx: &mut Cx) {
        let mark = CleanShutdown::parse(&String::from_utf8_lossy(data));
        let place = &mut self.dirs.all[dir];
        place.clean = true;
        place.previous_epoch = mark.map_or(-1, |mark| mark.broker_epoch);
        let (mark, path) = (place.path(file::CLEAN_SHUTDOWN), place.path.clone());
        self.dir_disk(dir, Step::Part, DiskOp::Remove { path: mark }, cx);
        self.dir_disk(dir, Step::CleanGone, DiskOp::SyncDir { path }, cx);
    }

    /// Checkpoints, and what lies here.
    fn read_rest(&mut self, dir: usize, cx: &mut Cx) {
        let path = self.dirs.all[dir].path.clone();
        let holds_metadata = dir == 0 && self.config.roles.controller;
        self.dirs.all[dir].open = 1 + Checkpoints::NAMES.len() as u32 + u32::from(holds_metadata);
        if holds_metadata {
            self.read_metadata_identity(cx);
        }
        for name in Checkpoints::NAMES {
            self.read_checkpoint(dir, name, 0, cx);
        }
        self.dir_disk(dir, Step::Listed, DiskOp::List { path }, cx);
    }

    fn read_checkpoint(&mut self, dir: usize, name: &'static str, position: u64, cx: &mut Cx) {
        let path = self.dirs.all[dir].path(name);
        self.dir_disk(dir, Step::CheckpointRead(name), DiskOp::Read { path, position, len: CHECKPOINT_PIECE }, cx);
    }

    /// A piece of a checkpoint; a short one is the last.
    fn checkpoint_read(&mut self, dir: usize, name: &'static str, piece: &[u8], cx: &mut Cx) {
        let read = self.dirs.all[dir].checkpoints.gather(name, piece);
        if piece.len() == CHECKPOINT_PIECE as usize {
            return self.read_checkpoint(dir, name, read, cx);
        }
        self.dirs.all[dir].checkpoints.load(name);
        self.rest_read(dir, cx);
    }

    fn listed(&mut self, dir: usize, names: &[String], cx: &mut Cx) {
        let live = names.iter().filter_map(|name| DirName::parse(name)).filter(|name| name.state == DirState::Live);
        let place = &mut self.dirs.all[dir];
        place.found = live.map(|name| (name.topic, name.partition)).collect();
        place.held = place.found.len();
        self.rest_read(dir, cx);
    }

    /// One more answer of those that the start needs.
    pub(crate) fn rest_read(&mut self, dir: usize, cx: &mut Cx) {
        let place = &mut self.dirs.all[dir];
        assert!(place.open > 0, "{}: an answer to no question", place.path);
        place.open -= 1;
        if place.open == 0 {
            self.dir_read(dir, cx);
        }
    }

    /// A directory is read, or cannot be. The last one lets the node run.
    fn dir_read(&mut self, dir: usize, cx: &mut Cx) {
        if std::mem::replace(&mut self.dirs.all[dir].read, true) {
            return;
        }
        self.dirs.waiting -= 1;
        if self.dirs.waiting > 0 {
            return;
        }
        let ids = self.dirs.online_ids();
        match (1..ids.len()).find(|at| ids[..*at].contains(&ids[*at])) {
            Some(at) => self.fatal(format!("two log directories have the directory.id {}", ids[at]), cx),
            None => self.run(cx),
        }
    }

    /// A log directory failed. Its partitions are served no more, and when none is left the process ends, as Kafka does
    /// [L19]. The metadata log cannot be spared either. The controller gives what lay there to others; it must hear of it
    /// within `log.dir.failure.timeout.ms`.
    pub(crate) fn dir_failed(&mut self, dir: usize, error: &DiskError, cx: &mut Cx) {
        let place = &mut self.dirs.all[dir];
        if !place.is_online() {
            return;
        }
        place.failure = Some(error.clone());
        let path = place.path.clone();
        let holds_metadata = dir == 0 && self.config.roles.controller;
        if holds_metadata || self.dirs.online().next().is_none() {
            return self.fatal(format!("node {}: the log directory {path} failed: {error}", self.config.node.0), cx);
        }
        if matches!(self.phase, Phase::Booting { .. }) {
            // It is never registered, so nobody need be told.
            self.dirs.all[dir].told = Told::Yes;
            return self.dir_read(dir, cx);
        }
        for slot in self.partitions.in_dir(dir) {
            self.step_replica(slot, klamm_replica::Event::DirFailed(error.clone()), cx);
            self.clean_ended(slot, cx);
        }
        self.timers.set(cx.now.after_ms(self.config.housekeeping.dir_failure_ms), Timer::DirFailed);
        self.heartbeat_soon(cx);
    }

    /// As Kafka: a broker whose controller does not know that its leaders are gone gives up all of them.
    pub(crate) fn dir_failure_due(&mut self, cx: &mut Cx) {
        let untold = self.dirs.all.iter().find(|dir| !dir.is_online() && dir.told != Told::Yes);
        if let Some(LogDir { path, .. }) = untold {
            let node = self.config.node.0;
            self.fatal(format!("node {node}: the log directory {path} failed, and no controller could be told"), cx);
        }
    }

    /// Every log is closed: the checkpoints tell the next start where, and the mark that they may be believed. It carries the
    /// broker epoch (KIP-966).
    pub(crate) fn mark_clean(&mut self, cx: &mut Cx) {
        let online: Vec<usize> = (0..self.dirs.all.len()).filter(|dir| self.dirs.all[*dir].is_online()).collect();
        self.dirs.waiting = online.len();
        let text = CleanShutdown::of(self.lifecycle.broker_epoch).render();
        for dir in online {
            Checkpoints::NAMES.iter().for_each(|name| self.write_checkpoint(dir, name, cx));
            let (mark, path) = (self.dirs.all[dir].path(file::CLEAN_SHUTDOWN), self.dirs.all[dir].path.clone());
            self.dir_disk(dir, Step::Part, DiskOp::Write { path: mark.clone(), data: Bytes::from(text.clone()) }, cx);
            self.dir_disk(dir, Step::Part, DiskOp::Sync { path: mark }, cx);
            self.dir_disk(dir, Step::CleanWritten, DiskOp::SyncDir { path }, cx);
        }
    }

    fn marked(&mut self, cx: &mut Cx) {
        self.dirs.waiting -= 1;
        if self.dirs.waiting == 0 {
            self.stopped(cx);
        }
    }

    /// Temporary file, sync, rename: a crash leaves the old or the new one [L11]. The directory is still to be synced.
    pub(crate) fn replace_file(&mut self, dir: usize, name: &str, text: String, last: Step, cx: &mut Cx) {
        let path = self.dirs.all[dir].path(name);
        let temporary = format!("{path}{}", file::TEMPORARY);
        self.dir_disk(dir, Step::Part, DiskOp::Write { path: temporary.clone(), data: Bytes::from(text) }, cx);
        self.dir_disk(dir, Step::Part, DiskOp::Sync { path: temporary.clone() }, cx);
        self.dir_disk(dir, last, DiskOp::Rename { from: temporary, to: path }, cx);
    }

    pub(crate) fn read_small(&mut self, dir: usize, step: Step, name: &str, cx: &mut Cx) {
        let path = self.dirs.all[dir].path(name);
        self.dir_disk(dir, step, DiskOp::Read { path, position: 0, len: SMALL_FILE }, cx);
    }

    pub(crate) fn dir_disk(&mut self, dir: usize, step: Step, op: DiskOp, cx: &mut Cx) {
        let id = DiskId(self.disk.insert(DiskUse::Dir(dir as u32, step)));
        cx.out.push(Command::Disk { id, op });
    }
}

/// The directories above a relative one, the nearest first, down to the root: what is synced in a directory that was just
/// made is lost with it, unless its own name is durable, too.
fn parents(dir: &str) -> Vec<String> {
    let parts: Vec<&str> = dir.split('/').collect();
    (0..parts.len()).rev().map(|depth| parts[..depth].join("/")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dirs(found: [&[(&str, i32)]; 2]) -> LogDirs {
        let dir = |(at, found): (usize, &[(&str, i32)])| LogDir {
            id: Uuid(1_000 + at as u128),
            found: found.iter().map(|(topic, partition)| ((*topic).to_owned(), *partition)).collect(),
            held: found.len(),
            ..LogDir::default()
        };
        LogDirs { all: found.into_iter().enumerate().map(dir).collect(), ..LogDirs::default() }
    }

    #[test]
    fn a_new_partition_goes_where_the_fewest_are_and_an_old_one_stays() {
        let mut dirs = dirs([&[("a", 0), ("a", 1)], &[("b", 0)]]);
        let new = directory::UNASSIGNED;
        assert_eq!([dirs.place("a", 1, new), dirs.place("b", 0, new)], [0, 1]);
        assert_eq!([dirs.place("c", 0, new), dirs.place("c", 1, new), dirs.place("c", 2, new)], [1, 0, 1]);
        assert_eq!([dirs.place("d", 0, Uuid(1_000)), dirs.place("d", 1, Uuid(1_001))], [0, 1], "where metadata says");
        assert_eq!(dirs.place("b", 0, Uuid(1_000)), 1, "but for what was found elsewhere");
        assert_eq!(dirs.place("d", 2, Uuid(9_999)), 0, "a directory that is no more");
    }

    #[test]
    fn what_may_lie_in_a_failed_directory_is_not_made_anew() {
        let mut dirs = dirs([&[("a", 0), ("a", 1)], &[]]);
        dirs.all[1].failure = Some(DiskError::NoSpace { path: "data".to_owned() });
        assert_eq!([dirs.place("d", 0, directory::UNASSIGNED), dirs.place("d", 1, Uuid(1_000))], [0, 0]);
        assert_eq!([dirs.place("e", 0, Uuid(1_001)), dirs.place("e", 1, Uuid(9_999))], [1, 1]);
        assert_eq!(dirs.place("a", 1, Uuid(1_001)), 0);
    }

    #[test]
    fn every_directory_above_the_data_directory_is_named_down_to_the_root() {
        assert_eq!(super::parents("data"), [""]);
        assert_eq!(super::parents("a/b/c"), ["a/b", "a", ""]);
    }
}
