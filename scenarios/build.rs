//! Carries the library's scripts and the profiles in the binary, so that it finds them wherever it is run.

#![allow(clippy::disallowed_methods, reason = "a build script reads and writes files")]

use std::fmt::Write;
use std::path::{Path, PathBuf};

fn main() {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let mut code = String::new();
    for (constant, folder) in [("LIBRARY", "library"), ("PROFILES", "profiles"), ("BUGS", "bugs")] {
        let entries = texts(&root.join(folder));
        writeln!(code, "pub const {constant}: &[(&str, &str)] = &[").expect("a string takes all");
        for (name, path) in entries {
            writeln!(code, "    ({name:?}, include_str!({path:?})),").expect("a string takes all");
        }
        writeln!(code, "];").expect("a string takes all");
        println!("cargo::rerun-if-changed={folder}");
    }
    let out = PathBuf::from(std::env::var("OUT_DIR").expect("cargo sets it"));
    std::fs::write(out.join("texts.rs"), code).expect("OUT_DIR is writable");
}

/// Every TOML file of a folder by its stem, sorted.
fn texts(folder: &Path) -> Vec<(String, PathBuf)> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<(String, PathBuf)> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .filter_map(|path| Some((path.file_stem()?.to_str()?.to_owned(), path.clone())))
        .collect();
    found.sort();
    found
}
