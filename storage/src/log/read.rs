//! Reading: the tail at once, on the caller's task; history through the cold path.

use std::sync::Arc;

use antiphon_catalog::SegmentRow;
use antiphon_common::{ErrorKind, Offset};
use bytes::Bytes;
use parking_lot::Mutex;

use super::partition_log::PartitionLog;
use crate::cold::{ColdReadError, SegmentRef, last_offset_of_run};

/// What the tail says about a read.
#[derive(Clone, Debug)]
pub enum TailRead {
    /// Whole batches, the first of which contains the offset asked for; empty when the offset is
    /// at the end of what is durable.
    Batches(Vec<Bytes>),
    /// The offset lies in history: use [`PartitionLog::read_cold`].
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
            Self::Missing { .. } => ErrorKind::Corrupt,
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
        let mut batches = Vec::new();
        let mut room = max_bytes;
        for batch in state.tail.from_offset(offset) {
            let size = batch.bytes.len();
            if size > room && !(at_least_one && batches.is_empty()) {
                break;
            }
            room = room.saturating_sub(size);
            batches.push(batch.bytes.clone());
        }
        TailRead::Batches(batches)
    }

    /// Reads batches from history, on the history runtime. Same limits as [`Self::read_tail`].
    /// An empty answer means that the offset has moved into the tail or out of the log meanwhile.
    pub async fn read_cold(
        self: &Arc<Self>,
        offset: Offset,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<Vec<Bytes>, ReadColdError> {
        let log = Arc::clone(self);
        let task = self
            .context
            .history
            .spawn(async move { log.read_history(offset, max_bytes, at_least_one).await });
        task.await.unwrap_or(Err(ReadColdError::Closed))
    }

    async fn read_history(
        &self,
        offset: Offset,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<Vec<Bytes>, ReadColdError> {
        let (log_start, flushed_end) = {
            let state = self.state.lock();
            (state.log_start, state.flushed_end)
        };
        let mut batches: Vec<Bytes> = Vec::new();
        let (mut next, mut room) = (offset, max_bytes);
        while next >= log_start && next < flushed_end && (room > 0 || batches.is_empty()) {
            let Some(segment) = self.segment_containing(next).await? else {
                // A deletion may have overtaken the read; what it says then is "out of range".
                if next < self.state.lock().log_start {
                    break;
                }
                return Err(ReadColdError::Missing { partition: self.id, offset: next });
            };
            let demand = at_least_one && batches.is_empty();
            let found = self.read_segment(&segment, next, room, demand).await?;
            let Some(last) = found.last().and_then(|run| last_offset_of_run(run)) else { break };
            room = room.saturating_sub(found.iter().map(Bytes::len).sum());
            batches.extend(found);
            if last < segment.last_offset {
                break;
            }
            next = segment.last_offset.next();
        }
        Ok(batches)
    }

    async fn read_segment(
        &self,
        segment: &SegmentRow,
        from: Offset,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<Vec<Bytes>, ReadColdError> {
        let target = SegmentRef::from(segment);
        let read = self.context.cold.read(&target, from, max_bytes, at_least_one).await;
        read.map_err(|source| ReadColdError::Object { partition: self.id, offset: from, source })
    }

    /// The segment that holds `offset`.
    pub(super) async fn segment_containing(
        &self,
        offset: Offset,
    ) -> Result<Option<SegmentRow>, ReadColdError> {
        let segments = self.segments().await?.lock();
        let index = segments.partition_point(|segment| segment.last_offset < offset);
        Ok(segments.get(index).filter(|segment| segment.base_offset <= offset).cloned())
    }

    /// The segment rows, read from the catalog at the first need. A flush that commits while they
    /// are being read waits its turn on `history_change`, so no row is missed or doubled.
    pub(super) async fn segments(&self) -> Result<&Mutex<Vec<SegmentRow>>, ReadColdError> {
        if let Some(known) = self.segments.get() {
            return Ok(known);
        }
        let _turn = self.history_change.lock().await;
        self.segments
            .get_or_try_init(|| async {
                let rows = self.context.catalog.segments(self.id).await;
                rows.map(Mutex::new)
                    .map_err(|source| ReadColdError::Catalog { partition: self.id, source })
            })
            .await
    }
}
