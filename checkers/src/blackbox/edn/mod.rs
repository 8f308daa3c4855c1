//! Jepsen's histories: `history.edn`, one map for each invocation and each completion. Of EDN only what such files hold is read:
//! maps, vectors, lists, sets, keywords, whole numbers, texts, `nil`, booleans, symbols; tags are skipped, what is tagged is read.

mod lexer;
mod read;
mod values;
mod write;

pub use read::read;
pub use write::write;

/// Why a text is no history.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct EdnError {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// What was found, and what was expected.
    pub message: String,
}

/// The same by the byte at which it was found.
#[derive(Debug)]
struct Wrong {
    at: usize,
    message: String,
}

impl Wrong {
    fn new(at: usize, message: impl Into<String>) -> Wrong {
        Wrong { at, message: message.into() }
    }

    fn in_text(self, text: &str) -> EdnError {
        let before = &text.as_bytes()[..self.at.min(text.len())];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let column = String::from_utf8_lossy(&before[start..]).chars().count() + 1;
        EdnError { line, column, message: self.message }
    }
}
