//! Moving the tail into the bucket.
//!
//! One flush: take the oldest unflushed batches in log order; build objects (a partition with much
//! data gets its own, the others share); put them; commit one catalog transaction that names them;
//! only then let the write-ahead log forget what they hold. A step that fails is tried again from the
//! same batches until it succeeds or the broker is fenced: until then the log keeps them.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use antiphon_catalog::{FlushCommit, ObjectRow, ProducerRow, SegmentRow};
use antiphon_common::{ErrorKind, Lsn, ObjectId, PartitionId, Timestamp};
use futures::StreamExt;
use tokio::sync::{Mutex, watch};
use tracing::{debug, warn};

use super::queue::UnflushedBatch;
use super::{Storage, TailLost};
use crate::log::PartitionLog;
use crate::object::{BatchSlice, BuildObjectError, BuiltObject, ObjectBuilder, SectionSummary};
use crate::store::PutObjectError;
use crate::traffic::TrafficClass;

/// Objects that one flush uploads at a time.
const UPLOADS_IN_FLIGHT: usize = 4;
/// The first pause after a failed flush, and the longest.
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(200);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(10);
/// While a flush takes long: how often producers are looked after, and from how many eighths of the
/// tail's budget on.
const ROOM_LOOK: Duration = Duration::from_millis(100);
const ROOM_WANTED_ABOVE_EIGHTHS: u64 = 7;

/// Why a flush did not happen.
#[derive(Debug, thiserror::Error)]
pub enum FlushError {
    /// An object could not be put.
    #[error("object {object} could not be put")]
    Put {
        /// The object.
        object: ObjectId,
        /// What the store said.
        source: PutObjectError,
    },
    /// The batches do not make an object.
    #[error("an object could not be built")]
    Build(#[from] BuildObjectError),
    /// Records that are to be flushed could not be read from the write-ahead log.
    #[error(transparent)]
    TailLost(#[from] TailLost),
    /// The catalog did not commit.
    #[error("the flush was not committed")]
    Commit(#[from] antiphon_catalog::CatalogError),
}

impl FlushError {
    /// What the caller should do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Put { source, .. } => source.kind(),
            Self::Build(source) => source.kind(),
            Self::TailLost(_) => ErrorKind::Corrupt,
            Self::Commit(source) => source.kind(),
        }
    }
}

/// The batches of one partition within one flush.
#[derive(Debug)]
struct PartitionRun {
    log: Arc<PartitionLog>,
    batches: Vec<UnflushedBatch>,
    size_bytes: u64,
}

/// One flush, from the batches that it takes to the commit that names its objects.
///
/// It is kept until it has succeeded, and tried again with the *same* objects: an attempt whose
/// answer was lost may have been committed, and only the same ids let the catalog see that.
#[derive(Debug)]
struct PreparedFlush {
    runs: BTreeMap<PartitionId, PartitionRun>,
    objects: Vec<BuiltObject>,
    through: Lsn,
}

/// Serialises flushes, so that objects of one partition are committed in offset order.
#[derive(Debug, Default)]
pub(super) struct FlushTurn(Mutex<Option<PreparedFlush>>);

impl Storage {
    /// Flushes when it is time, by size and by age, until told to stop.
    pub(super) async fn run_flusher(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut pause = RETRY_PAUSE_MIN;
        while !*stop.borrow() {
            tokio::select! {
                () = self.context.queue.pressure() => {}
                () = tokio::time::sleep(self.until_flush_is_due()) => {}
                _ = stop.changed() => break,
            }
            while self.flush_is_due() && !*stop.borrow() {
                match self.making_room(self.flush_once()).await {
                    Ok(_) => pause = RETRY_PAUSE_MIN,
                    Err(error) if error.kind() == ErrorKind::Fenced => {
                        self.report_fatal(&format!("another broker owns this store: {error}"));
                        return;
                    }
                    // Whoever reads the log has reported it.
                    Err(FlushError::TailLost(_)) => return,
                    Err(error) => {
                        warn!(error = %Chain(&error), retry_in_ms = pause.as_millis() as u64, "flush failed");
                        self.making_room(tokio::time::sleep(pause)).await;
                        pause = (pause * 2).min(RETRY_PAUSE_MAX);
                    }
                }
            }
        }
    }

