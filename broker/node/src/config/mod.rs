//! What a node is told before it starts: Kafka's keys with Kafka's defaults.

mod tables;

pub use tables::{BROKER, TOPIC};

use crate::io::Endpoint;
use klamm_base::{ConfigError, NodeId, Properties, millionths};
use klamm_log::{Compaction, LogConfig};
use klamm_wire::records::{Codec, Compression, Rules};

const EVERY_ADDRESS: &str = "0.0.0.0";

/// Which parts of a process run: `process.roles`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles {
    /// Serves clients and replicates.
    pub broker: bool,
    /// Votes for (here: is) the controller.
    pub controller: bool,
}

/// Settings of one node, read and checked. Times in milliseconds, sizes in bytes.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// `node.id`.
    pub node: NodeId,
    /// `process.roles`.
    pub roles: Roles,
    /// `klamm.cluster.id`: a node refuses a data directory and a controller of another cluster.
    pub cluster_id: String,
    /// `listeners`: where the driver listens; no host means every address (0.0.0.0), port 0 a free one.
    pub listen: Endpoint,
    /// `advertised.listeners`: where others are told to connect.
    pub advertised: Endpoint,
    /// `controller.quorum.voters`: the one voter's id.
    pub controller: NodeId,
    /// `controller.quorum.voters`: the one voter's place.
    pub controller_endpoint: Endpoint,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// `log.dirs`, relative to the process's root; never empty. The metadata log lies in the first.
    pub log_dirs: Vec<String>,
    /// When the node looks after its logs.
    pub housekeeping: HousekeepingConfig,
    /// How it compacts them.
    pub cleaner: CleanerConfig,
    /// `broker.heartbeat.interval.ms`.
    pub heartbeat_interval_ms: u64,
    /// `broker.session.timeout.ms`.
    pub session_timeout_ms: u64,
    /// `controller.quorum.request.timeout.ms`.
    pub quorum_request_timeout_ms: u64,
    /// `request.timeout.ms`: for requests among nodes that no other key governs.
    pub request_timeout_ms: u64,
    /// `controlled.shutdown.enable`.
    pub controlled_shutdown: bool,
    /// `socket.request.max.bytes`: for the driver.
    pub max_request_bytes: u32,
    /// `fetch.max.bytes`: an upper bound for what one fetch answers.
    pub fetch_max_bytes: u32,
    /// `replica.lag.time.max.ms`.
    pub replica_lag_time_max_ms: i64,
    /// `replica.fetch.*` and `replica.socket.timeout.ms`.
    pub replica_fetch: ReplicaFetchConfig,
    /// `auto.create.topics.enable`.
    pub auto_create_topics: bool,
    /// `num.partitions`.
    pub num_partitions: i32,
    /// `default.replication.factor`.
    pub replication_factor: i16,
    /// Segment settings of the metadata log.
    pub metadata_log: LogConfig,
    /// Topic defaults.
    pub topic: TopicConfig,
}

/// When a node looks after its logs. All in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct HousekeepingConfig {
    /// `log.flush.offset.checkpoint.interval.ms`.
    pub recovery_point_ms: u64,
    /// `log.flush.start.offset.checkpoint.interval.ms`.
    pub log_start_ms: u64,
    /// `replica.high.watermark.checkpoint.interval.ms`.
    pub high_watermark_ms: u64,
    /// `log.retention.check.interval.ms`.
    pub retention_check_ms: u64,
    /// `log.initial.task.delay.ms`.
    pub initial_delay_ms: u64,
    /// `log.dir.failure.timeout.ms`.
    pub dir_failure_ms: u64,
}

/// How a node compacts its logs: one after the other.
#[derive(Clone, Copy, Debug)]
pub struct CleanerConfig {
    /// `log.cleaner.enable`.
    pub enable: bool,
    /// `log.cleaner.backoff.ms`.
    pub backoff_ms: u64,
    /// `log.cleaner.dedupe.buffer.size`.
    pub dedupe_buffer_bytes: u64,
}

