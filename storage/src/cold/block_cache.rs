//! Blocks in memory, and blocks on their way there: each is loaded by one task at a time.
//!
//! [`BlockCache::claim`] answers under one lock: here it is, somebody is loading it, or load it
//! yourself. Who is told to load gets a [`Landing`], an obligation that is met even when the
//! loading task panics or is dropped: those who wait are then told that it was abandoned.
//!
//! The least recently used block goes first, except that blocks which a reader on its way through
//! them has still to come to stay as long as there are others; see [`super::convoy`].

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use antiphon_common::{ObjectId, Offset, PartitionId};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::convoy::{ReaderId, Readers};
use super::error::ColdReadError;

/// A block, by its object and where it starts in it.
pub(super) type BlockKey = (ObjectId, u64);

/// What a block covers of its partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) partition: PartitionId,
    pub(super) first: Offset,
    pub(super) last: Offset,
    /// Its length.
    pub(super) bytes: u64,
}

/// What a reader is about to load.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) reader: ReaderId,
    pub(super) partition: PartitionId,
    /// Where it starts, and how long it is.
    pub(super) offset: Offset,
    pub(super) bytes: u64,
}

/// What the cache itself takes for one block, charged on top of its bytes: key, value and its nodes
/// in three maps; estimated, rounded up.
const ENTRY_OVERHEAD_BYTES: u64 = 384;

/// How long to wait for others before looking whether they still read.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

type Outcome = Option<Result<Bytes, ColdReadError>>;

/// The cache of one cold reader.
#[derive(Debug)]
pub(super) struct BlockCache {
    held: Mutex<Held>,
    capacity: u64,
    /// Rung when a reader has moved and somebody waits for that.
    progress: Notify,
    waiting: AtomicUsize,
}

#[derive(Debug, Default)]
struct Held {
    blocks: HashMap<BlockKey, Entry>,
    by_use: BTreeMap<u64, BlockKey>,
    /// Blocks that are here and those that are on their way.
    by_span: BTreeMap<(PartitionId, Offset), (BlockKey, Span)>,
    flights: HashMap<BlockKey, watch::Receiver<Outcome>>,
    readers: Readers,
    bytes: u64,
    uses: u64,
}

#[derive(Debug)]
struct Entry {
    block: Bytes,
    span: Span,
    used: u64,
}

impl Entry {
    fn cost(&self) -> u64 {
        self.block.len() as u64 + ENTRY_OVERHEAD_BYTES
    }
}

/// The answer to a claim.
#[derive(Debug)]
pub(super) enum Claim {
    /// The block, checked.
    Ready(Bytes),
    /// Somebody is loading it.
    Flying(Flight),
    /// It is ours to load.
    Load(Landing),
}

impl BlockCache {
    pub(super) fn new(capacity: u64) -> Arc<Self> {
        Arc::new(Self {
            held: Mutex::default(),
            capacity,
            progress: Notify::new(),
            waiting: AtomicUsize::new(0),
        })
    }

    /// Whether the block is here or on its way.
    pub(super) fn knows(&self, key: &BlockKey) -> bool {
        let held = self.held.lock();
        held.blocks.contains_key(key) || held.flights.contains_key(key)
    }

    pub(super) fn claim(self: &Arc<Self>, key: BlockKey, span: Span) -> Claim {
        let mut held = self.held.lock();
        if let Some(flight) = held.flights.get(&key) {
            return Claim::Flying(Flight(flight.clone()));
        }
        // Looked up under the lock: a loader puts its block here before it takes its flight away,
        // so a block is always in at least one of the two places.
        if let Some(block) = held.take_note_of_use(&key) {
            return Claim::Ready(block);
        }
        let (sender, receiver) = watch::channel(None);
        held.flights.insert(key, receiver);
        held.by_span.insert((span.partition, span.first), (key, span));
        Claim::Load(Landing { cache: Arc::clone(self), key, span, sender })
    }

    /// Keeps a checked block.
    pub(super) fn insert(&self, key: BlockKey, span: Span, block: Bytes) {
        let mut held = self.held.lock();
        held.remove(&key);
        held.uses += 1;
        let entry = Entry { block, span, used: held.uses };
        held.bytes += entry.cost();
        held.by_use.insert(entry.used, key);
        held.by_span.insert((span.partition, span.first), (key, span));
        held.blocks.insert(key, entry);
        held.evict_down_to(self.capacity);
    }

    /// Bytes held now.
    pub(super) fn bytes(&self) -> u64 {
        self.held.lock().bytes
    }

    /// Takes note of where a reader is.
    pub(super) fn reader_is_at(&self, reader: ReaderId, partition: PartitionId, offset: Offset) {
        if reader == ReaderId::NOBODY {
            return;
        }
        self.held.lock().readers.is_at(reader, partition, offset, Instant::now());
        if self.waiting.load(Ordering::Relaxed) > 0 {
            self.progress.notify_waiters();
        }
    }

    /// Whether whoever loads `bytes` from `offset` on gets further ahead of the readers behind it
    /// than the cache reaches.
    pub(super) fn is_too_far_ahead(
        &self,
        partition: PartitionId,
        offset: Offset,
        bytes: u64,
    ) -> bool {
        let load = Load { reader: ReaderId::NOBODY, partition, offset, bytes };
        self.held.lock().straggler(self.capacity, &load).is_some()
    }

