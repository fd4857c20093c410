//! The service: looks at partitions when they are due, and merges what the planner says.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use antiphon_catalog::{MergeCommit, ObjectRow, SegmentRow};
use antiphon_common::{ErrorKind, ObjectId, Offset, PartitionId, Timestamp};
use parking_lot::RwLock;
use tokio::sync::watch;
use tracing::{debug, warn};

use super::error::MergeError;
use super::plan::{Open, Plan, Planner};
use super::queue::{MergeQueue, after};
use super::stats::{Counters, MergeStats};
use super::write::bytes_of;
use crate::engine::{Chain, FatalReport, ObjectIds};
use crate::log::{LogContext, PartitionLog};
use crate::object::{BuiltObject, WriterIdentity};
use crate::store::Store;

/// Rows that one look reads. What is not settled is far less: see `plan.rs`.
const ROWS_PER_LOOK: usize = 1_024;
/// Objects whose rows one look reads, to see whether they are mostly dead.
const OBJECTS_PER_LOOK: usize = 64;
/// The longest sleep, so that a clock that was set is noticed.
const SLEEP_MAX: Duration = Duration::from_secs(60);
/// How soon a partition is looked at again that compaction was busy with, or whose merge failed for a
/// reason that passes, or for one that may not.
const BUSY_PAUSE: Duration = Duration::from_secs(30);
const RETRY_PAUSE: Duration = Duration::from_secs(30);
const DAMAGE_PAUSE: Duration = Duration::from_secs(3600);
/// How often a merge that stands still for flushes' sake looks whether they have caught up.
const PRESSURE_POLL: Duration = Duration::from_millis(100);

/// The partitions of a broker.
pub(crate) type Logs = Arc<RwLock<HashMap<PartitionId, Arc<PartitionLog>>>>;

/// Merges segments of one broker's partitions, one merge at a time.
#[derive(Debug)]
pub(crate) struct Merger {
    pub(super) context: Arc<LogContext>,
    pub(super) store: Store,
    pub(super) ids: Arc<ObjectIds>,
    pub(super) logs: Logs,
    pub(super) on_fatal: FatalReport,
    pub(super) counters: Counters,
}

/// What is to become of a run of segments.
#[derive(Debug)]
struct Task {
    rows: Vec<SegmentRow>,
    level: u8,
    identity: WriterIdentity,
    created_at: Timestamp,
}

impl Merger {
    pub(crate) fn new(
        context: Arc<LogContext>,
        store: Store,
        ids: Arc<ObjectIds>,
        logs: Logs,
        on_fatal: FatalReport,
    ) -> Self {
        Self { context, store, ids, logs, on_fatal, counters: Counters::default() }
    }

    /// Figures for operators.
    pub(crate) fn stats(&self) -> MergeStats {
        self.counters.read(self.queue().due(self.now()))
    }

