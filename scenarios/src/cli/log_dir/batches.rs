//! The batches of a file, in pieces: memory does not grow with the file.

use super::tree::FileEntry;
use crate::cli::Bad;
use bytes::{Bytes, BytesMut};
use klamm_wire::records::{Batch, BatchHeader, CRC_FROM, HEADER_LEN};
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};

/// Larger batches are checked and told, but their records are not read.
const KEPT_MAX: usize = 64 << 20;
/// Bytes that are read at once.
const PIECE: usize = 1 << 20;

/// One batch.
pub struct Found {
    pub header: BatchHeader,
    /// Where it begins in the file.
    pub position: u64,
    /// The checksum of what stands there.
    pub computed_crc: u32,
    /// All of it, unless it is larger than can be kept.
    pub batch: Option<Batch>,
}

impl Found {
    /// True if its checksum fits.
    pub fn is_valid(&self) -> bool {
        self.computed_crc == self.header.crc
    }
}

/// What comes next in a file.
pub enum Piece {
    /// A whole batch.
    Batch(Box<Found>),
    /// From `position` on nothing can be read as batches.
    Torn { position: u64, bytes: u64, why: String },
}

/// See [`Batches::next`].
pub struct Batches {
    name: String,
    input: BufReader<File>,
    position: u64,
    len: u64,
}

impl Batches {
    /// Of a `.log`, or of a snapshot of the metadata log.
    ///
    /// # Errors
    /// What the disk says.
    #[allow(clippy::disallowed_methods, reason = "the command line reads the user's files")]
    pub fn open(file: &FileEntry) -> Result<Batches, Bad> {
        let name = file.path.display().to_string();
        let input = File::open(&file.path).map_err(|error| Bad::plain(format!("{name}: {error}")))?;
        Ok(Batches { name, input: BufReader::with_capacity(PIECE, input), position: 0, len: file.bytes })
    }

    /// The next batch; `None` at the end, and after [`Piece::Torn`].
    ///
    /// # Errors
    /// What the disk says.
    pub fn next(&mut self) -> Result<Option<Piece>, Bad> {
        let (position, left) = (self.position, self.len - self.position);
        if left == 0 {
            return Ok(None);
        }
        let torn = |why: String| Some(Piece::Torn { position, bytes: left, why });
        self.position = self.len;
        if left < HEADER_LEN as u64 {
            return Ok(torn(format!("a batch's header of 61 bytes was expected, {left} are left")));
        }
        let mut head = [0; HEADER_LEN];
        self.fill(&mut head)?;
        let header = match BatchHeader::parse(&head) {
            Ok(header) => header,
            Err(error) => return Ok(torn(format!("a record batch was expected: {error}"))),
        };
        if header.size() as u64 > left {
            let size = header.size();
            return Ok(torn(format!("the batch at offset {} has {size} bytes, {left} are left", header.base_offset)));
        }
        self.position = position + header.size() as u64;
        let (computed_crc, batch) = self.body(header, &head)?;
        Ok(Some(Piece::Batch(Box::new(Found { header, position, computed_crc, batch }))))
    }

    /// What follows a header: its checksum, and the batch if it can be kept.
    fn body(&mut self, header: BatchHeader, head: &[u8]) -> Result<(u32, Option<Batch>), Bad> {
        let kept = header.size() <= KEPT_MAX;
        let mut all = BytesMut::with_capacity(if kept { header.size() } else { PIECE });
        all.extend_from_slice(head);
        let mut crc = crc32c::crc32c(&head[CRC_FROM..]);
        let mut left = header.size() - HEADER_LEN;
        while left > 0 {
            let piece = left.min(PIECE);
            let from = if kept { all.len() } else { 0 };
            all.resize(from + piece, 0);
            self.fill(&mut all[from..])?;
            crc = crc32c::crc32c_append(crc, &all[from..]);
            left -= piece;
        }
        let bytes: Bytes = all.freeze();
        Ok((crc, kept.then_some(Batch { header, bytes })))
    }

    fn fill(&mut self, into: &mut [u8]) -> Result<(), Bad> {
        self.input.read_exact(into).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => {
                Bad::plain(format!("{}: it became shorter while it was read; stop its broker first", self.name))
            }
            _ => Bad::plain(format!("{}: {error}", self.name)),
        })
    }
}
