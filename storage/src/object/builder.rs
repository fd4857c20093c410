//! Writing an object: batches in, a rope of the same bytes out.

use std::collections::HashSet;

use antiphon_common::{ErrorKind, LeaderEpoch, Offset, PartitionId, Timestamp};
use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest, checksum_combine};
use object_store::PutPayload;

use super::block::{BLOCK_BYTES_TARGET, BlockEntry};
use super::crc32c;
use super::footer::{FOOTER_BYTES, Footer, WriterIdentity};
use super::index::SectionIndex;
use super::layout::TABLE_BYTES_MAX;
use super::section::{SectionKind, SectionSummary};

/// The largest object that is built: 1 GiB. One PUT carries it (S3 allows 5 GiB); flushes and
/// merges aim at a quarter of it or less.
pub const OBJECT_BYTES_MAX: u64 = 1 << 30;

/// Whole record batches that lie next to each other in memory: usually one, or the run of small
/// ones that share a slab. Never divided between blocks.
#[derive(Clone, Debug)]
pub struct BatchSlice {
    /// The batches as they went over the wire.
    pub bytes: Bytes,
    /// Base offset of the first batch.
    pub base_offset: Offset,
    /// Last offset of the last batch, inclusive.
    pub last_offset: Offset,
    /// The latest timestamp in any of them.
    pub max_timestamp: Timestamp,
    /// How many records they hold. Zero is possible: compaction keeps an emptied batch for the sake
    /// of its producer's sequence number.
    pub record_count: u64,
    /// The leader epoch of the last batch.
    pub leader_epoch: LeaderEpoch,
}

/// A finished object, ready to be put.
#[derive(Clone, Debug)]
pub struct BuiltObject {
    /// Who wrote it, under which name.
    pub identity: WriterIdentity,
    /// Its footer, by which a writer knows its own work again.
    pub footer: Footer,
    /// The object's bytes: the very slices that were handed in, the table, the footer.
    pub payload: PutPayload,
    /// The object's length in bytes.
    pub size: u64,
    /// What it holds and where, in the order in which it was added.
    pub sections: Vec<SectionSummary>,
}

/// The batches do not make an object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildObjectError {
    /// An object without a section would never be read.
    #[error("an object needs at least one section")]
    EmptyObject,
    /// A section without a batch would never be read.
    #[error("partition {partition}: a section needs at least one batch")]
    EmptySection {
        /// The section's partition.
        partition: PartitionId,
    },
    /// A slice holds no bytes, or its offsets run backwards, or start before its predecessor's end.
    #[error("partition {partition}: the batch at offset {offset} is empty or out of order")]
    OutOfOrder {
        /// The section's partition.
        partition: PartitionId,
        /// Base offset of the offending slice.
        offset: Offset,
    },
    /// One partition, one section.
    #[error("partition {partition} already has a section in this object")]
    DuplicateSection {
        /// The partition.
        partition: PartitionId,
    },
    /// The object or its table would exceed its limit.
    #[error("the object would need {bytes} bytes where {limit} are allowed")]
    TooLarge {
        /// What it would need.
        bytes: u64,
        /// What is allowed.
        limit: u64,
    },
}

impl BuildObjectError {
    /// What the caller should do about it: every case is a mistake of the caller.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

/// Collects sections into one object. Record bytes are referenced, never copied.
#[derive(Debug)]
pub struct ObjectBuilder {
    identity: WriterIdentity,
    rope: Vec<Bytes>,
    position: u64,
    table: Vec<u8>,
    sections: Vec<SectionSummary>,
    partitions: HashSet<PartitionId>,
}

impl ObjectBuilder {
    /// An empty object that will say of itself that `identity` wrote it.
    pub fn new(identity: WriterIdentity) -> Self {
        Self {
            identity,
            rope: Vec::new(),
            position: 0,
            table: Vec::new(),
            sections: Vec::new(),
            partitions: HashSet::new(),
        }
    }

    /// Bytes of sections so far: what to compare with a flush target.
    pub fn len(&self) -> u64 {
        self.position
    }

    /// Whether no section was added yet.
    pub fn is_empty(&self) -> bool {
        self.sections.is_empty()
    }

    /// Adds the section of `partition`: its batches, in offset order. On an error the object is as
    /// it was before. What was added, and where it came to lie, is in [`BuiltObject::sections`].
    pub fn section(
        &mut self,
        partition: PartitionId,
        batches: impl IntoIterator<Item = BatchSlice>,
    ) -> Result<(), BuildObjectError> {
        if self.partitions.contains(&partition) {
            return Err(BuildObjectError::DuplicateSection { partition });
        }
        let mut draft = SectionDraft::new(partition, self.position);
        for batch in batches {
            draft.push(batch)?;
        }
        let (index, rope) = draft.finish()?;
        self.accept(index, rope)
    }

    /// Adds a section, of whose bytes `rope` is what was not written elsewhere already.
    pub(super) fn accept(
        &mut self,
        index: SectionIndex,
        rope: Vec<Bytes>,
    ) -> Result<(), BuildObjectError> {
        let mut summary = *index.summary();
        let (table_before, end) = (self.table.len(), self.position + summary.length);
        index.encode_to(&mut self.table);
        let fits = within(self.table.len() as u64, TABLE_BYTES_MAX)
            .and_then(|()| within(self.size_if_position(end), OBJECT_BYTES_MAX));
        if let Err(error) = fits {
            self.table.truncate(table_before);
            return Err(error);
        }
        // Counted from the table's start until `finish` knows where that is.
        summary.index_position = table_before as u64;
        summary.index_length = (self.table.len() - table_before) as u64;
        self.position = end;
        self.rope.extend(rope);
        self.sections.push(summary);
        self.partitions.insert(summary.partition);
        Ok(())
    }

