//! What compaction did, counted.

use std::sync::atomic::{AtomicU64, Ordering};

use super::cleaning::Tally;

/// A reading of compaction's counters. They only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompactionStats {
    /// Rounds: one partition, from its first segment to the last that was cleaned.
    pub rounds: u64,
    /// Rounds that failed. Repeated failures are a partition that cannot be compacted.
    pub failures: u64,
    /// Bytes of batches that were gone over.
    pub read_bytes: u64,
    /// Bytes of objects that were put.
    pub written_bytes: u64,
    /// Records that were removed.
    pub removed_records: u64,
}

/// The counters themselves. Relaxed: they order nothing.
#[derive(Debug, Default)]
pub(super) struct Counters {
    rounds: AtomicU64,
    failures: AtomicU64,
    read_bytes: AtomicU64,
    written_bytes: AtomicU64,
    removed_records: AtomicU64,
}

impl Counters {
    pub(super) fn read(&self) -> CompactionStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CompactionStats {
            rounds: get(&self.rounds),
            failures: get(&self.failures),
            read_bytes: get(&self.read_bytes),
            written_bytes: get(&self.written_bytes),
            removed_records: get(&self.removed_records),
        }
    }

    pub(super) fn round(&self) {
        self.rounds.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn failure(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn put(&self, bytes: u64) {
        self.written_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A group's work, once it is committed (or found to be needless).
    pub(super) fn group(&self, tally: &Tally) {
        self.read_bytes.fetch_add(tally.read_bytes, Ordering::Relaxed);
        self.removed_records.fetch_add(tally.removed_records, Ordering::Relaxed);
    }
}
