//! The paper: reports of one run and of a campaign, for a terminal, for machines and for CI. Pure text in, text out.

mod campaign;
mod clients;
pub mod github;
mod json;
mod junit;
mod layout;
mod text;

pub use campaign::Campaign;
pub use clients::{clients_report, clients_table};
pub use json::{BugJson, CampaignJson, CampaignName, FindingJson, RunJson, SeedJson, findings};
pub use junit::junit;
pub use text::{campaign_report, explanation, marks_line, run_report};
