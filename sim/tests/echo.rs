//! Three hosts exchange frames and append to disk while the stage breaks everything it can; the trace of a seed is the same
//! byte for byte in every thread and every process.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

mod common;

use bytes::Bytes;
use common::*;
use klamm_env::{Address, Env, OpenMode, Stream};
use klamm_sim::{Host, HostState, Latency, LinkState, Run, SimConfig, World};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;
use std::fmt::Write as _;
use std::io;
use std::process::Command;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const NAMES: [&str; 3] = ["n0", "n1", "n2"];
const SEED_VARIABLE: &str = "KLAMM_ECHO_CHILD_SEED";

async fn read_frame(stream: &mut Box<dyn Stream>) -> io::Result<Vec<u8>> {
    let length = stream.read_u32().await?;
    let mut frame = vec![0; length as usize];
    stream.read_exact(&mut frame).await?;
    Ok(frame)
}

async fn write_frame(stream: &mut Box<dyn Stream>, frame: &[u8]) -> io::Result<()> {
    stream.write_u32(frame.len() as u32).await?;
    stream.write_all(frame).await
}

/// Every frame is appended and synced before it is answered with the length of the log.
async fn serve(env: Env, log: Arc<dyn klamm_env::File>, mut stream: Box<dyn Stream>) -> io::Result<()> {
    loop {
        let frame = read_frame(&mut stream).await?;
        log.append(Bytes::from(frame)).await?;
        if env.entropy.next_u64().is_multiple_of(4) {
            log.sync().await?;
        }
        let length = log.len().await?;
        write_frame(&mut stream, &length.to_be_bytes()).await?;
    }
}

/// Talks to another node for ever; a frame without an answer for half a second costs the connection.
async fn talk(env: Env, to: &'static str) {
    let mut number = 0_u64;
    loop {
        let deadline = env.clock.mono_ns() + 2 * S;
        if let Some(Ok(mut stream)) = env.clock.before(deadline, env.net.connect(Address::new(to, 9), "peer")).await {
            loop {
                number += 1;
                let frame = vec![number as u8; 1 + (env.entropy.next_u64() % 300) as usize];
                let exchange = async {
                    write_frame(&mut stream, &frame).await?;
                    read_frame(&mut stream).await
                };
                let answer = env.clock.before(env.clock.mono_ns() + S / 2, exchange).await;
                if !matches!(answer, Some(Ok(_))) {
                    break;
                }
                env.clock.sleep_ms(env.entropy.next_u64() % 20).await;
            }
        }
        env.clock.sleep_ms(50).await;
    }
}

async fn node(env: Env, name: &'static str) {
    env.disk.create_dir("data").await.expect("a directory");
    let log = env.disk.open("data/log", OpenMode::Create).await.expect("a log");
    env.disk.sync_dir("data").await.expect("a synced directory");
    for peer in NAMES.into_iter().filter(|peer| *peer != name) {
        env.tasks.spawn("talk", Box::pin(talk(env.clone(), peer)));
    }
    let mut listener = env.net.listen(Address::new(name, 9)).await.expect("a free port");
    loop {
        let stream = std::future::poll_fn(|cx| listener.poll_accept(cx)).await.expect("a connection");
        let (env2, log) = (env.clone(), log.clone());
        env.tasks.spawn("serve", Box::pin(async move { drop(serve(env2, log, stream).await) }));
    }
}

fn pick(rng: &mut ChaCha8Rng, below: u64) -> u64 {
    rng.next_u64() % below
}

/// One thing breaks, and is whole again half a second later or so.
async fn strike(world: &World, hosts: &[Host], rng: &mut ChaCha8Rng, counts: &mut [u64; 6]) {
    let (victim, other) = (pick(rng, 3) as usize, 1 + pick(rng, 2) as usize);
    let (victim, other) = (hosts[victim], hosts[(victim + other) % 3]);
    let kind = pick(rng, 6) as usize;
    let state = if pick(rng, 2) == 0 { LinkState::Stalled } else { LinkState::BlackHole };
    counts[kind] += 1;
    match kind {
        0 => world.kill(victim),
        1 => world.power_off(victim),
        2 => world.pause(victim),
        3 => world.set_link(victim, other, state).unwrap(),
        4 => {
            world.set_link(victim, other, state).unwrap();
            world.set_link(other, victim, state).unwrap();
        }
        _ => world.set_latency(victim, other, Latency::between(MS, 80 * MS)).unwrap(),
    }
    world.sleep_until(world.now_ns() + 50 * MS + pick(rng, 900) * MS).await;
    world.heal_all_links();
    match world.state(victim) {
        HostState::Down => world.restart(victim),
        HostState::Paused => world.resume(victim),
        HostState::Up => {}
    }
}

