//! A key-value store of two nodes, and a promise that it breaks. The primary answers a write when the backup has it; if the
//! backup does not answer in time, the primary carries on alone. That keeps the store available, and it costs: whoever reads
//! at the backup after a cut reads what is no longer true. The first seed that shows it is told, and shows it again.
//!
//! `cargo run -p klamm-sim --example key_value [SEED]`

use klamm_env::{Address, Env, Stream};
use klamm_sim::{LinkState, SimConfig, World, run};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What is said to a node: a key and a value; the value 0 asks for the one that is stored. Who asks waits so long.
async fn ask(env: &Env, node: &str, key: u8, value: u8, patience_ms: u64) -> Option<u8> {
    let deadline = env.clock.mono_ns() + patience_ms * 1_000_000;
    let exchange = async {
        let mut stream = env.net.connect(Address::new(node, 80), "request").await.ok()?;
        stream.write_all(&[key, value]).await.ok()?;
        stream.read_u8().await.ok()
    };
    env.clock.before(deadline, exchange).await.flatten()
}

/// A node: it stores, and hands on what it stores if it has a backup.
async fn node(env: Env, backup: Option<&'static str>) {
    let store = Arc::new(Mutex::new(BTreeMap::new()));
    let mut listener = env.net.listen(Address::new("", 80)).await.expect("a free port");
    while let Ok(stream) = std::future::poll_fn(|cx| listener.poll_accept(cx)).await {
        let (store, own) = (store.clone(), env.clone());
        env.tasks
            .spawn("serve", Box::pin(async move { serve(&own, stream, &store, backup).await.unwrap_or_default() }));
    }
}

async fn serve(
    env: &Env,
    mut stream: Box<dyn Stream>,
    store: &Mutex<BTreeMap<u8, u8>>,
    backup: Option<&str>,
) -> std::io::Result<()> {
    let (key, value) = (stream.read_u8().await?, stream.read_u8().await?);
    if value > 0 {
        store.lock().expect("no panic under the lock").insert(key, value);
        if let Some(backup) = backup {
            let _carries_on_alone = ask(env, backup, key, value, 20).await;
        }
    }
    let stored = store.lock().expect("no panic under the lock").get(&key).copied();
    stream.write_u8(stored.unwrap_or(0)).await
}

/// Writes and reads one key for two seconds; somewhere in between the nodes are cut off from each other. What was seen that
/// must not be.
async fn story(world: World) -> Option<String> {
    let (primary, backup) = (world.add_host("primary"), world.add_host("backup"));
    world.boot(primary, |env| Box::pin(node(env, Some("backup"))));
    world.boot(backup, |env| Box::pin(node(env, None)));
    let client = world.env(world.add_host("client"));
    let cut_ns = client.entropy.next_u64() % 20_000_000_000;
    world.spawn("cut", async move {
        world.sleep_until(cut_ns).await;
        world.set_link(primary, backup, LinkState::BlackHole).expect("two hosts");
    });
    for value in 1..=20 {
        client.clock.sleep_ms(100).await;
        if ask(&client, "primary", 1, value, 50).await != Some(value) {
            continue; // it was not acknowledged, so nothing was promised
        }
        let read = ask(&client, "backup", 1, 0, 50).await?;
        if read != value {
            return Some(format!("{} ns: {value} was acknowledged, and then {read} was read", world.now_ns()));
        }
    }
    None
}

pub fn play(seed: u64) -> (Option<String>, u64) {
    let run = run(SimConfig::new(seed), |world| Box::pin(story(world)));
    (run.outcome.unwrap_or_else(|panic| panic!("{panic}")), run.trace_hash)
}

fn main() {
    let given = std::env::args().nth(1).map(|seed| seed.parse::<u64>().expect("a number"));
    let seeds = given.map_or(0..100, |seed| seed..seed + 1);
    let found = seeds.into_iter().find_map(|seed| play(seed).0.map(|broken| (seed, broken)));
    let Some((seed, broken)) = found else { return println!("nothing was found") };
    println!("seed {seed}: {broken}");
    println!("again:  cargo run -p klamm-sim --example key_value {seed}");
    assert_eq!(play(seed), play(seed), "a seed is one run, for ever");
}
