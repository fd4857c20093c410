//! The state of one partition and who may touch it.

use std::collections::VecDeque;
use std::sync::Arc;

use antiphon_catalog::{Catalog, PartitionRow, SegmentRow};
use antiphon_common::{Clock, LeaderEpoch, Offset, PartitionId, ProducerId};
use antiphon_records::{BatchHeader, ProducerStates};
use antiphon_wal::Wal;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::ack::AckLatch;
use super::append::PendingBatch;
use super::config::LogConfig;
use super::epochs::EpochHistory;
use super::segments::SegmentPages;
use super::tail::{Tail, TailBatch};
use super::trim::OldestSegment;
use crate::budget::TailBudget;
use crate::cold::ColdReader;
use crate::engine::{TailLoading, TailQueue};
use crate::merge::MergeQueue;
use crate::traffic::Traffic;

/// What every partition of a broker shares.
#[derive(Debug)]
pub(crate) struct LogContext {
    pub(crate) wal: Arc<dyn Wal>,
    pub(crate) catalog: Arc<dyn Catalog>,
    pub(crate) cold: Arc<ColdReader>,
    pub(crate) budget: Arc<TailBudget>,
    pub(crate) traffic: Arc<Traffic>,
    pub(crate) segments: SegmentPages,
    pub(crate) queue: TailQueue,
    /// What of the queue is in memory, after a start.
    pub(crate) loading: TailLoading,
    pub(crate) merges: MergeQueue,
    pub(crate) clock: Arc<dyn Clock>,
    /// Cold reads, flushes and retention run here, so that live traffic never waits for them.
    pub(crate) history: tokio::runtime::Handle,
}

/// One partition. Cheap to share; every method takes `&self`.
#[derive(Debug)]
pub struct PartitionLog {
    pub(super) id: PartitionId,
    pub(super) context: Arc<LogContext>,
    pub(super) state: Mutex<LogState>,
    pub(super) config: Mutex<Arc<LogConfig>>,
    /// The first segment of history, as retention saw it last; `None` when it must look again.
    pub(super) oldest_segment: Mutex<Option<OldestSegment>>,
    /// Producer state as of `flushed_end`, which is what the catalog holds. Only flushes touch it.
    pub(super) flushed_producers: Mutex<ProducerStates>,
    /// Held by whoever changes this partition's history in the catalog.
    pub(super) history_change: tokio::sync::Mutex<()>,
    /// Held by whoever merges or compacts this partition's history, from reading to commit.
    pub(super) rewriting: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
pub(super) struct LogState {
    pub(super) leader_epoch: LeaderEpoch,
    pub(super) log_start: Offset,
    pub(super) flushed_end: Offset,
    pub(super) high_watermark: Offset,
    pub(super) next_offset: Offset,
    pub(super) tail: Tail,
    pub(super) producers: ProducerStates,
    pub(super) epochs: EpochHistory,
    /// Appended and not durable yet, in offset order.
    pub(super) in_flight: VecDeque<PendingBatch>,
    /// Acks to give when the high watermark passes the offset, ascending.
    pub(super) acks: VecDeque<(Offset, Arc<AckLatch>)>,
    /// Readers to wake when the high watermark moves. Each connection has one.
    pub(super) readers: Vec<Arc<Notify>>,
    /// Bytes of history in the bucket.
    pub(super) history_bytes: u64,
    /// Whether history may hold segments that lie below the start of the log.
    pub(super) unreadable_history: bool,
    pub(super) deleted: bool,
}

/// A consistent view of where a partition stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogPositions {
    /// The first offset that can be read.
    pub log_start: Offset,
    /// The end of what is durable, and so of what consumers see.
    pub high_watermark: Offset,
    /// The end of what has been appended.
    pub log_end: Offset,
    /// All records below are in the bucket.
    pub flushed_end: Offset,
    /// The epoch in which this broker leads the partition.
    pub leader_epoch: LeaderEpoch,
}

