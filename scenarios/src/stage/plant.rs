//! Planted leaks: three ways by which the real world gets into a run that interposition cannot see. They exist to prove
//! that `klamm doctor` would see such a leak; nothing but its `--plant` comes here.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "what is forbidden everywhere else is planted here on purpose"
)]

use super::roster::PORT;
use klamm_env::{Address, Env};
use klamm_sim::World;
use std::collections::HashMap;
use std::hash::RandomState;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Which leak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Plant {
    /// A client's task iterates a HashMap whose RandomState was made outside the run.
    Hashmap,
    /// A client's task reads real time, which a thread outside the run tells.
    Clock,
    /// A client's task reads bytes of /dev/urandom.
    Entropy,
}

/// What the planted task asks.
type Leak = Box<dyn Fn() -> u64 + Send>;

/// A leak that is ready to be planted. What is to stay outside of the run lives as long as this.
pub struct Seedling {
    leak: Option<Leak>,
    _outside: Option<Ticker>,
}

impl Plant {
    /// As the command line spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Plant::Hashmap => "hashmap",
            Plant::Clock => "clock",
            Plant::Entropy => "entropy",
        }
    }

    /// Makes what must be made outside of the run.
    pub fn dig(self) -> Seedling {
        match self {
            Plant::Hashmap => {
                let state = RandomState::new();
                Seedling { leak: Some(Box::new(move || order(&state))), _outside: None }
            }
            Plant::Clock => {
                let ticker = Ticker::start();
                let now = ticker.now.clone();
                Seedling { leak: Some(Box::new(move || now.load(Relaxed))), _outside: Some(ticker) }
            }
            Plant::Entropy => Seedling { leak: Some(Box::new(bytes_of_the_system)), _outside: None },
        }
    }
}

impl Seedling {
    /// What the task of the run is given.
    pub fn take(&mut self) -> Option<impl Fn() -> u64 + Send + use<>> {
        self.leak.take()
    }
}

/// The order of a map's keys, as one word.
fn order(state: &RandomState) -> u64 {
    let mut map = HashMap::with_hasher(state.clone());
    map.extend((0..64u64).map(|key| (key, ())));
    map.keys().fold(0, |word: u64, key| word.wrapping_mul(67).wrapping_add(*key))
}

fn bytes_of_the_system() -> u64 {
    let mut bytes = [0; 8];
    let read = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.expect("the system has /dev/urandom");
    u64::from_le_bytes(bytes)
}

/// A thread outside the run that says what time it really is.
struct Ticker {
    now: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    fn start() -> Self {
        let real = || SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos() as u64);
        let (now, over) = (Arc::new(AtomicU64::new(real())), Arc::new(AtomicBool::new(false)));
        let (told, ended) = (now.clone(), over.clone());
        let tick = move || {
            while !ended.load(Relaxed) {
                told.store(real(), Relaxed);
                std::thread::sleep(Duration::from_micros(50));
            }
        };
        Self { now, over, thread: Some(std::thread::spawn(tick)) }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Starts the task that lets the leak decide what it sends, as a client on the stage's own machine.
pub fn grow(world: World, plant: Plant, leak: impl Fn() -> u64 + Send + 'static) {
    let host = world.host("admin").expect("the stage's own machine");
    let env = world.env(host);
    let task = match plant {
        Plant::Hashmap => "planted-hashmap",
        Plant::Clock => "planted-clock",
        Plant::Entropy => "planted-entropy",
    };
    env.tasks.spawn(task, Box::pin(tell(env.clone(), leak)));
}

/// Once a simulated second it asks b1 which versions it speaks, with what leaked as the name of the client.
async fn tell(env: Env, leak: impl Fn() -> u64 + Send + 'static) {
    for correlation in 0.. {
        env.clock.sleep_ms(1_000).await;
        let Ok(mut stream) = env.net.connect(Address::new("b1", PORT), "planted").await else { continue };
        let mut answer = [0; 4];
        let until = env.clock.mono_ns() + 500_000_000;
        let asked = stream.write_all(&asking(correlation, leak())).await.is_ok();
        if asked {
            env.clock.before(until, stream.read_exact(&mut answer)).await;
        }
    }
}

/// An ApiVersions request, version 0.
fn asking(correlation: i32, word: u64) -> Vec<u8> {
    let client = format!("{word:016x}");
    let mut frame = vec![0, 0, 0, 0, 0, 18, 0, 0];
    frame.extend(correlation.to_be_bytes());
    frame.extend((client.len() as i16).to_be_bytes());
    frame.extend(client.as_bytes());
    let length = frame.len() as i32 - 4;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plant_gives_other_words_when_it_is_dug_again() {
        for plant in [Plant::Hashmap, Plant::Clock, Plant::Entropy] {
            let word = || plant.dig().take().expect("a leak")();
            assert_ne!(word(), word(), "{}", plant.name());
        }
    }

    #[test]
    fn the_request_is_a_whole_frame() {
        let frame = asking(7, 0xabc);
        assert_eq!(i32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]) as usize, frame.len() - 4);
        assert!(frame.ends_with(b"0000000000000abc"));
    }
}
