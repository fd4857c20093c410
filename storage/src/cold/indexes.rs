//! Section indexes in memory: each loaded once, however many readers want it.
//!
//! A section of at most one block's length is one block (a rule of the format), and the catalog's
//! row says all that its index would: such a section costs no GET but that of its data. Most
//! sections of freshly flushed objects are of this kind.

use std::sync::Arc;

use antiphon_common::ObjectId;
use moka::future::Cache;
use moka::policy::EvictionPolicy;

use super::error::ColdReadError;
use super::gets::Gets;
use super::segment::SegmentRef;
use super::stats::Counters;
use crate::object::{BLOCK_BYTES_TARGET, BlockEntry, SectionIndex, TABLE_BYTES_MAX};

/// The indexes of one cold reader.
#[derive(Debug)]
pub(super) struct IndexCache {
    gets: Arc<Gets>,
    indexes: Cache<(ObjectId, u64), Arc<SectionIndex>>,
    counters: Arc<Counters>,
}

impl IndexCache {
    pub(super) fn new(gets: Arc<Gets>, capacity_bytes: u64, counters: Arc<Counters>) -> Self {
        let weigh = |_: &(ObjectId, u64), index: &Arc<SectionIndex>| {
            u32::try_from(index.memory_bytes()).unwrap_or(u32::MAX)
        };
        let indexes = Cache::builder()
            .max_capacity(capacity_bytes)
            .weigher(weigh)
            .eviction_policy(EvictionPolicy::lru())
            .build();
        Self { gets, indexes, counters }
    }

    /// The index of the section that `segment` names.
    pub(super) async fn get(
        &self,
        segment: &SegmentRef,
    ) -> Result<Arc<SectionIndex>, ColdReadError> {
        if let Some(block) = only_block(segment) {
            let index =
                SectionIndex::of_blocks(segment.partition, segment.last_offset, vec![block]);
            return index.map(Arc::new).map_err(|fault| index_error(segment, fault));
        }
        let key = (segment.object, segment.index_position);
        let loaded = self.indexes.try_get_with(key, self.load(segment)).await;
        let index = loaded.map_err(|error| ColdReadError::clone(&error))?;
        match names(segment, &index) {
            true => Ok(index),
            false => Err(ColdReadError::NoSection {
                object: segment.object,
                partition: segment.partition,
                position: segment.position,
            }),
        }
    }

    async fn load(&self, segment: &SegmentRef) -> Result<Arc<SectionIndex>, ColdReadError> {
        self.counters.index_loads.add(1);
        let start = segment.index_position;
        let end = start.saturating_add(segment.index_length.min(TABLE_BYTES_MAX));
        let entry = self.gets.range(segment.object, start..end).await?;
        let index = SectionIndex::decode_alone(&entry, start);
        index.map(Arc::new).map_err(|fault| index_error(segment, fault))
    }
}

fn only_block(segment: &SegmentRef) -> Option<BlockEntry> {
    let crc = segment.crc.filter(|_| segment.length <= BLOCK_BYTES_TARGET)?;
    Some(BlockEntry {
        base_offset: segment.base_offset,
        position: segment.position,
        length: segment.length,
        max_timestamp: segment.max_timestamp,
        crc,
    })
}

/// Whether the index is of the section that the segment means.
fn names(segment: &SegmentRef, index: &SectionIndex) -> bool {
    let found = index.summary();
    (found.partition, found.position, found.length)
        == (segment.partition, segment.position, segment.length)
}

fn index_error(segment: &SegmentRef, fault: crate::object::DecodeObjectError) -> ColdReadError {
    ColdReadError::Index { object: segment.object, position: segment.index_position, fault }
}
