//! What the cold path did, counted.

use std::sync::atomic::{AtomicU64, Ordering};

/// A reading of the cold path's counters. All but the last two only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ColdStats {
    /// Reads of blocks from the store on demand: GETs, or file reads of a local store.
    pub gets: u64,
    /// Bytes of blocks that these brought.
    pub get_bytes: u64,
    /// Section indexes loaded.
    pub index_loads: u64,
    /// Blocks that were found in the cache.
    pub hits: u64,
    /// Blocks that were not, and that nobody was loading yet.
    pub misses: u64,
    /// Blocks that somebody else was already loading.
    pub joins: u64,
    /// Read-ahead GETs.
    pub readahead_gets: u64,
    /// Bytes of blocks that read-ahead brought.
    pub readahead_bytes: u64,
    /// Times that read-ahead was due and its slots or bytes were all taken.
    pub readahead_skips: u64,
    /// GETs that were sent a second time because the first was slow.
    pub hedges: u64,
    /// How often the second one answered first.
    pub hedges_won: u64,
    /// Bytes of blocks in the cache now.
    pub cached_bytes: u64,
    /// How many may be.
    pub cache_limit_bytes: u64,
}

/// The counters themselves.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) gets: Counter,
    pub(super) get_bytes: Counter,
    pub(super) index_loads: Counter,
    pub(super) hits: Counter,
    pub(super) misses: Counter,
    pub(super) joins: Counter,
    pub(super) readahead_gets: Counter,
    pub(super) readahead_bytes: Counter,
    pub(super) readahead_skips: Counter,
    pub(super) hedges: Counter,
    pub(super) hedges_won: Counter,
}

impl Counters {
    pub(super) fn read(&self, cached_bytes: u64, cache_limit_bytes: u64) -> ColdStats {
        ColdStats {
            gets: self.gets.get(),
            get_bytes: self.get_bytes.get(),
            index_loads: self.index_loads.get(),
            hits: self.hits.get(),
            misses: self.misses.get(),
            joins: self.joins.get(),
            readahead_gets: self.readahead_gets.get(),
            readahead_bytes: self.readahead_bytes.get(),
            readahead_skips: self.readahead_skips.get(),
            hedges: self.hedges.get(),
            hedges_won: self.hedges_won.get(),
            cached_bytes,
            cache_limit_bytes,
        }
    }
}

/// A number that only grows. Relaxed: it orders nothing.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
