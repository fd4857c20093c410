//! Producer ids, handed out from blocks that the caller reserves in the catalog.
//!
//! An id is never handed out twice: a block is used by one process and its rest is lost with it, as
//! in Kafka. There are 2^63 ids.

use std::ops::Range;

use crate::limits::PRODUCER_ID_BLOCK_SIZE;

/// A producer's identity in Kafka's protocol. Never negative; -1 on the wire means "none".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProducerId(pub i64);

/// A range of ids that belongs to one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerIdBlock {
    ids: Range<i64>,
}

/// The block to be reserved does not lie within the space of ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no block of producer ids starts at {first}")]
pub struct ProducerIdBlockError {
    /// Where the block should have started.
    pub first: i64,
}

impl ProducerIdBlock {
    /// The block of [`PRODUCER_ID_BLOCK_SIZE`] ids from `first` on.
    pub fn starting_at(first: i64) -> Result<Self, ProducerIdBlockError> {
        let end = first.checked_add(PRODUCER_ID_BLOCK_SIZE).filter(|_| first >= 0);
        end.map(|end| Self { ids: first..end }).ok_or(ProducerIdBlockError { first })
    }

    /// The first id of the block after this one: what the catalog must remember.
    pub const fn end(&self) -> i64 {
        self.ids.end
    }
}

/// Hands out ids, and says when it needs another block.
#[derive(Clone, Debug, Default)]
pub struct ProducerIdAllocator {
    current: Range<i64>,
    next: Option<ProducerIdBlock>,
}

impl ProducerIdAllocator {
    /// An allocator without a block.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next id, or `None` until another block is granted.
    pub fn allocate(&mut self) -> Option<ProducerId> {
        if self.current.is_empty()
            && let Some(block) = self.next.take()
        {
            self.current = block.ids;
        }
        self.current.next().map(ProducerId)
    }

    /// Whether the caller should reserve a block now. True well before the ids run out (a tenth of
    /// a block is left), so that producers need not wait for the catalog.
    pub fn needs_block(&self) -> bool {
        let remaining = self.current.end.saturating_sub(self.current.start);
        self.next.is_none() && remaining <= PRODUCER_ID_BLOCK_SIZE / 10
    }

    /// Takes a block that was durably reserved. A block that is not needed is dropped: ids may be
    /// lost, never repeated.
    pub fn grant(&mut self, block: ProducerIdBlock) {
        if self.next.is_none() {
            self.next = Some(block);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_handed_out_once_across_blocks() {
        let mut allocator = ProducerIdAllocator::new();
        assert!(allocator.needs_block());
        assert_eq!(allocator.allocate(), None);
        let mut first = 0;
        let mut seen = Vec::new();
        while seen.len() < 2_500 {
            if allocator.needs_block() {
                let block = ProducerIdBlock::starting_at(first).unwrap();
                first = block.end();
                allocator.grant(block);
            }
            seen.extend(allocator.allocate());
        }
        assert!(seen.iter().copied().eq((0..2_500).map(ProducerId)));
    }

    #[test]
    fn a_block_that_is_not_needed_does_not_overwrite_one_that_waits() {
        let mut allocator = ProducerIdAllocator::new();
        allocator.grant(ProducerIdBlock::starting_at(0).unwrap());
        allocator.grant(ProducerIdBlock::starting_at(1_000).unwrap());
        assert_eq!(allocator.allocate(), Some(ProducerId(0)));
    }

    #[test]
    fn blocks_end_with_the_space_of_ids() {
        assert!(ProducerIdBlock::starting_at(i64::MAX - 10).is_err());
        assert!(ProducerIdBlock::starting_at(-1).is_err());
    }
}
