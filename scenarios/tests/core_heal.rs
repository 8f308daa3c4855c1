//! Only a sufficient core is healed: it serves, and the others stay away to the end.

use klamm_base::NodeId;
use klamm_checkers::{Event, History, Standing, World};
use klamm_scenarios::library;
use klamm_scenarios::script::{Heal, Script};
use klamm_scenarios::stage::{RunOptions, run};
use std::collections::BTreeMap;

/// What the world did, in order.
fn world(history: &History) -> impl Iterator<Item = &World> {
    history.entries.iter().filter_map(|entry| match &entry.event {
        Event::World(world) => Some(world),
        Event::Stack { .. } => None,
    })
}

/// Who was left out, and how.
fn left_out(history: &History) -> BTreeMap<NodeId, String> {
    let one = |world: &World| match world {
        World::LeftOut { node, how } => Some((*node, how.clone())),
        _ => None,
    };
    world(history).filter_map(one).collect()
}

/// A broker that is left out does not come back: nobody starts it, no link of it opens.
fn stays_away(history: &History, node: NodeId, how: &str) {
    let host = format!("b{}", node.0);
    let after: Vec<&World> = world(history).skip_while(|world| !matches!(world, World::Healed)).collect();
    assert!(!after.is_empty());
    for world in &after {
        assert!(!matches!(world, World::Restarted { node: other } if *other == node), "{host}: {world:?}");
        let opened =
            matches!(world, World::LinkChanged { from, to, state } if (*from == host || *to == host) && state == "up");
        assert!(!opened, "{host}: {world:?}");
    }
    let cuts = |world: &&World| matches!(world, World::LinkChanged { from, state, .. } if *from == host && state == "black hole");
    assert!(how == "dead" || world(history).filter(cuts).count() > 3, "{host} is {how}");
}

#[test]
fn the_core_serves_and_the_others_stay_away_to_the_end() {
    let core = library::profile("core").unwrap();
    let (mut dead, mut cut_off, mut whole) = (0, 0, 0);
    for seed in 0..14 {
        let script = Script { heal: Heal::Core, ..klamm_scenarios::campaign::generate(&core, seed) };
        let result = run(&script, RunOptions::default());
        assert_eq!(result.report.violated(), Vec::<&str>::new(), "seed {seed}");
        assert_eq!(result.report.verdicts["serves-after-heal"].standing(), Standing::Held, "seed {seed}");
        let out = left_out(&result.history);
        assert!(out.len() < script.cluster.brokers as usize, "somebody serves");
        whole += u64::from(out.is_empty());
        for (node, how) in out {
            stays_away(&result.history, node, &how);
            *(if how == "dead" { &mut dead } else { &mut cut_off }) += 1;
        }
    }
    assert!(dead > 2 && cut_off > 2 && whole < 7, "{dead} dead, {cut_off} cut off, {whole} seeds with everybody");
}

#[test]
fn a_script_heals_everything_unless_it_says_otherwise() {
    let script = library::script("acked-records-survive-a-leader-crash").unwrap().unwrap();
    assert_eq!(script.heal, Heal::All);
    assert!(left_out(&run(&script, RunOptions::default()).history).is_empty());
}
