//! madsim has no part in the course of a run: alone, inside one poll of it and as one of its tasks, the same seed gives the
//! same trace.

mod common;

use common::*;
use klamm_env::{Address, OpenMode};
use klamm_sim::{DiskFate, Embedding, GcProfile, LinkState, Run, SimConfig, World, first_difference, seeded_select};
use std::future::Future;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const EMBEDDINGS: [Embedding; 3] = [Embedding::InsideOnePoll, Embedding::Alone, Embedding::MadsimTask];

/// Plays a story in the three ways, each in threads of its own, and compares all that can be seen of the runs.
fn the_same_in_all<T, F>(seeds: std::ops::Range<u64>, story: fn(World) -> F) -> Vec<Run<T>>
where
    T: Send + Clone + PartialEq + std::fmt::Debug + 'static,
    F: Future<Output = T> + 'static,
{
    let play = |seed| {
        let [inside, alone, task] = EMBEDDINGS.map(|embedding| {
            let config = SimConfig { trace: true, embedding, limit_ns: Some(600 * S), ..SimConfig::new(seed) };
            simulate_all(config, story)
        });
        for other in [alone, task] {
            assert_eq!(first_difference(&inside.trace, &other.trace), None, "seed {seed}");
            assert_eq!((inside.trace_hash, inside.polls), (other.trace_hash, other.polls), "seed {seed}");
            assert_eq!((inside.sim_ns, inside.deliveries), (other.sim_ns, other.deliveries), "seed {seed}");
            assert_eq!(inside.outcome, other.outcome, "seed {seed}");
        }
        inside
    };
    let runs: Vec<Run<T>> = seeds.map(play).collect();
    assert!(runs.windows(2).any(|two| two[0].trace_hash != two[1].trace_hash), "and it hangs on the seed");
    runs
}

/// A stream, a disk, a timer, and a kill in the middle of it.
async fn a_writer_is_killed(world: World) -> u64 {
    let (one, two) = (world.add_host("one"), world.add_host("two"));
    let env = world.env(one);
    let mut listener = env.net.listen(Address::new("one", 1)).await.expect("a port");
    let far = world.env(two);
    let far_task = async move {
        let mut stream = far.net.connect(Address::new("one", 1), "test").await.expect("a connection");
        for number in 0..100 {
            stream.write_u32(number).await.expect("room");
            far.clock.sleep_ms(far.entropy.next_u64() % 5).await;
        }
    };
    world.env(two).tasks.spawn("writer", Box::pin(far_task));
    let mut stream = std::future::poll_fn(|cx| listener.poll_accept(cx)).await.expect("a connection");
    let file = env.disk.open("log", OpenMode::Create).await.expect("a file");
    while let Ok(number) = stream.read_u32().await {
        file.append(number.to_be_bytes().to_vec().into()).await.expect("space");
        if number == 80 {
            world.kill(two);
        }
    }
    file.len().await.expect("a length")
}

#[test]
fn a_story_of_streams_disks_and_a_kill_is_the_same_in_all_embeddings() {
    for run in the_same_in_all(0..6, a_writer_is_killed) {
        assert!(run.outcome.is_ok_and(|bytes| bytes >= 4 * 80));
    }
}

