//! The checker: what clients were told and what they saw, and whether both can be true.
//!
//! It knows nothing of the storage engine. Each rule has a name, which a violation begins with:
//!
//! | rule | meaning |
//! |---|---|
//! | `lost` | an acknowledged or once read record is gone, and nobody deleted it |
//! | `offset-reused` | two records at one offset |
//! | `duplicate` | one record at two offsets |
//! | `order` | an append landed below what was known to be in the log, or a producer's records swap |
//! | `watermark-back` | the high watermark went back, or below an acknowledged record |
//! | `start-back` | the log start went back, or beyond what anybody asked for |
//! | `bytes-changed` | a batch, or what compaction left of it, is not what it was when it was read before |
//! | `hole` | offsets are missing between batches, or a read does not begin where it was asked to |
//! | `compacted-away` | compaction took what it must leave: see [`super::keyed`] |
//! | `resurrected` | what compaction took is back, or what superseded it is gone |
//! | `books` | the catalog counts other sections or bytes than it names, or names what was deleted |
//! | `not-compacted` | nothing goes wrong any more, and superseded records are left |
//! | `poll` | a consumer's poll does not begin where its last one ended |
//! | `commit` | a committed position went back, or is one that nobody sent |
//! | `assignment` | a partition has two owners in a generation, or a share is not what the leader said |
//! | `zombie-commit` | a member commits with a generation that is over |
//! | `zombie` | a process that was overtaken changed the store |
//! | `orphan` | the bucket holds what nobody names, after everything was cleaned up |
//! | `stuck` | nothing goes wrong any more, and something does not go on |
//! | `unexplained` | an error that no fault explains |
//! | `not-opened` | a broker refuses to start over what was left |
//! | `damaged` | a batch that does not decode, or holds what nobody sent there |

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use antiphon_common::Timestamp;
use antiphon_records::BatchHeader;
use antiphon_storage::LogPositions;
use bytes::Bytes;

use super::keyed::{Keyed, Known, promises_of};
use super::payload::{Value, records_of};

/// A broken promise.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) rule: &'static str,
    pub(crate) detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.detail)
    }
}

pub(crate) type Checked<T = ()> = Result<T, Violation>;

/// A violation, unless `holds`.
pub(crate) fn ensure(holds: bool, rule: &'static str, detail: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(Violation { rule, detail: detail() }) }
}

/// A batch that was read once.
#[derive(Debug)]
struct Seen {
    last: i64,
    bytes: Bytes,
}

/// What is known about one partition.
#[derive(Debug, Default)]
pub(crate) struct Partition {
    pub(crate) index: usize,
    /// Records by offset that clients know of, from an ack or from a read.
    known: Known,
    offsets: HashMap<Value, i64>,
    seen: BTreeMap<i64, Seen>,
    high_watermark: i64,
    log_start: i64,
    /// Below this, a deletion was confirmed.
    deleted_to: i64,
    /// The highest start that a deletion or retention may have set, whether or not it said so.
    pub(crate) log_start_max: i64,
    /// What compaction may do here, if it may do anything.
    pub(crate) keyed: Option<Keyed>,
}

/// A read, as far as it decides what may be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) asked: i64,
    /// The number of a read of history; reads of the tail have none.
    pub(crate) began: Option<u64>,
}

impl Partition {
    pub(crate) fn new(index: usize) -> Self {
        Self { index, keyed: promises_of(index).map(Keyed::new), ..Self::default() }
    }

    /// A producer made these records, and may send them any time.
    pub(crate) fn sent(&mut self, first: Value, count: i32, now: Timestamp) {
        if let Some(keyed) = &mut self.keyed {
            first.run(count).for_each(|value| keyed.sent(value, now));
        }
    }

    /// The broker took these records in at `base`; that they last is not said.
    pub(crate) fn attempted(&mut self, first: Value, count: i32, base: i64) {
        if let Some(keyed) = &mut self.keyed {
            first.run(count).zip(base..).for_each(|(value, at)| keyed.attempted(value, at));
        }
    }

