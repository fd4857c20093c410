//! Compaction by key (`cleanup.policy=compact`): of each key the newest record stays.
//!
//! ```text
//!                       one round over one partition
//!   rows -> plan        what is dirty? is it worth it?
//!            |
//!            v          dirty segments, once
//!        dirty_keys --> offset_map: hash of key -> newest offset, 16 MiB at most
//!            |
//!            v          all segments up to the last that the map covers, group by group
//!        cleaning: rules -> output -> objects -> one catalog transaction for each group
//! ```
//!
//! It works on flushed history alone; the tail is never touched. Offsets do not change: a batch keeps
//! its base and last offset, and where whole batches go, a hole is left that readers step over. What
//! loses no record is kept byte for byte; a compressed batch that does is compressed again with its
//! own codec.
//!
//! How far a partition is cleaned stands in its rows ([`SegmentRow::is_cleaned`]): the segments before
//! the first that is not are clean. If the dirty part has more keys than the map holds, the round
//! cleans up to the last batch that fitted, as Kafka's cleaner does, and the next round goes on there.
//!
//! A round may end anywhere: each group's transaction leaves a valid partition. Groups are committed
//! in order of offset, so a tombstone never goes before everything that it superseded.
//!
//! Memory is the map (16 MiB), one object that is being gathered (32 MiB), one read (4 MiB) and one
//! decompressed batch; one partition is compacted at a time.
//!
//! Merging and compaction of a partition exclude each other ([`PartitionLog::try_rewrite`]). Neighbours:
//! `records` thins batches, `engine/compaction.rs` runs passes, [`crate::object`] is what is written.
//!
//! [`SegmentRow::is_cleaned`]: antiphon_catalog::SegmentRow::is_cleaned
//! [`PartitionLog::try_rewrite`]: crate::log::PartitionLog

mod cleaning;
mod config;
mod dirty_keys;
mod error;
mod offset_map;
mod output;
mod plan;
mod round;
mod rules;
mod source;
mod stats;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;

pub use config::{ACTIVE_AGE_MAX, CompactionConfig};
pub use error::{CompactError, UncleanableBatch};
pub(crate) use round::{Compactor, CompactorOptions, Outlook};
pub use stats::CompactionStats;

/// How far one batch may grow when it is decompressed: as far as one that is produced to a compacted
/// topic may. One batch is open at a time.
const DECOMPRESSED_BYTES_MAX: usize = 128 << 20;
