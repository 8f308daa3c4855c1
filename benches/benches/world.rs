//! `cargo bench -p klamm-benches --bench world`: what the simulated world costs. Messages between two nodes, with madsim's own
//! network and turmoil on the same exchange in the same run; timers; appends with sync; ten thousand idle connections.
//! Elements are messages, timers that fire, appends.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use klamm_env::{Address, BoxFuture, Env, OpenMode, Stream};
use klamm_sim::{Latency, NetProfile, SimConfig};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const FRAME: usize = 256;
const CONNECTIONS: usize = 8;
/// There and back, on each connection.
const EXCHANGES: usize = 2_500;
const MESSAGES: u64 = (CONNECTIONS * EXCHANGES * 2) as u64;
const IDLE: usize = 10_000;

/// How two nodes talk.
#[derive(Clone, Copy)]
struct Load {
    latency: Duration,
    /// Between an answer and the next question.
    rest_ms: u64,
}

/// Every tick of turmoil carries messages: its best case.
const BUSY: Load = Load { latency: Duration::from_millis(1), rest_ms: 0 };
/// About 1,300 messages a simulated second at the latency of a rack: the usual case of a cluster. madsim's network cannot be
/// that fast: its timers have a floor of a millisecond.
const PACED: Load = Load { latency: Duration::from_micros(200), rest_ms: 12 };

type Rest<'a> = &'a (dyn Fn(u64) -> BoxFuture<()> + Send + Sync);

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut frame = [0; FRAME];
    while stream.read_exact(&mut frame).await.is_ok() {
        if stream.write_all(&frame).await.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
}

async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), exchanges: usize, rest_ms: u64, rest: Rest<'_>) {
    let mut frame = [7; FRAME];
    for _ in 0..exchanges {
        if rest_ms > 0 {
            rest(rest_ms).await;
        }
        stream.write_all(&frame).await.expect("an open connection");
        stream.flush().await.expect("an open connection");
        stream.read_exact(&mut frame).await.expect("an open connection");
    }
}

fn config(load: Load) -> SimConfig {
    let latency = Latency::fixed(load.latency.as_nanos() as u64);
    SimConfig { profile: NetProfile { link: latency.into(), ..NetProfile::default() }, ..SimConfig::new(1) }
}

async fn serve(env: Env) {
    let mut listener = env.net.listen(Address::new("", 9)).await.expect("a free port");
    loop {
        let stream = std::future::poll_fn(|cx| listener.poll_accept(cx)).await.expect("a connection");
        env.tasks.spawn("answer", Box::pin(answer(stream)));
    }
}

async fn connect(env: &Env) -> Box<dyn Stream> {
    env.net.connect(Address::new("server", 9), "bench").await.expect("somebody listens")
}

/// Ours. How many segments arrived.
fn klamm(load: Load) -> u64 {
    let run = klamm_sim::run(config(load), move |world| {
        let (server, client) = (world.add_host("server"), world.add_host("client"));
        world.boot(server, |env| Box::pin(serve(env)));
        Box::pin(async move {
            world.sleep_until(1).await;
            let asking = || {
                let env = world.env(client);
                world.spawn_on(client, "ask", async move {
                    let rest = |ms| env.clock.sleep_ms(ms);
                    ask(&mut connect(&env).await, EXCHANGES, load.rest_ms, &rest).await;
                })
            };
            let tasks: Vec<_> = (0..CONNECTIONS).map(|_| asking()).collect();
            for task in tasks {
                task.await.expect("it ends");
            }
        })
    });
    run.outcome.unwrap_or_else(|panic| panic!("{panic}"));
    run.deliveries
}

fn madsim_network(load: Load) {
    let mut config = madsim::Config::default();
    config.net.send_latency = load.latency..load.latency + Duration::from_nanos(1);
    let runtime = madsim::runtime::Runtime::with_seed_and_config(1, config);
    let server = runtime.create_node().ip("10.0.0.1".parse().expect("an address")).build();
    let client = runtime.create_node().ip("10.0.0.2".parse().expect("an address")).build();
    server.spawn(async {
        let listener = madsim::net::TcpListener::bind("10.0.0.1:9").await.expect("a free port");
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            madsim::task::spawn(answer(stream));
        }
    });
    let asking = client.spawn(async move {
        madsim::time::sleep(Duration::from_millis(1)).await;
        let asking = || async move {
            let mut stream = madsim::net::TcpStream::connect("10.0.0.1:9").await.expect("somebody listens");
            let rest = |ms| -> BoxFuture<()> { Box::pin(madsim::time::sleep(Duration::from_millis(ms))) };
            ask(&mut stream, EXCHANGES, load.rest_ms, &rest).await;
        };
        let tasks: Vec<_> = (0..CONNECTIONS).map(|_| madsim::task::spawn(asking())).collect();
        for task in tasks {
            task.await.expect("it ends");
        }
    });
    runtime.block_on(asking).expect("it ends");
}

