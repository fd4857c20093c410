//! What merging did, counted.

use std::sync::atomic::{AtomicU64, Ordering};

/// A reading of the merger's counters. All but `waiting` only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MergeStats {
    /// Merges that were committed: each made one object.
    pub objects: u64,
    /// Segments that they replaced.
    pub segments: u64,
    /// Bytes that they rewrote.
    pub bytes: u64,
    /// Merges that failed and were put off.
    pub failures: u64,
    /// Merges that came to nothing because retention or a deletion was faster.
    pub overtaken: u64,
    /// Milliseconds that merges stood still for flushes' sake.
    pub paused_ms: u64,
    /// Partitions that wait to be looked at now.
    pub waiting: u64,
}

/// The counters themselves. Relaxed: they order nothing.
#[derive(Debug, Default)]
pub(super) struct Counters {
    objects: AtomicU64,
    segments: AtomicU64,
    bytes: AtomicU64,
    failures: AtomicU64,
    overtaken: AtomicU64,
    paused_ms: AtomicU64,
}

impl Counters {
    pub(super) fn merged(&self, segments: usize, bytes: u64) {
        self.objects.fetch_add(1, Ordering::Relaxed);
        self.segments.fetch_add(segments as u64, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn overtaken(&self) {
        self.overtaken.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn paused(&self, millis: u64) {
        self.paused_ms.fetch_add(millis, Ordering::Relaxed);
    }

    pub(super) fn read(&self, waiting: u64) -> MergeStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        MergeStats {
            objects: get(&self.objects),
            segments: get(&self.segments),
            bytes: get(&self.bytes),
            failures: get(&self.failures),
            overtaken: get(&self.overtaken),
            paused_ms: get(&self.paused_ms),
            waiting,
        }
    }
}
