//! What a topic's settings mean to compaction.

use std::time::Duration;

/// How a topic is compacted; there is one if `compact` is among its cleanup policies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CompactionConfig {
    /// `min.compaction.lag.ms` (KIP-58): segments with a record younger than this stay as they are.
    pub lag_min: Duration,
    /// `max.compaction.lag.ms` (KIP-354): segments with a record older than this are compacted
    /// however few they are; `None` for no such promise.
    pub lag_max: Option<Duration>,
    /// `min.cleanable.dirty.ratio`: which part of what can be compacted must be dirty, in bytes, for
    /// a round to be worth its work.
    pub dirty_ratio_min: f64,
    /// `delete.retention.ms`: how long a tombstone stays after it was first cleaned (KIP-534).
    pub delete_retention: Duration,
    /// `segment.ms`, as far as it acts: until dirty history is this old, or 1 MiB, it counts as
    /// active and is left alone. See [`ACTIVE_AGE_MAX`].
    pub active_age_max: Duration,
}

/// The longest that a small dirty part is left alone, whatever `segment.ms` says. Kafka leaves its
/// active segment alone for a week or a gigabyte. Here there is no active segment; but a partition
/// that gets a few records a minute should not be rewritten with every flush.
pub const ACTIVE_AGE_MAX: Duration = Duration::from_secs(600);

impl Default for CompactionConfig {
    /// Kafka's defaults.
    fn default() -> Self {
        Self {
            lag_min: Duration::ZERO,
            lag_max: None,
            dirty_ratio_min: 0.5,
            delete_retention: Duration::from_secs(24 * 3600),
            active_age_max: ACTIVE_AGE_MAX,
        }
    }
}
