//! How a broker's epoch becomes the epochs of what it owns.

use antiphon_common::{BrokerEpoch, LeaderEpoch, WalEpoch};

/// The epoch in which a broker that opened the catalog as `broker_epoch` leads a partition whose row
/// says `row_epoch`.
///
/// Taking the larger of the two makes every restart a new leader epoch without writing a row per
/// partition, and keeps a topic that was deleted and created again from starting below what its
/// clients have seen (they would ignore the "older" leader).
pub fn effective_leader_epoch(row_epoch: LeaderEpoch, broker_epoch: BrokerEpoch) -> LeaderEpoch {
    row_epoch.max(from_broker(broker_epoch))
}

/// The epoch of the write-ahead log that a broker opens in the run `broker_epoch`. One more, because
/// the log's zero means that no log was ever opened.
pub fn wal_epoch(broker_epoch: BrokerEpoch) -> WalEpoch {
    WalEpoch(broker_epoch.get().max(0) as u64).next()
}

/// The leader epoch of a partition that has no history.
pub(crate) fn from_broker(broker_epoch: BrokerEpoch) -> LeaderEpoch {
    LeaderEpoch(i32::try_from(broker_epoch.get()).unwrap_or(i32::MAX))
}
