//! Steps: when, what, whom, for how long.

use super::verbs::{ConnectionHarm, Corrupt, Cut, DiskHarm, Fill, Gc, Limit, LinkHarm, Listen, Lose, Skew, Slow, Stop};
use super::{Span, Target, Trigger};
use serde::Serialize;
use std::fmt;

/// One step. It is armed at `at` (the run's start if it has none), fires when its trigger holds (at once if it has none),
/// strikes `after` later, and ends by itself `for` after that. If its target resolves to nobody it waits until it does.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Step {
    /// A name that other steps may refer to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// When it is armed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Span>,
    /// What it waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<Trigger>,
    /// How long after that it strikes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Span>,
    /// What it does.
    #[serde(flatten)]
    pub action: Action,
    /// How long its effect lasts; without it the effect lasts until another step or the end of the run.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub lasts: Option<Span>,
    /// The hosts it takes down stay down, even after the last heal.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub forever: bool,
}

impl Step {
    /// A step with an action alone; it strikes at once.
    pub fn new(action: Action) -> Self {
        Self { name: None, at: None, when: None, after: None, action, lasts: None, forever: false }
    }

    /// The same, armed at an instant.
    pub fn at(mut self, at: Span) -> Self {
        self.at = Some(at);
        self
    }

    /// The same, waiting for a trigger.
    pub fn when(mut self, trigger: Trigger) -> Self {
        self.when = Some(trigger);
        self
    }

    /// The same, striking that much later.
    pub fn after(mut self, after: Span) -> Self {
        self.after = Some(after);
        self
    }

    /// The same, ending by itself.
    pub fn lasting(mut self, lasts: Span) -> Self {
        self.lasts = Some(lasts);
        self
    }

    /// The same, with a name.
    pub fn named(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }
}

/// What a step does to the world.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// The process dies at once; its machine, page cache and disk stay.
    Crash(Target),
    /// The machine loses power: silence, and what was not synced is at risk.
    PowerOff(Target),
    /// The machine is gone, perhaps with its disk.
    Lose(Lose),
    /// The process dies and its disk is emptied.
    Wipe(Target),
    /// Disks work again: every disk fault of these hosts is over, and a device that was removed is back. Damage stays.
    RestoreDisk(Target),
    /// The process starts again.
    Restart(Target),
    /// The process is asked to stop, flushes and ends; in the end it is killed.
    Stop(Stop),
    /// A GC pause: time passes, nothing runs, bytes pile up.
    Pause(Target),
    /// The end of a pause.
    Resume(Target),
    /// Links go silent.
    Cut(Cut),
    /// All links of these hosts work again, at their usual latency.
    Heal(Target),
    /// Links or processors become slow.
    Slow(Slow),
    /// Links lose segments.
    Drop(LinkHarm),
    /// Links give and take bytes in small parts.
    Split(LinkHarm),
    /// Something goes wrong with single connections.
    Connection(ConnectionHarm),
    /// Connects are not answered as they should be.
    Listen(Listen),
    /// Clocks go wrong.
    Skew(Skew),
    /// Disks are full.
    Fill(Fill),
    /// Bytes change where they lie, or on their way.
    Corrupt(Corrupt),
    /// A disk misbehaves.
    Disk(DiskHarm),
    /// A process may hold only so much.
    Limit(Limit),
    /// A garbage collector pauses processes now and then.
    Gc(Gc),
}

impl Action {
    /// Every verb, as scripts write it.
    pub const VERBS: [&'static str; 22] = [
        "crash",
        "power-off",
        "lose",
        "wipe",
        "restore-disk",
        "restart",
        "stop",
        "pause",
        "resume",
        "cut",
        "heal",
        "slow",
        "drop",
        "split",
        "connection",
        "listen",
        "skew",
        "fill",
        "corrupt",
        "disk",
        "limit",
        "gc",
    ];

