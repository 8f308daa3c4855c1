//! Striking and mending.

use super::in_force::Held;
use super::{Fault, FaultError, Often, Place, Struck};
use crate::clock::{Leap, check_rate};
use crate::disk::{DiskFault, DiskFaultId, When};
use crate::event::LinkState;
use crate::hosts::HostError;
use crate::limits::Limits;
use crate::net::{ConnectionFault, ConnectionFaultId, ConnectionMatch, Listening};
use crate::stage::{Host, HostState, World};
use std::collections::BTreeSet;

/// What can be told without a world.
pub(super) fn check(fault: &Fault) -> Result<(), FaultError> {
    match fault {
        Fault::SlowCpu { min_ns, max_ns, .. } if min_ns > max_ns => {
            Err(HostError::Range { min: *min_ns, max: *max_ns }.into())
        }
        Fault::SlowCpu { min_ns: 0, .. } => Err(HostError::Zero { what: "the least cost of a step" }.into()),
        Fault::OpenFiles { limit, .. } => {
            Limits { open_files: Some(*limit), ..Limits::default() }.check()?;
            Ok(())
        }
        Fault::Memory { bytes, .. } => {
            Limits { memory_bytes: Some(*bytes), ..Limits::default() }.check()?;
            Ok(())
        }
        Fault::Drift { ppm, .. } | Fault::TimerDrift { ppm, .. } => {
            check_rate(*ppm)?;
            Ok(())
        }
        Fault::Leap { leap: Leap::Smeared { over_ns: 0 }, .. } => {
            Err(HostError::Zero { what: "the length of a smear" }.into())
        }
        Fault::Disk { .. } => Ok(disk_fault(fault, 0).check()?),
        Fault::Cut { state: LinkState::Up, .. } => Err(FaultError::LinkUp),
        Fault::Link { change, .. } => Ok(change.check()?),
        Fault::Connection { what, .. } => Ok(what.check()?),
        Fault::Listen { listening: Listening::Normal, .. } => Err(FaultError::Listens),
        _ => Ok(()),
    }
}

/// The disk's own form of the fault.
fn disk_fault(fault: &Fault, now_ns: u64) -> DiskFault {
    let Fault::Disk { kind, path, device, often, .. } = fault else { unreachable!("{fault:?} is no fault of a disk") };
    let when = match *often {
        Often::Always => When::since(now_ns),
        Often::Nth(operation) => When::Nth { operation },
        Often::Sometimes(probability) => When::During { begin_ns: now_ns, end_ns: None, probability },
    };
    DiskFault { kind: *kind, when, path: path.clone(), device: device.clone() }
}

impl World {
    /// The hosts that a place means now.
    ///
    /// # Errors
    /// [`FaultError::NoHost`], [`FaultError::NoGroup`].
    pub fn hosts_of(&self, place: &Place) -> Result<Vec<Host>, FaultError> {
        match place {
            Place::All => Ok(self.hosts()),
            Place::Host(name) => self.host(name).map(|host| vec![host]).ok_or_else(|| FaultError::NoHost {
                name: name.clone(),
                known: self.hosts().into_iter().map(|host| self.name(host)).collect(),
            }),
            Place::Rack(rack) => self.group(place, self.hosts_in_rack(rack)),
            Place::DataCentre(name) => self.group(place, self.hosts_in_data_centre(name)),
        }
    }

    fn group(&self, place: &Place, hosts: Vec<Host>) -> Result<Vec<Host>, FaultError> {
        if hosts.is_empty() { Err(FaultError::NoGroup { place: place.to_string() }) } else { Ok(hosts) }
    }

