//! What of a partition is dirty, and whether compacting it is due. Pure.
//!
//! ```text
//!   | cleaned | cleaned | dirty | dirty | dirty | too young | too young |  tail
//!   0                   ^ first_dirty           ^ until
//! ```
//!
//! Kafka keeps the boundary of the cleaned part in a checkpoint file; here each row says whether it
//! was cleaned, and the boundary is the first row that was not.

use std::time::Duration;

use antiphon_catalog::SegmentRow;
use antiphon_common::Timestamp;

use super::config::CompactionConfig;

/// A dirty part at least this long is compacted without waiting for more: 1 MiB.
const ACTIVE_BYTES_MAX: u64 = 1 << 20;

/// What could be compacted now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Plan {
    /// The first row that is not cleaned.
    pub(super) first_dirty: usize,
    /// The first row behind it that is too young, or the number of rows.
    pub(super) until: usize,
    /// Which part of the bytes below `until` is dirty; 0 if nothing is.
    pub(super) dirty_ratio: f64,
    /// `max.compaction.lag.ms` is over for a record of the dirty part.
    pub(super) overdue: bool,
    /// A round should run now.
    pub(super) due: bool,
    /// If it is not due: when it may be without anything being flushed meanwhile.
    pub(super) due_at: Option<Timestamp>,
}

/// Looks at the rows of a partition's history.
pub(super) fn plan(rows: &[SegmentRow], config: &CompactionConfig, now: Timestamp) -> Plan {
    let first_dirty = rows.iter().take_while(|row| row.is_cleaned()).count();
    let old_enough = |row: &&SegmentRow| {
        config.lag_min.is_zero() || row.max_timestamp <= before(now, config.lag_min)
    };
    let (cleaned, rest) = rows.split_at(first_dirty);
    let dirty = rest.iter().take_while(old_enough).count();
    let dirty = rest.get(..dirty).unwrap_or_default();
    let (cleaned_bytes, dirty_bytes) = (bytes_of(cleaned), bytes_of(dirty));
    let dirty_ratio = match dirty_bytes {
        0 => 0.0,
        dirty_bytes => dirty_bytes as f64 / (cleaned_bytes + dirty_bytes) as f64,
    };
    let oldest = dirty.iter().map(written_by).min();
    let older_than = |age: Duration| oldest.is_some_and(|oldest| oldest < before(now, age));
    let overdue = config.lag_max.is_some_and(older_than);
    let settled = dirty_bytes >= ACTIVE_BYTES_MAX || older_than(config.active_age_max);
    let until = first_dirty + dirty.len();
    let too_young = rows.get(until).map(|row| after(row.max_timestamp, config.lag_min));
    let aged = |age: Duration| oldest.map(|oldest| Timestamp(after(oldest, age).get() + 1));
    let ages = [Some(config.active_age_max), config.lag_max];
    let ages = ages.into_iter().flatten().filter_map(aged).chain(too_young);
    Plan {
        first_dirty,
        until,
        dirty_ratio,
        overdue,
        due: overdue || (settled && dirty_ratio > config.dirty_ratio_min),
        due_at: ages.filter(|at| *at > now).min(),
    }
}

/// A time by which the segment's oldest record was certainly written. Rows do not keep the oldest
/// timestamp; the broker flushes within seconds, so the time of the flush is close.
fn written_by(row: &SegmentRow) -> Timestamp {
    match row.max_timestamp {
        Timestamp(..0) => row.created_at,
        newest => row.created_at.min(newest),
    }
}

fn before(now: Timestamp, age: Duration) -> Timestamp {
    let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
    Timestamp(now.get().saturating_sub(age))
}

fn after(time: Timestamp, age: Duration) -> Timestamp {
    let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX - 1);
    Timestamp(time.get().saturating_add(age).min(i64::MAX - 1))
}

fn bytes_of(rows: &[SegmentRow]) -> u64 {
    rows.iter().map(|row| row.length).sum()
}

#[cfg(test)]
mod tests {
    use super::super::samples::row;
    use super::*;

    const NOW: Timestamp = Timestamp(100_000_000);
    const OLD: i64 = 1_000;

    fn config() -> CompactionConfig {
        CompactionConfig { dirty_ratio_min: 0.4, ..CompactionConfig::default() }
    }

    fn rows(cleaned: u64, dirty: u64, written_at: i64) -> Vec<SegmentRow> {
        vec![
            row(0, 9, cleaned, OLD).with_cleaned(true),
            row(10, 19, dirty / 2, written_at),
            row(20, 29, dirty - dirty / 2, written_at),
        ]
    }

    #[test]
    fn a_round_is_due_when_enough_is_dirty() {
        let due = |cleaned, dirty| plan(&rows(cleaned, dirty, OLD), &config(), NOW).due;
        assert!(due(100, 100));
        assert!(!due(100, 50));
        assert!(!due(100, 0), "nothing is dirty");
        assert!(!plan(&[], &config(), NOW).due);
    }

    #[test]
    fn everything_behind_the_first_dirty_segment_is_dirty() {
        let mut rows = rows(100, 100, OLD);
        rows[2] = rows[2].clone().with_cleaned(true);
        let plan = plan(&rows, &config(), NOW);
        assert_eq!((plan.first_dirty, plan.until), (1, 3));
    }

    #[test]
    fn what_is_too_young_is_not_touched_nor_counted() {
        let config = CompactionConfig { lag_min: Duration::from_secs(60), ..config() };
        let mut rows = rows(100, 200, OLD);
        rows[2].max_timestamp = Timestamp(NOW.get() - 59_999);
        let plan = plan(&rows, &config, NOW);
        assert_eq!((plan.first_dirty, plan.until, plan.dirty_ratio), (1, 2, 0.5));
    }

    #[test]
    fn a_record_that_waits_too_long_forces_a_round() {
        let config = CompactionConfig { lag_max: Some(Duration::from_secs(60)), ..config() };
        let written = |ago| rows(1000, 2, NOW.get() - ago);
        assert!(!plan(&written(60_000), &config, NOW).due);
        assert!(plan(&written(60_001), &config, NOW).due);
    }

    #[test]
    fn a_plan_says_when_time_alone_may_make_it_due() {
        let fresh = rows(0, 100, NOW.get() - 1_000);
        let waiting = plan(&fresh, &config(), NOW);
        let at = waiting.due_at.expect("it grows old");
        assert!(!plan(&fresh, &config(), Timestamp(at.get() - 1)).due);
        assert!(plan(&fresh, &config(), at).due);
        let lagging = CompactionConfig { lag_min: Duration::from_secs(60), ..config() };
        let young = plan(&fresh, &lagging, NOW);
        assert_eq!((young.until, young.due_at), (1, Some(Timestamp(NOW.get() + 59_000))));
        let cleaned = [row(0, 9, 100, OLD).with_cleaned(true)];
        assert_eq!(plan(&cleaned, &config(), NOW).due_at, None);
    }

    #[test]
    fn little_and_fresh_history_is_left_alone() {
        let fresh = NOW.get() - 1_000;
        assert!(!plan(&rows(0, ACTIVE_BYTES_MAX - 1, fresh), &config(), NOW).due);
        assert!(plan(&rows(0, ACTIVE_BYTES_MAX, fresh), &config(), NOW).due);
        let eager = CompactionConfig { active_age_max: Duration::from_millis(999), ..config() };
        assert!(plan(&rows(0, 100, fresh), &eager, NOW).due);
    }
}
