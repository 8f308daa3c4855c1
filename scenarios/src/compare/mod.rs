//! What settings cost and save: one script, the same seeds, every combination of some settings, side by side.

mod measure;
mod row;

pub use measure::Measure;
pub use row::{Counted, Row};

use crate::campaign::{caught, in_order};
use crate::script::Script;
use crate::stage::{RunOptions, room, run_in};
use klamm_checkers::History;
use std::ops::ControlFlow;
use std::sync::Arc;

/// A setting and the values that it takes in turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Axis {
    /// Its name; whose it is [`Script::set`] knows.
    pub key: String,
    /// One row or more each.
    pub values: Vec<String>,
}

/// One value of each axis.
pub type Combination = Vec<(String, String)>;

/// Every combination of the values, the last axis turning fastest.
pub fn combinations(axes: &[Axis]) -> Vec<Combination> {
    axes.iter().fold(vec![Combination::new()], |all, axis| {
        let with = |one: &Combination, value: &String| {
            let mut longer = one.clone();
            longer.push((axis.key.clone(), value.clone()));
            longer
        };
        all.iter().flat_map(|one| axis.values.iter().map(move |value| with(one, value))).collect()
    })
}

/// What is compared.
#[derive(Clone, Debug)]
pub struct Comparison {
    scripts: Vec<Script>,
    combinations: Vec<Combination>,
    seeds: u64,
}

impl Comparison {
    /// This script with each combination of the values, over seeds `0..seeds`: every row has the same ones.
    ///
    /// # Errors
    /// A setting that nobody knows, a value that it does not take, or one that does not go with the rest of the script.
    pub fn new(script: &Script, axes: &[Axis], seeds: u64) -> Result<Self, String> {
        let combinations = combinations(axes);
        let scripts = combinations.iter().map(|one| changed(script, one)).collect::<Result<_, _>>()?;
        Ok(Self { scripts, combinations, seeds })
    }

    /// How many runs that is.
    pub fn runs(&self) -> u64 {
        self.scripts.len() as u64 * self.seeds
    }

    /// Runs it on so many threads; `each` is told after every run. One row for each combination, in their order.
    ///
    /// # Errors
    /// What Klamm itself could not run or judge.
    pub fn run(&self, jobs: usize, mut each: impl FnMut()) -> Result<Vec<Row>, String> {
        let mut rows: Vec<Row> = self.combinations.iter().map(|settings| Row::new(settings.clone())).collect();
        let scripts = Arc::new(self.scripts.clone());
        // Seed by seed, so that an early look at the rows compares like with like.
        let work = move |number: u64, room: &mut History| {
            let (seed, row) = (number / scripts.len() as u64, number as usize % scripts.len());
            Some(caught(|| measured(&scripts[row], seed, room)).map_err(|what| format!("seed {seed}: {what}")))
        };
        let mut failed = None;
        in_order(0..self.runs(), jobs, Arc::new(work), |number, measure| {
            let (seed, row) = (number / rows.len() as u64, number as usize % rows.len());
            match measure {
                Ok(measure) => rows[row].add(seed, measure),
                Err(what) => failed = Some(what),
            }
            each();
            if failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        rows.iter_mut().for_each(Row::finish);
        failed.map_or(Ok(rows), Err)
    }
}

fn changed(script: &Script, combination: &Combination) -> Result<Script, String> {
    let mut script = script.clone();
    combination.iter().try_for_each(|(key, value)| script.set(key, value))?;
    script.check()?;
    Ok(script)
}

/// A run is measured to its end, whatever breaks.
fn measured(script: &Script, seed: u64, last: &mut History) -> Measure {
    let options = RunOptions { seed: Some(seed), trace: false, to_the_end: true };
    let result = run_in(script, options, None, std::mem::replace(last, room()));
    let measure = Measure::of(&result.history, &result.report);
    *last = result.history;
    measure
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(key: &str, values: &[&str]) -> Axis {
        Axis { key: key.to_owned(), values: values.iter().map(|value| (*value).to_owned()).collect() }
    }

    #[test]
    fn every_value_meets_every_other_the_last_axis_turning_fastest() {
        let all = combinations(&[axis("acks", &["1", "all"]), axis("min.insync.replicas", &["1", "2"])]);
        let values: Vec<String> =
            all.iter().map(|one| one.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(values, ["1 1", "1 2", "all 1", "all 2"]);
        assert_eq!(combinations(&[]), [Combination::new()]);
    }

    #[test]
    fn a_setting_that_nobody_knows_or_that_does_not_fit_is_refused() {
        let text = "[[topic]]\nname = \"orders\"\n[[producer]]\nname = \"p1\"\ntopics = [\"orders\"]\n";
        let script = Script::from_toml("a.toml", text).unwrap();
        let wrong = |key: &str, value: &str| Comparison::new(&script, &[axis(key, &[value])], 1).unwrap_err();
        assert!(wrong("ackz", "1").contains("acks"), "{}", wrong("ackz", "1"));
        assert!(wrong("acks", "2").contains("acks"), "{}", wrong("acks", "2"));
        assert_eq!(Comparison::new(&script, &[axis("acks", &["0", "1"])], 7).unwrap().runs(), 14);
    }
}