    /// Does a fault to the world; it is in force until it is mended. Faults in force may overlap: a host or a link is as
    /// usual when the last that holds it is mended; of two that say different things, the last one counts, of two states of
    /// a link the stronger one.
    ///
    /// # Errors
    /// Nothing was done then: a value out of its range, a host, group or device that does not exist, a leap second while
    /// another is under way.
    pub fn strike(&self, fault: &Fault) -> Result<Struck, FaultError> {
        fault.check()?;
        let mut held = Held::of(fault.clone());
        match fault {
            Fault::Cut { from, to, both, .. } | Fault::Link { from, to, both, .. } => {
                held.links = self.links_of(from, to, *both)?;
            }
            Fault::Connection { from, to, role, new, what } => {
                held.connections = self.break_connections(from.as_ref(), to.as_ref(), role.as_deref(), *new, *what)?;
            }
            _ => held.hosts = self.hosts_of(fault.places()[0])?,
        }
        match fault {
            Fault::Disk { .. } => held.disks = self.break_disks(&held)?,
            Fault::Leap { leap, .. } => self.leap_all(&held.hosts, *leap)?,
            _ => {}
        }
        let (hosts, links) = (held.hosts.clone(), held.links.clone());
        let struck = self.with(|world| world.faults.add(held));
        hosts.into_iter().for_each(|host| self.begin_on(host, fault));
        links.into_iter().for_each(|link| self.refresh_link(link));
        Ok(struck)
    }

    /// Takes a fault back: processes that it took down start, clocks are set right, disks and links work. What it did to
    /// bytes stays. False if it was mended before.
    pub fn mend(&self, struck: Struck) -> bool {
        let Some(held) = self.with(|world| world.faults.remove(struck)) else { return false };
        for (host, id) in &held.disks {
            self.clear_disk_fault(*host, *id);
        }
        held.connections.iter().for_each(|id| self.clear_connection_fault(*id));
        held.hosts.iter().for_each(|host| self.end_on(*host, &held.fault));
        held.links.iter().for_each(|link| self.refresh_link(*link));
        true
    }

    /// Every direction between two places; no machine is linked to itself.
    fn links_of(&self, from: &Place, to: &Place, both: bool) -> Result<Vec<(Host, Host)>, FaultError> {
        let (starts, ends) = (self.hosts_of(from)?, self.hosts_of(to)?);
        let there = starts.iter().flat_map(|a| ends.iter().map(move |b| (*a, *b))).filter(|(a, b)| a != b);
        let links: BTreeSet<_> =
            there.flat_map(|(a, b)| if both { vec![(a, b), (b, a)] } else { vec![(a, b)] }).collect();
        if links.is_empty() {
            return Err(FaultError::NoLink { from: from.to_string(), to: to.to_string() });
        }
        Ok(links.into_iter().collect())
    }

    /// Sets a disk fault on all hosts, or on none.
    fn break_disks(&self, held: &Held) -> Result<Vec<(Host, DiskFaultId)>, FaultError> {
        let fault = disk_fault(&held.fault, self.now_ns());
        let mut set = vec![];
        for host in &held.hosts {
            match self.add_disk_fault(*host, fault.clone()) {
                Ok(id) => set.push((*host, id)),
                Err(error) => {
                    set.into_iter().for_each(|(host, id)| assert!(self.clear_disk_fault(host, id), "it was just set"));
                    return Err(error.into());
                }
            }
        }
        Ok(set)
    }

    /// Sets a fault on connections between every pair of hosts that is meant. One that concerns live connections alone needs
    /// some.
    fn break_connections(
        &self,
        from: Option<&Place>,
        to: Option<&Place>,
        role: Option<&str>,
        new: bool,
        what: ConnectionFault,
    ) -> Result<Vec<ConnectionFaultId>, FaultError> {
        let ends = |place: Option<&Place>| match place {
            Some(place) => Ok(self.hosts_of(place)?.into_iter().map(Some).collect()),
            None => Ok::<_, FaultError>(vec![None]),
        };
        let (starts, ends) = (ends(from)?, ends(to)?);
        let pairs = starts.iter().flat_map(|from| ends.iter().map(move |to| (*from, *to)));
        let matches: Vec<ConnectionMatch> = pairs
            .map(|(from, to)| ConnectionMatch { from, to, role: role.map(str::to_owned), also_new: new })
            .collect();
        if !new && matches.iter().all(|which| self.connections(which) == 0) {
            return Err(FaultError::NoConnection);
        }
        Ok(matches.into_iter().map(|which| self.add_connection_fault(which, what)).collect::<Result<_, _>>()?)
    }

