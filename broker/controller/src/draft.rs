//! A write in the making: the records that are decided so far, already replayed into the working image.

use crate::sessions::Sessions;
use crate::{ControllerConfig, MetadataImage};
use klamm_base::{Draws, ErrorCode, NodeId, Now, Observe};
use klamm_wire::metadata::MetadataRecord;

/// What a decision reads and adds to. Each decision sees the records of those before it in the same batch.
pub(crate) struct Draft<'a> {
    pub(crate) now: Now,
    pub(crate) config: &'a ControllerConfig,
    pub(crate) image: &'a mut MetadataImage,
    pub(crate) sessions: &'a mut Sessions,
    pub(crate) draws: &'a mut Draws,
    pub(crate) observe: &'a Observe,
    /// Offset that the first record of the batch will get.
    pub(crate) base_offset: i64,
    pub(crate) records: Vec<MetadataRecord>,
}

impl Draft<'_> {
    /// Decides one record: it is replayed at once, so that the next decision sees it.
    pub(crate) fn record(&mut self, record: MetadataRecord) {
        self.image.replay(self.next_offset(), &record);
        self.records.push(record);
    }

    /// The offset that the next record will get.
    pub(crate) fn next_offset(&self) -> i64 {
        self.base_offset + self.records.len() as i64
    }

    /// A request of a broker must carry its current epoch (77).
    pub(crate) fn check_broker_epoch(&self, broker: i32, epoch: i64) -> Result<(), ErrorCode> {
        match self.image.brokers.get(&NodeId(broker)) {
            Some(registered) if registered.epoch == epoch => Ok(()),
            _ => Err(ErrorCode::StaleBrokerEpoch),
        }
    }

    /// `unclean.leader.election.enable` of a topic.
    pub(crate) fn unclean_allowed(&self, topic: &str) -> bool {
        unclean_allowed(self.image, self.config, topic)
    }
}

/// `unclean.leader.election.enable` of a topic: its own setting, else the controller's.
pub(crate) fn unclean_allowed(image: &MetadataImage, config: &ControllerConfig, topic: &str) -> bool {
    let given = image.topic_config(topic, "unclean.leader.election.enable");
    given.map_or(config.unclean_leader_election, |value| value == "true")
}
