//! What is wrong with a script, where, and what was probably meant.

use miette::{NamedSource, SourceSpan};
use std::ops::Range;

/// A text under reading.
pub(crate) struct Source<'a> {
    pub file: &'a str,
    pub text: &'a str,
}

impl<'a> Source<'a> {
    pub fn new(file: &'a str, text: &'a str) -> Self {
        Self { file, text }
    }

    /// An error at these bytes of the text.
    pub fn error(&self, at: Range<usize>, message: impl Into<String>, help: Option<String>) -> Box<ScriptError> {
        let (line, column) = line_of(self.text, at.start);
        Box::new(ScriptError {
            file: self.file.to_owned(),
            line,
            column,
            message: message.into(),
            help,
            text: NamedSource::new(self.file, self.text.to_owned()).with_language("TOML"),
            span: (at.start, at.len()).into(),
        })
    }
}

/// Line and column (from 1) of a byte of `text`.
pub(crate) fn line_of(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    (line, column)
}

/// A script (or profile) that cannot be taken.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("{file}:{line}:{column}: {message}{}", help.as_ref().map(|h| format!("; {h}")).unwrap_or_default())]
pub struct ScriptError {
    /// As the caller named it.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1.
    pub column: usize,
    /// What is wrong, with the key and the value.
    pub message: String,
    /// What was probably meant.
    pub help: Option<String>,
    #[source_code]
    text: NamedSource<String>,
    #[label("here")]
    span: SourceSpan,
}
