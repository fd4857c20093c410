//! The limits of the cold path, all in one place.

/// How much the cold path may use.
#[derive(Clone, Debug)]
pub struct ColdOptions {
    /// Bytes of blocks kept in memory. Default 64 MiB.
    pub cache_bytes: u64,
    /// Bytes of section indexes kept in memory. Default 8 MiB: those of some 800 merged objects of
    /// 256 MiB.
    pub index_cache_bytes: u64,
    /// The first read-ahead of a sequential reader. Default 512 KiB.
    pub readahead_bytes_min: u64,
    /// Where doubling the read-ahead stops, and the longest single GET. Default 8 MiB.
    pub readahead_bytes_max: u64,
    /// Demand reads (GETs, or runs of file reads) in flight. Default 16.
    pub concurrency: usize,
    /// Read-ahead GETs in flight. Default 8: what a consumer of a few partitions has under way at once.
    pub readahead_concurrency: usize,
    /// Whether GETs that are slow for their size are sent a second time. Default true; means
    /// nothing for local files.
    pub hedge: bool,
}

impl Default for ColdOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 64 << 20,
            index_cache_bytes: 8 << 20,
            readahead_bytes_min: 512 << 10,
            readahead_bytes_max: 8 << 20,
            concurrency: 16,
            readahead_concurrency: 8,
            hedge: true,
        }
    }
}

impl ColdOptions {
    /// Bytes that demand reads may have in flight.
    pub(crate) fn demand_bytes_in_flight(&self) -> u64 {
        self.cache_bytes / 2
    }

    /// Bytes that read-ahead may have in flight; also the widest window of one reader, so that one
    /// reader's future never evicts another's present.
    pub(crate) fn readahead_bytes_in_flight(&self) -> u64 {
        self.cache_bytes / 4
    }

    /// The widest read-ahead window.
    pub(super) fn window_bytes_max(&self) -> u64 {
        self.readahead_bytes_max.min(self.readahead_bytes_in_flight())
    }
}
