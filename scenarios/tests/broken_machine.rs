//! One broker on a machine that breaks: a log directory that fails takes the broker down with a told error and without a
//! broken promise, and a process that may open no more files goes on with those that it has.

use bytes::Bytes;
use klamm_base::{ClientId, ErrorCode, Guards, NodeId, Observe, Outcome, Properties, Source};
use klamm_client::{Admin, Consumer, ConsumerConfig, Message, NewTopic, Producer, ProducerConfig, StartAt};
use klamm_env::{Address, BoxFuture, Env, Stream};
use klamm_node::NodeConfig;
use klamm_sim::{
    ConnectionFault, ConnectionMatch, DiskFault, DiskFaultKind, Host, HostState, Limits, SimConfig, When, World, run,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const SECOND: u64 = 1_000_000_000;
const PORT: u16 = 9092;
/// Records before the fault and after it.
const RECORDS: usize = 10;

fn properties(pairs: &[(&str, &str)]) -> Properties {
    pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

fn config() -> NodeConfig {
    let settings = [
        ("node.id", "1"),
        ("process.roles", "broker,controller"),
        ("listeners", "PLAINTEXT://b1:9092"),
        ("controller.quorum.voters", "1@b1:9092"),
        ("log.dirs", "data"),
        ("default.replication.factor", "1"),
        ("log.flush.interval.messages", "1"),
    ];
    NodeConfig::from_properties(&properties(&settings)).unwrap()
}

fn nobody() -> Observe {
    Observe::nobody(Source::Client(ClientId(1)))
}

/// The broker's machine, the client's, and how each process of the broker ended.
struct Stage {
    world: World,
    broker: Host,
    client: Host,
    ends: Arc<Mutex<Vec<Result<(), String>>>>,
}

impl Stage {
    fn new(world: World) -> Self {
        let (broker, client) = (world.add_host("b1"), world.add_host("client"));
        let ends = Arc::new(Mutex::new(Vec::new()));
        let told = ends.clone();
        let program = move |env: Env| -> BoxFuture<()> {
            let told = told.clone();
            Box::pin(async move {
                let observe = Observe::nobody(Source::Node(NodeId(1)));
                let never = Box::pin(std::future::pending());
                let end = klamm_server::run(env, config(), Guards::default(), observe, |_| {}, never).await;
                told.lock().unwrap().push(end.map_err(|error| error.to_string()));
            })
        };
        world.boot(broker, program);
        Stage { world, broker, client, ends }
    }

    fn env(&self) -> Env {
        self.world.env(self.client)
    }

    fn bootstrap(&self) -> Vec<Address> {
        vec![Address::new("b1", PORT)]
    }

    async fn sleep_ms(&self, ms: u64) {
        self.world.sleep_until(self.world.now_ns() + ms * 1_000_000).await;
    }

    async fn make_topic(&self) {
        let mut admin = Admin::new(&self.env(), self.bootstrap());
        let topic = NewTopic { name: "lines".into(), partitions: 1, replication: 1, configs: Properties::new() };
        while admin.create_topic(&topic).await.is_err() {
            self.sleep_ms(100).await;
        }
    }

    fn producer(&self) -> Producer {
        let patience = [("delivery.timeout.ms", "4000"), ("request.timeout.ms", "1000"), ("linger.ms", "0")];
        let config = ProducerConfig::from_properties(&properties(&patience)).unwrap();
        Producer::start(&self.env(), config, self.bootstrap(), nobody())
    }

    /// Hands in records one by one; how each ended.
    async fn produce(&self, producer: &Producer, numbers: std::ops::Range<usize>) -> Vec<Outcome> {
        let mut outcomes = vec![];
        for number in numbers {
            let (tell, told) = tokio::sync::oneshot::channel();
            let value = Bytes::from(format!("record {number}"));
            producer.send_with(Message::to("lines", 0, value), |outcome| tell.send(outcome).unwrap());
            outcomes.push(told.await.unwrap());
        }
        outcomes
    }

    /// Everything that can be read within half a minute, in which a broker that came back is fenced and elected again.
    async fn read(&self) -> BTreeMap<i64, Bytes> {
        self.read_for(30_000, None).await
    }

    /// Everything that can be read within so many milliseconds, or until the consumer is in this trouble.
    async fn read_for(&self, ms: u64, trouble: Option<ErrorCode>) -> BTreeMap<i64, Bytes> {
        let config = ConsumerConfig::from_properties(&Properties::new()).unwrap();
        let mut consumer = Consumer::start(&self.env(), config, self.bootstrap(), nobody());
        consumer.assign([("lines".into(), 0, StartAt::Earliest)]);
        let mut read = BTreeMap::new();
        for _ in 0..ms / 500 {
            let troubled = trouble.is_some() && consumer.trouble("lines", 0) == trouble;
            if read.len() >= RECORDS || troubled {
                return read;
            }
            let fetched = consumer.poll(500).await;
            let records = fetched.into_iter().flat_map(|fetched| fetched.records);
            read.extend(records.filter_map(|record| Some((record.offset, record.value?))));
        }
        assert_eq!(trouble, None, "the consumer met it");
        read
    }

    fn last_end(&self) -> Option<Result<(), String>> {
        self.ends.lock().unwrap().last().cloned()
    }

    /// The broker must have ended by itself; it is started again on a sound disk.
    async fn ended_and_restarted(&self) -> String {
        let mut waited = 0;
        while self.last_end().is_none() {
            self.sleep_ms(100).await;
            waited += 1;
            assert!(waited < 100, "the broker goes on without its log directory");
        }
        let why = self.last_end().unwrap().expect_err("it did not stop in good order");
        self.world.clear_disk_faults(self.broker);
        if self.world.state(self.broker) != HostState::Down {
            self.world.kill(self.broker);
        }
        self.world.restart(self.broker);
        why
    }
}

fn story<T: Send + 'static>(seed: u64, tell: impl AsyncFnOnce(Stage) -> T + Send + 'static) -> T {
    let config = SimConfig { limit_ns: Some(600 * SECOND), ..SimConfig::new(seed) };
    let ended = run(config, move |world| Box::pin(async move { tell(Stage::new(world)).await }));
    ended.outcome.unwrap_or_else(|panic| panic!("{panic:?}"))
}

/// A log directory that fails while records are written: the broker says so and ends; what was acknowledged is there after
/// its restart, and nothing else was acknowledged.
fn fails_while_writing(kind: DiskFaultKind, when: fn(u64) -> When) {
    for seed in 0..5 {
        let (outcomes, why, read) = story(seed, async move |stage: Stage| {
            stage.make_topic().await;
            let producer = stage.producer();
            let mut outcomes = stage.produce(&producer, 0..RECORDS).await;
            assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Acked(_))), "{outcomes:?}");
            let fault = DiskFault::new(kind, when(stage.world.now_ns())).on("lines-0");
            stage.world.add_disk_fault(stage.broker, fault).unwrap();
            outcomes.extend(stage.produce(&producer, RECORDS..RECORDS + 1).await);
            let why = stage.ended_and_restarted().await;
            (outcomes, why, stage.read().await)
        });
        assert!(why.contains("the log directory data failed") && why.contains("lines-0"), "{why}");
        let struck = outcomes.last().unwrap();
        assert!(matches!(struck, Outcome::Unknown(_) | Outcome::Refused(_)), "{kind:?} was acknowledged: {struck:?}");
        for number in 0..RECORDS as i64 {
            assert_eq!(read.get(&number), Some(&Bytes::from(format!("record {number}"))), "{kind:?}: {read:?}");
        }
    }
}

