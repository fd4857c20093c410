//! Retention, deleted records, deleted topics, and the objects they leave.

use std::time::Duration;

use antiphon_common::{Clock, ErrorKind, ObjectId, Offset, Timestamp};

use super::{Fixture, SEGMENT_BYTES, create_topic, flush, producer, segment};
use crate::{Catalog, FlushCommit};

async fn queued(catalog: &dyn Catalog) -> Vec<ObjectId> {
    let rows = catalog.due_deletions(Timestamp(i64::MAX), usize::MAX).await.expect("queue");
    rows.iter().map(|row| row.object_id).collect()
}

/// Guarantee 9: not before the grace period.
pub async fn removing_segments_queues_their_objects(fixture: &impl Fixture) {
    let (catalog, _) = fixture.open().await.expect("open");
    let a = create_topic(&*catalog, "short", 1).await.partitions[0].partition_id;
    catalog.commit_flush(flush(&*catalog, 1, &[(a, 0, 9)])).await.expect("flush");
    catalog.commit_flush(flush(&*catalog, 2, &[(a, 10, 19)])).await.expect("flush");
    let outcome = catalog.remove_segments_below(a, Offset(15)).await.expect("trim");
    assert_eq!((outcome.log_start, outcome.segments), (Offset(15), 1));
    assert_eq!((outcome.bytes, outcome.objects), (SEGMENT_BYTES, 1));
    assert_eq!(outcome.history_bytes, SEGMENT_BYTES);
    let again = catalog.remove_segments_below(a, Offset(15)).await.expect("repeated trim");
    assert_eq!((again.bytes, again.history_bytes), (0, SEGMENT_BYTES));
    assert_eq!(catalog.segments(a).await.expect("segments"), [segment(a, 10, 19, 2)]);

    let row = catalog.due_deletions(Timestamp(i64::MAX), 10).await.expect("queue")[0];
    let grace = Duration::from_millis((row.due_at.get() - fixture.clock().now().get()) as u64);
    assert!(grace >= Duration::from_secs(1), "an object must outlive the fetches that planned it");
    let early = Timestamp(row.due_at.get() - 1);
    assert!(catalog.due_deletions(early, 10).await.expect("queue").is_empty());
    assert_eq!(catalog.due_deletions(row.due_at, 10).await.expect("queue"), [row]);
}

/// An object is queued only when its last section is gone.
pub async fn an_object_in_use_elsewhere_is_kept(fixture: &impl Fixture) {
    let (catalog, _) = fixture.open().await.expect("open");
    let created = create_topic(&*catalog, "shared", 2).await;
    let [a, b] = [0, 1].map(|index: usize| created.partitions[index].partition_id);
    catalog.commit_flush(flush(&*catalog, 1, &[(a, 0, 9), (b, 0, 9)])).await.expect("flush");
    catalog.remove_segments_below(a, Offset(10)).await.expect("trim");
    assert!(queued(&*catalog).await.is_empty());
    catalog.remove_segments_below(b, Offset(10)).await.expect("trim the other");
    assert_eq!(queued(&*catalog).await, [ObjectId(1)]);
}

/// Raising is idempotent, lowering is ignored.
pub async fn a_log_start_never_goes_back(fixture: &impl Fixture) {
    let (catalog, _) = fixture.open().await.expect("open");
    let a = create_topic(&*catalog, "short", 1).await.partitions[0].partition_id;
    catalog.commit_flush(flush(&*catalog, 1, &[(a, 0, 9)])).await.expect("flush");
    for asked in [5, 3, 5] {
        let outcome = catalog.remove_segments_below(a, Offset(asked)).await.expect("trim");
        assert_eq!((outcome.log_start, outcome.segments), (Offset(5), 0));
    }
    let (catalog, snapshot) = fixture.open().await.expect("open again");
    assert_eq!(snapshot.partitions[0].log_start, Offset(5));
    let stranger = antiphon_common::PartitionId(999);
    let refused = catalog.remove_segments_below(stranger, Offset(1)).await.expect_err("unknown");
    assert_eq!(refused.kind(), ErrorKind::Invalid);
}