/// How this node fetches as a follower.
#[derive(Clone, Copy, Debug)]
pub struct ReplicaFetchConfig {
    /// `replica.fetch.wait.max.ms`.
    pub wait_max_ms: i32,
    /// `replica.fetch.min.bytes`.
    pub min_bytes: i32,
    /// `replica.fetch.max.bytes`: of one partition.
    pub max_bytes: i32,
    /// `replica.fetch.response.max.bytes`.
    pub response_max_bytes: i32,
    /// `replica.fetch.backoff.ms`.
    pub backoff_ms: u64,
    /// `replica.socket.timeout.ms`.
    pub socket_timeout_ms: u64,
}

/// What a topic may set for itself, and its broker's default.
#[derive(Clone, Debug)]
pub struct TopicConfig {
    /// `min.insync.replicas`.
    pub min_insync_replicas: i32,
    /// `unclean.leader.election.enable`.
    pub unclean: bool,
    /// Limits of the log.
    pub log: LogConfig,
    /// What a batch must be to be taken, and what is made of it.
    pub records: RecordConfig,
}

/// Settings about batches: they make the rules under which a leader takes them (L8).
#[derive(Clone, Copy, Debug)]
pub struct RecordConfig {
    /// `compression.type`; `None` is `producer`.
    pub codec: Option<Codec>,
    /// `compression.gzip.level`.
    pub gzip_level: i32,
    /// `compression.zstd.level`.
    pub zstd_level: i32,
    /// `message.timestamp.type` is LogAppendTime.
    pub append_time: bool,
    /// `message.timestamp.before.max.ms`.
    pub before_max_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub after_max_ms: i64,
}

impl RecordConfig {
    fn set(&mut self, key: &str, value: &str) {
        let int = value.parse::<i64>().unwrap_or(0);
        match key {
            "compression.type" => self.codec = Codec::from_name(value),
            "compression.gzip.level" => self.gzip_level = int as i32,
            "compression.zstd.level" => self.zstd_level = int as i32,
            "message.timestamp.type" => self.append_time = value == "LogAppendTime",
            "message.timestamp.before.max.ms" => self.before_max_ms = int,
            "message.timestamp.after.max.ms" => self.after_max_ms = int,
            _ => {}
        }
    }

    fn compression(&self) -> Option<Compression> {
        let codec = self.codec?;
        let level = match codec {
            Codec::Gzip => Some(self.gzip_level),
            Codec::Zstd => Some(self.zstd_level),
            Codec::None | Codec::Snappy | Codec::Lz4 => None,
        };
        Some(Compression { codec, level })
    }
}

impl TopicConfig {
    /// Under which a leader takes this topic's batches.
    pub fn rules(&self) -> Rules {
        let RecordConfig { append_time, before_max_ms, after_max_ms, .. } = self.records;
        Rules {
            max_bytes: self.log.max_message_bytes,
            compacted: self.log.compact,
            compression: self.records.compression(),
            append_time,
            before_max_ms,
            after_max_ms,
        }
    }

    /// These settings with a topic's own ones laid over. Values that the controller let through unread and that do not
    /// parse leave the default.
    pub fn with<'a>(&self, given: impl IntoIterator<Item = (&'a str, &'a str)>) -> TopicConfig {
        let mut config = self.clone();
        for (key, value) in given {
            if TOPIC.check_one(key, value).is_ok() {
                config.set(key, value);
            }
        }
        config
    }

    fn set(&mut self, key: &str, value: &str) {
        let int = value.parse::<i64>().unwrap_or(0);
        match key {
            "min.insync.replicas" => self.min_insync_replicas = int as i32,
            "unclean.leader.election.enable" => self.unclean = value == "true",
            "segment.bytes" => self.log.segment_bytes = int as u32,
            "segment.ms" => self.log.segment_ms = int,
            "max.message.bytes" => self.log.max_message_bytes = int as u32,
            "flush.messages" => self.log.flush_messages = int,
            "flush.ms" => self.log.flush_ms = int,
            "index.interval.bytes" => self.log.index_interval_bytes = int as u32,
            "segment.index.bytes" => self.log.max_index_bytes = int as u32,
            "file.delete.delay.ms" => self.log.file_delete_delay_ms = int as u64,
            "retention.ms" => self.log.retention_ms = int,
            "retention.bytes" => self.log.retention_bytes = int,
            "min.cleanable.dirty.ratio" => self.log.compaction.min_dirty_millionths = millionths(value).unwrap_or(0),
            "delete.retention.ms" => self.log.compaction.delete_retention_ms = int,
            "min.compaction.lag.ms" => self.log.compaction.min_lag_ms = int,
            "max.compaction.lag.ms" => self.log.compaction.max_lag_ms = int,
            "cleanup.policy" => (self.log.delete, self.log.compact) = policies(value),
            _ => self.records.set(key, value),
        }
    }
}

