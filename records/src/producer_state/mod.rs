//! What a partition remembers of its producers, so that a batch sent twice is stored once (KIP-98)
//! and a zombie's batch is not stored at all. Pure: no clock, no I/O.
//!
//! # Rules
//! 1. A batch is a **duplicate** if its epoch is current and its (first, last) sequence is exactly
//!    that of one of the last five batches. The answer is the original's offset and timestamp. The
//!    original may still be on its way to the disk: whoever answers waits until its last offset is
//!    durable, exactly as for the original.
//! 2. An **older epoch** is refused as that of a zombie. A **newer epoch** must start at sequence 0,
//!    and forgets the batches of the one before: their sequences are used again.
//! 3. Within an epoch the next batch starts where the last one ended, stepping from `i32::MAX` to 0.
//! 4. An **unknown** producer may start at any sequence. Its state may have expired, or all its
//!    records may have been deleted, and it has no way of knowing; there is therefore no "unknown
//!    producer" fault (KIP-360).
//! 5. Batches without sequence (the offset commits of a transaction, transaction markers) answer only
//!    for their epoch. A marker ends the transaction, and may raise the epoch (KIP-890).
//!
//! # Life of an entry
//! An append is recorded when its offset is assigned, before it is durable: the next batch in the
//! pipeline is checked against it. That stays true after a crash, since the tail of the log is
//! replayed over the last snapshot and holds exactly what became durable. Rows may be newer than the
//! point at which replay starts: [`ProducerStates::replay`] skips what a row has already seen.
//!
//! Entries expire a while after their last *append* by the broker's clock (Kafka goes by the record's
//! timestamp, which forgets a producer of old records at once). Beyond `producers_max` the one unused
//! for longest goes first. A producer with an open transaction is exempt from both, as the partition
//! must remember where the transaction began; how many of those there can be is for the transaction
//! coordinator's timeouts to bound.

mod entry;
mod row;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use antiphon_common::{ErrorKind, Offset, ProducerEpoch, ProducerId, Timestamp};
use thiserror::Error;

pub use entry::{AppendedBatch, BATCHES_REMEMBERED, ProducerEntry};
pub use row::RowError;

use crate::batch::{BatchHeader, Sequence};

/// The order of last use is kept by the second, so that a busy producer moves in it once a second and
/// not with every batch.
const USE_GRANULARITY_MS: i64 = 1000;

/// How much a partition remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerStateLimits {
    /// How long an unused producer is remembered (`producer.id.expiration.ms`).
    pub expiration: Duration,
    /// How many producers are remembered. One takes about 300 bytes.
    pub producers_max: usize,
}

impl Default for ProducerStateLimits {
    /// Kafka's one day; and a number of producers that no healthy partition reaches, which bounds
    /// what a client in a restart loop can cost.
    fn default() -> Self {
        Self { expiration: Duration::from_secs(24 * 60 * 60), producers_max: 10_000 }
    }
}

/// What to do with a batch that its producer's history allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Append it.
    Append,
    /// Do not append it: this is it, already in the log. Answer with its offset and timestamp once it
    /// is durable.
    Duplicate(AppendedBatch),
}

/// Why a batch must not be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SequenceFault {
    /// A batch before this one is missing (or this one is older than the batches remembered).
    #[error(
        "producer {producer_id} epoch {producer_epoch} sent sequence {found}, \
         {expected} comes next"
    )]
    OutOfOrder {
        /// Whose batch.
        producer_id: ProducerId,
        /// The batch's epoch.
        producer_epoch: ProducerEpoch,
        /// What the batch should start with.
        expected: Sequence,
        /// What it starts with.
        found: Sequence,
    },
    /// A newer incarnation of the producer has taken over.
    #[error("producer {producer_id} sent epoch {found}, the current one is {current}")]
    InvalidProducerEpoch {
        /// Whose batch.
        producer_id: ProducerId,
        /// The newest epoch seen.
        current: ProducerEpoch,
        /// The batch's epoch.
        found: ProducerEpoch,
    },
}

impl SequenceFault {
    /// What a caller should do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::OutOfOrder { .. } => ErrorKind::Invalid,
            Self::InvalidProducerEpoch { .. } => ErrorKind::Fenced,
        }
    }
}

/// The producers of one partition.
#[derive(Clone, Debug)]
pub struct ProducerStates {
    limits: ProducerStateLimits,
    entries: HashMap<ProducerId, ProducerEntry>,
    /// The producers without an open transaction, least recently used first.
    idle: BTreeSet<(i64, ProducerId)>,
}

impl ProducerStates {
    /// A partition that has seen no producer.
    pub fn new(limits: ProducerStateLimits) -> Self {
        Self { limits, entries: HashMap::new(), idle: BTreeSet::new() }
    }

    /// How many producers are remembered.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no producer is remembered.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What is remembered of one producer, expired or not.
    pub fn entry(&self, producer_id: ProducerId) -> Option<&ProducerEntry> {
        self.entries.get(&producer_id)
    }

    /// All entries, in no order: what a snapshot consists of.
    pub fn entries(&self) -> impl Iterator<Item = &ProducerEntry> {
        self.entries.values()
    }