    fn size_if_position(&self, position: u64) -> u64 {
        position + self.table.len() as u64 + FOOTER_BYTES as u64
    }

    /// Adds table and footer.
    pub fn finish(mut self) -> Result<BuiltObject, BuildObjectError> {
        if self.sections.is_empty() {
            return Err(BuildObjectError::EmptyObject);
        }
        let size = self.size_if_position(self.position);
        let footer = Footer {
            writer: self.identity,
            table_position: self.position,
            table_length: self.table.len() as u64,
            table_crc: crc32c(&self.table),
        };
        self.sections.iter_mut().for_each(|section| section.index_position += self.position);
        self.table.extend_from_slice(&footer.encode());
        self.rope.push(self.table.into());
        Ok(BuiltObject {
            identity: self.identity,
            footer,
            payload: PutPayload::from_iter(self.rope),
            size,
            sections: self.sections,
        })
    }
}

fn within(bytes: u64, limit: u64) -> Result<(), BuildObjectError> {
    match bytes > limit {
        true => Err(BuildObjectError::TooLarge { bytes, limit }),
        false => Ok(()),
    }
}

/// A section that is being filled.
#[derive(Debug)]
pub(super) struct SectionDraft {
    partition: PartitionId,
    position: u64,
    rope: Vec<Bytes>,
    blocks: Vec<BlockEntry>,
    open: Option<OpenBlock>,
    last_offset: Offset,
    record_count: u64,
    leader_epoch: LeaderEpoch,
}

/// The block at the section's end, to which the next batch may still be added.
struct OpenBlock {
    entry: BlockEntry,
    digest: Digest,
}

impl std::fmt::Debug for OpenBlock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.entry.fmt(f)
    }
}

impl SectionDraft {
    pub(super) fn new(partition: PartitionId, position: u64) -> Self {
        Self {
            partition,
            position,
            rope: Vec::new(),
            blocks: Vec::new(),
            open: None,
            last_offset: Offset::NONE,
            record_count: 0,
            leader_epoch: LeaderEpoch::NONE,
        }
    }

    pub(super) fn push(&mut self, batch: BatchSlice) -> Result<(), BuildObjectError> {
        self.check_order(&batch)?;
        let length = batch.bytes.len() as u64;
        let mut block = self.block_with_room(length, batch.base_offset);
        block.digest.update(&batch.bytes);
        block.entry.length += length;
        block.entry.max_timestamp = block.entry.max_timestamp.max(batch.max_timestamp);
        self.open = Some(block);
        self.last_offset = batch.last_offset;
        self.record_count += batch.record_count;
        self.leader_epoch = batch.leader_epoch;
        self.rope.push(batch.bytes);
        Ok(())
    }

    /// The bytes that were pushed since this was called last: the caller writes them, in this order.
    pub(super) fn take_bytes(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.rope)
    }

    fn check_order(&self, batch: &BatchSlice) -> Result<(), BuildObjectError> {
        let follows = batch.base_offset > self.last_offset;
        match follows && batch.last_offset >= batch.base_offset && !batch.bytes.is_empty() {
            true => Ok(()),
            false => Err(BuildObjectError::OutOfOrder {
                partition: self.partition,
                offset: batch.base_offset,
            }),
        }
    }

    /// The open block if `length` more bytes fit into it, else a new one that starts here.
    fn block_with_room(&mut self, length: u64, base_offset: Offset) -> OpenBlock {
        match self.open.take() {
            Some(block) if block.entry.length + length <= BLOCK_BYTES_TARGET => return block,
            Some(full) => self.close(full),
            None => {}
        }
        let position = self.blocks.last().map_or(self.position, |last| last.position + last.length);
        let max_timestamp = Timestamp(i64::MIN);
        OpenBlock {
            entry: BlockEntry { base_offset, position, length: 0, max_timestamp, crc: 0 },
            digest: Digest::new(CrcAlgorithm::Crc32Iscsi),
        }
    }

    fn close(&mut self, block: OpenBlock) {
        self.blocks.push(BlockEntry { crc: block.digest.finalize() as u32, ..block.entry });
    }

    pub(super) fn finish(mut self) -> Result<(SectionIndex, Vec<Bytes>), BuildObjectError> {
        if let Some(block) = self.open.take() {
            self.close(block);
        }
        let empty = BuildObjectError::EmptySection { partition: self.partition };
        let first = *self.blocks.first().ok_or(empty.clone())?;
        let summary = SectionSummary {
            kind: SectionKind::RECORDS,
            partition: self.partition,
            base_offset: first.base_offset,
            last_offset: self.last_offset,
            position: self.position,
            length: self.blocks.iter().map(|block| block.length).sum(),
            record_count: self.record_count,
            max_timestamp: self
                .blocks
                .iter()
                .map(|block| block.max_timestamp)
                .max()
                .unwrap_or_default(),
            leader_epoch: self.leader_epoch,
            crc: combined_crc(&self.blocks),
            index_position: 0,
            index_length: 0,
        };
        // The pair of the reader's check: what is written must pass what is read.
        let index = SectionIndex::new(summary, self.blocks).map_err(|_| empty)?;
        Ok((index, self.rope))
    }
}

/// The CRC of the blocks' bytes taken together, from their own CRCs: no byte is read twice.
fn combined_crc(blocks: &[BlockEntry]) -> u32 {
    blocks.iter().fold(0, |crc, block| {
        checksum_combine(CrcAlgorithm::Crc32Iscsi, crc, u64::from(block.crc), block.length)
    }) as u32
}
