//! Blocks of a remote store: claimed from the cache, loaded in runs of neighbours by one GET each.

use std::ops::Range;
use std::sync::Arc;

use antiphon_common::ObjectId;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::{GetOptions, GetRange, ObjectStore};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::block_cache::{BlockCache, Claim, Flight, Landing};
use super::error::{BlockFault, ColdReadError};
use super::options::ColdOptions;
use super::stats::Counters;
use crate::object::{BlockEntry, SectionIndex, crc32c};
use crate::store::object_path;

/// Semaphores count permits of one KiB, so that any budget fits into their 32-bit requests.
const PERMIT_BYTES: u64 = 1 << 10;

/// Loads blocks with GETs.
#[derive(Debug)]
pub(super) struct RemoteBlocks {
    store: Arc<dyn ObjectStore>,
    cache: Arc<BlockCache>,
    counters: Arc<Counters>,
    demand: Lane,
    ahead: Lane,
    run_bytes_max: u64,
}

/// What one class of loads may have in flight: GETs, and bytes.
#[derive(Clone, Debug)]
struct Lane {
    slots: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    permits: u32,
}

/// Held while a GET runs.
type LanePermits = (OwnedSemaphorePermit, OwnedSemaphorePermit);

impl Lane {
    fn new(slots: usize, bytes: u64) -> Self {
        let permits = u32::try_from(bytes / PERMIT_BYTES).unwrap_or(u32::MAX).max(1);
        let bytes = Arc::new(Semaphore::new(permits as usize));
        Self { slots: Arc::new(Semaphore::new(slots.max(1))), bytes, permits }
    }

    /// A run longer than the whole lane takes all of it rather than waiting for ever.
    fn permits_for(&self, bytes: u64) -> u32 {
        u32::try_from(bytes.div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX).min(self.permits)
    }

    async fn enter(&self, bytes: u64) -> Option<LanePermits> {
        let slot = Arc::clone(&self.slots).acquire_owned().await.ok()?;
        let permits = self.permits_for(bytes);
        let bytes = Arc::clone(&self.bytes).acquire_many_owned(permits).await.ok()?;
        Some((slot, bytes))
    }

    fn try_enter(&self, bytes: u64) -> Option<LanePermits> {
        let slot = Arc::clone(&self.slots).try_acquire_owned().ok()?;
        let permits = self.permits_for(bytes);
        let bytes = Arc::clone(&self.bytes).try_acquire_many_owned(permits).ok()?;
        Some((slot, bytes))
    }
}

/// Neighbouring blocks that one GET brings.
#[derive(Debug)]
struct Run {
    object: ObjectId,
    blocks: Vec<(BlockEntry, Landing)>,
}

impl Run {
    fn bytes(&self) -> u64 {
        self.blocks.iter().map(|(block, _)| block.length).sum()
    }

    fn range(&self) -> Option<Range<u64>> {
        let (first, _) = self.blocks.first()?;
        let (last, _) = self.blocks.last()?;
        Some(first.position..last.end()?)
    }

    fn fail(self, error: &ColdReadError) {
        self.blocks.into_iter().for_each(|(_, landing)| landing.land(Err(error.clone())));
    }
}

/// A block that was asked for: here already, or to be waited for.
#[derive(Debug)]
enum Asked {
    Here(Bytes),
    Coming(Flight),
}

/// Blocks that were asked for, in order. Loads for them are running already.
#[derive(Debug)]
pub(super) struct AskedBlocks {
    asked: Vec<Asked>,
    /// Whether any of them had to be loaded by this call.
    pub(super) missed: bool,
}

impl AskedBlocks {
    /// Waits for all of them.
    pub(super) async fn all(self) -> Result<Vec<Bytes>, ColdReadError> {
        let mut blocks = Vec::with_capacity(self.asked.len());
        for asked in self.asked {
            blocks.push(match asked {
                Asked::Here(block) => block,
                Asked::Coming(flight) => flight.landed().await?,
            });
        }
        Ok(blocks)
    }
}

