//! The codecs of record batches.

use crate::WireError;
use std::io::{Read, Write};

/// What the records of one batch may unpack to, in bytes, unless the caller says otherwise. Kafka has no such limit; it
/// unpacks in pieces.
pub const UNPACKED_LIMIT: usize = 64 << 20;
/// What unpacking takes beside the unpacked bytes themselves, in bytes: windows and tables of the codecs. The dearest are
/// two LZ4 blocks of 4 MiB, which a frame of a few bytes may ask for.
pub const UNPACKING_SCRATCH: usize = 9 << 20;
/// Opens snappy data in the block framing of Java clients.
const XERIAL_MAGIC: &[u8; 8] = b"\x82SNAPPY\0";
/// Magic, version and lowest compatible version.
const XERIAL_HEADER: usize = 16;
/// Bytes in a block of that framing, as Java clients cut them.
const XERIAL_BLOCK: usize = 32 << 10;
/// Kafka's own default.
const ZSTD_LEVEL: i32 = 3;

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
    /// All, in the order of their numbers.
    pub const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

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

    /// The codec of a `compression.type`: a producer says `none`, a topic `uncompressed`.
    pub fn from_name(name: &str) -> Option<Codec> {
        Some(match name {
            "none" | "uncompressed" => Codec::None,
            "gzip" => Codec::Gzip,
            "snappy" => Codec::Snappy,
            "lz4" => Codec::Lz4,
            "zstd" => Codec::Zstd,
            _ => return None,
        })
    }
}

/// A codec and how hard it tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression {
    /// The codec.
    pub codec: Codec,
    /// `compression.gzip.level` or `compression.zstd.level`; `None` is the codec's default. Snappy has no levels, and our LZ4
    /// has one.
    pub level: Option<i32>,
}

impl From<Codec> for Compression {
    fn from(codec: Codec) -> Self {
        Compression { codec, level: None }
    }
}

/// Packs a batch's records so that every client of Kafka can unpack them.
pub fn compress(compression: impl Into<Compression>, plain: &[u8]) -> Vec<u8> {
    let Compression { codec, level } = compression.into();
    match codec {
        Codec::None => plain.to_vec(),
        Codec::Gzip => gzip(plain, level),
        Codec::Snappy => xerial(plain),
        Codec::Lz4 => lz4(plain),
        Codec::Zstd => {
            zstd::bulk::compress(plain, level.unwrap_or(ZSTD_LEVEL)).expect("memory can always take a compressed batch")
        }
    }
}

fn gzip(plain: &[u8], level: Option<i32>) -> Vec<u8> {
    let level = level.and_then(|level| u32::try_from(level).ok());
    let level = level.map_or_else(flate2::Compression::default, flate2::Compression::new);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
    encoder.write_all(plain).and_then(|()| encoder.finish()).expect("writing to memory does not fail")
}

/// Java clients read raw snappy too, but only in this framing piece by piece.
fn xerial(plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(XERIAL_HEADER + plain.len() / 2);
    out.extend_from_slice(XERIAL_MAGIC);
    // Its version, and the oldest one that can read it.
    out.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1]);
    let mut encoder = snap::raw::Encoder::new();
    for piece in plain.chunks(XERIAL_BLOCK) {
        let block = encoder.compress_vec(piece).expect("a block is far below snappy's limit");
        out.extend_from_slice(&(block.len() as u32).to_be_bytes());
        out.extend_from_slice(&block);
    }
    out
}

/// Blocks of 64 KiB that do not build on each other, without checksums but the header's: what Java clients write, and the
/// only kind of blocks that they read.
fn lz4(plain: &[u8]) -> Vec<u8> {
    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    let info = FrameInfo::new().block_size(BlockSize::Max64KB).block_mode(BlockMode::Independent);
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(plain).expect("writing to memory does not fail");
    encoder.finish().expect("writing to memory does not fail")
}

/// Unpacks a batch's records, to `cap` bytes at most. Takes no more memory than twice the cap and [`UNPACKING_SCRATCH`].
///
/// # Errors
/// `BadCompression`, `TooLarge`.
pub fn decompress(codec: Codec, packed: &[u8], cap: usize) -> Result<Vec<u8>, WireError> {
    match codec {
        Codec::None if packed.len() > cap => Err(WireError::TooLarge { cap }),
        Codec::None => Ok(packed.to_vec()),
        Codec::Gzip => read_capped(flate2::bufread::MultiGzDecoder::new(packed), packed.len(), cap),
        Codec::Snappy => snappy(packed, cap),
        Codec::Lz4 => unlz4(packed, cap),
        Codec::Zstd => unzstd(packed, cap),
    }
}

/// Grows to the cap and one byte more, never further: a growing vector by itself would take up to the double of it.
fn read_capped(mut reader: impl Read, packed: usize, cap: usize) -> Result<Vec<u8>, WireError> {
    let mut out = vec![0; packed.saturating_mul(4).clamp(1024.min(cap), cap) + 1];
    let mut len = 0;
    loop {
        match reader.read(&mut out[len..]).map_err(|_| WireError::BadCompression)? {
            0 => break,
            read => len += read,
        }
        if len > cap {
            return Err(WireError::TooLarge { cap });
        }
        if len == out.len() {
            let grown = len.saturating_mul(2).min(cap + 1);
            out.reserve_exact(grown - len);
            out.resize(grown, 0);
        }
    }
    out.truncate(len);
    Ok(out)
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
    if out.capacity() < start + length {
        out.reserve_exact((start * 2).min(cap).max(start + length) - start);
    }
    out.resize(start + length, 0);
    snap::raw::Decoder::new().decompress(block, &mut out[start..]).map_err(|_| WireError::BadCompression)?;
    Ok(())
}

fn unlz4(packed: &[u8], cap: usize) -> Result<Vec<u8>, WireError> {
    let frame = lz4_frame(packed).ok_or(WireError::BadCompression)?;
    read_capped(lz4_flex::frame::FrameDecoder::new(frame), frame.len(), cap)
}

/// The one frame that `packed` opens with, whole and of independent blocks: Kafka reads no other, nothing behind it, and so
/// the decoder never changes its buffers' sizes.
fn lz4_frame(packed: &[u8]) -> Option<&[u8]> {
    const MAGIC: &[u8] = &[0x04, 0x22, 0x4d, 0x18];
    const STORED: u32 = 1 << 31;
    let flags = *packed.strip_prefix(MAGIC)?.first()?;
    let has = |bit: u8| usize::from(flags & bit != 0);
    let (independent, block_sum, content_size, content_sum) = (has(0x20), has(0x10), has(0x08), has(0x04));
    if independent == 0 || has(0x01) == 1 {
        return None;
    }
    // Magic, flags, block size, the content's size, the header's checksum.
    let mut at = 7 + 8 * content_size;
    loop {
        let length = u32::from_le_bytes(*packed.get(at..)?.first_chunk()?);
        at += 4;
        if length == 0 {
            return packed.get(..at + 4 * content_sum);
        }
        at = at.checked_add((length & !STORED) as usize + 4 * block_sum)?;
    }
}

/// In one go into a growing buffer, because a stream decoder would allocate whatever window the input names.
fn unzstd(packed: &[u8], cap: usize) -> Result<Vec<u8>, WireError> {
    let mut decoder = zstd::bulk::Decompressor::new().map_err(|_| WireError::BadCompression)?;
    let mut room = packed.len().saturating_mul(8).clamp(1024.min(cap), cap);
    loop {
        match decoder.decompress(packed, room) {
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
