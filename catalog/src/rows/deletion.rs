//! One object that nothing points into any more, waiting to be deleted.
//!
//! ```text
//! key    0a | due_at u64 (milliseconds since the Unix epoch) | object_id u128
//! value  01
//! ```

use antiphon_common::{ObjectId, Timestamp};

use super::codec::{Decoder, Encoder};
use super::{Row, RowError, RowKind};

const VERSION: u8 = 1;

/// One object that nothing points into any more, waiting to be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeletionRow {
    /// Not before this time: a reader that planned its reads before the last segment row was
    /// removed may still be fetching.
    pub due_at: Timestamp,
    /// The object.
    pub object_id: ObjectId,
}

impl Row for DeletionRow {
    const KIND: RowKind = RowKind::Deletion;

    fn key(&self) -> Vec<u8> {
        Encoder::key(Self::KIND.tag())
            .u64(self.due_at.get().max(0) as u64)
            .u128(self.object_id.0)
            .finish()
    }

    fn value(&self) -> Vec<u8> {
        Encoder::value(VERSION).finish()
    }

    fn decode(key: &[u8], value: &[u8]) -> Result<Self, RowError> {
        let mut key = Decoder::key(key, Self::KIND.tag())?;
        let value = Decoder::value(value, VERSION)?;
        let row = Self {
            due_at: Timestamp(key.unsigned_i64("due_at")?),
            object_id: ObjectId(key.u128("object_id")?),
        };
        key.finish()?;
        value.finish()?;
        Ok(row)
    }
}
