//! Compacted topics, and keys for who writes to them: drawn from a stream of their own, so that a seed without one is what it
//! would be if there were none.

use super::profile::{Compaction, Profile};
use super::shape::choose;
use crate::script::{Script, TopicSpec};
use klamm_base::Draws;

/// Makes some topics of a script compacted ones.
pub fn draw(profile: &Profile, script: &mut Script) {
    let mut draws = Draws::named(script.seed, "compaction");
    let compaction = &profile.compaction;
    let mut names = Vec::new();
    for topic in &mut script.topics {
        if draws.chance(compaction.topics, 100) {
            compact(&mut draws, compaction, topic);
            names.push(topic.name.clone());
        }
    }
    if names.is_empty() {
        return;
    }
    choose(&mut draws, &compaction.settings.broker, &mut script.cluster.config);
    let places: Vec<_> = script.partitions_of(&names);
    for at in 0..script.producers.len() {
        let partitions = script.partitions_of(&script.producers[at].topics);
        if partitions.iter().any(|partition| places.contains(partition)) {
            let producer = &mut script.producers[at];
            producer.keys = between(&mut draws, compaction.keys);
            producer.tombstones = between(&mut draws, compaction.tombstones);
        }
    }
}

fn compact(draws: &mut Draws, compaction: &Compaction, topic: &mut TopicSpec) {
    let segment_bytes = between(draws, compaction.segment_bytes);
    topic.config.insert("cleanup.policy".to_owned(), "compact".to_owned());
    topic.config.insert("segment.bytes".to_owned(), segment_bytes.to_string());
    choose(draws, &compaction.settings.topic, &mut topic.config);
}

fn between(draws: &mut Draws, [low, high]: [u64; 2]) -> u64 {
    draws.between(low, high)
}

#[cfg(test)]
mod tests {
    use crate::campaign::{Profile, generate};

    const STORM: &str = include_str!("../../profiles/storm.toml");

    #[test]
    fn who_writes_to_a_compacted_topic_has_keys_and_no_other_seed_is_touched() {
        let storm = Profile::from_toml("storm.toml", STORM).unwrap();
        let share = format!("[compaction]\ntopics = {}", storm.compaction.topics);
        assert!(STORM.contains(&share));
        let without = Profile::from_toml("storm.toml", &STORM.replace(&share, "[compaction]\ntopics = 0")).unwrap();
        let mut count = 0;
        for seed in 0..100 {
            let script = generate(&storm, seed);
            let compacted: Vec<String> = script
                .topics
                .iter()
                .filter(|topic| topic.config.get("cleanup.policy").is_some_and(|policy| policy == "compact"))
                .map(|topic| topic.name.clone())
                .collect();
            if compacted.is_empty() {
                assert_eq!(script, generate(&without, seed));
                continue;
            }
            count += 1;
            let places = script.partitions_of(&compacted);
            for producer in &script.producers {
                let writes = script.partitions_of(&producer.topics).iter().any(|place| places.contains(place));
                assert_eq!(producer.keys > 0, writes, "{}", producer.name);
            }
        }
        assert!((15..60).contains(&count), "{count} of a hundred seeds");
    }
}
