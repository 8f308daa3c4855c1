//! `docs/properties.md`: what is judged, and the matrix of properties and mutants.

use crate::table::{MUTANTS, Mutant};
use klamm_checkers::{Property, properties};
use std::fmt::Write;

pub const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/properties.md");

const INTRO: &str = "\
# Properties

What the judges hold a run against, root causes first: when one loss breaks several promises, the first of this list names
it best. `klamm list properties` prints the names.

This page is generated from `klamm_checkers::properties` and from the table of mutants in `scenarios/tests/mutants`. To renew
it: `KLAMM_RENEW=1 cargo test -p scenarios --test mutants`.
";

const MATRIX: &str = "
## Properties and mutants

Who judges the judges: each mutant changes one thing in a recorded good run, at several places. The property marked **N** must
name it: it is violated, and none before it in the list is. One marked **+** may be violated too, as a consequence. All others
stay silent. Each property has a mutant that only it catches; one that had none would be removed.
";

const WAITS: &str = "
Waiting for what does not exist yet: *cut a marker*, *flip a transaction's outcome* and *drop a committed offset* need
transactions and groups.
";

pub fn page() -> String {
    let mut page = String::from(INTRO);
    properties().iter().enumerate().for_each(|(at, property)| told(&mut page, at + 1, property));
    page.push_str(MATRIX);
    matrix(&mut page);
    page.push_str(WAITS);
    page
}

fn told(page: &mut String, number: usize, property: &Property) {
    let Property { name, summary, premise, explanation, .. } = property;
    let alone: Vec<_> = MUTANTS.iter().filter(|it| it.names == *name && it.also.is_empty()).collect();
    let alone = alone.iter().map(|it| format!("`{}`", it.name)).collect::<Vec<_>>().join(", ");
    write!(
        page,
        "\n## {number}. {name}\n\nPromise: {summary}.\n\nTested when {premise}.\n\n{explanation}\n\nOnly it catches {alone}.\n"
    )
    .expect("a String takes everything");
}

fn matrix(page: &mut String) {
    let numbers: Vec<String> = (1..=properties().len()).map(|number| number.to_string()).collect();
    write!(page, "\n| mutant | what it changes | {} |\n", numbers.join(" | ")).expect("a String takes everything");
    writeln!(page, "|---|---|{}", ":-:|".repeat(numbers.len())).expect("a String takes everything");
    for mutant in MUTANTS {
        let marks: Vec<&str> = properties().iter().map(|property| mark(mutant, property.name)).collect();
        writeln!(page, "| `{}` | {} | {} |", mutant.name, mutant.what, marks.join(" | "))
            .expect("a String takes everything");
    }
}

fn mark(mutant: &Mutant, property: &str) -> &'static str {
    match property {
        _ if mutant.names == property => "**N**",
        _ if mutant.also.contains(&property) => "+",
        _ => "",
    }
}
