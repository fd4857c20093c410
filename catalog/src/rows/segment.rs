//! One section of an object: where a run of a partition's records is.
//!
//! ```text
//! key    08 | partition_id u64 | last_offset u64
//! value  01 | base_offset i64 | object_id u128 | position u64 | length u64
//!           | index_position u64 | index_length u32
//!           | base_timestamp i64 | max_timestamp i64 | record_count u64 | leader_epoch i32
//!           | level u8 | created_at i64 | has_crc u8 | crc u32 (zero when there is none)
//! ```
//!
//! The key holds the *last* offset because scans run forward: the first row at or after an offset
//! is then the segment that contains it, found without stepping back.
//!
//! The level's top bit marks segments that compaction by key went over. Programs that do not know it
//! see a high level, and lose the mark when they merge, which is safe.

use antiphon_common::{LeaderEpoch, ObjectId, Offset, PartitionId, Timestamp};

use super::codec::{Decoder, Encoder};
use super::{Row, RowError, RowKind};

const VERSION: u8 = 1;
/// The bit of the level that says "cleaned".
const CLEANED: u8 = 0x80;

/// One section of an object: where a run of a partition's records is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentRow {
    /// The partition.
    pub partition_id: PartitionId,
    /// The first offset the segment covers.
    pub base_offset: Offset,
    /// The last offset the segment covers.
    pub last_offset: Offset,
    /// The object that holds it.
    pub object_id: ObjectId,
    /// Where its data starts in the object, in bytes.
    pub position: u64,
    /// How many bytes of data it has.
    pub length: u64,
    /// Where its index starts in the object, so that a reader needs no footer first.
    pub index_position: u64,
    /// How many bytes of index it has.
    pub index_length: u32,
    /// The timestamp of its first batch.
    pub base_timestamp: Timestamp,
    /// The largest record timestamp, by which retention and offset lookup go.
    pub max_timestamp: Timestamp,
    /// How many records it holds. Fewer than its offsets when it was compacted.
    pub record_count: u64,
    /// The leader epoch of its last batch.
    pub leader_epoch: LeaderEpoch,
    /// 0 as flushed; higher after merges. The top bit says that compaction by key went over it: see
    /// [`SegmentRow::is_cleaned`].
    pub level: u8,
    /// When it was built.
    pub created_at: Timestamp,
    /// Checksum of its data, if the writer computed one. Which checksum is the object format's
    /// business.
    pub crc: Option<u32>,
}

impl SegmentRow {
    /// Whether compaction by key (`cleanup.policy=compact`) went over the segment. Among the segments
    /// of a partition before the first that is not cleaned, no key occurs twice. Whoever merges
    /// segments may call the result cleaned only if all of them were; to forget it costs work and
    /// nothing else.
    pub const fn is_cleaned(&self) -> bool {
        self.level & CLEANED != 0
    }

    /// The same segment, said to be cleaned or not.
    #[must_use]
    pub const fn with_cleaned(mut self, cleaned: bool) -> Self {
        self.level = if cleaned { self.level | CLEANED } else { self.level & !CLEANED };
        self
    }

    /// The level without the mark of compaction: 0 as flushed; higher after merges.
    pub const fn merge_level(&self) -> u8 {
        self.level & !CLEANED
    }

    /// The key of the segment of `partition_id` that ends at `last_offset`. Offsets below zero do
    /// not exist and are taken for zero.
    pub(crate) fn key_of(partition_id: PartitionId, last_offset: Offset) -> Vec<u8> {
        Encoder::key(Self::KIND.tag())
            .u64(partition_id.0)
            .u64(last_offset.get().max(0) as u64)
            .finish()
    }

    /// What the keys of all segments of `partition_id` start with.
    pub(crate) fn prefix_of(partition_id: PartitionId) -> Vec<u8> {
        Encoder::key(Self::KIND.tag()).u64(partition_id.0).finish()
    }
}

impl Row for SegmentRow {
    const KIND: RowKind = RowKind::Segment;

    fn key(&self) -> Vec<u8> {
        Self::key_of(self.partition_id, self.last_offset)
    }

    fn value(&self) -> Vec<u8> {
        Encoder::value(VERSION)
            .i64(self.base_offset.get())
            .u128(self.object_id.0)
            .u64(self.position)
            .u64(self.length)
            .u64(self.index_position)
            .u32(self.index_length)
            .i64(self.base_timestamp.get())
            .i64(self.max_timestamp.get())
            .u64(self.record_count)
            .i32(self.leader_epoch.get())
            .u8(self.level)
            .i64(self.created_at.get())
            .bool(self.crc.is_some())
            .u32(self.crc.unwrap_or(0))
            .finish()
    }

    fn decode(key: &[u8], value: &[u8]) -> Result<Self, RowError> {
        let mut key = Decoder::key(key, Self::KIND.tag())?;
        let mut value = Decoder::value(value, VERSION)?;
        let row = Self {
            partition_id: PartitionId(key.u64("partition_id")?),
            last_offset: Offset(key.unsigned_i64("last_offset")?),
            base_offset: Offset(value.i64("base_offset")?),
            object_id: ObjectId(value.u128("object_id")?),
            position: value.u64("position")?,
            length: value.u64("length")?,
            index_position: value.u64("index_position")?,
            index_length: value.u32("index_length")?,
            base_timestamp: Timestamp(value.i64("base_timestamp")?),
            max_timestamp: Timestamp(value.i64("max_timestamp")?),
            record_count: value.u64("record_count")?,
            leader_epoch: LeaderEpoch(value.i32("leader_epoch")?),
            level: value.u8("level")?,
            created_at: Timestamp(value.i64("created_at")?),
            crc: decode_crc(&mut value)?,
        };
        key.finish()?;
        value.finish()?;
        Ok(row)
    }
}

fn decode_crc(value: &mut Decoder<'_>) -> Result<Option<u32>, RowError> {
    let known = value.bool("has_crc")?;
    let crc = value.u32("crc")?;
    Ok(known.then_some(crc))
}
