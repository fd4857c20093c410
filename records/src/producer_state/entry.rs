//! What one partition remembers of one producer.

use std::collections::VecDeque;

use antiphon_common::{Offset, ProducerEpoch, ProducerId, Timestamp};

use super::SequenceFault;
use crate::batch::{BatchHeader, Sequence};

/// How many batches are remembered for telling duplicates: as many as an idempotent producer may
/// have in flight (Kafka's `max.in.flight.requests.per.connection` of at most 5).
pub const BATCHES_REMEMBERED: usize = 5;

/// A batch that was appended: what the answer to its duplicate says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendedBatch {
    /// The offset of its first record.
    pub base_offset: Offset,
    /// The offset of its last record, relative to the first.
    pub last_offset_delta: i32,
    /// Its first record's place in the producer's sequence.
    pub first_sequence: Sequence,
    /// Its max timestamp: the append time, on a topic that stamps.
    pub timestamp: Timestamp,
}

impl AppendedBatch {
    fn of(batch: &BatchHeader, base_offset: Offset) -> Self {
        Self {
            base_offset,
            last_offset_delta: batch.last_offset_delta,
            first_sequence: batch.base_sequence,
            timestamp: batch.max_timestamp,
        }
    }

    /// The offset of its last record.
    pub fn last_offset(&self) -> Offset {
        Offset(self.base_offset.get().saturating_add(i64::from(self.last_offset_delta)))
    }

    /// Its last record's place in the producer's sequence.
    pub fn last_sequence(&self) -> Sequence {
        self.first_sequence.advance(self.last_offset_delta)
    }
}

/// What one partition remembers of one producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerEntry {
    pub(super) producer_id: ProducerId,
    pub(super) producer_epoch: ProducerEpoch,
    pub(super) last_used: Timestamp,
    pub(super) last_offset: Offset,
    pub(super) transaction_first_offset: Option<Offset>,
    /// Of the current epoch only, oldest first.
    pub(super) batches: VecDeque<AppendedBatch>,
}

impl ProducerEntry {
    /// An entry that remembers nothing yet.
    pub(super) fn new(batch: &BatchHeader) -> Self {
        Self {
            producer_id: batch.producer_id,
            producer_epoch: batch.producer_epoch,
            last_used: Timestamp::NONE,
            last_offset: Offset::NONE,
            transaction_first_offset: None,
            batches: VecDeque::with_capacity(BATCHES_REMEMBERED),
        }
    }

    /// Whose entry this is.
    pub fn producer_id(&self) -> ProducerId {
        self.producer_id
    }

    /// The newest epoch seen.
    pub fn producer_epoch(&self) -> ProducerEpoch {
        self.producer_epoch
    }

    /// When the broker last appended a batch of this producer, by the broker's clock.
    pub fn last_used(&self) -> Timestamp {
        self.last_used
    }

    /// The last offset of the producer's newest batch, markers included.
    pub fn last_offset(&self) -> Offset {
        self.last_offset
    }

    /// Where the producer's open transaction begins in this partition.
    pub fn transaction_first_offset(&self) -> Option<Offset> {
        self.transaction_first_offset
    }

    /// The newest batches of the current epoch, oldest first.
    pub fn batches(&self) -> impl ExactSizeIterator<Item = &AppendedBatch> {
        self.batches.iter()
    }

    /// The remembered batch of which `batch` is a repetition: same epoch, same first and same last
    /// sequence. A batch that merely overlaps a remembered one is not a repetition.
    pub(super) fn duplicate_of(&self, batch: &BatchHeader) -> Option<AppendedBatch> {
        if batch.producer_epoch != self.producer_epoch {
            return None;
        }
        let range = (batch.base_sequence, batch.last_sequence());
        self.batches.iter().find(|b| (b.first_sequence, b.last_sequence()) == range).copied()
    }

    /// Whether the producer's epoch is current, and not that of a zombie.
    pub(super) fn check_epoch(&self, batch: &BatchHeader) -> Result<(), SequenceFault> {
        if batch.producer_epoch >= self.producer_epoch {
            return Ok(());
        }
        Err(SequenceFault::InvalidProducerEpoch {
            producer_id: self.producer_id,
            current: self.producer_epoch,
            found: batch.producer_epoch,
        })
    }

    /// Whether the batch is the one that comes next.
    pub(super) fn check_sequence(&self, batch: &BatchHeader) -> Result<(), SequenceFault> {
        let expected = self.expected_sequence(batch.producer_epoch);
        if batch.base_sequence == expected {
            return Ok(());
        }
        Err(SequenceFault::OutOfOrder {
            producer_id: self.producer_id,
            producer_epoch: batch.producer_epoch,
            expected,
            found: batch.base_sequence,
        })
    }

    /// Every epoch starts at 0. So does one that a marker began and no batch has followed yet.
    fn expected_sequence(&self, epoch: ProducerEpoch) -> Sequence {
        match self.batches.back() {
            Some(newest) if epoch == self.producer_epoch => newest.last_sequence().advance(1),
            _ => Sequence::ZERO,
        }
    }

    /// Takes in a batch that was appended at `base_offset`.
    pub(super) fn append(&mut self, batch: &BatchHeader, base_offset: Offset) {
        if batch.producer_epoch != self.producer_epoch {
            self.producer_epoch = batch.producer_epoch;
            self.batches.clear();
        }
        let appended = AppendedBatch::of(batch, base_offset);
        self.last_offset = appended.last_offset();
        if batch.is_control() {
            self.transaction_first_offset = None;
            return;
        }
        if batch.is_transactional() {
            self.transaction_first_offset.get_or_insert(base_offset);
        }
        if batch.base_sequence != Sequence::NONE {
            self.remember(appended);
        }
    }

    fn remember(&mut self, batch: AppendedBatch) {
        if self.batches.len() == BATCHES_REMEMBERED {
            self.batches.pop_front();
        }
        self.batches.push_back(batch);
    }
}
