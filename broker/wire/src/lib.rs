//! klamm-wire
