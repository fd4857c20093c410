//! What sweeping did, counted.

use std::sync::atomic::{AtomicU64, Ordering};

/// What one sweep found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// Objects that the bucket listed.
    pub listed: u64,
    /// Objects that no catalog names, and that were deleted.
    pub orphans: u64,
    /// Bytes that they had.
    pub orphan_bytes: u64,
    /// Files that interrupted writes to a local store had left, and that were deleted.
    pub leftovers: u64,
    /// What lies among the objects and is none. It is left alone.
    pub strangers: u64,
    /// Objects that are too young to be judged: the next sweep will.
    pub young: u64,
    /// Deletions that failed. The next sweep finds the same again.
    pub failures: u64,
}

/// A reading of the sweeper's counters, which only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepStats {
    /// Sweeps that came to their end.
    pub sweeps: u64,
    /// Objects deleted that no catalog named.
    pub orphans: u64,
    /// Bytes that they had.
    pub orphan_bytes: u64,
    /// Files of interrupted writes deleted.
    pub leftovers: u64,
    /// Sweeps that broke off, and deletions that failed.
    pub failures: u64,
}

/// The counters themselves. Relaxed: they order nothing.
#[derive(Debug, Default)]
pub(super) struct Counters {
    sweeps: AtomicU64,
    orphans: AtomicU64,
    orphan_bytes: AtomicU64,
    leftovers: AtomicU64,
    failures: AtomicU64,
}

impl Counters {
    pub(super) fn swept(&self, report: &SweepReport) {
        self.sweeps.fetch_add(1, Ordering::Relaxed);
        self.orphans.fetch_add(report.orphans, Ordering::Relaxed);
        self.orphan_bytes.fetch_add(report.orphan_bytes, Ordering::Relaxed);
        self.leftovers.fetch_add(report.leftovers, Ordering::Relaxed);
        self.failures.fetch_add(report.failures, Ordering::Relaxed);
    }

    pub(super) fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> SweepStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SweepStats {
            sweeps: get(&self.sweeps),
            orphans: get(&self.orphans),
            orphan_bytes: get(&self.orphan_bytes),
            leftovers: get(&self.leftovers),
            failures: get(&self.failures),
        }
    }
}
