//! Files that a test gives to the command.

use std::fmt::{Display, Formatter, Result};
use std::ops::Deref;
use tempfile::TempPath;

/// A file of a test's own, removed at the end. It stands for its path.
pub struct Given {
    path: String,
    _file: TempPath,
}

/// Its name ends with this one, so that it has its ending.
#[allow(clippy::disallowed_methods, reason = "test files")]
pub fn file(name: &str, text: &str) -> Given {
    let file = tempfile::Builder::new().prefix("klamm-").suffix(&format!("-{name}")).tempfile();
    let file = file.expect("a temporary file").into_temp_path();
    std::fs::write(&file, text).expect("a temporary file takes text");
    Given { path: file.display().to_string(), _file: file }
}

impl Deref for Given {
    type Target = str;

    fn deref(&self) -> &str {
        &self.path
    }
}

impl Display for Given {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(&self.path)
    }
}
