//! From start to stop: the data directory's identity, the mark of a clean shutdown, the order of going down.

use crate::disk::DiskUse;
use crate::io::{Command, DiskId, Token};
use crate::node::{Cx, Node};
use crate::request::Request;
use crate::timers::Timer;
use bytes::Bytes;
use klamm_base::{DiskError, DiskOp, DiskOut, DiskResult, Observation, Uuid};
use std::fmt::Write as _;

/// Controlled shutdown gives up after this long and stops anyway. Kafka waits for minutes; a stop that a script asks for
/// must end.
const SHUTDOWN_MS: u64 = 5_000;
const META: &str = "meta.properties";
const CLEAN: &str = ".kafka_cleanshutdown";
const SMALL_FILE: u32 = 4096;

/// Where in its life a process is.
#[derive(Debug, Default)]
pub(crate) enum Phase {
    /// Not started.
    #[default]
    New,
    /// Reads its data directory; requests wait. `stop`: it was told to stop meanwhile.
    Booting { waiting: Vec<(Token, Request)>, stop: bool },
    /// Serves.
    Running,
    /// Serves, and asks the controller to move its leaderships.
    Draining,
    /// Serves no more; replicas, then the controller, then the clean mark.
    Stopping { replicas: usize },
    /// Gone in good order.
    Stopped,
    /// Gone.
    Failed,
}

impl Phase {
    pub(crate) fn is_over(&self) -> bool {
        matches!(self, Phase::Stopped | Phase::Failed)
    }

    /// True while requests are served.
    pub(crate) fn serves(&self) -> bool {
        matches!(self, Phase::Running | Phase::Draining)
    }
}

/// The node's own disk operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// One of several; only its failure matters.
    Part,
    /// `meta.properties` was read.
    MetaRead,
    /// `meta.properties` was written and is durable.
    MetaWritten,
    /// The clean mark was read.
    CleanRead,
    /// The clean mark is gone, durably.
    CleanGone,
    /// The clean mark stands, durably.
    CleanWritten,
}

impl Node {
    pub(crate) fn boot(&mut self, cx: &mut Cx) {
        assert!(matches!(self.phase, Phase::New), "a node starts once");
        self.phase = Phase::Booting { waiting: Vec::new(), stop: false };
        self.lifecycle.incarnation = Uuid(self.draws.next_u128());
        let incarnation = self.lifecycle.incarnation;
        self.observe.note(|| Observation::NodeStarted { incarnation });
        self.own_disk(Step::Part, DiskOp::CreateDir { path: self.config.log_dir.clone() }, cx);
        let path = self.path(META);
        self.own_disk(Step::MetaRead, DiskOp::Read { path, position: 0, len: SMALL_FILE }, cx);
    }

    pub(crate) fn own_disk_done(&mut self, step: Step, result: DiskResult, cx: &mut Cx) {
        match (step, result) {
            (Step::MetaRead, Err(DiskError::NotFound { .. })) => self.write_meta(cx),
            (Step::MetaRead, Ok(DiskOut::Data(data))) => self.meta_read(&data, cx),
            (Step::CleanRead, Err(DiskError::NotFound { .. })) => self.run(cx),
            (Step::CleanRead, Ok(DiskOut::Data(data))) => self.clean_read(&data, cx),
            (_, Err(error)) => self.disk_failed(&error, cx),
            (Step::MetaWritten, Ok(_)) => self.look_for_clean(cx),
            (Step::CleanGone, Ok(_)) => self.run(cx),
            (Step::CleanWritten, Ok(_)) => {
                self.phase = Phase::Stopped;
                cx.out.push(Command::Stopped);
            }
            (Step::Part | Step::MetaRead | Step::CleanRead, Ok(_)) => {}
        }
    }

