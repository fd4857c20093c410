//! The next number of a sequence that is never reused.
//!
//! ```text
//! key    05 | counter u8 (1 partition ids, 2 producer ids)
//! value  01 | next u64
//! ```

use super::codec::{Decoder, Encoder};
use super::{Row, RowError, RowKind};

const VERSION: u8 = 1;

/// Which sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Counter {
    /// Identities of partitions.
    PartitionIds = 1,
    /// Identities of idempotent producers.
    ProducerIds = 2,
}

/// The next number of a sequence that is never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CounterRow {
    /// Which sequence.
    pub counter: Counter,
    /// The first number that was never handed out.
    pub next: u64,
}

impl Row for CounterRow {
    const KIND: RowKind = RowKind::Counter;

    fn key(&self) -> Vec<u8> {
        Encoder::key(Self::KIND.tag()).u8(self.counter as u8).finish()
    }

    fn value(&self) -> Vec<u8> {
        Encoder::value(VERSION).u64(self.next).finish()
    }

    fn decode(key: &[u8], value: &[u8]) -> Result<Self, RowError> {
        let mut key = Decoder::key(key, Self::KIND.tag())?;
        let mut value = Decoder::value(value, VERSION)?;
        let counter = match key.u8("counter")? {
            1 => Counter::PartitionIds,
            2 => Counter::ProducerIds,
            found => {
                return Err(RowError::OutOfRange { field: "counter", found: u64::from(found) });
            }
        };
        let row = Self { counter, next: value.u64("next")? };
        key.finish()?;
        value.finish()?;
        Ok(row)
    }
}