impl RemoteBlocks {
    pub(super) fn new(
        store: Arc<dyn ObjectStore>,
        cache: Arc<BlockCache>,
        counters: Arc<Counters>,
        options: &ColdOptions,
    ) -> Self {
        Self {
            store,
            cache,
            counters,
            demand: Lane::new(options.concurrency, options.demand_bytes_in_flight()),
            ahead: Lane::new(options.readahead_concurrency, options.readahead_bytes_in_flight()),
            run_bytes_max: options.readahead_bytes_max,
        }
    }

    /// Asks for `blocks` of a section and starts loading those that nobody is loading yet.
    pub(super) fn ask(
        self: &Arc<Self>,
        object: ObjectId,
        index: &SectionIndex,
        blocks: Range<usize>,
    ) -> AskedBlocks {
        let entries = index.blocks().get(blocks).unwrap_or_default();
        let (mut asked, mut missing) = (Vec::with_capacity(entries.len()), Vec::new());
        for entry in entries {
            asked.push(match self.cache.claim((object, entry.position)) {
                Claim::Ready(block) => Asked::Here(block),
                Claim::Flying(flight) => Asked::Coming(flight),
                Claim::Load(landing) => {
                    let flight = landing.flight();
                    missing.push((*entry, landing));
                    Asked::Coming(flight)
                }
            });
        }
        self.count(&asked, missing.len());
        let missed = !missing.is_empty();
        for run in runs_of(object, missing, self.run_bytes_max) {
            tokio::spawn(Arc::clone(self).load_on_demand(run));
        }
        AskedBlocks { asked, missed }
    }

    fn count(&self, asked: &[Asked], misses: usize) {
        let hits = asked.iter().filter(|asked| matches!(asked, Asked::Here(_))).count();
        self.counters.hits.add(hits as u64);
        self.counters.misses.add(misses as u64);
        self.counters.joins.add((asked.len() - hits - misses) as u64);
    }

    /// Loads `blocks` of a section in the background, as far as read-ahead has slots and bytes
    /// free.
    pub(super) fn read_ahead(
        self: &Arc<Self>,
        object: ObjectId,
        index: &SectionIndex,
        blocks: Range<usize>,
    ) {
        let entries = index.blocks().get(blocks).unwrap_or_default();
        let absent = |entry: &&BlockEntry| self.cache.get(&(object, entry.position)).is_none();
        let bytes = entries.iter().filter(absent).map(|entry| entry.length).sum();
        // Permits first: from the moment a block is claimed others may wait for it, and they must
        // not be made to wait for a queue.
        let Some(permits) = self.ahead.try_enter(bytes) else {
            return self.counters.readahead_skips.add(1);
        };
        let claims =
            entries.iter().map(|entry| (entry, self.cache.claim((object, entry.position))));
        let missing = claims.filter_map(|(entry, claim)| match claim {
            Claim::Load(landing) => Some((*entry, landing)),
            Claim::Ready(_) | Claim::Flying(_) => None,
        });
        let runs = runs_of(object, missing.collect(), self.run_bytes_max);
        if !runs.is_empty() {
            tokio::spawn(Arc::clone(self).load_ahead(runs, permits));
        }
    }

    async fn load_on_demand(self: Arc<Self>, run: Run) {
        let Some(_permits) = self.demand.enter(run.bytes()).await else {
            return run.fail(&ColdReadError::Abandoned);
        };
        self.counters.gets.add(1);
        self.counters.get_bytes.add(run.bytes());
        self.load(run).await;
    }

    async fn load_ahead(self: Arc<Self>, runs: Vec<Run>, _permits: LanePermits) {
        for run in runs {
            self.counters.readahead_gets.add(1);
            self.counters.readahead_bytes.add(run.bytes());
            self.load(run).await;
        }
    }

