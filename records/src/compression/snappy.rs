//! Snappy, raw and in the framing of Java's `snappy-java` ("xerial").
//!
//! ```text
//! raw      one snappy block: varint of the decompressed length, then literals and copies
//! xerial   82 'S' 'N' 'A' 'P' 'P' 'Y' 00, version i32 (1), oldest readable version i32 (1),
//!          then blocks: {compressed length i32 BE, raw snappy block}
//! ```

use std::io;

use snap::raw;

use super::{Compression, DecompressError};

const XERIAL_MAGIC: &[u8; 8] = b"\x82SNAPPY\0";
/// After the magic, both 32-bit.
const XERIAL_VERSIONS: [u8; 8] = [0, 0, 0, 1, 0, 0, 0, 1];
/// How much snappy-java puts into one block.
const XERIAL_BLOCK_BYTES: usize = 32 * 1024;

/// The densest element is a copy of 64 bytes in 3 bytes of input, so no block unfolds to more than
/// 64/3 times its size. A claim beyond that is a lie and is not allocated.
const EXPANSION_MAX: usize = 22;

pub(super) fn decompress(bytes: &[u8], limit: usize) -> Result<Vec<u8>, DecompressError> {
    let mut out = Vec::new();
    match bytes.strip_prefix(XERIAL_MAGIC) {
        None => append_block(bytes, limit, &mut out)?,
        Some(framed) => {
            let (_versions, blocks) = framed
                .split_at_checked(XERIAL_VERSIONS.len())
                .ok_or_else(|| malformed(io::ErrorKind::UnexpectedEof.into()))?;
            append_blocks(blocks, limit, &mut out)?;
        }
    }
    Ok(out)
}

fn append_blocks(
    mut blocks: &[u8],
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<(), DecompressError> {
    while !blocks.is_empty() {
        let (block, rest) = split_block(blocks)
            .ok_or_else(|| malformed(io::Error::other("a block length beyond the bytes")))?;
        append_block(block, limit, out)?;
        blocks = rest;
    }
    Ok(())
}

fn split_block(blocks: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = blocks.split_first_chunk()?;
    rest.split_at_checked(usize::try_from(i32::from_be_bytes(*length)).ok()?)
}

/// Decompresses one raw block onto the end of `out`, which must not grow beyond `limit`.
fn append_block(block: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), DecompressError> {
    let claimed = raw::decompress_len(block).map_err(|error| malformed(error.into()))?;
    if claimed > block.len().saturating_mul(EXPANSION_MAX) {
        return Err(malformed(io::Error::other("a length that the block cannot unfold to")));
    }
    let start = out.len();
    if claimed > limit.saturating_sub(start) {
        return Err(DecompressError::TooLarge { limit });
    }
    out.resize(start + claimed, 0);
    let written = raw::Decoder::new()
        .decompress(block, &mut out[start..])
        .map_err(|error| malformed(error.into()))?;
    out.truncate(start + written);
    Ok(())
}

pub(super) fn compress(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = raw::Encoder::new();
    let mut out = [XERIAL_MAGIC.as_slice(), &XERIAL_VERSIONS].concat();
    for block in bytes.chunks(XERIAL_BLOCK_BYTES) {
        let compressed = encoder.compress_vec(block)?;
        // A block is at most 32 KiB and grows by less than a fifth, so its length fits.
        out.extend_from_slice(&(compressed.len() as i32).to_be_bytes());
        out.extend_from_slice(&compressed);
    }
    Ok(out)
}

fn malformed(source: io::Error) -> DecompressError {
    DecompressError::Malformed { codec: Compression::Snappy, source }
}
