//! Who may use the store, how much at a time and how fast: the classes of traffic and their order.
//!
//! ```text
//!   class        slots   bytes in flight   pace (bytes a second)
//!   Upload         own         own         while live traffic flows: twice what it appends
//!   Demand         own         own         the operator's limit, if there is one
//!   Compaction   shared        own         while producers or consumers are busy: the background rate
//!   ReadAhead    shared        own         the operator's limit; goes only where nothing waits
//! ```
//!
//! Each class has slots (requests in flight) and bytes in flight of its own, so that none can use up
//! what another needs. Compaction (merges included) and read-ahead also share a pool of slots in
//! which read-ahead never overtakes compaction. Uploads and compaction are slowed down, never
//! stopped, while producers are at work: a store that falls behind its producers ends in a full
//! tail, and then producers wait.
//!
//! The write-ahead log and the catalog do not pass here: they are what acknowledgements and commits
//! wait for, and are small.
//!
//! Neighbours: [`crate::cold`] asks for `Demand` and `ReadAhead`; flushes for `Upload`; whatever
//! rewrites history for `Compaction`.

mod lane;
mod live;
mod pace;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::cold::ColdOptions;
use lane::{Lane, LanePermit};
use live::LiveRate;
use pace::Pace;

pub use lane::ClassStats;

/// The slowest that uploads are made while live traffic flows, in bytes a second.
const UPLOAD_RATE_MIN: u64 = 64 << 20;
/// Uploads in flight; what they hold is the tail's memory.
const UPLOADS_IN_FLIGHT: usize = 4;
/// Compaction's requests in flight, and their bytes.
const COMPACTION_IN_FLIGHT: usize = 4;
const COMPACTION_BYTES_IN_FLIGHT: u64 = 32 << 20;

/// Why somebody asks something of the store, in falling order of priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TrafficClass {
    /// Putting the tail into the store: producers wait if it falls behind.
    Upload,
    /// Reading what a consumer waits for.
    Demand,
    /// Rewriting history: merges of objects, and compaction by key.
    Compaction,
    /// Reading what a consumer will want soon.
    ReadAhead,
}

impl TrafficClass {
    /// All classes, the most urgent first.
    pub const ALL: [Self; 4] = [Self::Upload, Self::Demand, Self::Compaction, Self::ReadAhead];

    /// The class as metrics call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Upload => "upload",
            Self::Demand => "demand",
            Self::Compaction => "compaction",
            Self::ReadAhead => "read_ahead",
        }
    }
}

/// How fast the classes go.
#[derive(Clone, Debug)]
pub struct TrafficOptions {
    /// Bytes a second that compaction may move while live traffic flows or consumers read.
    /// Default 32 MiB. When more than this is appended, it is as much as is appended, or history would
    /// never be merged.
    pub background_rate: u64,
    /// Bytes a second that demand reads and read-ahead may bring together. Default: no limit.
    pub history_rate: Option<u64>,
}

impl Default for TrafficOptions {
    fn default() -> Self {
        Self { background_rate: 32 << 20, history_rate: None }
    }
}

/// Admits requests to the store, class by class. One for each broker.
#[derive(Debug)]
pub struct Traffic {
    upload: Lane,
    demand: Lane,
    compaction: Lane,
    read_ahead: Lane,
    /// Slots that compaction and read-ahead share.
    background: Arc<Semaphore>,
    live: LiveRate,
    /// Appends and what consumers read: while there is any, rewriting history goes slowly.
    busy: LiveRate,
    /// Bytes that consumers took from the tail or had to have read, read-ahead included.
    read: Arc<AtomicU64>,
    uploads: Pace,
    rewrites: Pace,
    reads: Pace,
    options: TrafficOptions,
}

/// Held while a request runs; gives slot and bytes back when dropped.
#[derive(Debug)]
pub struct TrafficPermit {
    _lane: LanePermit,
    _background: Option<OwnedSemaphorePermit>,
}

