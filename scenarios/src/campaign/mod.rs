//! Campaigns: scripts drawn from seeds, run on all cores, judged and merged.

mod biases;
#[cfg(test)]
mod biases_tests;
mod draft;
mod generate;
mod profile;

pub use generate::generate;
pub use profile::{Biases, Families, Profile};
