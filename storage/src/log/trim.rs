//! Moving the start of the log: DeleteRecords and retention.

use antiphon_catalog::SegmentRow;
use antiphon_common::{ErrorKind, Offset, Timestamp};

use super::partition_log::PartitionLog;
use super::read::ReadColdError;

/// Why the start of the log did not move.
#[derive(Debug, thiserror::Error)]
pub enum TrimError {
    /// The offset is beyond what is durable.
    #[error("offset {asked} is beyond the high watermark {high_watermark}")]
    OutOfRange {
        /// The offset asked for.
        asked: Offset,
        /// The end of what is durable.
        high_watermark: Offset,
    },
    /// The catalog did not commit the change.
    #[error("the new start of the log was not committed")]
    Catalog(#[from] antiphon_catalog::CatalogError),
    /// The segment rows could not be read.
    #[error(transparent)]
    History(#[from] ReadColdError),
}

impl TrimError {
    /// What the caller should do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::OutOfRange { .. } => ErrorKind::Invalid,
            Self::Catalog(source) => source.kind(),
            Self::History(source) => source.kind(),
        }
    }
}

/// What retention needs of a partition's first segment, kept so that a pass that has nothing to do
/// reads nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct OldestSegment {
    last_offset: Offset,
    max_timestamp: Timestamp,
    length: u64,
}

impl From<&SegmentRow> for OldestSegment {
    fn from(row: &SegmentRow) -> Self {
        let SegmentRow { last_offset, max_timestamp, length, .. } = *row;
        Self { last_offset, max_timestamp, length }
    }
}

impl PartitionLog {
    /// Deletes every record below `offset`; [`Offset::NONE`] means all that is durable. Returns the
    /// new start of the log, which never moves back.
    pub async fn delete_records(&self, offset: Offset) -> Result<Offset, TrimError> {
        let (log_start, high_watermark) = {
            let state = self.state.lock();
            (state.log_start, state.high_watermark)
        };
        let target = if offset == Offset::NONE { high_watermark } else { offset };
        if target > high_watermark || target < Offset::ZERO {
            return Err(TrimError::OutOfRange { asked: offset, high_watermark });
        }
        if target <= log_start {
            return Ok(log_start);
        }
        self.move_start(target).await
    }

    /// Deletes what the settings no longer keep. Returns whether anything went.
    pub(crate) async fn enforce_retention(&self, now: Timestamp) -> Result<bool, TrimError> {
        self.remove_unreadable().await?;
        let config = self.config();
        if !config.deletes || (config.retention_time.is_none() && config.retention_size.is_none()) {
            return Ok(false);
        }
        let Some(target) = self.expired_through(now).await? else { return Ok(false) };
        self.move_start(target).await?;
        Ok(true)
    }

    /// Removes what lies below the start of the log. Whoever moves the start removes what history has
    /// then; a flush that comes later brings what was in the tail, and nothing else would ever take
    /// that away again.
    async fn remove_unreadable(&self) -> Result<(), TrimError> {
        let log_start = {
            let mut state = self.state.lock();
            if !std::mem::take(&mut state.unreadable_history) {
                return Ok(());
            }
            state.log_start
        };
        let removed = self.remove_ending_below(log_start).await;
        self.state.lock().unreadable_history |= removed.is_err();
        removed
    }

    async fn remove_ending_below(&self, log_start: Offset) -> Result<(), TrimError> {
        let oldest = self.context.catalog.segments_from(self.id, Offset::ZERO, 1).await?;
        if oldest.first().is_some_and(|row| row.last_offset < log_start) {
            self.move_start(log_start).await?;
        }
        Ok(())
    }

    /// The first offset that the settings keep, if that is above the start of the log. Only
    /// history expires: a record is in the bucket within a flush interval.
    async fn expired_through(&self, now: Timestamp) -> Result<Option<Offset>, ReadColdError> {
        let config = self.config();
        let mut size = self.size_bytes();
        let has_history = {
            let state = self.state.lock();
            state.log_start < state.flushed_end
        };
        if size == 0 || !has_history {
            return Ok(None);
        }
        let oldest_kept =
            config.retention_time.map(|time| now.get().saturating_sub(time.as_millis() as i64));
        let expires = |segment: &OldestSegment, size: u64| {
            let too_old = oldest_kept.is_some_and(|kept| segment.max_timestamp.get() < kept);
            let too_large = config
                .retention_size
                .is_some_and(|limit| size.saturating_sub(segment.length) >= limit.get());
            too_old || too_large
        };
        if self.oldest_segment.lock().is_some_and(|oldest| !expires(&oldest, size)) {
            return Ok(None);
        }
        let mut target = None;
        let mut from = self.state.lock().log_start;
        loop {
            let page = self.segments_from(from).await?;
            let Some(last) = page.last() else { return Ok(target) };
            from = last.last_offset.next();
            for segment in page.iter().map(OldestSegment::from) {
                if !expires(&segment, size) {
                    *self.oldest_segment.lock() = Some(segment);
                    return Ok(target);
                }
                size = size.saturating_sub(segment.length);
                target = Some(segment.last_offset.next());
            }
        }
    }

    async fn move_start(&self, target: Offset) -> Result<Offset, TrimError> {
        let _turn = self.history_change.lock().await;
        let removed = self.context.catalog.remove_segments_below(self.id, target).await?;
        // The start first: a reader that then misses a segment must see that it was deleted.
        let log_start = {
            let mut state = self.state.lock();
            state.log_start = state.log_start.max(target);
            let log_start = state.log_start;
            state.epochs.trim(log_start);
            state.history_bytes = state.history_bytes.saturating_sub(removed.bytes);
            log_start
        };
        let mut oldest = self.oldest_segment.lock();
        *oldest = oldest.filter(|oldest| oldest.last_offset >= log_start);
        Ok(log_start)
    }
}
