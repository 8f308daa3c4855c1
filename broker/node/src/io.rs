//! The words that a node and its driver exchange.

use crate::request::{OutRequest, Request};
use crate::response::Response;
use bytes::Bytes;
use klamm_base::{DiskOp, DiskResult};
use klamm_wire::Str;
use std::fmt;

/// One request that a connection handed in. The driver makes it unique among open requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// One request of this node to another. Unique among open ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SendId(pub u64);

/// One disk operation of this node. Unique among open ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DiskId(pub u64);

/// Where a node listens.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// Host name or IP address.
    pub host: Str,
    /// TCP port.
    pub port: u16,
}

impl Endpoint {
    /// `host:port`.
    pub fn new(host: &str, port: u16) -> Self {
        Self { host: host.into(), port }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Why a [`Command::Send`] brought no answer. Whether the other side acted on it is unknown, except for `NotConnected`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The connection could not be made: the request was not sent.
    #[error("could not connect")]
    NotConnected,
    /// The connection ended before the answer came.
    #[error("the connection ended before the answer")]
    Disconnected,
    /// No answer within the time given.
    #[error("no answer in time")]
    TimedOut,
}

/// What happened in the world.
#[derive(Debug)]
pub enum Event {
    /// The process runs; comes first and once.
    Start,
    /// A connection handed in a request; it hands in its next one only after this one is answered.
    Request {
        /// Comes back in the one reply.
        token: Token,
        /// From [`crate::decode_request`].
        request: Request,
    },
    /// The connection of an open request ended: no reply is wanted any more.
    Gone {
        /// Of the request.
        token: Token,
    },
    /// A [`Command::Send`] ended. At most once for each.
    Answered {
        /// Of the send.
        id: SendId,
        /// The response frame without its four length bytes.
        result: Result<Bytes, SendError>,
    },
    /// A [`Command::Disk`] ended. At most once for each.
    DiskDone {
        /// Of the operation.
        id: DiskId,
        /// How it ended.
        result: DiskResult,
    },
    /// [`crate::Node::deadline`] has passed. Coming too early is harmless.
    Deadline,
    /// Stop in good order; ends in [`Command::Stopped`].
    Stop,
}

/// What the driver is to do, in this order.
#[derive(Debug)]
pub enum Command {
    /// Perform it; mutating ones of one log directory in this order.
    Disk {
        /// Comes back in [`Event::DiskDone`].
        id: DiskId,
        /// The operation; paths are relative to the process's root.
        op: DiskOp,
    },
    /// Send a request over the one connection for this endpoint and role, made when needed. Requests on one connection keep
    /// their order and do not wait for each other's answers.
    Send {
        /// To whom.
        to: Endpoint,
        /// What the connection is for: fetch, metadata, heartbeat, alter-partition, forward.
        role: &'static str,
        /// Comes back in [`Event::Answered`].
        id: SendId,
        /// Encode it outside of the node's lock.
        request: OutRequest,
        /// Give up (and drop the connection) after this long, milliseconds.
        timeout_ms: u64,
    },
    /// Answer the request.
    Reply {
        /// Of the request.
        token: Token,
        /// Encode it outside of the node's lock.
        response: Response,
    },
    /// The request is done and has no answer (acks=0).
    NoReply {
        /// Of the request.
        token: Token,
    },
    /// Close the request's connection: acks=0 failed, or the request cannot be answered.
    Close {
        /// Of the request.
        token: Token,
    },
    /// The process cannot go on; end it.
    Fatal {
        /// For people.
        message: String,
    },
    /// Stopped in good order; end the process.
    Stopped,
}