    /// A new data directory gets its identity, durably, before anything else stands in it.
    fn write_meta(&mut self, cx: &mut Cx) {
        self.lifecycle.directory = Uuid(self.draws.next_u128());
        let mut text = String::from("version=1\n");
        let _ = write!(text, "cluster.id={}\nnode.id={}\n", self.config.cluster_id, self.config.node.0);
        let _ = writeln!(text, "directory.id={}", self.lifecycle.directory);
        let (path, temporary) = (self.path(META), self.path("meta.properties.tmp"));
        self.own_disk(Step::Part, DiskOp::Write { path: temporary.clone(), data: Bytes::from(text) }, cx);
        self.own_disk(Step::Part, DiskOp::Sync { path: temporary.clone() }, cx);
        self.own_disk(Step::Part, DiskOp::Rename { from: temporary, to: path }, cx);
        for path in parents(&self.config.log_dir) {
            self.own_disk(Step::Part, DiskOp::SyncDir { path }, cx);
        }
        self.own_disk(Step::MetaWritten, DiskOp::SyncDir { path: self.config.log_dir.clone() }, cx);
    }

    fn meta_read(&mut self, data: &[u8], cx: &mut Cx) {
        let text = String::from_utf8_lossy(data);
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).map(str::trim);
        let (node, cluster) = (value("node.id"), value("cluster.id"));
        if node != Some(&self.config.node.0.to_string()) {
            let found = node.unwrap_or("nobody");
            let message =
                format!("{}/{META}: belongs to node.id {found}, this is {}", self.config.log_dir, self.config.node.0);
            return self.fatal(message, cx);
        }
        if cluster != Some(&self.config.cluster_id) {
            let found = cluster.unwrap_or("none");
            let message = format!(
                "{}/{META}: belongs to cluster {found}, this is {}",
                self.config.log_dir, self.config.cluster_id
            );
            return self.fatal(message, cx);
        }
        self.lifecycle.directory = value("directory.id").and_then(parse_uuid).unwrap_or_default();
        self.look_for_clean(cx);
    }

    fn look_for_clean(&mut self, cx: &mut Cx) {
        let path = self.path(CLEAN);
        self.own_disk(Step::CleanRead, DiskOp::Read { path, position: 0, len: SMALL_FILE }, cx);
    }

    /// The mark is spent before any log is touched, so that a crash from now on counts as unclean (L18).
    fn clean_read(&mut self, data: &[u8], cx: &mut Cx) {
        self.lifecycle.clean = true;
        self.lifecycle.previous_epoch = parse_clean(data).unwrap_or(-1);
        self.own_disk(Step::Part, DiskOp::Remove { path: self.path(CLEAN) }, cx);
        self.own_disk(Step::CleanGone, DiskOp::SyncDir { path: self.config.log_dir.clone() }, cx);
    }

    fn run(&mut self, cx: &mut Cx) {
        let Phase::Booting { waiting, stop } = std::mem::replace(&mut self.phase, Phase::Running) else {
            panic!("only a booting node begins to run");
        };
        self.start_controller(cx);
        if self.config.roles.broker {
            self.register(cx);
            self.fetch_metadata(cx);
        }
        for (token, request) in waiting {
            self.request(token, request, cx);
        }
        if stop {
            self.stop(cx);
        }
    }

    pub(crate) fn stop(&mut self, cx: &mut Cx) {
        match &mut self.phase {
            Phase::Booting { stop, .. } => *stop = true,
            Phase::Running if self.config.controlled_shutdown && self.lifecycle.broker_epoch >= 0 => {
                self.phase = Phase::Draining;
                self.timers.set(cx.now.after_ms(SHUTDOWN_MS), Timer::Shutdown);
                self.lifecycle.due_now();
                self.lifecycle_due(cx);
            }
            Phase::Running => self.stop_replicas(cx),
            Phase::New => {
                self.phase = Phase::Stopped;
                cx.out.push(Command::Stopped);
            }
            Phase::Draining | Phase::Stopping { .. } | Phase::Stopped | Phase::Failed => {}
        }
    }

    /// Leaderships have moved, or waiting for that is over: everything is flushed and closed.
    pub(crate) fn stop_replicas(&mut self, cx: &mut Cx) {
        if !self.phase.serves() {
            return;
        }
        let count = self.partitions.len();
        self.lifecycle.may_mark = self.lifecycle.clean || self.has_recovered();
        self.phase = Phase::Stopping { replicas: count };
        self.timers.clear_all();
        for slot in 0..count as u32 {
            self.step_replica(slot, klamm_replica::Event::Stop, cx);
        }
        if count == 0 {
            self.stop_controller(cx);
        }
    }

    /// Every log that the committed metadata places here was loaded, and so recovered. A stop before that must not say
    /// that all is well: the next start would believe it and recover nothing (KAFKA-15375).
    fn has_recovered(&self) -> bool {
        let is_loaded = |slot| self.partitions.slot(slot).replica.role() != klamm_replica::Role::Loading;
        !self.config.roles.broker || (self.metadata.published && (0..self.partitions.len() as u32).all(is_loaded))
    }

    /// One replica is flushed and closed.
    pub(crate) fn replica_stopped(&mut self, cx: &mut Cx) {
        let Phase::Stopping { replicas } = &mut self.phase else { return };
        assert!(*replicas > 0, "a replica stops once");
        *replicas -= 1;
        if *replicas == 0 {
            self.stop_controller(cx);
        }
    }

    /// Every log is closed: the mark tells the next start so. It carries the broker epoch (KIP-966).
    pub(crate) fn write_clean(&mut self, cx: &mut Cx) {
        assert!(matches!(self.phase, Phase::Stopping { replicas: 0 }), "the mark comes last");
        if !self.lifecycle.may_mark {
            self.phase = Phase::Stopped;
            cx.out.push(Command::Stopped);
            return;
        }
        let text = format!("{{\"version\":0,\"brokerEpoch\":{}}}", self.lifecycle.broker_epoch);
        let path = self.path(CLEAN);
        self.own_disk(Step::Part, DiskOp::Write { path: path.clone(), data: Bytes::from(text) }, cx);
        self.own_disk(Step::Part, DiskOp::Sync { path }, cx);
        self.own_disk(Step::CleanWritten, DiskOp::SyncDir { path: self.config.log_dir.clone() }, cx);
    }

    fn own_disk(&mut self, step: Step, op: DiskOp, cx: &mut Cx) {
        let id = DiskId(self.disk.insert(DiskUse::Own(step)));
        cx.out.push(Command::Disk { id, op });
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.config.log_dir)
    }
}

