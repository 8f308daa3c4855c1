//! `klamm explain`.

use super::{Bad, Exit, colours};
use crate::explain::{all, explain as find};
use std::io::Write;

/// Prints what is known under a name; without one, every name.
pub fn explain(words: &[String]) -> Result<Exit, Bad> {
    let text = match words {
        [] => names(),
        words => find(&words.join(" ")).map_err(Bad::plain)?.iter().map(page).collect::<Vec<_>>().join("\n"),
    };
    // A closed pipe (`| head`) is no error of ours.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
    Ok(Exit::Fine)
}

fn page(known: &crate::explain::Explanation) -> String {
    klamm_reports::explanation(&known.name, known.kind, &known.parts, colours())
}

/// One name a line, with its kind.
fn names() -> String {
    let all = all();
    let width = all.iter().map(|known| known.name.chars().count()).max().unwrap_or(0);
    all.iter().map(|known| format!("{:width$}  {}\n", known.name, known.kind)).collect()
}
