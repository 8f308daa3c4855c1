//! Where the world is while madsim runs others: behind a gate. Who wants something of it then (a guest's call, a wake of one
//! of our tasks) calls it back, and the driver with it, before it does anything else: so nobody pays for guests who has none.

use crate::ctx::{self, STAGE};
use crate::embed::OuterClock;
use crate::world::{self, Inner};
use std::cell::RefCell;
use std::task::Waker;

struct Gate {
    world: Option<Box<Inner>>,
    driver: Waker,
    clock: OuterClock,
}

thread_local! {
    static GATE: RefCell<Option<Gate>> = const { RefCell::new(None) };
}

/// The driver rests: from here on the world must be called back by who wants something of it.
pub(crate) fn go_out(driver: &Waker, clock: &OuterClock) {
    let world = Some(world::take());
    ctx::enter(ctx::Context { host: STAGE, life: 0, name: super::name() });
    ctx::rest();
    GATE.set(Some(Gate { world, driver: driver.clone(), clock: clock.clone() }));
}

/// The driver goes on, if it was out.
pub(crate) fn come_in() {
    let Some(gate) = GATE.take() else { return };
    ctx::enter(ctx::NOBODY);
    if let Some(world) = gate.world {
        ctx::go_on();
        world::put(world);
    }
}

/// Somebody who may be a guest wants something of the world: where it rests, it is called back, at the time that it is
/// outside, and the driver with it. Who runs before the driver does finds it in its place; that is some polls of madsim at
/// most. False if no world rests here.
pub(crate) fn arrive() -> bool {
    let call = |gate: &RefCell<Option<Gate>>| {
        let mut gate = gate.borrow_mut();
        let gate = gate.as_mut()?;
        let mut world = gate.world.take()?;
        // What was due meanwhile happens when the driver comes to it.
        world.set_time(gate.clock.now_ns().max(world.now));
        ctx::go_on();
        world::put(world);
        Some(gate.driver.clone())
    };
    let driver = GATE.try_with(call).ok().flatten();
    driver.map(Waker::wake).is_some()
}

/// Outside: what time it is there.
pub(crate) fn outer_ns() -> Option<u64> {
    GATE.try_with(|gate| gate.try_borrow().ok()?.as_ref().map(|gate| gate.clock.now_ns())).ok().flatten()
}
