//! Blocks of producer ids (KIP-730): persisted before they are granted (K21, B10).

use crate::draft::Draft;
use klamm_base::ErrorCode;
use klamm_wire::messages::{AllocateProducerIdsRequest, AllocateProducerIdsResponse, ProducerIdsRecord};
use klamm_wire::metadata::MetadataRecord;

/// Ids in a block.
pub const BLOCK_LEN: i32 = 1000;

impl Draft<'_> {
    /// The next block, to a broker of the current epoch.
    pub(crate) fn allocate_producer_ids(
        &mut self,
        request: &AllocateProducerIdsRequest,
    ) -> Result<AllocateProducerIdsResponse, ErrorCode> {
        self.check_broker_epoch(request.broker_id, request.broker_epoch)?;
        let start = self.image.next_producer_id;
        let next = start.checked_add(i64::from(BLOCK_LEN)).ok_or(ErrorCode::UnknownServerError)?;
        self.record(MetadataRecord::ProducerIdsRecord(ProducerIdsRecord {
            broker_id: request.broker_id,
            broker_epoch: request.broker_epoch,
            next_producer_id: next,
        }));
        assert_eq!(self.image.next_producer_id, next, "the block is taken");
        Ok(AllocateProducerIdsResponse { producer_id_start: start, producer_id_len: BLOCK_LEN, ..Default::default() })
    }
}