/// What became of a batch that was replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReplayedBatch {
    /// It is in the tail.
    Taken,
    /// History has it already.
    Known,
    /// It does not continue the log: something before it, which nobody deleted, is missing.
    Gap,
}

/// What the catalog knows of a partition when its log is opened.
#[derive(Debug)]
pub(crate) struct Restored {
    pub(crate) row: PartitionRow,
    pub(crate) leader_epoch: LeaderEpoch,
    pub(crate) producers: ProducerStates,
    pub(crate) flushed_producers: ProducerStates,
    pub(crate) config: Arc<LogConfig>,
}

impl PartitionLog {
    /// A log as the catalog left it; the write-ahead log's tail is replayed on top.
    pub(crate) fn restore(context: Arc<LogContext>, restored: Restored) -> Arc<Self> {
        let row = restored.row;
        // A log start beyond history lies in the tail, which is replayed next; see `begin_epoch`.
        let end = row.flushed_end;
        let state = LogState {
            leader_epoch: restored.leader_epoch,
            log_start: row.log_start,
            flushed_end: row.flushed_end,
            high_watermark: end,
            next_offset: end,
            tail: Tail::default(),
            producers: restored.producers,
            epochs: EpochHistory::from_entries(row.epochs),
            in_flight: VecDeque::new(),
            acks: VecDeque::new(),
            readers: Vec::new(),
            history_bytes: row.history_bytes,
            unreadable_history: row.log_start > Offset::ZERO && row.history_bytes > 0,
            deleted: false,
        };
        Arc::new(Self {
            id: row.partition_id,
            context,
            state: Mutex::new(state),
            config: Mutex::new(restored.config),
            oldest_segment: Mutex::new(None),
            flushed_producers: Mutex::new(restored.flushed_producers),
            history_change: tokio::sync::Mutex::new(()),
            rewriting: tokio::sync::Mutex::new(()),
        })
    }

    /// This partition's identity in storage.
    pub fn id(&self) -> PartitionId {
        self.id
    }

    /// Where the partition stands, all read at one moment.
    pub fn positions(&self) -> LogPositions {
        let state = self.state.lock();
        LogPositions {
            log_start: state.log_start,
            high_watermark: state.high_watermark,
            log_end: state.next_offset,
            flushed_end: state.flushed_end,
            leader_epoch: state.leader_epoch,
        }
    }

    /// Bytes in the bucket and, beyond `flushed_end`, in the tail. Walks the unflushed tail.
    pub fn size_bytes(&self) -> u64 {
        let state = self.state.lock();
        state.history_bytes + state.tail.size_from(state.flushed_end)
    }

    /// The settings in force.
    pub fn config(&self) -> Arc<LogConfig> {
        Arc::clone(&self.config.lock())
    }

    /// Replaces the settings; the next append and the next retention pass see them.
    pub fn set_config(&self, config: Arc<LogConfig>) {
        *self.config.lock() = config;
    }

    /// Wakes `reader` at the next move of the high watermark, once. A reader that is already
    /// registered stays registered once, so an idle partition holds at most one entry for each
    /// connection.
    pub fn wake_on_progress(&self, reader: &Arc<Notify>) {
        let mut state = self.state.lock();
        if state.readers.iter().any(|known| Arc::ptr_eq(known, reader)) {
            return;
        }
        // Connections that are gone hold their last reference here.
        state.readers.retain(|known| Arc::strong_count(known) > 1);
        state.readers.push(Arc::clone(reader));
    }

    /// Puts back a batch that the write-ahead log held when the broker stopped. Batches that history
    /// already has are left out. Called in log order.
    pub(crate) fn replay(
        self: &Arc<Self>,
        header: &BatchHeader,
        batch: TailBatch,
    ) -> ReplayedBatch {
        let mut state = self.state.lock();
        if batch.last_offset < state.next_offset {
            return ReplayedBatch::Known;
        }
        if batch.base_offset != state.next_offset && batch.base_offset > state.log_start {
            return ReplayedBatch::Gap;
        }
        state.epochs.begin(batch.leader_epoch, batch.base_offset);
        state.next_offset = batch.last_offset.next();
        state.producers.replay(header, batch.base_offset, self.context.clock.now());
        self.context.budget.charge(TailQueue::cost_of(batch.bytes.len()));
        self.make_visible(&mut state, batch);
        ReplayedBatch::Taken
    }