    /// Before `load`, of blocks that nobody has loaded: waits for the readers behind it, as the
    /// convoy's rules say.
    pub(super) async fn keep_together(&self, load: &Load) {
        let Load { reader, partition, .. } = *load;
        if reader == ReaderId::NOBODY {
            return;
        }
        let _waiting = Counted::one_more(&self.waiting);
        loop {
            let moved = self.progress.notified();
            let credit = {
                let mut held = self.held.lock();
                let slowest = held.straggler(self.capacity, load);
                let Some(slowest) = slowest else { return };
                let credit = held.readers.credit(reader, partition);
                if credit.is_zero() {
                    return held.readers.leave_behind(slowest, partition, Instant::now());
                }
                credit
            };
            let began = Instant::now();
            // Whether somebody moved, stopped reading or the credit is used up, the next look decides.
            let _either = tokio::time::timeout(credit.min(LOOK_AGAIN), moved).await;
            let now = Instant::now();
            self.held.lock().readers.has_waited(reader, partition, now - began, now);
        }
    }
}

impl Held {
    fn take_note_of_use(&mut self, key: &BlockKey) -> Option<Bytes> {
        let entry = self.blocks.get_mut(key)?;
        self.uses += 1;
        self.by_use.remove(&entry.used);
        entry.used = self.uses;
        self.by_use.insert(entry.used, *key);
        Some(entry.block.clone())
    }

    fn remove(&mut self, key: &BlockKey) {
        if let Some(entry) = self.blocks.remove(key) {
            self.bytes -= entry.cost();
            self.by_use.remove(&entry.used);
            self.by_span.remove(&(entry.span.partition, entry.span.first));
        }
    }

    fn evict_down_to(&mut self, capacity: u64) {
        if self.bytes <= capacity {
            return;
        }
        let needed = self.needed();
        let idle = self.by_use.values().filter(|key| !needed.contains_key(*key)).copied();
        let mut order: Vec<BlockKey> = idle.collect();
        // Then what is needed latest, counted in blocks.
        let mut in_use: Vec<(BlockKey, usize)> = needed.into_iter().collect();
        in_use.sort_unstable_by_key(|(_, distance)| std::cmp::Reverse(*distance));
        order.extend(in_use.into_iter().map(|(key, _)| key));
        for key in order {
            if self.bytes <= capacity {
                break;
            }
            self.remove(&key);
        }
    }

    /// The blocks that a reader will come to without loading anything, which are those at or after
    /// its place in the same unbroken run; and how many blocks it has to go until then.
    fn needed(&self) -> HashMap<BlockKey, usize> {
        let now = Instant::now();
        let mut needed = HashMap::new();
        let mut run: Option<Span> = None;
        let mut readers: Vec<Offset> = Vec::new();
        let mut distance = None;
        for (key, span) in self.by_span.values() {
            if run.is_none_or(|before| before.partition != span.partition) {
                readers = self.readers.places(span.partition, now).map(|(_, at)| at).collect();
            }
            let goes_on = run.is_some_and(|before| follows(&before, span));
            distance = distance.filter(|_| goes_on).map(|blocks: usize| blocks + 1);
            if readers.iter().any(|at| (span.first..=span.last).contains(at)) {
                distance = Some(0);
            }
            if let Some(distance) = distance {
                needed.insert(*key, distance);
            }
            run = Some(*span);
        }
        needed
    }

    /// A reader that goes through the run of blocks which ends right before `load`, if it is so far
    /// back that the way from there takes more than its share of the cache.
    fn straggler(&self, capacity: u64, load: &Load) -> Option<ReaderId> {
        let now = Instant::now();
        // A quarter is for what is read ahead.
        let share = capacity / 4 * 3 / self.readers.partitions(now);
        let places = self.readers.places(load.partition, now);
        let others: Vec<_> = places.filter(|(other, _)| *other != load.reader).collect();
        let mut way_bytes = load.bytes;
        let mut next = load.offset;
        let before = (load.partition, Offset(i64::MIN))..(load.partition, load.offset);
        for (_, span) in self.by_span.range(before).rev().map(|(_, entry)| entry) {
            if span.last.next() != next {
                return None;
            }
            way_bytes += span.bytes;
            next = span.first;
            let mut here = others.iter().filter(|(_, at)| (span.first..=span.last).contains(at));
            if way_bytes > share
                && let Some((slowest, _)) = here.next()
            {
                return Some(*slowest);
            }
        }
        None
    }
}

fn follows(before: &Span, span: &Span) -> bool {
    before.partition == span.partition && before.last.next() == span.first
}

/// One more in a count for as long as this lives.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn one_more(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A load that is under way.
#[derive(Debug)]
pub(super) struct Flight(watch::Receiver<Outcome>);

impl Flight {
    /// Waits for the load to end.
    pub(super) async fn landed(mut self) -> Result<Bytes, ColdReadError> {
        match self.0.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or(Err(ColdReadError::Abandoned)),
            Err(_sender_gone) => Err(ColdReadError::Abandoned),
        }
    }
}

/// The obligation to load one block.
#[derive(Debug)]
pub(super) struct Landing {
    cache: Arc<BlockCache>,
    key: BlockKey,
    span: Span,
    sender: watch::Sender<Outcome>,
}

impl Landing {
    /// A way to wait for the block for whoever hands the obligation on.
    pub(super) fn flight(&self) -> Flight {
        Flight(self.sender.subscribe())
    }

    /// Meets the obligation: keeps the block if there is one, and tells those who wait.
    pub(super) fn land(self, result: Result<Bytes, ColdReadError>) {
        if let Ok(block) = &result {
            self.cache.insert(self.key, self.span, block.clone());
        }
        self.sender.send_replace(Some(result));
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        // Without an outcome the sender's own end tells those who wait.
        let mut held = self.cache.held.lock();
        held.flights.remove(&self.key);
        if !held.blocks.contains_key(&self.key) {
            held.by_span.remove(&(self.span.partition, self.span.first));
        }
    }
}