    /// Another process takes over.
    pub(crate) fn taken_over(&mut self) {
        if let Some(keyed) = &mut self.keyed {
            keyed.taken_over();
        }
    }

    /// A read of history from `asked` on begins.
    pub(crate) fn begin_cold(&self, asked: i64) -> Reading {
        Reading { asked, began: Some(self.keyed.as_ref().map_or(0, Keyed::begin_read)) }
    }

    pub(crate) fn log_start(&self) -> i64 {
        self.log_start
    }

    pub(crate) fn high_watermark(&self) -> i64 {
        self.high_watermark
    }

    /// An administrator was told that everything below `offset` is deleted.
    pub(crate) fn deleted(&mut self, offset: i64) {
        self.deleted_to = self.deleted_to.max(offset);
    }

    /// The offset after the last record that clients know of.
    pub(crate) fn known_end(&self) -> i64 {
        self.known.last_key_value().map_or(0, |(offset, _)| offset + 1)
    }

    /// What the broker shows of the partition at any moment; `cleaning` if compaction may have been at
    /// work since the last time.
    pub(crate) fn observe(
        &mut self,
        now: LogPositions,
        time: Timestamp,
        cleaning: bool,
    ) -> Checked {
        let (start, watermark) = (now.log_start.get(), now.high_watermark.get());
        ensure(
            watermark >= self.high_watermark && watermark >= self.known_end(),
            "watermark-back",
            || {
                let (index, known) = (self.index, self.known_end());
                format!(
                    "p{index}: {watermark} after {}, records known to {known}",
                    self.high_watermark
                )
            },
        )?;
        let allowed = self.log_start..=self.log_start_max.max(self.log_start);
        ensure(allowed.contains(&start), "start-back", || {
            format!("p{}: {start}, possible were {allowed:?}", self.index)
        })?;
        ensure(start <= watermark && watermark <= now.log_end.get(), "watermark-back", || {
            format!("p{}: {now:?}", self.index)
        })?;
        (self.high_watermark, self.log_start) = (watermark, start);
        if let Some(keyed) = &mut self.keyed {
            keyed.observe(now.flushed_end.get(), time, cleaning);
        }
        Ok(())
    }

    /// A producer was told that `count` records from `first` on stand at `base`. `known_end` is
    /// what was known when it sent them.
    pub(crate) fn acked(
        &mut self,
        first: Value,
        count: i32,
        base: i64,
        known_end: Option<i64>,
    ) -> Checked {
        if let Some(end) = known_end {
            ensure(base >= end, "order", || format!("{first} landed at {base}, below {end}"))?;
        }
        first.run(count).zip(base..).try_for_each(|(value, offset)| self.learn(offset, value))
    }

    fn learn(&mut self, offset: i64, value: Value) -> Checked {
        let here = *self.known.entry(offset).or_insert(value);
        ensure(here == value, "offset-reused", || format!("{here} and {value} at {offset}"))?;
        let there = *self.offsets.entry(value).or_insert(offset);
        ensure(there == offset, "duplicate", || format!("{value} at {there} and {offset}"))
    }

    /// A read returned `runs` of batches. Returns the offset after them.
    pub(crate) fn read(&mut self, reading: Reading, runs: &[Bytes]) -> Checked<i64> {
        let mut next = reading.asked;
        for run in runs {
            for batch in antiphon_records::batches_in(run) {
                let (header, bytes) =
                    batch.map_err(|error| self.damaged(next, error.to_string()))?;
                self.follows(next, next == reading.asked, &header)?;
                match self.keyed.is_some() {
                    true => self.read_cleaned(next, reading.began, &header, &bytes)?,
                    false => self.read_batch(&header, bytes)?,
                }
                next = header.next_offset().get();
            }
        }
        Ok(next)
    }

