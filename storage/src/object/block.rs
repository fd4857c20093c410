//! One entry of a section's index: a block, the unit of reading, checking and caching.
//!
//! ```text
//! offset size field
//!      0    8 base offset     of the block's first batch
//!      8    8 position        from the start of the object
//!     16    8 length          bytes
//!     24    8 max timestamp   of any record in the block, ms since 1970
//!     32    4 CRC-32C         of the block's bytes
//!     36    4 reserved        zero
//! ```
//!
//! One entry serves as offset index and time index at once: both need the same position.

use super::crc32c;
use antiphon_common::{Offset, Timestamp};

use super::error::DecodeObjectError;
use super::fields::{i64_at, u32_at, u64_at};

/// Where blocks are cut: a block is at most this long, unless a single batch is longer, and it is
/// cut only where the next batch would make it longer. So a section of at most this length is one
/// block, and its entry's CRC is that block's. Large enough that a GET's latency does not dominate,
/// small enough to cache and check as a whole.
pub const BLOCK_BYTES_TARGET: u64 = 1 << 20;

/// The entry's length.
pub(super) const BLOCK_ENTRY_BYTES: usize = 40;

const BASE_OFFSET_AT: usize = 0;
const POSITION_AT: usize = 8;
const LENGTH_AT: usize = 16;
const MAX_TIMESTAMP_AT: usize = 24;
const CRC_AT: usize = 32;
const RESERVED_AT: usize = 36;

const _: () = assert!(RESERVED_AT + size_of::<u32>() == BLOCK_ENTRY_BYTES);

/// A run of whole batches of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockEntry {
    /// Base offset of the first batch.
    pub base_offset: Offset,
    /// Where the block starts, in bytes from the start of the object.
    pub position: u64,
    /// The block's length in bytes.
    pub length: u64,
    /// The latest timestamp of any batch in the block.
    pub max_timestamp: Timestamp,
    /// CRC-32C of the block's bytes.
    pub crc: u32,
}

impl BlockEntry {
    pub(super) fn encode_to(&self, table: &mut Vec<u8>) {
        let start = table.len();
        table.resize(start + BLOCK_ENTRY_BYTES, 0);
        let mut put = |at: usize, field: &[u8]| {
            table[start + at..start + at + field.len()].copy_from_slice(field);
        };
        put(BASE_OFFSET_AT, &self.base_offset.get().to_be_bytes());
        put(POSITION_AT, &self.position.to_be_bytes());
        put(LENGTH_AT, &self.length.to_be_bytes());
        put(MAX_TIMESTAMP_AT, &self.max_timestamp.get().to_be_bytes());
        put(CRC_AT, &self.crc.to_be_bytes());
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeObjectError> {
        Ok(Self {
            base_offset: Offset(i64_at(bytes, BASE_OFFSET_AT)?),
            position: u64_at(bytes, POSITION_AT)?,
            length: u64_at(bytes, LENGTH_AT)?,
            max_timestamp: Timestamp(i64_at(bytes, MAX_TIMESTAMP_AT)?),
            crc: u32_at(bytes, CRC_AT)?,
        })
    }

    /// The position just after the block's last byte; `None` if that is not a 64-bit number.
    pub fn end(&self) -> Option<u64> {
        self.position.checked_add(self.length)
    }

    /// Whether `bytes` are this block's, by length and checksum.
    pub fn matches(&self, bytes: &[u8]) -> bool {
        bytes.len() as u64 == self.length && crc32c(bytes) == self.crc
    }
}