    /// Awaits `work`, and meanwhile drops what is only cached rather than let producers wait: as long as
    /// the bucket does not answer, no flush comes to its end and to its own eviction.
    async fn making_room<T>(&self, work: impl Future<Output = T>) -> T {
        tokio::select! {
            done = work => done,
            never = self.make_room() => match never {},
        }
    }

    async fn make_room(&self) -> Infallible {
        loop {
            tokio::time::sleep(ROOM_LOOK).await;
            let budget = &self.context.budget;
            if budget.used() >= budget.limit() / 8 * ROOM_WANTED_ABOVE_EIGHTHS {
                self.evict();
            }
        }
    }

    fn flush_is_due(&self) -> bool {
        self.context.queue.under_pressure()
            || (self.context.queue.oldest_unflushed().is_some()
                && self.until_flush_is_due().is_zero())
    }

    fn until_flush_is_due(&self) -> Duration {
        let Some(since) = self.context.queue.oldest_unflushed() else {
            return self.options.flush_interval;
        };
        let age = self.context.clock.monotonic().saturating_sub(since);
        self.options.flush_interval.saturating_sub(age)
    }

    /// Flushes one prefix of the unflushed batches. Returns how many bytes are still unflushed.
    pub(super) async fn flush_once(self: &Arc<Self>) -> Result<u64, FlushError> {
        let mut turn = self.flush_turn.0.lock().await;
        if turn.is_none() {
            *turn = self.prepare().await?;
        }
        let Some(flush) = turn.as_ref() else { return Ok(0) };
        self.put_objects(&flush.objects).await?;
        self.commit(flush).await?;
        let through = flush.through;
        flush.objects.iter().for_each(|object| self.ids.finish(object.identity.object));
        debug!(lsn = through.get(), objects = flush.objects.len(), "flushed");
        *turn = None;
        let freed = self.context.queue.mark_flushed(through);
        self.context.budget.refund(freed);
        self.context.wal.trim(through);
        self.evict();
        Ok(self.context.queue.unflushed_bytes())
    }

    async fn prepare(&self) -> Result<Option<PreparedFlush>, FlushError> {
        let max_bytes = match self.context.loading.is_over() {
            true => self.options.flush_bytes_max,
            false => self.options.flush_bytes_loading(),
        };
        // Not just what a start has brought into memory so far: that would make small objects.
        if let Some(last) = self.context.queue.last_of_unflushed(max_bytes) {
            self.context.loading.wait_for(last).await?;
        }
        let batches = self.context.queue.peek_unflushed(max_bytes);
        let Some(through) = batches.last().map(|entry| entry.batch.lsn) else { return Ok(None) };
        let runs = by_partition(batches);
        let objects = self.build_objects(&runs)?;
        Ok(Some(PreparedFlush { runs, objects, through }))
    }

    fn build_objects(
        &self,
        runs: &BTreeMap<PartitionId, PartitionRun>,
    ) -> Result<Vec<BuiltObject>, FlushError> {
        let (large, small): (Vec<_>, Vec<_>) =
            runs.iter().partition(|(_, run)| run.size_bytes >= self.options.own_object_bytes_min);
        let mut objects = Vec::with_capacity(large.len() + 1);
        for entry in large {
            objects.push(self.build_object(std::iter::once(entry))?);
        }
        if !small.is_empty() {
            objects.push(self.build_object(small.into_iter())?);
        }
        Ok(objects)
    }

    fn build_object<'a>(
        &self,
        runs: impl Iterator<Item = (&'a PartitionId, &'a PartitionRun)>,
    ) -> Result<BuiltObject, FlushError> {
        let mut builder = ObjectBuilder::new(self.ids.begin());
        for (partition, run) in runs {
            builder.section(*partition, run.batches.iter().map(slice_of))?;
        }
        Ok(builder.finish()?)
    }

    async fn put_objects(&self, objects: &[BuiltObject]) -> Result<(), FlushError> {
        // By index: a closure over references would be too narrow for a spawned task's lifetimes.
        let puts = (0..objects.len()).map(|index| self.put_one(&objects[index]));
        let mut puts = futures::stream::iter(puts).buffer_unordered(UPLOADS_IN_FLIGHT);
        while let Some(put) = puts.next().await {
            put?;
        }
        Ok(())
    }

    async fn put_one(&self, object: &BuiltObject) -> Result<(), FlushError> {
        let _turn = self.context.traffic.admit(TrafficClass::Upload, object.size).await;
        let put = self.store.put_object(object).await;
        put.map_err(|source| FlushError::Put { object: object.identity.object, source })
    }

