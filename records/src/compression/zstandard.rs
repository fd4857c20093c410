//! Zstandard without its window.
//!
//! A streaming decoder allocates the window that the frame's header asks for, up to 128 MiB for a
//! body of a few bytes. Decompressing in one call uses the output itself as the window. The output's
//! size is not known (Kafka's clients write frames without it, and a claim would not be believed), so
//! the call is repeated with a larger output until it fits; all tries together cost at most twice the
//! last.

use std::io;

use zstd::zstd_safe::{self, DCtx};

use super::{Compression, DecompressError};

/// `ZSTD_error_dstSize_tooSmall`, stable since zstd 1.3.1. Errors are returned as negated codes.
const OUTPUT_TOO_SMALL: usize = 70_usize.wrapping_neg();
/// Where the output's size starts: JSON often shrinks four- to eightfold.
const EXPECTED_RATIO: usize = 8;
const OUTPUT_BYTES_MIN: usize = 4 * 1024;
/// By how much each further try grows.
const GROWTH: usize = 4;
/// A try that may need more than this gets all that is allowed: memory that is not written to costs
/// nothing, and an allocator returns blocks of this size to the system, where the freed steps of a
/// ladder up to the limit (25 MiB, 100 MiB) stay with it.
const STEP_BYTES_MAX: usize = 1024 * 1024;

pub(super) fn decompress(bytes: &[u8], limit: usize) -> Result<Vec<u8>, DecompressError> {
    let mut context = DCtx::try_create().ok_or_else(|| malformed("out of memory"))?;
    let mut capacity = bytes.len().saturating_mul(EXPECTED_RATIO).max(OUTPUT_BYTES_MIN).min(limit);
    loop {
        let mut out = Vec::with_capacity(capacity);
        match context.decompress(&mut out, bytes) {
            Ok(_) if out.len() > limit => return Err(DecompressError::TooLarge { limit }),
            Ok(_) => return Ok(out),
            Err(OUTPUT_TOO_SMALL) if capacity >= limit => {
                return Err(DecompressError::TooLarge { limit });
            }
            Err(OUTPUT_TOO_SMALL) => capacity = next_capacity(capacity, limit),
            Err(code) => return Err(malformed(zstd_safe::get_error_name(code))),
        }
    }
}

fn next_capacity(capacity: usize, limit: usize) -> usize {
    match capacity.saturating_mul(GROWTH) {
        step if step <= STEP_BYTES_MAX => step.min(limit),
        _ => limit,
    }
}

pub(super) fn compress(bytes: &[u8]) -> io::Result<Vec<u8>> {
    zstd::bulk::compress(bytes, zstd::DEFAULT_COMPRESSION_LEVEL)
}

fn malformed(reason: &'static str) -> DecompressError {
    DecompressError::Malformed { codec: Compression::Zstd, source: io::Error::other(reason) }
}
