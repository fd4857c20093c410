//! Housekeeping of history: retention, and the deletion of objects that no section uses any more.

use std::sync::Arc;

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
        let now = self.context.clock.now();
        loop {
            let due = match self.context.catalog.due_deletions(now, DELETIONS_PER_PASS).await {
                Ok(due) if due.is_empty() => return,
                Ok(due) => due,
                Err(error) => {
                    warn!(error = %Chain(&error), "the deletion queue could not be read");
                    return;
                }
            };
            let mut deleted = Vec::with_capacity(due.len());
            for deletion in due {
                match self.store.delete_object(deletion.object_id).await {
                    Ok(()) => deleted.push(deletion),
                    Err(error) => {
                        warn!(object = %deletion.object_id, error = %Chain(&error), "delete failed");
                    }
                }
            }
            if deleted.is_empty() {
                return;
            }
            let count = deleted.len();
            if let Err(error) = self.context.catalog.finish_deletions(&deleted).await {
                warn!(error = %Chain(&error), "deletions were not noted; they will be repeated");
                return;
            }
            info!(objects = count, "deleted objects past their grace period");
        }
    }
}
