//! Compiles message schemas into Rust structs and codecs.
//!
//! A schema file holds messages, one line a field, two spaces of indent a level:
//!
//! ```text
//! # What the message is for.
//! api 2 ListOffsets flexible 6+
//! request 1-10
//!   replica_id: int32
//!   isolation_level: int8 2+ ignorable
//!   topics: []ListOffsetsTopic
//!     name: string
//!     partitions: []ListOffsetsPartition
//!       current_leader_epoch: int32 4+ = -1 ignorable
//! response 1-10
//!   ...
//! ```
//!
//! After the type come, in any order: the versions that have the field (`3`, `3-5`, `3+`; all without it), `tag N` for a
//! tagged field (`tag N 12+` if it is tagged in those versions only), `= VALUE` for the default, `null 2+` for the versions
//! in which a `?type` may be null (all without it), and `ignorable` for a field that may be dropped silently in a version
//! that has no place for it. `record TYPE Name 0-3 flexible 0+` opens a metadata record, `data Name 0-1 flexible 0+` other
//! data. A comment right above a line becomes the documentation of what the line declares. A struct is declared by the
//! indented lines under the first field of its type; later fields of the same message may name it again.

mod emit;
mod model;
mod parse;
mod size;

pub use emit::Generated;
pub use model::{Field, Kind, Message, Prim, Struct, Tag, Type, Versions};

/// What is wrong with a schema, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {message}")]
pub struct SchemaError {
    /// The file, as it was named to [`compile`].
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// What is wrong, with the value.
    pub message: String,
}

/// One schema file.
#[derive(Clone, Debug)]
pub struct Source<'a> {
    /// How errors name it.
    pub name: &'a str,
    /// Its content.
    pub text: &'a str,
}

/// Reads schema files into messages.
///
/// # Errors
/// The first line that is not understood or contradicts another.
pub fn parse(sources: &[Source<'_>]) -> Result<Vec<Message>, SchemaError> {
    let mut messages = Vec::new();
    for source in sources {
        parse::file(source, &mut messages)?;
    }
    Ok(messages)
}

/// Compiles schema files into Rust source.
///
/// # Errors
/// As [`parse`].
pub fn compile(sources: &[Source<'_>]) -> Result<Generated, SchemaError> {
    Ok(emit::generate(&parse(sources)?))
}
