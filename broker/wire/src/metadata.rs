//! Records of the metadata log as the values of its batches: frame version, type and version as unsigned variable-length
//! integers, then the record.

use crate::codec::{self, Bytes, WireError};
use crate::{Message, messages};

/// The only frame version so far.
const FRAME_VERSION: u32 = 1;

include!(concat!(env!("OUT_DIR"), "/records.rs"));

/// What can be done with any record.
trait Visit {
    type Out;
    fn visit<M: Message>(self, record: &M) -> Self::Out;
}

impl MetadataRecord {
    /// Reads the value of a record of the metadata log; bytes that are left over are ignored.
    ///
    /// # Errors
    /// `BadRecordFrame`, `UnknownRecordType`, `UnsupportedVersion`, or what is wrong with the bytes.
    pub fn decode(value: &Bytes) -> Result<MetadataRecord, WireError> {
        Self::decode_versioned(value).map(|(record, _)| record)
    }

    /// As [`MetadataRecord::decode`], with the version that the record was written in.
    ///
    /// # Errors
    /// The same.
    pub fn decode_versioned(value: &Bytes) -> Result<(MetadataRecord, i16), WireError> {
        let mut body = value.clone();
        let frame = codec::uvarint(&mut body)?;
        if frame != FRAME_VERSION {
            return Err(WireError::BadRecordFrame(frame));
        }
        let kind = codec::uvarint(&mut body)?;
        let version = codec::uvarint(&mut body)?;
        let version = i16::try_from(version).unwrap_or(i16::MAX);
        decode_body(kind, version, &mut body).map(|record| (record, version))
    }

    /// The value to append to the metadata log, in the newest version.
    pub fn encode(&self) -> Bytes {
        self.visit(Encode { version: None })
    }

    /// The value to append to the metadata log, in `version` of the record.
    pub fn encode_version(&self, version: i16) -> Bytes {
        self.visit(Encode { version: Some(version) })
    }
}

struct Encode {
    version: Option<i16>,
}

impl Visit for Encode {
    type Out = Bytes;

    fn visit<M: Message>(self, record: &M) -> Bytes {
        let version = self.version.unwrap_or(*M::VERSIONS.end());
        let mut out = Vec::with_capacity(64);
        codec::put_uvarint(&mut out, FRAME_VERSION);
        codec::put_uvarint(&mut out, M::API_KEY as u32);
        codec::put_uvarint(&mut out, version as u32);
        record.encode(&mut out, version);
        Bytes::from(out)
    }
}
