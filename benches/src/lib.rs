//! What the figures are measured on: the standard seed, and an echo over the same simulated network beside it.

use klamm_env::{Address, Env, Stream};
use klamm_scenarios::script::{Script, Span};
use klamm_scenarios::stage::{RunOptions, RunResult, run};
use klamm_sim::{Latency, NetProfile, SimConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The allocator of the `klamm` binary, for the standard seed. The bench beside madsim and turmoil keeps the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const STANDARD: &str = include_str!("../standard-seed.toml");
const ECHO_BYTES: usize = 256;

/// The standard seed's script, over so many simulated seconds.
///
/// # Panics
/// If the script file is not legal.
pub fn standard(seconds: u64) -> Script {
    let mut script = Script::from_toml("standard-seed.toml", STANDARD).unwrap_or_else(|error| panic!("{error:?}"));
    script.duration = Span::ms(seconds * 1000);
    script
}

/// Runs and judges it.
///
/// # Panics
/// If a guarantee is violated: a figure of a broken run is worth nothing.
pub fn play(script: &Script) -> RunResult {
    let result = run(script, RunOptions::default());
    assert!(result.report.violated().is_empty(), "violated: {:?}", result.report.violated());
    result
}

async fn serve(mut stream: Box<dyn Stream>) {
    let mut frame = [0; ECHO_BYTES];
    while stream.read_exact(&mut frame).await.is_ok() && stream.write_all(&frame).await.is_ok() {}
}

async fn listen(env: Env) {
    let mut listener = env.net.listen(Address::new("", 1)).await.expect("a free port");
    loop {
        let stream = std::future::poll_fn(|cx| listener.poll_accept(cx)).await.expect("a connection");
        env.tasks.spawn("serve", Box::pin(serve(stream)));
    }
}

async fn talk(env: Env) {
    let mut stream = env.net.connect(Address::new("server", 1), "echo").await.expect("a connection");
    let mut frame = [7; ECHO_BYTES];
    loop {
        stream.write_all(&frame).await.expect("an open connection");
        stream.read_exact(&mut frame).await.expect("an open connection");
    }
}

/// Two hosts exchange frames for so many simulated seconds; how many frames arrived.
///
/// # Panics
/// If the echo breaks.
pub fn echo(seconds: u64) -> u64 {
    let profile = NetProfile { link: Latency::fixed(500_000).into(), ..NetProfile::default() };
    let run = klamm_sim::run(SimConfig { profile, ..SimConfig::new(1) }, move |world| {
        let (server, client) = (world.add_host("server"), world.add_host("client"));
        world.env(server).tasks.spawn("listen", Box::pin(listen(world.env(server))));
        Box::pin(async move {
            world.sleep_until(1_000_000).await;
            world.env(client).tasks.spawn("talk", Box::pin(talk(world.env(client))));
            world.sleep_until(seconds * 1_000_000_000).await;
        })
    });
    run.outcome.unwrap_or_else(|panic| panic!("{panic}"));
    run.deliveries
}
