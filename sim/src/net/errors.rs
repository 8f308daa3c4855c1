//! What cannot be asked of a network.

use std::fmt;

/// Why the network was left as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetError {
    /// There is no such host.
    UnknownHost {
        /// The number asked for.
        host: u32,
    },
    /// A link leads from one host to another; this one would lead to where it starts.
    OwnLink {
        /// The host.
        host: String,
    },
    /// A range whose end lies before its start.
    Range {
        /// Its start.
        min_ns: u64,
        /// Its end.
        max_ns: u64,
    },
    /// A mean below the least.
    Mean {
        /// The least.
        min_ns: u64,
        /// The mean.
        mean_ns: u64,
    },
    /// A 99th percentile below the median, or a median of zero.
    Percentiles {
        /// The median.
        median_ns: u64,
        /// The 99th percentile.
        p99_ns: u64,
    },
    /// More than all.
    Share {
        /// Of what.
        what: &'static str,
        /// Parts in a million.
        ppm: u32,
    },
    /// Longer than a day: the world would stand still.
    TooLong {
        /// What is.
        what: &'static str,
        /// Nanoseconds.
        ns: u64,
    },
    /// It would mean that nothing ever passes, or that nothing is asked for.
    Zero {
        /// What was zero.
        what: &'static str,
    },
    /// A queue in front of a wire that never makes anything wait.
    QueueWithoutBandwidth {
        /// Its length.
        queue_bytes: u64,
    },
    /// A queue that holds not even one segment of usual size.
    QueueTooShort {
        /// Its length.
        queue_bytes: u64,
    },
    /// A place without a name.
    UnnamedSite {
        /// The host that would be there.
        host: String,
    },
    /// One rack in two data centres.
    RackInTwoPlaces {
        /// Its name.
        rack: String,
    },
}

impl fmt::Display for NetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownHost { host } => write!(f, "there is no host {host}: World::add_host makes one"),
            Self::OwnLink { host } => {
                write!(f, "{host} has no link to itself that could be set: NetProfile::loopback is what it is like")
            }
            Self::Range { min_ns, max_ns } => {
                write!(f, "latencies from {min_ns} to {max_ns} ns are an empty range: swap them")
            }
            Self::Mean { min_ns, mean_ns } => {
                write!(f, "a mean of {mean_ns} ns lies below the least, {min_ns} ns: the mean includes the least")
            }
            Self::Percentiles { median_ns, p99_ns } => {
                write!(
                    f,
                    "a median of {median_ns} ns and a p99 of {p99_ns} ns are of no distribution: 0 < median <= p99"
                )
            }
            Self::Share { what, ppm } => {
                write!(f, "{what} of {ppm} parts in a million is more than all: at most 1000000")
            }
            Self::TooLong { what, ns } => write!(f, "{what} of {ns} ns is longer than a day: at most 86400000000000"),
            Self::Zero { what } => write!(f, "{what} is zero: set it to at least 1, or leave it out"),
            Self::QueueWithoutBandwidth { queue_bytes } => {
                write!(f, "a queue of {queue_bytes} bytes is never used without a bandwidth: set bytes_per_second, too")
            }
            Self::QueueTooShort { queue_bytes } => {
                write!(f, "a queue of {queue_bytes} bytes holds not one segment: at least 1500, or 0 for no limit")
            }
            Self::UnnamedSite { host } => write!(f, "{host} has a site without a name: name its rack and data centre"),
            Self::RackInTwoPlaces { rack } => {
                write!(f, "rack {rack:?} stands in two data centres: give the racks of each names of their own")
            }
        }
    }
}

impl std::error::Error for NetError {}
