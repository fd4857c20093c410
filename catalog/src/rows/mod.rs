//! The rows: one file per kind, each opening with its key and value layout.
//!
//! A key is one kind byte and big-endian identities, so that a scan meets rows in the order of
//! their numbers. A value is one version byte and its fields. Numbers are big-endian; text is a
//! 32-bit length and UTF-8.

mod broker;
mod broker_config;
mod cluster;
mod codec;
mod counter;
mod deletion;
mod object;
mod partition;
mod producer;
mod segment;
mod topic;
mod topic_deletion;

pub use broker::BrokerRow;
pub use broker_config::{BrokerConfigRow, ConfigScope};
pub(crate) use cluster::ClusterRowError;
pub use cluster::{CLUSTER_FORMAT_VERSION, ClusterRow};
pub use codec::RowError;
pub use counter::{Counter, CounterRow};
pub use deletion::DeletionRow;
pub use object::ObjectRow;
pub use partition::PartitionRow;
pub use producer::ProducerRow;
pub use segment::SegmentRow;
pub use topic::TopicRow;
pub use topic_deletion::TopicDeletionRow;

/// The kinds of rows, by the byte that opens their keys. Numbers are never reused.
///
/// The kinds that are loaded when the catalog is opened come first, so that one short scan reads
/// them all and never meets the many rows about segments, objects and producers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum RowKind {
    /// [`BrokerRow`].
    Broker = 0x02,
    /// [`TopicRow`].
    Topic = 0x03,
    /// [`PartitionRow`].
    Partition = 0x04,
    /// [`CounterRow`].
    Counter = 0x05,
    /// [`BrokerConfigRow`].
    BrokerConfig = 0x06,
    /// [`TopicDeletionRow`].
    TopicDeletion = 0x07,
    /// [`SegmentRow`].
    Segment = 0x08,
    /// [`ObjectRow`].
    Object = 0x09,
    /// [`DeletionRow`].
    Deletion = 0x0a,
    /// [`ProducerRow`].
    Producer = 0x0b,
}

impl RowKind {
    /// Every kind, in the order of their keys.
    pub const ALL: [Self; 10] = [
        Self::Broker,
        Self::Topic,
        Self::Partition,
        Self::Counter,
        Self::BrokerConfig,
        Self::TopicDeletion,
        Self::Segment,
        Self::Object,
        Self::Deletion,
        Self::Producer,
    ];

    /// The first kind that is not loaded when the catalog is opened.
    pub(crate) const FIRST_NOT_LOADED: Self = Self::Segment;

    /// The byte that opens every key of this kind.
    pub const fn tag(self) -> u8 {
        self as u8
    }

    /// The kind whose keys open with `tag`.
    pub fn from_tag(tag: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.tag() == tag)
    }
}

impl std::fmt::Display for RowKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Broker => "broker",
            Self::Topic => "topic",
            Self::Partition => "partition",
            Self::Segment => "segment",
            Self::Object => "object",
            Self::Deletion => "deletion",
            Self::Producer => "producer",
            Self::Counter => "counter",
            Self::BrokerConfig => "broker config",
            Self::TopicDeletion => "topic deletion",
        })
    }
}

/// What every kind of row can do.
pub(crate) trait Row: Sized {
    /// Which kind this is.
    const KIND: RowKind;

    /// The key under which the row is stored.
    fn key(&self) -> Vec<u8>;

    /// Everything that is not in the key.
    fn value(&self) -> Vec<u8>;

    /// The row that `key` and `value` hold.
    fn decode(key: &[u8], value: &[u8]) -> Result<Self, RowError>;
}

#[cfg(test)]
mod tests;
