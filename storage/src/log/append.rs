//! Appending: check the producer's sequence, assign offsets, hand the bytes to the write-ahead log;
//! and what happens when they are durable.

use std::sync::Arc;

use antiphon_common::{ErrorKind, Lsn, Offset, Timestamp};
use antiphon_records::{AppendedBatch, BatchHeader, BatchMut, Check, SequenceFault};
use antiphon_wal::{AppendFailed, Completion};
use bytes::Bytes;

use super::ack::AckLatch;
use super::config::TimestampSource;
use super::partition_log::{LogState, PartitionLog};
use super::tail::{TailBatch, TailBytes};
use crate::engine::{TailQueue, frame};

/// Where an append landed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The offset of the batch's first record; for a duplicate, the original's.
    pub base_offset: Offset,
    /// The offset of its last record.
    pub last_offset: Offset,
    /// The broker's timestamp, if the topic uses it; [`Timestamp::NONE`] otherwise.
    pub log_append_time: Timestamp,
    /// The first offset that can be read.
    pub log_start: Offset,
    /// Whether the producer had sent this batch before (KIP-98): nothing was appended.
    pub duplicate: bool,
}

/// Why nothing was appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The batch does not continue its producer's sequence (KIP-98).
    #[error("sequence of producer broken: {0}")]
    Sequence(#[from] SequenceFault),
    /// The partition's topic is gone.
    #[error("partition {0} was deleted")]
    Deleted(antiphon_common::PartitionId),
    /// The write-ahead log has no room until history has taken over some of it.
    #[error("the write-ahead log is full")]
    Full(#[source] antiphon_wal::AppendError),
    /// The batch exceeds what the log can hold in one frame.
    #[error("the batch does not fit a frame of the write-ahead log")]
    TooLarge(#[source] antiphon_wal::AppendError),
    /// The write-ahead log failed or is closed; this broker will not ack anything again.
    #[error("the write-ahead log is not writable")]
    Unwritable(#[source] antiphon_wal::AppendError),
    /// The offset space of the partition is used up.
    #[error("partition {0} has no offsets left")]
    OffsetsExhausted(antiphon_common::PartitionId),
}

impl AppendError {
    /// What the caller should do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Sequence(_) => ErrorKind::Invalid,
            Self::Full(_) => ErrorKind::Retry,
            Self::Unwritable(_) => ErrorKind::Closed,
            Self::TooLarge(_) | Self::Deleted(_) | Self::OffsetsExhausted(_) => ErrorKind::Invalid,
        }
    }
}

impl PartitionLog {
    /// Appends one batch that passed `antiphon_records::validate_produced`.
    ///
    /// Returns as soon as the batch has its offsets and its place in the log's order; `latch`
    /// settles when it is durable. A duplicate's latch settles when the original is durable.
    pub fn append(
        self: &Arc<Self>,
        batch: &[u8],
        header: &BatchHeader,
        latch: Option<&Arc<AckLatch>>,
    ) -> Result<Appended, AppendError> {
        let now = self.context.clock.now();
        let stamp = match self.config.lock().timestamps {
            TimestampSource::Create => Timestamp::NONE,
            TimestampSource::LogAppend => now,
        };
        let mut state = self.state.lock();
        if state.deleted {
            return Err(AppendError::Deleted(self.id));
        }
        if let Check::Duplicate(original) = state.producers.check(header, now)? {
            return Ok(duplicate_of(&mut state, &original, latch));
        }
        let base_offset = state.next_offset;
        let last_offset = base_offset
            .checked_add(i64::from(header.last_offset_delta))
            .filter(|last| last.get() < i64::MAX)
            .ok_or(AppendError::OffsetsExhausted(self.id))?;
        self.write(&mut state, batch, header, base_offset, stamp)?;
        state.next_offset = last_offset.next();
        let stored = as_stored(header, stamp);
        state.producers.record_append(&stored, base_offset, now);
        if let Some(latch) = latch {
            state.acks.push_back((last_offset, latch.hold()));
        }
        let log_start = state.log_start;
        Ok(Appended {
            base_offset,
            last_offset,
            log_append_time: stamp,
            log_start,
            duplicate: false,
        })
    }

    /// Queues the frame. The state stays locked, so that frames of a partition are in offset order.
    fn write(
        self: &Arc<Self>,
        state: &mut LogState,
        batch: &[u8],
        header: &BatchHeader,
        base_offset: Offset,
        stamp: Timestamp,
    ) -> Result<(), AppendError> {
        let epoch = state.leader_epoch;
        let mut fill = |frame: &mut [u8]| {
            let stored = frame::write(frame, self.id, batch);
            // The batch was validated; a header that does not parse here is a defect, and the frame
            // is stored as it came rather than half patched.
            if let Ok(mut stored) = BatchMut::first_in(stored) {
                stored.set_base_offset(base_offset);
                stored.set_partition_leader_epoch(epoch);
                if stamp != Timestamp::NONE {
                    stored.stamp_log_append_time(stamp);
                }
            }
        };
        let log = Arc::clone(self);
        let completion: Completion = Box::new(move |written| log.on_durable(written));
        let length = frame::HEADER_LENGTH + batch.len();
        let lsn =
            self.context.wal.append(length, &mut fill, completion).map_err(|error| match error
                .kind()
            {
                ErrorKind::Retry => AppendError::Full(error),
                ErrorKind::Invalid => AppendError::TooLarge(error),
                _ => AppendError::Unwritable(error),
            })?;
        // From here on the bytes are in memory, so they count before they are durable: a slow disk
        // must make producers wait as a slow bucket does.
        self.context.budget.charge(TailQueue::cost_of(batch.len()));
        // The completion takes the state's lock, which the caller holds: it cannot come before this.
        state.in_flight.push_back(PendingBatch {
            base_offset,
            last_offset: Offset(base_offset.get() + i64::from(header.last_offset_delta)),
            max_timestamp: as_stored(header, stamp).max_timestamp,
            record_count: header.record_count,
            leader_epoch: epoch,
            lsn,
        });
        Ok(())
    }

    /// Runs on the log's thread, in log order.
    fn on_durable(self: &Arc<Self>, written: Result<Bytes, AppendFailed>) {
        let mut state = self.state.lock();
        let pending = state.in_flight.pop_front();
        let (Some(pending), Ok(written)) = (pending, written) else {
            let lost = std::mem::take(&mut state.acks);
            drop(state);
            lost.iter().for_each(|(_, latch)| latch.settle(false));
            return;
        };
        let batch = pending.with_bytes(frame::batch_of(&written));
        if state.deleted {
            state.high_watermark = batch.last_offset.next();
            self.context.budget.refund(TailQueue::cost_of(batch.bytes.len()));
        } else {
            self.make_visible(&mut state, batch);
        }
        let acked = take_acked(&mut state);
        let readers = std::mem::take(&mut state.readers);
        drop(state);
        // Readers first: in a call and its response, what happens next depends on them.
        readers.iter().for_each(|reader| reader.notify_one());
        acked.iter().for_each(|latch| latch.settle(true));
    }
}

/// A batch that has its place in the log and is not durable yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct PendingBatch {
    base_offset: Offset,
    last_offset: Offset,
    max_timestamp: Timestamp,
    record_count: i32,
    leader_epoch: antiphon_common::LeaderEpoch,
    lsn: Lsn,
}

