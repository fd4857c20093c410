//! Housekeeping of history: retention, and the deletion of objects that no section uses any more.

use std::sync::Arc;

use antiphon_catalog::CatalogError;
use antiphon_common::ErrorKind;
use tokio::sync::watch;
use tracing::{info, warn};

use super::Storage;
use super::flush::Chain;

/// How many due objects one pass deletes before it looks again.
const DELETIONS_PER_PASS: usize = 256;

impl Storage {
    /// Runs a pass at every interval until told to stop.
    pub(super) async fn run_housekeeping(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        while !*stop.borrow() {
            tokio::select! {
                () = tokio::time::sleep(self.options.retention_interval) => {}
                _ = stop.changed() => break,
            }
            self.enforce_retention().await;
            self.finish_topic_deletions().await;
            self.delete_due_objects().await;
        }
    }

    /// One retention pass over all partitions. A partition that fails is tried again next time.
    pub async fn enforce_retention(&self) {
        let now = self.context.clock.now();
        for log in self.partitions() {
            if let Err(error) = log.enforce_retention(now).await {
                if error.kind() == ErrorKind::Fenced {
                    self.report_fatal("another broker owns this store");
                    return;
                }
                warn!(partition = log.id().0, error = %Chain(&error), "retention failed");
            }
            tokio::task::yield_now().await;
        }
    }

    /// Goes on with deletions of topics that a crash or an error interrupted.
    async fn finish_topic_deletions(&self) {
        match self.context.catalog.resume_topic_deletions().await {
            Ok(0) => {}
            Ok(topics) => info!(topics, "finished interrupted topic deletions"),
            Err(error) => {
                warn!(error = %Chain(&error), "topic deletions will be tried again");
            }
        }
    }

    /// Deletes objects whose grace period is over. An object that is already gone counts as deleted.
    pub async fn delete_due_objects(&self) {
        loop {
            match self.delete_some_due_objects().await {
                Ok(0) => return,
                Ok(objects) => info!(objects, "deleted objects past their grace period"),
                Err(error) if error.kind() == ErrorKind::Fenced => {
                    return self.report_fatal("another broker owns this store");
                }
                Err(error) => {
                    warn!(error = %Chain(&error), "deletions will be repeated");
                    return;
                }
            }
        }
    }

    /// Returns how many of the due objects it deleted.
    async fn delete_some_due_objects(&self) -> Result<usize, CatalogError> {
        let catalog = &self.context.catalog;
        let due = catalog.due_deletions(self.context.clock.now(), DELETIONS_PER_PASS).await?;
        if due.is_empty() {
            return Ok(0);
        }
        // What queued them may have been seen by this process alone: a change is readable before it
        // is durable, and never becomes durable if another broker came first. For that broker the
        // objects are history.
        catalog.confirm_ownership().await?;
        let mut deleted = Vec::with_capacity(due.len());
        for deletion in due {
            match self.store.delete_object(deletion.object_id).await {
                Ok(()) => deleted.push(deletion),
                Err(error) => {
                    warn!(object = %deletion.object_id, error = %Chain(&error), "delete failed");
                }
            }
        }
        if !deleted.is_empty() {
            catalog.finish_deletions(&deleted).await?;
        }
        Ok(deleted.len())
    }
}