fn turmoil_network(load: Load) {
    let mut sim = turmoil::Builder::new()
        .tick_duration(load.latency)
        .min_message_latency(load.latency)
        .max_message_latency(load.latency)
        .simulation_duration(Duration::from_secs(3_600))
        .rng_seed(1)
        .build();
    sim.host("server", || async {
        let listener = turmoil::net::TcpListener::bind("0.0.0.0:9").await?;
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(answer(stream));
        }
    });
    sim.client("client", async move {
        let asking = || async move {
            let mut stream = turmoil::net::TcpStream::connect("server:9").await.expect("somebody listens");
            let rest = |ms| -> BoxFuture<()> { Box::pin(tokio::time::sleep(Duration::from_millis(ms))) };
            ask(&mut stream, EXCHANGES, load.rest_ms, &rest).await;
        };
        let tasks: Vec<_> = (0..CONNECTIONS).map(|_| tokio::spawn(asking())).collect();
        for task in tasks {
            task.await?;
        }
        Ok(())
    });
    sim.run().expect("it ends");
}

fn messages(criterion: &mut Criterion) {
    for (name, load) in [("messages, busy", BUSY), ("messages, paced", PACED)] {
        assert!(klamm(load) >= MESSAGES, "every message arrives");
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(MESSAGES)).sample_size(10);
        group.bench_function("klamm", |bencher| bencher.iter(|| klamm(load)));
        group.bench_function("madsim's network", |bencher| bencher.iter(|| madsim_network(load)));
        group.bench_function("turmoil", |bencher| bencher.iter(|| turmoil_network(load)));
        group.finish();
    }
}

const SLEEPERS: u64 = 1_000;
const SLEEPS: u64 = 100;

fn sleeps() {
    let run = klamm_sim::run(config(BUSY), |world| {
        let host = world.add_host("host");
        Box::pin(async move {
            let sleeper = |number: u64| {
                let clock = world.env(host).clock;
                world.spawn_on(host, "sleeper", async move {
                    for round in 0..SLEEPS {
                        clock.sleep_ms(1 + (number * 7 + round * 13) % 10).await;
                    }
                })
            };
            let tasks: Vec<_> = (0..SLEEPERS).map(sleeper).collect();
            for task in tasks {
                task.await.expect("it ends");
            }
        })
    });
    run.outcome.unwrap_or_else(|panic| panic!("{panic}"));
}

const APPENDS: u64 = 5_000;

fn appends() {
    let run = klamm_sim::run(config(BUSY), |world| {
        let env = world.env(world.add_host("host"));
        Box::pin(async move {
            let file = env.disk.open("log", OpenMode::Create).await.expect("a file");
            let kibibyte = bytes::Bytes::from(vec![7; 1024]);
            for _ in 0..APPENDS {
                file.append(kibibyte.clone()).await.expect("space");
                file.sync().await.expect("a disk");
            }
        })
    });
    run.outcome.unwrap_or_else(|panic| panic!("{panic}"));
}

/// Ten thousand connections are made and say nothing, or none are; one more says much.
fn beside(idle: usize) {
    let run = klamm_sim::run(config(BUSY), move |world| {
        let (server, client) = (world.add_host("server"), world.add_host("client"));
        world.boot(server, |env| Box::pin(serve(env)));
        Box::pin(async move {
            world.sleep_until(1).await;
            let env = world.env(client);
            let mut silent = Vec::with_capacity(idle);
            for _ in 0..idle {
                silent.push(connect(&env).await);
            }
            ask(&mut connect(&env).await, EXCHANGES * CONNECTIONS, 0, &|ms| env.clock.sleep_ms(ms)).await;
            drop(silent);
        })
    });
    run.outcome.unwrap_or_else(|panic| panic!("{panic}"));
}

fn others(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("world");
    group.sample_size(10);
    group.throughput(Throughput::Elements(SLEEPERS * SLEEPS)).bench_function("timers", |bencher| bencher.iter(sleeps));
    group.throughput(Throughput::Elements(APPENDS));
    group.bench_function("appends of 1 KiB with sync", |bencher| bencher.iter(appends));
    group.throughput(Throughput::Elements(MESSAGES));
    group.bench_function("one connection alone", |bencher| bencher.iter(|| beside(0)));
    group.bench_function("one connection beside 10,000 idle", |bencher| bencher.iter(|| beside(IDLE)));
    group.finish();
}

criterion_group!(benches, messages, others);
criterion_main!(benches);
