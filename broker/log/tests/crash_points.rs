//! A crash at every write, rename, removal and sync of a life, by kill and by power loss: nothing is skipped.

mod bench;
mod disk;
mod life;

use klamm_base::Draws;
use life::{Crashed, Life, SMALL, Step, recover, recover_with_every_cut};
use std::io::Write;

/// Steps of the life that is cut.
const STEPS: usize = 300;
/// What a power loss leaves is drawn; so often for each place.
const POWER_LOSSES: u64 = 3;

/// Mostly appends, as a log's life is; everything else often enough.
fn workload() -> Vec<Step> {
    let mut draws = Draws::from_seed(11);
    let mut steps = Vec::with_capacity(STEPS);
    while steps.len() < STEPS {
        let (producer, yes) = (draws.between(1, 3) as i64, draws.chance(1, 2));
        steps.push(match draws.below(24) {
            0 => Step::Epoch,
            1 => Step::Cut(draws.between(50, 99) as u8),
            2 => Step::Start(draws.below(60) as u8),
            3 => Step::Expire,
            4 => Step::Remove,
            5 | 6 => Step::Flush,
            7 | 8 => Step::Checkpoint,
            9 | 10 => Step::End { producer, committed: yes },
            11 if draws.chance(1, 6) => Step::BeginAnew(draws.below(5) as u8),
            11..16 => Step::Sequenced { producer, transactional: yes },
            _ => Step::Append(vec![draws.between(1, 3); draws.between(1, 3) as usize]),
        });
    }
    steps
}

/// The life up to its `limit`th operation on disk; `None` beyond its end.
fn cut_at(steps: &[Step], limit: u64, power_seed: Option<u64>) -> Option<Crashed> {
    let mut life = Life::new(0, SMALL);
    let mut done = 0;
    for step in steps {
        life.live(step);
        while !life.bench.queue.is_empty() {
            if done == limit {
                return Some(match power_seed {
                    Some(seed) => life.power_off(seed),
                    None => life.kill(),
                });
            }
            life.bench.pump(1);
            done += 1;
        }
    }
    None
}

#[test]
fn a_kill_at_every_operation_loses_nothing() {
    let steps = workload();
    let mut cuts = 0;
    while let Some(crashed) = cut_at(&steps, cuts, None) {
        recover(crashed);
        cuts += 1;
    }
    tell(&format!("{STEPS} steps, killed at each of their {cuts} operations"));
    assert!(cuts > 1_000, "only {cuts} operations");
}

#[test]
fn a_power_loss_at_every_operation_keeps_all_that_was_synced() {
    let steps = workload();
    let mut cuts = 0;
    while cut_at(&steps, cuts, Some(0)).is_some() {
        for seed in 0..POWER_LOSSES {
            recover(cut_at(&steps, cuts, Some(seed)).expect("as long as before"));
        }
        cuts += 1;
    }
    tell(&format!("{STEPS} steps, power lost at each of their {cuts} operations, {POWER_LOSSES} times each"));
    assert!(cuts > 1_000, "only {cuts} operations");
}

#[test]
fn a_crash_at_every_write_of_a_recovery_changes_nothing() {
    let steps = workload();
    let mut draws = Draws::from_seed(3);
    let (mut lives, mut cuts) = (0, 0);
    // Recoveries are alike where the crashes are neighbours.
    while let Some(crashed) = cut_at(&steps, lives * 7, Some(lives)) {
        cuts += recover_with_every_cut(&crashed, lives % 2 == 0, &mut draws);
        lives += 1;
    }
    tell(&format!("{lives} recoveries, cut at each of their {cuts} operations"));
    assert!(cuts > 500, "only {cuts} operations");
}

/// Past the capture of test output: how much was tried is a result.
fn tell(what: &str) {
    writeln!(std::io::stdout(), "{what}").expect("standard output takes it");
}
