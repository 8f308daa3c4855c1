//! The real node under the driver, in the real world: one process that is broker and controller, on a port of its own.

use bytes::Bytes;
use klamm_base::{ClientId, Guards, NodeId, Observe, Outcome, Properties, Source};
use klamm_client::{Admin, Consumer, ConsumerConfig, Message, NewTopic, Producer, ProducerConfig, StartAt};
use klamm_env::{Address, Env, real};
use klamm_node::NodeConfig;
use klamm_server::{ServerError, run};
use std::future::Future;
use tokio::sync::oneshot;

const RECORDS: usize = 500;
/// No run takes so long unless something hangs.
const HANG_NS: u64 = 60_000_000_000;

fn properties(pairs: &[(&str, &str)]) -> Properties {
    pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

fn config(dirs: &str) -> NodeConfig {
    let settings = [
        ("node.id", "1"),
        ("process.roles", "broker,controller"),
        ("listeners", "PLAINTEXT://127.0.0.1:0"),
        ("controller.quorum.voters", "1@127.0.0.1:0"),
        ("log.dirs", dirs),
        ("default.replication.factor", "1"),
    ];
    NodeConfig::from_properties(&properties(&settings)).unwrap()
}

fn nobody() -> Observe {
    Observe::nobody(Source::Client(ClientId(1)))
}

struct Server {
    address: Address,
    stop: oneshot::Sender<()>,
    end: oneshot::Receiver<Result<(), ServerError>>,
}

async fn start(env: &Env) -> Server {
    start_in(env, "data").await
}

async fn start_in(env: &Env, dirs: &str) -> Server {
    let (stop, stopped) = oneshot::channel::<()>();
    let (ready, address) = oneshot::channel();
    let (ended, end) = oneshot::channel();
    let observe = Observe::nobody(Source::Node(NodeId(1)));
    let stopped = Box::pin(async { drop(stopped.await) });
    let server = run(env.clone(), config(dirs), Guards::default(), observe, |at| drop(ready.send(at)), stopped);
    env.tasks.spawn("server", Box::pin(async { drop(ended.send(server.await)) }));
    Server { address: address.await.unwrap(), stop, end }
}

async fn stop(server: Server) {
    server.stop.send(()).unwrap();
    server.end.await.unwrap().unwrap();
}

fn value(n: usize) -> Bytes {
    Bytes::from(format!("record {n}"))
}

async fn create(env: &Env, at: &Address, name: &str) {
    let topic = NewTopic { name: name.into(), partitions: 1, replication: 1, configs: Properties::new() };
    let created = Admin::new(env, vec![at.clone()]).create_topic(&topic).await;
    created.expect("a broker that is ready places topics");
}

/// Hands in all records at once; every one must be acknowledged at its own offset.
async fn produce(env: &Env, at: &Address, topic: &str) {
    let config = ProducerConfig::from_properties(&Properties::new()).unwrap();
    let producer = Producer::start(env, config, vec![at.clone()], nobody());
    let mut ends = vec![];
    for n in 0..RECORDS {
        let (tell, told) = oneshot::channel();
        producer.send_with(Message::to(topic, 0, value(n)), |outcome| tell.send(outcome).unwrap());
        ends.push(told);
    }
    for (n, end) in ends.into_iter().enumerate() {
        assert_eq!(end.await.unwrap(), Outcome::Acked(n as i64));
    }
}

async fn consume(env: &Env, at: &Address, topic: &str) -> Vec<Bytes> {
    let config = ConsumerConfig::from_properties(&Properties::new()).unwrap();
    let mut consumer = Consumer::start(env, config, vec![at.clone()], nobody());
    consumer.assign([(topic.into(), 0, StartAt::Earliest)]);
    let mut values = vec![];
    while values.len() < RECORDS {
        let fetched = consumer.poll(1_000).await;
        values.extend(fetched.into_iter().flat_map(|fetched| fetched.records).filter_map(|record| record.value));
    }
    values
}

/// Runs a story in a folder of its own.
fn told<F: Future<Output = ()>>(story: impl FnOnce(Env) -> F) {
    let folder = tempfile::tempdir().unwrap();
    let bounded = |env: Env, _| async move {
        let clock = env.clock.clone();
        clock.before(clock.mono_ns() + HANG_NS, story(env)).await.expect("nothing hangs")
    };
    real::block_on(folder.path().to_owned(), bounded).unwrap();
}

#[test]
fn what_was_acknowledged_is_read_back_in_order_and_again_after_a_restart() {
    told(|env| async move {
        let server = start(&env).await;
        create(&env, &server.address, "lines").await;
        let all: Vec<Bytes> = (0..RECORDS).map(value).collect();
        produce(&env, &server.address, "lines").await;
        assert_eq!(consume(&env, &server.address, "lines").await, all);
        stop(server).await;
        let again = start(&env).await;
        assert_eq!(consume(&env, &again.address, "lines").await, all);
        stop(again).await;
    });
}

#[test]
fn a_directory_that_cannot_be_read_costs_its_own_partitions_until_it_can() {
    told(|env| async move {
        let server = start_in(&env, "a,b").await;
        for topic in ["first", "second"] {
            create(&env, &server.address, topic).await;
            produce(&env, &server.address, topic).await;
        }
        stop(server).await;
        let in_a = env.disk.list("a").await.unwrap().contains(&"first-0".to_owned());
        let (lives, fails) = if in_a { ("first", "second") } else { ("second", "first") };
        let all: Vec<Bytes> = (0..RECORDS).map(value).collect();
        env.disk.rename("b/meta.properties", "b/kept").await.unwrap();
        env.disk.create_dir("b/meta.properties").await.unwrap();
        let server = start_in(&env, "a,b").await;
        assert_eq!(consume(&env, &server.address, lives).await, all);
        stop(server).await;
        let made = env.disk.list("a").await.unwrap();
        assert!(!made.contains(&format!("{fails}-0")), "it may lie where nobody can read: {made:?}");
        env.disk.remove_dir("b/meta.properties").await.unwrap();
        env.disk.rename("b/kept", "b/meta.properties").await.unwrap();
        let server = start_in(&env, "a,b").await;
        for topic in [lives, fails] {
            assert_eq!(consume(&env, &server.address, topic).await, all);
        }
        stop(server).await;
    });
}
