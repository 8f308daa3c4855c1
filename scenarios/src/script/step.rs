//! Steps: when, what, whom, for how long.

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
    /// The process dies and its disk is emptied.
    Wipe(Target),
    /// The process starts again.
    Restart(Target),
    /// The process is asked to stop, flushes and ends.
    Stop(Target),
    /// A GC pause: time passes, nothing runs, bytes pile up.
    Pause(Target),
    /// The end of a pause.
    Resume(Target),
    /// Links go silent.
    Cut(Cut),
    /// All links of these hosts work again, at their usual latency.
    Heal(Target),
    /// Links become slow.
    Slow(Slow),
    /// Wall clocks jump to an offset.
    Skew(Skew),
}

impl Action {
    /// Every verb, as scripts write it.
    pub const VERBS: [&'static str; 11] =
        ["crash", "power-off", "wipe", "restart", "stop", "pause", "resume", "cut", "heal", "slow", "skew"];

    /// The verb of this action.
    pub fn verb(&self) -> &'static str {
        match self {
            Action::Crash(_) => "crash",
            Action::PowerOff(_) => "power-off",
            Action::Wipe(_) => "wipe",
            Action::Restart(_) => "restart",
            Action::Stop(_) => "stop",
            Action::Pause(_) => "pause",
            Action::Resume(_) => "resume",
            Action::Cut(_) => "cut",
            Action::Heal(_) => "heal",
            Action::Slow(_) => "slow",
            Action::Skew(_) => "skew",
        }
    }

    /// The targets that it names: one, or the two ends of a link.
    pub fn targets(&self) -> Vec<&Target> {
        match self {
            Action::Crash(target)
            | Action::PowerOff(target)
            | Action::Wipe(target)
            | Action::Restart(target)
            | Action::Stop(target)
            | Action::Pause(target)
            | Action::Resume(target)
            | Action::Heal(target) => vec![target],
            Action::Skew(skew) => vec![&skew.target],
            Action::Cut(cut) => vec![&cut.link.from, &cut.link.to],
            Action::Slow(slow) => vec![&slow.link.from, &slow.link.to],
        }
    }

    /// True for what harms; restart, resume and heal only mend.
    pub fn is_fault(&self) -> bool {
        !matches!(self, Action::Restart(_) | Action::Resume(_) | Action::Heal(_))
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = self.verb();
        match self {
            Action::Cut(cut) => write!(f, "{verb} {}", cut.link),
            Action::Slow(slow) => write!(f, "{verb} {} to {}..{}", slow.link, slow.min, slow.max),
            Action::Skew(skew) => write!(f, "{verb} {} by {} ms", skew.target, skew.by_ms),
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

    fn write_into<M: serde::ser::SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        let keys = if self.both { ["between", "and"] } else { ["from", "to"] };
        map.serialize_entry(keys[0], &self.from)?;
        map.serialize_entry(keys[1], &self.to)
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.from, if self.both { "<->" } else { "->" }, self.to)
    }
}

/// Silent links: `{ between, and }` or `{ from, to }`.
#[derive(Clone, Debug, PartialEq)]
pub struct Cut {
    /// Which links.
    pub link: Link,
    /// `hold = true`: bytes wait in the network and arrive after the heal, rather than being lost and sent anew.
    pub hold: bool,
}

impl Serialize for Cut {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let mut map = serializer.serialize_map(None)?;
        self.link.write_into(&mut map)?;
        if self.hold {
            map.serialize_entry("hold", &true)?;
        }
        map.end()
    }
}

/// Slow links: `{ between, and, min, max }` or `{ from, to, min, max }`.
#[derive(Clone, Debug, PartialEq)]
pub struct Slow {
    /// Which links.
    pub link: Link,
    /// Least one-way latency.
    pub min: Span,
    /// Most one-way latency.
    pub max: Span,
}

impl Serialize for Slow {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let mut map = serializer.serialize_map(None)?;
        self.link.write_into(&mut map)?;
        map.serialize_entry("min", &self.min)?;
        map.serialize_entry("max", &self.max)?;
        map.end()
    }
}

/// A wall clock that jumps: `{ target, by }`.
#[derive(Clone, Debug, PartialEq)]
pub struct Skew {
    /// Whose clock.
    pub target: Target,
    /// Offset from the true time in milliseconds, of either sign.
    pub by_ms: i64,
}

impl Serialize for Skew {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let sign = if self.by_ms < 0 { "-" } else { "" };
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("target", &self.target)?;
        map.serialize_entry("by", &format!("{sign}{}", Span::ms(self.by_ms.unsigned_abs())))?;
        map.end()
    }
}