/// The broker epoch in a clean mark.
fn parse_clean(data: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(data).ok()?;
    let (_, rest) = text.split_once("\"brokerEpoch\":")?;
    rest.trim_end_matches(['}', '\n', ' ']).trim().parse().ok()
}

/// A UUID as Kafka prints it.
fn parse_uuid(text: &str) -> Option<Uuid> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bytes: &[u8; 22] = text.as_bytes().try_into().ok()?;
    let mut value = 0u128;
    for (index, byte) in bytes.iter().enumerate() {
        let sextet = ALPHABET.iter().position(|known| known == byte)? as u128;
        value = if index < 21 { value << 6 | sextet } else { value << 2 | sextet >> 4 };
    }
    Some(Uuid(value))
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

    #[test]
    fn a_uuid_survives_its_print() {
        for uuid in [Uuid(1), Uuid(u128::MAX), Uuid(0x8f1e_e14d_b10f_442a_bd7c_e852_f37a_9f9a)] {
            assert_eq!(parse_uuid(&uuid.to_string()), Some(uuid));
        }
        assert_eq!(parse_uuid("not a uuid"), None);
    }

    #[test]
    fn a_clean_mark_gives_its_broker_epoch_back() {
        assert_eq!(parse_clean(b"{\"version\":0,\"brokerEpoch\":42}"), Some(42));
        assert_eq!(parse_clean(b"torn"), None);
    }

    #[test]
    fn every_directory_above_the_data_directory_is_named_down_to_the_root() {
        assert_eq!(super::parents("data"), [""]);
        assert_eq!(super::parents("a/b/c"), ["a/b", "a", ""]);
    }
}
