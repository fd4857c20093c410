//! What has to be known of a segment to read it.

use antiphon_catalog::SegmentRow;
use antiphon_common::{ObjectId, Offset, PartitionId, Timestamp};

/// One partition's stretch of history in one object, as a row of the catalog names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentRef {
    /// The object.
    pub object: ObjectId,
    /// The partition.
    pub partition: PartitionId,
    /// The first offset that belongs to the segment.
    pub base_offset: Offset,
    /// The last offset that belongs to the segment, inclusive.
    pub last_offset: Offset,
    /// The latest timestamp in it.
    pub max_timestamp: Timestamp,
    /// Where the partition's section starts, in bytes from the start of the object.
    pub position: u64,
    /// The section's length in bytes.
    pub length: u64,
    /// Where the section's entry in the object's table starts
    /// ([`crate::object::SectionSummary::index_position`]).
    pub index_position: u64,
    /// The length of that entry.
    pub index_length: u64,
    /// CRC-32C of the section. With it, a section of one block is read without its entry.
    pub crc: Option<u32>,
}

impl From<&SegmentRow> for SegmentRef {
    fn from(row: &SegmentRow) -> Self {
        Self {
            object: row.object_id,
            partition: row.partition_id,
            base_offset: row.base_offset,
            last_offset: row.last_offset,
            max_timestamp: row.max_timestamp,
            position: row.position,
            length: row.length,
            index_position: row.index_position,
            index_length: u64::from(row.index_length),
            crc: row.crc,
        }
    }
}
