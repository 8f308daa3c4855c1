//! The protocol's primitive values.

pub(crate) use crate::{Str, WireError};
pub(crate) use bytes::{BufMut, Bytes};
pub(crate) use klamm_base::Uuid;

use bytes::Buf;

/// Bytes as text, for who prints a message.
pub(crate) fn hex<S: serde::Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{bytes:x}"))
}

/// As [`hex`], or null.
pub(crate) fn hex_or_null<S: serde::Serializer>(bytes: &Option<Bytes>, serializer: S) -> Result<S::Ok, S::Error> {
    match bytes {
        Some(bytes) => hex(bytes, serializer),
        None => serializer.serialize_none(),
    }
}

macro_rules! fixed {
    ($($name:ident $get:ident $size:literal;)*) => {$(
        #[allow(dead_code, reason = "which widths occur is the schemas' matter")]
        #[inline]
        pub(crate) fn $name(buf: &mut Bytes) -> Result<$name, WireError> {
            if buf.len() < $size {
                return Err(WireError::Truncated);
            }
            Ok(buf.$get())
        }
    )*};
}

fixed! {
    u8 get_u8 1;
    i8 get_i8 1;
    i16 get_i16 2;
    u16 get_u16 2;
    i32 get_i32 4;
    u32 get_u32 4;
    i64 get_i64 8;
    u128 get_u128 16;
    f64 get_f64 8;
}

/// Reads a variable-length integer from a slice and cuts it off; `None` if it does not end in time.
#[inline]
fn slice_unsigned(bytes: &mut &[u8], limit: usize) -> Option<u64> {
    let mut value = 0u64;
    for (at, &byte) in bytes.iter().take(limit).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            *bytes = &bytes[at + 1..];
            return Some(value);
        }
    }
    None
}

/// Zig-zag, as in records.
#[inline]
pub(crate) fn slice_varint(bytes: &mut &[u8]) -> Option<i32> {
    let raw = slice_unsigned(bytes, 5)? as u32;
    Some((raw >> 1) as i32 ^ -((raw & 1) as i32))
}

/// Zig-zag, as in records.
#[inline]
pub(crate) fn slice_varlong(bytes: &mut &[u8]) -> Option<i64> {
    let raw = slice_unsigned(bytes, 10)?;
    Some((raw >> 1) as i64 ^ -((raw & 1) as i64))
}

/// Cuts `length` bytes off; `None` if they are not there.
#[inline]
pub(crate) fn slice_take<'a>(bytes: &mut &'a [u8], length: i32) -> Option<&'a [u8]> {
    let (head, tail) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
    *bytes = tail;
    Some(head)
}

/// Cuts off what stands behind its own length, in which -1 says that there is nothing; `None` if it is not there.
#[inline]
pub(crate) fn slice_nullable<'a>(bytes: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    match slice_varint(bytes)? {
        -1 => Some(None),
        length => slice_take(bytes, length).map(Some),
    }
}

#[inline]
fn unsigned(buf: &mut Bytes, limit: usize) -> Result<u64, WireError> {
    let mut rest = &buf[..];
    let before = rest.len();
    let Some(value) = slice_unsigned(&mut rest, limit) else {
        return Err(if before < limit { WireError::Truncated } else { WireError::BadVarint });
    };
    let used = before - rest.len();
    buf.advance(used);
    Ok(value)
}

#[inline]
pub(crate) fn uvarint(buf: &mut Bytes) -> Result<u32, WireError> {
    let value = unsigned(buf, 5)?;
    u32::try_from(value).map_err(|_| WireError::BadVarint)
}

#[inline]
pub(crate) fn varint(buf: &mut Bytes) -> Result<i32, WireError> {
    let raw = unsigned(buf, 5)? as u32;
    Ok((raw >> 1) as i32 ^ -((raw & 1) as i32))
}

#[inline]
pub(crate) fn varlong(buf: &mut Bytes) -> Result<i64, WireError> {
    let raw = unsigned(buf, 10)?;
    Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
}

