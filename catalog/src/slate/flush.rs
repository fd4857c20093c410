//! Making uploaded objects part of history.
//!
//! Planning is a pure function of the state, so that its refusals can be read and tested without a
//! database.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use antiphon_common::{Lsn, ObjectId, Offset, PartitionId, Timestamp};

use super::SlateCatalog;
use super::state::State;
use super::transaction::Transaction;
use crate::{
    BrokerRow, CatalogError, DeletionRow, FlushCommit, FlushOutcome, ObjectRow, PartitionProgress,
    PartitionRow, ProducerRow, SegmentRow,
};

impl SlateCatalog {
    pub(super) async fn commit_flush_now(
        &self,
        commit: FlushCommit,
    ) -> Result<FlushOutcome, CatalogError> {
        const OPERATION: &str = "commit_flush";
        let turn = self.turn().await;
        let skipped = skipped_partitions(&turn, &commit);
        if self.is_repeated(OPERATION, &commit.objects).await? {
            drop(turn);
            // The first attempt may have been written and not yet be durable.
            self.database.wait_until_durable(OPERATION).await?;
            return Ok(FlushOutcome { already_committed: true, skipped });
        }
        let transaction = plan(&turn, commit, self.deletion_due())?;
        self.commit(OPERATION, turn, transaction).await?;
        Ok(FlushOutcome { already_committed: false, skipped })
    }

    /// When an object that loses its last segment now may be deleted.
    pub(super) fn deletion_due(&self) -> Timestamp {
        let grace = i64::try_from(self.deletion_grace.as_millis()).unwrap_or(i64::MAX);
        Timestamp(self.environment.clock.now().get().saturating_add(grace))
    }
}

fn skipped_partitions(state: &State, commit: &FlushCommit) -> Vec<PartitionId> {
    let named = commit.segments.iter().map(|segment| segment.partition_id);
    let moved = commit.partitions.iter().map(|progress| progress.partition_id);
    let gone = named.chain(moved).filter(|id| state.partition(*id).is_none());
    gone.collect::<BTreeSet<_>>().into_iter().collect()
}

fn plan(
    state: &State,
    commit: FlushCommit,
    due_at: Timestamp,
) -> Result<Transaction, CatalogError> {
    let mut transaction = Transaction::default();
    let segments = live_segments(state, commit.segments);
    plan_partitions(state, &segments, commit.partitions, &mut transaction)?;
    plan_objects(commit.objects, segments.values().flatten(), due_at, &mut transaction)?;
    let lives = |id: PartitionId| state.partition(id).is_some();
    for row in commit.producer_upserts.iter().filter(|row| lives(row.partition_id)) {
        transaction.put(row);
    }
    for (partition_id, producer_id) in commit.producer_removals {
        transaction.remove_key(ProducerRow::key_of(partition_id, producer_id));
    }
    plan_broker(state, commit.flushed_lsn, &mut transaction);
    Ok(transaction)
}

/// The segments whose partitions exist, by partition and in order of offset.
fn live_segments(
    state: &State,
    segments: Vec<SegmentRow>,
) -> BTreeMap<PartitionId, Vec<SegmentRow>> {
    let mut live = BTreeMap::<_, Vec<_>>::new();
    for segment in segments {
        if state.partition(segment.partition_id).is_some() {
            live.entry(segment.partition_id).or_default().push(segment);
        }
    }
    for run in live.values_mut() {
        run.sort_by_key(|segment| segment.base_offset);
    }
    live
}

fn plan_partitions(
    state: &State,
    segments: &BTreeMap<PartitionId, Vec<SegmentRow>>,
    progress: Vec<PartitionProgress>,
    transaction: &mut Transaction,
) -> Result<(), CatalogError> {
    let mut progress: HashMap<_, _> =
        progress.into_iter().map(|entry| (entry.partition_id, entry)).collect();
    let moved: BTreeSet<_> = segments.keys().chain(progress.keys()).copied().collect();
    for partition_id in moved {
        let Some(row) = state.partition(partition_id) else { continue };
        let run = segments.get(&partition_id).map(Vec::as_slice).unwrap_or_default();
        let row = advance(row.clone(), run, progress.remove(&partition_id))?;
        transaction.put_partition(row);
    }
    Ok(())
}

