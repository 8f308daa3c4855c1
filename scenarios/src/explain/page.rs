//! `docs/glossary.md` is what the tables say.

use super::{Explanation, all};
use std::fmt::Write;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/glossary.md");

/// Terms, guards, marks and error codes; properties and faults have pages of their own, settings are Kafka's.
fn page() -> String {
    let mut page = String::from(
        "# Glossary\n\nThe words that reports, scripts and this documentation use. `klamm explain NAME` says the same, and \
         knows properties, faults and settings too.\n\nThis page is generated. To renew it: `KLAMM_RENEW=1 cargo test -p \
         scenarios --lib explain`.\n",
    );
    for (kind, title) in [("term", "Terms"), ("guard", "Guards"), ("mark", "Marks"), ("error code", "Error codes")] {
        write!(page, "\n## {title}\n\n").unwrap();
        all().iter().filter(|known| known.kind == kind).for_each(|known| page.push_str(&entry(known)));
    }
    page
}

fn entry(known: &Explanation) -> String {
    let part = |label: &str| known.parts.iter().find(|(known, _)| *known == label).map(|(_, text)| text.as_str());
    match known.kind {
        "term" => {
            let source = part("source").map(|source| format!(" ({source})")).unwrap_or_default();
            format!("* **{}**: {}{source}\n", known.name, part("means").expect("a term means something"))
        }
        "error code" => {
            let (code, retry) = (part("code").expect("a number"), part("retry").expect("told"));
            format!("* `{}` ({code}): {} Retry: {retry}.\n", known.name, part("means").expect("told"))
        }
        _ => format!("* `{}`: {}\n", known.name, known.parts[0].1),
    }
}

#[test]
#[allow(clippy::disallowed_methods, reason = "the page is a file")]
fn the_glossary_is_what_the_tables_say() {
    let wanted = page();
    if std::env::var_os("KLAMM_RENEW").is_some() {
        std::fs::write(PAGE, &wanted).unwrap();
    }
    let found = std::fs::read_to_string(PAGE).unwrap_or_default();
    assert!(found == wanted, "docs/glossary.md is out of date: KLAMM_RENEW=1 cargo test -p scenarios --lib explain");
}
