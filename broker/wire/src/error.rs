//! Why bytes could not be read.

/// What is wrong with bytes from the wire or from a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The bytes end inside a value.
    #[error("the bytes end inside a value")]
    Truncated,
    /// An API key that this crate has no codec for.
    #[error("API key {0} is not known")]
    UnknownApi(i16),
    /// A version outside of what the message's codec covers.
    #[error("{message} version {version} is not supported")]
    UnsupportedVersion {
        /// The message, by Kafka's name.
        message: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// A length that is negative, or larger than the bytes that follow can hold.
    #[error("length {0} is negative or larger than what follows")]
    BadLength(i64),
    /// Null where the field must not be null.
    #[error("null where a value is required")]
    UnexpectedNull,
    /// A string that is not UTF-8.
    #[error("a string is not UTF-8")]
    BadUtf8,
    /// A variable-length integer that is too long.
    #[error("a variable-length integer is too long")]
    BadVarint,
    /// A record batch of another format than v2.
    #[error("record batch magic {0} is not supported, only 2")]
    BadMagic(i8),
    /// A record batch whose header or records contradict themselves.
    #[error("malformed record batch: {0}")]
    BadBatch(&'static str),
    /// The attributes name a codec that does not exist.
    #[error("compression codec {0} does not exist")]
    UnknownCodec(u8),
    /// Compressed bytes that their codec refuses.
    #[error("the compressed records are malformed")]
    BadCompression,
    /// Compressed records that unpack to more than the cap.
    #[error("the records unpack to more than {cap} bytes")]
    TooLarge {
        /// Bytes that were allowed.
        cap: usize,
    },
    /// A frame longer than the limit.
    #[error("a frame of {length} bytes is over the limit of {limit}")]
    FrameTooLarge {
        /// Bytes that the length field announces; negative ones too.
        length: i64,
        /// Bytes that were allowed.
        limit: usize,
    },
    /// A metadata record in an unknown frame.
    #[error("metadata record frame version {0} is not supported, only 1")]
    BadRecordFrame(u32),
    /// A metadata record of a type that this crate has no codec for.
    #[error("metadata record type {0} is not known")]
    UnknownRecordType(u32),
}
