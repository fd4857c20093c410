//! The reader: one per broker, shared by all fetches of history.

use std::ops::Range;
use std::sync::Arc;

use antiphon_common::{ObjectId, Offset, PartitionId, Timestamp};
use bytes::Bytes;

use super::ahead::{AheadPlanner, Onward, Plan, SectionKey, Step};
use super::batches::{Wanted, cut, last_offset_of_run};
use super::block_cache::BlockCache;
use super::convoy::ReaderId;
use super::error::ColdReadError;
use super::gets::Gets;
use super::indexes::IndexCache;
use super::options::ColdOptions;
use super::remote::RemoteBlocks;
use super::segment::SegmentRef;
use super::stats::{ColdStats, Counters};
use crate::object::SectionIndex;
use crate::store::Store;
use crate::traffic::{Traffic, TrafficOptions};

/// Reads history. Cheap to clone; all clones share caches and limits.
///
/// Must be used within a tokio runtime: loads are tasks of the runtime of whoever asks first, so
/// use it from the history runtime only.
#[derive(Clone, Debug)]
pub struct ColdReader {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    indexes: IndexCache,
    cache: Arc<BlockCache>,
    blocks: Arc<RemoteBlocks>,
    planner: AheadPlanner,
    counters: Arc<Counters>,
    /// The most that one step of a read asks for.
    step_bytes_max: u64,
    cache_bytes_max: u64,
}

/// What a read found.
#[derive(Clone, Debug, Default)]
pub struct ColdRead {
    /// Runs of neighbouring batches, in order.
    pub runs: Vec<Bytes>,
    /// Set if reading ahead should go on in the segment that follows: pass it to
    /// [`ColdReader::read_ahead`].
    pub onward: Option<Onward>,
}

/// A section that is being read.
struct Section {
    object: ObjectId,
    index: Arc<SectionIndex>,
}

impl ColdReader {
    /// A reader of `store` with empty caches, which has the store's traffic to itself.
    pub fn new(store: Store, options: ColdOptions) -> Self {
        let traffic = Traffic::new(TrafficOptions::default(), &options, || 0);
        Self::sharing(store, options, traffic)
    }

    /// A reader of `store` with empty caches, whose requests go beside others.
    pub fn sharing(store: Store, options: ColdOptions, traffic: Arc<Traffic>) -> Self {
        let counters = Arc::new(Counters::default());
        let cache = BlockCache::new(options.cache_bytes);
        let gets = Arc::new(Gets::new(&store, traffic, options.hedge, Arc::clone(&counters)));
        let counted = Arc::clone(&counters);
        let blocks = RemoteBlocks::new(Arc::clone(&gets), Arc::clone(&cache), counted, &options);
        let blocks = Arc::new(blocks);
        let indexes = IndexCache::new(gets, options.index_cache_bytes, Arc::clone(&counters));
        let planner = AheadPlanner::new(options.readahead_bytes_min, options.window_bytes_max());
        let step_bytes_max = options.readahead_bytes_max;
        let cache_bytes_max = options.cache_bytes;
        let shared =
            Shared { indexes, cache, blocks, planner, counters, step_bytes_max, cache_bytes_max };
        Self { shared: Arc::new(shared) }
    }

    /// Takes note that a reader has everything below `offset` and will read on from there.
    pub fn reader_is_at(&self, reader: ReaderId, partition: PartitionId, offset: Offset) {
        self.shared.cache.reader_is_at(reader, partition, offset);
    }

