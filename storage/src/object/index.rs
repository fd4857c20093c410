//! The index of one records section, in memory: from an offset or a time to a block.

use antiphon_common::{LeaderEpoch, Offset, PartitionId, Timestamp};

use super::block::{BLOCK_ENTRY_BYTES, BlockEntry};
use super::error::DecodeObjectError;
use super::section::{SectionKind, SectionSummary};

/// A records section and its blocks, checked. Holding one means that it was checked: there is at
/// least one block, the blocks tile the section without gap or overlap, and their base offsets
/// ascend from the section's base offset to at most its last offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SectionIndex {
    summary: SectionSummary,
    blocks: Vec<BlockEntry>,
}

impl SectionIndex {
    pub(super) fn new(
        summary: SectionSummary,
        blocks: Vec<BlockEntry>,
    ) -> Result<Self, DecodeObjectError> {
        let index = Self { summary, blocks };
        index
            .check()
            .map_err(|reason| DecodeObjectError::Inconsistent {
                partition: summary.partition,
                reason,
            })
            .map(|()| index)
    }

    pub(super) fn decode(summary: SectionSummary, index: &[u8]) -> Result<Self, DecodeObjectError> {
        let entries = index.chunks_exact(BLOCK_ENTRY_BYTES);
        if !entries.remainder().is_empty() {
            let needed = index.len().next_multiple_of(BLOCK_ENTRY_BYTES) as u64;
            return Err(DecodeObjectError::Truncated { needed, found: index.len() as u64 });
        }
        Self::new(summary, entries.map(BlockEntry::decode).collect::<Result<_, _>>()?)
    }

    /// Appends the section's entry to `table`.
    pub(super) fn encode_to(&self, table: &mut Vec<u8>) {
        let mut index = Vec::with_capacity(self.blocks.len() * BLOCK_ENTRY_BYTES);
        self.blocks.iter().for_each(|block| block.encode_to(&mut index));
        self.summary.encode_to(&index, table);
    }

    /// The index of a records section from its entry alone: the bytes at `index_position`.
    pub fn decode_alone(entry: &[u8], index_position: u64) -> Result<Self, DecodeObjectError> {
        let (summary, index, after) = SectionSummary::decode(entry, index_position)?;
        if summary.kind != SectionKind::RECORDS || !after.is_empty() {
            let reason = "what lies there is not one entry of a records section";
            return Err(DecodeObjectError::Inconsistent { partition: summary.partition, reason });
        }
        Self::decode(summary, index)
    }

    /// The index of a section whose blocks are known without its entry. Of the summary only place,
    /// offsets and time are filled in.
    pub(crate) fn of_blocks(
        partition: PartitionId,
        last_offset: Offset,
        blocks: Vec<BlockEntry>,
    ) -> Result<Self, DecodeObjectError> {
        let first = blocks.first();
        let summary = SectionSummary {
            kind: SectionKind::RECORDS,
            partition,
            base_offset: first.map_or(Offset::NONE, |block| block.base_offset),
            last_offset,
            position: first.map_or(0, |block| block.position),
            length: blocks.iter().map(|block| block.length).sum(),
            record_count: 0,
            max_timestamp: blocks.iter().map(|b| b.max_timestamp).max().unwrap_or(Timestamp::NONE),
            leader_epoch: LeaderEpoch::NONE,
            crc: 0,
            index_position: 0,
            index_length: 0,
        };
        Self::new(summary, blocks)
    }

    fn check(&self) -> Result<(), &'static str> {
        let (first, last) = match (self.blocks.first(), self.blocks.last()) {
            (Some(first), Some(last)) => (first, last),
            _ => return Err("it has no blocks"),
        };
        if first.base_offset != self.summary.base_offset {
            return Err("its first block starts at another offset");
        }
        if last.base_offset > self.summary.last_offset {
            return Err("its last block starts after its last offset");
        }
        if first.position != self.summary.position || last.end() != self.summary.end() {
            return Err("its blocks do not cover it");
        }
        self.check_neighbours()
    }

    fn check_neighbours(&self) -> Result<(), &'static str> {
        for (block, next) in self.blocks.iter().zip(self.blocks.iter().skip(1)) {
            if block.end() != Some(next.position) {
                return Err("two neighbouring blocks do not touch");
            }
            if block.base_offset >= next.base_offset {
                return Err("block offsets do not ascend");
            }
        }
        match self.blocks.iter().any(|block| block.length == 0) {
            true => Err("a block is empty"),
            false => Ok(()),
        }
    }

    /// What the table says about the section as a whole.
    pub fn summary(&self) -> &SectionSummary {
        &self.summary
    }

    /// The blocks, in offset order.
    pub fn blocks(&self) -> &[BlockEntry] {
        &self.blocks
    }

    /// The number of the block in which the batch that holds `offset` lies, or, where compaction
    /// left a hole, the block after whose start the hole is. `None` after the section's last
    /// offset; an offset before the section gives its first block.
    pub fn block_of_offset(&self, offset: Offset) -> Option<usize> {
        if offset > self.summary.last_offset {
            return None;
        }
        let after = self.blocks.partition_point(|block| block.base_offset <= offset);
        Some(after.saturating_sub(1))
    }

    /// The number of the first block at or after block `from` that holds a timestamp at or after
    /// `timestamp`. A scan: blocks are not ordered by time, and a section has at most some
    /// hundreds.
    pub fn block_of_timestamp(&self, timestamp: Timestamp, from: usize) -> Option<usize> {
        let candidates = self.blocks.iter().enumerate().skip(from);
        candidates
            .filter(|(_, block)| block.max_timestamp >= timestamp)
            .map(|(number, _)| number)
            .next()
    }

    /// The memory this index takes, in bytes.
    pub fn memory_bytes(&self) -> u64 {
        (size_of::<Self>() + self.blocks.capacity() * size_of::<BlockEntry>()) as u64
    }
}
