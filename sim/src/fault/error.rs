//! What makes no sense in a fault, or cannot be done to this world.

use crate::disk::DiskFaultError;
use crate::hosts::HostError;
use crate::net::NetError;
use std::fmt;

/// Why a fault cannot strike. Nothing of it was done then.
#[derive(Clone, Debug, PartialEq)]
pub enum FaultError {
    /// There is no such host.
    NoHost {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// There is no such rack or data centre.
    NoGroup {
        /// What was asked for.
        place: String,
    },
    /// A link needs two machines.
    NoLink {
        /// Where it would begin.
        from: String,
        /// Where it would end.
        to: String,
    },
    /// A link that is up is no fault.
    LinkUp,
    /// A host that answers connects as it should is no fault.
    Listens,
    /// No live connection is meant.
    NoConnection,
    /// A plan that mends before it strikes.
    Backwards {
        /// Nanoseconds.
        from_ns: u64,
        /// Nanoseconds.
        until_ns: u64,
    },
    /// What the network cannot be.
    Net(NetError),
    /// What the host cannot be.
    Host(HostError),
    /// What the disk cannot do.
    Disk(DiskFaultError),
}

impl fmt::Display for FaultError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHost { name, known } => write!(f, "there is no host {name:?}; there are {}", known.join(", ")),
            Self::NoGroup { place } => write!(f, "no host is in {place}: the topology says who is where"),
            Self::NoLink { from, to } => write!(f, "no link leads from {from} to {to}: name two machines"),
            Self::LinkUp => f.write_str("a link that is up is no fault: stall it, silence it or reset it"),
            Self::Listens => f.write_str("a host that answers is no fault: let it refuse or be silent"),
            Self::NoConnection => {
                f.write_str("no live connection is meant: name another role, or let it strike new ones too")
            }
            Self::Net(error) => error.fmt(f),
            Self::Backwards { from_ns, until_ns } => {
                write!(f, "until-ns = {until_ns} is not after from-ns = {from_ns}: the fault would never be in force")
            }
            Self::Host(error) => error.fmt(f),
            Self::Disk(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for FaultError {}

impl From<NetError> for FaultError {
    fn from(error: NetError) -> Self {
        Self::Net(error)
    }
}

impl From<HostError> for FaultError {
    fn from(error: HostError) -> Self {
        Self::Host(error)
    }
}

impl From<DiskFaultError> for FaultError {
    fn from(error: DiskFaultError) -> Self {
        Self::Disk(error)
    }
}
