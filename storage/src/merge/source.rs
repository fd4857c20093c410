//! Reading a segment from end to end, past the caches of those who read for consumers.

use std::ops::Range;
use std::sync::Arc;

use antiphon_catalog::SegmentRow;
use antiphon_records::batches_in;
use bytes::Bytes;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::cold::{BlockFault, ColdReadError};
use crate::object::{
    BLOCK_BYTES_TARGET, BatchSlice, BlockEntry, SectionIndex, TABLE_BYTES_MAX, crc32c,
};
use crate::store::object_path;

/// How much one GET asks for, unless a single block is longer.
pub(super) const PIECE_BYTES: u64 = 4 << 20;

/// Blocks of one segment that one GET brings.
#[derive(Debug)]
pub(crate) struct Piece {
    blocks: Vec<BlockEntry>,
}

impl Piece {
    pub(crate) fn bytes(&self) -> u64 {
        self.blocks.iter().map(|block| block.length).sum()
    }

    fn range(&self) -> Option<Range<u64>> {
        Some(self.blocks.first()?.position..self.blocks.last()?.end()?)
    }
}

/// The pieces of a segment, in order.
pub(crate) async fn pieces_of(
    store: &dyn ObjectStore,
    segment: &SegmentRow,
) -> Result<Vec<Piece>, ColdReadError> {
    let blocks = match only_block(segment) {
        Some(block) => vec![block],
        None => load_index(store, segment).await?.blocks().to_vec(),
    };
    let mut pieces: Vec<Piece> = Vec::new();
    for block in blocks {
        let room = pieces.last_mut().filter(|last| last.bytes() + block.length <= PIECE_BYTES);
        match room {
            Some(piece) => piece.blocks.push(block),
            None => pieces.push(Piece { blocks: vec![block] }),
        }
    }
    Ok(pieces)
}

/// The batches of a piece, in order, each as it was written.
pub(crate) async fn read_piece(
    store: &dyn ObjectStore,
    segment: &SegmentRow,
    piece: &Piece,
) -> Result<Vec<BatchSlice>, ColdReadError> {
    let Some(range) = piece.range() else { return Ok(Vec::new()) };
    let start = range.start;
    let bytes = get(store, segment, range).await?;
    let mut batches = Vec::new();
    for block in &piece.blocks {
        let at = usize::try_from(block.position - start).unwrap_or(usize::MAX);
        let end = at.saturating_add(usize::try_from(block.length).unwrap_or(usize::MAX));
        let found = if end <= bytes.len() { bytes.slice(at..end) } else { Bytes::new() };
        check(segment, block, &found)?;
        take_batches(segment, block, &found, &mut batches)?;
    }
    Ok(batches)
}

fn take_batches(
    segment: &SegmentRow,
    block: &BlockEntry,
    bytes: &Bytes,
    batches: &mut Vec<BatchSlice>,
) -> Result<(), ColdReadError> {
    let mut at = 0;
    for batch in batches_in(bytes) {
        let Ok((header, bytes)) = batch else {
            return Err(corrupt(segment, block, BlockFault::Batch { at }));
        };
        at += bytes.len();
        batches.push(BatchSlice {
            bytes,
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            max_timestamp: header.newest_timestamp(),
            record_count: u64::try_from(header.record_count).unwrap_or(0),
            leader_epoch: header.partition_leader_epoch,
        });
    }
    Ok(())
}

fn check(segment: &SegmentRow, block: &BlockEntry, bytes: &Bytes) -> Result<(), ColdReadError> {
    let (expected, found) = (block.length, bytes.len() as u64);
    if expected != found {
        return Err(corrupt(segment, block, BlockFault::Short { expected, found }));
    }
    let (expected, found) = (block.crc, crc32c(bytes));
    match expected == found {
        true => Ok(()),
        false => Err(corrupt(segment, block, BlockFault::Checksum { expected, found })),
    }
}

fn corrupt(segment: &SegmentRow, block: &BlockEntry, fault: BlockFault) -> ColdReadError {
    ColdReadError::Corrupt { object: segment.object_id, position: block.position, fault }
}

/// A section of at most one block's length is one block (a rule of the format), and its row says all
/// that its index would.
fn only_block(segment: &SegmentRow) -> Option<BlockEntry> {
    let crc = segment.crc.filter(|_| segment.length <= BLOCK_BYTES_TARGET)?;
    Some(BlockEntry {
        base_offset: segment.base_offset,
        position: segment.position,
        length: segment.length,
        max_timestamp: segment.max_timestamp,
        crc,
    })
}

async fn load_index(
    store: &dyn ObjectStore,
    segment: &SegmentRow,
) -> Result<SectionIndex, ColdReadError> {
    let (object, position) = (segment.object_id, segment.index_position);
    let length = u64::from(segment.index_length).min(TABLE_BYTES_MAX);
    let entry = get(store, segment, position..position.saturating_add(length)).await?;
    let index = SectionIndex::decode_alone(&entry, position)
        .map_err(|fault| ColdReadError::Index { object, position, fault })?;
    let found = index.summary();
    let named = (found.partition, found.position, found.length);
    match named == (segment.partition_id, segment.position, segment.length) {
        true => Ok(index),
        false => Err(ColdReadError::NoSection {
            object,
            partition: segment.partition_id,
            position: segment.position,
        }),
    }
}

async fn get(
    store: &dyn ObjectStore,
    segment: &SegmentRow,
    range: Range<u64>,
) -> Result<Bytes, ColdReadError> {
    let (object, position) = (segment.object_id, range.start);
    let bytes = store.get_range(&object_path(object), range).await;
    bytes.map_err(|error| ColdReadError::Store { object, position, source: Arc::new(error) })
}
