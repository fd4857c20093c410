//! Passes of compaction over the partitions whose topics ask for it.

use std::collections::HashMap;
use std::sync::Arc;

use antiphon_common::{Environment, ErrorKind, Offset, PartitionId, Timestamp};
use tokio::sync::watch;
use tracing::warn;

use super::flush::Chain;
use super::{ObjectIds, Storage, StorageOptions};
use crate::compact::{CompactionConfig, Compactor, CompactorOptions, Outlook};
use crate::log::{LogContext, PartitionLog};
use crate::store::Store;

/// What the last look at a partition found, so that a partition at rest costs nothing.
#[derive(Debug)]
struct Look {
    flushed_end: Offset,
    config: CompactionConfig,
    again_at: Option<Timestamp>,
}

impl Look {
    fn holds(&self, flushed_end: Offset, config: &CompactionConfig, now: Timestamp) -> bool {
        self.flushed_end == flushed_end
            && self.config == *config
            && self.again_at.is_none_or(|at| now < at)
    }
}

/// The looks of a pass, for the next one.
type Looks = HashMap<PartitionId, Look>;

/// The compactor of a broker's storage.
pub(super) fn compactor(
    context: &Arc<LogContext>,
    store: &Store,
    environment: &Environment,
    ids: &Arc<ObjectIds>,
    options: &StorageOptions,
) -> Compactor {
    let limits = CompactorOptions {
        map_bytes_max: options.compaction_map_bytes,
        object_bytes: options.compaction_object_bytes,
    };
    let (context, ids) = (Arc::clone(context), Arc::clone(ids));
    Compactor::new(context, store.clone(), ids, Arc::clone(&environment.entropy), limits)
}

impl Storage {
    /// Runs a pass at every interval until told to stop.
    pub(super) async fn run_compaction(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut looks = Looks::new();
        while !*stop.borrow() {
            tokio::select! {
                () = tokio::time::sleep(self.options.compaction_interval) => {}
                _ = stop.changed() => break,
            }
            looks = self.compact_due(looks, &stop).await;
        }
    }

    /// One pass of compaction over all partitions, now.
    pub async fn compact(&self) {
        self.compact_due(Looks::new(), &self.stop.subscribe()).await;
    }

    /// Compacts what is due, the most urgent partition first. A partition that fails is tried again
    /// at the next pass.
    async fn compact_due(&self, mut before: Looks, stop: &watch::Receiver<bool>) -> Looks {
        let (mut due, mut looks) = (Vec::new(), Looks::new());
        for log in self.partitions() {
            let known = before.remove(&log.id());
            match self.look_at(&log, known).await {
                Some(Ok(urgency)) => due.push((urgency, log)),
                Some(Err(look)) => drop(looks.insert(log.id(), look)),
                None => {}
            }
        }
        due.sort_by(|(first, _), (second, _)| second.total_cmp(first));
        for (_, log) in due {
            if *stop.borrow() || !self.compact_partition(&log, stop).await {
                break;
            }
        }
        looks
    }

    /// How urgently a partition wants a round, or what to remember of it if it does not; `None` if
    /// there is nothing to remember.
    async fn look_at(&self, log: &PartitionLog, known: Option<Look>) -> Option<Result<f64, Look>> {
        let config = log.config().compaction?;
        let positions = log.positions();
        if positions.flushed_end <= positions.log_start {
            return None;
        }
        let (flushed_end, now) = (positions.flushed_end, self.context.clock.now());
        if let Some(look) = known.filter(|look| look.holds(flushed_end, &config, now)) {
            return Some(Err(look));
        }
        match self.compactor.outlook(log).await {
            Ok(Outlook::Due { urgency }) => Some(Ok(urgency)),
            Ok(Outlook::Later(again_at)) => Some(Err(Look { flushed_end, config, again_at })),
            Err(error) => {
                warn!(partition = log.id().0, error = %Chain(&error), "compaction was not planned");
                None
            }
        }
    }

    /// Rounds until the partition is clean. Returns whether the pass may go on.
    async fn compact_partition(&self, log: &PartitionLog, stop: &watch::Receiver<bool>) -> bool {
        let compactor: &Compactor = &self.compactor;
        loop {
            let error = match compactor.round(log, stop).await {
                Ok(true) => continue,
                Ok(false) => return true,
                Err(error) => error,
            };
            match error.kind() {
                ErrorKind::Fenced => {
                    self.report_fatal("another broker owns this store");
                    return false;
                }
                ErrorKind::Closed => return false,
                _ => {}
            }
            warn!(partition = log.id().0, error = %Chain(&error), "compaction failed");
            return true;
        }
    }
}
