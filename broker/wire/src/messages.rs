//! Kafka's messages, one module each, generated from the files in `schemas/`.
//!
//! Fields have the names of Kafka's JSON specifications in snake_case, defaults are Kafka's. A field of a version range is
//! left out in other versions, and holds its default after a decode.
#![allow(clippy::all, clippy::pedantic, unused_mut)]

include!(concat!(env!("OUT_DIR"), "/messages.rs"));
