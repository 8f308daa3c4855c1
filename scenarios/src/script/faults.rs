//! From an action to the world's faults, one for each host or direction that it strikes.

use super::step::Action;
use super::target::Target;
use super::verbs::{Corrupt, SkewKind, Slow};
use klamm_sim::{DiskFaultKind, Fault, Often, Place};

impl Action {
    /// What it does to one host; `None` for what only mends and for what concerns links.
    pub fn fault_on(&self, host: &str) -> Option<Fault> {
        let on = Place::host(host);
        Some(match self {
            Action::Crash(_) => Fault::Kill { on },
            Action::PowerOff(_) => Fault::PowerOff { on },
            Action::Lose(lose) => Fault::Lose { on, disk: lose.disk },
            Action::Wipe(_) => Fault::Wipe { on },
            Action::Stop(stop) => Fault::Stop { on, within_ns: stop.within.0 },
            Action::Pause(_) => Fault::Pause { on },
            Action::Slow(Slow::Cpu(cpu)) => Fault::SlowCpu { on, min_ns: cpu.min.0, max_ns: cpu.max.0 },
            Action::Skew(skew) => skewed(skew.how, on),
            Action::Fill(fill) => {
                let kind = DiskFaultKind::NoSpace { fill: fill.full.of_one() };
                Fault::Disk { on, kind, path: String::new(), device: fill.device.clone(), often: Often::Always }
            }
            Action::Corrupt(Corrupt::AtRest(rot)) => {
                let kind = DiskFaultKind::BitRot { bits: rot.bits };
                Fault::Disk { on, kind, path: rot.path.clone(), device: rot.device.clone(), often: Often::Always }
            }
            Action::Disk(disk) => {
                let (path, device) = (disk.path.clone(), disk.device.clone());
                Fault::Disk { on, kind: disk.kind, path, device, often: disk.often }
            }
            Action::Limit(limit) => match (limit.open_files, limit.memory) {
                (Some(limit), _) => Fault::OpenFiles { on, limit },
                (None, bytes) => Fault::Memory { on, bytes: bytes?, kill: limit.kill },
            },
            Action::Gc(gc) => Fault::Gc { on, collector: gc.collector },
            Action::RestoreDisk(_) | Action::Restart(_) | Action::Resume(_) | Action::Heal(_) => return None,
            Action::Listen(listen) => Fault::Listen { on, listening: listen.answer },
            Action::Cut(_) | Action::Slow(Slow::Link(_)) | Action::Drop(_) | Action::Split(_) => return None,
            Action::Corrupt(Corrupt::InTransit(_)) | Action::Connection(_) => return None,
        })
    }

    /// What it does to the links from one place to another; `None` for what concerns no links.
    pub fn fault_over(&self, from: &str, to: &str, both: bool) -> Option<Fault> {
        let (from, to) = (Place::host(from), Place::host(to));
        match self {
            Action::Cut(cut) => Some(Fault::Cut { from, to, both, state: cut.state }),
            Action::Slow(Slow::Link(harm))
            | Action::Drop(harm)
            | Action::Split(harm)
            | Action::Corrupt(Corrupt::InTransit(harm)) => Some(Fault::Link { from, to, both, change: harm.change }),
            _ => None,
        }
    }

    /// What it does to the connections from one host to another; `None` for what concerns no connections.
    pub fn fault_between(&self, from: Option<&str>, to: Option<&str>) -> Option<Fault> {
        let Action::Connection(harm) = self else { return None };
        let (from, to) = (from.map(Place::host), to.map(Place::host));
        Some(Fault::Connection { from, to, role: harm.role.clone(), new: harm.strikes_new(), what: harm.what })
    }

    /// A fault of its kind, on hosts that need not exist.
    pub fn fault(&self) -> Option<Fault> {
        let on_links = self.link().and_then(|link| self.fault_over("a", "b", link.both));
        on_links.or_else(|| self.fault_between(Some("a"), None)).or_else(|| self.fault_on("a"))
    }

    /// The lines of [`klamm_sim::FAULTS`] that it stands for: the fault's own, and the group's that it strikes at once.
    pub fn fault_names(&self) -> Vec<&'static str> {
        let Some(fault) = self.fault() else { return Vec::new() };
        let groups = self.targets().into_iter().filter_map(Target::group);
        std::iter::once(fault.name()).chain(groups).collect()
    }
}

fn skewed(how: SkewKind, on: Place) -> Fault {
    match how {
        SkewKind::By(offset_ms) => Fault::Skew { on, offset_ms },
        SkewKind::Jump(by_ms) => Fault::Jump { on, by_ms },
        SkewKind::Drift(ppm) => Fault::Drift { on, ppm },
        SkewKind::Timers(ppm) => Fault::TimerDrift { on, ppm },
        SkewKind::Leap(leap) => Fault::Leap { on, leap },
    }
}

impl Target {
    /// The line of [`klamm_sim::FAULTS`] for the group that it is, if it is one.
    pub fn group(&self) -> Option<&'static str> {
        match self {
            Target::Rack(_) => Some("rack"),
            Target::DataCentre(_) => Some("data-centre"),
            Target::Replicas(_) => Some("replicas"),
            _ => None,
        }
    }
}