    fn leap_all(&self, hosts: &[Host], leap: Leap) -> Result<(), FaultError> {
        let busy = |host: &Host| self.with(|world| world.machines[host.0 as usize].clocks.has_leap(world.now));
        if hosts.iter().any(busy) {
            return Err(HostError::LeapUnderWay.into());
        }
        hosts.iter().try_for_each(|host| self.leap(*host, self.now_ns(), leap))?;
        Ok(())
    }

    fn begin_on(&self, host: Host, fault: &Fault) {
        if fault.takes_down() && !matches!(fault, Fault::Stop { .. }) {
            self.with(|world| world.faults.end_pauses(host));
        }
        match fault {
            Fault::Kill { .. } => self.kill(host),
            Fault::PowerOff { .. } => self.power_off(host),
            Fault::Lose { disk, .. } => checked(self.lose(host, *disk)),
            Fault::Wipe { .. } => {
                self.kill(host);
                self.wipe_disk(host);
            }
            Fault::Stop { within_ns, .. } => checked(self.stop(host, self.now_ns().saturating_add(*within_ns))),
            Fault::Jump { by_ms, .. } => checked(self.jump_wall_ms(host, *by_ms)),
            Fault::Pause { .. } => self.pause(host),
            _ => self.refresh(host, fault),
        }
    }

    fn end_on(&self, host: Host, fault: &Fault) {
        match fault {
            _ if fault.takes_down() => {
                let is_held = self.with(|world| world.faults.holds_down(host));
                if !is_held && (self.state(host) == HostState::Down || matches!(fault, Fault::Stop { .. })) {
                    self.restart(host);
                }
            }
            Fault::Pause { .. } => {
                if !self.with(|world| world.faults.pauses(host)) {
                    self.resume(host);
                }
            }
            Fault::Jump { .. } | Fault::Leap { .. } => self.set_clock_right(host),
            _ => self.refresh(host, fault),
        }
    }

    /// Makes the host what the faults in force say, as far as this one concerns it.
    fn refresh(&self, host: Host, fault: &Fault) {
        match fault {
            Fault::SlowCpu { .. } => {
                let (min_ns, max_ns) = self.with(|world| world.faults.step_ns(host));
                checked(self.set_step_cost_ns(host, min_ns, max_ns));
            }
            Fault::OpenFiles { .. } | Fault::Memory { .. } => {
                let limits = self.with(|world| world.faults.limits(host));
                checked(self.set_limits(host, limits));
            }
            Fault::Gc { .. } => {
                let collector = self.with(|world| world.faults.collector(host));
                checked(self.set_gc(host, collector.map(super::Collector::profile)));
            }
            Fault::Skew { .. } => self.set_clock_right(host),
            Fault::Listen { .. } => {
                let listening = self.with(|world| world.faults.listening(host));
                checked(self.set_listening(host, listening));
            }
            Fault::Drift { .. } => {
                let ppm = self.with(|world| world.faults.drift_ppm(host));
                checked(self.set_wall_drift_ppm(host, ppm));
                if ppm == 0 {
                    self.set_clock_right(host);
                }
            }
            Fault::TimerDrift { .. } => {
                let ppm = self.with(|world| world.faults.timer_ppm(host));
                checked(self.set_timer_drift_ppm(host, ppm));
            }
            _ => {}
        }
    }

    /// Sets the wall clock to where the faults in force put it; a leap second that is under way is over.
    fn set_clock_right(&self, host: Host) {
        let offset_ms = self.with(|world| {
            world.machines[host.0 as usize].clocks.end_leap(world.now);
            world.faults.offset_ms(host)
        });
        self.set_wall_offset_ms(host, offset_ms);
    }

    fn refresh_link(&self, (from, to): (Host, Host)) {
        let (state, profile) = self.with(|world| {
            let mut profile = world.net.usual(from.0, to.0);
            world.faults.changes((from, to)).for_each(|change| change.apply(&mut profile));
            (world.faults.link((from, to)), profile)
        });
        checked(self.set_link(from, to, state));
        checked(self.set_link_profile(from, to, profile));
    }
}

/// What was checked before it struck.
fn checked<E: std::fmt::Debug>(done: Result<(), E>) {
    done.expect("the fault was checked before it struck");
}
