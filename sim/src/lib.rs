//! The simulated world: one seeded universe of hosts, byte streams, disks, clocks and processes that runs code written
//! against [`klamm_env::Env`]. It knows no Kafka.
//!
//! A run lives on a thread of its own, inside a madsim simulation that makes `HashMap`, `Instant`, `SystemTime` and stray
//! threads part of the world (see [`Embedding`]). The same seed gives the same run, byte for byte, in any thread and any
//! process.
//!
//! ```
//! use klamm_sim::{SimConfig, run};
//!
//! let run = run(SimConfig::new(7), |world| {
//!     let host = world.add_host("b1");
//!     Box::pin(async move {
//!         world.env(host).clock.sleep_ms(250).await;
//!         world.now_ns()
//!     })
//! });
//! assert_eq!(run.outcome.unwrap(), 250_000_000);
//! ```
//!
//! A seed that shows something shows it again. Here a machine loses its power at a time that hangs on the seed, and some seed
//! loses a record that was written and not synced:
//!
//! ```
//! use klamm_env::OpenMode;
//! use klamm_sim::{Run, SimConfig, run};
//!
//! fn play(seed: u64) -> Run<u64> {
//!     run(SimConfig { trace: true, ..SimConfig::new(seed) }, |world| {
//!         let host = world.add_host("b1");
//!         Box::pin(async move {
//!             world.boot(host, |env| {
//!                 Box::pin(async move {
//!                     let file = env.disk.open("log", OpenMode::Create).await.unwrap();
//!                     file.append(vec![7; 100].into()).await.unwrap();
//!                     env.clock.sleep_ms(env.entropy.next_u64() % 10).await;
//!                     file.sync().await.unwrap();
//!                 })
//!             });
//!             world.sleep_until(5_000_000).await;
//!             world.power_off(host);
//!             world.files(host).iter().map(|(_, length)| length).sum()
//!         })
//!     })
//! }
//!
//! let seed = (0..100).find(|seed| play(*seed).outcome.is_ok_and(|bytes| bytes < 100)).unwrap();
//! assert_eq!(play(seed).trace, play(seed).trace);
//! ```
//!
//! `examples/key_value.rs` is a whole system in under a hundred lines: a replicated key-value store, a cut between its nodes,
//! and the seed whose run reads what is no longer true (`cargo run -p klamm-sim --example key_value`). An application that names
//! tokio is a [`guest`].
//!
//! # The network
//! Streams behave as TCP's do: connecting is a round trip, windows are bounded, a close is a FIN or an RST, and both obey the
//! link. Time is exact to the nanosecond; nothing has a floor.
//!
//! A *direction* between two hosts has a [`LinkProfile`]: its [`Latency`] by one of five distributions, jitter, bandwidth with a
//! queue of limited bytes, loss, corruption, partial reads and writes. What is lost is sent again on its own stream's clock,
//! later each time, until the stream dies. It also has a [`LinkState`]: up, stalled, a black hole, or answering with RST.
//! After a heal, what waited leaves promptly or with a retransmission, as drawn. [`NetProfile`] holds what all share: windows,
//! backlog, time-outs of connects and retransmissions, keep-alive. [`Topology`] places hosts in racks and data centres.
//!
//! A single *connection* can be struck by who made it, with whom and what for ([`ConnectionMatch`], [`ConnectionFault`]): reset,
//! stalled, forgotten on the way, slow to close, corrupted, delayed. A host can refuse connects or leave them without an answer
//! ([`Listening`]).
//!
//! ```
//! use klamm_env::Address;
//! use klamm_sim::{ConnectionFault, ConnectionMatch, Latency, LinkProfile, SimConfig, Topology, run};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! let run = run(SimConfig::new(7), |world| {
//!     let (b1, b2) = (world.add_host("b1"), world.add_host("b2"));
//!     world.set_topology(&Topology::two_data_centres(&["b1", "b2"])).unwrap();
//!     let slow = LinkProfile { loss_ppm: 1_000, ..Latency::Lognormal { median_ns: 2_000_000, p99_ns: 9_000_000 }.into() };
//!     world.set_link_profile(b1, b2, slow).unwrap();
//!     Box::pin(async move {
//!         let mut listener = world.env(b2).net.listen(Address::new("", 9092)).await.unwrap();
//!         let mut stream = world.env(b1).net.connect(Address::new("b2", 9092), "fetch").await.unwrap();
//!         let mut far = std::future::poll_fn(|cx| listener.poll_accept(cx)).await.unwrap();
//!         stream.write_all(b"question").await.unwrap();
//!         far.read_exact(&mut [0; 8]).await.unwrap();
//!         let fetches = ConnectionMatch { role: Some("fetch".to_owned()), ..ConnectionMatch::default() };
//!         let fault = world.add_connection_fault(fetches, ConnectionFault::Reset).unwrap();
//!         assert_eq!(fault.struck(), 1);
//!         assert!(far.read_u8().await.is_err());
//!     })
//! });
//! run.outcome.unwrap();
//! ```