impl NodeConfig {
    /// Reads broker settings as a properties file or a script gives them. `process.roles`, `node.id` and
    /// `controller.quorum.voters` must be given, all else has Kafka's default.
    pub fn from_properties(given: &Properties) -> Result<NodeConfig, ConfigError> {
        BROKER.check(given)?;
        let (controller, controller_endpoint) = voter(given)?;
        let mut listen = listener(given, "listeners")?;
        if listen.host.is_empty() {
            listen.host = EVERY_ADDRESS.into();
        }
        let mut advertised = match BROKER.text(given, "advertised.listeners") {
            "" => listen.clone(),
            _ => listener(given, "advertised.listeners")?,
        };
        if advertised.host.is_empty() || *advertised.host == *EVERY_ADDRESS {
            advertised.host = "localhost".into();
        }
        let config = NodeConfig {
            node: node_id(given)?,
            roles: roles(given)?,
            cluster_id: text(given, "klamm.cluster.id"),
            listen,
            advertised,
            controller,
            controller_endpoint,
            rack: Some(text(given, "broker.rack")).filter(|rack| !rack.is_empty()),
            log_dirs: log_dirs(given)?,
            housekeeping: housekeeping(given),
            cleaner: cleaner(given),
            heartbeat_interval_ms: ms(given, "broker.heartbeat.interval.ms"),
            session_timeout_ms: ms(given, "broker.session.timeout.ms"),
            quorum_request_timeout_ms: ms(given, "controller.quorum.request.timeout.ms"),
            request_timeout_ms: ms(given, "request.timeout.ms"),
            controlled_shutdown: BROKER.bool(given, "controlled.shutdown.enable"),
            max_request_bytes: int32(given, "socket.request.max.bytes") as u32,
            fetch_max_bytes: int32(given, "fetch.max.bytes") as u32,
            replica_lag_time_max_ms: BROKER.int(given, "replica.lag.time.max.ms"),
            replica_fetch: replica_fetch(given),
            auto_create_topics: BROKER.bool(given, "auto.create.topics.enable"),
            num_partitions: int32(given, "num.partitions"),
            replication_factor: int32(given, "default.replication.factor") as i16,
            metadata_log: LogConfig {
                segment_bytes: int32(given, "metadata.log.segment.bytes") as u32,
                ..LogConfig::default()
            },
            topic: topic_defaults(given),
        };
        config.agrees(given)
    }

    /// Tells the configuration the port that the driver got where 0 was asked for.
    pub fn bound(&mut self, port: u16) {
        assert!(port != 0, "a listener has a port");
        self.listen.port = port;
        if self.advertised.port == 0 {
            self.advertised.port = port;
        }
        if self.controller == self.node && self.controller_endpoint.port == 0 {
            self.controller_endpoint.port = port;
        }
    }

    /// Settings that contradict each other.
    fn agrees(self, given: &Properties) -> Result<NodeConfig, ConfigError> {
        if self.roles.controller != (self.controller == self.node) {
            let expected = format!(
                "node {} is{} a controller by `process.roles`, so it must{} be the voter",
                self.node.0,
                if self.roles.controller { "" } else { " not" },
                if self.roles.controller { "" } else { " not" },
            );
            return Err(bad(given, "controller.quorum.voters", &expected));
        }
        if self.heartbeat_interval_ms >= self.session_timeout_ms {
            return Err(bad(given, "broker.heartbeat.interval.ms", "less than broker.session.timeout.ms is wanted"));
        }
        if self.controller_endpoint.port == 0 && self.controller != self.node {
            return Err(bad(given, "controller.quorum.voters", "another node's port cannot be 0"));
        }
        Ok(self)
    }
}

fn bad(given: &Properties, key: &str, expected: &str) -> ConfigError {
    let value = BROKER.text(given, key).to_owned();
    ConfigError::BadValue { what: BROKER.what, key: key.to_owned(), value, expected: expected.to_owned() }
}

