//! The codecs of record batches.

use crate::WireError;
use std::io::{Read, Write};

/// What the records of one batch may unpack to, in bytes, unless the caller says otherwise.
pub const UNPACKED_LIMIT: usize = 64 << 20;
/// Opens snappy data in the block framing of Java clients.
const XERIAL_MAGIC: &[u8; 8] = b"\x82SNAPPY\0";
/// Magic, version and lowest compatible version.
const XERIAL_HEADER: usize = 16;

/// How the records of a batch are compressed (L3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Codec {
    /// Not at all.
    None = 0,
    /// RFC 1952.
    Gzip = 1,
    /// Snappy, raw or in the block framing of Java clients.
    Snappy = 2,
    /// LZ4 frames.
    Lz4 = 3,
    /// Zstandard (KIP-110).
    Zstd = 4,
}

impl Codec {
    /// The codec of the three attribute bits.
    ///
    /// # Errors
    /// `UnknownCodec` for 5 to 7.
    #[inline]
    pub fn from_bits(bits: u8) -> Result<Codec, WireError> {
        match bits {
            0 => Ok(Codec::None),
            1 => Ok(Codec::Gzip),
            2 => Ok(Codec::Snappy),
            3 => Ok(Codec::Lz4),
            4 => Ok(Codec::Zstd),
            other => Err(WireError::UnknownCodec(other)),
        }
    }
}

/// Packs a batch's records.
pub fn compress(codec: Codec, plain: &[u8]) -> Vec<u8> {
    match codec {
        Codec::None => plain.to_vec(),
        Codec::Gzip => gzip(plain),
        Codec::Snappy => snap::raw::Encoder::new().compress_vec(plain).expect("a batch is far below snappy's limit"),
        Codec::Lz4 => lz4(plain),
        Codec::Zstd => zstd::bulk::compress(plain, 3).expect("memory can always take a compressed batch"),
    }
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(plain).and_then(|()| encoder.finish()).expect("writing to memory does not fail")
}

fn lz4(plain: &[u8]) -> Vec<u8> {
    let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
    encoder.write_all(plain).expect("writing to memory does not fail");
    encoder.finish().expect("writing to memory does not fail")
}

/// Unpacks a batch's records, to `cap` bytes at most.
///
/// # Errors
/// `BadCompression`, `TooLarge`.
pub fn decompress(codec: Codec, packed: &[u8], cap: usize) -> Result<Vec<u8>, WireError> {
    match codec {
        Codec::None if packed.len() > cap => Err(WireError::TooLarge { cap }),
        Codec::None => Ok(packed.to_vec()),
        Codec::Gzip => read_capped(flate2::bufread::MultiGzDecoder::new(packed), cap),
        Codec::Snappy => snappy(packed, cap),
        Codec::Lz4 => read_capped(lz4_flex::frame::FrameDecoder::new(packed), cap),
        Codec::Zstd => unzstd(packed, cap),
    }
}

fn read_capped(reader: impl Read, cap: usize) -> Result<Vec<u8>, WireError> {
    let mut out = Vec::new();
    reader.take(cap as u64 + 1).read_to_end(&mut out).map_err(|_| WireError::BadCompression)?;
    if out.len() > cap { Err(WireError::TooLarge { cap }) } else { Ok(out) }
}

fn snappy(packed: &[u8], cap: usize) -> Result<Vec<u8>, WireError> {
    let mut out = Vec::new();
    if !packed.starts_with(XERIAL_MAGIC) {
        unsnap(packed, &mut out, cap)?;
        return Ok(out);
    }
    let mut rest = packed.get(XERIAL_HEADER..).ok_or(WireError::BadCompression)?;
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk().ok_or(WireError::BadCompression)?;
        let length = u32::from_be_bytes(*length) as usize;
        let (block, after) = after.split_at_checked(length).ok_or(WireError::BadCompression)?;
        unsnap(block, &mut out, cap)?;
        rest = after;
    }
    Ok(out)
}

/// Snappy turns three bytes into 64 at best: a length field beyond that lies, and is not given memory.
const SNAPPY_RATIO: usize = 64;

fn unsnap(block: &[u8], out: &mut Vec<u8>, cap: usize) -> Result<(), WireError> {
    let length = snap::raw::decompress_len(block).map_err(|_| WireError::BadCompression)?;
    let start = out.len();
    if length > cap - start {
        return Err(WireError::TooLarge { cap });
    }
    if length > block.len().saturating_mul(SNAPPY_RATIO) {
        return Err(WireError::BadCompression);
    }
    out.resize(start + length, 0);
    snap::raw::Decoder::new().decompress(block, &mut out[start..]).map_err(|_| WireError::BadCompression)?;
    Ok(())
}

/// In one go into a growing buffer, because a stream decoder would allocate whatever window the input names.
fn unzstd(packed: &[u8], cap: usize) -> Result<Vec<u8>, WireError> {
    let mut decoder = zstd::bulk::Decompressor::new().map_err(|_| WireError::BadCompression)?;
    let mut room = packed.len().saturating_mul(8).clamp(1024, cap.max(1024));
    loop {
        match decoder.decompress(packed, room) {
            Ok(out) if out.len() > cap => return Err(WireError::TooLarge { cap }),
            Ok(out) => return Ok(out),
            Err(error) if !says_too_small(&error) => return Err(WireError::BadCompression),
            Err(_) if room >= cap => return Err(WireError::TooLarge { cap }),
            Err(_) => room = room.saturating_mul(4).min(cap),
        }
    }
}

/// The binding hands the library's error on as text only.
fn says_too_small(error: &std::io::Error) -> bool {
    error.to_string().contains("too small")
}
