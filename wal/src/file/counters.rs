//! What the log counts.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) appended_bytes: AtomicU64,
    pub(crate) durable_bytes: AtomicU64,
    groups: AtomicU64,
    syncs: AtomicU64,
    written_bytes: AtomicU64,
    write_ns: AtomicU64,
    write_ns_max: AtomicU64,
}

impl Counters {
    pub(crate) fn wrote(&self, bytes: usize, syncs: u64, took: Duration) {
        let ns = took.as_nanos() as u64;
        self.groups.fetch_add(1, Relaxed);
        self.syncs.fetch_add(syncs, Relaxed);
        self.written_bytes.fetch_add(bytes as u64, Relaxed);
        self.write_ns.fetch_add(ns, Relaxed);
        self.write_ns_max.fetch_max(ns, Relaxed);
    }

    pub(crate) fn add_to(&self, stats: &mut crate::WalStats) {
        stats.appended_bytes = self.appended_bytes.load(Relaxed);
        stats.durable_bytes = self.durable_bytes.load(Relaxed);
        stats.groups = self.groups.load(Relaxed);
        stats.syncs = self.syncs.load(Relaxed);
        stats.written_bytes = self.written_bytes.load(Relaxed);
        stats.write_time = Duration::from_nanos(self.write_ns.load(Relaxed));
        stats.write_time_max = Duration::from_nanos(self.write_ns_max.load(Relaxed));
    }
}
