//! When a committed offset is forgotten (KIP-211).
//!
//! | the group | its offsets expire |
//! |---|---|
//! | has members | never |
//! | lost its members | `offsets.retention.minutes` after that, or after the commit if that was later |
//! | never had members | `offsets.retention.minutes` after the commit |
//!
//! An offset that brought its own retention (OffsetCommit versions 2 to 4) expires at that time
//! instead, once the group is empty. A commit to a group that has long been empty counts from the
//! commit, so that an administrator's reset is not swept away by the next check.

use std::time::Duration;

use antiphon_common::Timestamp;

use super::store::OffsetStore;
use crate::replies::CommittedOffset;
use crate::requests::TopicPartition;

/// The offsets of a group without members that have expired. `empty_since` is when it lost them.
pub(crate) fn expired(
    offsets: &OffsetStore,
    empty_since: Option<Timestamp>,
    wall: Timestamp,
    retention: Duration,
) -> Vec<TopicPartition> {
    let retention_ms = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
    let is_expired = |(partition, value): &(&TopicPartition, &CommittedOffset)| {
        wall >= expiry(value, empty_since, retention_ms) && !offsets.has_in_flight(partition)
    };
    offsets.iter().filter(is_expired).map(|(partition, _)| partition.clone()).collect()
}

fn expiry(value: &CommittedOffset, empty_since: Option<Timestamp>, retention_ms: i64) -> Timestamp {
    let base =
        empty_since.map_or(value.commit_timestamp, |since| since.max(value.commit_timestamp));
    let by_retention = Timestamp(base.get().saturating_add(retention_ms));
    value.expire_timestamp.unwrap_or(by_retention)
}