/// The partition after `run` and `progress`.
fn advance(
    mut row: PartitionRow,
    run: &[SegmentRow],
    progress: Option<PartitionProgress>,
) -> Result<PartitionRow, CatalogError> {
    for segment in run {
        row.flushed_end = continue_with(&row, segment)?;
        row.history_bytes = row.history_bytes.saturating_add(segment.length);
    }
    let Some(progress) = progress else { return Ok(row) };
    row.flushed_end = end_at(&row, &progress, run.is_empty())?;
    if let Some(epochs) = progress.epochs {
        let newest = epochs.last().map_or(row.leader_epoch, |(epoch, _)| *epoch);
        row.leader_epoch = row.leader_epoch.max(newest);
        row.epochs = epochs;
    }
    Ok(row)
}

/// Checks that `segment` is the next one, and returns where it ends. A hole is allowed where it lies
/// wholly below the log start: `DeleteRecords` may have removed records before they were flushed.
fn continue_with(row: &PartitionRow, segment: &SegmentRow) -> Result<Offset, CatalogError> {
    let SegmentRow { partition_id, base_offset, last_offset, .. } = *segment;
    if base_offset > last_offset {
        return Err(CatalogError::EmptySegment { partition_id, base_offset, last_offset });
    }
    if !may_continue_at(row, base_offset) {
        let expected = row.flushed_end;
        return Err(CatalogError::NotContiguous { partition_id, expected, found: base_offset });
    }
    Ok(last_offset.next())
}

fn may_continue_at(row: &PartitionRow, offset: Offset) -> bool {
    (row.flushed_end..=row.flushed_end.max(row.log_start)).contains(&offset)
}

/// Checks where `progress` says the partition ends: where its segments do, or without segments
/// where they could go on.
fn end_at(
    row: &PartitionRow,
    progress: &PartitionProgress,
    without_segments: bool,
) -> Result<Offset, CatalogError> {
    let found = progress.flushed_end;
    if found == row.flushed_end || (without_segments && may_continue_at(row, found)) {
        return Ok(found);
    }
    let (partition_id, expected) = (row.partition_id, row.flushed_end);
    Err(CatalogError::NotContiguous { partition_id, expected, found })
}

/// Writes objects with the number of segments that point into them, and the segments. An object
/// that none points into is queued for deletion at once.
pub(super) fn plan_objects<'a>(
    objects: Vec<ObjectRow>,
    segments: impl Iterator<Item = &'a SegmentRow>,
    due_at: Timestamp,
    transaction: &mut Transaction,
) -> Result<(), CatalogError> {
    let mut live: HashMap<ObjectId, (u32, u64)> =
        objects.iter().map(|object| (object.object_id, (0, 0))).collect();
    for segment in segments {
        let SegmentRow { partition_id, object_id, length, .. } = *segment;
        let unknown = CatalogError::ObjectNotInCommit { partition_id, object_id };
        let (sections, bytes) = live.get_mut(&object_id).ok_or(unknown)?;
        (*sections, *bytes) = (*sections + 1, bytes.saturating_add(length));
        transaction.put(segment);
    }
    for mut object in objects {
        let counted = live.get(&object.object_id).copied().unwrap_or_default();
        (object.live_sections, object.live_bytes) = counted;
        put_object(&object, due_at, transaction);
    }
    Ok(())
}

/// Writes an object's row, and queues the object for deletion if nothing points into it.
pub(super) fn put_object(object: &ObjectRow, due_at: Timestamp, transaction: &mut Transaction) {
    transaction.put(object);
    if object.live_sections == 0 {
        transaction.put(&DeletionRow { due_at, object_id: object.object_id });
    }
}

fn plan_broker(state: &State, flushed_lsn: Lsn, transaction: &mut Transaction) {
    if flushed_lsn > state.broker.flushed_lsn {
        transaction.put_broker(BrokerRow { flushed_lsn, ..state.broker.clone() });
    }
}
