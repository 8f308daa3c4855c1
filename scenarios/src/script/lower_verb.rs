//! Lowering of verbs: what stands behind each, within its bounds.

use super::error::{ScriptError, Source};
use super::lower::{did_you_mean, duration, share, whole, word};
use super::lower_step::Known;
use super::raw::{Any, RawVerb, Text};
use super::verbs::{
    ConnectionHarm, Corrupt, Cut, DiskHarm, Fill, Gc, Limit, LinkHarm, Listen, Lose, Rot, Share, Skew, SkewKind, Slow,
    SlowCpu, Stop,
};
use super::{Action, Link, Span, Target, latency};
use klamm_base::nearest;
use klamm_sim::{
    Collector, ConnectionFault, DISK_FAULTS, DiskFate, DiskFaultKind, Latency, Leap, LinkChange, LinkState, Listening,
    Often,
};
use std::ops::{Range, RangeInclusive};
use toml::{Spanned, Value};

/// What connections are for, as the stack says when it makes them.
pub(crate) const ROLES: [&str; 8] =
    ["admin", "alter-partition", "consumer", "fetch", "forward", "heartbeat", "metadata", "producer"];

type Lowered<T> = Result<T, Box<ScriptError>>;

/// What stands behind a verb; each lowering takes its keys out, and what is left is a mistake.
pub(super) struct Fields<'a> {
    known: &'a Known<'a>,
    verb: &'static str,
    whole: Range<usize>,
    /// The target, where it stands alone.
    alone: Option<Text>,
    left: Vec<(Text, Any)>,
    /// Every key that was asked for.
    asked: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    pub fn new(known: &'a Known<'a>, verb: &'static str, raw: Spanned<RawVerb>) -> Self {
        let whole = raw.span();
        let (alone, left) = match raw.into_inner() {
            RawVerb::Target(text) => (Some(Spanned::new(whole.clone(), text)), Vec::new()),
            RawVerb::Table(left) => (None, left),
        };
        Self { known, verb, whole, alone, left, asked: Vec::new() }
    }

    fn source(&self) -> &'a Source<'a> {
        self.known.source
    }

    fn error(&self, at: Range<usize>, message: String) -> Box<ScriptError> {
        self.source().error(at, message, None)
    }

    fn take(&mut self, key: &'static str) -> Option<Any> {
        self.asked.push(key);
        let place = self.left.iter().position(|(name, _)| name.get_ref() == key)?;
        Some(self.left.remove(place).1)
    }

    /// A text, with its place.
    fn text(&mut self, key: &'static str) -> Lowered<Option<Text>> {
        let Some(value) = self.take(key) else { return Ok(None) };
        match value.get_ref() {
            Value::String(text) => Ok(Some(Spanned::new(value.span(), text.clone()))),
            other => Err(self.error(value.span(), format!("`{key}` cannot be {other}: a text in quotes is wanted"))),
        }
    }

    fn words(&mut self, key: &'static str) -> Lowered<Option<String>> {
        Ok(self.text(key)?.map(Spanned::into_inner))
    }

    fn duration(&mut self, key: &'static str) -> Lowered<Option<Spanned<Span>>> {
        let source = self.source();
        self.take(key)
            .map(|value| duration(source, key, &value).map(|span| Spanned::new(value.span(), span)))
            .transpose()
    }

    fn number(&mut self, key: &'static str, bounds: RangeInclusive<i64>) -> Lowered<Option<i64>> {
        let source = self.source();
        self.take(key).map(|value| whole(source, key, &value, bounds)).transpose()
    }

    fn flag(&mut self, key: &'static str) -> Lowered<bool> {
        match self.take(key) {
            None => Ok(false),
            Some(value) => match value.get_ref() {
                Value::Boolean(flag) => Ok(*flag),
                other => Err(self.error(value.span(), format!("`{key}` cannot be {other}: true or false is wanted"))),
            },
        }
    }

    /// A number with decimals, above `least` or at it, up to `most`.
    fn decimal(&mut self, key: &'static str, bounds: RangeInclusive<f64>, wanted: &str) -> Lowered<Option<f64>> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let number = match value.get_ref() {
            Value::Float(number) => Some(*number),
            Value::Integer(number) => Some(*number as f64),
            _ => None,
        };
        match number.filter(|number| bounds.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => {
                let shown = value.get_ref();
                Err(self.error(value.span(), format!("`{key}` cannot be {shown}: {wanted} is wanted")))
            }
        }
    }

    /// A share of one, to a part in a million; never nothing.
    fn share(&mut self, key: &'static str) -> Lowered<Option<Share>> {
        let source = self.source();
        self.take(key).map(|value| share(source, key, &value)).transpose()
    }

    /// A duration of either sign, in milliseconds.
    fn signed_ms(&mut self, key: &'static str) -> Lowered<Option<i64>> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        let (sign, rest) = match text.get_ref().strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, text.get_ref().as_str()),
        };
        let span: Span = rest.parse().map_err(|reason: String| {
            self.error(text.span(), format!("`{key}` cannot be `{}`: {reason}", text.get_ref()))
        })?;
        Ok(Some(sign * span.as_ms() as i64))
    }

    /// One of some words.
    fn word<T: Copy>(&mut self, key: &'static str, words: &[(&'static str, T)]) -> Lowered<Option<T>> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        word(self.source(), key, &text, words).map(Some)
    }

    fn need<T>(&self, value: Option<T>, keys: &str) -> Lowered<T> {
        value.ok_or_else(|| self.error(self.whole.clone(), format!("`{}` needs {keys}", self.verb)))
    }

    /// The target: it stands alone, or under `target`.
    fn target(&mut self) -> Lowered<Target> {
        let target = match self.alone.take() {
            Some(alone) => Some(alone),
            None => self.text("target")?,
        };
        let target = self.need(target, "a `target`")?;
        self.known.target(&target)
    }

    fn link(&mut self) -> Lowered<Link> {
        let ends = [self.text("between")?, self.text("and")?, self.text("from")?, self.text("to")?];
        match &ends {
            [Some(a), Some(b), None, None] => Ok(Link::between(self.known.target(a)?, self.known.target(b)?)),
            [None, None, Some(a), Some(b)] => Ok(Link::one_way(self.known.target(a)?, self.known.target(b)?)),
            _ => {
                let forms =
                    "`{ between = \"A\", and = \"B\" }` for both directions or `{ from = \"A\", to = \"B\" }` for one";
                Err(self.error(self.whole.clone(), format!("a link needs its two ends: {forms}")))
            }
        }
    }

    /// That nothing is left over.
    fn end(self) -> Lowered<()> {
        if let Some(alone) = &self.alone {
            let keys = self.asked.join("`, `");
            return Err(self.error(alone.span(), format!("`{}` needs a table with `{keys}`", self.verb)));
        }
        let Some((key, _)) = self.left.first() else { return Ok(()) };
        let help = nearest(key.get_ref(), self.asked.iter().copied()).map(|near| format!("did you mean `{near}`?"));
        let message = format!("`{}` has no key `{}`", self.verb, key.get_ref());
        Err(self.source().error(key.span(), message, help))
    }
}

