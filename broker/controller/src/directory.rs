//! Ids of log directories that stand for something else (KIP-858).

use klamm_base::Uuid;

/// The broker has not said yet where the replica lies.
pub const UNASSIGNED: Uuid = Uuid(0);
/// It lies in a directory that failed, and nobody knows in which.
pub const LOST: Uuid = Uuid(1);
/// From a time when metadata did not say.
pub const MIGRATING: Uuid = Uuid(2);
/// So many ids, from 0 on, are no directory's.
const RESERVED: u128 = 100;

/// True for an id that no directory may have.
pub fn is_reserved(id: Uuid) -> bool {
    id.0 < RESERVED
}
