//! Every durable batch in memory, over all partitions, in log order.
//!
//! ```text
//!   tail cache (history has them)     |        unflushed
//!   oldest ------------------------ flushed ---------------------- newest
//! ```
//!
//! A flush takes a prefix of the unflushed part, so that one number, the log position of its last
//! batch, says what the write-ahead log may forget. What is flushed stays readable here, so that
//! consumers that are behind by seconds cost the store nothing, until the tail cache is full: then a
//! prefix of it is dropped.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use antiphon_common::{Lsn, Offset};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::log::{PartitionLog, TailBatch};

/// What one batch costs beyond its bytes: its entries here and in the tail, and its allocation.
const OVERHEAD_BYTES: u64 = 256;

#[derive(Debug)]
struct QueuedBatch {
    log: Arc<PartitionLog>,
    batch: TailBatch,
    cost: u64,
    durable_at: Duration,
}

/// A batch on its way into the bucket.
#[derive(Clone, Debug)]
pub(crate) struct UnflushedBatch {
    pub(crate) log: Arc<PartitionLog>,
    pub(crate) batch: TailBatch,
    pub(crate) bytes: Bytes,
}

#[derive(Debug, Default)]
struct Queue {
    batches: VecDeque<QueuedBatch>,
    flushed: usize,
    flushed_bytes: u64,
    unflushed_bytes: u64,
}

impl Queue {
    fn oldest_unflushed(&self, max_bytes: u64) -> impl Iterator<Item = &QueuedBatch> {
        let mut bytes = 0;
        self.batches.range(self.flushed..).enumerate().map_while(move |(index, entry)| {
            bytes += entry.cost;
            (index == 0 || bytes <= max_bytes).then_some(entry)
        })
    }
}

/// See the module's page.
#[derive(Debug)]
pub(crate) struct TailQueue {
    queue: Mutex<Queue>,
    /// A flush is due once this many bytes are unflushed.
    flush_threshold: u64,
    pressure: Notify,
}

impl TailQueue {
    pub(crate) fn new(flush_threshold: u64) -> Self {
        Self { queue: Mutex::default(), flush_threshold, pressure: Notify::new() }
    }

    /// What holding a batch of `length` bytes in memory is charged.
    pub(crate) fn cost_of(length: usize) -> u64 {
        length as u64 + OVERHEAD_BYTES
    }

    pub(crate) fn push(
        &self,
        log: &Arc<PartitionLog>,
        batch: &TailBatch,
        cost: u64,
        durable_at: Duration,
    ) {
        let mut queue = self.queue.lock();
        debug_assert!(
            queue.batches.back().is_none_or(|last| last.batch.lsn < batch.lsn),
            "batches are queued in log order"
        );
        let before = queue.unflushed_bytes;
        queue.unflushed_bytes += cost;
        let crossed =
            before < self.flush_threshold && queue.unflushed_bytes >= self.flush_threshold;
        queue.batches.push_back(QueuedBatch {
            log: Arc::clone(log),
            batch: batch.clone(),
            cost,
            durable_at,
        });
        drop(queue);
        if crossed {
            self.pressure.notify_one();
        }
    }

    /// Resolves when the flush threshold has been crossed since the last call.
    pub(crate) async fn pressure(&self) {
        self.pressure.notified().await;
    }

    /// Whether the flush threshold is crossed now.
    pub(crate) fn under_pressure(&self) -> bool {
        self.queue.lock().unflushed_bytes >= self.flush_threshold
    }

    /// Bytes charged to batches that history does not have yet.
    pub(crate) fn unflushed_bytes(&self) -> u64 {
        self.queue.lock().unflushed_bytes
    }

    /// When the oldest unflushed batch became durable.
    pub(crate) fn oldest_unflushed(&self) -> Option<Duration> {
        let queue = self.queue.lock();
        queue.batches.get(queue.flushed).map(|entry| entry.durable_at)
    }

    /// The oldest unflushed batches, up to about `max_bytes` (at least one, if there are any), as far
    /// as they are in memory.
    pub(crate) fn peek_unflushed(&self, max_bytes: u64) -> Vec<UnflushedBatch> {
        let queue = self.queue.lock();
        let taken = queue.oldest_unflushed(max_bytes).map_while(|entry| {
            let (log, batch) = (Arc::clone(&entry.log), entry.batch.clone());
            Some(UnflushedBatch { log, bytes: batch.bytes.get()?.clone(), batch })
        });
        taken.collect()
    }

    /// The last of the batches that [`Self::peek_unflushed`] would give if all were in memory.
    pub(crate) fn last_of_unflushed(&self, max_bytes: u64) -> Option<Lsn> {
        let queue = self.queue.lock();
        queue.oldest_unflushed(max_bytes).last().map(|entry| entry.batch.lsn)
    }

    /// Notes that history has everything up to `through`. Returns what was charged for that.
    pub(crate) fn mark_flushed(&self, through: Lsn) -> u64 {
        let mut queue = self.queue.lock();
        let before = queue.unflushed_bytes;
        while let Some(entry) = queue.batches.get(queue.flushed) {
            if entry.batch.lsn > through {
                break;
            }
            let cost = entry.cost;
            queue.flushed += 1;
            queue.flushed_bytes += cost;
            queue.unflushed_bytes -= cost;
        }
        before - queue.unflushed_bytes
    }

    /// Bytes charged to batches that history has and memory still holds.
    pub(crate) fn flushed_bytes(&self) -> u64 {
        self.queue.lock().flushed_bytes
    }

    /// If flushed batches take more than `bytes_max`, takes the oldest of them out, to be dropped from
    /// memory: its log, and the offset up to which it reached.
    pub(crate) fn pop_flushed(&self, bytes_max: u64) -> Option<(Arc<PartitionLog>, Offset)> {
        let mut queue = self.queue.lock();
        if queue.flushed_bytes <= bytes_max {
            return None;
        }
        queue.flushed = queue.flushed.checked_sub(1)?;
        let entry = queue.batches.pop_front()?;
        queue.flushed_bytes -= entry.cost;
        Some((entry.log, entry.batch.last_offset))
    }
}
