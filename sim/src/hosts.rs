//! The table of machines.

use crate::disk::DiskModel;
use crate::slab::Id;
use klamm_env::{BoxFuture, Env};
use rand_chacha::ChaCha8Rng;
use std::rc::Rc;
use std::sync::Arc;

/// What a machine runs when it starts.
pub(crate) type Program = Rc<dyn Fn(Env) -> BoxFuture<()>>;

/// One machine.
pub(crate) struct Machine {
    pub name: Arc<str>,
    /// A process may run on it.
    pub running: bool,
    pub paused: bool,
    /// Without power it is silent; with power and without a process its kernel still answers.
    pub powered: bool,
    /// Counts its processes; what belongs to an earlier one is void.
    pub life: u32,
    pub program: Option<Program>,
    /// Woken while paused.
    pub parked: Vec<Id>,
    pub wall_offset_ms: i64,
    pub entropy: ChaCha8Rng,
    pub disk: DiskModel,
    pub disk_rng: ChaCha8Rng,
    pub next_port: u16,
}

/// Hosts' wall clocks start at 2026-01-01T00:00:00Z.
pub(crate) const WALL_START_MS: i64 = 1_767_225_600_000;
