//! The candidates of a script, one after the other, and what becomes of them. Knows nothing of runs: the command line, and
//! proptest, walk it alike.

use super::passes::PASSES;
use super::tidy::tidy;
use crate::script::Script;
use std::collections::VecDeque;

/// A script under shrinking, and the candidates that are left to try.
#[derive(Clone, Debug)]
pub struct Edits {
    base: Script,
    pass: usize,
    /// Each with its place among all candidates of the pass.
    candidates: VecDeque<(usize, Script)>,
    /// Some candidate was accepted since the first pass began.
    changed: bool,
}

impl Edits {
    /// All edits of a script, from the first pass on.
    pub fn new(base: Script) -> Self {
        let mut edits = Self { base: tidy(base), pass: 0, candidates: VecDeque::new(), changed: false };
        edits.fill(0);
        edits.go_on();
        edits
    }

    /// The smallest script so far.
    pub fn base(&self) -> &Script {
        &self.base
    }

    /// The name of the pass whose candidates come next.
    pub fn pass(&self) -> &'static str {
        PASSES.get(self.pass).map_or("done", |(name, _)| name)
    }

    /// What to try next, boldest first; nothing once a whole round of passes changed nothing.
    pub fn candidates(&self) -> Vec<Script> {
        self.candidates.iter().map(|(_, script)| script.clone()).collect()
    }

    /// The first of them.
    pub fn first(&self) -> Option<&Script> {
        self.candidates.front().map(|(_, script)| script)
    }

    /// The first `count` candidates do not fail as wanted.
    pub fn reject(&mut self, count: usize) {
        self.candidates.drain(..count.min(self.candidates.len()));
        self.go_on();
    }

    /// The candidates before `index` do not fail as wanted, and `script` does: the one at `index`, perhaps at another seed.
    pub fn accept(&mut self, index: usize, script: Script) {
        // What was too bold before is too bold now: the search goes on from here, and comes back in the next round.
        let place = self.candidates[index].0;
        self.base = script;
        self.changed = true;
        self.fill(place);
        self.go_on();
    }

    /// Begins anew with the first pass.
    pub fn restart(&mut self) {
        (self.pass, self.changed) = (0, false);
        self.fill(0);
        self.go_on();
    }

    /// The candidates of this pass from the `from`-th on.
    fn fill(&mut self, from: usize) {
        let edited = PASSES[self.pass].1(&self.base).into_iter().map(tidy).enumerate().skip(from);
        let is_one = |candidate: &Script| *candidate != self.base && candidate.check().is_ok();
        self.candidates = edited.filter(|(_, candidate)| is_one(candidate)).collect();
    }

    /// Goes to the next pass that has candidates, and round again while that changes anything.
    fn go_on(&mut self) {
        while self.candidates.is_empty() && self.pass < PASSES.len() {
            self.pass += 1;
            if self.pass == PASSES.len() && self.changed {
                (self.pass, self.changed) = (0, false);
            }
            if self.pass < PASSES.len() {
                self.fill(0);
            }
        }
    }
}
