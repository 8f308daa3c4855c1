//! What every message can do.

use crate::WireError;
use bytes::Bytes;
use std::ops::RangeInclusive;

/// A request, a response, a metadata record, or data inside a record, in all its versions.
pub trait Message: Sized {
    /// Kafka's name of it.
    const NAME: &'static str;
    /// API key of a request or response, type of a metadata record, -1 for other data.
    const API_KEY: i16;
    /// Versions that the codec covers.
    const VERSIONS: RangeInclusive<i16>;
    /// First version with compact lengths and tagged fields (KIP-482); `i16::MAX` if there is none.
    const FLEXIBLE_FROM: i16;

    /// Reads one from the front of `buf`; what follows it stays in `buf`. Never allocates more than 64 bytes per byte of
    /// `buf`, never panics, whatever the bytes.
    ///
    /// # Errors
    /// `UnsupportedVersion`, or what is wrong with the bytes.
    fn decode(buf: &mut Bytes, version: i16) -> Result<Self, WireError>;

    /// Appends it to `buf`. A field that `version` cannot express is left out; [`Message::inexpressible`] names those whose
    /// loss matters.
    fn encode(&self, buf: &mut Vec<u8>, version: i16);

    /// The first field that holds something, is not marked ignorable by Kafka, and is lost in `version`.
    fn inexpressible(&self, version: i16) -> Option<&'static str>;
}
