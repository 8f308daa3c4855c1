//! Carries the library's scripts and the profiles in the binary, so that it finds them wherever it is run, and the commit
//! that it was built from.

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
    println!("cargo::rustc-env=KLAMM_COMMIT={}", commit());
}

/// The commit, with `-dirty` if tracked files differ from it; `unknown` outside a checkout. Debug builds do not ask: each
/// commit would build their tests anew. Where there is no git, as in a container, KLAMM_COMMIT says it.
fn commit() -> String {
    println!("cargo::rerun-if-env-changed=KLAMM_COMMIT");
    if let Ok(given) = std::env::var("KLAMM_COMMIT") {
        return given;
    }
    if std::env::var("PROFILE").as_deref() != Ok("release") {
        return "unknown".to_owned();
    }
    for watched in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--path-format=absolute", "--git-path", watched]) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    for folder in ["sim", "broker", "checkers", "reports", "scenarios"] {
        println!("cargo::rerun-if-changed=../{folder}");
    }
    let Some(commit) = git(&["rev-parse", "HEAD"]) else { return "unknown".to_owned() };
    let is_clean = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|changes| changes.is_empty());
    if is_clean { commit } else { format!("{commit}-dirty") }
}

fn git(args: &[&str]) -> Option<String> {
    let output = std::process::Command::new("git").args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
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
