//! Campaigns: scripts drawn from seeds, run on all cores, judged and merged.

mod biases;
#[cfg(test)]
mod biases_tests;
mod caught;
mod chains;
mod compaction;
mod draft;
mod generate;
mod harms;
mod hunt;
mod known;
mod profile;
mod results;
mod shape;
mod shard;
mod sweep;
#[cfg(test)]
mod sweep_tests;
mod tally;
mod twice;

pub(crate) use caught::caught;
pub use generate::generate;
pub use hunt::{Found, Hunt, Hunted, hunt, huntable, out_of_reach};
pub use known::{Known, Knowns};
pub use profile::{Biases, Families, Load, OneOf, Profile, Settings};
pub use results::{COMMIT, Folder, FolderError, Head, folder_head, read_folder};
pub use shard::{Seeds, Shard};
pub use sweep::{Answer, Fault, Judged, Sweep, in_order, judge_seed, sweep};
pub use tally::{Finding, SeedLine, Tally};
pub use twice::{difference, first_event, trace};