impl PendingBatch {
    fn with_bytes(self, bytes: Bytes) -> TailBatch {
        TailBatch {
            bytes: TailBytes::in_memory(bytes),
            base_offset: self.base_offset,
            last_offset: self.last_offset,
            max_timestamp: self.max_timestamp,
            record_count: self.record_count,
            leader_epoch: self.leader_epoch,
            lsn: self.lsn,
        }
    }
}

/// The header as it stands in the log: LogAppendTime replaces the batch's newest timestamp.
fn as_stored(header: &BatchHeader, stamp: Timestamp) -> BatchHeader {
    let max_timestamp = if stamp == Timestamp::NONE { header.max_timestamp } else { stamp };
    BatchHeader { max_timestamp, ..*header }
}

fn take_acked(state: &mut LogState) -> Vec<Arc<AckLatch>> {
    let mut acked = Vec::new();
    while state.acks.front().is_some_and(|(last, _)| *last < state.high_watermark) {
        if let Some((_, latch)) = state.acks.pop_front() {
            acked.push(latch);
        }
    }
    acked
}

/// Answers a batch that its producer sent before with the original's offsets; the ack still waits
/// until the original is durable.
fn duplicate_of(
    state: &mut LogState,
    original: &AppendedBatch,
    latch: Option<&Arc<AckLatch>>,
) -> Appended {
    if let Some(latch) = latch
        && original.last_offset() >= state.high_watermark
    {
        let position = state.acks.partition_point(|(last, _)| *last <= original.last_offset());
        state.acks.insert(position, (original.last_offset(), latch.hold()));
    }
    Appended {
        base_offset: original.base_offset,
        last_offset: original.last_offset(),
        log_append_time: Timestamp::NONE,
        log_start: state.log_start,
        duplicate: true,
    }
}
