//! History as objects, and the tail that is not history yet, in one offset space.
//!
//! ```text
//!    append                    read_tail             read_cold
//!      |                           ^                     ^
//!      v                           |                     |
//!   log/ PartitionLog:  offsets, producers, epochs, tail, rows of history
//!      |                                                 |
//!      v                                                 v
//!   (wal)  ---> engine/  TailQueue -> flush -> (catalog) cold/  blocks, cache, read-ahead
//!                            |                           |
//!                            v                           v
//!                       object/  the file format  <-- store/  the bucket
//! ```
//!
//! The rule that everything here obeys: bytes leave the write-ahead log only after a catalog
//! transaction names the object that holds them, and leave memory only after that. Storage never
//! sees a wire message; it knows record batches by their header alone.
//!
//! Neighbours: `wal` makes bytes durable, `catalog` knows which objects are history, `broker` calls
//! [`PartitionLog`] and owns the connections that wait.

mod budget;
pub mod cold;
mod compact;
mod engine;
mod log;
mod merge;
pub mod object;
pub mod store;
mod sweep;
mod traffic;

pub use budget::TailBudget;
pub use cold::ReaderId;
pub use compact::{
    ACTIVE_AGE_MAX, CompactError, CompactionConfig, CompactionStats, UncleanableBatch,
};
pub use engine::{
    Chain, FatalReport, FlushError, OpenError, OpenedWal, Recovered, Storage, StorageOptions,
    StorageStats, TailLost, WalOpener,
};
pub use log::{
    AckLatch, AckWait, AppendError, Appended, EpochEnd, EpochHistory, LogConfig, LogPositions,
    LookupError, OffsetAndTimestamp, PartitionLog, ReadColdError, SEGMENT_ROWS_MEMORY_BYTES,
    TailBatch, TailBytes, TailRead, TimestampSource, TrimError,
};
pub use merge::{MERGE_MEMORY_BYTES, MergeOptions, MergeStats};
pub use sweep::{SweepError, SweepOptions, SweepReport, SweepStats};
pub use traffic::{ClassStats, Traffic, TrafficClass, TrafficOptions, TrafficPermit};
