//! Requests as bytes: header and body for a correlation id, and answers back.

use bytes::{Bytes, BytesMut};
use klamm_wire::{ApiKey, Message, RequestHeader, Str};

/// A request whose body is encoded; only the correlation id is missing.
#[derive(Debug)]
pub struct Encoded {
    api_key: ApiKey,
    version: i16,
    client_id: Str,
    body: Bytes,
    /// False: no answer comes (Produce with acks=0).
    pub answered: bool,
}

impl Encoded {
    /// Encodes the body in that version.
    pub fn new<M: Message>(message: &M, version: i16, client_id: &Str) -> Self {
        let mut body = BytesMut::new();
        message.encode(&mut body, version);
        Self { api_key: key::<M>(), version, client_id: client_id.clone(), body: body.freeze(), answered: true }
    }

    /// The frame without its length.
    pub fn frame(&self, correlation_id: i32) -> Bytes {
        let header = RequestHeader {
            api_key: self.api_key,
            api_version: self.version,
            correlation_id,
            client_id: Some(self.client_id.clone()),
        };
        let mut frame = BytesMut::with_capacity(self.body.len() + 32);
        header.encode(&mut frame);
        frame.extend_from_slice(&self.body);
        frame.freeze()
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
