//! What the fuzzer found worth keeping, replayed. How it is found: `fuzz/README.md`.
#![allow(clippy::disallowed_methods, reason = "a test that reads data")]

mod bench;
mod disk;
#[path = "../../../fuzz/src/recovery.rs"]
mod recovery;

use std::path::Path;

#[test]
fn every_input_of_the_fuzzers_corpus_is_handled() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/recovery");
    let files = std::fs::read_dir(folder).expect("the corpus").map(|entry| entry.expect("an entry").path());
    let inputs: Vec<Vec<u8>> = files.map(|file| std::fs::read(file).expect("a file")).collect();
    assert!(inputs.len() > 100, "{} inputs only", inputs.len());
    inputs.iter().for_each(|input| recovery::recovery(input));
}
