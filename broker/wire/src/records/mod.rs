//! Record batches, format v2 (KIP-98; rules L1 to L8 of the semantics checklist).

mod batch;
mod build;
mod compress;
mod control;
mod header;
mod iter;
mod retain;
mod validate;

pub use batch::{Batch, Split, SplitWhole, split, split_whole};
pub use build::BatchBuilder;
pub use compress::{Codec, Compression, UNPACKED_LIMIT, UNPACKING_SCRATCH, compress, decompress};
pub use control::{ControlType, control_batch, end_txn_value, leader_change, read_leader_change};
pub use header::{BatchHeader, CRC_FROM, HEADER_LEN};
pub use iter::{Record, Records, records};
pub use retain::{RawRecord, raw_records};
pub use validate::{RecordError, Refused, Rules, sole_batch, validate};
