//! What a message costs: three hosts, six connections, frames of 256 bytes there and back, 200 us a direction, a one-second
//! time-out a request. `cargo run --release -p klamm-sim --example echo [SIMULATED SECONDS] [SEEDS]`
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

use klamm_env::{Address, Env, Stream};
use klamm_sim::{Latency, NetProfile, SimConfig, run};
use std::cell::Cell;
use std::rc::Rc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const NAMES: [&str; 3] = ["n0", "n1", "n2"];

async fn serve(mut stream: Box<dyn Stream>) {
    let mut frame = [0; 256];
    while stream.read_exact(&mut frame).await.is_ok() && stream.write_all(&frame).await.is_ok() {}
}

async fn listen(env: Env) {
    let mut listener = env.net.listen(Address::new("", 1)).await.expect("a free port");
    loop {
        let stream = std::future::poll_fn(|cx| listener.poll_accept(cx)).await.expect("a connection");
        env.tasks.spawn("serve", Box::pin(serve(stream)));
    }
}

async fn talk(env: Env, to: &'static str) -> Option<()> {
    let mut stream = env.net.connect(Address::new(to, 1), "echo").await.ok()?;
    let mut frame = [7; 256];
    let mut timer = env.clock.timer();
    loop {
        let sent = env.clock.mono_ns();
        timer.set(Some(sent + 1_000_000_000));
        let mut exchange = std::pin::pin!(async {
            stream.write_all(&frame.clone()).await.ok()?;
            stream.read_exact(&mut frame).await.ok()
        });
        std::future::poll_fn(|cx| match timer.poll_fired(cx) {
            std::task::Poll::Ready(()) => std::task::Poll::Ready(None),
            std::task::Poll::Pending => exchange.as_mut().poll(cx),
        })
        .await?;
        assert_eq!(env.clock.mono_ns() - sent, 400_000, "a round trip takes what was asked");
        env.clock.sleep_until(sent + 12_000_000).await;
    }
}

/// Segments delivered and simulated nanoseconds.
fn story(seed: u64, seconds: u64) -> (u64, u64) {
    let profile = NetProfile { link: Latency::fixed(200_000).into(), ..NetProfile::default() };
    let run = run(SimConfig { profile, ..SimConfig::new(seed) }, move |world| {
        let dead = Rc::new(Cell::new(0));
        for name in NAMES {
            let host = world.add_host(name);
            world.env(host).tasks.spawn("listen", Box::pin(listen(world.env(host))));
        }
        Box::pin(async move {
            world.sleep_until(1).await;
            for (at, host) in world.hosts().into_iter().enumerate() {
                for to in (0..3).filter(|to| *to != at) {
                    let (env, dead) = (world.env(host), dead.clone());
                    world.spawn("talk", async move {
                        talk(env, NAMES[to]).await;
                        dead.set(dead.get() + 1);
                    });
                }
            }
            world.sleep_until(seconds * 1_000_000_000).await;
            assert_eq!(dead.get(), 0, "no connection ended");
        })
    });
    run.outcome.unwrap_or_else(|panic| panic!("{panic}"));
    (run.deliveries, run.sim_ns)
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn main() {
    let argument = |at: usize, default| std::env::args().nth(at).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (seconds, seeds) = (argument(1, 600), argument(2, 1));
    let start = std::time::Instant::now();
    let (mut messages, mut simulated) = (0, 0);
    for seed in 0..seeds {
        let (delivered, ns) = story(seed, seconds);
        (messages, simulated) = (messages + delivered, simulated + ns);
        if seed == 0 || seed + 1 == seeds {
            println!("after seed {seed}: {} KiB resident", resident_kib());
        }
    }
    let wall = start.elapsed().as_secs_f64();
    let simulated = simulated as f64 / 1e9;
    println!(
        "{messages} messages, {simulated:.0} simulated seconds, {wall:.3} s: {:.0} messages/s, {:.0} sim-s/s, {:.1} seeds/s",
        messages as f64 / wall,
        simulated / wall,
        seeds as f64 / wall
    );
}
