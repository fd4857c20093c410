//! One entry of the section table: what one partition has in this object.
//!
//! ```text
//! offset size field
//!      0    2 kind            1 = records; a reader skips kinds it does not know
//!      2    2 reserved        zero
//!      4    4 leader epoch    of the last batch
//!      8    8 partition id
//!     16    8 base offset     of the first batch
//!     24    8 last offset     of the last batch, inclusive
//!     32    8 position        from the start of the object
//!     40    8 length          bytes
//!     48    8 record count
//!     56    8 max timestamp   of any record, ms since 1970
//!     64    4 CRC-32C         of the section's bytes
//!     68    4 reserved        zero
//!     72    8 index length    bytes of index that follow this entry
//!     80    - index           for records: block entries (see `block`), nothing between them
//! ```
//!
//! The table is these entries one after another, in the order of their positions, nothing else. The
//! fixed part is the same for every kind, so a section of an unknown kind can be stepped over.

use antiphon_common::{LeaderEpoch, Offset, PartitionId, Timestamp};

use super::error::DecodeObjectError;
use super::fields::{i32_at, i64_at, u16_at, u32_at, u64_at};

/// The fixed part's length.
pub(super) const SECTION_ENTRY_BYTES: usize = 80;

const KIND_AT: usize = 0;
const LEADER_EPOCH_AT: usize = 4;
const PARTITION_AT: usize = 8;
const BASE_OFFSET_AT: usize = 16;
const LAST_OFFSET_AT: usize = 24;
const POSITION_AT: usize = 32;
const LENGTH_AT: usize = 40;
const RECORD_COUNT_AT: usize = 48;
const MAX_TIMESTAMP_AT: usize = 56;
const CRC_AT: usize = 64;
const INDEX_LENGTH_AT: usize = 72;

const _: () = assert!(INDEX_LENGTH_AT + size_of::<u64>() == SECTION_ENTRY_BYTES);

/// What a section holds. A number and not an enum: objects outlive the program that reads them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SectionKind(pub u16);

impl SectionKind {
    /// Raw record batches, indexed by blocks.
    pub const RECORDS: Self = Self(1);
}

/// What the table says about one section, its index aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SectionSummary {
    /// What the section holds.
    pub kind: SectionKind,
    /// The partition it belongs to.
    pub partition: PartitionId,
    /// Base offset of the first batch.
    pub base_offset: Offset,
    /// Last offset of the last batch, inclusive.
    pub last_offset: Offset,
    /// Where the section starts, in bytes from the start of the object.
    pub position: u64,
    /// The section's length in bytes.
    pub length: u64,
    /// How many records it holds.
    pub record_count: u64,
    /// The latest timestamp of any of them.
    pub max_timestamp: Timestamp,
    /// The leader epoch of the last batch.
    pub leader_epoch: LeaderEpoch,
    /// CRC-32C of the section's bytes.
    pub crc: u32,
}

impl SectionSummary {
    /// Appends the fixed part of the entry; `index_length` bytes of index must follow.
    pub(super) fn encode_to(&self, index_length: u64, table: &mut Vec<u8>) {
        let start = table.len();
        table.resize(start + SECTION_ENTRY_BYTES, 0);
        let mut put = |at: usize, field: &[u8]| {
            table[start + at..start + at + field.len()].copy_from_slice(field);
        };
        put(KIND_AT, &self.kind.0.to_be_bytes());
        put(LEADER_EPOCH_AT, &self.leader_epoch.get().to_be_bytes());
        put(PARTITION_AT, &self.partition.0.to_be_bytes());
        put(BASE_OFFSET_AT, &self.base_offset.get().to_be_bytes());
        put(LAST_OFFSET_AT, &self.last_offset.get().to_be_bytes());
        put(POSITION_AT, &self.position.to_be_bytes());
        put(LENGTH_AT, &self.length.to_be_bytes());
        put(RECORD_COUNT_AT, &self.record_count.to_be_bytes());
        put(MAX_TIMESTAMP_AT, &self.max_timestamp.get().to_be_bytes());
        put(CRC_AT, &self.crc.to_be_bytes());
        put(INDEX_LENGTH_AT, &index_length.to_be_bytes());
    }

    /// Reads the fixed part at the start of `bytes`, and the length of the index behind it.
    pub(super) fn decode(bytes: &[u8]) -> Result<(Self, u64), DecodeObjectError> {
        let summary = Self {
            kind: SectionKind(u16_at(bytes, KIND_AT)?),
            partition: PartitionId(u64_at(bytes, PARTITION_AT)?),
            base_offset: Offset(i64_at(bytes, BASE_OFFSET_AT)?),
            last_offset: Offset(i64_at(bytes, LAST_OFFSET_AT)?),
            position: u64_at(bytes, POSITION_AT)?,
            length: u64_at(bytes, LENGTH_AT)?,
            record_count: u64_at(bytes, RECORD_COUNT_AT)?,
            max_timestamp: Timestamp(i64_at(bytes, MAX_TIMESTAMP_AT)?),
            leader_epoch: LeaderEpoch(i32_at(bytes, LEADER_EPOCH_AT)?),
            crc: u32_at(bytes, CRC_AT)?,
        };
        Ok((summary, u64_at(bytes, INDEX_LENGTH_AT)?))
    }

    /// The position just after the section's last byte; `None` if that is not a 64-bit number.
    pub fn end(&self) -> Option<u64> {
        self.position.checked_add(self.length)
    }
}
