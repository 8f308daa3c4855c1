//! A slow CPU: every step of a host costs simulated time before its effects are seen, and while it is busy with one its
//! other ready tasks wait.

use crate::hosts::HostError;
use crate::rng::{self, below, between};
use crate::slab::Id;
use crate::stage::{Host, World};
use crate::timer::Event;
use crate::world::Inner;
use rand_chacha::ChaCha8Rng;

/// The CPU of a host where it is slow.
#[derive(Debug)]
pub(crate) struct Cpu {
    step_ns: (u64, u64),
    rng: ChaCha8Rng,
    /// It is busy until its event comes.
    busy: bool,
    /// Tells the event that counts from older ones.
    turn: u32,
    /// The task whose step is paid for.
    paid: Option<Id>,
}

impl Cpu {
    /// Steps cost something.
    pub const fn is_slow(&self) -> bool {
        self.step_ns.1 > 0
    }

    /// What it did is void.
    pub fn end_life(&mut self) {
        (self.busy, self.paid) = (false, None);
        self.turn += 1;
    }
}

impl Inner {
    /// A ready task of a host that does not run tasks at once.
    pub fn park(&mut self, host: u32, id: Id) {
        self.machines[host as usize].parked.push(id);
        self.begin_step(host);
    }

    /// Whether a task of a held host may run now, because its step is paid for.
    pub fn may_step(&mut self, host: u32, id: Id) -> bool {
        let machine = &mut self.machines[host as usize];
        let paid = machine.cpu.as_mut().and_then(|cpu| cpu.paid.take_if(|paid| *paid == id));
        paid.is_some() && machine.pauses == 0
    }

    /// Lets tasks of a host go that were held; one after the other if its CPU is slow.
    pub fn unpark(&mut self, host: u32) {
        let machine = &mut self.machines[host as usize];
        machine.held = machine.pauses != 0 || machine.is_slow();
        if !machine.held {
            for id in std::mem::take(&mut machine.parked) {
                self.exec.push(id);
            }
        }
        self.begin_step(host);
    }

    /// A slow CPU that has nothing to do takes the next step, if there is one.
    fn begin_step(&mut self, host: u32) {
        let now = self.now;
        let machine = &mut self.machines[host as usize];
        let Some(cpu) = machine.cpu.as_mut().filter(|cpu| !cpu.busy && cpu.is_slow()) else { return };
        if machine.pauses != 0 || machine.parked.is_empty() {
            return;
        }
        cpu.busy = true;
        cpu.turn += 1;
        let cost = between(&mut cpu.rng, cpu.step_ns.0, cpu.step_ns.1);
        let turn = cpu.turn;
        self.timers.push(now.saturating_add(cost), Event::Cpu(host, turn));
    }

    /// Whether a slow CPU waits for that event.
    pub fn is_busy(&self, host: u32, turn: u32) -> bool {
        let cpu = self.machines[host as usize].cpu.as_ref();
        cpu.is_some_and(|cpu| cpu.busy && cpu.turn == turn)
    }

    /// A step is paid for: any of the ready tasks takes it.
    pub fn step_done(&mut self, host: u32) {
        let machine = &mut self.machines[host as usize];
        let cpu = machine.cpu.as_mut().expect("a slow CPU, as was just seen");
        cpu.busy = false;
        if machine.pauses != 0 {
            return; // the step is done anew after the pause
        }
        while !machine.parked.is_empty() {
            let id = machine.parked.swap_remove(below(&mut cpu.rng, machine.parked.len() as u64) as usize);
            if self.exec.host(id).is_some() {
                cpu.paid = Some(id);
                self.exec.push(id);
                break;
            }
        }
        self.begin_step(host);
    }
}

impl World {
    /// Every step (poll of a task) of the host costs between so many nanoseconds, drawn evenly from the host's own stream,
    /// before it happens; ready tasks wait for each other. `(0, 0)` is as fast as thought, as hosts are at first.
    ///
    /// # Errors
    /// [`HostError::Unknown`], [`HostError::Range`], [`HostError::Zero`] if only the lower end is zero.
    pub fn set_step_cost_ns(&self, host: Host, min_ns: u64, max_ns: u64) -> Result<(), HostError> {
        self.check(host)?;
        match (min_ns, max_ns) {
            (0, 0) => {}
            (min, max) if min > max => return Err(HostError::Range { min, max }),
            (0, _) => return Err(HostError::Zero { what: "the least cost of a step" }),
            _ => {}
        }
        self.with(|world| {
            let seed = world.config.seed;
            let machine = &mut world.machines[host.0 as usize];
            match &mut machine.cpu {
                Some(cpu) => cpu.step_ns = (min_ns, max_ns),
                None if max_ns == 0 => {}
                cpu => {
                    let rng = rng::stream(seed, &format!("cpu/{}", machine.name));
                    *cpu = Some(Box::new(Cpu { step_ns: (min_ns, max_ns), rng, busy: false, turn: 0, paid: None }));
                }
            }
            world.unpark(host.0);
            world.note_process(host.0, "takes for a step", max_ns);
            let host = world.name(host.0);
            world.tell(crate::event::WorldEvent::StepCostSet { host, min_ns, max_ns });
        });
        crate::world::flush();
        Ok(())
    }
}
