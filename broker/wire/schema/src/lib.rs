//! klamm-wire-schema
