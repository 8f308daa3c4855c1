//! What is driven: the node; in this crate's own tests a small machine that speaks a text protocol, so that they can ask
//! for each thing that a driver must do.

#[cfg(test)]
pub(crate) use crate::fake::{Command, Event, Node, OutRequest, Request, Response, decode_request};
#[cfg(not(test))]
pub(crate) use klamm_node::{Command, Event, Node, OutRequest, Request, Response, decode_request};

pub(crate) use klamm_node::{DiskId, Endpoint, NodeConfig, SendError, SendId, Token};
