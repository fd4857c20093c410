//! The key of a committed offset.
//!
//! ```text
//! i16     version      0 or 1; identical layouts, Kafka writes 1
//! string  group
//! string  topic
//! i32     partition
//! ```

use antiphon_common::PartitionIndex;
use bytes::{BufMut, Bytes, BytesMut};

use super::DecodeError;
use super::wire::{Reader, put_string};
use crate::names::GroupId;
use crate::requests::TopicPartition;

/// The versions that stand for a committed offset.
pub(super) const VERSIONS: std::ops::RangeInclusive<i16> = 0..=1;
const VERSION_WRITTEN: i16 = 1;

/// Whose offset, and of which partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetCommitKey {
    /// The group that committed.
    pub group_id: GroupId,
    /// The partition it consumes.
    pub partition: TopicPartition,
}

impl OffsetCommitKey {
    pub(super) fn encode(&self) -> Bytes {
        let mut buffer = BytesMut::new();
        buffer.put_i16(VERSION_WRITTEN);
        put_string(&mut buffer, self.group_id.as_str());
        put_string(&mut buffer, self.partition.topic.as_str());
        buffer.put_i32(self.partition.partition.0);
        buffer.freeze()
    }

    /// Decodes what follows the version.
    pub(super) fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let group_id = reader.string(false)?.into();
        let topic = reader.string(false)?.into();
        let partition = PartitionIndex(reader.i32()?);
        Ok(Self { group_id, partition: TopicPartition { topic, partition } })
    }
}
