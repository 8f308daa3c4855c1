//! The simulated world: one seeded universe of hosts, byte streams, disks, clocks and processes that runs code written
//! against [`klamm_env::Env`]. It knows no Kafka.
//!
//! A run lives on a thread of its own, inside a madsim simulation that makes `HashMap`, `Instant`, `SystemTime` and stray
//! threads part of the world. The same seed gives the same run, byte for byte, in any thread and any process.
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

#[cfg(not(madsim))]
compile_error!(
    "klamm-sim needs `--cfg madsim`, which .cargo/config.toml sets for the whole workspace. Unset RUSTFLAGS and \
     RUSTDOCFLAGS (they replace the file's flags), and build from inside the workspace."
);

mod ctx;
pub mod disk;
mod disk_env;
mod embed;
mod env_impl;
mod event;
mod exec;
mod hosts;
mod net;
mod rng;
mod run;
mod slab;
mod stage;
mod timer;
mod trace;
mod world;

pub use ctx::stamp;
pub use disk_env::DiskProfile;
pub use event::{LinkState, WorldEvent};
pub use net::{Latency, NetProfile};
pub use run::{Panic, Run, SimConfig, run};
pub use stage::{Host, HostState, World};
pub use world::{Director, Listener};