#[test]
fn a_write_that_fails_ends_the_broker_and_acknowledges_nothing() {
    fails_while_writing(DiskFaultKind::WriteError, |_| When::NEXT);
}

#[test]
fn a_sync_that_fails_ends_the_broker_and_acknowledges_nothing() {
    fails_while_writing(DiskFaultKind::SyncError, |_| When::NEXT);
}

#[test]
fn half_a_write_ends_the_broker_and_is_cut_away_when_it_comes_back() {
    fails_while_writing(DiskFaultKind::ShortWrite, |_| When::NEXT);
}

#[test]
fn a_full_device_ends_the_broker_and_acknowledges_nothing() {
    fails_while_writing(DiskFaultKind::NoSpace { fill: 1.0 }, When::since);
}

#[test]
fn an_unplugged_device_ends_the_broker_and_acknowledges_nothing() {
    fails_while_writing(DiskFaultKind::Removed, When::since);
}

#[test]
fn a_read_that_fails_ends_the_broker_too() {
    let (why, read) = story(1, async |stage: Stage| {
        stage.make_topic().await;
        let producer = stage.producer();
        stage.produce(&producer, 0..RECORDS).await;
        let fault = DiskFault::new(DiskFaultKind::ReadError, When::NEXT).on("lines-0");
        stage.world.add_disk_fault(stage.broker, fault).unwrap();
        assert_eq!(stage.read().await.len(), 0, "nothing could be read");
        (stage.ended_and_restarted().await, stage.read().await)
    });
    assert!(why.contains("the log directory data failed") && why.contains("lines-0"), "{why}");
    assert_eq!(read.len(), RECORDS);
}

#[test]
fn a_log_directory_that_cannot_be_read_at_the_start_ends_the_broker() {
    let why = story(1, async |stage: Stage| {
        stage.make_topic().await;
        let producer = stage.producer();
        stage.produce(&producer, 0..RECORDS).await;
        stage.world.kill(stage.broker);
        let fault = DiskFault::new(DiskFaultKind::ReadError, When::NEXT).on("lines-0");
        stage.world.add_disk_fault(stage.broker, fault).unwrap();
        stage.world.restart(stage.broker);
        let why = stage.ended_and_restarted().await;
        assert_eq!(stage.read().await.len(), RECORDS);
        why
    });
    assert!(why.contains("the log directory data failed") && why.contains("lines-0"), "{why}");
}

