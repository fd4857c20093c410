//! Any sequence of produces, flushes, rounds, pauses and crashes against a model that keeps
//! everything.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use antiphon_common::{Offset, Timestamp};
use antiphon_records::Compression;
use proptest::prelude::*;

use super::kit::{At, Entry, Process, RETENTION, STARTED_AT, World, batch, batch_by};

#[derive(Clone, Debug)]
enum Step {
    Produce { entries: Vec<Entry>, codec: Compression },
    ProduceBy { producer: i64, entries: Vec<Entry> },
    Flush,
    Compact,
    Merge,
    DeleteRecords { part: f64 },
    Wait(Duration),
    Crash,
}

fn an_entry() -> impl Strategy<Value = Entry> {
    let value = prop::option::weighted(0.75, prop::collection::vec(any::<u8>(), 0..12));
    (0..8u8, value, 0..1000i64).prop_map(|(key, value, time)| Entry {
        key: Some(vec![b'k', key]),
        value,
        timestamp: STARTED_AT.get() + time,
    })
}

fn a_step() -> impl Strategy<Value = Step> {
    let entries = || prop::collection::vec(an_entry(), 1..6);
    let codec = (0..5u8).prop_map(|id| Compression::from_id(id).expect("one of the five"));
    prop_oneof![
        6 => (entries(), codec).prop_map(|(entries, codec)| Step::Produce { entries, codec }),
        3 => (100..103i64, entries())
            .prop_map(|(producer, entries)| Step::ProduceBy { producer, entries }),
        4 => Just(Step::Flush),
        4 => Just(Step::Compact),
        1 => Just(Step::Merge),
        1 => (0.0..1.0).prop_map(|part| Step::DeleteRecords { part }),
        2 => (1..70u64).prop_map(|seconds| Step::Wait(Duration::from_secs(seconds))),
        1 => Just(Step::Crash),
    ]
}

/// Everything that was produced, and since when each tombstone can have been cleaned.
#[derive(Default)]
struct Model {
    records: BTreeMap<i64, Entry>,
    sequences: HashMap<i64, i32>,
    /// The last offset of each producer's last batch.
    last_of: HashMap<i64, i64>,
    first_cleaning: HashMap<i64, i64>,
}

impl Model {
    fn produced(&mut self, base: i64, entries: &[Entry]) {
        self.records.extend((base..).zip(entries.iter().cloned()));
    }

    /// A pass runs at `now` over everything below `end`.
    fn cleaning(&mut self, end: i64, now: i64) {
        for (offset, _) in self.records.range(..end) {
            self.first_cleaning.entry(*offset).or_insert(now);
        }
    }

    fn check(&self, found: &[At], end: i64, now: i64) {
        for (offset, entry) in found {
            assert_eq!(self.records.get(offset), Some(entry), "offset {offset} is what it was");
        }
        assert!(found.windows(2).all(|pair| pair[0].0 < pair[1].0), "offsets ascend");
        let given: Vec<At> =
            self.records.range(..end).map(|(offset, entry)| (*offset, entry.clone())).collect();
        let (newest_given, newest_found) = (newest(&given), newest(found));
        for (key, (offset, entry)) in &newest_given {
            match newest_found.get(key) {
                Some(found) => assert_eq!(found, &(*offset, *entry), "the newest of a key stays"),
                None => {
                    assert!(entry.value.is_none(), "the value at {offset} is gone");
                    let cleaned = self.first_cleaning.get(offset).copied().unwrap_or(i64::MAX);
                    let horizon = cleaned.saturating_add(RETENTION.as_millis() as i64);
                    assert!(now >= horizon, "the tombstone at {offset} went too early");
                }
            }
        }
    }
}

/// The newest record of each key.
fn newest(records: &[At]) -> HashMap<&[u8], (i64, &Entry)> {
    let keyed = records
        .iter()
        .filter_map(|(offset, entry)| Some((entry.key.as_deref()?, (*offset, entry))));
    keyed.collect()
}

struct Run {
    world: World,
    process: Process,
    model: Model,
}

