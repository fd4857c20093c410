//! What a partition remembers of one idempotent producer, as of `flushed_end`.
//!
//! ```text
//! key    0b | partition_id u64 | producer_id u64
//! value  01 | state, to the end
//! ```

use antiphon_common::{PartitionId, ProducerId};
use bytes::Bytes;

use super::codec::{Decoder, Encoder};
use super::{Row, RowError, RowKind};

const VERSION: u8 = 1;

/// What a partition remembers of one idempotent producer, as of `flushed_end`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerRow {
    /// The partition.
    pub partition_id: PartitionId,
    /// The producer.
    pub producer_id: ProducerId,
    /// Opaque here; storage encodes and decodes it.
    pub state: Bytes,
}

impl ProducerRow {
    /// Producer ids below zero mean "none" and have no rows; they are taken for zero.
    pub(crate) fn key_of(partition_id: PartitionId, producer_id: ProducerId) -> Vec<u8> {
        Encoder::key(Self::KIND.tag()).u64(partition_id.0).u64(producer_id.0.max(0) as u64).finish()
    }

    pub(crate) fn prefix_of(partition_id: PartitionId) -> Vec<u8> {
        Encoder::key(Self::KIND.tag()).u64(partition_id.0).finish()
    }
}

impl Row for ProducerRow {
    const KIND: RowKind = RowKind::Producer;

    fn key(&self) -> Vec<u8> {
        Self::key_of(self.partition_id, self.producer_id)
    }

    fn value(&self) -> Vec<u8> {
        Encoder::value(VERSION).raw(&self.state).finish()
    }

    fn decode(key: &[u8], value: &[u8]) -> Result<Self, RowError> {
        let mut key = Decoder::key(key, Self::KIND.tag())?;
        let row = Self {
            partition_id: PartitionId(key.u64("partition_id")?),
            producer_id: ProducerId(key.unsigned_i64("producer_id")?),
            state: Decoder::value(value, VERSION)?.rest_as_bytes(),
        };
        key.finish()?;
        Ok(row)
    }
}
