//! klamm-node
