//! Reading: the tail at once, on the caller's task; history through the cold path.

use std::sync::Arc;

use antiphon_catalog::SegmentRow;
use antiphon_common::{ErrorKind, Offset};
use bytes::Bytes;

use super::partition_log::PartitionLog;
use crate::cold::{ColdRead, ColdReadError, Onward, ReaderId, SegmentRef, last_offset_of_run};

/// What the tail says about a read.
#[derive(Clone, Debug)]
pub enum TailRead {
    /// Whole batches, the first of which contains the offset asked for; empty when the offset is
    /// at the end of what is durable.
    Batches(Vec<Bytes>),
    /// The offset lies in history, or in a part of the tail that a start has not brought into memory
    /// yet: use [`PartitionLog::read_cold`].
    Cold,
    /// Below the start of the log or beyond its end.
    OutOfRange,
}

/// Why history could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadColdError {
    /// The catalog did not say where history is.
    #[error("segments of partition {partition} could not be listed")]
    Catalog {
        /// The partition.
        partition: antiphon_common::PartitionId,
        /// What the catalog said.
        source: antiphon_catalog::CatalogError,
    },
    /// An object could not be read.
    #[error("history of partition {partition} at offset {offset} could not be read")]
    Object {
        /// The partition.
        partition: antiphon_common::PartitionId,
        /// The offset asked for.
        offset: Offset,
        /// What the store said.
        source: ColdReadError,
    },
    /// The offset is below the end of history, but no object holds it.
    #[error("partition {partition} has no object for offset {offset}")]
    Missing {
        /// The partition.
        partition: antiphon_common::PartitionId,
        /// The offset asked for.
        offset: Offset,
    },
    /// The write-ahead log cannot be read; this broker is about to end.
    #[error("the tail of partition {partition} could not be read from the write-ahead log")]
    TailLost {
        /// The partition.
        partition: antiphon_common::PartitionId,
    },
    /// The task that was reading went away; the broker is stopping.
    #[error("the history runtime is gone")]
    Closed,
}

impl ReadColdError {
    /// What the caller should do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Catalog { source, .. } => source.kind(),
            Self::Object { source, .. } => source.kind(),
            Self::Missing { .. } | Self::TailLost { .. } => ErrorKind::Corrupt,
            Self::Closed => ErrorKind::Closed,
        }
    }
}

impl PartitionLog {
    /// Reads durable batches from the tail without waiting. At most `max_bytes`, except that the
    /// first batch is returned whole if `at_least_one` (KIP-74).
    pub fn read_tail(&self, offset: Offset, max_bytes: usize, at_least_one: bool) -> TailRead {
        let state = self.state.lock();
        if offset < state.log_start || offset > state.next_offset {
            return TailRead::OutOfRange;
        }
        if offset >= state.high_watermark {
            return TailRead::Batches(Vec::new());
        }
        if state.tail.first_offset().is_none_or(|first| offset < first) {
            return TailRead::Cold;
        }
        let (mut batches, mut room, mut read) = (Vec::new(), max_bytes, 0);
        for batch in state.tail.from_offset(offset) {
            let size = batch.bytes.len();
            if size > room && !(at_least_one && batches.is_empty()) {
                break;
            }
            match batch.bytes.get() {
                Some(bytes) => batches.push(bytes.clone()),
                None if batches.is_empty() => return TailRead::Cold,
                None => break,
            }
            room = room.saturating_sub(size);
            read += size as u64;
        }
        drop(state);
        if read > 0 {
            self.context.traffic.tail_was_read(read);
        }
        TailRead::Batches(batches)
    }

