//! What several tests need.
#![allow(dead_code)]

use klamm_env::{Address, Env, Stream};
use klamm_sim::{Host, Latency, Run, SimConfig, World, run};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub const US: u64 = 1_000;
pub const MS: u64 = 1_000_000;
pub const S: u64 = 1_000_000_000;

/// A run that must not panic.
pub fn simulate<T, F, M>(seed: u64, main: M) -> T
where
    T: Send + 'static,
    F: Future<Output = T> + 'static,
    M: FnOnce(World) -> F + Send + 'static,
{
    simulate_all(SimConfig::new(seed), main).outcome.unwrap_or_else(|panic| panic!("{panic}"))
}

pub fn simulate_all<T, F, M>(config: SimConfig, main: M) -> Run<T>
where
    T: Send + 'static,
    F: Future<Output = T> + 'static,
    M: FnOnce(World) -> F + Send + 'static,
{
    run(config, move |world| Box::pin(main(world)) as Pin<Box<dyn Future<Output = T>>>)
}

/// Listens on port 9 and sends every byte back, until the client closes.
pub async fn echo(env: Env) {
    let mut listener = env.net.listen(Address::new("", 9)).await.expect("a free port");
    loop {
        let stream = std::future::poll_fn(|cx| listener.poll_accept(cx)).await.expect("a connection");
        env.tasks.spawn("echo", Box::pin(echo_one(stream)));
    }
}

async fn echo_one(mut stream: Box<dyn Stream>) {
    let mut buffer = vec![0; 4096];
    while let Ok(count) = stream.read(&mut buffer).await {
        if count == 0 || stream.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

/// Listens on port 9, accepts and keeps connections without ever reading.
pub async fn deaf(env: Env) {
    let mut listener = env.net.listen(Address::new("", 9)).await.expect("a free port");
    let mut kept = vec![];
    loop {
        kept.push(std::future::poll_fn(|cx| listener.poll_accept(cx)).await.expect("a connection"));
    }
}

pub async fn connect(env: &Env, to: &str) -> io::Result<Box<dyn Stream>> {
    env.net.connect(Address::new(to, 9), "test").await
}

/// Two machines, and so long for every segment in each direction between them.
pub fn two_hosts(world: &World, ns: u64) -> (Host, Host) {
    let (server, client) = (world.add_host("server"), world.add_host("client"));
    world.set_latency(server, client, Latency::fixed(ns)).unwrap();
    world.set_latency(client, server, Latency::fixed(ns)).unwrap();
    (server, client)
}

pub type Duplex = Box<dyn Stream>;

/// A connection: the end of who connects, then the end of who listens, on a port of its own.
pub async fn joined(world: &World, client: Host, server: Host, role: &'static str) -> (Duplex, Duplex) {
    let mut listener = world.env(server).net.listen(Address::new("", 0)).await.expect("a free port");
    let at = Address::new(&world.name(server), listener.address().port);
    let mine = world.env(client).net.connect(at, role).await.expect("somebody listens");
    let theirs = std::future::poll_fn(|cx| listener.poll_accept(cx)).await.expect("a connection");
    (mine, theirs)
}

/// Waits so long.
pub async fn rest(world: &World, ns: u64) {
    world.sleep_until(world.now_ns() + ns).await;
}

/// Sends and waits for the same bytes.
pub async fn ping(stream: &mut Box<dyn Stream>, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    let mut answer = vec![0; bytes.len()];
    stream.read_exact(&mut answer).await?;
    assert_eq!(answer, bytes, "an echo says what it heard");
    Ok(())
}

/// Things that tasks say, for the test to read.
#[derive(Clone, Default)]
pub struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    pub fn say(&self, text: impl Into<String>) {
        self.0.lock().expect("no panic under the lock").push(text.into());
    }
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().expect("no panic under the lock"))
    }
}

/// Says so when dropped, and as whom.
pub struct OnDrop(pub Notes, pub &'static str);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.say(format!("{} dropped on {:?}", self.1, World::current_host().map(|host| host.0)));
    }
}
