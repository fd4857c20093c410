//! Making objects part of history.

use antiphon_common::{
    BrokerEpoch, ErrorKind, LeaderEpoch, ObjectId, Offset, PartitionId, ProducerId,
};

use super::{
    Fixture, SEGMENT_BYTES, create_topic, flush, object, producer, progress_only, segment,
};
use crate::{CatalogError, FlushCommit, PartitionProgress};

async fn bounds(fixture: &impl Fixture) -> Vec<(i64, i64, u64)> {
    let (_, snapshot) = fixture.open().await.expect("open to look");
    let rows = snapshot.partitions.iter();
    rows.map(|row| (row.log_start.get(), row.flushed_end.get(), row.history_bytes)).collect()
}

/// Several partitions, several segments of one partition, in any order.
pub async fn a_flush_becomes_history(fixture: &impl Fixture) {
    let (catalog, _) = fixture.open().await.expect("open");
    let created = create_topic(&*catalog, "history", 2).await;
    let [a, b] = [0, 1].map(|index: usize| created.partitions[index].partition_id);
    let commit = flush(&*catalog, 1, &[(a, 5, 9), (b, 0, 0), (a, 0, 4)]);
    let outcome = catalog.commit_flush(commit).await.expect("flush");
    assert!(!outcome.already_committed && outcome.skipped.is_empty());
    catalog.commit_flush(flush(&*catalog, 2, &[(a, 10, 19)])).await.expect("second flush");
    let found = catalog.segments(a).await.expect("segments");
    assert_eq!(found, [segment(a, 0, 4, 1), segment(a, 5, 9, 1), segment(a, 10, 19, 2)]);
    let live: Vec<_> = catalog.known_objects(None, 10).await.expect("objects");
    assert_eq!(live.iter().map(|row| row.live_sections).collect::<Vec<_>>(), [3, 1]);
    let expected = [(0, 20, 3 * SEGMENT_BYTES), (0, 1, SEGMENT_BYTES)];
    assert_eq!(bounds(fixture).await, expected);
}

/// Guarantee 8: refused with the partition's name, and nothing of the commit happens.
pub async fn a_flush_with_a_gap_or_overlap_is_refused(fixture: &impl Fixture) {
    let (catalog, _) = fixture.open().await.expect("open");
    let created = create_topic(&*catalog, "history", 2).await;
    let [a, b] = [0, 1].map(|index: usize| created.partitions[index].partition_id);
    catalog.commit_flush(flush(&*catalog, 1, &[(a, 0, 9)])).await.expect("flush");
    let wrong: [&[(PartitionId, i64, i64)]; 5] = [
        &[(b, 0, 5), (a, 11, 19)],
        &[(b, 0, 5), (a, 9, 19)],
        &[(b, 0, 5), (a, 10, 14), (a, 16, 19)],
        &[(b, 0, 5), (a, 10, 14), (a, 14, 19)],
        &[(b, 0, 5), (a, 10, 9)],
    ];
    for (number, segments) in wrong.into_iter().enumerate() {
        let commit = flush(&*catalog, 10 + number as u128, segments);
        let refused = catalog.commit_flush(commit).await.expect_err("not contiguous");
        assert_eq!(refused.kind(), ErrorKind::Invalid);
        assert!(refused.to_string().contains(&format!("partition {a} ")), "{refused}");
    }
    for end in [9, 11] {
        let refused = catalog.commit_flush(progress_only(a, end)).await.expect_err("no segments");
        assert!(matches!(refused, CatalogError::NotContiguous { .. }));
    }
    assert_eq!(catalog.known_objects(None, 10).await.expect("objects").len(), 1);
    assert_eq!(bounds(fixture).await, [(0, 10, SEGMENT_BYTES), (0, 0, 0)]);
}

/// Guarantee 4 for flushes, also across a restart within the same commit's life.
pub async fn a_repeated_flush_changes_nothing(fixture: &impl Fixture) {
    let (catalog, _) = fixture.open().await.expect("open");
    let a = create_topic(&*catalog, "history", 1).await.partitions[0].partition_id;
    let commit = flush(&*catalog, 1, &[(a, 0, 9)]);
    catalog.commit_flush(commit.clone()).await.expect("flush");
    catalog.commit_flush(flush(&*catalog, 2, &[(a, 10, 19)])).await.expect("next flush");
    let again = catalog.commit_flush(commit).await.expect("repeated flush");
    assert!(again.already_committed);
    assert_eq!(catalog.segments(a).await.expect("segments").len(), 2);
    assert_eq!(bounds(fixture).await, [(0, 20, 2 * SEGMENT_BYTES)]);
}

/// A commit that shares an object with another is no repetition of it.
pub async fn a_half_known_flush_is_refused(fixture: &impl Fixture) {
    let (catalog, _) = fixture.open().await.expect("open");
    let a = create_topic(&*catalog, "history", 1).await.partitions[0].partition_id;
    catalog.commit_flush(flush(&*catalog, 1, &[(a, 0, 9)])).await.expect("flush");
    let mut commit = flush(&*catalog, 1, &[(a, 10, 19)]);
    commit.objects.push(object(2, catalog.broker_epoch()));
    let refused = catalog.commit_flush(commit).await.expect_err("half known");
    assert!(matches!(refused, CatalogError::PartlyCommitted { object_id: ObjectId(1) }));

    let mut commit = flush(&*catalog, 3, &[(a, 10, 19)]);
    commit.segments[0].object_id = ObjectId(4);
    let refused = catalog.commit_flush(commit).await.expect_err("unknown object");
    assert!(matches!(refused, CatalogError::ObjectNotInCommit { .. }));
}