/// The action of a verb.
pub(super) fn action(known: &Known, mut fields: Fields) -> Lowered<Action> {
    let f = &mut fields;
    let action = match f.verb {
        "crash" => Action::Crash(f.target()?),
        "power-off" => Action::PowerOff(f.target()?),
        "lose" => lose(f)?,
        "wipe" => Action::Wipe(f.target()?),
        "restore-disk" => Action::RestoreDisk(f.target()?),
        "restart" => Action::Restart(f.target()?),
        "stop" => stop(f)?,
        "pause" => Action::Pause(f.target()?),
        "resume" => Action::Resume(f.target()?),
        "cut" => cut(f)?,
        "heal" => Action::Heal(f.target()?),
        "slow" => slow(f)?,
        "drop" => drop_segments(f)?,
        "split" => split(f)?,
        "connection" => connection(f)?,
        "listen" => listen(f)?,
        "skew" => skew(f)?,
        "fill" => fill(f)?,
        "corrupt" => corrupt(f)?,
        "disk" => disk(f)?,
        "limit" => limit(f)?,
        "gc" => gc(f)?,
        verb => unreachable!("{verb} is no verb of a raw step"),
    };
    let whole = fields.whole.clone();
    fields.end()?;
    // What no key alone can say: the world's own rules for the fault as a whole.
    match action.fault().map_or(Ok(()), |fault| fault.check()) {
        Ok(()) => Ok(action),
        Err(error) => Err(known.source.error(whole, format!("`{}`: {error}", action.verb()), None)),
    }
}