/// Many clients of one echo, timers nanoseconds apart, links that fail and heal.
async fn many_clients(world: World) -> u64 {
    let server = world.add_host("server");
    world.boot(server, |env| Box::pin(echo(env)));
    let clients: Vec<_> = (0..8).map(|n| world.add_host(&format!("c{n}"))).collect();
    world.sleep_until(MS).await;
    let tasks: Vec<_> = clients
        .iter()
        .map(|host| {
            let env = world.env(*host);
            world.spawn_on(*host, "client", async move {
                let mut stream = connect(&env, "server").await.expect("a connection");
                let mut pings = 0;
                for round in 0..20_u64 {
                    let said = round.to_be_bytes();
                    let ping = ping(&mut stream, &said);
                    let deadline = env.clock.mono_ns() + 20 * MS;
                    if env.clock.before(deadline, ping).await.is_none_or(|said| said.is_err()) {
                        break;
                    }
                    pings += 1;
                    env.clock.sleep_until(env.clock.mono_ns() + 1 + env.entropy.next_u64() % 90).await;
                }
                pings
            })
        })
        .collect();
    world.sleep_until(3 * MS).await;
    world.set_link(clients[0], server, LinkState::Stalled).expect("two hosts");
    world.set_link(server, clients[1], LinkState::BlackHole).expect("two hosts");
    world.sleep_until(30 * MS).await;
    world.heal_all_links();
    let mut pings = 0;
    for task in tasks {
        pings += task.await.expect("a client that lives");
    }
    pings
}

#[test]
fn a_story_of_many_timers_and_bad_links_is_the_same_in_all_embeddings() {
    for run in the_same_in_all(10..16, many_clients) {
        let pings = run.outcome.expect("no panic");
        assert!((120..160).contains(&pings), "{pings} pings of 160, two clients are cut off");
    }
}

/// Pauses, drift, a slow CPU, a loss of power, a lost machine, a seeded select.
async fn bad_machines(world: World) -> Vec<u64> {
    let (server, client) = (world.add_host("server"), world.add_host("client"));
    world.boot(server, |env| Box::pin(echo(env)));
    world.set_gc(server, Some(GcProfile::g1_small())).expect("a host");
    world.set_timer_drift_ppm(client, 700).expect("a host");
    world.set_step_cost_ns(server, 1_000, 9_000).expect("a host");
    let env = world.env(client);
    let mut seen = vec![];
    for round in 1..=6 {
        world.sleep_until(round * 5 * S).await;
        let Ok(mut stream) = connect(&env, "server").await else { continue };
        seeded_select! {
            said = ping(&mut stream, b"hello") => seen.push(u64::from(said.is_ok())),
            _ = env.clock.sleep_ms(1) => seen.push(2),
        }
        seen.push(env.clock.mono_ns());
        match round {
            2 => world.power_off(server),
            4 => world.lose(server, DiskFate::Lost).expect("a host"),
            3 | 5 => world.restart(server),
            _ => {}
        }
    }
    seen
}

#[test]
fn a_story_of_bad_machines_is_the_same_in_all_embeddings() {
    for run in the_same_in_all(20..26, bad_machines) {
        assert!(run.outcome.is_ok_and(|seen| seen.len() >= 4));
    }
}

#[test]
fn a_run_without_an_end_ends_in_the_same_way_in_all_embeddings() {
    async fn endless(world: World) {
        let env = world.env(world.add_host("b1"));
        loop {
            env.clock.sleep_ms(env.entropy.next_u64() % 1_000).await;
        }
    }
    async fn stuck(world: World) {
        let host = world.add_host("b1");
        world.env(host).clock.sleep_ms(world.env(host).entropy.next_u64() % 100).await;
        std::future::pending().await
    }
    for run in the_same_in_all(30..32, endless) {
        assert!(run.outcome.unwrap_err().message.contains("not over"));
    }
    for run in the_same_in_all(32..34, stuck) {
        assert!(run.outcome.unwrap_err().message.contains("stage/main"));
    }
}

#[test]
fn a_panic_is_the_same_verdict_in_all_embeddings() {
    async fn doomed(world: World) {
        let host = world.add_host("b1");
        world.boot(host, |env| {
            Box::pin(async move {
                env.clock.sleep_ms(env.entropy.next_u64() % 100).await;
                panic!("a record that is not there");
            })
        });
        world.sleep_until(S).await;
    }
    for run in the_same_in_all(40..43, doomed) {
        let panic = run.outcome.unwrap_err();
        assert_eq!((panic.node.as_deref(), panic.message.as_str()), (Some("b1"), "a record that is not there"));
    }
}
