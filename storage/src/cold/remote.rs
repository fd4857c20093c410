//! Blocks of a remote store: claimed from the cache, loaded in runs of neighbours by one GET each.

use std::ops::Range;
use std::sync::Arc;

use antiphon_common::ObjectId;
use bytes::Bytes;

use super::block_cache::{BlockCache, Claim, Flight, Landing, Load, Span};
use super::convoy::ReaderId;
use super::error::ColdReadError;
use super::gets::{Gets, ends_the_run};
use super::options::ColdOptions;
use super::stats::Counters;
use crate::object::{BlockEntry, SectionIndex};
use crate::traffic::{TrafficClass, TrafficPermit};

/// Loads blocks with GETs.
#[derive(Debug)]
pub(super) struct RemoteBlocks {
    gets: Arc<Gets>,
    cache: Arc<BlockCache>,
    counters: Arc<Counters>,
    run_bytes_max: u64,
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

    fn end(&self) -> Option<u64> {
        self.blocks.last().and_then(|(block, _)| block.end())
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
    /// Waits for them: those before the first that failed, and why it did.
    pub(super) async fn all(self) -> (Vec<Bytes>, Option<ColdReadError>) {
        let mut blocks = Vec::with_capacity(self.asked.len());
        for asked in self.asked {
            let block = match asked {
                Asked::Here(block) => Ok(block),
                Asked::Coming(flight) => flight.landed().await,
            };
            match block {
                Ok(block) => blocks.push(block),
                Err(error) => return (blocks, Some(error)),
            }
        }
        (blocks, None)
    }
}

impl RemoteBlocks {
    pub(super) fn new(
        gets: Arc<Gets>,
        cache: Arc<BlockCache>,
        counters: Arc<Counters>,
        options: &ColdOptions,
    ) -> Self {
        Self { gets, cache, counters, run_bytes_max: options.readahead_bytes_max }
    }

    /// What of `blocks` has to be loaded, if anything has to.
    pub(super) fn missing(
        &self,
        reader: ReaderId,
        object: ObjectId,
        index: &SectionIndex,
        blocks: Range<usize>,
    ) -> Option<Load> {
        let entries = index.blocks().get(blocks).unwrap_or_default();
        let missing = entries.iter().filter(|e| !self.cache.knows(&(object, e.position)));
        let bytes = missing.clone().map(|entry| entry.length).sum();
        let offset = missing.clone().next()?.base_offset;
        Some(Load { reader, partition: index.summary().partition, offset, bytes })
    }

    /// Asks for `blocks` of a section and starts loading those that nobody is loading yet.
    pub(super) fn ask(
        self: &Arc<Self>,
        object: ObjectId,
        index: &SectionIndex,
        blocks: Range<usize>,
    ) -> AskedBlocks {
        let entries = index.blocks().get(blocks.clone()).unwrap_or_default();
        let (mut asked, mut missing) = (Vec::with_capacity(entries.len()), Vec::new());
        for (number, entry) in blocks.zip(entries) {
            let span = span_of(index, number, entry);
            asked.push(match self.cache.claim((object, entry.position), span) {
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

    /// Loads `blocks` of a section in the background if read-ahead has slots and bytes free, and does
    /// not run away from readers who share the cache. Says whether it does.
    pub(super) fn read_ahead(
        self: &Arc<Self>,
        object: ObjectId,
        index: &SectionIndex,
        blocks: Range<usize>,
    ) -> bool {
        let entries = index.blocks().get(blocks.clone()).unwrap_or_default();
        let absent = |entry: &&BlockEntry| !self.cache.knows(&(object, entry.position));
        let bytes = entries.iter().filter(absent).map(|entry| entry.length).sum();
        let partition = index.summary().partition;
        // Behind a gap, which earlier read-ahead without room left, a block would be evicted before
        // its reader comes to it.
        let before = blocks.start.checked_sub(1).and_then(|number| index.blocks().get(number));
        let gap = before.is_some_and(|entry| !self.cache.knows(&(object, entry.position)));
        let too_far =
            |first: &BlockEntry| self.cache.is_too_far_ahead(partition, first.base_offset, bytes);
        // Permits first: from the moment a block is claimed others may wait for it, and they must
        // not be made to wait for a queue.
        let permit = match gap || entries.first().is_some_and(too_far) {
            true => None,
            false => self.gets.traffic().try_admit(TrafficClass::ReadAhead, bytes),
        };
        let Some(permit) = permit else {
            self.counters.readahead_skips.add(1);
            return false;
        };
        let claims = blocks.zip(entries).map(|(number, entry)| {
            (entry, self.cache.claim((object, entry.position), span_of(index, number, entry)))
        });
        let missing = claims.filter_map(|(entry, claim)| match claim {
            Claim::Load(landing) => Some((*entry, landing)),
            Claim::Ready(_) | Claim::Flying(_) => None,
        });
        let runs = runs_of(object, missing.collect(), self.run_bytes_max);
        if !runs.is_empty() {
            tokio::spawn(Arc::clone(self).load_ahead(runs, permit));
        }
        true
    }

    async fn load_on_demand(self: Arc<Self>, run: Run) {
        let _permit = self.gets.traffic().admit(TrafficClass::Demand, run.bytes()).await;
        self.counters.gets.add(1);
        self.counters.get_bytes.add(run.bytes());
        self.load(run).await;
    }

    async fn load_ahead(self: Arc<Self>, runs: Vec<Run>, _permit: TrafficPermit) {
        for run in runs {
            self.counters.readahead_gets.add(1);
            self.counters.readahead_bytes.add(run.bytes());
            self.load(run).await;
        }
    }

    /// One GET, or two; each block lands as soon as it is complete.
    async fn load(&self, run: Run) {
        let object = run.object;
        let mut get = self.gets.blocks(object, run.blocks.iter().map(|(block, _)| *block));
        let mut blocks = run.blocks.into_iter();
        while let Some((_, landing)) = blocks.next() {
            let result = get.next().await;
            let failed = result.as_ref().err().filter(|error| ends_the_run(error)).cloned();
            landing.land(result);
            if let Some(error) = failed {
                return Run { object, blocks: blocks.collect() }.fail(&error);
            }
        }
    }
}

/// What a block covers: up to where the next one begins, so that neighbours are known as such even
/// where compaction left holes.
pub(super) fn span_of(index: &SectionIndex, number: usize, entry: &BlockEntry) -> Span {
    let next = index.blocks().get(number + 1);
    let last = next.map_or(index.summary().last_offset, |next| next.base_offset.prev());
    let partition = index.summary().partition;
    Span { partition, first: entry.base_offset, last, bytes: entry.length }
}

/// Divides blocks into runs of neighbours of at most `bytes_max`, or of one block.
fn runs_of(object: ObjectId, blocks: Vec<(BlockEntry, Landing)>, bytes_max: u64) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (block, landing) in blocks {
        let joins = runs.last().is_some_and(|run| {
            run.end() == Some(block.position) && run.bytes() + block.length <= bytes_max
        });
        match runs.last_mut().filter(|_| joins) {
            Some(run) => run.blocks.push((block, landing)),
            None => runs.push(Run { object, blocks: vec![(block, landing)] }),
        }
    }
    runs
}