#[inline]
pub(crate) fn put_uvarlong(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

#[inline]
pub(crate) fn put_uvarint(out: &mut Vec<u8>, value: u32) {
    put_uvarlong(out, u64::from(value));
}

#[inline]
pub(crate) fn put_varint(out: &mut Vec<u8>, value: i32) {
    put_uvarint(out, ((value << 1) ^ (value >> 31)) as u32);
}

#[inline]
pub(crate) fn put_varlong(out: &mut Vec<u8>, value: i64) {
    put_uvarlong(out, ((value << 1) ^ (value >> 63)) as u64);
}

#[inline]
pub(crate) fn varlong_len(value: i64) -> usize {
    let raw = ((value << 1) ^ (value >> 63)) as u64;
    (70 - (raw | 1).leading_zeros() as usize) / 7
}

#[inline]
pub(crate) fn varint_len(value: i32) -> usize {
    varlong_len(i64::from(value))
}

/// What a message's decoder may take for one byte of input, in bytes; the rest up to 64 is for what a frame's own
/// bookkeeping takes.
pub(crate) const ALLOC_LIMIT: usize = 60;

/// The largest of `all`.
pub(crate) const fn most(all: &[usize]) -> usize {
    let (mut at, mut most) = (0, 0);
    while at < all.len() {
        if all[at] > most {
            most = all[at];
        }
        at += 1;
    }
    most
}

#[inline]
pub(crate) fn boolean(buf: &mut Bytes) -> Result<bool, WireError> {
    Ok(u8(buf)? != 0)
}

#[inline]
pub(crate) fn uuid(buf: &mut Bytes) -> Result<Uuid, WireError> {
    u128(buf).map(Uuid)
}

/// Cuts `length` bytes off.
#[inline]
fn take(buf: &mut Bytes, length: usize) -> Result<Bytes, WireError> {
    if length > buf.len() {
        return Err(WireError::BadLength(length as i64));
    }
    Ok(buf.split_to(length))
}

/// A length or a count; `None` for null. `short` lengths have 16 bits where they are not compact.
#[inline]
fn length(buf: &mut Bytes, flexible: bool, short: bool) -> Result<Option<usize>, WireError> {
    if flexible {
        return Ok((uvarint(buf)? as usize).checked_sub(1));
    }
    let length = if short { i32::from(i16(buf)?) } else { i32(buf)? };
    match length {
        -1 => Ok(None),
        length => usize::try_from(length).map(Some).map_err(|_| WireError::BadLength(i64::from(length))),
    }
}

#[inline]
pub(crate) fn opt_string(buf: &mut Bytes, flexible: bool) -> Result<Option<Str>, WireError> {
    match length(buf, flexible, true)? {
        None => Ok(None),
        Some(length) => Str::try_from(take(buf, length)?).map(Some),
    }
}

#[inline]
pub(crate) fn string(buf: &mut Bytes, flexible: bool) -> Result<Str, WireError> {
    opt_string(buf, flexible)?.ok_or(WireError::UnexpectedNull)
}

#[inline]
pub(crate) fn opt_bytes(buf: &mut Bytes, flexible: bool) -> Result<Option<Bytes>, WireError> {
    match length(buf, flexible, false)? {
        None => Ok(None),
        Some(length) => take(buf, length).map(Some),
    }
}

#[allow(dead_code, reason = "no schema has a bytes field that is never null yet")]
#[inline]
pub(crate) fn bytes(buf: &mut Bytes, flexible: bool) -> Result<Bytes, WireError> {
    opt_bytes(buf, flexible)?.ok_or(WireError::UnexpectedNull)
}

/// A tagged struct that may be null: zero, or one and the struct (KIP-893).
pub(crate) fn opt_struct<T>(
    buf: &mut Bytes,
    read: impl FnOnce(&mut Bytes) -> Result<T, WireError>,
) -> Result<Option<T>, WireError> {
    if uvarint(buf)? == 0 { Ok(None) } else { read(buf).map(Some) }
}

/// An array whose items take `min` bytes or more each: a count that cannot fit is refused before memory is taken.
#[inline]
pub(crate) fn opt_array<T>(
    buf: &mut Bytes,
    flexible: bool,
    min: usize,
    mut read: impl FnMut(&mut Bytes) -> Result<T, WireError>,
) -> Result<Option<Vec<T>>, WireError> {
    let Some(count) = length(buf, flexible, false)? else {
        return Ok(None);
    };
    if count > buf.len() / min {
        return Err(WireError::BadLength(count as i64));
    }
    let mut items = Vec::with_capacity(count);
    for _ in 0..count {
        items.push(read(buf)?);
    }
    Ok(Some(items))
}

#[inline]
pub(crate) fn array<T>(
    buf: &mut Bytes,
    flexible: bool,
    min: usize,
    read: impl FnMut(&mut Bytes) -> Result<T, WireError>,
) -> Result<Vec<T>, WireError> {
    opt_array(buf, flexible, min, read)?.ok_or(WireError::UnexpectedNull)
}

/// Refuses null in a version that has no null.
#[inline]
pub(crate) fn null_if<T>(may: bool, value: Result<Option<T>, WireError>) -> Result<Option<T>, WireError> {
    let value = value?;
    if value.is_none() && !may { Err(WireError::UnexpectedNull) } else { Ok(value) }
}

/// Reads the tagged fields; `field` gets each with its own bytes and need not read them.
#[inline]
pub(crate) fn tags(
    buf: &mut Bytes,
    mut field: impl FnMut(u32, &mut Bytes) -> Result<(), WireError>,
) -> Result<(), WireError> {
    for _ in 0..uvarint(buf)? {
        let tag = uvarint(buf)?;
        let size = uvarint(buf)? as usize;
        let mut body = take(buf, size)?;
        field(tag, &mut body)?;
    }
    Ok(())
}

#[inline]
fn put_length(out: &mut Vec<u8>, length: usize, flexible: bool) {
    if flexible {
        put_uvarint(out, length as u32 + 1);
    } else {
        out.put_i32(length as i32);
    }
}

#[inline]
pub(crate) fn put_count(out: &mut Vec<u8>, count: usize, flexible: bool) {
    put_length(out, count, flexible);
}

/// Without compact lengths a string has 32,767 bytes at most; the rest of a longer one is left out.
#[inline]
pub(crate) fn put_string(out: &mut Vec<u8>, text: &str, flexible: bool) {
    if flexible {
        put_uvarint(out, text.len() as u32 + 1);
        out.extend_from_slice(text.as_bytes());
    } else {
        let text = &text[..text.floor_char_boundary(i16::MAX as usize)];
        out.put_i16(text.len() as i16);
        out.extend_from_slice(text.as_bytes());
    }
}

#[inline]
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &Bytes, flexible: bool) {
    put_length(out, bytes.len(), flexible);
    out.extend_from_slice(bytes);
}

/// Null, or nothing of length zero in a version that has no null.
#[inline]
pub(crate) fn put_null(out: &mut Vec<u8>, flexible: bool, string: bool, may: bool) {
    match (flexible, string) {
        (true, _) => out.put_u8(u8::from(!may)),
        (false, true) => out.put_i16(if may { -1 } else { 0 }),
        (false, false) => out.put_i32(if may { -1 } else { 0 }),
    }
}

/// A tagged field: its size stands before it and is known after it, so the body moves up by the size's own length.
pub(crate) fn put_tag(out: &mut Vec<u8>, tag: u32, body: impl FnOnce(&mut Vec<u8>)) {
    put_uvarint(out, tag);
    let start = out.len();
    body(out);
    let size = out.len() - start;
    put_uvarint(out, size as u32);
    out[start..].rotate_left(size);
}
