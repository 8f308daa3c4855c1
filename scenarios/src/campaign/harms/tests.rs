//! Every line of the list has a generator, is drawn by `storm`, and spares what must be spared.

use super::HARMS;
use crate::campaign::{Profile, generate};
use crate::script::{Action, Script, Target, Trigger};
use klamm_sim::{FAULTS, Fault};
use std::collections::{BTreeMap, BTreeSet};

const SEEDS: u64 = 300;

fn storm() -> Profile {
    Profile::from_toml("storm.toml", include_str!("../../../profiles/storm.toml")).unwrap()
}

#[test]
fn a_storm_draws_every_fault_there_is() {
    let mut drawn: BTreeMap<&str, u64> = FAULTS.iter().map(|info| (info.name, 0)).collect();
    for seed in 0..SEEDS {
        for name in generate(&storm(), seed).steps.iter().flat_map(|step| step.action.fault_names()) {
            *drawn.get_mut(name).expect("it is in the list") += 1;
        }
    }
    let rare: Vec<_> = drawn.iter().filter(|(_, count)| **count < 5).collect();
    assert!(rare.is_empty(), "{rare:?} of {drawn:?}");
    let generated: BTreeSet<&str> = HARMS.iter().map(|(name, _)| *name).collect();
    assert_eq!(generated.len(), HARMS.len(), "one generator each");
}

#[test]
fn a_storm_switches_each_family_on_in_half_of_its_seeds() {
    let text = include_str!("../../../profiles/storm.toml");
    for info in FAULTS {
        assert!(text.contains(&format!("\n{} = 50\n", info.name)), "{} is not in the storm", info.name);
    }
}

/// What damages bytes for good, though they were synced.
fn damages(fault: &Fault) -> bool {
    let names = [
        "sync-error",
        "bit-rot",
        "misdirected-write",
        "lying-sync",
        "disk-removed",
        "disk-wiped",
        "wipe",
        "machine-and-disk-loss",
    ];
    names.contains(&fault.name())
}

#[test]
fn what_damages_bytes_for_good_strikes_one_broker_of_a_seed_while_other_copies_are_in_sync() {
    for seed in 0..SEEDS {
        let script = generate(&storm(), seed);
        let mut struck = BTreeSet::new();
        for step in script.steps.iter().filter(|step| step.action.fault().is_some_and(|fault| damages(&fault))) {
            assert!(waits_for_copies(&script, step), "{step:?}");
            let [Target::Broker(broker)] = step.action.targets()[..] else { panic!("{step:?}") };
            struck.insert(*broker);
        }
        assert!(struck.len() <= 1, "seed {seed}: {struck:?}");
    }
}

/// The step strikes only while every replica of some partition is in sync, or two of three while the third is away.
fn waits_for_copies(script: &Script, step: &crate::script::Step) -> bool {
    let Some(Trigger::IsrHas { on, size }) = &step.when else { return false };
    let all = script.topics.iter().any(|topic| topic.name == on.topic && topic.replication == *size);
    all || (*size == 2 && matches!(step.action, Action::Wipe(_)))
}

/// Replicas of the partition that has the fewest.
fn least(script: &Script) -> usize {
    script.topics.iter().map(|topic| topic.replication as usize).min().unwrap()
}

#[test]
fn power_leaves_a_broker_out() {
    for seed in 0..SEEDS {
        let script = generate(&storm(), seed);
        for step in &script.steps {
            match &step.action {
                Action::PowerOff(Target::Rack(rack)) => assert!(script.brokers_in_rack(rack) < least(&script)),
                Action::PowerOff(Target::DataCentre(name)) => {
                    assert!(script.brokers_in_data_centre(name) < least(&script))
                }
                Action::PowerOff(Target::Replicas(_) | Target::Brokers | Target::All) => panic!("{step:?}"),
                _ => {}
            }
        }
    }
}

#[test]
fn a_storm_draws_the_same_script_always_and_every_script_reads_back() {
    for seed in 0..SEEDS {
        let script = generate(&storm(), seed);
        assert_eq!(script, generate(&storm(), seed));
        let written = script.to_toml();
        let read = Script::from_toml("storm.toml", &written).unwrap_or_else(|error| panic!("{error}\n{written}"));
        assert_eq!(read, script, "{written}");
    }
}

#[test]
fn a_profile_with_an_unknown_family_is_refused_with_the_nearest_name() {
    let text = include_str!("../../../profiles/storm.toml").replace("bit-rot = 50", "bit-rott = 50");
    let error = Profile::from_toml("p.toml", &text).unwrap_err().to_string();
    assert!(error.contains("there is no fault family `bit-rott`; did you mean `bit-rot`?"), "{error}");
}
