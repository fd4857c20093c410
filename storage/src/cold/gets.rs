//! GETs: admitted by class, sent a second time when slow, counted. A local folder answers by file.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use antiphon_common::ObjectId;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::{GetOptions, GetRange, ObjectStore};
use tokio::time::Instant;

use super::error::{BlockFault, ColdReadError};
use super::files::Files;
use super::hedge::{HedgePermit, Hedging};
use super::stats::Counters;
use crate::object::{BlockEntry, crc32c};
use crate::store::{Store, object_path};
use crate::traffic::{Traffic, TrafficClass, TrafficPermit};

/// Where GETs go.
#[derive(Debug)]
pub(super) struct Gets {
    store: Arc<dyn ObjectStore>,
    /// Set if the store is a local folder.
    files: Option<Files>,
    traffic: Arc<Traffic>,
    hedging: Hedging,
    counters: Arc<Counters>,
}

type Blocks = BoxStream<'static, Result<Bytes, ColdReadError>>;

/// The second request for what a first one is slow with.
struct Second<'a> {
    blocks: Blocks,
    _permits: (HedgePermit<'a>, TrafficPermit),
}

/// A GET that brings neighbouring blocks, each as soon as it is complete.
pub(super) struct BlocksGet<'a> {
    gets: &'a Gets,
    object: ObjectId,
    /// The blocks that have not come yet.
    rest: VecDeque<BlockEntry>,
    bytes: u64,
    first: Blocks,
    second: Option<Second<'a>>,
    began: Instant,
    /// When the first request will have been slow; `None` when that has been dealt with.
    slow_at: Option<Instant>,
}

impl Gets {
    pub(super) fn new(
        store: &Store,
        traffic: Arc<Traffic>,
        hedge: bool,
        counters: Arc<Counters>,
    ) -> Self {
        let files = store.local_files().map(|folder| Files::new(Arc::clone(folder)));
        let hedging = Hedging::new(hedge && files.is_none());
        Self { store: Arc::clone(&store.history), files, traffic, hedging, counters }
    }

    pub(super) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Begins a GET of neighbouring `blocks`. The caller holds a permit for it.
    pub(super) fn blocks(
        &self,
        object: ObjectId,
        blocks: impl Iterator<Item = BlockEntry>,
    ) -> BlocksGet<'_> {
        let rest: VecDeque<BlockEntry> = blocks.collect();
        let bytes = rest.iter().map(|block| block.length).sum();
        let began = Instant::now();
        BlocksGet {
            first: self.send(object, &rest),
            slow_at: self.hedging.patience(bytes).map(|patience| began + patience),
            gets: self,
            object,
            rest,
            bytes,
            second: None,
            began,
        }
    }

    fn send(&self, object: ObjectId, blocks: &VecDeque<BlockEntry>) -> Blocks {
        let end = blocks.back().and_then(BlockEntry::end);
        let Some((first, end)) = blocks.front().zip(end) else { return stream::empty().boxed() };
        if let Some(files) = &self.files {
            return files.blocks(object, blocks.iter().copied().collect());
        }
        let answer = Answer {
            store: Arc::clone(&self.store),
            object,
            range: first.position..end,
            blocks: blocks.iter().copied().collect::<Vec<_>>().into_iter(),
            body: None,
        };
        stream::unfold(Some(answer), Answer::next).boxed()
    }

    /// A permit for a second request of `bytes`, if one is due and everything has room for it.
    fn second_permits(&self, bytes: u64) -> Option<(HedgePermit<'_>, TrafficPermit)> {
        let hedge = self.hedging.permit()?;
        let traffic = self.traffic.try_admit(TrafficClass::Demand, bytes)?;
        self.counters.hedges.add(1);
        Some((hedge, traffic))
    }

    /// Loads one range as a whole, on demand.
    pub(super) async fn range(
        &self,
        object: ObjectId,
        range: Range<u64>,
    ) -> Result<Bytes, ColdReadError> {
        let bytes = range.end.saturating_sub(range.start);
        let _permit = self.traffic.admit(TrafficClass::Demand, bytes).await;
        let began = Instant::now();
        let first = self.get_range(object, range.clone());
        tokio::pin!(first);
        let answer = match self.hedging.patience(bytes) {
            None => first.await,
            Some(patience) => match tokio::time::timeout(patience, &mut first).await {
                Ok(answer) => answer,
                Err(_slow) => match self.second_permits(bytes) {
                    None => first.await,
                    Some(_permits) => {
                        let second = self.get_range(object, range);
                        tokio::pin!(second);
                        self.first_of(first, second).await
                    }
                },
            },
        };
        self.hedging.took(bytes, began.elapsed());
        answer
    }

    /// The first good answer of two; an error only when both fail.
    async fn first_of(
        &self,
        mut first: impl Future<Output = Result<Bytes, ColdReadError>> + Unpin,
        mut second: impl Future<Output = Result<Bytes, ColdReadError>> + Unpin,
    ) -> Result<Bytes, ColdReadError> {
        tokio::select! {
            answer = &mut first => match answer {
                Ok(bytes) => Ok(bytes),
                Err(_) => second.await,
            },
            answer = &mut second => match answer {
                Ok(bytes) => {
                    self.counters.hedges_won.add(1);
                    Ok(bytes)
                }
                Err(_) => first.await,
            },
        }
    }

    async fn get_range(&self, object: ObjectId, range: Range<u64>) -> Result<Bytes, ColdReadError> {
        let (start, path) = (range.start, object_path(object));
        let options = GetOptions { range: Some(GetRange::Bounded(range)), ..Default::default() };
        let failed = |error| store_error(object, start, error);
        let answer = self.store.get_opts(&path, options).await.map_err(failed)?;
        answer.bytes().await.map_err(failed)
    }
}

