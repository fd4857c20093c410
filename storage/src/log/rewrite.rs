//! Replacing a stretch of history by another of the same offsets: what merging and compaction share.

use std::collections::HashMap;
use std::time::Duration;

use antiphon_catalog::{CatalogError, MergeCommit, SegmentRow};
use antiphon_common::{ErrorKind, Offset, ProducerId, Timestamp};
use tokio::sync::watch;
use tracing::warn;

use super::partition_log::PartitionLog;
use super::read::ReadColdError;
use crate::engine::Chain;

/// The first pause after a commit whose outcome is not known, and the longest.
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(200);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(10);

impl PartitionLog {
    /// The right to rewrite this partition's history, which merging and compaction have one at a
    /// time; `None` while the other has it. Flushes and retention go on meanwhile: one appends
    /// behind what is rewritten, the other makes the commit fail.
    pub(crate) fn try_rewrite(&self) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        self.rewriting.try_lock().ok()
    }

    /// The rows of this partition's history as they are now, ascending.
    pub(crate) async fn segment_rows(&self) -> Result<Vec<SegmentRow>, ReadColdError> {
        let rows = self.context.catalog.segments(self.id).await;
        rows.map_err(|source| ReadColdError::Catalog { partition: self.id, source })
    }

    /// The last offset of the last batch of each producer that is still active, as of the end of
    /// history.
    pub(crate) fn last_batches_of_producers(&self, now: Timestamp) -> HashMap<ProducerId, Offset> {
        let producers = self.flushed_producers.lock();
        let last = producers.active(now).filter_map(|entry| {
            let newest = entry.batches().last()?;
            Some((entry.producer_id(), newest.last_offset()))
        });
        last.collect()
    }

    /// Commits, then shows readers the new rows instead of the old ones in one step. A reader that
    /// has planned with the old rows finishes with them: their objects outlive it (guarantee 9 of
    /// the catalog).
    ///
    /// A commit whose answer was lost may have happened, and then the old objects will be deleted;
    /// so it is repeated until its outcome is known. Returns an error when it did not happen, or when
    /// `stop` says that the process ends.
    pub(crate) async fn replace_segments(
        &self,
        commit: &MergeCommit,
        stop: &watch::Receiver<bool>,
    ) -> Result<(), CatalogError> {
        let mut pause = RETRY_PAUSE_MIN;
        loop {
            let error = match self.try_replace(commit).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if error.kind() != ErrorKind::Retry || *stop.borrow() {
                return Err(error);
            }
            warn!(partition = self.id.0, error = %Chain(&error), "replacing segments is tried again");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_PAUSE_MAX);
        }
    }

    async fn try_replace(&self, commit: &MergeCommit) -> Result<(), CatalogError> {
        let _turn = self.history_change.lock().await;
        self.context.catalog.commit_merge(commit.clone()).await?;
        self.swap_rows(commit);
        Ok(())
    }

    /// Readers plan with the new rows from here on. What retention takes it counts by the rows that
    /// it removes, so the difference is the same whether it came before this or comes after.
    fn swap_rows(&self, commit: &MergeCommit) {
        self.forget_segments();
        let mut state = self.state.lock();
        let grown = state.history_bytes.saturating_add(bytes_of(&commit.outputs));
        state.history_bytes = grown.saturating_sub(bytes_of(&commit.inputs));
    }
}

fn bytes_of(rows: &[SegmentRow]) -> u64 {
    rows.iter().map(|row| row.length).sum()
}
