//! Looking offsets up by time and by leader epoch.

use std::sync::Arc;

use antiphon_common::{LeaderEpoch, Offset, Timestamp};
use antiphon_records::{BatchHeader, Compression, ReadError, batches_in, first_record_from};
use bytes::Bytes;
use tokio::sync::Semaphore;

use super::epochs::EpochEnd;
use super::partition_log::PartitionLog;
use super::read::ReadColdError;
use crate::cold::SegmentRef;

/// How far one batch may grow when it is decompressed to look into it.
const DECOMPRESSED_BYTES_MAX: usize = 256 << 20;

/// One batch of the whole process is unpacked for a lookup at a time, off the threads that serve
/// connections: forty kilobytes of zstd unfold to the limit above and keep a processor busy for a
/// second, so a client that asks twenty times would otherwise stop live traffic for that long.
static UNPACKING: Semaphore = Semaphore::const_new(1);

/// A record's position and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetAndTimestamp {
    /// The record's offset.
    pub offset: Offset,
    /// Its timestamp.
    pub timestamp: Timestamp,
}

/// Why a lookup has no answer.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// History could not be read.
    #[error(transparent)]
    History(#[from] ReadColdError),
    /// A batch could not be looked into.
    #[error("a batch of partition {partition} could not be searched")]
    Batch {
        /// The partition.
        partition: antiphon_common::PartitionId,
        /// What is wrong with it.
        source: ReadError,
    },
}

impl PartitionLog {
    /// The first record at or after `timestamp` (ListOffsets by time), or `None`.
    pub async fn find_by_timestamp(
        self: &Arc<Self>,
        timestamp: Timestamp,
    ) -> Result<Option<OffsetAndTimestamp>, LookupError> {
        let (log_start, flushed_end) = {
            let state = self.state.lock();
            (state.log_start, state.flushed_end)
        };
        let mut from = log_start;
        while from < flushed_end {
            let Some(segment) = self.segment_as_new_as(from, timestamp).await? else { break };
            let target = SegmentRef::from(&segment);
            if let Some(found) = self.search_segment(&target, from, timestamp).await? {
                return Ok(Some(found));
            }
            from = segment.last_offset.next();
        }
        self.find_in_tail(flushed_end.max(log_start), timestamp).await
    }

    /// A pass over the rows, page by page: segments are in order of offset, and only nearly in
    /// order of time, so that the first one that is new enough can be anywhere.
    async fn segment_as_new_as(
        &self,
        from: Offset,
        timestamp: Timestamp,
    ) -> Result<Option<antiphon_catalog::SegmentRow>, ReadColdError> {
        let mut from = from;
        loop {
            let page = self.segments_from(from).await?;
            let Some(last) = page.last() else { return Ok(None) };
            from = last.last_offset.next();
            let mut candidates = page.into_iter();
            if let Some(found) = candidates.find(|row| row.max_timestamp >= timestamp) {
                return Ok(Some(found));
            }
        }
    }

    async fn search_segment(
        &self,
        segment: &SegmentRef,
        from: Offset,
        timestamp: Timestamp,
    ) -> Result<Option<OffsetAndTimestamp>, LookupError> {
        let mut from = from;
        loop {
            let block = self.context.cold.timestamp_lookup(segment, timestamp, from).await;
            let block = block.map_err(|source| ReadColdError::Object {
                partition: self.id,
                offset: from,
                source,
            })?;
            let Some(block) = block else { return Ok(None) };
            for (header, batch) in batches_in(&block).flatten() {
                if header.last_offset() < from {
                    continue;
                }
                if let Some(found) = self.search_batch(batch, from, timestamp).await? {
                    return Ok(Some(found));
                }
                // The index promised a record as new as this; its batch's maximum belongs to a
                // record below `from`. Go on behind it.
                from = header.next_offset();
            }
        }
    }

    async fn find_in_tail(
        &self,
        from: Offset,
        timestamp: Timestamp,
    ) -> Result<Option<OffsetAndTimestamp>, LookupError> {
        let mut from = from;
        loop {
            let candidate = {
                let state = self.state.lock();
                state.tail.at_or_after(from, timestamp).cloned()
            };
            let Some(batch) = candidate else { return Ok(None) };
            let Some(bytes) = batch.bytes.get().cloned() else {
                self.await_tail(batch.base_offset).await?;
                continue;
            };
            let last_offset = batch.last_offset;
            if let Some(found) = self.search_batch(bytes, from, timestamp).await? {
                return Ok(Some(found));
            }
            from = last_offset.next();
        }
    }

    async fn search_batch(
        &self,
        batch: Bytes,
        from: Offset,
        timestamp: Timestamp,
    ) -> Result<Option<OffsetAndTimestamp>, LookupError> {
        let plain = BatchHeader::parse(&batch)
            .is_ok_and(|header| matches!(header.compression(), Ok(Compression::None)));
        let search = move || first_record_from(&batch, from, timestamp, DECOMPRESSED_BYTES_MAX);
        let found = if plain { search() } else { unpacking(search).await };
        let found = found.map_err(|source| LookupError::Batch { partition: self.id, source })?;
        Ok(found.map(|(offset, timestamp)| OffsetAndTimestamp { offset, timestamp }))
    }

    /// The record with the newest timestamp (KIP-734), the first of them if several share it.
    pub async fn find_newest(self: &Arc<Self>) -> Result<Option<OffsetAndTimestamp>, LookupError> {
        let in_history = self.newest_in_history().await?;
        // What the tail caches of history does not count: compaction may have removed it there.
        let in_tail = {
            let state = self.state.lock();
            let newest = state.tail.newest_from(state.flushed_end.max(state.log_start));
            newest.map(|batch| batch.max_timestamp)
        };
        match in_history.max(in_tail) {
            Some(newest) => self.find_by_timestamp(newest).await,
            None => Ok(None),
        }
    }

    async fn newest_in_history(&self) -> Result<Option<Timestamp>, ReadColdError> {
        let mut newest = None;
        let mut from = self.state.lock().log_start;
        loop {
            let page = self.segments_from(from).await?;
            let Some(last) = page.last() else { return Ok(newest) };
            from = last.last_offset.next();
            newest = newest.max(page.iter().map(|row| row.max_timestamp).max());
        }
    }

    /// Where `epoch` ends (OffsetForLeaderEpoch, KIP-101); `None` when it is not known.
    pub fn end_of_epoch(&self, epoch: LeaderEpoch) -> Option<EpochEnd> {
        let state = self.state.lock();
        state.epochs.end_of(epoch, state.high_watermark)
    }

    /// The newest epoch that has written to the log at or before `offset`.
    pub fn epoch_at(&self, offset: Offset) -> LeaderEpoch {
        let state = self.state.lock();
        state.epochs.epoch_at(offset).unwrap_or(state.leader_epoch)
    }
}

/// Runs `search` where it may take its time, when it is its turn.
async fn unpacking<T: Send + 'static>(search: impl FnOnce() -> T + Send + 'static) -> T {
    // Nobody closes it; and whoever is dropped while waiting gives the turn back.
    let turn = UNPACKING.acquire().await;
    let searching = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        search()
    });
    match searching.await {
        Ok(found) => found,
        Err(failed) => std::panic::resume_unwind(failed.into_panic()),
    }
}
