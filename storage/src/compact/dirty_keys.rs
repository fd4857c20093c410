//! The first half of a round: which keys the dirty part has, and where each is newest. Pure.

use antiphon_common::Offset;
use antiphon_records::{Batch, Batches, OpenBatch, ReadError};

use super::DECOMPRESSED_BYTES_MAX;
use super::error::UncleanableBatch;
use super::offset_map::{Full, OffsetMap};

/// Reads the dirty part batch by batch until it ends or the map is full.
#[derive(Debug)]
pub(super) struct DirtyKeys {
    map: OffsetMap,
    covered: Option<Offset>,
    closed: bool,
}

impl DirtyKeys {
    pub(super) fn new(map: OffsetMap) -> Self {
        Self { map, covered: None, closed: false }
    }

    /// Takes the keys of the next batches of the dirty part.
    pub(super) fn read(&mut self, batches: &[u8]) -> Result<(), UncleanableBatch> {
        for batch in Batches::whole(batches) {
            let batch = batch?;
            if !self.closed {
                self.read_batch(&batch)?;
            }
        }
        Ok(())
    }

    /// Whether nothing more can be taken in: this round goes no further.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// The map, and the last offset that it covers: every key up to there is in it. `None` if it
    /// covers nothing.
    pub(super) fn finish(self) -> Option<(OffsetMap, Offset)> {
        Some((self.map, self.covered?))
    }

    fn read_batch(&mut self, batch: &Batch<'_>) -> Result<(), UncleanableBatch> {
        let header = &batch.header;
        // Whether a transaction's records count is not known before its marker, and if it was
        // aborted they must not make anything else go. A round ends in front of them.
        if header.is_transactional() && !header.is_control() {
            self.closed = true;
            return Ok(());
        }
        let offset = header.base_offset;
        let fits = header.is_control()
            || put_keys(&mut self.map, batch.bytes)
                .map_err(|source| UncleanableBatch::Records { offset, source: source.into() })?;
        match fits {
            true => self.covered = Some(header.last_offset()),
            // The next round begins with this batch, and has all of the map for it.
            false if self.covered.is_some() => self.closed = true,
            false => return Err(UncleanableBatch::TooManyKeys { offset }),
        }
        Ok(())
    }
}

/// Puts the keys of a batch. `false` if the map is full; what was put before stays: it can only make
/// records go that the rest of this very batch supersedes.
fn put_keys(map: &mut OffsetMap, bytes: &[u8]) -> Result<bool, ReadError> {
    let open = OpenBatch::open(bytes, DECOMPRESSED_BYTES_MAX)?;
    for record in open.records() {
        let record = record?;
        // Records without a key, from before the topic was compacted, will go (as in Kafka).
        let Some(key) = record.key else { continue };
        if map.put(key, record.offset(open.header())) == Err(Full) {
            return Ok(false);
        }
    }
    Ok(true)
}