    /// Reads batches from history, on the history runtime. Same limits as [`Self::read_tail`].
    /// An empty answer means that the offset has moved into the tail or out of the log meanwhile.
    /// Where a later object fails, the answer is what the earlier ones gave; the next read, which
    /// starts there, says what is wrong.
    ///
    /// Dropping the future ends the read, though not the loads that it started.
    pub async fn read_cold(
        self: &Arc<Self>,
        offset: Offset,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<Vec<Bytes>, ReadColdError> {
        self.read_cold_for(ReaderId::NOBODY, offset, max_bytes, at_least_one).await
    }

    /// As [`Self::read_cold`], for a reader that will come back for what follows: readers of one
    /// history who go on beside each other share what is loaded.
    pub async fn read_cold_for(
        self: &Arc<Self>,
        reader: ReaderId,
        offset: Offset,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<Vec<Bytes>, ReadColdError> {
        let log = Arc::clone(self);
        let read = HistoryRead { reader, max_bytes, at_least_one };
        let task = self.context.history.spawn(async move { log.read_history(read, offset).await });
        AbortOnDrop(task).join().await.unwrap_or(Err(ReadColdError::Closed))
    }

    async fn read_history(
        self: &Arc<Self>,
        read: HistoryRead,
        offset: Offset,
    ) -> Result<Vec<Bytes>, ReadColdError> {
        self.await_tail(offset).await?;
        let (log_start, flushed_end) = {
            let state = self.state.lock();
            (state.log_start, state.flushed_end)
        };
        // Waited for or not: what was missing when the caller looked may have come since.
        if offset >= flushed_end {
            return Ok(match self.read_tail(offset, read.max_bytes, read.at_least_one) {
                TailRead::Batches(batches) => batches,
                TailRead::Cold | TailRead::OutOfRange => Vec::new(),
            });
        }
        let mut batches: Vec<Bytes> = Vec::new();
        let (mut next, mut rest, mut ahead) = (offset, read, None);
        while next >= log_start && next < flushed_end && rest.wants_more() {
            let (segment, found) = match self.read_one_segment(&rest, next).await {
                Ok(Some(found)) => found,
                Ok(None) => break,
                Err(error) if batches.is_empty() => return Err(error),
                Err(_) => break,
            };
            let ColdRead { runs, onward } = found;
            ahead = onward.map(|onward| (onward, segment.last_offset.next()));
            let Some(last) = runs.last().and_then(|run| last_offset_of_run(run)) else { break };
            rest.took(runs.iter().map(Bytes::len).sum());
            batches.extend(runs);
            next = last.next();
            if last < segment.last_offset {
                break;
            }
            next = segment.last_offset.next();
        }
        self.context.cold.reader_is_at(read.reader, self.id, next);
        if let Some((onward, from)) = ahead.filter(|(_, from)| *from < flushed_end) {
            let log = Arc::clone(self);
            self.context.history.spawn(async move { log.read_ahead(onward, from).await });
        }
        Ok(batches)
    }

    /// Goes on reading ahead from the segment at `from` on. What goes wrong here is met again, and
    /// told, by the read that comes to it.
    async fn read_ahead(&self, mut onward: Onward, mut from: Offset) {
        while let Ok(Some(segment)) = self.segment_containing(from).await {
            let read = self.context.cold.read_ahead(&SegmentRef::from(&segment), onward).await;
            let Ok(Some(rest)) = read else { return };
            (onward, from) = (rest, segment.last_offset.next());
        }
    }

    /// Waits until the batch at `offset` is in memory, if it is one of the tail that is not.
    pub(super) async fn await_tail(&self, offset: Offset) -> Result<(), ReadColdError> {
        let missing = {
            let state = self.state.lock();
            let at = state.tail.from_offset(offset).next();
            let at = at.filter(|batch| batch.base_offset <= offset && batch.bytes.get().is_none());
            at.map(|batch| batch.lsn)
        };
        let Some(lsn) = missing else { return Ok(()) };
        let loaded = self.context.loading.wait_for(lsn).await;
        loaded.map_err(|_lost| ReadColdError::TailLost { partition: self.id })
    }

    /// Reads the segment that holds `from`, planning again if it turns out that history was
    /// rewritten. `None` when a deletion has overtaken the read, which then is "out of range".
    async fn read_one_segment(
        &self,
        read: &HistoryRead,
        from: Offset,
    ) -> Result<Option<(SegmentRow, ColdRead)>, ReadColdError> {
        let mut planned_again = false;
        loop {
            let Some(segment) = self.segment_containing(from).await? else {
                if from < self.state.lock().log_start {
                    return Ok(None);
                }
                return Err(ReadColdError::Missing { partition: self.id, offset: from });
            };
            match self.read_segment(&segment, read, from).await {
                Ok(found) => return Ok(Some((segment, found))),
                Err(error) if !planned_again && error.object_is_gone() => {
                    planned_again = true;
                    self.forget_segments();
                }
                Err(source) => {
                    let partition = self.id;
                    return Err(ReadColdError::Object { partition, offset: from, source });
                }
            }
        }
    }

    async fn read_segment(
        &self,
        segment: &SegmentRow,
        read: &HistoryRead,
        from: Offset,
    ) -> Result<ColdRead, ColdReadError> {
        let target = SegmentRef::from(segment);
        let cold = &self.context.cold;
        cold.read_for(read.reader, &target, from, read.max_bytes, read.at_least_one).await
    }
}

/// What a read of history still wants.
#[derive(Clone, Copy, Debug)]
struct HistoryRead {
    reader: ReaderId,
    max_bytes: usize,
    at_least_one: bool,
}

impl HistoryRead {
    fn wants_more(&self) -> bool {
        self.max_bytes > 0 || self.at_least_one
    }

    fn took(&mut self, bytes: usize) {
        self.max_bytes = self.max_bytes.saturating_sub(bytes);
        self.at_least_one &= bytes == 0;
    }
}

/// A task that ends with whoever waits for it.
struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> AbortOnDrop<T> {
    async fn join(mut self) -> Result<T, tokio::task::JoinError> {
        (&mut self.0).await
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
