//! The contract between the catalog and its users.

use std::collections::BTreeMap;

use antiphon_common::{
    BrokerEpoch, LeaderEpoch, Lsn, ObjectId, Offset, PartitionId, ProducerId, Timestamp, TopicId,
};
use async_trait::async_trait;

use crate::{
    CatalogError, ConfigScope, DeletionRow, ObjectRow, PartitionRow, ProducerRow, SegmentRow,
    TopicRow,
};

/// The catalog, open for writing by this process.
///
/// Guarantees, to which the conformance suite (feature `test-util`) refers by number:
///
/// 1. **Durable when it returns.** A call that changes something and returns `Ok` has put the change
///    in the object store. Concurrent calls share the wait.
/// 2. **All or nothing.** A change is one transaction, except where the call says "in steps".
/// 3. **Fenced means stopped.** After another process opened the same catalog, no call that changes
///    something returns `Ok` again; it fails with kind `Fenced`, and nothing it asked for happens.
/// 4. **An error may have happened.** A call that fails with kind `Retry` may still take effect. The
///    same call may be repeated: repeating is never wrong and says the truth (a topic that the first
///    attempt created is then reported as existing, a flush as already committed).
/// 5. **Cancelling is safe.** Dropping a call's future leaves the catalog as if it had failed with
///    kind `Retry`.
/// 6. **Reads see every change that returned** and may see one that is about to return.
/// 7. **Identities are never reused**: topic ids are random, partition and producer ids counted.
/// 8. **History has no gaps.** Segments of a partition follow each other without gap or overlap
///    from the first that is kept to `flushed_end`; only offsets below `log_start` may be missing.
/// 9. **An object is deleted late.** It enters the deletion queue when no segment points into it,
///    is due a grace period later, and its row stays until [`Catalog::finish_deletions`].
/// 10. **No call works more than its result.** None reads rows that it does not return or change,
///     apart from SlateDB's own blocks.
#[async_trait]
pub trait Catalog: std::fmt::Debug + Send + Sync {
    /// The epoch under which this process opened the catalog.
    fn broker_epoch(&self) -> BrokerEpoch;

    /// Creates topics in one transaction; answers in the order of the requests. A name that is
    /// taken (also by an earlier request of the same call) does not keep the others from being
    /// created.
    async fn create_topics(&self, topics: Vec<NewTopic>) -> Result<Vec<Created>, CatalogError>;

    /// Removes a topic, in steps. When this returns the topic is gone for good and its name is free;
    /// removing its segment and producer rows and queueing its objects is normally done, too, and
    /// otherwise goes on in [`Catalog::resume_topic_deletions`].
    async fn delete_topic(&self, topic_id: TopicId) -> Result<(), CatalogError>;

    /// Goes on with deletions that a crash or an error interrupted, in steps. Returns how many
    /// topics it finished. Cheap when there is nothing to do.
    async fn resume_topic_deletions(&self) -> Result<usize, CatalogError>;

    /// Gives a topic `total` partitions. Returns the topic as it is now and the rows of the new
    /// partitions.
    async fn add_partitions(
        &self,
        topic_id: TopicId,
        total: u32,
    ) -> Result<CreatedTopic, CatalogError>;

    /// Replaces all configs of a topic. Returns the topic as it is now.
    async fn set_topic_configs(
        &self,
        topic_id: TopicId,
        configs: BTreeMap<String, String>,
    ) -> Result<TopicRow, CatalogError>;

    /// Replaces all dynamic broker configs of a scope.
    async fn set_broker_configs(
        &self,
        scope: ConfigScope,
        configs: BTreeMap<String, String>,
    ) -> Result<(), CatalogError>;

    /// Makes uploaded objects part of history, moves partitions' `flushed_end` and the broker's
    /// `flushed_lsn`, and follows their producers, in one transaction. Refuses segments that do not
    /// continue their partition (8). Partitions that were deleted meanwhile are left out. A commit
    /// whose objects are all known already changes nothing and returns `Ok`.
    async fn commit_flush(&self, commit: FlushCommit) -> Result<FlushOutcome, CatalogError>;

    /// Replaces a run of one partition's segments by others that cover exactly the same offsets.
    /// Refused when an input is not there any more: plan the merge again. Idempotent like
    /// [`Catalog::commit_flush`].
    async fn commit_merge(&self, commit: MergeCommit) -> Result<FlushOutcome, CatalogError>;

    /// Segments of a partition that hold offsets at or after `offset`, ascending, at most `limit`.
    /// The first contains `offset` if any does.
    async fn segments_from(
        &self,
        partition_id: PartitionId,
        offset: Offset,
        limit: usize,
    ) -> Result<Vec<SegmentRow>, CatalogError>;

    /// All segments of a partition, ascending.
    async fn segments(&self, partition_id: PartitionId) -> Result<Vec<SegmentRow>, CatalogError> {
        self.segments_from(partition_id, Offset::ZERO, usize::MAX).await
    }

    /// Raises a partition's `log_start` (never lowers it) and removes the segments that end below
    /// it, in steps: the new start first. What a crash leaves is removed by the next call.
    async fn remove_segments_below(
        &self,
        partition_id: PartitionId,
        log_start: Offset,
    ) -> Result<TrimOutcome, CatalogError>;

