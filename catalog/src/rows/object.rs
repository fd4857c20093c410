//! One object in the bucket.
//!
//! ```text
//! key    09 | object_id u128
//! value  02 | size u64 | created_at i64 | broker_id i32 | broker_epoch i64
//!           | live_sections u32 | level u8 | live_bytes u64
//! ```
//!
//! Version 1 had no `live_bytes`; all of the object is taken to be alive then.
//!
//! The row stays until the object itself is deleted, so that "the catalog names it" and "it may be
//! in the bucket" are the same question for the orphan sweep.

use antiphon_common::{BrokerEpoch, BrokerId, ObjectId, Timestamp};

use super::codec::{Decoder, Encoder};
use super::{Row, RowError, RowKind};

const VERSION: u8 = 2;

/// One object in the bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectRow {
    /// Its identity, from which its key in the bucket is built.
    pub object_id: ObjectId,
    /// Its size in bytes.
    pub size: u64,
    /// When it was built.
    pub created_at: Timestamp,
    /// The broker that wrote it.
    pub broker_id: BrokerId,
    /// That broker's epoch at the time.
    pub broker_epoch: BrokerEpoch,
    /// How many segment rows point into it. Counted by the catalog: what a caller puts here is
    /// ignored.
    pub live_sections: u32,
    /// 0 as flushed; higher after merges.
    pub level: u8,
    /// How many bytes the segments have that point into it. Counted by the catalog like
    /// `live_sections`. What is left of `size` is what deleting or merging has freed in vain.
    pub live_bytes: u64,
}

impl ObjectRow {
    pub(crate) fn key_of(object_id: ObjectId) -> Vec<u8> {
        Encoder::key(Self::KIND.tag()).u128(object_id.0).finish()
    }
}

impl Row for ObjectRow {
    const KIND: RowKind = RowKind::Object;

    fn key(&self) -> Vec<u8> {
        Self::key_of(self.object_id)
    }

    fn value(&self) -> Vec<u8> {
        Encoder::value(VERSION)
            .u64(self.size)
            .i64(self.created_at.get())
            .i32(self.broker_id.0)
            .i64(self.broker_epoch.get())
            .u32(self.live_sections)
            .u8(self.level)
            .u64(self.live_bytes)
            .finish()
    }

    fn decode(key: &[u8], value: &[u8]) -> Result<Self, RowError> {
        let mut key = Decoder::key(key, Self::KIND.tag())?;
        let (version, mut value) = Decoder::value_up_to(value, VERSION)?;
        let size = value.u64("size")?;
        let row = Self {
            object_id: ObjectId(key.u128("object_id")?),
            size,
            created_at: Timestamp(value.i64("created_at")?),
            broker_id: BrokerId(value.i32("broker_id")?),
            broker_epoch: BrokerEpoch(value.i64("broker_epoch")?),
            live_sections: value.u32("live_sections")?,
            level: value.u8("level")?,
            live_bytes: if version == 1 { size } else { value.u64("live_bytes")? },
        };
        key.finish()?;
        value.finish()?;
        Ok(row)
    }
}