#[cfg(not(madsim))]
compile_error!(
    "klamm-sim needs `--cfg madsim`, which .cargo/config.toml sets for the whole workspace. Unset RUSTFLAGS and \
     RUSTDOCFLAGS (they replace the file's flags), and build from inside the workspace."
);

mod clock;
mod clock_stage;
mod cpu;
mod ctx;
pub mod disk;
mod disk_env;
mod drive;
mod embed;
mod env_impl;
mod event;
mod exec;
pub mod fault;
mod gc;
pub mod guest;
mod hosts;
mod join;
mod limits;
mod net;
mod rng;
mod run;
mod slab;
mod spans;
mod stage;
mod stage_disk;
mod stop;
mod timer;
mod trace;
mod trace_diff;
mod waits;
mod world;

pub use clock::Leap;
pub use ctx::stamp;
pub use disk::{
    DISK_FAULTS, Damage, DamageKind, Device, DiskConfig, DiskFault, DiskFaultError, DiskFaultId, DiskFaultInfo,
    DiskFaultKind, DiskMemory, DiskProfile, DiskSetup, DiskSetupError, DiskUse, FileSystem, When,
};
pub use embed::Embedding;
pub use event::{LinkState, WorldEvent};
pub use fault::{
    Collector, FAULTS, Fault, FaultError, FaultFamily, FaultInfo, FaultPlan, LinkChange, Often, Place, PlannedFault,
    Struck, fault_info,
};
pub use gc::{GcProfile, Pauses, Spread};
pub use hosts::HostError;
pub use join::{JoinError, JoinHandle, spawn};
pub use limits::{Limits, Memory};
pub use net::{
    ConnectionFault, ConnectionFaultId, ConnectionMatch, KeepAlive, Latency, LinkProfile, Listening, NetError,
    NetProfile, Site, Topology,
};
pub use run::{Panic, Run, SimConfig, run};
pub use stage::{Host, HostState, World};
#[doc(hidden)]
pub use stop::draw;
pub use stop::{DiskFate, StopSignal, reserve, stop_signal};
pub use trace_diff::{TraceDifference, first_difference};
pub use world::{Director, Listener};

#[doc(hidden)]
pub use klamm_env::select_by as __select_by;

/// `tokio::select!` with its syntax (`pattern = future, if condition => handler`, `else => handler`, up to six branches),
/// where the branch that is polled first is drawn from the run's seed, in a stream of its own; the others follow in their
/// written order, and around. It draws once where it is entered. It works only inside a run: tests, the stage and guest
/// applications use it; code that lives in both worlds uses [`klamm_env::select_by!`] with its own entropy.
#[macro_export]
macro_rules! seeded_select {
    ($($branches:tt)+) => { $crate::__select_by! { $crate::draw(); $($branches)+ } };
}