#[test]
fn rotten_records_are_given_to_nobody_and_what_stands_before_them_is() {
    let read = story(3, async |stage: Stage| {
        stage.make_topic().await;
        let producer = stage.producer();
        stage.produce(&producer, 0..RECORDS).await;
        let rot = DiskFault::new(DiskFaultKind::BitRot { bits: 1 }, When::since(stage.world.now_ns()));
        stage.world.add_disk_fault(stage.broker, rot.on("lines-0/00000000000000000000.log")).unwrap();
        stage.sleep_ms(10).await;
        assert_eq!(stage.world.disk_damage(stage.broker).len(), 1, "it rotted");
        let read = stage.read_for(30_000, Some(ErrorCode::CorruptMessage)).await;
        assert_eq!(stage.last_end(), None, "rot ends no broker");
        read
    });
    assert!(read.len() < RECORDS, "somebody was given the rotten batch");
    let whole = (0..).zip(&read).all(|(at, (offset, value))| (*offset, value.as_ref()) == (at, record(at).as_ref()));
    assert!(whole, "{read:?}");
}

fn record(number: i64) -> Vec<u8> {
    format!("record {number}").into_bytes()
}

#[test]
fn a_process_that_may_open_no_more_files_serves_the_connections_that_it_has() {
    story(1, async |stage: Stage| {
        stage.make_topic().await;
        let producer = stage.producer();
        stage.produce(&producer, 0..1).await;
        let limits = Limits { open_files: Some(24), ..Limits::default() };
        stage.world.set_limits(stage.broker, limits).unwrap();
        let mut strangers = vec![];
        for _ in 0..40 {
            strangers.extend(stage.env().net.connect(Address::new("b1", PORT), "stranger").await);
        }
        assert_eq!(strangers.len(), 40, "those beyond the limit wait in the backlog");
        let outcomes = stage.produce(&producer, 1..RECORDS).await;
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Acked(_))), "{outcomes:?}");
        assert_eq!(stage.last_end(), None, "the broker goes on");
        strangers.clear();
        assert_eq!(stage.read().await.len(), RECORDS, "there is room for others again");
    });
}

#[test]
fn garbage_on_a_connection_ends_that_connection_only() {
    story(1, async |stage: Stage| {
        stage.make_topic().await;
        let producer = stage.producer();
        for (at, garbage) in garbage().into_iter().enumerate() {
            let mut stream = stage.env().net.connect(Address::new("b1", PORT), "garbage").await.unwrap();
            stream.write_all(&garbage).await.unwrap();
            let ended = read_to_end(&mut stream).await;
            assert!(ended, "garbage {at} is answered");
            let outcomes = stage.produce(&producer, at..at + 1).await;
            assert_eq!(outcomes, [Outcome::Acked(at as i64)]);
        }
        assert_eq!(stage.last_end(), None, "the broker goes on");
    });
}

/// Frames that are none: a negative length, one beyond all bounds, an unknown request, a request that ends in its middle.
fn garbage() -> [Vec<u8>; 4] {
    [
        vec![0xff; 8],
        vec![0x7f, 0xff, 0xff, 0xff, 0, 0],
        vec![0, 0, 0, 8, 0x7f, 0xff, 0, 0, 0, 0, 0, 1],
        vec![0, 0, 0, 10, 0, 1, 0, 12, 0, 0, 0, 1, 0xff, 0xff],
    ]
}

/// True if the other side closed the connection without a word.
async fn read_to_end(stream: &mut Box<dyn Stream>) -> bool {
    let mut byte = [0];
    stream.read(&mut byte).await.map_or(true, |read| read == 0)
}

/// One segment in twenty arrives with a flipped bit, on every connection, those of the broker with itself included.
#[test]
fn spoilt_bytes_on_every_connection_end_neither_the_broker_nor_its_clients() {
    for seed in 0..20 {
        story(seed, async move |stage: Stage| {
            stage.make_topic().await;
            let producer = stage.producer();
            let everywhere = ConnectionMatch { also_new: true, ..ConnectionMatch::default() };
            stage.world.add_connection_fault(everywhere, ConnectionFault::Corrupt { ppm: 50_000 }).unwrap();
            let mut admin = Admin::new(&stage.env(), stage.bootstrap());
            for number in 0..10 {
                let name = format!("other-{number}");
                let topic = NewTopic { name, partitions: 3, replication: 1, configs: Properties::new() };
                // Made or not: spoilt bytes may have told anything.
                let _told = admin.create_topic(&topic).await;
            }
            stage.produce(&producer, 0..30).await;
            let read = stage.read_for(10_000, None).await;
            stage.world.clear_connection_faults();
            assert_eq!(stage.last_end(), None, "seed {seed}: the broker goes on");
            // Those who were misled may have to time out first; then everything works.
            let later = stage.produce(&stage.producer(), 30..32).await;
            assert!(later.iter().any(|outcome| matches!(outcome, Outcome::Acked(_))), "seed {seed}: {later:?}");
            let wrong = read.values().find(|value| !value.starts_with(b"record "));
            assert_eq!(wrong, None, "seed {seed}: a checksum was not looked at");
        });
    }
}
