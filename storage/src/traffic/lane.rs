//! What one class may have in flight: requests, and bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Semaphores count permits of one KiB, so that any budget fits into their 32-bit requests.
const PERMIT_BYTES: u64 = 1 << 10;
/// The most KiB that a lane counts: 1 TiB, far beyond what is ever in flight.
const PERMITS_MAX: u32 = 1 << 30;

/// A class's slots and bytes, first come first served.
#[derive(Debug)]
pub(super) struct Lane {
    slots: Arc<Semaphore>,
    slots_max: usize,
    bytes: Arc<Semaphore>,
    permits: u32,
    requests: AtomicU64,
    requested_bytes: AtomicU64,
    waits: AtomicU64,
}

/// Held while a request runs.
#[derive(Debug)]
pub(super) struct LanePermit {
    _slot: Option<OwnedSemaphorePermit>,
    _bytes: Option<OwnedSemaphorePermit>,
}

/// Figures of one class of traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassStats {
    /// Requests admitted so far.
    pub requests: u64,
    /// Bytes that they asked for.
    pub bytes: u64,
    /// How many of them had to wait for a slot or for bytes.
    pub waits: u64,
    /// Requests in flight now.
    pub in_flight: u64,
    /// How many may be.
    pub in_flight_max: u64,
    /// Bytes in flight now, rounded up to KiB.
    pub bytes_in_flight: u64,
    /// How many may be.
    pub bytes_in_flight_max: u64,
}

impl Lane {
    pub(super) fn new(slots: usize, bytes: u64) -> Self {
        let slots_max = slots.max(1);
        let permits = u32::try_from(bytes / PERMIT_BYTES).unwrap_or(PERMITS_MAX);
        let permits = permits.clamp(1, PERMITS_MAX);
        Self {
            slots: Arc::new(Semaphore::new(slots_max)),
            slots_max,
            bytes: Arc::new(Semaphore::new(permits as usize)),
            permits,
            requests: AtomicU64::new(0),
            requested_bytes: AtomicU64::new(0),
            waits: AtomicU64::new(0),
        }
    }

    /// A request longer than the whole lane takes all of it rather than waiting for ever.
    fn permits_for(&self, bytes: u64) -> u32 {
        u32::try_from(bytes.div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX).min(self.permits)
    }

    pub(super) async fn enter(&self, bytes: u64) -> LanePermit {
        if let Some(permit) = self.try_enter(bytes) {
            return permit;
        }
        self.waits.fetch_add(1, Ordering::Relaxed);
        // Neither semaphore is ever closed.
        let slot = Arc::clone(&self.slots).acquire_owned().await.ok();
        let permits = self.permits_for(bytes);
        let held = Arc::clone(&self.bytes).acquire_many_owned(permits).await.ok();
        self.count(bytes);
        LanePermit { _slot: slot, _bytes: held }
    }

    pub(super) fn try_enter(&self, bytes: u64) -> Option<LanePermit> {
        let slot = Arc::clone(&self.slots).try_acquire_owned().ok()?;
        let permits = self.permits_for(bytes);
        let held = Arc::clone(&self.bytes).try_acquire_many_owned(permits).ok()?;
        self.count(bytes);
        Some(LanePermit { _slot: Some(slot), _bytes: Some(held) })
    }

    fn count(&self, bytes: u64) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.requested_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn stats(&self) -> ClassStats {
        let free_bytes = self.bytes.available_permits() as u64 * PERMIT_BYTES;
        let bytes_in_flight_max = u64::from(self.permits) * PERMIT_BYTES;
        ClassStats {
            requests: self.requests.load(Ordering::Relaxed),
            bytes: self.requested_bytes.load(Ordering::Relaxed),
            waits: self.waits.load(Ordering::Relaxed),
            in_flight: (self.slots_max - self.slots.available_permits()) as u64,
            in_flight_max: self.slots_max as u64,
            bytes_in_flight: bytes_in_flight_max - free_bytes,
            bytes_in_flight_max,
        }
    }
}
