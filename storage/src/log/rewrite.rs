//! Replacing a stretch of history by another of the same offsets: what merging and compaction share.

use std::time::Duration;

use antiphon_catalog::{CatalogError, MergeCommit, SegmentRow};
use antiphon_common::ErrorKind;
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
        Ok(self.segments().await?.lock().clone())
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

    /// Retention may have taken some of the inputs since a first attempt that did happen; then it
    /// has taken the same offsets of the outputs.
    fn swap_rows(&self, commit: &MergeCommit) {
        let (Some(segments), Some(first), Some(last)) =
            (self.segments.get(), commit.inputs.first(), commit.inputs.last())
        else {
            return;
        };
        let log_start = self.state.lock().log_start;
        let kept = commit.outputs.iter().filter(|row| row.last_offset >= log_start);
        let outputs: Vec<SegmentRow> = kept.cloned().collect();
        let added = bytes_of(&outputs);
        let removed = {
            let mut segments = segments.lock();
            let start = segments.partition_point(|row| row.last_offset < first.base_offset);
            let end = segments.partition_point(|row| row.last_offset <= last.last_offset);
            bytes_of(&segments.splice(start..end, outputs).collect::<Vec<_>>())
        };
        let mut state = self.state.lock();
        state.history_bytes = state.history_bytes.saturating_sub(removed) + added;
    }
}

fn bytes_of(rows: &[SegmentRow]) -> u64 {
    rows.iter().map(|row| row.length).sum()
}
