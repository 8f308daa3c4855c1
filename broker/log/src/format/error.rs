//! What is wrong with a file, and where.

/// The first thing that is wrong with a file's content; each names the byte where it stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The file ends inside an entry.
    #[error("byte {at}: {bytes} bytes are left, an entry has {entry}")]
    PartEntry {
        /// Where the part of an entry begins.
        at: u64,
        /// Bytes of it that are there.
        bytes: usize,
        /// Bytes of a whole entry.
        entry: usize,
    },
    /// An entry that does not go beyond the one before it.
    #[error("byte {at}: {field} {value} after {before}, it must grow")]
    NotGrowing {
        /// Where the entry begins.
        at: u64,
        /// What should have grown.
        field: &'static str,
        /// What it is.
        value: i64,
        /// What it was in the entry before.
        before: i64,
    },
    /// A value outside of what it can be.
    #[error("byte {at}: {field} {value} is outside of {least} to {most}")]
    OutOfRange {
        /// Where the entry begins.
        at: u64,
        /// What is out of range.
        field: &'static str,
        /// What it is.
        value: i64,
        /// The least that it can be.
        least: i64,
        /// The most that it can be.
        most: i64,
    },
    /// A version that we do not know.
    #[error("byte {at}: version {found}, only {known} is known")]
    Version {
        /// Where the version stands.
        at: u64,
        /// The version in the file.
        found: i64,
        /// The versions that can be read.
        known: &'static str,
    },
    /// A checksum that does not fit.
    #[error("byte {at}: checksum {found:#010x}, but the content gives {computed:#010x}")]
    Checksum {
        /// Where the checksum stands.
        at: u64,
        /// What stands there.
        found: u32,
        /// What the content behind it gives.
        computed: u32,
    },
    /// More or fewer bytes or lines than announced.
    #[error("byte {at}: {found} {what}, but {announced} are announced")]
    Count {
        /// Where the count is broken: the end of what is there, or the first thing too much.
        at: u64,
        /// What is counted.
        what: &'static str,
        /// How many there are.
        found: u64,
        /// How many there should be.
        announced: i64,
    },
    /// A line or a text that is not what stands in such a file.
    #[error("byte {at}: expected {expected}, found {found:?}")]
    Text {
        /// Where the text begins.
        at: u64,
        /// What stands there.
        found: String,
        /// What should stand there.
        expected: &'static str,
    },
}

impl FormatError {
    /// The byte of the file at which it is wrong.
    pub fn at(&self) -> u64 {
        match self {
            FormatError::PartEntry { at, .. }
            | FormatError::NotGrowing { at, .. }
            | FormatError::OutOfRange { at, .. }
            | FormatError::Version { at, .. }
            | FormatError::Checksum { at, .. }
            | FormatError::Count { at, .. }
            | FormatError::Text { at, .. } => *at,
        }
    }

    /// A text that is not `expected`; of a long one only the beginning is kept.
    pub(super) fn text(at: u64, found: &str, expected: &'static str) -> FormatError {
        FormatError::Text { at, found: found.chars().take(80).collect(), expected }
    }

    /// `Ok` if `value` lies from `least` to `most`.
    pub(super) fn check_range(
        at: u64,
        field: &'static str,
        value: i64,
        (least, most): (i64, i64),
    ) -> Result<(), FormatError> {
        if (least..=most).contains(&value) {
            return Ok(());
        }
        Err(FormatError::OutOfRange { at, field, value, least, most })
    }
}
