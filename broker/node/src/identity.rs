//! `partition.metadata`: which topic's log a directory holds (KIP-516) [L10]. A topic's name may be another one's later.

use crate::dirs::Step;
use crate::node::{Cx, Node};
use klamm_base::{DiskOp, Uuid};
use klamm_log::format::{DirName, DirState, PartitionMetadata, file};
use klamm_replica::Event;

/// The directory of the metadata log, in the first log directory.
pub(crate) const METADATA_LOG: &str = "__cluster_metadata-0";

impl Node {
    /// Looks whose log lies where a partition's log is to be, before it is loaded.
    pub(crate) fn identify(&mut self, slot: u32, cx: &mut Cx) {
        let (dir, name) = self.log_place(slot);
        let path = self.dirs.all[dir].path(&name);
        self.dir_disk(dir, Step::Part, DiskOp::CreateDir { path }, cx);
        self.read_small(dir, Step::IdentityRead(slot), &identity_file(&name), cx);
    }

    /// What the file says; `None` if it is not there. One that is damaged is made anew: the name is all there is to go by.
    pub(crate) fn identity_read(&mut self, slot: u32, data: Option<&[u8]>, cx: &mut Cx) {
        let wanted = self.partitions.slot(slot).tp.topic;
        match data.and_then(topic_id) {
            Some(found) if found == wanted => return self.identified(slot, cx),
            Some(_) => self.move_stray(slot, cx),
            None => {}
        }
        let (dir, name) = self.log_place(slot);
        self.write_identity(dir, &name, wanted, Step::Identified(slot), cx);
    }

    /// The log of another topic, which had this name before: it is put aside for people to look at, as Kafka does. What
    /// checkpoints say of it goes first: a crash must not leave that to the new one.
    fn move_stray(&mut self, slot: u32, cx: &mut Cx) {
        let (dir, name) = self.log_place(slot);
        let place = self.partitions.slot(slot);
        let live = DirName::new(place.topic(), place.tp.partition);
        let stray = DirName { state: DirState::Stray(self.draws.next_u128()), ..live };
        let (from, to) = (self.dirs.all[dir].path(&name), self.dirs.all[dir].path(&stray.to_string()));
        self.forget_checkpoints(slot, cx);
        self.dir_disk(dir, Step::Part, DiskOp::Rename { from: from.clone(), to }, cx);
        self.dir_disk(dir, Step::Part, DiskOp::CreateDir { path: from }, cx);
        self.remake_replica(slot, cx);
    }

    /// The names above the file are durable with it: nobody else makes them so where a directory is not empty.
    fn write_identity(&mut self, dir: usize, name: &str, topic_id: Uuid, last: Step, cx: &mut Cx) {
        let text = PartitionMetadata { topic_id }.to_string();
        self.replace_file(dir, &identity_file(name), text, Step::Part, cx);
        let (inside, above) = (self.dirs.all[dir].path(name), self.dirs.all[dir].path.clone());
        self.dir_disk(dir, Step::Part, DiskOp::SyncDir { path: inside }, cx);
        self.dir_disk(dir, last, DiskOp::SyncDir { path: above }, cx);
    }

    /// The directory is the partition's own: its log is loaded, unless the node stops already.
    pub(crate) fn identified(&mut self, slot: u32, cx: &mut Cx) {
        if self.phase.serves() {
            self.step_replica(slot, Event::Start, cx);
        }
    }

    fn log_place(&self, slot: u32) -> (usize, String) {
        let place = self.partitions.slot(slot);
        (place.dir, DirName::new(place.topic(), place.tp.partition).to_string())
    }

    /// The start reads it of the metadata log, too.
    pub(crate) fn read_metadata_identity(&mut self, cx: &mut Cx) {
        self.read_small(0, Step::MetadataIdentity, &identity_file(METADATA_LOG), cx);
    }

    /// As [`Node::identity_read`], but the metadata log of a cluster is never another topic's.
    pub(crate) fn metadata_identity_read(&mut self, data: Option<&[u8]>, cx: &mut Cx) {
        match data.and_then(topic_id) {
            None => self.dirs.metadata_unnamed = true,
            Some(Uuid::METADATA_TOPIC) => {}
            Some(other) => {
                let path = self.dirs.all[0].path(&identity_file(METADATA_LOG));
                return self.fatal(format!("{path}: belongs to the topic {other}, not to the metadata"), cx);
            }
        }
        self.rest_read(0, cx);
    }

    /// A new metadata log gets its file before anything is written to it.
    pub(crate) fn identify_metadata_log(&mut self, cx: &mut Cx) {
        if self.dirs.metadata_unnamed {
            let path = self.dirs.all[0].path(METADATA_LOG);
            self.dir_disk(0, Step::Part, DiskOp::CreateDir { path }, cx);
            self.write_identity(0, METADATA_LOG, Uuid::METADATA_TOPIC, Step::Part, cx);
        }
    }
}

fn identity_file(name: &str) -> String {
    format!("{name}/{}", file::PARTITION_METADATA)
}

fn topic_id(data: &[u8]) -> Option<Uuid> {
    PartitionMetadata::parse(&String::from_utf8_lossy(data)).ok().map(|read| read.topic_id)
}
