//! klamm-quorum
