//! Replacing segments by merged ones.

use antiphon_common::{ErrorKind, ObjectId, Offset, PartitionId, Timestamp};

use super::{Fixture, SEGMENT_BYTES, create_topic, flush, object, segment};
use crate::{Catalog, CatalogError, MergeCommit};

fn merge(
    catalog: &dyn Catalog,
    partition_id: PartitionId,
    inputs: &[(i64, i64, u128)],
    outputs: &[(i64, i64)],
) -> MergeCommit {
    let inputs = inputs.iter().map(|(base, last, id)| segment(partition_id, *base, *last, *id));
    let outputs = outputs.iter().map(|(base, last)| segment(partition_id, *base, *last, 100));
    MergeCommit {
        partition_id,
        inputs: inputs.collect(),
        objects: vec![object(100, catalog.broker_epoch())],
        outputs: outputs.collect(),
        settled_end: Offset::ZERO,
    }
}

async fn three_segments(catalog: &dyn Catalog) -> PartitionId {
    let a = create_topic(catalog, "merged", 1).await.partitions[0].partition_id;
    for (id, base, last) in [(1, 0, 9), (2, 10, 19), (3, 20, 29)] {
        catalog.commit_flush(flush(catalog, id, &[(a, base, last)])).await.expect("flush");
    }
    a
}

/// Inputs go, outputs come, their objects' counts follow; repeated it changes nothing.
pub async fn a_merge_replaces_its_inputs(fixture: &impl Fixture) {
    let (catalog, _) = fixture.open().await.expect("open");
    let a = three_segments(&*catalog).await;
    let commit = merge(&*catalog, a, &[(0, 9, 1), (10, 19, 2)], &[(0, 19)]);
    let first = catalog.commit_merge(commit.clone()).await.expect("merge");
    let again = catalog.commit_merge(commit).await.expect("repeated merge");
    assert!(!first.already_committed && again.already_committed);
    let found = catalog.segments(a).await.expect("segments");
    assert_eq!(found, [segment(a, 0, 19, 100), segment(a, 20, 29, 3)]);
    let queued = catalog.due_deletions(Timestamp(i64::MAX), 10).await.expect("queue");
    let queued: Vec<_> = queued.iter().map(|row| row.object_id).collect();
    assert_eq!(queued, [ObjectId(1), ObjectId(2)]);
    let (_, snapshot) = fixture.open().await.expect("open again");
    assert_eq!(snapshot.partitions[0].history_bytes, 2 * SEGMENT_BYTES);
    assert_eq!(snapshot.partitions[0].flushed_end, Offset(30));
}

/// Retention or a deletion may have been faster than the merge.
pub async fn a_merge_whose_inputs_are_gone_is_refused(fixture: &impl Fixture) {
    let (catalog, _) = fixture.open().await.expect("open");
    let a = three_segments(&*catalog).await;
    catalog.remove_segments_below(a, Offset(10)).await.expect("retention");
    let commit = merge(&*catalog, a, &[(0, 9, 1), (10, 19, 2)], &[(0, 19)]);
    let refused = catalog.commit_merge(commit).await.expect_err("input gone");
    assert!(matches!(refused, CatalogError::MergeInputGone { .. }));
    assert_eq!(catalog.segments(a).await.expect("segments").len(), 2);
    let stranger = merge(&*catalog, PartitionId(999), &[(0, 9, 1)], &[(0, 9)]);
    let refused = catalog.commit_merge(stranger).await.expect_err("no such partition");
    assert!(matches!(refused, CatalogError::PartitionNotFound { .. }));
}

/// Guarantee 8 for merges.
pub async fn a_merge_that_does_not_cover_is_refused(fixture: &impl Fixture) {
    let (catalog, _) = fixture.open().await.expect("open");
    let a = three_segments(&*catalog).await;
    let inputs = [(0, 9, 1), (10, 19, 2)];
    let wrong: [&[(i64, i64)]; 5] = [&[(0, 18)], &[(1, 19)], &[(0, 9), (11, 19)], &[(0, 20)], &[]];
    for outputs in wrong {
        let refused = catalog.commit_merge(merge(&*catalog, a, &inputs, outputs)).await;
        assert_eq!(refused.expect_err("does not cover").kind(), ErrorKind::Invalid);
    }
    let holed = merge(&*catalog, a, &[(0, 9, 1), (20, 29, 3)], &[(0, 29)]);
    let refused = catalog.commit_merge(holed).await.expect_err("inputs are no neighbours");
    assert!(matches!(refused, CatalogError::NotContiguous { .. }));
    assert_eq!(catalog.segments(a).await.expect("segments").len(), 3);
}

/// Where the next merge is planned from only goes forward, and is there after a restart.
pub async fn a_settled_end_is_remembered(fixture: &impl Fixture) {
    let (catalog, _) = fixture.open().await.expect("open");
    let a = three_segments(&*catalog).await;
    let commit = merge(&*catalog, a, &[(0, 9, 1), (10, 19, 2)], &[(0, 19)]);
    let commit = MergeCommit { settled_end: Offset(20), ..commit };
    catalog.commit_merge(commit).await.expect("merge");
    let lower = MergeCommit {
        partition_id: a,
        inputs: vec![segment(a, 20, 29, 3)],
        objects: vec![object(101, catalog.broker_epoch())],
        outputs: vec![segment(a, 20, 29, 101)],
        settled_end: Offset::ZERO,
    };
    catalog.commit_merge(lower).await.expect("merge of one");
    let (_, snapshot) = fixture.open().await.expect("open again");
    assert_eq!(snapshot.partitions[0].settled_end, Offset(20));
}

/// What an object still holds is counted in bytes too, so that whoever looks for objects that are
/// mostly dead reads one row.
pub async fn an_objects_live_bytes_are_counted(fixture: &impl Fixture) {
    let (catalog, _) = fixture.open().await.expect("open");
    let created = create_topic(&*catalog, "shared", 2).await;
    let [a, b] = [0, 1].map(|index: usize| created.partitions[index].partition_id);
    catalog.commit_flush(flush(&*catalog, 1, &[(a, 0, 9), (b, 0, 9)])).await.expect("flush");
    let live = async || {
        let row = catalog.object(ObjectId(1)).await.expect("object").expect("its row");
        (row.live_sections, row.live_bytes)
    };
    assert_eq!(live().await, (2, 2 * SEGMENT_BYTES));
    catalog.remove_segments_below(a, Offset(10)).await.expect("delete records");
    assert_eq!(live().await, (1, SEGMENT_BYTES));
    catalog.commit_merge(merge(&*catalog, b, &[(0, 9, 1)], &[(0, 9)])).await.expect("merge");
    assert_eq!(live().await, (0, 0));
    assert_eq!(catalog.object(ObjectId(77)).await.expect("object"), None);
}
