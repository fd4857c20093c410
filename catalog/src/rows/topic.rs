//! One topic.
//!
//! ```text
//! key    03 | topic_id 16 bytes
//! value  01 | name text | internal u8 | created_at i64
//!           | count u32, then (name text | value text) of each config, in order of name
//!           | count u32, then partition_id u64 of each partition, in order of index
//! ```

use std::collections::BTreeMap;

use antiphon_common::{PartitionId, Timestamp, TopicId};

use super::codec::{Decoder, Encoder};
use super::{Row, RowError, RowKind};

const VERSION: u8 = 1;
/// Two empty texts.
const CONFIG_BYTES_MIN: usize = 8;
const PARTITION_ID_BYTES: usize = 8;

/// One topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicRow {
    /// Identity for life.
    pub topic_id: TopicId,
    /// Unique among the topics that exist.
    pub name: String,
    /// Whether the cluster itself uses the topic (KIP-590's `internal` flag).
    pub internal: bool,
    /// When the topic was created.
    pub created_at: Timestamp,
    /// Settings that were given explicitly, under Kafka's names.
    pub configs: BTreeMap<String, String>,
    /// The partitions' identities; the position is the partition's index.
    pub partitions: Vec<PartitionId>,
}

impl TopicRow {
    pub(crate) fn key_of(topic_id: TopicId) -> Vec<u8> {
        Encoder::key(Self::KIND.tag()).uuid(topic_id.0).finish()
    }
}

impl Row for TopicRow {
    const KIND: RowKind = RowKind::Topic;

    fn key(&self) -> Vec<u8> {
        Self::key_of(self.topic_id)
    }

    fn value(&self) -> Vec<u8> {
        let head = Encoder::value(VERSION)
            .text(&self.name)
            .bool(self.internal)
            .i64(self.created_at.get())
            .count(self.configs.len());
        let configs =
            self.configs.iter().fold(head, |out, (name, value)| out.text(name).text(value));
        let partitions = configs.count(self.partitions.len());
        self.partitions.iter().fold(partitions, |out, id| out.u64(id.0)).finish()
    }

    fn decode(key: &[u8], value: &[u8]) -> Result<Self, RowError> {
        let mut key = Decoder::key(key, Self::KIND.tag())?;
        let mut value = Decoder::value(value, VERSION)?;
        let row = Self {
            topic_id: TopicId(key.uuid("topic_id")?),
            name: value.text("name")?,
            internal: value.bool("internal")?,
            created_at: Timestamp(value.i64("created_at")?),
            configs: decode_configs(&mut value)?,
            partitions: decode_partitions(&mut value)?,
        };
        key.finish()?;
        value.finish()?;
        Ok(row)
    }
}

fn decode_configs(value: &mut Decoder<'_>) -> Result<BTreeMap<String, String>, RowError> {
    let count = value.count("configs", CONFIG_BYTES_MIN)?;
    (0..count).map(|_| Ok((value.text("config name")?, value.text("config value")?))).collect()
}

fn decode_partitions(value: &mut Decoder<'_>) -> Result<Vec<PartitionId>, RowError> {
    let count = value.count("partitions", PARTITION_ID_BYTES)?;
    (0..count).map(|_| Ok(PartitionId(value.u64("partition_id")?))).collect()
}