    /// Batches are neighbours; compaction may leave a hole where batches were.
    fn follows(&self, next: i64, first: bool, header: &BatchHeader) -> Checked {
        let (base, last) = (header.base_offset.get(), header.last_offset().get());
        let begins = if first { base <= next } else { base == next };
        let continues = next <= last && (begins || (self.keyed.is_some() && base > next));
        ensure(continues, "hole", || format!("p{}: {base}..={last} at {next}", self.index))?;
        ensure(last < self.high_watermark, "watermark-back", || {
            format!("p{}: {last} was read, the watermark is {}", self.index, self.high_watermark)
        })
    }

    fn read_batch(&mut self, header: &BatchHeader, bytes: Bytes) -> Checked {
        let (base, last) = (header.base_offset.get(), header.last_offset().get());
        if let Some(seen) = self.seen.get(&base) {
            let same = seen.last == last && seen.bytes == bytes;
            return ensure(same, "bytes-changed", || format!("p{}: batch at {base}", self.index));
        }
        let records = records_of(&bytes).map_err(|error| self.damaged(base, error))?;
        ensure(records.len() as i64 == last - base + 1, "hole", || {
            format!("inside {base}..={last}")
        })?;
        for found in records {
            self.belongs(found.value, found.offset)?;
            self.learn(found.offset, found.value)?;
        }
        self.seen.insert(base, Seen { last, bytes });
        Ok(())
    }

    /// What compaction left of a batch and of the hole in front of it.
    fn read_cleaned(
        &mut self,
        next: i64,
        began: Option<u64>,
        header: &BatchHeader,
        bytes: &[u8],
    ) -> Checked {
        let (base, last) = (header.base_offset.get(), header.last_offset().get());
        let records = records_of(bytes).map_err(|error| self.damaged(base, error))?;
        let mut found = BTreeSet::new();
        for record in &records {
            self.belongs(record.value, record.offset)?;
            let here = base <= record.offset && record.offset <= last;
            ensure(here && found.insert(record.offset), "damaged", || {
                format!("{} within {base}..={last}", record.offset)
            })?;
            self.learn(record.offset, record.value)?;
        }
        let Self { keyed: Some(keyed), known, log_start, .. } = self else { return Ok(()) };
        records.iter().try_for_each(|record| keyed.found(record, began))?;
        // The log may start further on by now.
        let first = next.min(base).max(*log_start).min(last + 1);
        let missed = known.range(first..last + 1).filter(|(offset, _)| !found.contains(offset));
        missed.into_iter().try_for_each(|(offset, value)| keyed.missed(*offset, *value, known))
    }

    fn belongs(&self, value: Value, offset: i64) -> Checked {
        ensure(value.partition == self.index, "damaged", || {
            format!("{value} in p{} at {offset}", self.index)
        })
    }

    fn damaged(&self, offset: i64, error: String) -> Violation {
        Violation { rule: "damaged", detail: format!("p{} at {offset}: {error}", self.index) }
    }

    /// A reader may be told "out of range" only where deletion may have been.
    pub(crate) fn out_of_range(&self, asked: i64) -> Checked {
        ensure(asked < self.log_start_max, "lost", || {
            format!("p{}: {asked} out of range", self.index)
        })
    }

    /// After everything from `from` on was read: is all that is known still there, once and in its
    /// producer's order?
    pub(crate) fn audit(&self, from: i64, read_to: i64) -> Checked {
        match &self.keyed {
            Some(keyed) => keyed.audit(from, &self.known)?,
            None => self.audit_batches(from, read_to)?,
        }
        let mut newest = HashMap::new();
        for (offset, value) in &self.known {
            let before = newest.insert(value.producer, value.sequence).unwrap_or(-1);
            ensure(before < value.sequence, "order", || {
                format!("{value} at {offset} follows sequence {before}")
            })?;
        }
        Ok(())
    }

    fn audit_batches(&self, from: i64, read_to: i64) -> Checked {
        for (&offset, value) in self.known.range(from..) {
            let held = self.seen.range(..=offset).next_back();
            let there = offset < read_to && held.is_some_and(|(_, seen)| seen.last >= offset);
            ensure(there, "lost", || format!("{value} at {offset}, read to {read_to}"))?;
        }
        Ok(())
    }
}
