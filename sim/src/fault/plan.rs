//! Faults on a time line, for whoever has no stage of their own.

use super::{Fault, FaultError, Struck};
use crate::stage::World;
use serde::{Deserialize, Serialize};

/// One fault with its begin and its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PlannedFault {
    /// World time of the strike, nanoseconds; what is over already strikes at once.
    pub from_ns: u64,
    /// World time of the mending; `None`: it is never mended.
    #[serde(default)]
    pub until_ns: Option<u64>,
    /// What strikes.
    pub what: Fault,
}

/// Faults with begin and end. What begins and ends at one instant does so in the order of the list, ends first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct FaultPlan {
    /// In any order.
    pub faults: Vec<PlannedFault>,
}

impl FaultPlan {
    /// The plan with one more fault, in force from `from_ns` until before `until_ns`.
    pub fn with(mut self, from_ns: u64, until_ns: u64, what: Fault) -> Self {
        self.faults.push(PlannedFault { from_ns, until_ns: Some(until_ns), what });
        self
    }

    /// The plan with one more fault that is never mended.
    pub fn with_forever(mut self, from_ns: u64, what: Fault) -> Self {
        self.faults.push(PlannedFault { from_ns, until_ns: None, what });
        self
    }

    /// Says what makes no sense in it, as far as that can be told without a world.
    ///
    /// # Errors
    /// The first fault that is wrong, or whose end is not after its begin.
    pub fn check(&self) -> Result<(), FaultError> {
        for PlannedFault { from_ns, until_ns, what } in &self.faults {
            what.check()?;
            if let Some(until_ns) = *until_ns
                && until_ns <= *from_ns
            {
                return Err(FaultError::Backwards { from_ns: *from_ns, until_ns });
            }
        }
        Ok(())
    }
}

impl World {
    /// Plays a plan: strikes and mends each fault at its time, and ends after the last. Hosts may be made while it plays;
    /// spawn it to go on beside it.
    ///
    /// # Errors
    /// What is wrong with the plan, before anything struck; or the first fault that could not strike: what struck before
    /// stays as it is.
    pub async fn play(&self, plan: FaultPlan) -> Result<(), FaultError> {
        plan.check()?;
        let begins = plan.faults.iter().enumerate().map(|(place, fault)| (fault.from_ns, true, place));
        let ends = plan.faults.iter().enumerate().filter_map(|(place, fault)| Some((fault.until_ns?, false, place)));
        let mut moments: Vec<(u64, bool, usize)> = begins.chain(ends).collect();
        moments.sort_unstable();
        let mut struck: Vec<Option<Struck>> = vec![None; plan.faults.len()];
        for (at_ns, begins, place) in moments {
            self.sleep_until(at_ns).await;
            if begins {
                struck[place] = Some(self.strike(&plan.faults[place].what)?);
            } else if let Some(struck) = struck[place].take() {
                self.mend(struck);
            }
        }
        Ok(())
    }
}
