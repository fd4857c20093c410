//! The durable tail of one partition in memory: the very bytes that the write-ahead log wrote.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use antiphon_common::{LeaderEpoch, Lsn, Offset, Timestamp};
use bytes::Bytes;

/// Below this many bytes a batch is copied out of the log's slab, where a group of frames fills whole
/// blocks of 4 KiB: what a slice pins besides itself is then a quarter of it at most, and the tail's
/// budgets, which count the batch, stay true. Copying 16 KiB takes some two microseconds.
const COPY_BELOW: usize = 16 << 10;

/// A batch's bytes: in memory, or still to be read from the write-ahead log after a start.
#[derive(Clone, Debug)]
pub struct TailBytes {
    length: usize,
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    Memory(Bytes),
    Log(MissingBytes),
}

/// Where bytes that are missing will be put, once.
pub(crate) type MissingBytes = Arc<OnceLock<Bytes>>;

impl TailBytes {
    /// Bytes that came from the write-ahead log.
    pub(crate) fn in_memory(bytes: Bytes) -> Self {
        Self { length: bytes.len(), place: Place::Memory(worth_keeping(bytes)) }
    }

    /// `length` bytes that will be in `missing` when they are read.
    pub(crate) const fn in_log(length: usize, missing: MissingBytes) -> Self {
        Self { length, place: Place::Log(missing) }
    }

    /// How many there are, wherever they are.
    pub(crate) const fn len(&self) -> usize {
        self.length
    }

    /// The bytes, unless they are still to be read.
    pub(crate) fn get(&self) -> Option<&Bytes> {
        match &self.place {
            Place::Memory(bytes) => Some(bytes),
            Place::Log(missing) => missing.get(),
        }
    }
}

/// What to keep of a batch's slice: itself, or its own copy.
pub(crate) fn worth_keeping(bytes: Bytes) -> Bytes {
    if bytes.len() < COPY_BELOW { Bytes::copy_from_slice(&bytes) } else { bytes }
}

/// One durable batch.
#[derive(Clone, Debug)]
pub struct TailBatch {
    /// The batch as it goes to the bucket and to consumers.
    pub bytes: TailBytes,
    /// Its first record.
    pub base_offset: Offset,
    /// Its last record.
    pub last_offset: Offset,
    /// Its newest timestamp.
    pub max_timestamp: Timestamp,
    /// How many records it holds.
    pub record_count: i32,
    /// The leader that wrote it.
    pub leader_epoch: LeaderEpoch,
    /// The frame that made it durable.
    pub lsn: Lsn,
}

/// Contiguous batches, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    batches: VecDeque<TailBatch>,
}

impl Tail {
    pub(crate) fn push(&mut self, batch: TailBatch) {
        debug_assert!(
            self.batches.back().is_none_or(|last| last.last_offset < batch.base_offset),
            "the tail is in offset order"
        );
        self.batches.push_back(batch);
    }

    /// The first offset that the tail can serve, if it holds anything.
    pub(crate) fn first_offset(&self) -> Option<Offset> {
        self.batches.front().map(|batch| batch.base_offset)
    }

    /// Drops whole batches that end at or below `through`.
    pub(crate) fn evict_through(&mut self, through: Offset) {
        while self.batches.front().is_some_and(|batch| batch.last_offset <= through) {
            self.batches.pop_front();
        }
    }

    /// The batches from the one that contains `offset` on.
    #[allow(clippy::wrong_self_convention, reason = "a place in the log, not a conversion")]
    pub(crate) fn from_offset(
        &self,
        offset: Offset,
    ) -> impl DoubleEndedIterator<Item = &TailBatch> {
        let first = self.batches.partition_point(|batch| batch.last_offset < offset);
        self.batches.range(first..)
    }

    /// The first batch at or after `offset` that may hold a record as new as `timestamp`.
    pub(crate) fn at_or_after(&self, offset: Offset, timestamp: Timestamp) -> Option<&TailBatch> {
        self.from_offset(offset).find(|batch| batch.max_timestamp >= timestamp)
    }

    /// The first batch at or after `offset` that holds the newest timestamp of those.
    pub(crate) fn newest_from(&self, offset: Offset) -> Option<&TailBatch> {
        self.from_offset(offset).rev().max_by_key(|batch| batch.max_timestamp)
    }

    /// Bytes of the batches from `offset` on.
    pub(crate) fn size_from(&self, offset: Offset) -> u64 {
        self.from_offset(offset).map(|batch| batch.bytes.len() as u64).sum()
    }
}
