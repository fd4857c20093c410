//! Injected time and randomness.
//!
//! Nothing else in the workspace may read the system clock or the system's random source (clippy's
//! `disallowed_methods` says so): a simulation hands in a [`ManualClock`] and a [`SeededEntropy`],
//! and one seed is one history.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use uuid::Uuid;

use crate::Timestamp;

/// Two clocks in one: wall time for what clients see, monotonic time for how long something took.
pub trait Clock: Debug + Send + Sync {
    /// Wall time. May jump when the machine's clock is set.
    fn now(&self) -> Timestamp;

    /// Time since an arbitrary fixed moment. Never goes back.
    fn monotonic(&self) -> Duration;
}

/// A source of unpredictable bytes.
pub trait Entropy: Debug + Send + Sync {
    /// Fills `bytes` with unpredictable bytes.
    fn fill(&self, bytes: &mut [u8]);

    /// A random (version 4) UUID.
    fn uuid(&self) -> Uuid {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }

    /// A random 64-bit number.
    fn u64(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }
}

/// The clock and the randomness that a component was given. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Environment {
    /// Wall and monotonic time.
    pub clock: Arc<dyn Clock>,
    /// Random bytes.
    pub entropy: Arc<dyn Entropy>,
}

impl Environment {
    /// The real world.
    pub fn system() -> Self {
        Self { clock: Arc::new(SystemClock::default()), entropy: Arc::new(SystemEntropy) }
    }

    /// A world in which nothing happens by itself: time stands still until the test moves
    /// `ManualClock`, and `seed` decides every random byte.
    pub fn simulated(clock: Arc<ManualClock>, seed: u64) -> Self {
        Self { clock, entropy: Arc::new(SeededEntropy::new(seed)) }
    }
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    started: std::time::Instant,
}

impl Default for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    fn default() -> Self {
        Self { started: std::time::Instant::now() }
    }
}

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    fn now(&self) -> Timestamp {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        // A machine whose clock stands before 1970 gets time zero rather than a crash.
        Timestamp(since_epoch.map_or(0, |elapsed| elapsed.as_millis() as i64))
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }
}

/// The kernel's random source.
#[derive(Clone, Copy, Debug)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[allow(clippy::disallowed_methods, reason = "this is the one place that reads entropy")]
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(16) {
            // A version 4 UUID has 122 random bits; the six fixed bits are folded with the bytes of
            // a second one so that every bit handed out is unpredictable.
            let first = Uuid::new_v4().into_bytes();
            let second = Uuid::new_v4().into_bytes();
            for (index, byte) in chunk.iter_mut().enumerate() {
                *byte = first[index] ^ second[15 - index];
            }
        }
    }
}

/// A clock that moves only when told to.
#[derive(Debug, Default)]
pub struct ManualClock {
    wall_ms: AtomicI64,
    monotonic_ns: AtomicU64,
}

impl ManualClock {
    /// A clock whose wall time is `now` and whose monotonic time is zero.
    pub fn starting_at(now: Timestamp) -> Self {
        Self { wall_ms: AtomicI64::new(now.get()), monotonic_ns: AtomicU64::new(0) }
    }

    /// Moves both clocks forward.
    pub fn advance(&self, by: Duration) {
        self.wall_ms.fetch_add(by.as_millis() as i64, Ordering::SeqCst);
        self.monotonic_ns.fetch_add(by.as_nanos() as u64, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.wall_ms.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_nanos(self.monotonic_ns.load(Ordering::SeqCst))
    }
}

/// Reproducible bytes from a seed (SplitMix64; Steele, Lea, Flood 2014). Not for secrets.
#[derive(Debug)]
pub struct SeededEntropy {
    state: AtomicU64,
}

impl SeededEntropy {
    /// The sequence that belongs to `seed`.
    pub fn new(seed: u64) -> Self {
        Self { state: AtomicU64::new(seed) }
    }

    fn next_word(&self) -> u64 {
        const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut word =
            self.state.fetch_add(GOLDEN_GAMMA, Ordering::SeqCst).wrapping_add(GOLDEN_GAMMA);
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let word = self.next_word().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_is_one_sequence() {
        let (first, second) = (SeededEntropy::new(7), SeededEntropy::new(7));
        assert_eq!(first.uuid(), second.uuid());
        assert_eq!(first.u64(), second.u64());
        assert_ne!(first.u64(), SeededEntropy::new(8).u64());
    }

    #[test]
    fn manual_time_moves_only_when_told() {
        let clock = ManualClock::starting_at(Timestamp(1_000));
        assert_eq!((clock.now(), clock.monotonic()), (Timestamp(1_000), Duration::ZERO));
        clock.advance(Duration::from_millis(5));
        assert_eq!((clock.now(), clock.monotonic()), (Timestamp(1_005), Duration::from_millis(5)));
    }
}
