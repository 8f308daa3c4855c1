//! Compiles `schemas/*.schema` into OUT_DIR.

use klamm_wire_schema::{Source, compile};
use std::path::{Path, PathBuf};
use std::{env, fs, process};

#[allow(clippy::disallowed_methods, reason = "a build script reads its sources")]
fn main() {
    println!("cargo::rerun-if-changed=schemas");
    let mut paths: Vec<PathBuf> = fs::read_dir("schemas")
        .expect("broker/wire/schemas is part of the crate")
        .map(|entry| entry.expect("an entry of schemas").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "schema"))
        .collect();
    paths.sort();
    let texts: Vec<(String, String)> = paths
        .iter()
        .map(|path| (path.display().to_string(), fs::read_to_string(path).expect("a schema is UTF-8")))
        .collect();
    let sources: Vec<Source<'_>> = texts.iter().map(|(name, text)| Source { name, text }).collect();
    let generated = compile(&sources).unwrap_or_else(|error| {
        eprintln!("{error}");
        process::exit(1);
    });
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    save(&out, "messages.rs", &generated.messages);
    save(&out, "apis.rs", &generated.apis);
    save(&out, "records.rs", &generated.records);
}

#[allow(clippy::disallowed_methods, reason = "a build script writes what it generates")]
fn save(out: &Path, name: &str, text: &str) {
    fs::write(out.join(name), text).expect("OUT_DIR can be written");
}