impl Traffic {
    /// Classes with the slots and bytes that `cold` gives to reads. `appended` tells how many bytes
    /// live traffic has appended so far; it is asked a few times a second at most.
    pub fn new(
        options: TrafficOptions,
        cold: &ColdOptions,
        appended: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Arc<Self> {
        let (appended, read) = (Arc::new(appended), Arc::new(AtomicU64::new(0)));
        let busy = {
            let (appended, read) = (Arc::clone(&appended), Arc::clone(&read));
            move || appended().wrapping_add(read.load(Ordering::Relaxed))
        };
        let background = COMPACTION_IN_FLIGHT.max(cold.readahead_concurrency);
        Arc::new(Self {
            upload: Lane::new(UPLOADS_IN_FLIGHT, u64::MAX),
            demand: Lane::new(cold.concurrency, cold.demand_bytes_in_flight()),
            compaction: Lane::new(COMPACTION_IN_FLIGHT, COMPACTION_BYTES_IN_FLIGHT),
            read_ahead: Lane::new(cold.readahead_concurrency, cold.readahead_bytes_in_flight()),
            background: Arc::new(Semaphore::new(background)),
            live: LiveRate::new(move || appended()),
            busy: LiveRate::new(busy),
            read,
            uploads: Pace::default(),
            rewrites: Pace::default(),
            reads: Pace::default(),
            options,
        })
    }

    /// Waits until a request of `class` for `bytes` may start. Hold the permit while it runs.
    ///
    /// Requests of one class start in the order in which they asked. Cancelling is safe; a pace
    /// that was charged stays charged. A request for more bytes than its class may have in flight
    /// takes all of them and runs alone.
    pub async fn admit(&self, class: TrafficClass, bytes: u64) -> TrafficPermit {
        // The pace first: whoever waits for it must not hold a slot that others could use.
        let pause = self.charge(class, bytes);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        let lane = self.lane(class).enter(bytes).await;
        let background = match class {
            // Never closed, so this always gets one.
            TrafficClass::Compaction => Arc::clone(&self.background).acquire_owned().await.ok(),
            _ => None,
        };
        TrafficPermit { _lane: lane, _background: background }
    }

    /// A permit if the request may start now: read-ahead and second attempts go only where nobody
    /// waits.
    pub fn try_admit(&self, class: TrafficClass, bytes: u64) -> Option<TrafficPermit> {
        let background = match class {
            TrafficClass::Compaction | TrafficClass::ReadAhead => {
                Some(Arc::clone(&self.background).try_acquire_owned().ok()?)
            }
            TrafficClass::Upload | TrafficClass::Demand => None,
        };
        let lane = self.lane(class).try_enter(bytes)?;
        if self.behind(class) {
            return None;
        }
        self.charge(class, bytes);
        Some(TrafficPermit { _lane: lane, _background: background })
    }

    /// Takes note that a consumer took `bytes` from the tail: live traffic, to which rewriting yields.
    pub(crate) fn tail_was_read(&self, bytes: u64) {
        self.read.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Figures of one class.
    pub fn stats(&self, class: TrafficClass) -> ClassStats {
        self.lane(class).stats()
    }

    fn lane(&self, class: TrafficClass) -> &Lane {
        match class {
            TrafficClass::Upload => &self.upload,
            TrafficClass::Demand => &self.demand,
            TrafficClass::Compaction => &self.compaction,
            TrafficClass::ReadAhead => &self.read_ahead,
        }
    }

    /// The pace of a class and its rate now; no rate means as fast as it goes.
    fn pace(&self, class: TrafficClass) -> (&Pace, Option<u64>) {
        match class {
            TrafficClass::Upload => {
                let rate = self.live.now().map(|live| (2 * live).max(UPLOAD_RATE_MIN));
                (&self.uploads, rate)
            }
            TrafficClass::Compaction => {
                let live = self.live.now().unwrap_or(0);
                let rate = self.busy.now().map(|_| live.max(self.options.background_rate));
                (&self.rewrites, rate)
            }
            TrafficClass::Demand | TrafficClass::ReadAhead => {
                (&self.reads, self.options.history_rate)
            }
        }
    }

    fn charge(&self, class: TrafficClass, bytes: u64) -> Duration {
        if matches!(class, TrafficClass::Demand | TrafficClass::ReadAhead) {
            self.read.fetch_add(bytes, Ordering::Relaxed);
        }
        match self.pace(class) {
            (pace, Some(rate)) => pace.charge(bytes, rate),
            (_, None) => Duration::ZERO,
        }
    }

    fn behind(&self, class: TrafficClass) -> bool {
        let (pace, rate) = self.pace(class);
        rate.is_some_and(|rate| pace.is_behind(rate))
    }
}

#[cfg(test)]
mod tests;
