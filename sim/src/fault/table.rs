//! What there is to break, and what it stands for: the one list from which `klamm list faults` and `docs/faults.md` come.

use crate::disk::{DISK_FAULTS, DiskFaultKind};
use crate::event::LinkState;
use crate::net::ConnectionFault;
use serde::{Deserialize, Serialize};

/// What a fault is done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultFamily {
    /// Links and connections.
    Network,
    /// Devices and the bytes on them.
    Disk,
    /// Clocks and timers.
    Clock,
    /// A process, while its machine goes on.
    Process,
    /// A whole machine.
    Host,
    /// Any of the others, on several hosts at one instant.
    Group,
}

impl FaultFamily {
    /// As in serialised form.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Disk => "disk",
            Self::Clock => "clock",
            Self::Process => "process",
            Self::Host => "host",
            Self::Group => "group",
        }
    }
}

/// One line of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultInfo {
    /// Unique.
    pub name: &'static str,
    /// What it is done to.
    pub family: FaultFamily,
    /// What it does, in one line.
    pub effect: &'static str,
    /// The real incident that it stands for, or that no public one is known.
    pub incident: &'static str,
    /// Where that can be read; empty where none is known.
    pub source: &'static str,
}

const fn new(
    family: FaultFamily,
    name: &'static str,
    effect: &'static str,
    incident: &'static str,
    source: &'static str,
) -> FaultInfo {
    FaultInfo { name, family, effect, incident, source }
}

/// A line of the list of disk faults, under its name here.
const fn disk(name: &'static str, place: usize, source: &'static str) -> FaultInfo {
    let disk = &DISK_FAULTS[place];
    new(FaultFamily::Disk, name, disk.effect, disk.incident, source)
}