fn lose(f: &mut Fields) -> Lowered<Action> {
    let disk = f.word("disk", &[("returns", DiskFate::Returns), ("lost", DiskFate::Lost)])?;
    Ok(Action::Lose(Lose { target: f.target()?, disk: disk.unwrap_or(DiskFate::Returns) }))
}

fn stop(f: &mut Fields) -> Lowered<Action> {
    let within = f.duration("within")?.map_or(Stop::GRACE, Spanned::into_inner);
    Ok(Action::Stop(Stop { target: f.target()?, within }))
}

fn cut(f: &mut Fields) -> Lowered<Action> {
    let link = f.link()?;
    let state = match (f.flag("hold")?, f.flag("reset")?) {
        (false, false) => LinkState::BlackHole,
        (true, false) => LinkState::Stalled,
        (false, true) => LinkState::Reset,
        (true, true) => return Err(f.error(f.whole.clone(), "`hold` and `reset` exclude each other".to_owned())),
    };
    Ok(Action::Cut(Cut { link, state }))
}

/// The least and the most of something.
fn least_and_most(f: &mut Fields) -> Lowered<(Span, Span)> {
    let (min, max) = (f.duration("min")?, f.duration("max")?);
    let (min, max) = (
        f.need(min, "`min` and `max`, the least and the most")?,
        f.need(max, "`min` and `max`, the least and the most")?,
    );
    let (least, most) = (*min.get_ref(), *max.get_ref());
    if least > most {
        return Err(f.error(max.span(), format!("`max` {most} is less than `min` {least}")));
    }
    Ok((least, most))
}

fn slow(f: &mut Fields) -> Lowered<Action> {
    if let Some(cpu) = f.text("cpu")? {
        let cpu = f.known.target(&cpu)?;
        let (min, max) = least_and_most(f)?;
        return Ok(Action::Slow(Slow::Cpu(SlowCpu { cpu, min, max })));
    }
    let link = f.link()?;
    let change = if let Some(text) = f.text("latency")? {
        let read = latency::read(text.get_ref());
        LinkChange::Slow(
            read.map_err(|reason| f.error(text.span(), format!("`latency` cannot be `{}`: {reason}", text.get_ref())))?,
        )
    } else if let Some(jitter) = f.duration("jitter")? {
        LinkChange::Jitter { ns: jitter.into_inner().0 }
    } else if let Some(rate) = f.number("rate", 1..=i64::MAX)? {
        let queue_bytes = f.number("queue", 0..=i64::MAX)?.unwrap_or(0) as u64;
        LinkChange::Narrow { bytes_per_second: rate as u64, queue_bytes }
    } else {
        let (min, max) = least_and_most(f)?;
        LinkChange::Slow(Latency::between(min.0, max.0))
    };
    Ok(Action::Slow(Slow::Link(LinkHarm { link, change })))
}

fn drop_segments(f: &mut Fields) -> Lowered<Action> {
    let (link, loss) = (f.link()?, f.share("loss")?);
    let ppm = f.need(loss, "a `loss`, the share of segments that vanish")?.0;
    Ok(Action::Drop(LinkHarm { link, change: LinkChange::Loss { ppm } }))
}

fn split(f: &mut Fields) -> Lowered<Action> {
    let (link, share) = (f.link()?, f.share("share")?);
    let ppm = f.need(share, "a `share` of reads and writes")?.0;
    Ok(Action::Split(LinkHarm { link, change: LinkChange::Partial { ppm } }))
}

