//! One broker and where its last run stood.
//!
//! ```text
//! key    02 | broker_id u32
//! value  01 | epoch i64 | flushed_lsn u64 | clean_stop u8 | data_dir_id 16 bytes
//! ```

use antiphon_common::{BrokerEpoch, BrokerId, Lsn};
use uuid::Uuid;

use super::codec::{Decoder, Encoder};
use super::{Row, RowError, RowKind};

const VERSION: u8 = 1;

/// One broker and where its last run stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerRow {
    /// Which broker.
    pub broker_id: BrokerId,
    /// How many times it opened the catalog for writing before this time; the first run has 0.
    pub epoch: BrokerEpoch,
    /// Everything in its write-ahead log at or below this position is in objects.
    pub flushed_lsn: Lsn,
    /// Whether the run ended with its log fully flushed.
    pub clean_stop: bool,
    /// Identity of the local folder that holds what is not flushed yet. After a stop that was not
    /// clean, starting on another folder would lose acknowledged records.
    pub data_dir_id: Uuid,
}

impl BrokerRow {
    pub(crate) fn key_of(broker_id: BrokerId) -> Vec<u8> {
        Encoder::key(Self::KIND.tag()).u32(broker_id.0 as u32).finish()
    }
}

impl Row for BrokerRow {
    const KIND: RowKind = RowKind::Broker;

    fn key(&self) -> Vec<u8> {
        Self::key_of(self.broker_id)
    }

    fn value(&self) -> Vec<u8> {
        Encoder::value(VERSION)
            .i64(self.epoch.get())
            .u64(self.flushed_lsn.get())
            .bool(self.clean_stop)
            .uuid(self.data_dir_id)
            .finish()
    }

    fn decode(key: &[u8], value: &[u8]) -> Result<Self, RowError> {
        let mut key = Decoder::key(key, Self::KIND.tag())?;
        let mut value = Decoder::value(value, VERSION)?;
        let row = Self {
            broker_id: BrokerId(key.unsigned_i32("broker_id")?),
            epoch: BrokerEpoch(value.i64("epoch")?),
            flushed_lsn: Lsn(value.u64("flushed_lsn")?),
            clean_stop: value.bool("clean_stop")?,
            data_dir_id: value.uuid("data_dir_id")?,
        };
        key.finish()?;
        value.finish()?;
        Ok(row)
    }
}