/// The row of an object lives exactly as long as the object may.
pub async fn a_deleted_object_is_forgotten(fixture: &impl Fixture) {
    let (catalog, _) = fixture.open().await.expect("open");
    let a = create_topic(&*catalog, "short", 1).await.partitions[0].partition_id;
    for id in 1..=3 {
        let base = (id as i64 - 1) * 10;
        catalog.commit_flush(flush(&*catalog, id, &[(a, base, base + 9)])).await.expect("flush");
    }
    catalog.remove_segments_below(a, Offset(20)).await.expect("trim");
    assert_eq!(catalog.known_objects(None, 10).await.expect("objects").len(), 3);
    let due = catalog.due_deletions(Timestamp(i64::MAX), 1).await.expect("queue");
    catalog.finish_deletions(&due).await.expect("finish");
    catalog.finish_deletions(&due).await.expect("finish again");
    assert_eq!(queued(&*catalog).await, [ObjectId(2)]);
    let page = catalog.known_objects(Some(ObjectId(2)), 10).await.expect("second page");
    assert_eq!(page.iter().map(|row| row.object_id).collect::<Vec<_>>(), [ObjectId(3)]);
    assert_eq!(catalog.known_objects(None, 1).await.expect("page")[0].object_id, ObjectId(2));
}

/// No row about a deleted topic remains, and its neighbours keep theirs.
pub async fn a_deleted_topic_leaves_nothing(fixture: &impl Fixture) {
    let (catalog, _) = fixture.open().await.expect("open");
    let gone = create_topic(&*catalog, "gone", 2).await;
    let kept = create_topic(&*catalog, "kept", 1).await.partitions[0].partition_id;
    let [a, b] = [0, 1].map(|index: usize| gone.partitions[index].partition_id);
    let commit = FlushCommit {
        producer_upserts: vec![producer(a, 1, b"gone"), producer(kept, 1, b"kept")],
        ..flush(&*catalog, 1, &[(a, 0, 9), (kept, 0, 9)])
    };
    catalog.commit_flush(commit).await.expect("flush");
    catalog.commit_flush(flush(&*catalog, 2, &[(a, 10, 19), (b, 0, 9)])).await.expect("flush");
    catalog.delete_topic(gone.topic.topic_id).await.expect("delete");

    assert!(catalog.segments(a).await.expect("segments").is_empty());
    assert!(catalog.segments(b).await.expect("segments").is_empty());
    assert_eq!(catalog.segments(kept).await.expect("segments").len(), 1);
    assert_eq!(catalog.all_producers().await.expect("producers"), [producer(kept, 1, b"kept")]);
    assert_eq!(queued(&*catalog).await, [ObjectId(2)]);
    assert_eq!(catalog.resume_topic_deletions().await.expect("nothing to resume"), 0);
    let (_, snapshot) = fixture.open().await.expect("open again");
    assert_eq!(snapshot.partitions.len(), 1);
    assert!(snapshot.unfinished_deletions.is_empty());
}

/// More rows than one step removes.
pub async fn large_removals_finish(fixture: &impl Fixture) {
    const SEGMENTS: i64 = 2_500;
    let (catalog, _) = fixture.open().await.expect("open");
    let created = create_topic(&*catalog, "large", 2).await;
    let [a, b] = [0, 1].map(|index: usize| created.partitions[index].partition_id);
    let runs: Vec<_> =
        [a, b].into_iter().flat_map(|id| (0..SEGMENTS).map(move |at| (id, at, at))).collect();
    catalog.commit_flush(flush(&*catalog, 1, &runs)).await.expect("flush");
    let outcome = catalog.remove_segments_below(a, Offset(SEGMENTS)).await.expect("trim");
    assert_eq!((outcome.segments, outcome.objects), (SEGMENTS as u64, 0));
    catalog.delete_topic(created.topic.topic_id).await.expect("delete");
    assert!(catalog.segments(b).await.expect("segments").is_empty());
    assert_eq!(queued(&*catalog).await, [ObjectId(1)]);
    let (_, snapshot) = fixture.open().await.expect("open again");
    assert!(snapshot.unfinished_deletions.is_empty() && snapshot.partitions.is_empty());
}
