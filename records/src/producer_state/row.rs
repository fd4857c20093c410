//! One producer's entry as bytes, for snapshots: one row per producer.
//!
//! ```text
//! offset  bytes  field
//!      0      1  version             1
//!      1      8  producer id
//!      9      2  producer epoch
//!     11      8  last used           milliseconds since the Unix epoch, by the broker's clock
//!     19      8  last offset         of the newest batch, markers included
//!     27      8  transaction first offset   -1: no open transaction
//!     35      1  batch count         0 to 5
//!     36   24 n  batches, oldest first
//!
//! batch    0      8  base offset
//!          8      4  last offset delta
//!         12      4  first sequence
//!         16      8  timestamp
//! ```
//!
//! All numbers are big-endian and signed. There is no checksum: whatever stores the row has one.

use std::collections::VecDeque;

use antiphon_common::{Offset, ProducerEpoch, ProducerId, Timestamp};
use bytes::{Buf, BufMut};
use thiserror::Error;

use super::entry::{AppendedBatch, BATCHES_REMEMBERED, ProducerEntry};
use crate::batch::Sequence;

const VERSION: u8 = 1;
const BATCH_COUNT: usize = 35;
const FIXED_BYTES: usize = 36;
const BATCH_BYTES: usize = 24;

const _: () = assert!(BATCH_COUNT + 1 == FIXED_BYTES);
const _: () = assert!(BATCHES_REMEMBERED <= u8::MAX as usize);

/// Why bytes are not a producer's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RowError {
    /// Written by a newer release.
    #[error("producer row of version {version}, only {VERSION} is known")]
    Version {
        /// The version found.
        version: u8,
    },
    /// Not as long as its batch count demands.
    #[error("producer row of {found} bytes instead of {expected}")]
    Length {
        /// The bytes its batch count demands.
        expected: usize,
        /// The bytes found.
        found: usize,
    },
    /// A value that no producer can have.
    #[error("producer row with impossible {field} {value}")]
    Field {
        /// Which field.
        field: &'static str,
        /// The value found.
        value: i64,
    },
}

impl ProducerEntry {
    /// The entry as a row.
    pub fn encode(&self) -> Vec<u8> {
        let mut row = Vec::with_capacity(FIXED_BYTES + BATCH_BYTES * self.batches.len());
        row.put_u8(VERSION);
        row.put_i64(self.producer_id.0);
        row.put_i16(self.producer_epoch.0);
        row.put_i64(self.last_used.get());
        row.put_i64(self.last_offset.get());
        row.put_i64(self.transaction_first_offset.unwrap_or(Offset::NONE).get());
        row.put_u8(self.batches.len() as u8);
        for batch in &self.batches {
            row.put_i64(batch.base_offset.get());
            row.put_i32(batch.last_offset_delta);
            row.put_i32(batch.first_sequence.0);
            row.put_i64(batch.timestamp.get());
        }
        row
    }

    /// The entry that a row holds.
    pub fn decode(row: &[u8]) -> Result<Self, RowError> {
        let batch_count = check_shape(row)?;
        let mut rest = row.get(1..).unwrap_or_default();
        let producer_id = ProducerId(non_negative("producer id", rest.get_i64())?);
        let producer_epoch = ProducerEpoch(rest.get_i16());
        non_negative("producer epoch", i64::from(producer_epoch.0))?;
        let last_used = Timestamp(rest.get_i64());
        let last_offset = Offset(non_negative("last offset", rest.get_i64())?);
        let transaction = Offset(rest.get_i64());
        let transaction_first_offset = (transaction != Offset::NONE).then_some(transaction);
        rest.advance(1);
        let batches = decode_batches(rest, batch_count)?;
        Ok(Self {
            producer_id,
            producer_epoch,
            last_used,
            last_offset,
            transaction_first_offset,
            batches,
        })
    }
}

/// Checks version and length, so that reading the fields cannot run out of bytes.
fn check_shape(row: &[u8]) -> Result<usize, RowError> {
    let found = row.len();
    let short = RowError::Length { expected: FIXED_BYTES, found };
    match *row.first().ok_or(short)? {
        VERSION => {}
        version => return Err(RowError::Version { version }),
    }
    let batch_count = usize::from(*row.get(BATCH_COUNT).ok_or(short)?);
    if batch_count > BATCHES_REMEMBERED {
        return Err(RowError::Field { field: "batch count", value: batch_count as i64 });
    }
    let expected = FIXED_BYTES + BATCH_BYTES * batch_count;
    if found == expected { Ok(batch_count) } else { Err(RowError::Length { expected, found }) }
}

fn decode_batches(mut rest: &[u8], count: usize) -> Result<VecDeque<AppendedBatch>, RowError> {
    let mut batches = VecDeque::with_capacity(BATCHES_REMEMBERED);
    for _ in 0..count {
        batches.push_back(AppendedBatch {
            base_offset: Offset(non_negative("base offset", rest.get_i64())?),
            last_offset_delta: non_negative("last offset delta", rest.get_i32())?,
            first_sequence: Sequence(non_negative("first sequence", rest.get_i32())?),
            timestamp: Timestamp(rest.get_i64()),
        });
    }
    Ok(batches)
}

fn non_negative<T: Copy + Into<i64>>(field: &'static str, value: T) -> Result<T, RowError> {
    match value.into() {
        0.. => Ok(value),
        value => Err(RowError::Field { field, value }),
    }
}
