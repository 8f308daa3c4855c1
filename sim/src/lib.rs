//! klamm-sim
