//! Pauses of a garbage collector: a host stands still now and then, by draws of its own stream.

use crate::hosts::{HostError, Pause};
use crate::rng::{self, below, between};
use crate::slab::Id;
use crate::stage::{Host, World};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// A distribution told by four of its values, nanoseconds: half of the draws lie evenly between `min` and `p50`, 49 in a
/// hundred between `p50` and `p99`, one in a hundred between `p99` and `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Spread {
    pub min: u64,
    pub p50: u64,
    pub p99: u64,
    pub max: u64,
}

impl Spread {
    const fn ms(min: u64, p50: u64, p99: u64, max: u64) -> Self {
        Self { min: min * 1_000_000, p50: p50 * 1_000_000, p99: p99 * 1_000_000, max: max * 1_000_000 }
    }

    const fn us(min: u64, p50: u64, p99: u64, max: u64) -> Self {
        Self { min: min * 1_000, p50: p50 * 1_000, p99: p99 * 1_000, max: max * 1_000 }
    }

    fn is_ordered(self) -> bool {
        self.min > 0 && self.min <= self.p50 && self.p50 <= self.p99 && self.p99 <= self.max
    }

    fn draw(self, rng: &mut ChaCha8Rng) -> u64 {
        match below(rng, 100) {
            0..50 => between(rng, self.min, self.p50),
            50..99 => between(rng, self.p50, self.p99),
            _ => between(rng, self.p99, self.max),
        }
    }
}

/// One kind of pause: from the end of one to the start of the next, and how long each takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Pauses {
    pub every: Spread,
    pub pause: Spread,
}

/// How a collector stops the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GcProfile {
    /// The usual pauses.
    pub young: Pauses,
    /// The rare long ones.
    pub full: Option<Pauses>,
}

impl GcProfile {
    /// G1 on a small heap (about 6 GB) with `MaxGCPauseMillis=20`, as Kafka starts its brokers. Kafka's operations guide tells
    /// of LinkedIn's busiest cluster so: 90 % of the pauses take 21 ms, less than one young collection a second.
    pub const fn g1_small() -> Self {
        Self {
            young: Pauses { every: Spread::ms(1_000, 2_500, 10_000, 20_000), pause: Spread::ms(4, 12, 35, 120) },
            full: None,
        }
    }

    /// G1 on a large heap (32 GB and more) with its default aim, `MaxGCPauseMillis=200`: mixed collections near the aim, and
    /// now and then an evacuation failure that ends in a full collection of some seconds.
    pub const fn g1_large_heap() -> Self {
        Self {
            young: Pauses { every: Spread::ms(2_000, 8_000, 30_000, 60_000), pause: Spread::ms(30, 110, 260, 600) },
            full: Some(Pauses {
                every: Spread::ms(300_000, 1_800_000, 7_200_000, 14_400_000),
                pause: Spread::ms(1_500, 4_000, 12_000, 25_000),
            }),
        }
    }

    /// ParNew and CMS whose old generation fragments: a concurrent mode failure falls back to one thread that compacts the
    /// heap, about 8 to 10 seconds a gigabyte (Lipcon 2011, on HBase): longer than most sessions.
    pub const fn cms_full() -> Self {
        Self {
            young: Pauses { every: Spread::ms(1_000, 3_000, 10_000, 20_000), pause: Spread::ms(10, 40, 150, 400) },
            full: Some(Pauses {
                every: Spread::ms(120_000, 600_000, 3_600_000, 7_200_000),
                pause: Spread::ms(8_000, 15_000, 45_000, 80_000),
            }),
        }
    }

    /// ZGC: pauses do not grow with the heap; below a millisecond since JDK 16 (JEP 376), three a cycle.
    pub const fn zgc() -> Self {
        Self {
            young: Pauses { every: Spread::ms(300, 1_500, 8_000, 20_000), pause: Spread::us(20, 60, 400, 900) },
            full: None,
        }
    }

    fn check(self) -> Result<Self, HostError> {
        let kinds = [Some(self.young), self.full];
        let is_ordered = |kind: &Pauses| kind.every.is_ordered() && kind.pause.is_ordered();
        if kinds.iter().flatten().all(is_ordered) { Ok(self) } else { Err(HostError::Spread) }
    }
}

async fn collect(world: World, host: Host, kind: Pauses, why: Pause, mut rng: ChaCha8Rng) {
    loop {
        let start = world.now_ns().saturating_add(kind.every.draw(&mut rng));
        world.sleep_until(start).await;
        world.hold_still(host, why, true);
        let end = world.now_ns().saturating_add(kind.pause.draw(&mut rng));
        world.sleep_until(end).await;
        world.hold_still(host, why, false);
    }
}

impl World {
    /// The host's process is one with such a collector from now on; `None` ends that, and a pause of it. Pauses of the
    /// stage and of the collector do not end each other. A run with a collector is never deadlocked: something will
    /// always happen.
    ///
    /// # Errors
    /// [`HostError::Unknown`]; [`HostError::Spread`] if a distribution is out of order or has a zero.
    pub fn set_gc(&self, host: Host, profile: Option<GcProfile>) -> Result<(), HostError> {
        self.check(host)?;
        let profile = profile.map(GcProfile::check).transpose()?;
        let old = self.with(|world| std::mem::take(&mut world.machines[host.0 as usize].collectors));
        for task in old {
            crate::env_impl::abort(task);
        }
        self.hold_still(host, Pause::Young, false);
        self.hold_still(host, Pause::Full, false);
        let Some(profile) = profile else { return Ok(()) };
        let (seed, name) = self.with(|world| (world.config.seed, world.name(host.0)));
        let kinds = [("young", Pause::Young, Some(profile.young)), ("full", Pause::Full, profile.full)];
        let tasks: Vec<Id> = kinds
            .into_iter()
            .filter_map(|(kind, why, pauses)| {
                let rng = rng::stream(seed, &format!("gc/{name}/{kind}"));
                self.spawn_id("gc", collect(*self, host, pauses?, why, rng))
            })
            .collect();
        self.with(|world| world.machines[host.0 as usize].collectors = tasks);
        Ok(())
    }
}
