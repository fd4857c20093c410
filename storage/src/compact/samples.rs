//! Rows for tests.

use antiphon_catalog::SegmentRow;
use antiphon_common::{LeaderEpoch, ObjectId, Offset, PartitionId, Timestamp};

/// A dirty segment of partition 1 that was written at `written_at` by every account.
pub(super) fn row(base: i64, last: i64, length: u64, written_at: i64) -> SegmentRow {
    SegmentRow {
        partition_id: PartitionId(1),
        base_offset: Offset(base),
        last_offset: Offset(last),
        object_id: ObjectId(base as u128 + 1),
        position: 0,
        length,
        index_position: length,
        index_length: 120,
        base_timestamp: Timestamp::NONE,
        max_timestamp: Timestamp(written_at),
        record_count: (last - base + 1) as u64,
        leader_epoch: LeaderEpoch(0),
        level: 0,
        created_at: Timestamp(written_at),
        crc: Some(0),
    }
}