    /// Reads whole batches of `segment`, starting with the one that contains `from` (or, where
    /// compaction left a hole, the next one).
    ///
    /// Each element of the answer is a run of neighbouring batches, usually all that one block
    /// contributes: [`super::last_offset_of_run`] tells where it ends. Together they are at most
    /// `max_bytes` long, except that the first batch comes whole, however long, if `at_least_one`
    /// (KIP-74). The answer may be shorter than there is room for: from half of `max_bytes` on, a
    /// read prefers to stop at the end of a block. Empty if `from` is after the segment, or if the
    /// first batch does not fit and is not demanded.
    pub async fn read(
        &self,
        segment: &SegmentRef,
        from: Offset,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<Vec<Bytes>, ColdReadError> {
        let read = self.read_for(ReaderId::NOBODY, segment, from, max_bytes, at_least_one).await?;
        Ok(read.runs)
    }

    /// As [`Self::read`], for a reader that goes through history beside others, who then share what
    /// is loaded. Where a later block fails, the answer is what the earlier ones gave.
    pub async fn read_for(
        &self,
        reader: ReaderId,
        segment: &SegmentRef,
        from: Offset,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<ColdRead, ColdReadError> {
        let mut read = ColdRead::default();
        if from > segment.last_offset || (max_bytes == 0 && !at_least_one) {
            return Ok(read);
        }
        self.reader_is_at(reader, segment.partition, from);
        let section = self.section(segment).await?;
        let mut progress = Progress {
            wanted: Wanted { from, until: segment.last_offset, room: max_bytes, at_least_one },
            served: 0,
            next_block: section.index.block_of_offset(from).unwrap_or(usize::MAX),
            stopped: false,
        };
        while let Some(blocks) = progress.next_step(&section.index, self.shared.step_bytes_max) {
            let (loaded, failed, onward) = self.shared.load(reader, &section, blocks).await;
            read.onward = onward;
            let cut = self.take_batches(&section, &loaded, &mut progress, &mut read.runs);
            match cut.err().or(failed) {
                Some(error) if read.runs.is_empty() => return Err(error),
                Some(_) => break,
                None => {}
            }
        }
        Ok(read)
    }

    /// Cuts the batches that are wanted out of `blocks`, the next ones of the section.
    fn take_batches(
        &self,
        section: &Section,
        blocks: &[Bytes],
        progress: &mut Progress,
        runs: &mut Vec<Bytes>,
    ) -> Result<(), ColdReadError> {
        for block in blocks {
            let position = section.block_position(progress.next_block);
            let cut = cut(block, progress.wanted).map_err(|fault| ColdReadError::Corrupt {
                object: section.object,
                position,
                fault,
            })?;
            progress.took(cut.bytes.len(), cut.to_end);
            if !cut.bytes.is_empty() {
                runs.push(cut.bytes);
            }
            if !cut.to_end {
                break;
            }
        }
        Ok(())
    }

    /// The first block at or after the one that contains `from` in which some batch's latest
    /// timestamp is at or after `timestamp`; `None` if the segment has no such block.
    ///
    /// The caller looks for the record in it. Should it find none at or after `from` (a batch keeps
    /// its latest timestamp when compaction takes the record), it asks again from the offset after
    /// the block's last one.
    pub async fn timestamp_lookup(
        &self,
        segment: &SegmentRef,
        timestamp: Timestamp,
        from: Offset,
    ) -> Result<Option<Bytes>, ColdReadError> {
        if from > segment.last_offset {
            return Ok(None);
        }
        let section = self.section(segment).await?;
        let index = &section.index;
        let mut first = index.block_of_offset(from);
        while let Some(block) = first.and_then(|first| index.block_of_timestamp(timestamp, first)) {
            let found = self.shared.load_only(&section, block..block + 1).await?.pop();
            // Where compaction left a hole between two blocks, `from` may lie behind the first one's
            // last batch.
            if found.as_deref().and_then(last_offset_of_run) >= Some(from) {
                return Ok(found);
            }
            first = Some(block + 1);
        }
        Ok(None)
    }

    /// Goes on reading ahead in `segment`, which follows the one that a reader is in. Returns when the
    /// segment's index is there, with what is left for the segment after it, if anything is; drops
    /// the loads when read-ahead is busy.
    pub async fn read_ahead(
        &self,
        segment: &SegmentRef,
        onward: Onward,
    ) -> Result<Option<Onward>, ColdReadError> {
        let section = self.section(segment).await?;
        let plan = self.shared.planner.expect(&section.index, section.key(), onward);
        Ok(self.shared.read_ahead(&section, plan))
    }

    /// What was read so far, and how.
    pub fn stats(&self) -> ColdStats {
        self.shared.counters.read(self.shared.cache.bytes(), self.shared.cache_bytes_max)
    }

    async fn section(&self, segment: &SegmentRef) -> Result<Section, ColdReadError> {
        let index = self.shared.indexes.get(segment).await?;
        Ok(Section { object: segment.object, index })
    }
}

impl Shared {
    /// Loads `blocks`, and reads ahead of them if the reader is going through the section. Returns
    /// the blocks before the first that failed, why it did, and what to read ahead elsewhere.
    async fn load(
        &self,
        reader: ReaderId,
        section: &Section,
        blocks: Range<usize>,
    ) -> (Vec<Bytes>, Option<ColdReadError>, Option<Onward>) {
        let (object, index) = (section.object, &section.index);
        if let Some(load) = self.blocks.missing(reader, object, index, blocks.clone()) {
            self.cache.keep_together(&load).await;
        }
        let asked = self.blocks.ask(object, index, blocks.clone());
        let step = Step { section: section.key(), blocks, missed: asked.missed };
        let onward = self.read_ahead(section, self.planner.observe(index, &step));
        let (loaded, failed) = asked.all().await;
        (loaded, failed, onward)
    }

    /// Starts what was planned. Without room for it nothing is read ahead elsewhere either.
    fn read_ahead(&self, section: &Section, plan: Plan) -> Option<Onward> {
        if let Some(blocks) = plan.blocks
            && !self.blocks.read_ahead(section.object, &section.index, blocks.clone())
        {
            self.planner.take_back(section.key(), &blocks);
            return None;
        }
        plan.onward
    }

    /// Loads `blocks` and takes no note of the reader.
    async fn load_only(
        &self,
        section: &Section,
        blocks: Range<usize>,
    ) -> Result<Vec<Bytes>, ColdReadError> {
        match self.blocks.ask(section.object, &section.index, blocks).all().await {
            (loaded, None) => Ok(loaded),
            (_, Some(error)) => Err(error),
        }
    }
}

impl Section {
    fn key(&self) -> SectionKey {
        (self.object, self.index.summary().position)
    }

    fn block_position(&self, number: usize) -> u64 {
        self.index.blocks().get(number).map_or(0, |block| block.position)
    }
}

/// How far a read has come.
struct Progress {
    wanted: Wanted,
    served: usize,
    next_block: usize,
    stopped: bool,
}

impl Progress {
    /// The blocks to load next: as many as surely fit, or one if that is worth it.
    fn next_step(&self, index: &SectionIndex, bytes_max: u64) -> Option<Range<usize>> {
        let rest = index.blocks().get(self.next_block..)?;
        let next = rest.first()?;
        if self.stopped || next.base_offset > self.wanted.until {
            return None;
        }
        let room = (self.wanted.room as u64).min(bytes_max);
        let mut bytes = 0;
        let fitting = rest.iter().take_while(|block| {
            bytes += block.length;
            bytes <= room && block.base_offset <= self.wanted.until
        });
        match fitting.count() {
            // Half of a block is worth reading only if there is little so far.
            0 if self.served > 0 && self.served >= self.wanted.room => None,
            0 => Some(self.next_block..self.next_block + 1),
            count => Some(self.next_block..self.next_block + count),
        }
    }

    /// Takes note of `bytes` cut out of the next block.
    fn took(&mut self, bytes: usize, to_end: bool) {
        self.served += bytes;
        self.wanted.room = self.wanted.room.saturating_sub(bytes);
        self.wanted.at_least_one &= bytes == 0;
        self.next_block += 1;
        self.stopped = !to_end;
    }
}
