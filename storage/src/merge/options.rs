//! When segments are merged, and how far.

use std::time::Duration;

use crate::log::LogConfig;

/// What retention may lose in precision: a merged segment goes as a whole, so it covers at most this
/// part of what the settings keep.
const PART_OF_RETENTION: u32 = 4;

/// When segments are merged, and how far.
///
/// Segments merge with neighbours of their own level: 16 of one level make one of the next. A byte is
/// rewritten once for each level, so a partition that flushes 1 MiB at a time rewrites it twice before
/// it lies in a full segment, and one that flushes 16 MiB once.
#[derive(Clone, Debug)]
pub struct MergeOptions {
    /// So many neighbours of one level are merged, if they have `bytes_small` together. Default 16.
    pub segments_min: usize,
    /// So many are merged however small they are: for partitions with hardly any traffic, whose
    /// objects would otherwise outnumber their records. Default 256.
    pub segments_max: usize,
    /// Below this an object is not worth its request. Default 1 MiB.
    pub bytes_small: u64,
    /// Neighbours that have this much together are merged, and a segment that has it alone is full:
    /// left as it is. Default 128 MiB.
    pub bytes_full: u64,
    /// The largest segment that a merge makes. Default 256 MiB.
    pub bytes_max: u64,
    /// Flushed segments of this age are merged if the objects that they share with other partitions
    /// are mostly dead: they pin them. Default 2 h.
    pub age: Duration,
    /// How long after the start partitions of earlier runs are looked at. Default 1 min.
    pub first_look_after: Duration,
    /// The longest that one piece of a merge waits while flushes cannot keep up. Not for ever, so that
    /// history does not fall apart under a load that never ends. Default 1 min.
    pub pause_max: Duration,
}

impl Default for MergeOptions {
    fn default() -> Self {
        Self {
            segments_min: 16,
            segments_max: 256,
            bytes_small: 1 << 20,
            bytes_full: 128 << 20,
            bytes_max: 256 << 20,
            age: Duration::from_secs(2 * 3600),
            first_look_after: Duration::from_secs(60),
            pause_max: Duration::from_secs(60),
        }
    }
}

/// How large a merged segment of one partition may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Its bytes.
    pub(crate) bytes_max: u64,
    /// The time between the newest records of its first and its last part, in milliseconds.
    pub(crate) span_max: Option<i64>,
}

impl MergeOptions {
    /// Whether so many neighbours of one level with so many bytes are worth merging.
    pub(crate) fn suffices(&self, segments: usize, bytes: u64) -> bool {
        segments >= 2
            && (bytes >= self.bytes_full
                || segments >= self.segments_max
                || (segments >= self.segments_min && bytes >= self.bytes_small))
    }

    /// The limits of a partition with these settings.
    pub(crate) fn limits(&self, config: &LogConfig) -> Limits {
        let keeps_all = Limits { bytes_max: self.bytes_max, span_max: None };
        if !config.deletes {
            return keeps_all;
        }
        let part = u64::from(PART_OF_RETENTION);
        let bytes_max = config.retention_size.map_or(u64::MAX, |size| size.get() / part);
        let span = config.retention_time.map(|time| time / PART_OF_RETENTION);
        Limits {
            bytes_max: keeps_all.bytes_max.min(bytes_max),
            span_max: span.map(|span| i64::try_from(span.as_millis()).unwrap_or(i64::MAX)),
        }
    }

    pub(crate) fn age_millis(&self) -> i64 {
        i64::try_from(self.age.as_millis()).unwrap_or(i64::MAX)
    }
}
