//! Deadlines by key, with the earliest at hand.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use antiphon_common::Timestamp;

/// The moment at which something happens. State machines never look at a clock; they are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Wall time, for what is written into records.
    pub wall: Timestamp,
    /// Monotonic time, for timeouts.
    pub monotonic: Duration,
}

impl Now {
    /// The monotonic time `delay` from now.
    pub(crate) fn after(self, delay: Duration) -> Duration {
        self.monotonic.saturating_add(delay)
    }
}

/// At most one deadline per key. Every operation is logarithmic, so that a heartbeat in a group of
/// thousands costs as little as in a group of one.
#[derive(Clone, Debug)]
pub(crate) struct Deadlines<K> {
    by_key: BTreeMap<K, Duration>,
    by_time: BTreeSet<(Duration, K)>,
}

impl<K> Default for Deadlines<K> {
    fn default() -> Self {
        Self { by_key: BTreeMap::new(), by_time: BTreeSet::new() }
    }
}

impl<K: Ord + Clone> Deadlines<K> {
    /// Sets or moves the deadline of `key`.
    pub(crate) fn set(&mut self, key: K, at: Duration) {
        self.cancel(&key);
        self.by_time.insert((at, key.clone()));
        self.by_key.insert(key, at);
    }

    /// Forgets the deadline of `key`, if it has one.
    pub(crate) fn cancel(&mut self, key: &K) {
        if let Some(at) = self.by_key.remove(key) {
            self.by_time.remove(&(at, key.clone()));
        }
    }

    /// Forgets all deadlines.
    pub(crate) fn clear(&mut self) {
        self.by_key.clear();
        self.by_time.clear();
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes the earliest key whose deadline has come.
    pub(crate) fn pop_due(&mut self, now: Duration) -> Option<K> {
        if self.next()? > now {
            return None;
        }
        let (_, key) = self.by_time.pop_first()?;
        self.by_key.remove(&key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_deadline_and_the_earliest_comes_first() {
        let mut deadlines = Deadlines::default();
        deadlines.set("a", Duration::from_secs(1));
        deadlines.set("b", Duration::from_secs(2));
        deadlines.set("a", Duration::from_secs(3));
        assert_eq!(deadlines.next(), Some(Duration::from_secs(2)));
        assert_eq!(deadlines.pop_due(Duration::from_secs(1)), None);
        assert_eq!(deadlines.pop_due(Duration::from_secs(9)), Some("b"));
        deadlines.cancel(&"a");
        assert_eq!(deadlines.pop_due(Duration::from_secs(9)), None);
    }
}