/// The whole story of a seed: how long each log was at the end, how often each fault struck.
fn story(seed: u64, trace: bool) -> Run<(Vec<u64>, [u64; 6])> {
    let run = simulate_all(SimConfig { trace, ..SimConfig::new(seed) }, |world| async move {
        let hosts = NAMES.map(|name| world.add_host(name));
        for (host, name) in hosts.into_iter().zip(NAMES) {
            world.boot(host, move |env| Box::pin(node(env, name)));
        }
        let (mut rng, mut counts) = (world.rng("faults"), [0; 6]);
        for _ in 0..20 {
            world.sleep_until(world.now_ns() + 100 * MS + pick(&mut rng, 400) * MS).await;
            strike(&world, &hosts, &mut rng, &mut counts).await;
        }
        world.sleep_until(world.now_ns() + 5 * S).await;
        let mut lengths = vec![];
        for host in hosts {
            let before = log_length(&world, host).await;
            world.sleep_until(world.now_ns() + S).await;
            let after = log_length(&world, host).await;
            assert!(after > before, "{} does not serve after the heal", world.name(host));
            lengths.push(after);
        }
        (lengths, counts)
    });
    assert!(run.outcome.is_ok(), "seed {seed}: {:?}", run.outcome);
    run
}

async fn log_length(world: &World, host: Host) -> u64 {
    let log = world.env(host).disk.open("data/log", OpenMode::Existing).await.expect("a log");
    log.len().await.expect("its length")
}

/// All that can be told of a run.
fn render(run: &Run<(Vec<u64>, [u64; 6])>) -> String {
    let mut text = run.trace.join("\n");
    write!(text, "\n{:016x} {:?} {} {}", run.trace_hash, run.outcome, run.polls, run.deliveries)
        .expect("a string grows");
    text
}

#[test]
fn the_trace_of_a_seed_is_equal_in_two_threads_and_differs_for_another_seed() {
    let mut hashes = std::collections::BTreeSet::new();
    let mut struck = [0; 6];
    for seed in 0..6 {
        let other = std::thread::spawn(move || story(seed, true));
        let (here, there) = (story(seed, true), other.join().expect("no panic"));
        assert!(here.trace.len() > 5_000, "a story has substance: {} events", here.trace.len());
        assert!(render(&here) == render(&there), "seed {seed} differs between threads");
        assert_eq!(story(seed, false).trace_hash, here.trace_hash, "keeping the lines changes nothing");
        hashes.insert(here.trace_hash);
        let (_, counts) = here.outcome.expect("checked above");
        struck = std::array::from_fn(|kind| struck[kind] + counts[kind]);
    }
    assert_eq!(hashes.len(), 6);
    assert!(struck.iter().all(|count| *count > 0), "every fault struck: {struck:?}");
}

#[test]
fn the_trace_of_a_seed_is_equal_in_two_processes() {
    for seed in [1, 42] {
        let child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "a_child_prints_its_trace", "--nocapture"])
            .env(SEED_VARIABLE, seed.to_string())
            .output()
            .expect("a child process");
        let said = String::from_utf8(child.stdout).expect("text");
        let (_, rest) = said.split_once("<<<\n").expect("a trace in the child's words");
        let (theirs, _) = rest.split_once("\n>>>").expect("the whole trace");
        assert!(theirs == render(&story(seed, true)), "seed {seed} differs between processes");
    }
}

/// Not a test by itself: what the test above runs in another process.
#[test]
fn a_child_prints_its_trace() {
    if let Ok(seed) = std::env::var(SEED_VARIABLE) {
        println!("<<<\n{}\n>>>", render(&story(seed.parse().expect("a seed"), true)));
    }
}
