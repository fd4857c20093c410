//! What compaction by key may take of a partition, and what it must leave (KIP-58, KIP-354, KIP-534),
//! as clients may rely on it:
//!
//! 1. The newest record of every key stays, unless it is a tombstone whose time is over.
//! 2. Nothing goes because of a record that is not in the bucket yet, or younger than
//!    `min.compaction.lag.ms`.
//! 3. A tombstone stays for `delete.retention.ms` after it was first cleaned: no reader that is no
//!    slower than that misses it.
//! 4. What is gone does not come back: neither to a reader of history who comes later, nor because
//!    what superseded it is gone.
//! 5. What stays keeps its offset, key, value and timestamp.
//! 6. When nothing fails any more, what may go by rule 1 goes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use antiphon_common::Timestamp;

use super::model::{Checked, Violation, ensure};
use super::payload::{Found, Value};
use super::world::PARTITIONS;

/// The settings of a partition as its users know them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Promises {
    /// `min.compaction.lag.ms`.
    pub(crate) lag_min: Duration,
    /// `delete.retention.ms`.
    pub(crate) delete_retention: Duration,
}

/// What partition `index` promises, if it is compacted: the last two of those that producers write
/// to. So is the partition behind them, where the groups' records are.
pub(crate) fn promises_of(index: usize) -> Option<Promises> {
    let delete_retention = Duration::from_secs(6);
    match index {
        4 => Some(Promises { lag_min: Duration::from_secs(3), delete_retention }),
        5 | PARTITIONS => Some(Promises { lag_min: Duration::ZERO, delete_retention }),
        _ => None,
    }
}

/// What clients know of a partition: records by offset.
pub(crate) type Known = BTreeMap<i64, Value>;

/// What is known about the keys of one partition.
#[derive(Debug)]
pub(crate) struct Keyed {
    promises: Promises,
    sent_at: HashMap<Value, Timestamp>,
    /// Where each key's records may stand: everywhere that an append was attempted at, whether or
    /// not it came to be.
    attempts: BTreeMap<u64, BTreeSet<(i64, Value)>>,
    /// Tombstones that no compaction can have seen yet.
    uncleaned: Vec<Value>,
    /// When a tombstone was cleaned first, at the earliest.
    first_cleaned: HashMap<Value, Timestamp>,
    flushed_end: i64,
    observed_at: Timestamp,
    /// Records that a reader of history missed, with the number of the read that found it.
    gone: BTreeMap<i64, u64>,
    reads: u64,
    /// What the audit has seen.
    visible: BTreeSet<i64>,
    pub(crate) tally: Tally,
}

/// How often readers came across what compaction left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) superseded: u64,
    pub(crate) expired: u64,
}

impl Keyed {
    pub(crate) fn new(promises: Promises) -> Self {
        Self {
            promises,
            sent_at: HashMap::new(),
            attempts: BTreeMap::new(),
            uncleaned: Vec::new(),
            first_cleaned: HashMap::new(),
            flushed_end: 0,
            observed_at: Timestamp::NONE,
            gone: BTreeMap::new(),
            reads: 0,
            visible: BTreeSet::new(),
            tally: Tally::default(),
        }
    }

    /// A producer made this record.
    pub(crate) fn sent(&mut self, value: Value, now: Timestamp) {
        self.sent_at.insert(value, now);
        if value.is_tombstone() {
            self.uncleaned.push(value);
        }
    }

    /// The broker took this record in at `offset`; that it lasts is not said.
    pub(crate) fn attempted(&mut self, value: Value, offset: i64) {
        self.attempts.entry(value.key()).or_default().insert((offset, value));
    }

    /// Called whenever time has passed; `cleaning` if compaction may have been at work meanwhile.
    pub(crate) fn observe(&mut self, flushed_end: i64, now: Timestamp, cleaning: bool) {
        if cleaning {
            let since = self.observed_at;
            self.first_cleaned.extend(self.uncleaned.drain(..).map(|value| (value, since)));
        }
        self.flushed_end = self.flushed_end.max(flushed_end);
        self.observed_at = now;
    }

    /// Another process takes over. What the one before it showed may not have been durable yet.
    pub(crate) fn taken_over(&mut self) {
        self.gone.clear();
    }