    /// Merges what is due, until told to stop.
    pub(crate) async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        while !*stop.borrow() {
            let pause = self.queue().until_due(self.now()).unwrap_or(SLEEP_MAX);
            tokio::select! {
                () = tokio::time::sleep(pause.min(SLEEP_MAX)) => {}
                () = self.queue().sooner() => {}
                _ = stop.changed() => break,
            }
            self.merge_due(&stop).await;
        }
    }

    /// Looks at every partition whose look is due, and merges until nothing is due any more.
    pub(crate) async fn merge_due(&self, stop: &watch::Receiver<bool>) {
        while !*stop.borrow() {
            let Some((id, from)) = self.queue().take_due(self.now()) else { return };
            let log = self.logs.read().get(&id).cloned();
            match log {
                Some(log) => self.visit(&log, from, stop).await,
                None => self.queue().forget(id),
            }
            tokio::task::yield_now().await;
        }
    }

    async fn visit(&self, log: &PartitionLog, from: Offset, stop: &watch::Receiver<bool>) {
        let id = log.id();
        let Some(_turn) = log.try_rewrite() else {
            return self.queue().look_at(id, after(self.now(), BUSY_PAUSE));
        };
        let Err(error) = self.look(log, from, stop).await else { return };
        let pause = match error.kind() {
            ErrorKind::Fenced => return (self.on_fatal)("another broker owns this store"),
            ErrorKind::Closed => return,
            ErrorKind::Retry => RETRY_PAUSE,
            ErrorKind::Invalid | ErrorKind::Corrupt | ErrorKind::Internal => DAMAGE_PAUSE,
        };
        self.counters.failed();
        warn!(partition = id.0, error = %Chain(&error), "a merge was put off");
        self.queue().look_at(id, after(self.now(), pause));
    }

    /// One look at a partition, and one merge if it is worth it.
    async fn look(
        &self,
        log: &PartitionLog,
        from: Offset,
        stop: &watch::Receiver<bool>,
    ) -> Result<(), MergeError> {
        let from = from.max(log.positions().log_start);
        let rows = self.context.catalog.segments_from(log.id(), from, ROWS_PER_LOOK).await;
        let rows = rows.map_err(MergeError::List)?;
        let rows = rows.get(self.expired(log, &rows)..).unwrap_or_default();
        let options = self.queue().options();
        let planner = Planner { options, limits: options.limits(&log.config()), now: self.now() };
        let sparse = self.sparse_objects(planner.aged(rows)).await?;
        match planner.plan(rows, &sparse) {
            Plan::Wait { until, open } => {
                let from = planner.settled_end(rows).max(from);
                self.queue().looked(log.id(), from, open, until);
                Ok(())
            }
            Plan::Merge { rows: range, level } => {
                self.merge(log, &planner, rows, range, level, stop).await?;
                self.queue().looked(log.id(), from, Open::default(), Some(self.now()));
                Ok(())
            }
        }
    }

    /// How many of the first rows retention takes anyway.
    fn expired(&self, log: &PartitionLog, rows: &[SegmentRow]) -> usize {
        let config = log.config();
        let Some(time) = config.retention_time.filter(|_| config.deletes) else { return 0 };
        let millis = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let oldest_kept = self.now().get().saturating_sub(millis);
        rows.iter().take_while(|row| row.max_timestamp.get() < oldest_kept).count()
    }

    /// Which objects of these rows hold more that is dead than alive.
    async fn sparse_objects(
        &self,
        rows: impl Iterator<Item = &SegmentRow>,
    ) -> Result<HashSet<ObjectId>, MergeError> {
        let objects: HashSet<ObjectId> = rows.map(|row| row.object_id).collect();
        let mut sparse = HashSet::new();
        for id in objects.into_iter().take(OBJECTS_PER_LOOK) {
            let row = self.context.catalog.object(id).await.map_err(MergeError::List)?;
            if row.is_some_and(|row| row.live_bytes < row.size / 2) {
                sparse.insert(id);
            }
        }
        Ok(sparse)
    }

    async fn merge(
        &self,
        log: &PartitionLog,
        planner: &Planner<'_>,
        rows: &[SegmentRow],
        range: std::ops::Range<usize>,
        level: u8,
        stop: &watch::Receiver<bool>,
    ) -> Result<(), MergeError> {
        let inputs = rows.get(range.clone()).unwrap_or_default().to_vec();
        let identity = self.ids.begin();
        let task = Task { rows: inputs, level, identity, created_at: self.now() };
        let written = self.write(&task.rows, identity, stop).await;
        let built = written.inspect_err(|_| self.ids.finish(identity.object))?;
        let output = output_row(&task, &built);
        let mut after = rows.to_vec();
        after.splice(range, output.iter().cloned());
        let settled_end = planner.settled_end(&after);
        self.commit(log, task, &built, output, settled_end, stop).await
    }

    async fn commit(
        &self,
        log: &PartitionLog,
        task: Task,
        built: &BuiltObject,
        output: Option<SegmentRow>,
        settled_end: Offset,
        stop: &watch::Receiver<bool>,
    ) -> Result<(), MergeError> {
        let (segments, bytes) = (task.rows.len(), bytes_of(&task.rows));
        let commit = MergeCommit {
            partition_id: log.id(),
            objects: vec![object_row(&task, built)],
            inputs: task.rows,
            outputs: output.into_iter().collect(),
            settled_end,
        };
        let object = task.identity.object;
        match log.replace_segments(&commit, stop).await {
            Ok(()) => {
                self.ids.finish(object);
                self.counters.merged(segments, bytes);
                debug!(partition = log.id().0, segments, bytes, %object, "merged");
                Ok(())
            }
            // It did not happen, and never will: retention or a deletion took an input.
            Err(error) if error.kind() == ErrorKind::Invalid => {
                self.ids.finish(object);
                self.counters.overtaken();
                debug!(partition = log.id().0, error = %Chain(&error), "a merge was overtaken");
                self.drop_object(object).await;
                Ok(())
            }
            // It may have happened; the object stays one that is being made, and is not swept.
            Err(error) => Err(MergeError::Commit(error)),
        }
    }

    /// Deletes an object that nobody will name. What does not work here the sweep does.
    async fn drop_object(&self, object: ObjectId) {
        if let Err(error) = self.store.delete_object(object).await {
            debug!(%object, error = %Chain(&error), "an abandoned object is left to the sweep");
        }
    }

    /// Stands still while flushes cannot keep up with producers, for a while.
    pub(super) async fn yield_to_flushes(
        &self,
        stop: &watch::Receiver<bool>,
    ) -> Result<(), MergeError> {
        let mut waited = Duration::ZERO;
        while self.context.queue.under_pressure()
            && waited < self.queue().options().pause_max
            && !*stop.borrow()
        {
            tokio::time::sleep(PRESSURE_POLL).await;
            waited += PRESSURE_POLL;
        }
        self.counters.paused(waited.as_millis() as u64);
        match *stop.borrow() {
            true => Err(MergeError::Stopped),
            false => Ok(()),
        }
    }

    fn queue(&self) -> &MergeQueue {
        &self.context.merges
    }

    fn now(&self) -> Timestamp {
        self.context.clock.now()
    }
}

/// The row of what came out: the offsets of the inputs, the place of the new section.
fn output_row(task: &Task, built: &BuiltObject) -> Option<SegmentRow> {
    let (first, last) = (task.rows.first()?, task.rows.last()?);
    let section = built.sections.first()?;
    Some(SegmentRow {
        partition_id: first.partition_id,
        base_offset: first.base_offset,
        last_offset: last.last_offset,
        object_id: built.identity.object,
        position: section.position,
        length: section.length,
        index_position: section.index_position,
        // The builder refuses tables that a 32-bit length could not describe.
        index_length: u32::try_from(section.index_length).unwrap_or(u32::MAX),
        base_timestamp: first.base_timestamp,
        max_timestamp: section.max_timestamp,
        record_count: section.record_count,
        leader_epoch: section.leader_epoch,
        level: task.level,
        created_at: task.created_at,
        crc: Some(section.crc),
    })
}

fn object_row(task: &Task, built: &BuiltObject) -> ObjectRow {
    ObjectRow {
        object_id: built.identity.object,
        size: built.size,
        created_at: task.created_at,
        broker_id: task.identity.broker,
        broker_epoch: task.identity.broker_epoch,
        live_sections: 1,
        level: task.level,
        live_bytes: 0,
    }
}
