//! Lowering of steps: one verb each, and everything that a step names must exist.

use super::error::{ScriptError, Source};
use super::lower::{did_you_mean, duration, host_names};
use super::lower_verb::{self, Fields};
use super::raw::{RawStep, RawVerb, Text};
use super::{Action, Partition, Script, Step, Target, Trigger};
use std::collections::BTreeSet;
use toml::Spanned;

type Lowered<T> = Result<T, Box<ScriptError>>;

/// What a step may name.
pub(super) struct Known<'a> {
    pub source: &'a Source<'a>,
    pub script: &'a Script,
    steps: &'a BTreeSet<String>,
}

/// Lowers one step of `script`, whose cluster, topics and clients stand already; `steps` are the names of all steps.
pub(super) fn step(source: &Source, script: &Script, steps: &BTreeSet<String>, raw: Spanned<RawStep>) -> Lowered<Step> {
    let known = Known { source, script, steps };
    let whole = raw.span();
    let mut raw = raw.into_inner();
    let action = known.action(whole.clone(), &mut raw)?;
    let time = |key: &str, value: Option<super::raw::Any>| value.map(|v| duration(source, key, &v)).transpose();
    let late = raw.at.as_ref().map(Spanned::span);
    let at = time("at", raw.at)?;
    if let (Some(at), Some(span)) = (at, late)
        && at > script.duration
    {
        return Err(source.error(span, format!("`at` {at} lies beyond the run's duration {}", script.duration), None));
    }
    if at.is_none() && raw.when.is_none() {
        return Err(source.error(whole, "a step needs `at`, `when` or both", None));
    }
    if let Some(lasts) = &raw.lasts
        && !can_last(&action)
    {
        return Err(source.error(
            lasts.span(),
            format!("`{}` does not end by itself: `for` has no meaning here", action.verb()),
            None,
        ));
    }
    Ok(Step {
        name: raw.name.map(Spanned::into_inner),
        at,
        when: raw.when.map(|text| known.trigger(&text)).transpose()?,
        after: time("after", raw.after)?,
        action,
        lasts: time("for", raw.lasts)?,
        forever: raw.forever,
    })
}

fn can_last(action: &Action) -> bool {
    action.is_fault()
}