    /// The number of a read of history that begins now.
    pub(crate) fn begin_read(&self) -> u64 {
        self.reads
    }

    /// A reader found this record. `began` numbers a read of history; the tail may show what history
    /// no longer has.
    pub(crate) fn found(&mut self, found: &Found, began: Option<u64>) -> Checked {
        let Found { offset, timestamp, value } = *found;
        let attempted = self.attempts.get(&value.key());
        ensure(attempted.is_some_and(|known| known.contains(&(offset, value))), "damaged", || {
            format!("{value} was never sent to {offset}")
        })?;
        ensure(self.sent_at.get(&value) == Some(&timestamp), "bytes-changed", || {
            format!("{value} at {offset} is of {timestamp:?} now")
        })?;
        let is_back = self.gone.get(&offset).is_some_and(|gone| began.is_some_and(|b| *gone <= b));
        ensure(!is_back, "resurrected", || format!("{value} at {offset} was gone"))?;
        self.visible.insert(offset);
        Ok(())
    }

    /// A reader who should have found this record did not.
    pub(crate) fn missed(&mut self, offset: i64, value: Value, known: &Known) -> Checked {
        let reason = self.reason_to_go(offset, value, known);
        match reason {
            Some(Reason::Superseded) => self.tally.superseded += 1,
            Some(Reason::Expired) => self.tally.expired += 1,
            None => return Err(self.unreasonable(offset, value)),
        }
        self.reads += 1;
        self.gone.entry(offset).or_insert(self.reads);
        Ok(())
    }

    fn unreasonable(&self, offset: i64, value: Value) -> Violation {
        let key = value.key();
        let later = self.attempts.get(&key).into_iter().flatten().filter(|(at, _)| *at > offset);
        let later: Vec<_> = later.map(|(at, value)| format!("{value} at {at}")).collect();
        let detail = format!("{value} (key {key}) at {offset} is gone; later are {later:?}");
        Violation { rule: "compacted-away", detail }
    }

    fn reason_to_go(&self, offset: i64, value: Value, known: &Known) -> Option<Reason> {
        if self.is_superseded(offset, value, known) {
            return Some(Reason::Superseded);
        }
        let cleaned = self.first_cleaned.get(&value)?;
        (self.observed_at.get() - cleaned.get() >= millis(self.promises.delete_retention))
            .then_some(Reason::Expired)
    }

    /// Rules 1 and 2.
    fn is_superseded(&self, offset: i64, value: Value, known: &Known) -> bool {
        let Some(attempts) = self.attempts.get(&value.key()) else { return false };
        attempts.iter().any(|(at, newer)| {
            let stands = known.get(at).is_none_or(|known| known == newer);
            offset < *at && *at < self.flushed_end && stands && self.is_old_enough(*newer)
        })
    }

    fn is_old_enough(&self, value: Value) -> bool {
        let sent_at = self.sent_at.get(&value);
        let age = sent_at.map(|sent_at| self.observed_at.get() - sent_at.get());
        age.is_some_and(|age| age >= millis(self.promises.lag_min))
    }

    /// From here on, what is found is what the audit sees.
    pub(crate) fn begin_audit(&mut self) {
        self.visible.clear();
    }

    /// After everything from `from` on was read: rules 4 and 6. That what was missed might go was
    /// checked when it was missed.
    pub(crate) fn audit(&self, from: i64, known: &Known) -> Checked {
        let mut keys: BTreeMap<u64, Vec<(i64, Value)>> = BTreeMap::new();
        for (&offset, &value) in known.range(from..) {
            keys.entry(value.key()).or_default().push((offset, value));
        }
        for (key, records) in keys {
            let visible = || records.iter().filter(|(at, _)| self.visible.contains(at));
            let (newest, count) = (visible().next_back(), visible().count());
            ensure(newest.is_none() || newest == records.last(), "resurrected", || {
                format!("{newest:?} is the newest of key {key}, not {:?}", records.last())
            })?;
            ensure(count <= 1, "not-compacted", || {
                format!("{count} records of key {key} are left")
            })?;
        }
        Ok(())
    }
}

/// Why a record may be gone.
enum Reason {
    Superseded,
    Expired,
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
