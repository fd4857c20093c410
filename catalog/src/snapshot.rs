//! What the catalog held at the moment it was opened.

use std::collections::BTreeMap;

use antiphon_common::{BrokerEpoch, BrokerId, Lsn, TopicId};

use crate::{BrokerRow, ClusterRow, PartitionRow, TopicRow};

/// What the catalog held at the moment it was opened, after the broker's epoch was raised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The cluster's identity.
    pub cluster: ClusterRow,
    /// The broker that opened.
    pub broker_id: BrokerId,
    /// The epoch of this run.
    pub broker_epoch: BrokerEpoch,
    /// This broker's row as the last run left it; `None` at its first start.
    pub previous: Option<BrokerRow>,
    /// Everything in the write-ahead log up to here is in objects.
    pub flushed_lsn: Lsn,
    /// Whether the last run ended with its log fully flushed. True at the first start.
    pub previous_stop_clean: bool,
    /// Every topic, in order of id.
    pub topics: Vec<TopicRow>,
    /// Every partition, in order of id.
    pub partitions: Vec<PartitionRow>,
    /// Dynamic configs of every broker.
    pub cluster_configs: BTreeMap<String, String>,
    /// Dynamic configs of this broker, which win over those of every broker.
    pub broker_configs: BTreeMap<String, String>,
    /// Deleted topics whose rows are not all gone: call
    /// [`crate::Catalog::resume_topic_deletions`].
    pub unfinished_deletions: Vec<TopicId>,
}
