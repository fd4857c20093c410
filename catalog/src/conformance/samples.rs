//! Rows that the cases are made of.

use antiphon_common::{
    BrokerEpoch, BrokerId, LeaderEpoch, Lsn, ObjectId, Offset, PartitionId, ProducerId, Timestamp,
};
use bytes::Bytes;

use crate::{
    Catalog, Created, CreatedTopic, FlushCommit, NewTopic, ObjectRow, PartitionProgress,
    ProducerRow, SegmentRow,
};

/// The broker of every case.
pub const BROKER: BrokerId = BrokerId(1);
/// How many bytes every sample segment has.
pub const SEGMENT_BYTES: u64 = 1_000;

/// A topic to be created.
pub fn new_topic(name: &str, partitions: u32) -> NewTopic {
    NewTopic { name: name.to_owned(), partitions, ..NewTopic::default() }
}

/// Creates one topic and returns it.
pub async fn create_topic(catalog: &dyn Catalog, name: &str, partitions: u32) -> CreatedTopic {
    let answers = catalog.create_topics(vec![new_topic(name, partitions)]).await;
    match answers.expect("creating a topic").pop() {
        Some(Created::Created(created)) => created,
        other => panic!("{name} was not created: {other:?}"),
    }
}

/// An object of this run.
pub fn object(id: u128, epoch: BrokerEpoch) -> ObjectRow {
    ObjectRow {
        object_id: ObjectId(id),
        size: 10_000,
        created_at: Timestamp(1_000),
        broker_id: BROKER,
        broker_epoch: epoch,
        live_sections: 0,
        level: 0,
        live_bytes: 0,
    }
}

/// A segment with offsets `base..=last` in object `object`.
pub fn segment(partition_id: PartitionId, base: i64, last: i64, object: u128) -> SegmentRow {
    SegmentRow {
        partition_id,
        base_offset: Offset(base),
        last_offset: Offset(last),
        object_id: ObjectId(object),
        position: 64,
        length: SEGMENT_BYTES,
        index_position: 9_000,
        index_length: 100,
        base_timestamp: Timestamp(1_000 + base),
        max_timestamp: Timestamp(1_000 + last),
        record_count: (last - base + 1) as u64,
        leader_epoch: LeaderEpoch::ZERO,
        level: 0,
        created_at: Timestamp(2_000),
        crc: Some(0xdead_beef),
    }
}

/// What a partition remembers of a producer.
pub fn producer(partition_id: PartitionId, producer_id: i64, state: &'static [u8]) -> ProducerRow {
    let producer_id = ProducerId(producer_id);
    ProducerRow { partition_id, producer_id, state: Bytes::from_static(state) }
}

/// A flush of one object with these segments `(partition, base, last)`.
pub fn flush(
    catalog: &dyn Catalog,
    object_id: u128,
    segments: &[(PartitionId, i64, i64)],
) -> FlushCommit {
    let rows = segments.iter().map(|(id, base, last)| segment(*id, *base, *last, object_id));
    FlushCommit {
        flushed_lsn: Lsn(object_id as u64),
        objects: vec![object(object_id, catalog.broker_epoch())],
        segments: rows.collect(),
        ..FlushCommit::default()
    }
}

/// A flush that only says where a partition ends.
pub fn progress_only(partition_id: PartitionId, flushed_end: i64) -> FlushCommit {
    let flushed_end = Offset(flushed_end);
    FlushCommit {
        partitions: vec![PartitionProgress { partition_id, flushed_end, epochs: None }],
        ..FlushCommit::default()
    }
}
