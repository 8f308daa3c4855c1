//! Scripts and profiles that come with the binary, and how a name on the command line finds one.

use crate::campaign::{Profile, generate};
use crate::script::{Failure, Script, ScriptError, did_you_mean};
use std::path::Path;

mod texts {
    include!(concat!(env!("OUT_DIR"), "/texts.rs"));
}

/// Why a name gave no script.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum NotFound {
    /// The text was found and is wrong.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Wrong(Box<ScriptError>),
    /// Nothing has this name.
    #[error("there is no script, file or profile `{name}`{}", help.as_ref().map(|h| format!("; {h}")).unwrap_or_default())]
    Unknown {
        /// As it was given.
        name: String,
        /// The nearest name.
        #[help]
        help: Option<String>,
    },
    /// The file is there and cannot be read.
    #[error("{path}: {source}")]
    Unreadable {
        /// Its path.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}

/// What a name means.
#[derive(Clone, Debug)]
pub enum Source {
    /// One script.
    Script(Box<Script>),
    /// A profile: each seed draws its own script.
    Profile(Box<Profile>),
}

impl Source {
    /// The script of a seed; a script's own seed if none is given, 0 for a profile.
    pub fn script(&self, seed: Option<u64>) -> Script {
        match self {
            Source::Script(script) => Script { seed: seed.unwrap_or(script.seed), ..(**script).clone() },
            Source::Profile(profile) => generate(profile, seed.unwrap_or(0)),
        }
    }
}

fn listed(texts: &'static [(&'static str, &'static str)]) -> Vec<&'static str> {
    texts.iter().map(|(name, _)| *name).collect()
}

/// Names of the library's scripts.
pub fn scripts() -> Vec<&'static str> {
    listed(texts::LIBRARY)
}

/// Names of the bug base's scripts: runs that once broke a promise.
pub fn bugs() -> Vec<&'static str> {
    listed(texts::BUGS)
}

/// Names of the profiles.
pub fn profiles() -> Vec<&'static str> {
    listed(texts::PROFILES)
}

fn text(texts: &'static [(&'static str, &'static str)], name: &str) -> Option<&'static str> {
    texts.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// A profile by its name.
pub fn profile(name: &str) -> Result<Profile, NotFound> {
    let Some(text) = text(texts::PROFILES, name) else {
        let help = did_you_mean(name, profiles()).or_else(|| Some(format!("there are {}", profiles().join(", "))));
        return Err(NotFound::Unknown { name: name.to_owned(), help });
    };
    Profile::from_toml(&format!("profiles/{name}.toml"), text).map_err(NotFound::Wrong)
}

/// A script of the library (or of the bug base) by its name.
pub fn script(name: &str) -> Option<Result<Script, NotFound>> {
    let library = text(texts::LIBRARY, name).map(|text| (format!("library/{name}.toml"), text));
    let (file, text) = library.or_else(|| text_of_bug(name))?;
    Some(Script::from_toml(&file, text).map_err(NotFound::Wrong))
}

fn text_of_bug(name: &str) -> Option<(String, &'static str)> {
    text(texts::BUGS, name).map(|text| (format!("bugs/{name}.toml"), text))
}

/// A file's path, a script's name or a profile's name.
pub fn find(name: &str) -> Result<Source, NotFound> {
    if name.ends_with(".toml") || Path::new(name).is_file() {
        return read(name).map(|script| Source::Script(Box::new(script)));
    }
    if let Some(found) = script(name) {
        return found.map(|script| Source::Script(Box::new(script)));
    }
    if profiles().contains(&name) {
        return profile(name).map(|profile| Source::Profile(Box::new(profile)));
    }
    let known: Vec<&str> = scripts().into_iter().chain(profiles()).collect();
    let help = did_you_mean(name, known).or_else(|| Some("`klamm list scripts` shows what there is".to_owned()));
    Err(NotFound::Unknown { name: name.to_owned(), help })
}

/// A failure: a file's path, or a name of the bug base.
pub fn failure(name: &str) -> Result<Failure, NotFound> {
    let (file, text) = match text_of_bug(name) {
        Some((file, text)) => (file, text.to_owned()),
        None => (name.to_owned(), text_of_file(name)?),
    };
    Failure::from_toml(&file, &text).map_err(NotFound::Wrong)
}

fn read(path: &str) -> Result<Script, NotFound> {
    Script::from_toml(path, &text_of_file(path)?).map_err(NotFound::Wrong)
}

#[allow(clippy::disallowed_methods, reason = "the command line reads the user's files")]
fn text_of_file(path: &str) -> Result<String, NotFound> {
    std::fs::read_to_string(path).map_err(|source| NotFound::Unreadable { path: path.to_owned(), source })
}
