//! Replacing a run of segments by others that cover the same offsets.

use antiphon_common::{Offset, PartitionId};

use super::SlateCatalog;
use super::flush::plan_objects;
use super::transaction::Transaction;
use crate::{CatalogError, FlushOutcome, MergeCommit, PartitionRow, SegmentRow};

impl SlateCatalog {
    pub(super) async fn commit_merge_now(
        &self,
        commit: MergeCommit,
    ) -> Result<FlushOutcome, CatalogError> {
        const OPERATION: &str = "commit_merge";
        let turn = self.turn().await;
        if self.is_repeated(OPERATION, &commit.objects).await? {
            drop(turn);
            self.database.wait_until_durable(OPERATION).await?;
            return Ok(FlushOutcome { already_committed: true, ..FlushOutcome::default() });
        }
        let partition_id = commit.partition_id;
        let partition = turn.partition(partition_id).cloned();
        let partition = partition.ok_or(CatalogError::PartitionNotFound { partition_id })?;
        check_cover(&commit)?;
        self.check_inputs(OPERATION, &commit).await?;
        let mut transaction = Transaction::default();
        // Inputs first: an output usually ends where the last input does, and so has its key.
        self.remove_segments(OPERATION, &commit.inputs, &mut transaction).await?;
        let due_at = self.deletion_due();
        transaction.put_partition(after_merge(partition, &commit));
        plan_objects(commit.objects, commit.outputs.iter(), due_at, &mut transaction)?;
        self.commit(OPERATION, turn, transaction).await?;
        Ok(FlushOutcome::default())
    }

    /// Checks that every input is still what the merge read.
    async fn check_inputs(
        &self,
        operation: &'static str,
        commit: &MergeCommit,
    ) -> Result<(), CatalogError> {
        for input in &commit.inputs {
            let SegmentRow { partition_id, last_offset, .. } = *input;
            let key = SegmentRow::key_of(partition_id, last_offset);
            let stored = self.database.get::<SegmentRow>(operation, key).await?;
            if stored.as_ref() != Some(input) {
                return Err(CatalogError::MergeInputGone { partition_id, last_offset });
            }
        }
        Ok(())
    }
}

/// Checks that inputs and outputs are runs without gap or overlap over the same offsets.
fn check_cover(commit: &MergeCommit) -> Result<(), CatalogError> {
    let inputs = run_of(commit.partition_id, &commit.inputs)?;
    let outputs = run_of(commit.partition_id, &commit.outputs)?;
    let partition_id = commit.partition_id;
    for (expected, found) in [(inputs.0, outputs.0), (inputs.1, outputs.1)] {
        if expected != found {
            return Err(CatalogError::NotContiguous { partition_id, expected, found });
        }
    }
    Ok(())
}

/// The first offset of a run and the one after its last.
fn run_of(partition_id: PartitionId, run: &[SegmentRow]) -> Result<(Offset, Offset), CatalogError> {
    let Some(first) = run.first() else { return Ok((Offset::NONE, Offset::NONE)) };
    let mut end = first.base_offset;
    for segment in run {
        let SegmentRow { base_offset, last_offset, .. } = *segment;
        if base_offset > last_offset {
            return Err(CatalogError::EmptySegment { partition_id, base_offset, last_offset });
        }
        if base_offset != end || segment.partition_id != partition_id {
            let (expected, found) = (end, base_offset);
            return Err(CatalogError::NotContiguous { partition_id, expected, found });
        }
        end = last_offset.next();
    }
    Ok((first.base_offset, end))
}

fn after_merge(mut row: PartitionRow, commit: &MergeCommit) -> PartitionRow {
    let bytes = |run: &[SegmentRow]| run.iter().map(|segment| segment.length).sum::<u64>();
    let kept = row.history_bytes.saturating_sub(bytes(&commit.inputs));
    row.history_bytes = kept.saturating_add(bytes(&commit.outputs));
    row.settled_end = row.settled_end.max(commit.settled_end);
    row
}