    /// One GET; each block lands as soon as it is complete.
    async fn load(&self, run: Run) {
        let object = run.object;
        let Some(range) = run.range() else { return };
        let options = GetOptions { range: Some(GetRange::Bounded(range)), ..Default::default() };
        let answer = match self.store.get_opts(&object_path(object), options).await {
            Ok(answer) => answer,
            Err(error) => {
                let position = run.blocks.first().map_or(0, |(block, _)| block.position);
                return run.fail(&store_error(object, position, error));
            }
        };
        let mut body = Body { stream: answer.into_stream(), left_over: Bytes::new() };
        let mut blocks = run.blocks.into_iter();
        while let Some((block, landing)) = blocks.next() {
            let result = body.take_block(object, &block).await;
            let failed = result.as_ref().err().filter(|error| ends_the_run(error)).cloned();
            landing.land(result);
            if let Some(error) = failed {
                return Run { object, blocks: blocks.collect() }.fail(&error);
            }
        }
    }
}

/// A damaged block says nothing about the ones after it; a broken stream does.
fn ends_the_run(error: &ColdReadError) -> bool {
    let damaged = matches!(
        error,
        ColdReadError::Corrupt {
            fault: BlockFault::Checksum { .. } | BlockFault::Batch { .. },
            ..
        }
    );
    !damaged
}

fn store_error(object: ObjectId, position: u64, error: object_store::Error) -> ColdReadError {
    ColdReadError::Store { object, position, source: Arc::new(error) }
}

/// Divides blocks into runs of neighbours of at most `bytes_max`, or of one block.
fn runs_of(object: ObjectId, blocks: Vec<(BlockEntry, Landing)>, bytes_max: u64) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (block, landing) in blocks {
        let joins = runs.last().is_some_and(|run| {
            let end = run.range().map(|range| range.end);
            end == Some(block.position) && run.bytes() + block.length <= bytes_max
        });
        match runs.last_mut().filter(|_| joins) {
            Some(run) => run.blocks.push((block, landing)),
            None => runs.push(Run { object, blocks: vec![(block, landing)] }),
        }
    }
    runs
}

/// The body of a GET, taken block by block. Every block gets memory of its own: a slice of the
/// whole answer would keep all of it alive for as long as one block is cached.
struct Body {
    stream: BoxStream<'static, object_store::Result<Bytes>>,
    left_over: Bytes,
}

impl Body {
    async fn take_block(
        &mut self,
        object: ObjectId,
        block: &BlockEntry,
    ) -> Result<Bytes, ColdReadError> {
        let bytes = self.take(object, block).await?;
        check_block(object, block, &bytes)?;
        Ok(bytes)
    }

    async fn take(&mut self, object: ObjectId, block: &BlockEntry) -> Result<Bytes, ColdReadError> {
        let length = block.length as usize;
        let mut bytes = BytesMut::with_capacity(length);
        loop {
            let missing = length - bytes.len();
            bytes.extend_from_slice(&self.left_over.split_to(missing.min(self.left_over.len())));
            if bytes.len() == length {
                return Ok(bytes.freeze());
            }
            self.left_over = match self.stream.next().await {
                Some(Ok(chunk)) => chunk,
                Some(Err(error)) => return Err(store_error(object, block.position, error)),
                None => return Err(short(object, block, bytes.len() as u64)),
            };
        }
    }
}

/// Checks that `bytes` are what was written as `block`.
pub(super) fn check_block(
    object: ObjectId,
    block: &BlockEntry,
    bytes: &[u8],
) -> Result<(), ColdReadError> {
    if bytes.len() as u64 != block.length {
        return Err(short(object, block, bytes.len() as u64));
    }
    let (expected, found) = (block.crc, crc32c(bytes));
    if expected != found {
        let fault = BlockFault::Checksum { expected, found };
        return Err(ColdReadError::Corrupt { object, position: block.position, fault });
    }
    Ok(())
}

fn short(object: ObjectId, block: &BlockEntry, found: u64) -> ColdReadError {
    let fault = BlockFault::Short { expected: block.length, found };
    ColdReadError::Corrupt { object, position: block.position, fault }
}