    /// Commits and publishes. Partitions are locked against other changes of their history for as
    /// long as the transaction takes, in id order, so that readers of the rows see all or none.
    async fn commit(&self, flush: &PreparedFlush) -> Result<(), FlushError> {
        let PreparedFlush { runs, objects, through } = flush;
        let mut turns = Vec::with_capacity(runs.len());
        for run in runs.values() {
            turns.push(run.log.lock_history().await);
        }
        let segments = self.segment_rows(objects);
        let mut progress = Vec::with_capacity(runs.len());
        let mut producers = Vec::new();
        for (partition, run) in runs {
            let Some(last) = run.batches.last() else { continue };
            let flushed_end = last.batch.last_offset.next();
            progress.push(run.log.progress_to(flushed_end));
            let rows = run.log.note_flushed(run.batches.iter().map(|entry| &entry.bytes));
            producers.extend(rows.into_iter().map(|(producer_id, state)| ProducerRow {
                partition_id: *partition,
                producer_id,
                state,
            }));
        }
        let commit = FlushCommit {
            flushed_lsn: *through,
            objects: objects.iter().map(|object| self.object_row(object)).collect(),
            segments: segments.clone(),
            partitions: progress,
            producer_upserts: producers,
            producer_removals: Vec::new(),
        };
        self.context.catalog.commit_flush(commit).await?;
        for segment in segments {
            if let Some(run) = runs.get(&segment.partition_id) {
                run.log.publish_segment(&segment);
            }
        }
        drop(turns);
        Ok(())
    }

    fn segment_rows(&self, objects: &[BuiltObject]) -> Vec<SegmentRow> {
        let created_at = self.context.clock.now();
        let rows = objects.iter().flat_map(|object| {
            object.sections.iter().map(move |section| segment_row(section, object, created_at))
        });
        rows.collect()
    }

    fn object_row(&self, object: &BuiltObject) -> ObjectRow {
        ObjectRow {
            object_id: object.identity.object,
            size: object.size,
            created_at: self.context.clock.now(),
            broker_id: self.broker_id,
            broker_epoch: self.broker_epoch,
            live_sections: object.sections.len() as u32,
            level: 0,
            live_bytes: 0,
        }
    }

    /// Drops what is flushed and does not fit into the tail cache, the oldest first.
    fn evict(&self) {
        let bytes_max = self.options.tail_cache_bytes_max;
        while let Some((log, through)) = self.context.queue.pop_flushed(bytes_max) {
            log.evict_through(through);
        }
        self.context.loading.note_room();
    }
}

fn segment_row(
    section: &SectionSummary,
    object: &BuiltObject,
    created_at: Timestamp,
) -> SegmentRow {
    SegmentRow {
        partition_id: section.partition,
        base_offset: section.base_offset,
        last_offset: section.last_offset,
        object_id: object.identity.object,
        position: section.position,
        length: section.length,
        index_position: section.index_position,
        // The builder refuses tables that a 32-bit length could not describe.
        index_length: u32::try_from(section.index_length).unwrap_or(u32::MAX),
        base_timestamp: Timestamp::NONE,
        max_timestamp: section.max_timestamp,
        record_count: section.record_count,
        leader_epoch: section.leader_epoch,
        level: 0,
        created_at,
        crc: Some(section.crc),
    }
}

fn by_partition(batches: Vec<UnflushedBatch>) -> BTreeMap<PartitionId, PartitionRun> {
    let mut runs = BTreeMap::new();
    for entry in batches {
        if entry.log.is_deleted() {
            continue;
        }
        let run = runs.entry(entry.log.id()).or_insert_with(|| PartitionRun {
            log: Arc::clone(&entry.log),
            batches: Vec::new(),
            size_bytes: 0,
        });
        run.size_bytes += entry.bytes.len() as u64;
        run.batches.push(entry);
    }
    runs
}

fn slice_of(entry: &UnflushedBatch) -> BatchSlice {
    let batch = &entry.batch;
    BatchSlice {
        bytes: entry.bytes.clone(),
        base_offset: batch.base_offset,
        last_offset: batch.last_offset,
        max_timestamp: batch.max_timestamp,
        record_count: u64::try_from(batch.record_count).unwrap_or(0),
        leader_epoch: batch.leader_epoch,
    }
}

/// An error with its causes, in one line.
#[derive(Debug)]
pub struct Chain<'a>(pub &'a dyn std::error::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