fn connection(f: &mut Fields) -> Lowered<Action> {
    let (from, to) = (f.text("from")?, f.text("to")?);
    if from.is_none() && to.is_none() {
        return Err(f.error(f.whole.clone(), "`connection` needs `from` or `to`".to_owned()));
    }
    let from = from.map(|text| f.known.target(&text)).transpose()?;
    let to = to.map(|text| f.known.target(&text)).transpose()?;
    let role = match f.text("role")? {
        Some(role) => {
            word(f.source(), "role", &role, &ROLES.map(|role| (role, ())))?;
            Some(role.into_inner())
        }
        None => None,
    };
    let kinds = ["reset", "stall", "half-open", "slow-close", "corrupt", "delay"];
    let kind = f.word("fault", &kinds.map(|kind| (kind, kind)))?;
    let what = match f.need(kind, "a `fault`")? {
        "reset" => ConnectionFault::Reset,
        "stall" => ConnectionFault::Stall,
        "half-open" => ConnectionFault::HalfOpen,
        "corrupt" => {
            let share = f.share("share")?;
            ConnectionFault::Corrupt { ppm: f.need(share, "a `share` of segments")?.0 }
        }
        later => {
            let by = f.duration("by")?;
            let ns = f.need(by, "`by`, how much later")?.into_inner().0;
            if later == "delay" { ConnectionFault::Delay { ns } } else { ConnectionFault::SlowClose { ns } }
        }
    };
    Ok(Action::Connection(ConnectionHarm { from, to, role, what }))
}

fn listen(f: &mut Fields) -> Lowered<Action> {
    let target = f.target()?;
    let answer = f.word("answer", &[("refuse", Listening::Refuse), ("silent", Listening::Silent)])?;
    let answer = f.need(answer, "an `answer`")?;
    Ok(Action::Listen(Listen { target, answer }))
}

fn skew(f: &mut Fields) -> Lowered<Action> {
    let target = f.target()?;
    let ways = [
        f.signed_ms("by")?.map(SkewKind::By),
        f.signed_ms("jump")?.map(SkewKind::Jump),
        f.number("drift", i64::MIN..=i64::MAX)?.map(SkewKind::Drift),
        f.number("timers", i64::MIN..=i64::MAX)?.map(SkewKind::Timers),
        leap(f)?.map(SkewKind::Leap),
    ];
    let mut ways = ways.into_iter().flatten();
    let wanted = "one of `by`, `jump`, `drift`, `timers` and `leap`";
    match (ways.next(), ways.next()) {
        (Some(how), None) => Ok(Action::Skew(Skew { target, how })),
        _ => Err(f.error(f.whole.clone(), format!("`skew` needs {wanted}"))),
    }
}

/// `"repeated"`, or over how long the second is smeared.
fn leap(f: &mut Fields) -> Lowered<Option<Leap>> {
    let Some(text) = f.text("leap")? else { return Ok(None) };
    if text.get_ref() == "repeated" {
        return Ok(Some(Leap::Repeated));
    }
    let over: Result<Span, String> = text.get_ref().parse();
    over.map(|over| Some(Leap::Smeared { over_ns: over.0 })).map_err(|reason| {
        let wanted = "\"repeated\" or the length of a smear is wanted";
        f.error(text.span(), format!("`leap` cannot be `{}`: {wanted}; {reason}", text.get_ref()))
    })
}

fn fill(f: &mut Fields) -> Lowered<Action> {
    let full = f.share("full")?.unwrap_or(Share(1_000_000));
    let device = f.words("device")?;
    Ok(Action::Fill(Fill { target: f.target()?, full, device }))
}

