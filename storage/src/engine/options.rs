//! What an operator may set about storage.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::wal_opener::WalOpener;
use crate::merge::MergeOptions;
use crate::sweep::SweepOptions;
use crate::traffic::TrafficOptions;

/// Called once when this process must not go on as the owner of its store: a failed sync, or
/// another broker that took over. The process is expected to exit.
#[derive(Clone)]
pub struct FatalReport(pub Arc<dyn Fn(&str) + Send + Sync>);

impl fmt::Debug for FatalReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FatalReport")
    }
}

impl std::ops::Deref for FatalReport {
    type Target = dyn Fn(&str) + Send + Sync;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

/// Options of [`super::Storage`].
#[derive(Clone, Debug)]
pub struct StorageOptions {
    /// Where the write-ahead log lives.
    pub wal_dir: PathBuf,
    /// Opens another log than the one in `wal_dir`; for simulations, `None` in production.
    pub wal_opener: Option<WalOpener>,
    /// Bytes of disk that the write-ahead log may use.
    pub wal_bytes_max: u64,
    /// Bytes of memory for records that are not in the bucket yet; producers wait when it is full.
    pub tail_bytes_max: u64,
    /// Bytes of memory for the newest records that are in the bucket already.
    pub tail_cache_bytes_max: u64,
    /// The longest that a record stays out of the bucket while there is little traffic.
    pub flush_interval: Duration,
    /// Bytes that one flush takes at most.
    pub flush_bytes_max: u64,
    /// A partition with at least this many bytes in a flush gets an object of its own.
    pub own_object_bytes_min: u64,
    /// Bytes of memory for blocks of history.
    pub cold_cache_bytes: u64,
    /// Whether reads of history that are slow for their size are sent a second time.
    pub hedge_reads: bool,
    /// How fast the classes of traffic to the store go.
    pub traffic: TrafficOptions,
    /// How often retention looks (`log.retention.check.interval.ms`).
    pub retention_interval: Duration,
    /// How often compaction looks for what is dirty (Kafka's `log.cleaner.backoff.ms`).
    pub compaction_interval: Duration,
    /// Bytes of the map from keys to offsets while a partition is compacted.
    pub compaction_map_bytes: u64,
    /// How long the objects are that compaction writes; one is gathered in memory at a time.
    pub compaction_object_bytes: u64,
    /// When segments of history are merged.
    pub merge: MergeOptions,
    /// When the bucket is searched for what crashes left.
    pub sweep: SweepOptions,
    /// Whom to tell when this process must end.
    pub on_fatal: FatalReport,
}

impl StorageOptions {
    /// The defaults for a data folder.
    pub fn new(data_dir: &std::path::Path) -> Self {
        Self {
            wal_dir: data_dir.join("wal"),
            wal_opener: None,
            wal_bytes_max: 4 << 30,
            tail_bytes_max: 256 << 20,
            tail_cache_bytes_max: 1 << 30,
            flush_interval: Duration::from_secs(30),
            flush_bytes_max: 64 << 20,
            own_object_bytes_min: 8 << 20,
            cold_cache_bytes: 64 << 20,
            hedge_reads: true,
            traffic: TrafficOptions::default(),
            retention_interval: Duration::from_secs(300),
            compaction_interval: Duration::from_secs(15),
            compaction_map_bytes: 16 << 20,
            compaction_object_bytes: 32 << 20,
            merge: MergeOptions::default(),
            sweep: SweepOptions::default(),
            on_fatal: FatalReport(Arc::new(|reason| {
                tracing::error!(reason, "fatal storage fault");
            })),
        }
    }

    /// Unflushed bytes at which a flush begins at once: a third of the tail's budget, so that
    /// producers rarely meet a full one (AutoMQ learned this from back-pressure under load).
    pub(crate) fn flush_threshold(&self) -> u64 {
        self.tail_bytes_max / 3
    }

    /// Bytes that one flush takes at most while a start brings the tail into memory: so many are
    /// brought for it even when that is more than the budget allows.
    pub(crate) fn flush_bytes_loading(&self) -> u64 {
        self.flush_bytes_max.min(self.flush_threshold())
    }
}
