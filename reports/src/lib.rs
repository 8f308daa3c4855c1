//! The paper: reports of one run and of a campaign, for a terminal and for machines. Pure text in, text out.

mod json;
mod layout;
mod text;

pub use json::{CampaignJson, FindingJson, RunJson, findings};
pub use text::{campaign_report, explanation, marks_line, run_report};
