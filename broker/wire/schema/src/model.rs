//! What a schema says, read.

use std::fmt;

/// An inclusive range of versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The first one.
    pub min: i16,
    /// The last one.
    pub max: i16,
}

impl Versions {
    /// True if `version` lies in the range.
    pub fn contains(self, version: i16) -> bool {
        (self.min..=self.max).contains(&version)
    }

    /// True if all of `other` lies in the range.
    pub fn covers(self, other: Versions) -> bool {
        self.min <= other.min && other.max <= self.max
    }

    /// What both have; `None` if nothing.
    pub fn overlap(self, other: Versions) -> Option<Versions> {
        let (min, max) = (self.min.max(other.min), self.max.min(other.max));
        (min <= max).then_some(Versions { min, max })
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.min == self.max { write!(f, "{}", self.min) } else { write!(f, "{}-{}", self.min, self.max) }
    }
}

/// A primitive type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prim {
    /// One byte, 0 or 1.
    Bool,
    /// Signed, 8 bits.
    Int8,
    /// Signed, 16 bits.
    Int16,
    /// Unsigned, 16 bits.
    Uint16,
    /// Signed, 32 bits.
    Int32,
    /// Unsigned, 32 bits.
    Uint32,
    /// Signed, 64 bits.
    Int64,
    /// IEEE 754, 64 bits.
    Float64,
    /// 16 bytes.
    Uuid,
    /// UTF-8 with a length.
    String,
    /// Bytes with a length.
    Bytes,
    /// Record batches: bytes that are always nullable.
    Records,
}

impl Prim {
    /// The type that a schema calls `name`.
    pub fn named(name: &str) -> Option<Prim> {
        Some(match name {
            "bool" => Prim::Bool,
            "int8" => Prim::Int8,
            "int16" => Prim::Int16,
            "uint16" => Prim::Uint16,
            "int32" => Prim::Int32,
            "uint32" => Prim::Uint32,
            "int64" => Prim::Int64,
            "float64" => Prim::Float64,
            "uuid" => Prim::Uuid,
            "string" => Prim::String,
            "bytes" => Prim::Bytes,
            "records" => Prim::Records,
            _ => return None,
        })
    }

    /// True for strings, bytes and records, which carry a length.
    pub fn has_length(self) -> bool {
        matches!(self, Prim::String | Prim::Bytes | Prim::Records)
    }
}

/// The type of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// A primitive.
    Prim(Prim),
    /// A struct of the same message.
    Struct(String),
    /// An array.
    Array(Box<Type>),
}

/// A tagged field's number, and the versions in which it is tagged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// The tag.
    pub number: u32,
    /// Where it is tagged; elsewhere it stands among the other fields.
    pub versions: Versions,
}

/// One field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// In snake_case.
    pub name: String,
    /// Comment lines above it.
    pub docs: Vec<String>,
    /// Its type.
    pub ty: Type,
    /// Versions that have it, clipped to the message's.
    pub versions: Versions,
    /// Versions in which it may be null; `None` if it never may.
    pub nullable: Option<Versions>,
    /// Its tag, if it has one.
    pub tag: Option<Tag>,
    /// Its default as written; `None` for the type's zero.
    pub default: Option<String>,
    /// May be dropped silently.
    pub ignorable: bool,
}

/// A struct of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Struct {
    /// By Kafka's name.
    pub name: String,
    /// Comment lines above the field that declares it.
    pub docs: Vec<String>,
    /// In wire order.
    pub fields: Vec<Field>,
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A request.
    Request,
    /// A response.
    Response,
    /// A metadata record.
    Record,
    /// Data inside a record.
    Data,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it is.
    pub kind: Kind,
    /// Kafka's name of the API (`Fetch`), or of the record or data.
    pub api: String,
    /// API key, record type, or -1.
    pub key: i16,
    /// Versions with a codec.
    pub versions: Versions,
    /// First flexible version; `i16::MAX` without one.
    pub flexible_from: i16,
    /// The message itself first, then its structs as they were declared.
    pub structs: Vec<Struct>,
}

impl Message {
    /// Kafka's name of the message.
    pub fn name(&self) -> &str {
        &self.structs[0].name
    }

    /// The struct called `name`, which the parser has seen to be there.
    pub fn get(&self, name: &str) -> &Struct {
        self.structs.iter().find(|item| item.name == name).expect("the parser resolved every type")
    }
}