fn text(given: &Properties, key: &str) -> String {
    BROKER.text(given, key).to_owned()
}

fn ms(given: &Properties, key: &str) -> u64 {
    BROKER.int(given, key) as u64
}

fn int32(given: &Properties, key: &str) -> i32 {
    BROKER.int(given, key) as i32
}

fn node_id(given: &Properties) -> Result<NodeId, ConfigError> {
    match BROKER.int(given, "node.id") {
        id if id >= 0 => Ok(NodeId(id as i32)),
        _ => Err(bad(given, "node.id", "a whole number from 0 must be given")),
    }
}

fn roles(given: &Properties) -> Result<Roles, ConfigError> {
    let mut roles = Roles { broker: false, controller: false };
    for role in BROKER.text(given, "process.roles").split(',') {
        match role.trim() {
            "broker" => roles.broker = true,
            "controller" => roles.controller = true,
            _ => return Err(bad(given, "process.roles", "broker, controller or broker,controller is wanted")),
        }
    }
    Ok(roles)
}

/// Directories with a comma between, each once.
fn log_dirs(given: &Properties) -> Result<Vec<String>, ConfigError> {
    let text = BROKER.text(given, "log.dirs");
    let dirs: Vec<String> = text.split(',').map(|dir| dir.trim().trim_end_matches('/').to_owned()).collect();
    let twice = dirs.iter().enumerate().any(|(at, dir)| dirs[..at].contains(dir));
    if twice || dirs.iter().any(String::is_empty) {
        return Err(bad(given, "log.dirs", "directories with a comma between are wanted, each once"));
    }
    Ok(dirs)
}

fn housekeeping(given: &Properties) -> HousekeepingConfig {
    HousekeepingConfig {
        recovery_point_ms: ms(given, "log.flush.offset.checkpoint.interval.ms"),
        log_start_ms: ms(given, "log.flush.start.offset.checkpoint.interval.ms"),
        high_watermark_ms: ms(given, "replica.high.watermark.checkpoint.interval.ms"),
        retention_check_ms: ms(given, "log.retention.check.interval.ms"),
        initial_delay_ms: ms(given, "log.initial.task.delay.ms"),
        dir_failure_ms: ms(given, "log.dir.failure.timeout.ms"),
    }
}

fn cleaner(given: &Properties) -> CleanerConfig {
    CleanerConfig {
        enable: BROKER.bool(given, "log.cleaner.enable"),
        // Kafka takes 0 and never rests; here that would be due for ever at one instant.
        backoff_ms: ms(given, "log.cleaner.backoff.ms").max(1),
        dedupe_buffer_bytes: BROKER.int(given, "log.cleaner.dedupe.buffer.size") as u64,
    }
}

fn compaction(given: &Properties) -> Compaction {
    Compaction {
        min_dirty_millionths: BROKER.millionths(given, "log.cleaner.min.cleanable.ratio"),
        delete_retention_ms: BROKER.int(given, "log.cleaner.delete.retention.ms"),
        min_lag_ms: BROKER.int(given, "log.cleaner.min.compaction.lag.ms"),
        max_lag_ms: BROKER.int(given, "log.cleaner.max.compaction.lag.ms"),
    }
}

/// One listener, `NAME://host:port`.
fn listener(given: &Properties, key: &str) -> Result<Endpoint, ConfigError> {
    let value = BROKER.text(given, key);
    let place = value.split_once("://").map(|(_, place)| place).filter(|_| !value.contains(','));
    place
        .and_then(endpoint)
        .ok_or_else(|| bad(given, key, "one listener as PLAINTEXT://host:port is wanted; several are not served yet"))
}

fn voter(given: &Properties) -> Result<(NodeId, Endpoint), ConfigError> {
    let value = BROKER.text(given, "controller.quorum.voters");
    value
        .split_once('@')
        .and_then(|(id, place)| Some((NodeId(id.parse().ok().filter(|id| *id >= 0)?), endpoint(place)?)))
        .filter(|(_, place)| !place.host.is_empty())
        .ok_or_else(|| {
            bad(given, "controller.quorum.voters", "one voter as id@host:port is wanted; several are not served yet")
        })
}

