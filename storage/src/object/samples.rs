//! Batches and objects for tests.

use antiphon_common::{
    BrokerEpoch, BrokerId, LeaderEpoch, ObjectId, Offset, PartitionId, Timestamp,
};
use bytes::Bytes;

use super::{BatchSlice, BuiltObject, ObjectBuilder, WriterIdentity};

/// A batch as far as storage looks at one: offsets and length are right, the rest is filler that
/// differs from batch to batch.
pub(crate) fn batch(base: i64, records: i32, size: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..size).map(|at| (at as i64 ^ base.rotate_left(3)) as u8).collect();
    bytes[..8].copy_from_slice(&base.to_be_bytes());
    bytes[8..12].copy_from_slice(&(size as i32 - 12).to_be_bytes());
    bytes[16] = 2;
    bytes[23..27].copy_from_slice(&(records - 1).to_be_bytes());
    bytes
}

/// The same as a slice for the builder; its latest timestamp is a thousand times its base offset.
pub(crate) fn slice(base: i64, records: i32, size: usize) -> BatchSlice {
    BatchSlice {
        bytes: Bytes::from(batch(base, records, size)),
        base_offset: Offset(base),
        last_offset: Offset(base + i64::from(records) - 1),
        max_timestamp: Timestamp(base * 1000),
        record_count: records as u64,
        leader_epoch: LeaderEpoch(3),
    }
}

/// `count` batches of ten records, from offset `base` on.
pub(crate) fn slices(base: i64, count: i64, size: usize) -> Vec<BatchSlice> {
    (0..count).map(|number| slice(base + number * 10, 10, size)).collect()
}

pub(crate) fn identity(object: u128) -> WriterIdentity {
    WriterIdentity { broker: BrokerId(7), broker_epoch: BrokerEpoch(41), object: ObjectId(object) }
}

/// Object 1, in which partition 5 holds `batches`, behind a small section of partition 4.
pub(crate) fn object_of(batches: &[BatchSlice]) -> BuiltObject {
    let mut builder = ObjectBuilder::new(identity(1));
    builder.section(PartitionId(4), slices(0, 3, 100)).unwrap();
    builder.section(PartitionId(5), batches.iter().cloned()).unwrap();
    builder.finish().unwrap()
}

/// The object's bytes in one piece.
pub(crate) fn bytes_of(object: &BuiltObject) -> Vec<u8> {
    object.payload.iter().flat_map(|piece| piece.iter().copied()).collect()
}
