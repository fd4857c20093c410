//! When a GET is slow enough to be sent a second time. Pure but for its locks: decides, does nothing.
//!
//! A bucket answers most requests at once and a few late, for reasons of its own; a second request
//! then usually overtakes the first ("The Tail at Scale", Dean and Barroso, 2013). Slow is what
//! takes longer than 95 of the last 100 or so of its size class took. When the whole bucket is slow
//! the measure moves with it, and until it has moved a budget keeps second requests to one in
//! twenty, and to a few at a time.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

/// How many of the last times of a class are known.
const TIMES_MAX: usize = 128;
/// With fewer than these, slow is not defined.
const TIMES_MIN: usize = 32;
/// Answers within this are never worth a second request.
const PATIENCE_MIN: Duration = Duration::from_millis(20);
/// Second requests in flight.
const IN_FLIGHT_MAX: usize = 4;
/// What each GET adds to the budget for second requests, what one costs, and how much is saved up:
/// one in twenty, and four at once.
const EARNED: u64 = 1;
const COST: u64 = 20;
const SAVED_MAX: u64 = 4 * COST;
/// Size classes: up to 64 KiB, 256 KiB, 1 MiB, 4 MiB, and more.
const CLASS_LIMITS: [u64; 4] = [64 << 10, 256 << 10, 1 << 20, 4 << 20];
const CLASSES: usize = CLASS_LIMITS.len() + 1;

/// Decides about second requests.
#[derive(Debug)]
pub(super) struct Hedging {
    enabled: bool,
    classes: [Mutex<Times>; CLASSES],
    saved: AtomicU64,
    in_flight: AtomicUsize,
}

/// The last times of one class, the oldest being overwritten next.
#[derive(Debug, Default)]
struct Times {
    ring: Vec<Duration>,
    next: usize,
}

/// The permission to send one second request, held while it is in flight.
#[derive(Debug)]
pub(super) struct HedgePermit<'a>(&'a Hedging);

impl Drop for HedgePermit<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Hedging {
    pub(super) fn new(enabled: bool) -> Self {
        Self {
            enabled,
            classes: Default::default(),
            saved: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
        }
    }

    /// How long a GET of `bytes` may take before it is slow, if that is known. To be asked once for
    /// each GET.
    pub(super) fn patience(&self, bytes: u64) -> Option<Duration> {
        if !self.enabled {
            return None;
        }
        let earned = |saved: u64| (saved < SAVED_MAX).then_some(saved + EARNED);
        let _full_already = self.saved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, earned);
        let times = self.class_of(bytes).lock();
        Some(times.slow()?.max(PATIENCE_MIN))
    }

    /// Takes note of how long a GET of `bytes` took, second request included.
    pub(super) fn took(&self, bytes: u64, time: Duration) {
        if self.enabled {
            self.class_of(bytes).lock().push(time);
        }
    }

    /// The permission for a second request, if the budget has one.
    pub(super) fn permit(&self) -> Option<HedgePermit<'_>> {
        if self.in_flight.fetch_add(1, Ordering::Relaxed) >= IN_FLIGHT_MAX {
            self.in_flight.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let permit = HedgePermit(self);
        let paid = |saved: u64| saved.checked_sub(COST);
        self.saved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, paid).ok()?;
        Some(permit)
    }

    fn class_of(&self, bytes: u64) -> &Mutex<Times> {
        let class = CLASS_LIMITS.iter().filter(|limit| bytes > **limit).count();
        &self.classes[class]
    }
}

impl Times {
    fn push(&mut self, time: Duration) {
        match self.ring.get_mut(self.next) {
            Some(oldest) => *oldest = time,
            None => self.ring.push(time),
        }
        self.next = (self.next + 1) % TIMES_MAX;
    }

    /// The time that 95 of 100 stayed within.
    fn slow(&self) -> Option<Duration> {
        if self.ring.len() < TIMES_MIN {
            return None;
        }
        let mut times = self.ring.clone();
        let place = times.len() * 95 / 100;
        Some(*times.select_nth_unstable(place).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn taught(millis: impl Iterator<Item = u64>) -> Hedging {
        let hedging = Hedging::new(true);
        millis.for_each(|millis| hedging.took(MIB, Duration::from_millis(millis)));
        hedging
    }

    #[test]
    fn slow_is_what_few_of_the_last_ones_took() {
        let hedging = taught((0..1000).map(|number| number % 100 + 1));
        let patience = hedging.patience(MIB).unwrap();
        assert!((90..=100).contains(&patience.as_millis()), "{patience:?}");
        assert_eq!(hedging.patience(8 * MIB), None, "another class knows nothing of it");
        assert_eq!(taught(0..31).patience(MIB), None, "too few");
        assert_eq!(taught((0..100).map(|_| 1)).patience(MIB), Some(PATIENCE_MIN));
    }

    #[test]
    fn the_measure_follows_a_bucket_that_becomes_slow() {
        let hedging = taught((0..500).map(|number| if number < 300 { 10 } else { 900 }));
        assert_eq!(hedging.patience(MIB), Some(Duration::from_millis(900)));
    }

    #[test]
    fn one_in_twenty_is_sent_again_and_a_few_at_a_time() {
        let hedging = taught((0..100).map(|_| 1));
        let sent = (0..2000).filter(|_| {
            hedging.patience(MIB);
            hedging.permit().is_some()
        });
        assert_eq!(sent.count(), 100);
        let patient = (0..2000).filter(|_| hedging.patience(MIB).is_some());
        assert_eq!(patient.count(), 2000);
        let held: Vec<_> = std::iter::from_fn(|| hedging.permit()).collect();
        assert_eq!(held.len(), IN_FLIGHT_MAX);
    }

    #[test]
    fn switched_off_it_never_asks_for_a_second_request() {
        let hedging = Hedging::new(false);
        (0..100).for_each(|_| hedging.took(MIB, Duration::from_millis(1)));
        assert_eq!(hedging.patience(MIB), None);
    }
}
