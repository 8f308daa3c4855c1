//! The fewest bytes that a value can take on the wire: what bounds the count of an array.

use crate::model::{Message, Prim, Struct, Type};

/// The fewest bytes of `item` over all versions of the message.
pub(crate) fn smallest(message: &Message, item: &Type) -> usize {
    let versions = message.versions.min..=message.versions.max;
    versions.map(|version| of_type(message, item, version)).min().expect("a message has versions")
}

fn of_type(message: &Message, ty: &Type, version: i16) -> usize {
    let flexible = version >= message.flexible_from;
    match ty {
        Type::Array(_) => {
            if flexible {
                1
            } else {
                4
            }
        }
        Type::Struct(name) => of_struct(message, message.get(name), version),
        Type::Prim(prim) => match prim {
            Prim::Bool | Prim::Int8 => 1,
            Prim::Int16 | Prim::Uint16 => 2,
            Prim::Int32 | Prim::Uint32 => 4,
            Prim::Int64 | Prim::Float64 => 8,
            Prim::Uuid => 16,
            Prim::String | Prim::Bytes | Prim::Records if flexible => 1,
            Prim::String => 2,
            Prim::Bytes | Prim::Records => 4,
        },
    }
}

fn of_struct(message: &Message, item: &Struct, version: i16) -> usize {
    let tags = usize::from(version >= message.flexible_from);
    let plain = item
        .fields
        .iter()
        .filter(|field| field.versions.contains(version))
        .filter(|field| !field.tag.is_some_and(|tag| tag.versions.contains(version)));
    tags + plain.map(|field| of_type(message, &field.ty, version)).sum::<usize>()
}
