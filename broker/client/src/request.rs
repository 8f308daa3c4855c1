//! Requests as bytes: header and body for a correlation id, and answers back.

use bytes::Bytes;
use klamm_wire::{ApiKey, Message, RequestHeader, Str, frame};

/// Bytes before a request's correlation id: its length, its API and its version.
const CORRELATION_ID_AT: usize = frame::LENGTH + 4;
/// Enough for a header and a small body.
const SMALL_BYTES: usize = 256;

/// A request that is encoded; only the correlation id is missing.
#[derive(Debug)]
pub struct Encoded {
    /// Room for the length, header and body.
    frame: Vec<u8>,
    /// False: no answer comes (Produce with acks=0).
    pub answered: bool,
}

impl Encoded {
    /// Encodes it in that version.
    pub fn new<M: Message>(message: &M, version: i16, client_id: &Str) -> Self {
        Self::with_records(message, version, client_id, 0)
    }

    /// As [`Encoded::new`], with room for so many bytes of records.
    pub fn with_records<M: Message>(message: &M, version: i16, client_id: &Str, record_bytes: usize) -> Self {
        let api_key = key::<M>();
        let header =
            RequestHeader { api_key, api_version: version, correlation_id: 0, client_id: Some(client_id.clone()) };
        let mut frame = frame::begin(SMALL_BYTES + record_bytes);
        header.encode(&mut frame);
        message.encode(&mut frame, version);
        Self { frame, answered: true }
    }

    /// The whole frame.
    pub fn frame(mut self, correlation_id: i32) -> Bytes {
        self.frame[CORRELATION_ID_AT..][..4].copy_from_slice(&correlation_id.to_be_bytes());
        frame::finish(self.frame)
    }
}

/// The answer in a frame; `None` if it is not of the protocol.
pub fn decode<M: Message>(mut frame: Bytes, version: i16) -> Option<M> {
    klamm_wire::response_header_decode(&mut frame, key::<M>(), version).ok()?;
    M::decode(&mut frame, version).ok()
}

fn key<M: Message>() -> ApiKey {
    ApiKey::from_code(M::API_KEY).expect("a request or response names its API")
}
