//! What stays of a batch. Pure.
//!
//! Kafka's rules (`Cleaner`, KIP-58, KIP-534):
//!
//! 1. Of the records of a key, the newest stays. Records without a key go.
//! 2. A tombstone stays until its batch's delete horizon, which the batch gets when it is first
//!    cleaned. By then every record that it supersedes is gone: those are in the same or in earlier
//!    segments, and segments are cleaned in order.
//! 3. The last batch of every active producer stays, emptied if need be: it holds the producer's
//!    last sequence.
//! 4. So does the last batch of what is cleaned, so that offsets end where they ended.
//! 5. Control batches stay. (Transactions are not served yet; when they are, markers may go with the
//!    last of their records.)
//! 6. What lies beyond the offset that the map covers is not touched.

use std::collections::HashMap;

use antiphon_common::{Offset, ProducerId, Timestamp};
use antiphon_records::{BatchHeader, Record, RetainError, Retained, emptied, retain_records};
use bytes::BytesMut;

use super::DECOMPRESSED_BYTES_MAX;
use super::offset_map::OffsetMap;

/// By what the batches of one round are judged.
#[derive(Debug)]
pub(super) struct Rules {
    /// The newest offset of each key of the dirty part, up to `covered`.
    pub(super) newest: OffsetMap,
    /// The last offset that this round cleans; always the last of a batch.
    pub(super) covered: Offset,
    /// The time of this round.
    pub(super) now: Timestamp,
    /// The delete horizon of batches that have none yet.
    pub(super) horizon: Timestamp,
    /// The last offset of the last batch of each active producer.
    pub(super) producers: HashMap<ProducerId, Offset>,
}

/// What becomes of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It stays, byte for byte.
    Stays,
    /// Another batch takes its place: thinned, emptied, or with a delete horizon.
    Replaced { batch: BytesMut, removed: i32 },
    /// It goes.
    Goes { removed: i32 },
}

impl Rules {
    /// Judges one batch. `is_boundary` if it must stay for where it ends.
    pub(super) fn judge(
        &self,
        header: &BatchHeader,
        bytes: &[u8],
        is_boundary: bool,
    ) -> Result<Fate, RetainError> {
        if header.is_control() || header.last_offset() > self.covered {
            return Ok(Fate::Stays);
        }
        let tombstones_go = header.delete_horizon().is_some_and(|horizon| self.now >= horizon);
        let keep = |record: &Record<'_>, offset| self.stays(record, offset, tombstones_go);
        let retained = retain_records(bytes, self.horizon, DECOMPRESSED_BYTES_MAX, keep)?;
        let removed = header.record_count;
        Ok(match retained {
            Retained::Whole => Fate::Stays,
            Retained::Thinned { batch, removed } => Fate::Replaced { batch, removed },
            Retained::Nothing if !is_boundary && !self.is_last_of_producer(header) => {
                Fate::Goes { removed }
            }
            Retained::Nothing if removed == 0 => Fate::Stays,
            Retained::Nothing => Fate::Replaced { batch: emptied(header), removed },
        })
    }

    fn stays(&self, record: &Record<'_>, offset: Offset, tombstones_go: bool) -> bool {
        let Some(key) = record.key else { return false };
        let is_newest = self.newest.newest(key).is_none_or(|newest| offset >= newest);
        is_newest && !(tombstones_go && record.value.is_none())
    }

    fn is_last_of_producer(&self, header: &BatchHeader) -> bool {
        self.producers.get(&header.producer_id) == Some(&header.last_offset())
    }
}
