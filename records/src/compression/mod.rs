//! The codecs of batch bodies.
//!
//! Output is always capped by the caller, and memory follows the bytes actually produced (or, for
//! snappy, a bound that the input's own size implies), never a length that the input claims: 40 bytes
//! of zstd can unfold to gigabytes, and a snappy header can claim 4 GiB of nothing.

mod snappy;
mod zstandard;

use std::io::{self, Read, Write};

use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};
use thiserror::Error;

/// How a batch's body is compressed. The numbers are those of the attributes' low three bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all.
    #[default]
    None = 0,
    /// gzip (RFC 1952).
    Gzip = 1,
    /// Snappy: in the framing of Java's `snappy-java` library ("xerial") as Java clients write it, or
    /// one raw block as others do. Both are read; the former is written.
    Snappy = 2,
    /// The LZ4 frame format. Format 2 batches have the correct frame checksum (KIP-57).
    Lz4 = 3,
    /// Zstandard (RFC 8878, KIP-110).
    Zstd = 4,
}

/// Codec bits that mean nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("unknown codec {id}")]
pub struct UnknownCodec {
    /// The bits found.
    pub id: u8,
}

/// Why a body cannot be decompressed.
#[derive(Debug, Error)]
pub enum DecompressError {
    /// It unfolds to more than the caller allows.
    #[error("more than {limit} bytes")]
    TooLarge {
        /// What the caller allows.
        limit: usize,
    },
    /// It is not what the codec writes.
    #[error("not valid {codec:?}")]
    Malformed {
        /// The codec.
        codec: Compression,
        /// What the codec's library says.
        source: io::Error,
    },
}

/// Why a body cannot be compressed: memory, or a body beyond the codec's own limit.
#[derive(Debug, Error)]
#[error("{codec:?} cannot compress {bytes} bytes")]
pub struct CompressError {
    /// The codec.
    pub codec: Compression,
    /// The input's size.
    pub bytes: usize,
    /// What the codec's library says.
    pub source: io::Error,
}

impl Compression {
    /// The codec of the attributes' low three bits.
    pub const fn from_id(id: u8) -> Result<Self, UnknownCodec> {
        match id {
            0 => Ok(Self::None),
            1 => Ok(Self::Gzip),
            2 => Ok(Self::Snappy),
            3 => Ok(Self::Lz4),
            4 => Ok(Self::Zstd),
            id => Err(UnknownCodec { id }),
        }
    }

    /// The codec's number.
    pub const fn id(self) -> u8 {
        self as u8
    }
}

/// Decompresses `bytes` to at most `limit` bytes.
pub fn decompress(
    codec: Compression,
    bytes: &[u8],
    limit: usize,
) -> Result<Vec<u8>, DecompressError> {
    match codec {
        Compression::None => copy_within(bytes, limit),
        Compression::Gzip => read_within(codec, MultiGzDecoder::new(bytes), limit),
        Compression::Lz4 => read_within(codec, FrameDecoder::new(bytes), limit),
        Compression::Snappy => snappy::decompress(bytes, limit),
        Compression::Zstd => zstandard::decompress(bytes, limit),
    }
}

/// Compresses `bytes` as Kafka's own clients read it, at each codec's default level.
pub fn compress(codec: Compression, bytes: &[u8]) -> Result<Vec<u8>, CompressError> {
    let compressed = match codec {
        Compression::None => Ok(bytes.to_vec()),
        Compression::Gzip => gzip(bytes),
        Compression::Snappy => snappy::compress(bytes),
        Compression::Lz4 => lz4(bytes),
        Compression::Zstd => zstandard::compress(bytes),
    };
    compressed.map_err(|source| CompressError { codec, bytes: bytes.len(), source })
}

fn copy_within(bytes: &[u8], limit: usize) -> Result<Vec<u8>, DecompressError> {
    if bytes.len() > limit {
        return Err(DecompressError::TooLarge { limit });
    }
    Ok(bytes.to_vec())
}

/// Reads a decoder to its end, one byte past `limit` at most.
fn read_within(
    codec: Compression,
    decoder: impl Read,
    limit: usize,
) -> Result<Vec<u8>, DecompressError> {
    let mut out = Vec::new();
    decoder
        .take((limit as u64).saturating_add(1))
        .read_to_end(&mut out)
        .map_err(|source| DecompressError::Malformed { codec, source })?;
    if out.len() > limit { Err(DecompressError::TooLarge { limit }) } else { Ok(out) }
}

fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// Java's reader refuses linked blocks, and reads blocks of 64 KiB with the least memory.
fn lz4(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let info = FrameInfo::new().block_mode(BlockMode::Independent).block_size(BlockSize::Max64KB);
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(bytes)?;
    encoder.finish().map_err(io::Error::from)
}
