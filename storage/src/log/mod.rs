//! One partition: its durable tail in memory and its history in the bucket, in one offset space.
//!
//! ```text
//!   log_start              flushed_end        high_watermark     next_offset
//!       |   objects in the bucket   |                |                |
//!       |---------------------------|                |                |
//!                   |  tail: bytes of the write-ahead log  |  not yet durable
//!                   |--------------------------------------|----------|
//! ```
//!
//! `log_start <= flushed_end` does not always hold: DeleteRecords may move the start past history.
//! Everything at or above `flushed_end` is in the tail; what lies below may be there too, as cache.

mod ack;
mod append;
mod config;
mod epochs;
mod lookup;
mod partition_log;
mod read;
mod rewrite;
mod segments;
mod tail;
mod trim;

pub use ack::{AckLatch, AckWait};
pub use append::{AppendError, Appended};
pub use config::{LogConfig, TimestampSource};
pub use epochs::{EpochEnd, EpochHistory};
pub use lookup::{LookupError, OffsetAndTimestamp};
pub(crate) use partition_log::{LogContext, ReplayedBatch, Restored};
pub use partition_log::{LogPositions, PartitionLog};
pub use read::{ReadColdError, TailRead};
pub use segments::SEGMENT_ROWS_MEMORY_BYTES;
pub(crate) use segments::SegmentPages;
pub(crate) use tail::{MissingBytes, worth_keeping};
pub use tail::{TailBatch, TailBytes};
pub use trim::TrimError;
