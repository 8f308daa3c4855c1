//! Who judges the judges: each mutant changes one thing in a recorded good run, and exactly the property that is made for it
//! must name it, before any other. `docs/properties.md` is the table of them.

mod brokers;
mod clients;
mod compaction;
mod page;
mod retention;
mod scene;
mod table;

use klamm_base::Draws;
use klamm_checkers::{judge, properties};
use klamm_scenarios::script::Script;
use klamm_scenarios::stage::{RunOptions, run};
use scene::Scene;
use std::collections::{BTreeMap, BTreeSet};
use table::{MUTANTS, Mutant};

/// Scripts of runs that break nothing, in which together every mutant finds its place. They are kept as they were drawn, so
/// that no change of a profile changes them.
const RUNS: [(&str, &str); 3] = [
    ("core-1.toml", include_str!("runs/core-1.toml")),
    ("core-7.toml", include_str!("runs/core-7.toml")),
    ("unclean.toml", include_str!("../../library/unclean-election-loses-the-unreplicated-suffix.toml")),
];
/// Good runs in which logs expire, or are cleaned, for the mutants of the property that judges it. The others are looked for in
/// the runs above, whose logs begin at 0 and have no gaps.
const OWN: [(&str, &str, &str); 2] = [
    ("retention-exact", "retention.toml", include_str!("runs/retention.toml")),
    ("compaction-keeps", "compaction.toml", include_str!("runs/compaction.toml")),
];
/// Places at which each mutant is tried in each run.
const PLACES: u64 = 3;

/// What fired for one mutant: where, and the violated properties, root causes first.
type Fired = BTreeMap<&'static str, Vec<(String, Vec<&'static str>)>>;

fn recorded(file: &str, text: &str) -> Scene {
    let script = Script::from_toml(file, text).unwrap_or_else(|error| panic!("{error}"));
    let result = run(&script, RunOptions::default());
    assert_eq!(result.report.violated(), Vec::<&str>::new(), "{file} is no good run");
    Scene::new(&result.history)
}

fn fired() -> Fired {
    let mut fired = Fired::new();
    let own = |mutant: &Mutant| OWN.iter().find(|(property, ..)| *property == mutant.names).map(|(_, file, _)| *file);
    let runs = RUNS.into_iter().chain(OWN.map(|(_, file, text)| (file, text)));
    for (run, (file, text)) in runs.enumerate() {
        let scene = recorded(file, text);
        let is_own = OWN.iter().any(|(_, own, _)| *own == file);
        for mutant in MUTANTS.iter().filter(|mutant| own(mutant) == is_own.then_some(file)) {
            for place in 0..PLACES {
                let mut draws = Draws::named(run as u64 * PLACES + place, mutant.name);
                let mut changed = scene.clone();
                if (mutant.apply)(&mut changed, &mut draws).is_some() {
                    let violated = judge(&changed.history()).violated();
                    fired.entry(mutant.name).or_default().push((format!("{file}, place {place}"), violated));
                }
            }
        }
    }
    fired
}

/// What is wrong with a mutant: the property that it was made for is not the first that is violated, or what is violated
/// besides is not what was foreseen.
fn complaints(mutant: &Mutant, places: &[(String, Vec<&'static str>)]) -> Vec<String> {
    let named_first = |violated: &[&'static str]| violated.first() == Some(&mutant.names);
    let mut wrong: Vec<String> = places
        .iter()
        .filter(|(_, violated)| !named_first(violated))
        .map(|(place, violated)| format!("{} in {place} breaks {violated:?} first", mutant.name))
        .collect();
    let others: BTreeSet<_> = places.iter().flat_map(|(_, violated)| violated).copied().collect();
    let foreseen: BTreeSet<_> = mutant.also.iter().copied().chain([mutant.names]).collect();
    if !others.is_subset(&foreseen) {
        wrong.push(format!("{} breaks {others:?}, foreseen was {foreseen:?}", mutant.name));
    }
    if places.is_empty() {
        wrong.push(format!("{} found no place in any run", mutant.name));
    }
    wrong
}

#[test]
fn each_mutant_is_named_by_the_property_that_is_made_for_it_and_before_any_other() {
    let fired = fired();
    let places = |mutant: &Mutant| fired.get(mutant.name).map_or(&[][..], Vec::as_slice);
    let wrong: Vec<String> = MUTANTS.iter().flat_map(|mutant| complaints(mutant, places(mutant))).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn each_property_has_a_mutant_that_only_it_catches() {
    for property in properties() {
        let alone = |mutant: &&Mutant| mutant.names == property.name && mutant.also.is_empty();
        assert!(MUTANTS.iter().any(|mutant| alone(&mutant)), "nothing but {} would be missed", property.name);
    }
    let known: BTreeSet<&str> = properties().iter().map(|property| property.name).collect();
    let named = MUTANTS.iter().flat_map(|mutant| mutant.also.iter().chain([&mutant.names]));
    named.into_iter().for_each(|name| assert!(known.contains(name), "{name} is no property"));
}

#[test]
#[allow(clippy::disallowed_methods, reason = "the page lies beside the source")]
fn the_page_is_what_the_tables_say() {
    let wanted = page::page();
    if std::env::var("KLAMM_RENEW").is_ok() {
        std::fs::write(page::PAGE, &wanted).expect("docs/ is writable");
    }
    let found = std::fs::read_to_string(page::PAGE).unwrap_or_default();
    assert!(
        found == wanted,
        "docs/properties.md is stale; renew it: KLAMM_RENEW=1 cargo test -p scenarios --test mutants"
    );
}
