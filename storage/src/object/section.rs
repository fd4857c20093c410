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
//!     68    4 entry CRC-32C   of this entry and its index, these four bytes taken as zero
//!     72    8 index length    bytes of index that follow
//!     80    - index           for records: block entries (see `block`), nothing between them
//! ```
//!
//! The table is these entries one after another, in the order of their positions, nothing else. The
//! fixed part is the same for every kind, so a section of an unknown kind can be stepped over. An
//! entry carries a CRC of its own so that whoever knows where it is (the catalog does) can read it
//! alone: a table may hold thousands of other partitions.

use antiphon_common::{LeaderEpoch, Offset, PartitionId, Timestamp};
use crc_fast::{CrcAlgorithm, Digest};

use super::crc32c;
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
const ENTRY_CRC_AT: usize = 68;
const INDEX_LENGTH_AT: usize = 72;

const _: () = assert!(INDEX_LENGTH_AT + size_of::<u64>() == SECTION_ENTRY_BYTES);

/// What a section holds. A number and not an enum: objects outlive the program that reads them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SectionKind(pub u16);

impl SectionKind {
    /// Raw record batches, indexed by blocks.
    pub const RECORDS: Self = Self(1);
}

/// What the table says about one section, its blocks aside.
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
    /// Where the section's entry in the table starts, in bytes from the start of the object.
    pub index_position: u64,
    /// The length of that entry, its index included. What lies there can be read and checked alone.
    pub index_length: u64,
}

impl SectionSummary {
    /// Appends the entry; `index` is what follows its fixed part.
    pub(super) fn encode_to(&self, index: &[u8], table: &mut Vec<u8>) {
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
        put(INDEX_LENGTH_AT, &(index.len() as u64).to_be_bytes());
        table.extend_from_slice(index);
        let crc = crc32c(&table[start..]);
        table[start + ENTRY_CRC_AT..start + ENTRY_CRC_AT + size_of::<u32>()]
            .copy_from_slice(&crc.to_be_bytes());
    }

    /// Splits the first entry off `table`, whose first byte is byte `index_position` of the object:
    /// what it says, its index, and what comes after it.
    pub(super) fn decode(
        table: &[u8],
        index_position: u64,
    ) -> Result<(Self, &[u8], &[u8]), DecodeObjectError> {
        let RawEntry { fixed, index, after } = RawEntry::split_off(table)?;
        check_entry_crc(fixed, index)?;
        let summary = Self::decode_fixed(fixed, index_position, index.len())?;
        Ok((summary, index, after))
    }

    fn decode_fixed(
        bytes: &[u8],
        index_position: u64,
        index_bytes: usize,
    ) -> Result<Self, DecodeObjectError> {
        Ok(Self {
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
            index_position,
            index_length: (SECTION_ENTRY_BYTES + index_bytes) as u64,
        })
    }

    /// The position just after the section's last byte; `None` if that is not a 64-bit number.
    pub fn end(&self) -> Option<u64> {
        self.position.checked_add(self.length)
    }
}

/// An entry's bytes, and those after it.
struct RawEntry<'a> {
    fixed: &'a [u8],
    index: &'a [u8],
    after: &'a [u8],
}

impl<'a> RawEntry<'a> {
    fn split_off(table: &'a [u8]) -> Result<Self, DecodeObjectError> {
        let index_length = u64_at(table, INDEX_LENGTH_AT)?;
        let (fixed, behind) = table.split_at_checked(SECTION_ENTRY_BYTES).unwrap_or((table, &[]));
        let truncated =
            || DecodeObjectError::Truncated { needed: index_length, found: behind.len() as u64 };
        let length = usize::try_from(index_length).map_err(|_| truncated())?;
        let (index, after) = behind.split_at_checked(length).ok_or_else(truncated)?;
        Ok(Self { fixed, index, after })
    }
}

fn check_entry_crc(fixed: &[u8], index: &[u8]) -> Result<(), DecodeObjectError> {
    let expected = u32_at(fixed, ENTRY_CRC_AT)?;
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(fixed.get(..ENTRY_CRC_AT).unwrap_or_default());
    digest.update(&[0; size_of::<u32>()]);
    digest.update(fixed.get(ENTRY_CRC_AT + size_of::<u32>()..).unwrap_or_default());
    digest.update(index);
    let found = digest.finalize() as u32;
    match expected == found {
        true => Ok(()),
        false => Err(DecodeObjectError::Checksum { structure: "section entry", expected, found }),
    }
}
