//! klamm-client