/// Every fault, by family.
pub const FAULTS: &[FaultInfo] = &[
    new(
        FaultFamily::Network,
        "cut",
        "links are silent in both directions; senders retransmit and give up",
        "GitHub, 21 October 2018: 43 seconds without a link between two sites, and writes on either side of it",
        "https://github.blog/2018-10-30-oct21-post-incident-analysis/",
    ),
    new(
        FaultFamily::Network,
        "one-way-cut",
        "one direction of a link is silent, the other works",
        "Broadcom BCM5709 cards dropped inbound and not outbound packets: a dead primary went on sending heartbeats for five hours (Bailis and Kingsbury, 2013)",
        "https://github.com/pbailis/partitions-post",
    ),
    new(
        FaultFamily::Network,
        "slow",
        "segments take longer over a link",
        "Slack, 4 January 2021: a transit gateway did not grow with its load, and one slow request in a hundred took 40 % of the servers' time",
        "https://www.techtarget.com/searchunifiedcommunications/news/252495267/Massive-Slack-outage-caused-by-AWS-gateway-failure",
    ),
    new(
        FaultFamily::Network,
        "stall",
        "bytes wait in the network, none is lost, and all arrive after the heal",
        "a network card that sent pause frames without end held the traffic of a data centre network (Guo et al., SIGCOMM 2016)",
        "https://studylib.net/doc/18875832/rdma-over-commodity-ethernet-at-scale",
    ),
    new(
        FaultFamily::Network,
        "reset",
        "something in between answers what passes a link with an RST",
        "Comcast, 2007: forged RSTs ended its customers' file-sharing connections",
        "https://www.eff.org/deeplinks/2007/10/eff-tests-agree-ap-comcast-forging-packets-to-interfere",
    ),
    new(
        FaultFamily::Network,
        "jitter",
        "segments take longer by their own draws; a stream keeps its order",
        "no public incident known",
        "",
    ),
    new(
        FaultFamily::Network,
        "narrow",
        "a link carries few bytes a second, and what does not fit its queue is lost",
        "limping network cards, slower by orders of magnitude, slowed whole clusters that did not fail over (Do et al., SoCC 2013)",
        "http://www.theregister.co.uk/2013/11/18/boffins_warn_limpware_takes_the_fun_out_of_cloud/",
    ),
    new(
        FaultFamily::Network,
        "loss",
        "segments are lost, and sent again later each time",
        "a year of a new cluster at Google: five racks go wonky, and 40 to 80 machines see half of their packets lost (Dean, LADIS 2009)",
        "https://github.com/pbailis/partitions-post",
    ),
    new(
        FaultFamily::Network,
        "corrupt",
        "segments arrive with a bit flipped, as when a checksum misses it",
        "the TCP checksum misses one in 16 million to 10 billion damaged packets (Stone and Partridge, SIGCOMM 2000); Linux containers did not check it (Twitter, 2016)",
        "https://medium.com/vijay-pandurangan/linux-kernel-bug-delivers-corrupt-tcp-ip-data-to-mesos-kubernetes-docker-containers-4986f88f7a19",
    ),
    new(
        FaultFamily::Network,
        "partial",
        "reads and writes take less than they could, down to a byte",
        "write(2) may write less than asked, and a socket's read gives what is there",
        "https://man7.org/linux/man-pages/man2/write.2.html",
    ),
    new(
        FaultFamily::Network,
        "connection-reset",
        "both ends of a connection get an RST that neither sent",
        "Kubernetes, 2019: packets that connection tracking took for invalid were not translated, and the peer answered them with an RST",
        "https://kubernetes.io/blog/2019/03/29/kube-proxy-subtleties-debugging-an-intermittent-connection-reset/",
    ),
    new(
        FaultFamily::Network,
        "connection-stall",
        "the bytes of one connection wait while others pass",
        "no public incident known",
        "",
    ),
    new(
        FaultFamily::Network,
        "half-open",
        "one side of a connection is forgotten without a word",
        "NAT gateways and load balancers of Amazon forget a connection after 350 idle seconds; what is sent later arrives nowhere",
        "https://aws.amazon.com/blogs/networking-and-content-delivery/implementing-long-running-tcp-connections-within-vpc-networking/",
    ),
    new(FaultFamily::Network, "slow-close", "the end of a connection arrives late", "no public incident known", ""),
    new(
        FaultFamily::Network,
        "connection-corrupt",
        "segments of one connection arrive with a bit flipped",
        "PagerDuty, 2015: damaged bytes over IPsec passed every check and ended ZooKeeper's main thread",
        "https://www.pagerduty.com/blog/the-discovery-of-apache-zookeepers-poison-packet/",
    ),
    new(
        FaultFamily::Network,
        "connection-delay",
        "segments of one connection take longer",
        "no public incident known",
        "",
    ),
    new(FaultFamily::Network, "refuse", "connects are refused though somebody listens", "no public incident known", ""),
    new(
        FaultFamily::Network,
        "no-answer",
        "connects are not answered though somebody listens",
        "an accept queue that is full: Linux lets connects go unanswered, and clients time out",
        "https://www.michal-drozd.com/en/blog/tcpdump-syn-no-accept-backlog-trap/",
    ),
    disk("read-error", 0, "https://research.cs.wisc.edu/adsl/Publications/latent-sigmetrics07.html"),
    disk("write-error", 1, "https://cwiki.apache.org/confluence/display/KAFKA/KIP-112%3A+Handle+disk+failure+for+JBOD"),
    disk("sync-error", 2, "https://wiki.postgresql.org/wiki/Fsync_Errors"),
    disk(
        "no-space",
        3,
        "https://www.theguardian.com/business/2023/sep/06/toyota-blames-factory-shutdown-in-japan-on-insufficient-disk-space",
    ),
    disk("short-write", 4, "https://man7.org/linux/man-pages/man2/write.2.html"),
    disk(
        "bit-rot",
        5,
        "https://www.usenix.org/legacy/events/fast08/tech/full_papers/bairavasundaram/bairavasundaram_html/index.html",
    ),
    disk(
        "misdirected-write",
        6,
        "https://www.usenix.org/legacy/events/fast08/tech/full_papers/bairavasundaram/bairavasundaram_html/index.html",
    ),
    disk("misdirected-read", 7, "http://storagemojo.com/2007/09/19/cerns-data-corruption-research/"),
    disk("lying-sync", 8, "https://www.usenix.org/conference/fast13/technical-sessions/presentation/zheng"),
    disk("disk-stuck", 9, "https://aws.amazon.com/message/65648/"),
    disk("disk-slow", 10, "https://www.usenix.org/conference/fast18/presentation/gunawi"),
    disk("disk-throttled", 11, "https://repost.aws/knowledge-center/ebs-volume-burst-balance-low"),
    disk(
        "disk-removed",
        12,
        "https://www.zdnet.com/article/hpe-tells-users-to-patch-ssds-to-prevent-failure-after-32768-hours-of-operation/",
    ),
    disk("disk-wiped", 13, "https://about.gitlab.com/blog/2017/02/10/postmortem-of-database-outage-of-january-31/"),
    new(
        FaultFamily::Clock,
        "skew",
        "the wall clock is off by so much",
        "two public time servers of the US Naval Observatory told the year 2000 on 19 November 2012",
        "https://lists.febo.com/pipermail/time-nuts/2012-November/071935.html",
    ),
    new(
        FaultFamily::Clock,
        "clock-jump",
        "the wall clock jumps forwards or backwards",
        "the same day: servers followed them to 2000 and back again, and Active Directory stopped replicating",
        "https://jonsdocs.org.uk/2019/02/02/time-travel-thanks-to-the-us-naval-observatory/",
    ),
    new(
        FaultFamily::Clock,
        "clock-drift",
        "the wall clock gains or loses a little every second",
        "no public incident known",
        "",
    ),
    new(
        FaultFamily::Clock,
        "timer-drift",
        "the monotonic clock and all timers run fast or slow",
        "no public incident known",
        "",
    ),
    new(
        FaultFamily::Clock,
        "leap-second",
        "the last second of the day is counted twice",
        "30 June 2012: Linux timers fired early, and servers spun until their clocks were set; 31 December 2016: Cloudflare's DNS computed a negative time",
        "https://blog.cloudflare.com/how-and-why-the-leap-second-affected-cloudflare-dns/",
    ),
    new(
        FaultFamily::Clock,
        "leap-smear",
        "the wall clock runs slow until it has lost a second",
        "no public incident known",
        "",
    ),
    new(
        FaultFamily::Process,
        "kill",
        "the process dies at once; its page cache stays",
        "Google Cloud, 12 June 2025: a null pointer crashed Service Control in every region, again after each restart",
        "https://postmortems.app/postmortem/9deb5a9a-d55a-47fc-845f-a7fe3ebdb673",
    ),
    new(
        FaultFamily::Process,
        "stop",
        "the process is asked to stop, and killed where it does not in time",
        "Kubernetes kills a broker that has not stopped when the grace period is over; its log is recovered at the next start",
        "https://docs.stackable.tech/home/stable/kafka/usage-guide/operations/graceful-shutdown",
    ),
    new(
        FaultFamily::Process,
        "pause",
        "the process stands still while time passes and bytes pile up",
        "HBase region servers that a full collection stopped for longer than their ZooKeeper session (Lipcon, 2011)",
        "https://blog.cloudera.com/blog/2011/02/avoiding-full-gcs-in-hbase-with-memstore-local-allocation-buffers-part-1/",
    ),
    new(
        FaultFamily::Process,
        "gc",
        "a garbage collector pauses the process now and then, rarely for long",
        "the same: a fragmented heap is compacted by one thread, 8 to 10 seconds a gigabyte",
        "https://blog.cloudera.com/blog/2011/02/avoiding-full-gcs-in-hbase-with-memstore-local-allocation-buffers-part-1/",
    ),
    new(FaultFamily::Process, "slow-cpu", "every step of the process costs time", "no public incident known", ""),
    new(
        FaultFamily::Process,
        "open-files",
        "opening, connecting and accepting fail beyond a limit (EMFILE)",
        "Kafka brokers at their limit of descriptors accept no connections and open no segments",
        "https://www.netdata.cloud/guides/kafka/kafka-too-many-open-files/",
    ),
    new(
        FaultFamily::Process,
        "out-of-memory",
        "reads, writes and sockets fail beyond a limit (ENOMEM)",
        "no public incident known",
        "",
    ),
    new(
        FaultFamily::Process,
        "oom-kill",
        "the process is killed when it wants more memory than there is",
        "Redpanda, 2022: Linux ended processes of a cloud cluster beside which a broker ran",
        "https://redpanda.com/blog/solve-out-of-memory-killer-events",
    ),
    new(
        FaultFamily::Host,
        "power-off",
        "the machine loses power: silence, and what was not synced is at risk",
        "GitHub, 28 January 2016: a power disruption rebooted a quarter of the servers",
        "https://github.blog/2016-02-03-january-28th-incident-report/",
    ),
    new(
        FaultFamily::Host,
        "machine-loss",
        "the machine falls silent and comes back later with its disk",
        "after a cluster lost power, about one machine in a hundred does not start again (Cidon et al., USENIX ATC 2013)",
        "https://www.usenix.org/conference/atc13/technical-sessions/presentation/cidon",
    ),
    new(
        FaultFamily::Host,
        "machine-and-disk-loss",
        "the machine falls silent; what comes back in its name has an empty disk",
        "OVHcloud, 10 March 2021: a fire destroyed the data centre SBG2 with its servers",
        "https://baxtel.com/news/ovh-data-center-sbg2-destroyed-by-fire-in-strasbourg",
    ),
    new(
        FaultFamily::Host,
        "wipe",
        "the process dies and its disk is emptied",
        "GitLab, 31 January 2017: the data directory of the live primary was removed",
        "https://about.gitlab.com/blog/2017/02/10/postmortem-of-database-outage-of-january-31/",
    ),
    new(
        FaultFamily::Group,
        "rack",
        "a fault strikes every host of a rack at the same instant",
        "most large bursts of failures at Google are of one rack or of several (Ford et al., OSDI 2010)",
        "https://out13.com/paper/availability-in-globally-distributed-storage-systems",
    ),
    new(
        FaultFamily::Group,
        "data-centre",
        "a fault strikes every host of a data centre at the same instant",
        "OVHcloud, 10 March 2021: a fire destroyed the data centre SBG2 with its servers",
        "https://baxtel.com/news/ovh-data-center-sbg2-destroyed-by-fire-in-strasbourg",
    ),
    new(
        FaultFamily::Group,
        "replicas",
        "a fault strikes every replica of one partition at the same instant",
        "random placement almost surely loses some data when a cluster loses power (Cidon et al., USENIX ATC 2013)",
        "https://www.usenix.org/conference/atc13/technical-sessions/presentation/cidon",
    ),
];

