//! What a topic's settings mean to one partition's log.

use std::time::Duration;

use antiphon_common::ByteCount;

use crate::compact::CompactionConfig;

/// Whose clock a record's timestamp comes from (`message.timestamp.type`, KIP-32).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampSource {
    /// The producer's: stored as sent.
    Create,
    /// The broker's: stamped when the batch is appended.
    LogAppend,
}

/// The settings of a topic that storage acts on. Everything else about a topic is the broker's.
#[derive(Clone, Debug, PartialEq)]
pub struct LogConfig {
    /// `retention.ms`: history whose newest record is older than this is deleted; `None` keeps it.
    pub retention_time: Option<Duration>,
    /// `retention.bytes`: the oldest history goes while the partition is larger; `None` keeps it.
    pub retention_size: Option<ByteCount>,
    /// Whether `cleanup.policy` names `delete`; without it neither limit above applies.
    pub deletes: bool,
    /// How old records go by key, if `cleanup.policy` names `compact`.
    pub compaction: Option<CompactionConfig>,
    /// `message.timestamp.type`.
    pub timestamps: TimestampSource,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            retention_time: Some(Duration::from_secs(7 * 24 * 3600)),
            retention_size: None,
            deletes: true,
            compaction: None,
            timestamps: TimestampSource::Create,
        }
    }
}
