//! Settings of a controller.

use klamm_base::NodeId;
use klamm_log::LogConfig;

/// Settings of a controller. Defaults are Kafka's.
#[derive(Clone, Debug)]
pub struct ControllerConfig {
    /// This node.
    pub node: NodeId,
    /// All voters; for now exactly this node.
    pub voters: Vec<NodeId>,
    /// `cluster.id`; brokers of another cluster are refused (104).
    pub cluster_id: String,
    /// `broker.session.timeout.ms`, monotonic (K14).
    pub session_timeout_ms: u64,
    /// `unclean.leader.election.enable` where the topic says nothing.
    pub unclean_leader_election: bool,
    /// `num.partitions`, for -1.
    pub num_partitions: i32,
    /// `default.replication.factor`, for -1.
    pub default_replication_factor: i16,
    /// `min.insync.replicas` where the topic says nothing; only observed, brokers enforce it.
    pub min_insync_replicas: i32,
    /// Checks one topic setting (key, value); the text of an error reaches the client with INVALID_CONFIG (40).
    pub topic_config_check: fn(&str, &str) -> Result<(), String>,
    /// Settings of the logs of topics that say nothing; only observed, brokers enforce them.
    pub topic_log: LogConfig,
    /// Settings of the metadata log.
    pub log: LogConfig,
    /// Its directory, `…/__cluster_metadata-0`.
    pub dir: String,
}

impl ControllerConfig {
    /// Kafka's defaults for a single controller.
    pub fn new(node: NodeId, cluster_id: String, dir: String) -> Self {
        Self {
            node,
            voters: vec![node],
            cluster_id,
            session_timeout_ms: 9000,
            unclean_leader_election: false,
            num_partitions: 1,
            default_replication_factor: 1,
            min_insync_replicas: 1,
            topic_config_check: |_, _| Ok(()),
            topic_log: LogConfig::default(),
            log: LogConfig::default(),
            dir,
        }
    }
}