    /// Objects whose grace period has passed at `now`, the oldest first, at most `limit`.
    async fn due_deletions(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<DeletionRow>, CatalogError>;

    /// Forgets objects that the caller has deleted from the bucket.
    async fn finish_deletions(&self, deleted: &[DeletionRow]) -> Result<(), CatalogError>;

    /// Every object that may be in the bucket, in the order of their ids: at most `limit` after
    /// `after`. For whoever compares the catalog with the bucket, page by page.
    async fn known_objects(
        &self,
        after: Option<ObjectId>,
        limit: usize,
    ) -> Result<Vec<ObjectRow>, CatalogError>;

    /// The row of one object; `None` says that no segment points into it and that it is not waiting
    /// to be deleted either.
    async fn object(&self, object_id: ObjectId) -> Result<Option<ObjectRow>, CatalogError>;

    /// Writes, durably, nothing new: returns `Ok` only if no other process had opened the catalog
    /// before this was called (3). For whoever is about to act on what this process knows, and has
    /// not changed anything for a while: a process that was fenced unawares knows only the past.
    async fn confirm_ownership(&self) -> Result<(), CatalogError>;

    /// What a partition remembers of its producers, in the order of their ids.
    async fn producers(&self, partition_id: PartitionId) -> Result<Vec<ProducerRow>, CatalogError>;

    /// What all partitions remember of their producers, in the order of their ids: one scan, for the
    /// start of a broker.
    async fn all_producers(&self) -> Result<Vec<ProducerRow>, CatalogError>;

    /// Reserves `count` producer ids and returns the first. What is reserved and not used is lost.
    async fn allocate_producer_ids(&self, count: u32) -> Result<ProducerId, CatalogError>;

    /// Records that everything up to `flushed_lsn` is in objects and that this run ends with
    /// nothing left in the local log. The next open for writing takes the mark away.
    async fn mark_clean_stop(&self, flushed_lsn: Lsn) -> Result<(), CatalogError>;

    /// Stops background work. Nothing that returned is lost without it: a crash is a valid close.
    async fn close(&self) -> Result<(), CatalogError>;
}

/// A topic to be created.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name; checked by the caller.
    pub name: String,
    /// Whether the cluster itself uses it.
    pub internal: bool,
    /// How many partitions it gets.
    pub partitions: u32,
    /// Settings that were given explicitly.
    pub configs: BTreeMap<String, String>,
}

/// What became of one requested topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// It was created.
    Created(CreatedTopic),
    /// The name is taken, by this topic.
    Exists(TopicId),
}

/// A topic and the partitions that a call added to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedTopic {
    /// The topic as it is now.
    pub topic: TopicRow,
    /// The partitions that are new, in order of index.
    pub partitions: Vec<PartitionRow>,
}

/// Objects that became history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlushCommit {
    /// Everything in the write-ahead log up to here is in these objects or earlier ones.
    pub flushed_lsn: Lsn,
    /// The objects. They must be durable already.
    pub objects: Vec<ObjectRow>,
    /// Their sections.
    pub segments: Vec<SegmentRow>,
    /// Partitions that moved. One whose segments are in `segments` may be left out.
    pub partitions: Vec<PartitionProgress>,
    /// Producers as of the new `flushed_end`s.
    pub producer_upserts: Vec<ProducerRow>,
    /// Producers that expired.
    pub producer_removals: Vec<(PartitionId, ProducerId)>,
}

/// Where a partition stands after a flush.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionProgress {
    /// The partition.
    pub partition_id: PartitionId,
    /// The offset after its last flushed record.
    pub flushed_end: Offset,
    /// Its epoch history below `flushed_end`, if it changed. The last entry is also taken for the
    /// row's leader epoch.
    pub epochs: Option<Vec<(LeaderEpoch, Offset)>>,
}

/// What a commit did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlushOutcome {
    /// The same commit had happened before; nothing changed now.
    pub already_committed: bool,
    /// Partitions that no longer exist: their segments, progress and producers were left out.
    pub skipped: Vec<PartitionId>,
}

/// Segments to be replaced by others of the same offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergeCommit {
    /// The partition.
    pub partition_id: PartitionId,
    /// The segments that were merged, neighbours in ascending order.
    pub inputs: Vec<SegmentRow>,
    /// The objects that hold the result. They must be durable already.
    pub objects: Vec<ObjectRow>,
    /// The result: covers exactly the offsets of the inputs.
    pub outputs: Vec<SegmentRow>,
    /// Segments below need no more merging. Raises [`PartitionRow::settled_end`], never lowers it;
    /// zero leaves it as it is.
    pub settled_end: Offset,
}

/// What raising a log start did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrimOutcome {
    /// Where the log starts now.
    pub log_start: Offset,
    /// How many segments were removed.
    pub segments: u64,
    /// How many bytes they had.
    pub bytes: u64,
    /// How many objects entered the deletion queue.
    pub objects: u64,
    /// Bytes of the segments that are left, whatever this call removed and an earlier one did.
    pub history_bytes: u64,
}