impl Known<'_> {
    fn action(&self, whole: std::ops::Range<usize>, raw: &mut RawStep) -> Lowered<Action> {
        let mut found: Vec<(&str, Spanned<RawVerb>)> =
            verbs(raw).into_iter().filter_map(|(v, raw)| Some((v, raw.take()?))).collect();
        match found.len() {
            1 => {
                let (verb, raw) = found.remove(0);
                lower_verb::action(self, Fields::new(self, verb, raw))
            }
            0 => Err(self.source.error(whole, format!("a step needs a verb: {}", Action::VERBS.join(", ")), None)),
            _ => {
                Err(self.source.error(found[1].1.span(), "a step has one verb; write a second step for this one", None))
            }
        }
    }

    pub(super) fn target(&self, text: &Text) -> Lowered<Target> {
        let target = match text.get_ref().parse::<Target>() {
            Ok(target) => target,
            Err(reason) => return self.client(text.get_ref()).ok_or_else(|| self.no_target(text, reason)),
        };
        match self.missing(&target) {
            None => Ok(target),
            Some((what, help)) => Err(self.source.error(text.span(), what, help)),
        }
    }

    /// A word that is no target: perhaps a client's or a host's name was meant.
    fn no_target(&self, text: &Text, reason: String) -> Box<ScriptError> {
        let help = (!reason.contains("did you mean"))
            .then(|| did_you_mean(text.get_ref(), self.names().iter().map(String::as_str)));
        self.source.error(text.span(), reason, help.flatten())
    }

    fn names(&self) -> Vec<String> {
        self.script.host_names()
    }

    /// A client by its bare name.
    fn client(&self, name: &str) -> Option<Target> {
        let producer = self.script.producers.iter().any(|p| p.name == name).then(|| Target::Producer(name.to_owned()));
        producer
            .or_else(|| self.script.consumers.iter().any(|c| c.name == name).then(|| Target::Consumer(name.to_owned())))
    }

    /// What a well-formed target names that does not exist, with the nearest that does.
    fn missing(&self, target: &Target) -> Option<(String, Option<String>)> {
        let cluster = &self.script.cluster;
        let absent = |what: &str, name: &str, known: Vec<String>| {
            (!known.iter().any(|k| k == name)).then(|| {
                let near = did_you_mean(name, known.iter().map(String::as_str));
                let help = near.or_else(|| (!known.is_empty()).then(|| format!("there are {}", known.join(", "))));
                (format!("there is no {what} `{name}`"), help)
            })
        };
        match target {
            Target::Broker(n) => absent("host", &format!("b{n}"), host_names(cluster.brokers, 0)),
            Target::ControllerHost(n) => absent("host", &format!("c{n}"), host_names(0, cluster.controllers)),
            Target::Producer(name) => {
                absent("producer", name, self.script.producers.iter().map(|p| p.name.clone()).collect())
            }
            Target::Consumer(name) => {
                absent("consumer", name, self.script.consumers.iter().map(|c| c.name.clone()).collect())
            }
            Target::Struck(name) => absent("step", name, self.steps.iter().cloned().collect()),
            Target::Rack(name) => absent("rack", name, self.script.racks()),
            Target::DataCentre(name) => absent("data centre", name, self.script.data_centres()),
            _ => target.partition().and_then(|p| self.missing_partition(p)),
        }
    }

    fn missing_partition(&self, partition: &Partition) -> Option<(String, Option<String>)> {
        let known: Vec<String> = self.script.partitions().iter().map(ToString::to_string).collect();
        let name = partition.to_string();
        (!known.contains(&name))
            .then(|| (format!("there is no partition `{name}`"), did_you_mean(&name, known.iter().map(String::as_str))))
    }

    fn trigger(&self, text: &Text) -> Lowered<Trigger> {
        let fail = |what: String, help: Option<String>| Err(self.source.error(text.span(), what, help));
        let trigger = match text.get_ref().parse::<Trigger>() {
            Ok(trigger) => trigger,
            Err(reason) => return fail(format!("`when` cannot be `{}`: {reason}", text.get_ref()), None),
        };
        let named = match &trigger {
            Trigger::Step { name } => self.missing(&Target::Struck(name.clone())),
            Trigger::Ack { producer: Some(name), .. } => self.missing(&Target::Producer(name.clone())),
            _ => trigger.partition().and_then(|p| self.missing_partition(p)),
        };
        let broker = trigger.brokers().into_iter().find_map(|n| self.missing(&Target::Broker(n)));
        match named.or(broker) {
            Some((what, help)) => fail(what, help),
            None => Ok(trigger),
        }
    }
}

/// Every verb's place in the raw step.
fn verbs(raw: &mut RawStep) -> [(&'static str, &mut Option<Spanned<RawVerb>>); Action::VERBS.len()] {
    [
        ("crash", &mut raw.crash),
        ("power-off", &mut raw.power_off),
        ("lose", &mut raw.lose),
        ("wipe", &mut raw.wipe),
        ("restore-disk", &mut raw.restore_disk),
        ("restart", &mut raw.restart),
        ("stop", &mut raw.stop),
        ("pause", &mut raw.pause),
        ("resume", &mut raw.resume),
        ("cut", &mut raw.cut),
        ("heal", &mut raw.heal),
        ("slow", &mut raw.slow),
        ("drop", &mut raw.drop),
        ("split", &mut raw.split),
        ("connection", &mut raw.connection),
        ("listen", &mut raw.listen),
        ("skew", &mut raw.skew),
        ("fill", &mut raw.fill),
        ("corrupt", &mut raw.corrupt),
        ("disk", &mut raw.disk),
        ("limit", &mut raw.limit),
        ("gc", &mut raw.gc),
    ]
}