fn corrupt(f: &mut Fields) -> Lowered<Action> {
    if let Some(share) = f.share("share")? {
        let change = LinkChange::Corrupt { ppm: share.0 };
        return Ok(Action::Corrupt(Corrupt::InTransit(LinkHarm { link: f.link()?, change })));
    }
    let bits = f.number("bits", 1..=1_000_000)?.unwrap_or(1) as u32;
    let (path, device) = (f.words("path")?.unwrap_or_default(), f.words("device")?);
    Ok(Action::Corrupt(Corrupt::AtRest(Rot { target: f.target()?, bits, path, device })))
}

fn disk(f: &mut Fields) -> Lowered<Action> {
    let target = f.target()?;
    let name = f.text("fault")?;
    let name = f.need(name, "a `fault`")?;
    let kind = disk_kind(f, &name)?;
    let nth = f.number("nth", 1..=i64::MAX)?;
    let probability = f.decimal("probability", 0.000_001..=1.0, "a probability from 0.000001 to 1")?;
    let often = match (nth, probability) {
        (None, None) => Often::Always,
        (Some(nth), None) => Often::Nth(nth as u64),
        (None, Some(probability)) => Often::Sometimes(probability),
        (Some(_), Some(_)) => {
            return Err(f.error(f.whole.clone(), "`nth` and `probability` exclude each other".to_owned()));
        }
    };
    let (path, device) = (f.words("path")?.unwrap_or_default(), f.words("device")?);
    Ok(Action::Disk(DiskHarm { target, kind, often, path, device }))
}

/// The disk fault of that name with what it needs.
fn disk_kind(f: &mut Fields, name: &Text) -> Lowered<DiskFaultKind> {
    Ok(match name.get_ref().as_str() {
        "read-error" => DiskFaultKind::ReadError,
        "write-error" => DiskFaultKind::WriteError,
        "sync-error" => DiskFaultKind::SyncError,
        "no-space" => DiskFaultKind::NoSpace { fill: f.share("fill")?.map_or(1.0, Share::of_one) },
        "short-write" => DiskFaultKind::ShortWrite,
        "bit-rot" => DiskFaultKind::BitRot { bits: f.number("bits", 1..=1_000_000)?.unwrap_or(1) as u32 },
        "misdirected-write" => DiskFaultKind::MisdirectedWrite,
        "misdirected-read" => DiskFaultKind::MisdirectedRead,
        "lying-sync" => DiskFaultKind::LyingSync,
        "stuck" => DiskFaultKind::Stuck,
        "slow" => {
            let factor = f.decimal("factor", 1.0..=1e9, "a number of at least 1")?;
            DiskFaultKind::Slow { factor: f.need(factor, "a `factor`")? }
        }
        "throttled" => {
            let rate = f.number("bytes-per-second", 1..=i64::MAX)?;
            DiskFaultKind::Throttled { bytes_per_second: f.need(rate, "`bytes-per-second`")? as u64 }
        }
        "removed" => DiskFaultKind::Removed,
        "wiped" => DiskFaultKind::Wiped,
        other => {
            let names: Vec<&str> = DISK_FAULTS.iter().map(|info| info.name).collect();
            let help =
                did_you_mean(other, names.iter().copied()).or_else(|| Some(format!("there are {}", names.join(", "))));
            return Err(f.source().error(name.span(), format!("there is no disk fault `{other}`"), help));
        }
    })
}

fn limit(f: &mut Fields) -> Lowered<Action> {
    let target = f.target()?;
    let open_files = f.number("open-files", 1..=i64::from(u32::MAX))?.map(|limit| limit as u32);
    let memory = f.number("memory", 1..=i64::MAX)?.map(|bytes| bytes as u64);
    let kill = f.flag("kill")?;
    match (open_files, memory) {
        (Some(_), None) | (None, Some(_)) => Ok(Action::Limit(Limit { target, open_files, memory, kill })),
        _ => Err(f.error(f.whole.clone(), "`limit` needs `open-files` or `memory`".to_owned())),
    }
}

fn gc(f: &mut Fields) -> Lowered<Action> {
    let collector = f.word("collector", &Collector::ALL)?;
    let collector = f.need(collector, "a `collector`")?;
    Ok(Action::Gc(Gc { target: f.target()?, collector }))
}
