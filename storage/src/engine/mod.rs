//! The storage service of one broker: opens the write-ahead log, replays it over the catalog, and
//! runs the flusher and the housekeeping on the history runtime.

mod compaction;
mod flush;
pub(crate) mod frame;
mod ids;
mod loading;
mod options;
mod queue;
mod recovery;
mod retention;
#[cfg(test)]
mod tests;
mod wal_opener;

use std::sync::Arc;

use antiphon_catalog::PartitionRow;
use antiphon_common::{BrokerEpoch, BrokerId, ErrorKind, LeaderEpoch, Lsn, PartitionId};
use antiphon_records::{ProducerStateLimits, ProducerStates};
use antiphon_wal::WalStats;
use tokio::sync::{Mutex, watch};
use tracing::{info, warn};

pub use flush::Chain;
pub use flush::FlushError;
pub(crate) use ids::ObjectIds;
pub(crate) use loading::TailLoading;
pub use loading::TailLost;
pub use options::{FatalReport, StorageOptions};
pub(crate) use queue::TailQueue;
pub use recovery::{OpenError, Recovered};
pub use wal_opener::{OpenedWal, WalOpener};

use crate::budget::TailBudget;
use crate::compact::{CompactionStats, Compactor};
use crate::log::{LogConfig, LogContext, PartitionLog, Restored};
use crate::merge::{Logs, MergeStats, Merger};
use crate::store::Store;
use crate::sweep::{SweepError, SweepReport, SweepStats, Sweeper};
use crate::traffic::Traffic;

/// How many attempts a clean stop makes to upload before it gives up, with a second between them.
const STOP_ATTEMPTS_MAX: u32 = 30;

/// The handle to a broker's storage. One exists for each open data folder.
#[derive(Debug)]
pub struct Storage {
    options: StorageOptions,
    context: Arc<LogContext>,
    store: Store,
    broker_id: BrokerId,
    broker_epoch: BrokerEpoch,
    logs: Logs,
    flush_turn: flush::FlushTurn,
    compactor: Compactor,
    ids: Arc<ObjectIds>,
    merger: Arc<Merger>,
    sweeper: Arc<Sweeper>,
    /// Brings the tail into memory after a start.
    _loader: Option<loading::LoaderTask>,
    stop: watch::Sender<bool>,
    tasks: Mutex<Vec<tokio::task::JoinHandle<()>>>,
}

/// What storage shows to an operator.
#[derive(Clone, Debug)]
pub struct StorageStats {
    /// The write-ahead log's own figures.
    pub wal: WalStats,
    /// Bytes charged to the tail, and the budget.
    pub tail_bytes: u64,
    /// The tail's budget in bytes.
    pub tail_bytes_max: u64,
    /// Bytes of records in the tail cache.
    pub tail_cache_bytes: u64,
    /// The tail cache's limit in bytes.
    pub tail_cache_bytes_max: u64,
    /// Bytes that are durable locally but not yet in the bucket.
    pub unflushed_bytes: u64,
    /// Figures of the cold path.
    pub cold: crate::cold::ColdStats,
    /// Rows of history in memory.
    pub segment_rows: u64,
    /// How often producers had to wait for room in the tail.
    pub tail_waits: u64,
    /// Figures of compaction.
    pub compaction: CompactionStats,
    /// Figures of merging.
    pub merge: MergeStats,
    /// Figures of the orphan sweep.
    pub sweep: SweepStats,
}

impl Storage {
    /// The log of a partition, if this broker serves it.
    pub fn partition(&self, id: PartitionId) -> Option<Arc<PartitionLog>> {
        self.logs.read().get(&id).cloned()
    }

    /// Every partition that this broker serves.
    pub fn partitions(&self) -> Vec<Arc<PartitionLog>> {
        self.logs.read().values().cloned().collect()
    }

    /// The epoch in which this broker leads a partition whose row says `row_epoch`.
    pub fn leader_epoch(&self, row_epoch: LeaderEpoch) -> LeaderEpoch {
        antiphon_catalog::effective_leader_epoch(row_epoch, self.broker_epoch)
    }

    /// Takes a new partition into service.
    pub fn create_partition(&self, row: PartitionRow, config: Arc<LogConfig>) -> Arc<PartitionLog> {
        let id = row.partition_id;
        let leader_epoch = self.leader_epoch(row.leader_epoch);
        let restored = Restored {
            row,
            leader_epoch,
            producers: ProducerStates::new(ProducerStateLimits::default()),
            flushed_producers: ProducerStates::new(ProducerStateLimits::default()),
            config,
        };
        let log = PartitionLog::restore(Arc::clone(&self.context), restored);
        log.begin_epoch();
        self.logs.write().insert(id, Arc::clone(&log));
        log
    }

    /// Takes a partition out of service after the catalog forgot it.
    pub fn remove_partition(&self, id: PartitionId) {
        let removed = self.logs.write().remove(&id);
        self.context.merges.forget(id);
        if let Some(log) = removed {
            log.mark_deleted();
        }
    }

    /// The memory budget of the tail: producers' connections wait on it.
    pub fn budget(&self) -> &Arc<TailBudget> {
        &self.context.budget
    }

    /// Admits requests to the store: whoever sends some asks here first.
    pub fn traffic(&self) -> &Arc<Traffic> {
        &self.context.traffic
    }