/// An upload that began before this run was fenced into existence must not be committed by it.
pub async fn an_object_of_another_epoch_is_refused(fixture: &impl Fixture) {
    let (catalog, _) = fixture.open().await.expect("open");
    let a = create_topic(&*catalog, "history", 1).await.partitions[0].partition_id;
    let mut commit = flush(&*catalog, 1, &[(a, 0, 9)]);
    commit.objects[0].broker_epoch = BrokerEpoch(catalog.broker_epoch().get() + 1);
    let refused = catalog.commit_flush(commit).await.expect_err("another epoch");
    assert_eq!(refused.kind(), ErrorKind::Fenced);
}

/// A topic deleted while its data was being uploaded does not hold up the others.
pub async fn a_flush_leaves_out_deleted_partitions(fixture: &impl Fixture) {
    let (catalog, _) = fixture.open().await.expect("open");
    let gone = create_topic(&*catalog, "gone", 1).await;
    let g = gone.partitions[0].partition_id;
    let a = create_topic(&*catalog, "kept", 1).await.partitions[0].partition_id;
    catalog.delete_topic(gone.topic.topic_id).await.expect("delete");
    let mut commit = flush(&*catalog, 1, &[(a, 0, 9), (g, 0, 9)]);
    commit.objects.push(object(2, catalog.broker_epoch()));
    commit.segments.push(segment(g, 10, 19, 2));
    commit.producer_upserts = vec![producer(g, 1, b"gone"), producer(a, 2, b"kept")];
    let outcome = catalog.commit_flush(commit).await.expect("flush");
    assert_eq!(outcome.skipped, [g]);
    assert!(catalog.segments(g).await.expect("segments").is_empty());
    assert_eq!(catalog.all_producers().await.expect("producers"), [producer(a, 2, b"kept")]);
    let objects = catalog.known_objects(None, 10).await.expect("objects");
    assert_eq!(objects.iter().map(|row| row.live_sections).collect::<Vec<_>>(), [1, 0]);
    let far = antiphon_common::Timestamp(i64::MAX);
    let queued = catalog.due_deletions(far, 10).await.expect("queue");
    assert_eq!(queued.iter().map(|row| row.object_id).collect::<Vec<_>>(), [ObjectId(2)]);
}

/// Records that were deleted before they were flushed leave a hole below the log start, only there.
pub async fn a_gap_below_the_log_start_is_allowed(fixture: &impl Fixture) {
    let (catalog, _) = fixture.open().await.expect("open");
    let a = create_topic(&*catalog, "history", 1).await.partitions[0].partition_id;
    catalog.commit_flush(flush(&*catalog, 1, &[(a, 0, 9)])).await.expect("flush");
    catalog.remove_segments_below(a, Offset(20)).await.expect("delete records");
    let beyond = catalog.commit_flush(flush(&*catalog, 2, &[(a, 21, 29)])).await;
    assert!(matches!(beyond, Err(CatalogError::NotContiguous { .. })));
    catalog.commit_flush(flush(&*catalog, 3, &[(a, 20, 29)])).await.expect("flush at the start");
    assert_eq!(catalog.segments(a).await.expect("segments"), [segment(a, 20, 29, 3)]);
    assert_eq!(bounds(fixture).await, [(20, 30, SEGMENT_BYTES)]);
}

/// Everything that a flush says about a partition is committed with it.
pub async fn epochs_and_producers_follow_the_flush(fixture: &impl Fixture) {
    let (catalog, _) = fixture.open().await.expect("open");
    let a = create_topic(&*catalog, "history", 1).await.partitions[0].partition_id;
    let epochs = vec![(LeaderEpoch(0), Offset(0)), (LeaderEpoch(3), Offset(5))];
    let mut commit = flush(&*catalog, 1, &[(a, 0, 9)]);
    commit.partitions = vec![PartitionProgress {
        partition_id: a,
        flushed_end: Offset(10),
        epochs: Some(epochs.clone()),
    }];
    commit.producer_upserts = vec![producer(a, 1, b"one"), producer(a, 2, b"two")];
    catalog.commit_flush(commit).await.expect("flush");
    let second = FlushCommit {
        producer_upserts: vec![producer(a, 2, b"two again")],
        producer_removals: vec![(a, ProducerId(1))],
        ..flush(&*catalog, 2, &[(a, 10, 11)])
    };
    catalog.commit_flush(second).await.expect("second flush");
    assert_eq!(catalog.producers(a).await.expect("producers"), [producer(a, 2, b"two again")]);
    let (_, snapshot) = fixture.open().await.expect("open again");
    assert_eq!(snapshot.partitions[0].epochs, epochs);
    assert_eq!(snapshot.partitions[0].leader_epoch, LeaderEpoch(3));
}

/// The first row at or after an offset is the one that holds it.
pub async fn the_segment_that_holds_an_offset_is_found(fixture: &impl Fixture) {
    let (catalog, _) = fixture.open().await.expect("open");
    let created = create_topic(&*catalog, "history", 2).await;
    let [a, b] = [0, 1].map(|index: usize| created.partitions[index].partition_id);
    let commit = flush(&*catalog, 1, &[(a, 0, 9), (a, 10, 10), (a, 11, 300), (b, 0, 1_000)]);
    catalog.commit_flush(commit).await.expect("flush");
    for (offset, bases) in
        [(0, vec![0, 10]), (9, vec![0, 10]), (10, vec![10, 11]), (256, vec![11]), (301, vec![])]
    {
        let found = catalog.segments_from(a, Offset(offset), 2).await.expect("segments");
        let found: Vec<_> = found.iter().map(|row| row.base_offset.get()).collect();
        assert_eq!(found, bases, "from offset {offset}");
    }
}
