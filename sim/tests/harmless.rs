//! What std and the operating system usually leak is part of the world here: a run whose course hangs on the order of a
//! HashMap, on Instant and on getrandom is the same in every thread and in every process.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

mod common;

use common::*;
use klamm_sim::{SimConfig, World, first_difference};
use std::collections::HashMap;
use std::process::Command;
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const CHILD: &str = "KLAMM_SIM_TEST_CHILD";

/// Sends what a map's order, the clock and the system's randomness say, and waits as long as they say.
async fn tempted(world: World) -> Vec<u8> {
    let (server, client) = (world.add_host("server"), world.add_host("client"));
    world.boot(server, |env| Box::pin(echo(env)));
    world.sleep_until(MS).await;
    let env = world.env(client);
    let began = Instant::now();
    let mut stream = connect(&env, "server").await.unwrap();
    let mut heard = vec![];
    for round in 0..20u64 {
        let map: HashMap<u64, u64> = (0..32).map(|n| (n + round, n)).collect();
        let mut said: Vec<u8> = map.values().map(|n| *n as u8).collect();
        said.extend(began.elapsed().as_nanos().to_be_bytes());
        said.extend(getrandom::u64().unwrap().to_be_bytes());
        stream.write_all(&said).await.unwrap();
        let mut answer = vec![0; said.len()];
        stream.read_exact(&mut answer).await.unwrap();
        env.clock.sleep_ms(getrandom::u64().unwrap() % 10 + u64::from(said[0])).await;
        heard.extend(answer);
    }
    heard
}

fn play(seed: u64) -> (u64, Vec<String>, Vec<u8>) {
    let run = simulate_all(SimConfig { trace: true, ..SimConfig::new(seed) }, tempted);
    (run.trace_hash, run.trace, run.outcome.unwrap())
}

#[test]
fn map_order_instant_and_getrandom_are_the_same_in_every_thread() {
    for seed in 0..5 {
        let others: Vec<_> = (0..2).map(|_| std::thread::spawn(move || play(seed))).collect();
        let here = play(seed);
        for other in others {
            let there = other.join().unwrap();
            assert_eq!(first_difference(&here.1, &there.1), None, "seed {seed}");
            assert!(here == there, "seed {seed}");
        }
        assert!(here.2 != play(seed + 1_000).2, "and they do hang on the seed");
    }
}

#[test]
fn map_order_instant_and_getrandom_are_the_same_in_every_process() {
    if std::env::var_os(CHILD).is_some() {
        return println!("trace hash {:016x}", play(7).0);
    }
    let name = "map_order_instant_and_getrandom_are_the_same_in_every_process";
    let here = format!("trace hash {:016x}", play(7).0);
    for _ in 0..2 {
        let mut child = Command::new(std::env::current_exe().unwrap());
        let output = child.args(["--exact", name, "--nocapture"]).env(CHILD, "1").output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && said.contains(&here), "{here}: {said}");
    }
}

#[test]
fn two_traces_of_different_seeds_part_at_a_named_event() {
    let (one, two) = (play(1).1, play(2).1);
    let found = first_difference(&one, &two).unwrap();
    assert!(found.index > 0, "both begin alike: {found}");
    assert!(["server", "client"].contains(&found.node.as_str()), "{found}");
    assert!(found.cause.split(' ').count() > 3, "{found}");
}

#[test]
fn keeping_the_trace_as_text_changes_nothing() {
    for seed in 0..5 {
        let kept = simulate_all(SimConfig { trace: true, ..SimConfig::new(seed) }, tempted);
        let quiet = simulate_all(SimConfig::new(seed), tempted);
        assert_eq!((kept.trace_hash, kept.polls, kept.sim_ns), (quiet.trace_hash, quiet.polls, quiet.sim_ns));
        assert!(!kept.trace.is_empty() && quiet.trace.is_empty());
    }
}

#[test]
fn what_code_notes_stands_in_the_trace_and_in_its_hash() {
    let noted = |word| {
        simulate_all(SimConfig { trace: true, ..SimConfig::new(1) }, move |world| async move {
            assert_eq!(world.note(word, || "an election".to_owned()), 0);
        })
    };
    let (one, two) = (noted(1), noted(2));
    assert!(one.trace.iter().any(|line| line.starts_with("0 observe stage/main an election")), "{:?}", one.trace);
    assert_ne!(one.trace_hash, two.trace_hash);
    let found = first_difference(&one.trace, &two.trace).unwrap();
    assert_eq!(found.node, "stage", "{found}");
}
