//! Blocks in memory, and blocks on their way there: each is loaded by one task at a time.
//!
//! [`BlockCache::claim`] answers under one lock: here it is, somebody is loading it, or load it
//! yourself. Who is told to load gets a [`Landing`], an obligation that is met even when the
//! loading task panics or is dropped: those who wait are then told that it was abandoned.

use std::collections::HashMap;
use std::sync::Arc;

use antiphon_common::ObjectId;
use bytes::Bytes;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::error::ColdReadError;

/// A block, by its object and where it starts in it.
pub(super) type BlockKey = (ObjectId, u64);

/// What the cache itself takes for one block, charged on top of its bytes: key, value and moka's
/// entry and list nodes; estimated, rounded up.
const ENTRY_OVERHEAD_BYTES: usize = 256;

type Outcome = Option<Result<Bytes, ColdReadError>>;

/// The cache of one cold reader.
#[derive(Debug)]
pub(super) struct BlockCache {
    ready: Cache<BlockKey, Bytes>,
    flights: Mutex<HashMap<BlockKey, watch::Receiver<Outcome>>>,
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
    pub(super) fn new(capacity_bytes: u64) -> Arc<Self> {
        let weigh = |_: &BlockKey, block: &Bytes| {
            u32::try_from(block.len() + ENTRY_OVERHEAD_BYTES).unwrap_or(u32::MAX)
        };
        let ready = Cache::builder()
            .max_capacity(capacity_bytes)
            .weigher(weigh)
            // moka's default admits by past popularity: it would turn away blocks that were read
            // ahead, which nobody has asked for yet.
            .eviction_policy(EvictionPolicy::lru())
            .build();
        Arc::new(Self { ready, flights: Mutex::new(HashMap::new()) })
    }

    /// The block if it is here; does not count as an attempt to load it.
    pub(super) fn get(&self, key: &BlockKey) -> Option<Bytes> {
        self.ready.get(key)
    }

    pub(super) fn claim(self: &Arc<Self>, key: BlockKey) -> Claim {
        let mut flights = self.flights.lock();
        if let Some(flight) = flights.get(&key) {
            return Claim::Flying(Flight(flight.clone()));
        }
        // Looked up under the lock: a loader puts its block here before it takes its flight away,
        // so a block is always in at least one of the two places.
        if let Some(block) = self.ready.get(&key) {
            return Claim::Ready(block);
        }
        let (sender, receiver) = watch::channel(None);
        flights.insert(key, receiver);
        Claim::Load(Landing { cache: Arc::clone(self), key, sender })
    }

    /// Keeps a checked block.
    pub(super) fn insert(&self, key: BlockKey, block: Bytes) {
        self.ready.insert(key, block);
        // moka evicts in batches of up to 64 insertions, which at 1 MiB each would be as much again
        // as the whole default budget.
        self.ready.run_pending_tasks();
    }

    /// Bytes held now.
    pub(super) fn bytes(&self) -> u64 {
        self.ready.run_pending_tasks();
        self.ready.weighted_size()
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
            self.cache.insert(self.key, block.clone());
        }
        self.sender.send_replace(Some(result));
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        // Without an outcome the sender's own end tells those who wait.
        self.cache.flights.lock().remove(&self.key);
    }
}