/// The line of that name.
pub fn fault_info(name: &str) -> Option<&'static FaultInfo> {
    FAULTS.iter().find(|info| info.name == name)
}

/// The name here of a disk fault: its own, with the family where that alone would not say what it is.
pub(super) fn disk_name(kind: DiskFaultKind) -> &'static str {
    match kind {
        DiskFaultKind::Stuck => "disk-stuck",
        DiskFaultKind::Slow { .. } => "disk-slow",
        DiskFaultKind::Throttled { .. } => "disk-throttled",
        DiskFaultKind::Removed => "disk-removed",
        DiskFaultKind::Wiped => "disk-wiped",
        other => other.name(),
    }
}

/// The name of a state of a link.
pub(super) fn cut_name(state: LinkState, both: bool) -> &'static str {
    match (state, both) {
        (LinkState::Stalled, _) => "stall",
        (LinkState::Reset, _) => "reset",
        (_, true) => "cut",
        (_, false) => "one-way-cut",
    }
}

/// The name of a fault of single connections.
pub(super) fn connection_name(what: ConnectionFault) -> &'static str {
    match what {
        ConnectionFault::Reset => "connection-reset",
        ConnectionFault::Stall => "connection-stall",
        ConnectionFault::HalfOpen => "half-open",
        ConnectionFault::SlowClose { .. } => "slow-close",
        ConnectionFault::Corrupt { .. } => "connection-corrupt",
        ConnectionFault::Delay { .. } => "connection-delay",
    }
}