    /// The producers that are not expired, in no particular order: those whose last batch compaction
    /// must not lose.
    pub fn active(&self, now: Timestamp) -> impl Iterator<Item = &ProducerEntry> {
        self.entries.values().filter(move |entry| !self.is_expired(entry, now))
    }

    /// Whether `batch` comes next, was here before, or must not be appended.
    pub fn check(&self, batch: &BatchHeader, now: Timestamp) -> Result<Check, SequenceFault> {
        if !batch.has_producer_id() {
            return Ok(Check::Append);
        }
        let known = self.entries.get(&batch.producer_id);
        let Some(entry) = known.filter(|entry| !self.is_expired(entry, now)) else {
            return Ok(Check::Append);
        };
        if batch.base_sequence == Sequence::NONE {
            return entry.check_epoch(batch).map(|()| Check::Append);
        }
        if let Some(original) = entry.duplicate_of(batch) {
            return Ok(Check::Duplicate(original));
        }
        entry.check_epoch(batch)?;
        entry.check_sequence(batch)?;
        Ok(Check::Append)
    }

    /// Records that `batch`, which [`check`](Self::check) let pass, was given `base_offset`.
    ///
    /// `batch` is the header as stored: its max timestamp is what a duplicate will be answered with.
    /// Returns the producer that was forgotten to stay within the limit, whose row can go.
    pub fn record_append(
        &mut self,
        batch: &BatchHeader,
        base_offset: Offset,
        now: Timestamp,
    ) -> Option<ProducerId> {
        let known = self.entries.get(&batch.producer_id);
        if known.is_some_and(|entry| self.is_expired(entry, now)) {
            self.forget(batch.producer_id);
        }
        self.append(batch, base_offset, now)
    }

    /// Records a batch read back from the log at `base_offset`, unless its producer's row has already
    /// seen it. Nothing is checked: what is in the log was checked on its way in.
    ///
    /// `now` counts as the time of last use, which the log does not hold: a restart may remember a
    /// producer for longer, never for less.
    pub fn replay(
        &mut self,
        batch: &BatchHeader,
        base_offset: Offset,
        now: Timestamp,
    ) -> Option<ProducerId> {
        let last_offset = base_offset.get().saturating_add(i64::from(batch.last_offset_delta));
        let seen = self
            .entries
            .get(&batch.producer_id)
            .is_some_and(|entry| Offset(last_offset) <= entry.last_offset);
        if seen { None } else { self.append(batch, base_offset, now) }
    }

    /// Takes in an entry from a snapshot, replacing what is remembered of its producer. Returns the
    /// producer that was forgotten to stay within the limit, if any.
    pub fn restore(&mut self, entry: ProducerEntry) -> Option<ProducerId> {
        self.forget(entry.producer_id);
        self.idle.extend(idle_key(&entry));
        self.entries.insert(entry.producer_id, entry);
        self.enforce_limit()
    }

    /// Forgets the producers that were unused for too long; returns them, so that their rows can go.
    /// Takes time for those only. [`check`](Self::check) already treats them as unknown.
    pub fn expire(&mut self, now: Timestamp) -> Vec<ProducerId> {
        let mut expired = Vec::new();
        while let Some(id) = self.first_idle()
            && self.entries.get(&id).is_none_or(|entry| self.is_expired(entry, now))
        {
            self.forget(id);
            expired.push(id);
        }
        expired
    }

    fn append(
        &mut self,
        batch: &BatchHeader,
        base_offset: Offset,
        now: Timestamp,
    ) -> Option<ProducerId> {
        if !batch.has_producer_id() {
            return None;
        }
        let entry =
            self.entries.entry(batch.producer_id).or_insert_with(|| ProducerEntry::new(batch));
        let before = idle_key(entry);
        entry.append(batch, base_offset);
        entry.last_used = now;
        let after = idle_key(entry);
        if before != after {
            if let Some(key) = before {
                self.idle.remove(&key);
            }
            self.idle.extend(after);
        }
        self.enforce_limit()
    }

    fn first_idle(&self) -> Option<ProducerId> {
        self.idle.first().map(|(_, id)| *id)
    }

    fn is_expired(&self, entry: &ProducerEntry, now: Timestamp) -> bool {
        let unused_ms = now.get().saturating_sub(entry.last_used.get());
        let limit_ms = i64::try_from(self.limits.expiration.as_millis()).unwrap_or(i64::MAX);
        entry.transaction_first_offset.is_none() && unused_ms >= limit_ms
    }

    fn enforce_limit(&mut self) -> Option<ProducerId> {
        if self.entries.len() <= self.limits.producers_max {
            return None;
        }
        let id = self.first_idle()?;
        self.forget(id);
        Some(id)
    }

    fn forget(&mut self, id: ProducerId) {
        if let Some(key) = self.entries.remove(&id).as_ref().and_then(idle_key) {
            self.idle.remove(&key);
        }
    }
}

/// Where an entry stands in the order of last use; nowhere while its transaction is open.
fn idle_key(entry: &ProducerEntry) -> Option<(i64, ProducerId)> {
    let used = entry.last_used.get().div_euclid(USE_GRANULARITY_MS);
    entry.transaction_first_offset.is_none().then_some((used, entry.producer_id))
}
