//! Reading segments from end to end, a few blocks at a time, past the caches: what compaction reads
//! once must not push out what consumers read again.

use std::sync::Arc;

use antiphon_catalog::SegmentRow;
use antiphon_common::ObjectId;
use bytes::Bytes;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::cold::{BlockFault, ColdReadError};
use crate::object::{BLOCK_BYTES_TARGET, BlockEntry, SectionIndex, TABLE_BYTES_MAX, crc32c};
use crate::store::object_path;
use crate::traffic::{Traffic, TrafficClass};

/// How much one GET brings, unless a single block is longer: 4 MiB.
const READ_BYTES: u64 = 4 << 20;

/// Reads whole segments.
#[derive(Clone, Debug)]
pub(super) struct Source {
    store: Arc<dyn ObjectStore>,
    traffic: Arc<Traffic>,
}

impl Source {
    pub(super) fn new(store: Arc<dyn ObjectStore>, traffic: Arc<Traffic>) -> Self {
        Self { store, traffic }
    }

    /// The blocks of a segment, in runs of neighbours that are read together.
    pub(super) async fn runs_of(
        &self,
        row: &SegmentRow,
    ) -> Result<Vec<Vec<BlockEntry>>, ColdReadError> {
        let blocks = match only_block(row) {
            Some(block) => vec![block],
            None => self.index_of(row).await?.blocks().to_vec(),
        };
        Ok(in_runs(blocks))
    }

    async fn index_of(&self, row: &SegmentRow) -> Result<SectionIndex, ColdReadError> {
        let (object, position) = (row.object_id, row.index_position);
        let length = u64::from(row.index_length).min(TABLE_BYTES_MAX);
        let entry = self.get(object, position, length).await?;
        let index = SectionIndex::decode_alone(&entry, position)
            .map_err(|fault| ColdReadError::Index { object, position, fault })?;
        let found = index.summary();
        match (found.partition, found.position, found.length)
            == (row.partition_id, row.position, row.length)
        {
            true => Ok(index),
            false => Err(ColdReadError::NoSection {
                object,
                partition: row.partition_id,
                position: row.position,
            }),
        }
    }

    /// Reads a run of blocks with one GET and checks each.
    pub(super) async fn read(
        &self,
        object: ObjectId,
        run: &[BlockEntry],
    ) -> Result<Vec<Bytes>, ColdReadError> {
        let start = run.first().map_or(0, |block| block.position);
        let bytes = self.get(object, start, run.iter().map(|block| block.length).sum()).await?;
        let mut blocks = Vec::with_capacity(run.len());
        for block in run {
            let from = usize::try_from(block.position - start).unwrap_or(usize::MAX);
            let length = usize::try_from(block.length).unwrap_or(usize::MAX);
            let found = bytes.get(from.min(bytes.len())..).unwrap_or_default();
            let found = found.get(..length).unwrap_or(found);
            check(object, block, found)?;
            blocks.push(bytes.slice_ref(found));
        }
        Ok(blocks)
    }

    async fn get(
        &self,
        object: ObjectId,
        position: u64,
        length: u64,
    ) -> Result<Bytes, ColdReadError> {
        let range = position..position.saturating_add(length);
        let _turn = self.traffic.admit(TrafficClass::Compaction, length).await;
        let got = self.store.get_range(&object_path(object), range).await;
        got.map_err(|error| ColdReadError::Store { object, position, source: Arc::new(error) })
    }
}

/// The block that a short segment is (a rule of the format): its row says all that an index would.
fn only_block(row: &SegmentRow) -> Option<BlockEntry> {
    let crc = row.crc.filter(|_| row.length <= BLOCK_BYTES_TARGET)?;
    Some(BlockEntry {
        base_offset: row.base_offset,
        position: row.position,
        length: row.length,
        max_timestamp: row.max_timestamp,
        crc,
    })
}

fn in_runs(blocks: Vec<BlockEntry>) -> Vec<Vec<BlockEntry>> {
    let mut runs: Vec<Vec<BlockEntry>> = Vec::new();
    let mut bytes = 0;
    for block in blocks {
        bytes += block.length;
        match runs.last_mut().filter(|_| bytes <= READ_BYTES) {
            Some(run) => run.push(block),
            None => {
                bytes = block.length;
                runs.push(vec![block]);
            }
        }
    }
    runs
}

fn check(object: ObjectId, block: &BlockEntry, found: &[u8]) -> Result<(), ColdReadError> {
    if block.matches(found) {
        return Ok(());
    }
    let fault = match found.len() as u64 == block.length {
        true => BlockFault::Checksum { expected: block.crc, found: crc32c(found) },
        false => BlockFault::Short { expected: block.length, found: found.len() as u64 },
    };
    Err(ColdReadError::Corrupt { object, position: block.position, fault })
}