impl BlocksGet<'_> {
    /// The next block. Whichever request has it first goes on alone.
    pub(super) async fn next(&mut self) -> Result<Bytes, ColdReadError> {
        let block = loop {
            if let Some(block) = self.race().await {
                break block.unwrap_or(Err(ColdReadError::Abandoned));
            }
        };
        self.rest.pop_front();
        if self.rest.is_empty() && block.is_ok() {
            self.gets.hedging.took(self.bytes, self.began.elapsed());
        }
        block
    }

    /// `None` means: look again, something has changed.
    async fn race(&mut self) -> Option<Option<Result<Bytes, ColdReadError>>> {
        let slow_at = self.slow_at.filter(|_| self.second.is_none());
        tokio::select! {
            biased;
            block = self.first.next() => self.first_answered(block),
            block = next_of(&mut self.second) => self.second_answered(block),
            () = sleep_until(slow_at) => {
                self.send_again();
                None
            }
        }
    }

    fn first_answered(
        &mut self,
        block: Option<Result<Bytes, ColdReadError>>,
    ) -> Option<Option<Result<Bytes, ColdReadError>>> {
        let second = self.second.take();
        match (&block, second) {
            (Some(Ok(_)), _) | (_, None) => Some(block),
            (_, Some(second)) => {
                self.first = second.blocks;
                None
            }
        }
    }

    fn second_answered(
        &mut self,
        block: Option<Result<Bytes, ColdReadError>>,
    ) -> Option<Option<Result<Bytes, ColdReadError>>> {
        let second = self.second.take()?;
        let Some(Ok(block)) = block else { return None };
        self.first = second.blocks;
        self.gets.counters.hedges_won.add(1);
        Some(Some(Ok(block)))
    }

    fn send_again(&mut self) {
        self.slow_at = None;
        let bytes = self.rest.iter().map(|block| block.length).sum();
        self.second = self.gets.second_permits(bytes).map(|permits| Second {
            blocks: self.gets.send(self.object, &self.rest),
            _permits: permits,
        });
    }
}

async fn next_of(second: &mut Option<Second<'_>>) -> Option<Result<Bytes, ColdReadError>> {
    match second {
        Some(second) => second.blocks.next().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// The answer to one GET, taken block by block. Every block gets memory of its own: a slice of the
/// whole answer would keep all of it alive for as long as one block is cached.
struct Answer {
    store: Arc<dyn ObjectStore>,
    object: ObjectId,
    range: Range<u64>,
    blocks: std::vec::IntoIter<BlockEntry>,
    body: Option<Body>,
}

struct Body {
    stream: BoxStream<'static, object_store::Result<Bytes>>,
    left_over: Bytes,
}

impl Answer {
    async fn next(this: Option<Self>) -> Option<(Result<Bytes, ColdReadError>, Option<Self>)> {
        let mut this = this?;
        let block = this.blocks.next()?;
        let result = this.take_block(&block).await;
        let over = result.as_ref().err().is_some_and(ends_the_run);
        Some((result, (!over).then_some(this)))
    }

    async fn take_block(&mut self, block: &BlockEntry) -> Result<Bytes, ColdReadError> {
        let object = self.object;
        let bytes = self.body().await?.take(object, block).await?;
        check_block(object, block, &bytes)?;
        Ok(bytes)
    }

    async fn body(&mut self) -> Result<&mut Body, ColdReadError> {
        let body = match self.body.take() {
            Some(body) => body,
            None => {
                let range = Some(GetRange::Bounded(self.range.clone()));
                let options = GetOptions { range, ..Default::default() };
                let answer = self.store.get_opts(&object_path(self.object), options).await;
                let failed = |error| store_error(self.object, self.range.start, error);
                let stream = answer.map_err(failed)?.into_stream();
                Body { stream, left_over: Bytes::new() }
            }
        };
        Ok(self.body.insert(body))
    }
}

impl Body {
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

/// A damaged block says nothing about the ones after it; a broken stream does.
pub(super) fn ends_the_run(error: &ColdReadError) -> bool {
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
