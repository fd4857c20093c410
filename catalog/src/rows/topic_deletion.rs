//! A topic that no longer exists but whose rows are not all gone yet.
//!
//! ```text
//! key    07 | topic_id 16 bytes
//! value  01 | name text | deleted_at i64 | count u32, then partition_id u64 of each partition
//! ```
//!
//! Written in the transaction that removes the topic and its partitions; removed in the one that
//! removes the last of their segments and producers. A crash in between leaves this row, and
//! whoever opens the catalog next goes on from it.

use antiphon_common::{PartitionId, Timestamp, TopicId};

use super::codec::{Decoder, Encoder};
use super::{Row, RowError, RowKind};

const VERSION: u8 = 1;
const PARTITION_ID_BYTES: usize = 8;

/// A topic that no longer exists but whose rows are not all gone yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDeletionRow {
    /// The topic that was.
    pub topic_id: TopicId,
    /// Its name, for people.
    pub name: String,
    /// When it was deleted.
    pub deleted_at: Timestamp,
    /// Partitions whose segment and producer rows may still be there.
    pub partitions: Vec<PartitionId>,
}

impl TopicDeletionRow {
    pub(crate) fn key_of(topic_id: TopicId) -> Vec<u8> {
        Encoder::key(Self::KIND.tag()).uuid(topic_id.0).finish()
    }
}

impl Row for TopicDeletionRow {
    const KIND: RowKind = RowKind::TopicDeletion;

    fn key(&self) -> Vec<u8> {
        Self::key_of(self.topic_id)
    }

    fn value(&self) -> Vec<u8> {
        let head = Encoder::value(VERSION)
            .text(&self.name)
            .i64(self.deleted_at.get())
            .count(self.partitions.len());
        self.partitions.iter().fold(head, |out, id| out.u64(id.0)).finish()
    }

    fn decode(key: &[u8], value: &[u8]) -> Result<Self, RowError> {
        let mut key = Decoder::key(key, Self::KIND.tag())?;
        let mut value = Decoder::value(value, VERSION)?;
        let topic_id = TopicId(key.uuid("topic_id")?);
        let name = value.text("name")?;
        let deleted_at = Timestamp(value.i64("deleted_at")?);
        let count = value.count("partitions", PARTITION_ID_BYTES)?;
        let partitions = (0..count)
            .map(|_| Ok(PartitionId(value.u64("partition_id")?)))
            .collect::<Result<_, _>>()?;
        key.finish()?;
        value.finish()?;
        Ok(Self { topic_id, name, deleted_at, partitions })
    }
}
