//! Readers of one history beside each other: who is where, and for whom one waits.
//!
//! Readers that start together drift apart, and once the distance between them is more than the
//! cache holds, each loads every block for itself. So a reader that is ahead waits for those behind
//! it, within limits: the distance that is kept is the convoy's share of the cache; a reader waits
//! for others at most twice as long as it works, so that readers up to three times as fast as the
//! slowest stay together and a faster one leaves the slowest behind instead; and whoever has not
//! read for a second is not waited for at all. (Database systems share scans of tables in this way;
//! the bound on the leader's slow-down is from them.)

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use antiphon_common::{Offset, PartitionId};
use tokio::time::Instant;

/// A reader that does not read again for this long is not waited for.
const ACTIVE: Duration = Duration::from_secs(1);
/// How long a reader that was left behind is not waited for.
const LEFT_BEHIND: Duration = Duration::from_secs(10);
/// How long a reader may wait for each second that it works.
const WAIT_FOR_WORK: u32 = 2;
/// The longest wait that a reader saves up.
const CREDIT_MAX: Duration = Duration::from_secs(2);
/// Readers remembered; beyond that, new ones are not waited for.
const READERS_MAX: usize = 4096;

/// Tells readers of history apart, such as one for each connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReaderId(pub u64);

impl ReaderId {
    /// A reader that waits for nobody and is not waited for.
    pub const NOBODY: Self = Self(0);
}

#[derive(Debug)]
struct Place {
    offset: Offset,
    seen: Instant,
    left_until: Option<Instant>,
    credit: Duration,
}

impl Place {
    fn counts(&self, now: Instant) -> bool {
        now.duration_since(self.seen) < ACTIVE && self.left_until.is_none_or(|until| until <= now)
    }
}

/// Where the readers are.
#[derive(Debug, Default)]
pub(super) struct Readers {
    places: BTreeMap<(PartitionId, ReaderId), Place>,
}

impl Readers {
    /// Takes note that `reader` has read everything below `offset` and will read on from there.
    pub(super) fn is_at(
        &mut self,
        reader: ReaderId,
        partition: PartitionId,
        offset: Offset,
        now: Instant,
    ) {
        if reader == ReaderId::NOBODY || !self.has_room(now) {
            return;
        }
        let new = Place { offset, seen: now, left_until: None, credit: CREDIT_MAX };
        let place = self.places.entry((partition, reader)).or_insert(new);
        let worked = now.duration_since(place.seen).min(ACTIVE);
        place.credit = (place.credit + worked * WAIT_FOR_WORK).min(CREDIT_MAX);
        (place.offset, place.seen) = (offset, now);
    }

    fn has_room(&mut self, now: Instant) -> bool {
        if self.places.len() >= READERS_MAX {
            self.places.retain(|_, place| now.duration_since(place.seen) < ACTIVE);
        }
        self.places.len() < READERS_MAX
    }

    /// Takes note that `reader` has waited, and is still there.
    pub(super) fn has_waited(
        &mut self,
        reader: ReaderId,
        partition: PartitionId,
        waited: Duration,
        now: Instant,
    ) {
        if let Some(place) = self.places.get_mut(&(partition, reader)) {
            place.credit = place.credit.saturating_sub(waited);
            place.seen = now;
        }
    }

    /// How long `reader` may still wait for others.
    pub(super) fn credit(&self, reader: ReaderId, partition: PartitionId) -> Duration {
        self.places.get(&(partition, reader)).map_or(Duration::ZERO, |place| place.credit)
    }

    /// The places of a partition's readers who count, in no order.
    pub(super) fn places(
        &self,
        partition: PartitionId,
        now: Instant,
    ) -> impl Iterator<Item = (ReaderId, Offset)> {
        let counting = self.places.range(all_of(partition)).filter(move |(_, p)| p.counts(now));
        counting.map(|((_, reader), place)| (*reader, place.offset))
    }

    /// How many partitions have readers who count; at least one.
    pub(super) fn partitions(&self, now: Instant) -> u64 {
        let counting = self.places.iter().filter(|(_, place)| place.counts(now));
        let mut partitions: Vec<_> = counting.map(|((partition, _), _)| *partition).collect();
        partitions.dedup();
        partitions.len().max(1) as u64
    }

    /// Stops waiting for a reader for a while.
    pub(super) fn leave_behind(&mut self, reader: ReaderId, partition: PartitionId, now: Instant) {
        if let Some(place) = self.places.get_mut(&(partition, reader)) {
            place.left_until = Some(now + LEFT_BEHIND);
        }
    }
}

fn all_of(partition: PartitionId) -> RangeInclusive<(PartitionId, ReaderId)> {
    (partition, ReaderId(u64::MIN))..=(partition, ReaderId(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: PartitionId = PartitionId(7);

    fn places(readers: &Readers, now: Instant) -> Vec<(u64, i64)> {
        readers.places(P, now).map(|(reader, offset)| (reader.0, offset.get())).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_stopped_reading_is_not_waited_for() {
        let mut readers = Readers::default();
        readers.is_at(ReaderId(1), P, Offset(10), Instant::now());
        readers.is_at(ReaderId::NOBODY, P, Offset(10), Instant::now());
        tokio::time::advance(ACTIVE / 2).await;
        readers.is_at(ReaderId(2), P, Offset(20), Instant::now());
        assert_eq!(places(&readers, Instant::now()), [(1, 10), (2, 20)]);
        tokio::time::advance(ACTIVE / 2).await;
        assert_eq!(places(&readers, Instant::now()), [(2, 20)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_waits_at_most_twice_as_long_as_it_works() {
        let mut readers = Readers::default();
        let reader = ReaderId(1);
        readers.is_at(reader, P, Offset(0), Instant::now());
        readers.has_waited(reader, P, CREDIT_MAX, Instant::now());
        assert_eq!(readers.credit(reader, P), Duration::ZERO);
        tokio::time::advance(Duration::from_millis(30)).await;
        readers.is_at(reader, P, Offset(1), Instant::now());
        assert_eq!(readers.credit(reader, P), Duration::from_millis(60));
    }

    #[tokio::test(start_paused = true)]
    async fn one_who_was_left_behind_counts_again_later() {
        let mut readers = Readers::default();
        readers.is_at(ReaderId(1), P, Offset(0), Instant::now());
        readers.leave_behind(ReaderId(1), P, Instant::now());
        assert_eq!(places(&readers, Instant::now()), []);
        tokio::time::advance(LEFT_BEHIND).await;
        readers.is_at(ReaderId(1), P, Offset(5), Instant::now());
        assert_eq!(places(&readers, Instant::now()), [(1, 5)]);
    }

    #[test]
    fn the_number_of_readers_is_bounded() {
        let (mut readers, now) = (Readers::default(), Instant::now());
        for reader in 1..=10_000 {
            readers.is_at(ReaderId(reader), P, Offset(0), now);
        }
        assert_eq!(readers.places.len(), READERS_MAX);
    }
}
