//! What the tests of the codec share.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::disallowed_methods, reason = "tests read their data")]

pub mod debug;
pub mod generate;
pub mod table;

use std::io::Read;
use std::path::{Path, PathBuf};

/// A file of the test data.
pub fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// The unpacked content of a gzip file of the test data.
pub fn unzip(path: &Path) -> Vec<u8> {
    let packed = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut out = Vec::new();
    flate2::read::MultiGzDecoder::new(&packed[..]).read_to_end(&mut out).expect("test data is whole");
    out
}

/// The same as text.
pub fn unzip_text(name: &str) -> String {
    String::from_utf8(unzip(&data(name))).expect("test data is UTF-8")
}

/// Bytes of hex digits.
pub fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex digits")).collect()
}

/// Log segments of the test data: their name (`PARTITION.BASE.log`) and content.
pub fn segments() -> Vec<(String, bytes::Bytes)> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(data("logs")).expect("test data").map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    let name = |path: &Path| path.file_stem().expect("a name").to_str().expect("ASCII").to_owned();
    paths.iter().map(|path| (name(path), bytes::Bytes::from(unzip(path)))).collect()
}
