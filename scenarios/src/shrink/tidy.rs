//! What must follow from an edit: whatever names something that is gone goes too.

use crate::script::{Script, Step, Target, Trigger};
use std::collections::BTreeSet;

/// Takes out of a script what names something that is no longer there, what can never strike, and names that nobody uses. The
/// script that is left reads back as it is written.
pub fn tidy(mut script: Script) -> Script {
    loop {
        let before = (script.steps.len(), script.producers.len(), script.consumers.len());
        tidy_cluster(&mut script);
        tidy_clients(&mut script);
        tidy_steps(&mut script);
        if before == (script.steps.len(), script.producers.len(), script.consumers.len()) {
            return script;
        }
    }
}

fn tidy_cluster(script: &mut Script) {
    let brokers = script.cluster.brokers;
    script.topics.iter_mut().for_each(|topic| topic.replication = topic.replication.min(brokers));
    let hosts = script.host_names();
    let cluster = &mut script.cluster;
    cluster.host.retain(|name, config| hosts.contains(name) && !config.is_empty());
    cluster.rack.values_mut().for_each(|members| members.retain(|member| hosts.contains(member)));
    cluster.rack.retain(|_, members| !members.is_empty());
    let racks: BTreeSet<String> = cluster.rack.keys().cloned().collect();
    cluster.data_centre.values_mut().for_each(|members| members.retain(|member| racks.contains(member)));
    cluster.data_centre.retain(|_, members| !members.is_empty());
}

fn tidy_clients(script: &mut Script) {
    let topics = script.topics.iter().map(|topic| topic.name.clone());
    let known: BTreeSet<String> = topics.chain(script.partitions().iter().map(ToString::to_string)).collect();
    script.producers.iter_mut().for_each(|producer| producer.topics.retain(|place| known.contains(place)));
    script.consumers.iter_mut().for_each(|consumer| consumer.topics.retain(|place| known.contains(place)));
    script.producers.retain(|producer| !producer.topics.is_empty());
    script.consumers.retain(|consumer| !consumer.topics.is_empty());
}

fn tidy_steps(script: &mut Script) {
    let mut steps = std::mem::take(&mut script.steps);
    let names: BTreeSet<String> = steps.iter().filter_map(|step| step.name.clone()).collect();
    steps.retain(|step| stands(script, &names, step));
    let used: BTreeSet<String> = steps.iter().flat_map(names_of).collect();
    for step in &mut steps {
        step.name.take_if(|name| !used.contains(name.as_str()));
    }
    script.steps = steps;
}

/// The steps that a step names.
fn names_of(step: &Step) -> Vec<String> {
    let struck = step.action.targets().into_iter().filter_map(|target| match target {
        Target::Struck(name) => Some(name.clone()),
        _ => None,
    });
    let awaited = match &step.when {
        Some(Trigger::Step { name }) => Some(name.clone()),
        _ => None,
    };
    struck.chain(awaited).collect()
}

/// True if the step can strike, and everything that it names is there.
fn stands(script: &Script, names: &BTreeSet<String>, step: &Step) -> bool {
    let in_time = step.at.is_none_or(|at| at <= script.duration);
    let targets = step.action.targets().into_iter().all(|target| is_there(script, names, target));
    in_time && targets && step.when.as_ref().is_none_or(|trigger| can_be_met(script, names, trigger))
}

fn is_there(script: &Script, names: &BTreeSet<String>, target: &Target) -> bool {
    match target {
        Target::Broker(n) => *n <= script.cluster.brokers,
        Target::ControllerHost(n) => *n <= script.cluster.controllers,
        Target::Producer(name) => script.producers.iter().any(|producer| producer.name == *name),
        Target::Consumer(name) => script.consumers.iter().any(|consumer| consumer.name == *name),
        Target::Struck(name) => names.contains(name),
        Target::Rack(name) => script.racks().contains(name),
        Target::DataCentre(name) => script.data_centres().contains(name),
        _ => target.partition().is_none_or(|partition| script.partitions().contains(partition)),
    }
}

fn can_be_met(script: &Script, names: &BTreeSet<String>, trigger: &Trigger) -> bool {
    let named = match trigger {
        Trigger::Step { name } => names.contains(name),
        Trigger::Ack { producer: Some(name), .. } => script.producers.iter().any(|producer| producer.name == *name),
        _ => trigger.partition().is_none_or(|partition| script.partitions().contains(partition)),
    };
    named && trigger.brokers().into_iter().all(|broker| broker <= script.cluster.brokers)
}