    /// The runtime that history is read and written on.
    pub fn history(&self) -> &tokio::runtime::Handle {
        &self.context.history
    }

    /// The folder of the write-ahead log.
    pub fn wal_dir(&self) -> &std::path::Path {
        &self.options.wal_dir
    }

    /// Bytes of the file system that holds the write-ahead log, total and usable; -1 if unknown.
    pub fn disk_space(&self) -> (i64, i64) {
        let known =
            |blocks: u64, size: u64| i64::try_from(blocks.saturating_mul(size)).unwrap_or(-1);
        match rustix::fs::statvfs(&self.options.wal_dir) {
            Ok(disk) => (known(disk.f_blocks, disk.f_frsize), known(disk.f_bavail, disk.f_frsize)),
            Err(_) => (-1, -1),
        }
    }

    /// Figures for operators.
    pub fn stats(&self) -> StorageStats {
        StorageStats {
            wal: self.context.wal.stats(),
            tail_bytes: self.context.budget.used(),
            tail_bytes_max: self.context.budget.limit(),
            tail_cache_bytes: self.context.queue.flushed_bytes(),
            tail_cache_bytes_max: self.options.tail_cache_bytes_max,
            unflushed_bytes: self.context.queue.unflushed_bytes(),
            cold: self.context.cold.stats(),
            segment_rows: self.context.segments.rows(),
            tail_waits: self.context.budget.waits(),
            compaction: self.compactor.stats(),
            merge: self.merger.stats(),
            sweep: self.sweeper.stats(),
        }
    }

    /// Starts the background work on the history runtime.
    pub async fn start(self: &Arc<Self>) {
        let history = &self.context.history;
        let flusher = Arc::clone(self).run_flusher(self.stop.subscribe());
        let housekeeping = Arc::clone(self).run_housekeeping(self.stop.subscribe());
        let compaction = Arc::clone(self).run_compaction(self.stop.subscribe());
        let mut tasks = self.tasks.lock().await;
        tasks.push(history.spawn(flusher));
        tasks.push(history.spawn(housekeeping));
        tasks.push(history.spawn(Arc::clone(&self.merger).run(self.stop.subscribe())));
        tasks.push(history.spawn(Arc::clone(&self.sweeper).run(self.stop.subscribe())));
        tasks.push(history.spawn(compaction));
    }

    /// Uploads everything and notes the clean stop, so that the bucket alone is complete. The caller
    /// has stopped producers. `progress` hears how many bytes are left. Returns whether the bucket is
    /// complete and says so; if not, the data folder is still needed.
    pub async fn close(self: &Arc<Self>, mut progress: impl FnMut(u64)) -> bool {
        self.stop.send_replace(true);
        for task in self.tasks.lock().await.drain(..) {
            if let Err(error) = task.await {
                warn!(error = %Chain(&error), "a background task did not end by itself");
            }
        }
        let drained = self.drain(&mut progress).await;
        // Frames that were still being written when the queue was empty become durable, and are
        // acknowledged, by closing the log: the bucket needs them too.
        self.context.wal.close();
        let mut complete = drained && self.drain(&mut progress).await;
        let catalog = &self.context.catalog;
        if complete && let Err(error) = catalog.mark_clean_stop(self.context.wal.durable()).await {
            warn!(error = %Chain(&error), "the clean stop was not noted");
            // The bucket has everything and does not say so: without this folder no start succeeds.
            complete = false;
        }
        if let Err(error) = catalog.close().await {
            warn!(error = %Chain(&error), "the catalog did not close cleanly");
        }
        complete
    }

    async fn drain(self: &Arc<Self>, progress: &mut impl FnMut(u64)) -> bool {
        let mut attempts = 0;
        loop {
            progress(self.context.queue.unflushed_bytes());
            match self.flush_once().await {
                Ok(0) => return true,
                Ok(_) => attempts = 0,
                Err(error) => {
                    attempts += 1;
                    warn!(error = %Chain(&error), attempts, "upload failed while stopping");
                    let is_final = error.kind() == ErrorKind::Fenced
                        || matches!(error, FlushError::TailLost(_));
                    if attempts >= STOP_ATTEMPTS_MAX || is_final {
                        return false;
                    }
                    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                }
            }
        }
    }

    /// Merges all that is worth it now, without waiting for the background task to come to it.
    pub async fn merge(&self) {
        self.merger.merge_due(&self.stop.subscribe()).await;
    }

    /// Goes through the bucket once and removes what crashes have left.
    pub async fn sweep(&self) -> Result<SweepReport, SweepError> {
        self.sweeper.sweep().await
    }

    /// Names of objects in the making, for tests that make some.
    #[cfg(test)]
    pub(crate) fn object_ids(&self) -> &ObjectIds {
        &self.ids
    }

    /// Uploads everything that is durable now.
    pub async fn flush(self: &Arc<Self>) -> Result<(), FlushError> {
        while self.flush_once().await? > 0 {}
        Ok(())
    }

    /// Everything up to here is durable on this broker's disk.
    pub fn durable_lsn(&self) -> Lsn {
        self.context.wal.durable()
    }

    fn report_fatal(&self, reason: &str) {
        info!(reason, "storage cannot go on");
        (self.options.on_fatal)(reason);
    }
}