    /// Starts the reign of this broker: what is appended from now on carries its epoch.
    pub(crate) fn begin_epoch(&self) {
        let mut state = self.state.lock();
        // Records that were deleted before they were flushed, by a broker whose disk is gone since:
        // their offsets were given out and are not given out again.
        if state.next_offset < state.log_start {
            state.next_offset = state.log_start;
            state.high_watermark = state.log_start;
        }
        let (epoch, start) = (state.leader_epoch, state.next_offset);
        state.epochs.begin(epoch, start);
    }

    /// Makes a durable batch readable. The caller holds the state and has charged the memory.
    pub(super) fn make_visible(self: &Arc<Self>, state: &mut LogState, batch: TailBatch) {
        assert!(batch.base_offset >= state.high_watermark, "durability is announced in log order");
        let cost = TailQueue::cost_of(batch.bytes.len());
        let now = self.context.clock.monotonic();
        self.context.queue.push(self, &batch, cost, now);
        state.high_watermark = batch.last_offset.next();
        state.tail.push(batch);
    }

    /// Drops cached batches at or below `through`; only what history holds may go.
    pub(crate) fn evict_through(&self, through: Offset) {
        let mut state = self.state.lock();
        let through = through.min(state.flushed_end.prev());
        state.tail.evict_through(through);
    }

    /// Takes the partition out of service after its topic was deleted: appends fail, readers wake.
    pub(crate) fn mark_deleted(&self) {
        let mut state = self.state.lock();
        state.deleted = true;
        let readers = std::mem::take(&mut state.readers);
        drop(state);
        readers.iter().for_each(|reader| reader.notify_one());
    }

    /// Whether the partition's topic was deleted.
    pub fn is_deleted(&self) -> bool {
        self.state.lock().deleted
    }
}

/// What a flush needs of a log.
impl PartitionLog {
    /// Keeps others from changing this partition's history until the guard is dropped.
    pub(crate) async fn lock_history(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.history_change.lock().await
    }

    /// What the catalog should know once everything below `flushed_end` is in the bucket.
    pub(crate) fn progress_to(&self, flushed_end: Offset) -> antiphon_catalog::PartitionProgress {
        let state = self.state.lock();
        antiphon_catalog::PartitionProgress {
            partition_id: self.id,
            flushed_end,
            epochs: Some(state.epochs.entries_below(flushed_end)),
        }
    }

    /// Follows the producers of flushed batches; returns the rows that changed. Idempotent: a flush
    /// that is tried again returns the same rows.
    pub(crate) fn note_flushed<'a>(
        &self,
        batches: impl Iterator<Item = &'a bytes::Bytes>,
    ) -> Vec<(ProducerId, bytes::Bytes)> {
        let mut producers = self.flushed_producers.lock();
        let mut changed = std::collections::BTreeSet::new();
        for batch in batches {
            let Ok(header) = BatchHeader::parse(batch) else { continue };
            if header.has_producer_id() {
                producers.replay(&header, header.base_offset, self.context.clock.now());
                changed.insert(header.producer_id);
            }
        }
        let rows = changed.into_iter();
        rows.filter_map(|id| Some((id, producers.entry(id)?.encode().into()))).collect()
    }

    /// Makes a committed segment readable and moves `flushed_end` past it.
    pub(crate) fn publish_segment(&self, segment: &SegmentRow) {
        let mut state = self.state.lock();
        state.flushed_end = state.flushed_end.max(segment.last_offset.next());
        state.history_bytes += segment.length;
        state.unreadable_history |= segment.last_offset < state.log_start;
        drop(state);
        self.context.merges.flushed(segment);
    }
}