fn endpoint(place: &str) -> Option<Endpoint> {
    let (host, port) = place.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Some(Endpoint::new(host, port.parse().ok()?)).filter(|_| !host.contains('/') && !host.contains(','))
}

fn replica_fetch(given: &Properties) -> ReplicaFetchConfig {
    ReplicaFetchConfig {
        wait_max_ms: int32(given, "replica.fetch.wait.max.ms"),
        min_bytes: int32(given, "replica.fetch.min.bytes"),
        max_bytes: int32(given, "replica.fetch.max.bytes"),
        response_max_bytes: int32(given, "replica.fetch.response.max.bytes"),
        backoff_ms: ms(given, "replica.fetch.backoff.ms"),
        socket_timeout_ms: ms(given, "replica.socket.timeout.ms"),
    }
}

fn topic_defaults(given: &Properties) -> TopicConfig {
    let hours = BROKER.int(given, "log.roll.hours").saturating_mul(3_600_000);
    let (delete, compact) = policies(BROKER.text(given, "log.cleanup.policy"));
    let flush_ms = BROKER.int(given, "log.flush.interval.ms");
    TopicConfig {
        min_insync_replicas: int32(given, "min.insync.replicas"),
        unclean: BROKER.bool(given, "unclean.leader.election.enable"),
        log: LogConfig {
            segment_bytes: int32(given, "log.segment.bytes") as u32,
            segment_ms: Some(BROKER.int(given, "log.roll.ms")).filter(|ms| *ms > 0).unwrap_or(hours),
            index_interval_bytes: int32(given, "log.index.interval.bytes") as u32,
            max_index_bytes: int32(given, "log.index.size.max.bytes") as u32,
            max_message_bytes: int32(given, "message.max.bytes") as u32,
            flush_messages: BROKER.int(given, "log.flush.interval.messages"),
            flush_ms: if flush_ms < 0 { i64::MAX } else { flush_ms },
            delete,
            compact,
            retention_ms: retention_ms(given),
            retention_bytes: BROKER.int(given, "log.retention.bytes"),
            compaction: compaction(given),
            file_delete_delay_ms: ms(given, "log.segment.delete.delay.ms"),
        },
        records: record_defaults(given),
    }
}

/// A broker says `log.` before what a topic calls the same.
fn record_defaults(given: &Properties) -> RecordConfig {
    RecordConfig {
        codec: Codec::from_name(BROKER.text(given, "compression.type")),
        gzip_level: int32(given, "compression.gzip.level"),
        zstd_level: int32(given, "compression.zstd.level"),
        append_time: BROKER.text(given, "log.message.timestamp.type") == "LogAppendTime",
        before_max_ms: BROKER.int(given, "log.message.timestamp.before.max.ms"),
        after_max_ms: BROKER.int(given, "log.message.timestamp.after.max.ms"),
    }
}

/// The finest unit that is given counts.
fn retention_ms(given: &Properties) -> i64 {
    let minute = 60_000;
    let units = [("log.retention.ms", 1), ("log.retention.minutes", minute), ("log.retention.hours", 60 * minute)];
    let set = units.into_iter().find(|(key, _)| given.contains_key(*key)).unwrap_or(units[2]);
    match BROKER.int(given, set.0) {
        ..0 => -1,
        count => count.saturating_mul(set.1),
    }
}

