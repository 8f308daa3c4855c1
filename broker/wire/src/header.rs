//! The headers in front of requests and responses.

use crate::api::ApiKey;
use crate::codec::{self, BufMut, Bytes};
use crate::{Str, WireError};

/// What opens a request's frame (after its length).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHeader {
    /// Which API.
    pub api_key: ApiKey,
    /// Of the request and of its response. May lie outside of what the codec covers.
    pub api_version: i16,
    /// Comes back in the response.
    pub correlation_id: i32,
    /// How the client calls itself; for logs only.
    pub client_id: Option<Str>,
}

impl RequestHeader {
    /// Reads a header from the front of `buf`; what is left is the request's body.
    ///
    /// # Errors
    /// `UnknownApi`, or what is wrong with the bytes. A version that we do not know is no error here: its header is read
    /// as the newest one.
    pub fn decode(buf: &mut Bytes) -> Result<RequestHeader, WireError> {
        let key = codec::i16(buf)?;
        let api_version = codec::i16(buf)?;
        let correlation_id = codec::i32(buf)?;
        let api_key = ApiKey::from_code(key).ok_or(WireError::UnknownApi(key))?;
        // The client id keeps its old encoding also in the flexible header.
        let client_id = codec::opt_string(buf, false)?;
        if api_key.request_header_version(api_version) >= 2 {
            codec::tags(buf, |_, _| Ok(()))?;
        }
        Ok(RequestHeader { api_key, api_version, correlation_id, client_id })
    }

    /// Appends the header to `buf`.
    pub fn encode(&self, buf: &mut Vec<u8>) {
        buf.put_i16(self.api_key.code());
        buf.put_i16(self.api_version);
        buf.put_i32(self.correlation_id);
        match &self.client_id {
            Some(name) => codec::put_string(buf, name, false),
            None => codec::put_null(buf, false, true, true),
        }
        if self.api_key.request_header_version(self.api_version) >= 2 {
            buf.put_u8(0);
        }
    }
}

/// Appends a response's header to `buf`.
#[inline]
pub fn response_header_encode(buf: &mut Vec<u8>, api_key: ApiKey, version: i16, correlation_id: i32) {
    buf.put_i32(correlation_id);
    if api_key.response_header_version(version) >= 1 {
        buf.put_u8(0);
    }
}

/// Reads a response's header from the front of `buf` and returns its correlation id; what is left is the body.
///
/// # Errors
/// What is wrong with the bytes.
#[inline]
pub fn response_header_decode(buf: &mut Bytes, api_key: ApiKey, version: i16) -> Result<i32, WireError> {
    let correlation_id = codec::i32(buf)?;
    if api_key.response_header_version(version) >= 1 {
        codec::tags(buf, |_, _| Ok(()))?;
    }
    Ok(correlation_id)
}
