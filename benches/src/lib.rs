//! klamm-benches