/// `cleanup.policy`: delete, compact.
fn policies(value: &str) -> (bool, bool) {
    let names = |policy| value.split(',').any(|word| word.trim() == policy);
    (names("delete"), names("compact"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(pairs: &[(&str, &str)]) -> Properties {
        let dev = [
            ("node.id", "1"),
            ("process.roles", "broker,controller"),
            ("listeners", "PLAINTEXT://127.0.0.1:0"),
            ("controller.quorum.voters", "1@127.0.0.1:0"),
        ];
        dev.iter().chain(pairs).map(|(k, v)| (k.to_string(), v.to_string())).collect()
    }

    #[test]
    fn every_default_of_every_key_is_a_value_that_the_key_takes() {
        for table in [&BROKER, &TOPIC] {
            for key in table.keys {
                table.check_one(key.name, key.default).unwrap_or_else(|error| panic!("{error}"));
            }
        }
    }

    #[test]
    fn a_dev_node_learns_its_port_from_its_driver() {
        let mut config = NodeConfig::from_properties(&properties(&[])).unwrap();
        config.bound(9092);
        assert_eq!(config.advertised.to_string(), "127.0.0.1:9092");
        assert_eq!(config.controller_endpoint, config.advertised);
        assert_eq!((config.heartbeat_interval_ms, config.session_timeout_ms), (2000, 9000));
    }

    #[test]
    fn a_listener_without_a_host_hears_every_address_and_is_advertised_as_localhost() {
        let config = NodeConfig::from_properties(&properties(&[("listeners", "PLAINTEXT://:9092")])).unwrap();
        assert_eq!(
            (config.listen.to_string(), config.advertised.to_string()),
            ("0.0.0.0:9092".into(), "localhost:9092".into())
        );
    }

    #[test]
    fn contradictions_and_malformed_places_are_named() {
        let error = |pairs: &[(&str, &str)]| NodeConfig::from_properties(&properties(pairs)).unwrap_err().to_string();
        assert!(error(&[("process.roles", "broker")]).contains("must not be the voter"));
        assert!(error(&[("process.roles", "brokr")]).contains("`brokr`"));
        assert!(error(&[("listeners", "localhost:9092")]).contains("PLAINTEXT://host:port"));
        assert!(error(&[("controller.quorum.voters", "1@a:1,2@b:2")]).contains("several are not served yet"));
        assert!(error(&[("log.dirs", "a,b,a")]).contains("each once"));
        assert!(error(&[("log.dirs", "a,")]).contains("each once"));
        assert!(error(&[("broker.hartbeat.interval.ms", "1")]).contains("broker.heartbeat.interval.ms"));
        assert!(error(&[("broker.heartbeat.interval.ms", "9000")]).contains("less than broker.session.timeout.ms"));
    }

    #[test]
    fn a_topic_lays_its_settings_over_its_brokers() {
        let config = NodeConfig::from_properties(&properties(&[("min.insync.replicas", "2")])).unwrap();
        assert_eq!(config.topic.min_insync_replicas, 2);
        let topic = config.topic.with([("min.insync.replicas", "3"), ("segment.bytes", "nonsense")]);
        assert_eq!((topic.min_insync_replicas, topic.log.segment_bytes), (3, 1 << 30));
    }

    #[test]
    fn without_settings_batches_are_taken_under_kafkas_rules() {
        assert_eq!(NodeConfig::from_properties(&properties(&[])).unwrap().topic.rules(), Rules::default());
    }

    #[test]
    fn what_a_topic_calls_its_rules_a_broker_calls_nearly_the_same() {
        let values = [
            ("cleanup.policy", "compact,delete"),
            ("message.timestamp.type", "LogAppendTime"),
            ("message.timestamp.before.max.ms", "5"),
            ("message.timestamp.after.max.ms", "7"),
        ];
        let shared = [("compression.type", "zstd"), ("compression.zstd.level", "-7"), ("compression.gzip.level", "9")];
        let wanted = Rules {
            max_bytes: 1_048_588,
            compacted: true,
            compression: Some(Compression { codec: Codec::Zstd, level: Some(-7) }),
            append_time: true,
            before_max_ms: 5,
            after_max_ms: 7,
        };
        let plain = NodeConfig::from_properties(&properties(&[])).unwrap();
        assert_eq!(plain.topic.with(values.into_iter().chain(shared)).rules(), wanted);
        let named = values.map(|(key, value)| (format!("log.{key}"), value));
        let named = named.iter().map(|(key, value)| (key.as_str(), *value)).chain(shared).collect::<Vec<_>>();
        let broker = NodeConfig::from_properties(&properties(&named)).unwrap();
        assert_eq!(broker.topic.rules(), wanted);
        assert_eq!(broker.topic.with([("compression.type", "producer")]).rules().compression, None);
        assert_eq!(TOPIC.int(&Properties::new(), "compression.zstd.level"), 3);
        let error = TOPIC.check_one("message.timestamp.typ", "CreateTime").unwrap_err().to_string();
        assert!(error.contains("did you mean `message.timestamp.type`?"), "{error}");
        assert!(TOPIC.check_one("compression.gzip.level", "0").is_err(), "as Kafka: gzip without effort is no gzip");
    }
}