impl Run {
    async fn step(mut self, step: Step) -> Self {
        self.world.clock.advance(Duration::from_millis(1));
        match step {
            Step::Produce { entries, codec } => {
                let base = self.process.produce(&batch(&entries, codec)).await;
                self.model.produced(base, &entries);
            }
            Step::ProduceBy { producer, entries } => {
                let sequence = self.model.sequences.entry(producer).or_insert(0);
                let batch = batch_by(producer, *sequence, &entries);
                *sequence += entries.len() as i32;
                let base = self.process.produce(&batch).await;
                self.model.last_of.insert(producer, base + entries.len() as i64 - 1);
                self.model.produced(base, &entries);
            }
            Step::Flush => self.process.flush().await,
            Step::Compact => self.compact().await,
            Step::Merge => {
                self.process.storage.merge().await;
                self.check().await;
            }
            Step::DeleteRecords { part } => self.delete_records(part).await,
            Step::Wait(time) => self.world.clock.advance(time),
            Step::Crash => self.process = self.world.crash(self.process).await,
        }
        self
    }

    /// Deletes that part of what compaction may have gone over.
    async fn delete_records(&mut self, part: f64) {
        let before = self.process.log.positions();
        let (start, end) = (before.log_start.get(), before.flushed_end.get());
        let target = start + ((end - start) as f64 * part) as i64;
        self.process.log.delete_records(Offset(target)).await.expect("records are deleted");
        self.model.records.retain(|offset, _| *offset >= target);
    }

    async fn compact(&mut self) {
        let (end, now) = (self.end(), self.now());
        self.model.cleaning(end, now);
        let before = self.process.log.positions();
        self.process.storage.compact().await;
        assert_eq!(self.process.log.positions(), before, "no position moves");
        assert_eq!(self.process.storage.stats().compaction.failures, 0);
        self.check().await;
    }

    async fn check(&self) {
        let found = self.found().await;
        self.model.check(&found, self.end(), self.now());
        self.check_times(&found).await;
    }

    /// ListOffsets by time finds the first record that is there.
    async fn check_times(&self, found: &[At]) {
        for time in [0, 250, 500, 750, 1000].map(|time| STARTED_AT.get() + time) {
            let expected = found.iter().find(|(_, entry)| entry.timestamp >= time);
            let answer = self.process.log.find_by_timestamp(Timestamp(time)).await;
            let answer = answer.expect("it looks").map(|found| found.offset.get());
            let in_history = answer.filter(|offset| *offset < self.end());
            assert_eq!(in_history, expected.map(|(offset, _)| *offset));
        }
    }

    /// With everything flushed and compacted: each key once, each producer's last batch, and reads
    /// from every offset.
    async fn check_the_end(&mut self, map_is_large: bool) {
        self.process.flush().await;
        self.world.clock.advance(Duration::from_millis(1));
        self.compact().await;
        let found = self.found().await;
        let keys: HashSet<_> = found.iter().map(|(_, entry)| &entry.key).collect();
        assert!(!map_is_large || keys.len() == found.len(), "each key is there once");
        let batches = self.process.batches_from(0).await;
        for (producer, last) in &self.model.last_of {
            let is_last = |header: &antiphon_records::BatchHeader| {
                header.producer_id.0 == *producer && header.last_offset().get() == *last
            };
            let is_there = batches.iter().any(|(header, _)| is_last(header));
            assert!(is_there || *last < self.start(), "producer {producer}");
        }
        for from in self.start()..self.end() {
            let expected =
                batches.iter().position(|(header, _)| header.last_offset().get() >= from);
            let read = self.process.batches_from(from).await;
            assert_eq!(read[..], batches[expected.expect("the last batch stays")..]);
        }
    }

    /// What a consumer makes of history: a batch may begin before the start of the log.
    async fn found(&self) -> Vec<At> {
        let start = self.start();
        let records = self.process.records().await.into_iter();
        records.filter(|(offset, _)| *offset >= start).collect()
    }

    fn start(&self) -> i64 {
        self.process.log.positions().log_start.get()
    }

    fn end(&self) -> i64 {
        self.process.log.positions().flushed_end.get()
    }

    fn now(&self) -> i64 {
        antiphon_common::Clock::now(&*self.world.clock).get()
    }
}

async fn run(steps: Vec<Step>, map_bytes: u64, object_bytes: u64) {
    let mut world = World::new();
    (world.map_bytes, world.object_bytes) = (map_bytes, object_bytes);
    let process = world.open().await;
    let mut run = Run { world, process, model: Model::default() };
    for step in steps {
        run = run.step(step).await;
    }
    run.check_the_end(map_bytes > 1000).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn compaction_loses_nothing_but_what_is_superseded(
        steps in prop::collection::vec(a_step(), 1..40),
        // Room for the keys of any one batch, five, and hardly more; or for everything.
        map_bytes in prop::sample::select(vec![24 * 7u64, 24 * 9, 1 << 20]),
        object_bytes in prop::sample::select(vec![1u64, 400, 1 << 20]),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(run(steps, map_bytes, object_bytes));
    }
}
