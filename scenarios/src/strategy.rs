//! Scripts for proptest: drawn as a campaign draws them, shrunk as `klamm shrink` shrinks them.
//!
//! ```no_run
//! use klamm_scenarios::{library, stage, strategy::strategy};
//! use proptest::prelude::*;
//!
//! proptest!(ProptestConfig::with_cases(50), |(script in strategy(library::profile("core").unwrap()))| {
//!     let report = stage::run(&script, Default::default()).report;
//!     prop_assert!(report.violated().is_empty(), "{}", script.to_toml());
//! });
//! ```

use crate::campaign::{Profile, generate};
use crate::script::Script;
use crate::shrink::Edits;
use proptest::strategy::{NewTree, Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use std::fmt;

/// Scripts of a profile, each from a seed that proptest draws.
pub fn strategy(profile: Profile) -> Scripts {
    Scripts { profile }
}

/// See [`strategy`].
#[derive(Clone, Debug)]
pub struct Scripts {
    profile: Profile,
}

impl Strategy for Scripts {
    type Tree = ScriptTree;
    type Value = Script;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        let seed = (0..=i64::MAX as u64).new_tree(runner)?.current();
        Ok(ScriptTree { edits: Edits::new(generate(&self.profile, seed)), tried: None })
    }
}

/// A script with the edits that are left to try.
#[derive(Clone)]
pub struct ScriptTree {
    edits: Edits,
    /// The candidate whose test is awaited; none: the smallest script so far.
    tried: Option<Script>,
}

impl ScriptTree {
    fn go_on(&mut self) -> bool {
        self.tried = self.edits.first().cloned();
        self.tried.is_some()
    }
}

impl ValueTree for ScriptTree {
    type Value = Script;

    fn current(&self) -> Script {
        self.tried.as_ref().unwrap_or(self.edits.base()).clone()
    }

    /// The current script fails: it is the smallest so far.
    fn simplify(&mut self) -> bool {
        if let Some(script) = self.tried.take() {
            self.edits.accept(0, script);
        }
        self.go_on()
    }

    /// The current script does not fail: back to the smallest so far, and on to the next candidate.
    fn complicate(&mut self) -> bool {
        if self.tried.take().is_some() {
            self.edits.reject(1);
        }
        self.go_on()
    }
}

impl fmt::Debug for ScriptTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.current().to_toml())
    }
}