    /// The verb of this action.
    pub fn verb(&self) -> &'static str {
        match self {
            Action::Crash(_) => "crash",
            Action::PowerOff(_) => "power-off",
            Action::Lose(_) => "lose",
            Action::Wipe(_) => "wipe",
            Action::RestoreDisk(_) => "restore-disk",
            Action::Restart(_) => "restart",
            Action::Stop(_) => "stop",
            Action::Pause(_) => "pause",
            Action::Resume(_) => "resume",
            Action::Cut(_) => "cut",
            Action::Heal(_) => "heal",
            Action::Slow(_) => "slow",
            Action::Drop(_) => "drop",
            Action::Split(_) => "split",
            Action::Connection(_) => "connection",
            Action::Listen(_) => "listen",
            Action::Skew(_) => "skew",
            Action::Fill(_) => "fill",
            Action::Corrupt(_) => "corrupt",
            Action::Disk(_) => "disk",
            Action::Limit(_) => "limit",
            Action::Gc(_) => "gc",
        }
    }

    /// The targets that it names: one, or the two ends of a link.
    pub fn targets(&self) -> Vec<&Target> {
        if let Some(link) = self.link() {
            return vec![&link.from, &link.to];
        }
        match self {
            Action::Crash(target)
            | Action::PowerOff(target)
            | Action::Wipe(target)
            | Action::RestoreDisk(target)
            | Action::Restart(target)
            | Action::Pause(target)
            | Action::Resume(target)
            | Action::Heal(target) => vec![target],
            Action::Lose(lose) => vec![&lose.target],
            Action::Stop(stop) => vec![&stop.target],
            Action::Skew(skew) => vec![&skew.target],
            Action::Fill(fill) => vec![&fill.target],
            Action::Disk(disk) => vec![&disk.target],
            Action::Limit(limit) => vec![&limit.target],
            Action::Gc(gc) => vec![&gc.target],
            Action::Slow(Slow::Cpu(cpu)) => vec![&cpu.cpu],
            Action::Corrupt(Corrupt::AtRest(rot)) => vec![&rot.target],
            Action::Listen(listen) => vec![&listen.target],
            Action::Connection(harm) => harm.from.iter().chain(&harm.to).collect(),
            Action::Cut(_)
            | Action::Slow(Slow::Link(_))
            | Action::Drop(_)
            | Action::Split(_)
            | Action::Corrupt(Corrupt::InTransit(_)) => unreachable!("has a link"),
        }
    }

    /// The same, to be changed.
    pub fn targets_mut(&mut self) -> Vec<&mut Target> {
        match self {
            Action::Cut(Cut { link, .. })
            | Action::Slow(Slow::Link(LinkHarm { link, .. }))
            | Action::Drop(LinkHarm { link, .. })
            | Action::Split(LinkHarm { link, .. })
            | Action::Corrupt(Corrupt::InTransit(LinkHarm { link, .. })) => vec![&mut link.from, &mut link.to],
            Action::Crash(target)
            | Action::PowerOff(target)
            | Action::Wipe(target)
            | Action::RestoreDisk(target)
            | Action::Restart(target)
            | Action::Pause(target)
            | Action::Resume(target)
            | Action::Heal(target) => vec![target],
            Action::Lose(lose) => vec![&mut lose.target],
            Action::Stop(stop) => vec![&mut stop.target],
            Action::Skew(skew) => vec![&mut skew.target],
            Action::Fill(fill) => vec![&mut fill.target],
            Action::Disk(disk) => vec![&mut disk.target],
            Action::Limit(limit) => vec![&mut limit.target],
            Action::Gc(gc) => vec![&mut gc.target],
            Action::Slow(Slow::Cpu(cpu)) => vec![&mut cpu.cpu],
            Action::Corrupt(Corrupt::AtRest(rot)) => vec![&mut rot.target],
            Action::Listen(listen) => vec![&mut listen.target],
            Action::Connection(harm) => harm.from.iter_mut().chain(&mut harm.to).collect(),
        }
    }

    /// The links that it concerns, if it concerns links.
    pub fn link(&self) -> Option<&Link> {
        match self {
            Action::Cut(cut) => Some(&cut.link),
            Action::Slow(Slow::Link(harm))
            | Action::Drop(harm)
            | Action::Split(harm)
            | Action::Corrupt(Corrupt::InTransit(harm)) => Some(&harm.link),
            _ => None,
        }
    }

    /// True for what harms; restart, resume, heal and restore-disk only mend.
    pub fn is_fault(&self) -> bool {
        !matches!(self, Action::Restart(_) | Action::Resume(_) | Action::Heal(_) | Action::RestoreDisk(_))
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = self.verb();
        match self {
            Action::Cut(cut) => write!(f, "{verb} {}", cut.link),
            Action::Slow(Slow::Link(harm))
            | Action::Drop(harm)
            | Action::Split(harm)
            | Action::Corrupt(Corrupt::InTransit(harm)) => write!(f, "{verb} {harm}"),
            Action::Connection(harm) => write!(f, "{verb} {harm}"),
            Action::Slow(Slow::Cpu(slow)) => write!(f, "{verb} {} to {}..{} a step", slow.cpu, slow.min, slow.max),
            Action::Skew(skew) => write!(f, "{verb} {} {}", skew.target, skew.how),
            Action::Disk(disk) => write!(f, "{verb} {} {}", disk.target, disk.kind.name()),
            _ => write!(f, "{verb} {}", self.targets()[0]),
        }
    }
}

/// The directed links from every host of one target to every host of another; both ways if `both`.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// Where bytes leave.
    pub from: Target,
    /// Where they arrive.
    pub to: Target,
    /// The other direction too.
    pub both: bool,
}

impl Link {
    /// Both directions.
    pub fn between(a: Target, b: Target) -> Self {
        Self { from: a, to: b, both: true }
    }

    /// One direction.
    pub fn one_way(from: Target, to: Target) -> Self {
        Self { from, to, both: false }
    }
}

impl Link {
    pub(super) fn write_into<M: serde::ser::SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        let keys = if self.both { ["between", "and"] } else { ["from", "to"] };
        map.serialize_entry(keys[0], &self.from)?;
        map.serialize_entry(keys[1], &self.to)
    }
}

impl Serialize for Link {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let mut map = serializer.serialize_map(Some(2))?;
        self.write_into(&mut map)?;
        map.end()
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.from, if self.both { "<->" } else { "->" }, self.to)
    }
}
