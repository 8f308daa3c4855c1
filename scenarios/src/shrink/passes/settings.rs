//! How things are set: defaults, one setting after the other.

use super::edited;
use crate::script::{ClusterSpec, DiskSpec, Script};
use klamm_base::Properties;

/// Settings at their defaults: all of them, all of a place, each.
pub fn settings(script: &Script) -> Vec<Script> {
    let sets = configs(&mut script.clone()).len();
    let none = edited(script, |script| configs(script).into_iter().for_each(Properties::clear));
    let of_set = |index: usize| {
        let set = configs(&mut script.clone())[index].clone();
        let cleared = edited(script, |script| configs(script)[index].clear());
        let each = set.into_keys().map(move |key| edited(script, |script| drop(configs(script)[index].remove(&key))));
        std::iter::once(cleared).chain(each)
    };
    let sizes =
        (0..script.producers.len()).map(|index| edited(script, |script| script.producers[index].record_size = 100));
    std::iter::once(none).chain((0..sets).flat_map(of_set)).chain(sizes).collect()
}

/// Every table of settings in a script.
fn configs(script: &mut Script) -> Vec<&mut Properties> {
    let cluster = std::iter::once(&mut script.cluster.config).chain(script.cluster.host.values_mut());
    let topics = script.topics.iter_mut().map(|topic| &mut topic.config);
    let producers = script.producers.iter_mut().map(|producer| &mut producer.config);
    let consumers = script.consumers.iter_mut().map(|consumer| &mut consumer.config);
    cluster.chain(topics).chain(producers).chain(consumers).collect()
}

/// Hosts in one place, links and disks as usual.
pub fn places(script: &Script) -> Vec<Script> {
    let plain = ClusterSpec::default();
    let edits: [&dyn Fn(&mut ClusterSpec); 6] = [
        &|cluster| *cluster = ClusterSpec { brokers: cluster.brokers, config: cluster.config.clone(), ..plain.clone() },
        &|cluster| cluster.topology = None,
        &|cluster| (cluster.rack, cluster.data_centre) = Default::default(),
        &|cluster| cluster.disk = DiskSpec::default(),
        &|cluster| cluster.link = None,
        &|cluster| (cluster.latency_min, cluster.latency_max) = (plain.latency_min, plain.latency_max),
    ];
    edits.into_iter().map(|edit| edited(script, |script| edit(&mut script.cluster))).collect()
}
