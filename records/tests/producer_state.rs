//! The rules of idempotence, and rows.

use std::time::Duration;

use antiphon_common::{Offset, ProducerEpoch, ProducerId, Timestamp};
use antiphon_records::{
    AppendedBatch, BatchBuilder, BatchHeader, Check, NewRecord, ProducerEntry, ProducerStateLimits,
    ProducerStates, RowError, Sequence, SequenceFault,
};
use proptest::prelude::*;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
const NOW: Timestamp = Timestamp(1_700_000_000_000);
const ID: ProducerId = ProducerId(7);

#[derive(Clone, Copy)]
enum Kind {
    Plain,
    Transactional,
    Marker,
}

fn header(id: i64, epoch: i16, first_sequence: i32, count: i32, kind: Kind) -> BatchHeader {
    let mut builder = BatchBuilder::new().producer(
        ProducerId(id),
        ProducerEpoch(epoch),
        Sequence(first_sequence),
    );
    builder = match kind {
        Kind::Plain => builder,
        Kind::Transactional => builder.transactional(),
        Kind::Marker => builder.transactional().control(),
    };
    for _ in 0..count {
        builder.push(NewRecord::new(Timestamp(42), None, None)).expect("fits");
    }
    BatchHeader::parse(&builder.build().expect("builds")).expect("parses")
}

fn batch(epoch: i16, first_sequence: i32, count: i32) -> BatchHeader {
    header(ID.0, epoch, first_sequence, count, Kind::Plain)
}

fn marker(epoch: i16) -> BatchHeader {
    header(ID.0, epoch, -1, 1, Kind::Marker)
}

/// One partition's log as far as its producers go: it hands out offsets.
struct Partition {
    states: ProducerStates,
    next: i64,
}

impl Partition {
    fn new() -> Self {
        Self::with_limit(100)
    }

    fn with_limit(producers_max: usize) -> Self {
        let expiration = Duration::from_millis(DAY_MS as u64);
        let limits = ProducerStateLimits { expiration, producers_max };
        Self { states: ProducerStates::new(limits), next: 0 }
    }

    fn append(&mut self, batch: &BatchHeader) -> Option<ProducerId> {
        self.append_at(batch, NOW)
    }

    fn append_at(&mut self, batch: &BatchHeader, now: Timestamp) -> Option<ProducerId> {
        assert_eq!(self.states.check(batch, now), Ok(Check::Append), "{batch:?}");
        let base = Offset(self.next);
        self.next += i64::from(batch.last_offset_delta) + 1;
        self.states.record_append(batch, base, now)
    }

    fn check(&self, batch: &BatchHeader) -> Result<Check, SequenceFault> {
        self.states.check(batch, NOW)
    }

    fn expects(&self, batch: &BatchHeader, sequence: i32) {
        match self.check(batch) {
            Err(SequenceFault::OutOfOrder { expected, found, .. }) => {
                assert_eq!((expected, found), (Sequence(sequence), batch.base_sequence));
            }
            other => panic!("{other:?}"),
        }
    }
}

fn is_zombie(result: Result<Check, SequenceFault>) -> bool {
    matches!(result, Err(SequenceFault::InvalidProducerEpoch { .. }))
}

#[test]
fn each_of_the_last_five_batches_is_known_again_and_the_sixth_is_not() {
    let mut partition = Partition::new();
    let sent: Vec<_> = (0..6).map(|i| batch(0, i * 10, 10)).collect();
    for batch in &sent {
        partition.append(batch);
    }
    for (index, batch) in sent.iter().enumerate().skip(1) {
        let original = AppendedBatch {
            base_offset: Offset(index as i64 * 10),
            last_offset_delta: 9,
            first_sequence: Sequence(index as i32 * 10),
            timestamp: Timestamp(42),
        };
        assert_eq!(partition.check(batch), Ok(Check::Duplicate(original)));
        assert_eq!(original.last_offset(), Offset(index as i64 * 10 + 9));
    }
    partition.expects(&sent[0], 60);
}

#[test]
fn only_the_exact_range_is_a_duplicate() {
    let mut partition = Partition::new();
    partition.append(&batch(0, 0, 10));
    partition.append(&batch(0, 10, 10));
    for (first, count) in [(0, 9), (0, 11), (1, 9), (10, 9), (0, 20), (5, 10), (19, 1)] {
        partition.expects(&batch(0, first, count), 20);
    }
}

#[test]
fn the_next_sequence_follows_the_last_and_gaps_are_refused() {
    let mut partition = Partition::new();
    partition.append(&batch(0, 0, 3));
    for wrong in [1, 2, 4, 100, i32::MAX] {
        partition.expects(&batch(0, wrong, 1), 3);
    }
    partition.append(&batch(0, 3, 1));
    partition.append(&batch(0, 4, 1));
}

#[test]
fn sequences_wrap_within_a_batch_and_between_batches() {
    let mut partition = Partition::new();
    partition.append(&batch(0, i32::MAX - 1, 2));
    partition.expects(&batch(0, 1, 1), 0);
    partition.append(&batch(0, 0, 1));

    let mut partition = Partition::new();
    let across = batch(0, i32::MAX - 1, 4);
    partition.append(&across);
    assert!(matches!(partition.check(&across), Ok(Check::Duplicate(_))));
    partition.expects(&batch(0, 3, 1), 2);
    partition.append(&batch(0, 2, 1));
}

#[test]
fn an_unknown_producer_may_start_anywhere() {
    for first in [0, 1, 77, i32::MAX] {
        Partition::new().append(&batch(3, first, 2));
    }
}

#[test]
fn a_new_epoch_starts_at_zero_and_forgets_the_old_sequences() {
    let mut partition = Partition::new();
    partition.append(&batch(1, 0, 5));
    partition.expects(&batch(2, 5, 1), 0);
    let reused = batch(2, 0, 5);
    partition.append(&reused);
    assert_eq!(partition.next, 10, "not taken for the batch of epoch 1 with the same sequences");
    partition.expects(&batch(2, 10, 1), 5);
    assert!(is_zombie(partition.check(&batch(1, 5, 1))));
    assert!(is_zombie(partition.check(&batch(1, 0, 5))), "not even as a duplicate");
    partition.append(&batch(i16::MAX, 0, 1));
}

#[test]
fn batches_of_nobody_are_neither_checked_nor_remembered() {
    let mut partition = Partition::new();
    let anonymous = header(-1, -1, -1, 3, Kind::Plain);
    partition.append(&anonymous);
    partition.append(&anonymous);
    assert!(partition.states.is_empty());
}

#[test]
fn a_marker_ends_the_transaction_and_may_raise_the_epoch() {
    let mut partition = Partition::new();
    partition.append(&header(ID.0, 0, 0, 2, Kind::Transactional));
    partition.append(&header(ID.0, 0, 2, 2, Kind::Transactional));
    let open = |p: &Partition| p.states.entry(ID).and_then(ProducerEntry::transaction_first_offset);
    assert_eq!(open(&partition), Some(Offset(0)));
    // Same epoch: the sequence goes on.
    partition.append(&marker(0));
    assert_eq!(open(&partition), None);
    partition.expects(&header(ID.0, 0, 0, 1, Kind::Transactional), 4);
    partition.append(&header(ID.0, 0, 4, 1, Kind::Transactional));
    assert_eq!(open(&partition), Some(Offset(5)));
    // Raised epoch: the sequence starts again, and what came before is fenced.
    partition.append(&marker(1));
    assert!(is_zombie(partition.check(&header(ID.0, 0, 5, 1, Kind::Transactional))));
    assert!(is_zombie(partition.check(&marker(0))));
    partition.expects(&header(ID.0, 1, 5, 1, Kind::Transactional), 0);
    partition.append(&header(ID.0, 1, 0, 1, Kind::Transactional));
}

#[test]
fn offset_commits_of_a_transaction_have_no_sequence() {
    let mut partition = Partition::new();
    let commit = header(ID.0, 2, -1, 1, Kind::Transactional);
    partition.append(&commit);
    partition.append(&commit);
    assert_eq!(partition.states.entry(ID).map(|entry| entry.batches().len()), Some(0));
    assert!(is_zombie(partition.check(&header(ID.0, 1, -1, 1, Kind::Transactional))));
}

#[test]
fn an_unused_producer_expires_by_the_brokers_clock() {
    let mut partition = Partition::new();
    partition.append(&batch(0, 0, 1));
    let almost = Timestamp(NOW.get() + DAY_MS - 1);
    let expired = Timestamp(NOW.get() + DAY_MS);
    assert!(partition.states.check(&batch(0, 50, 1), almost).is_err());
    assert!(partition.states.expire(almost).is_empty());
    // Expired but not yet swept: already unknown, and its old batches are gone for good.
    partition.append_at(&batch(0, 50, 1), expired);
    assert!(partition.states.check(&batch(0, 0, 1), expired).is_err());
    assert!(partition.states.expire(expired).is_empty(), "it was used again");
    let later = Timestamp(expired.get() + DAY_MS);
    assert_eq!(partition.states.expire(later), [ID]);
    assert!(partition.states.is_empty());
}

#[test]
fn the_producer_unused_for_longest_goes_first() {
    let mut partition = Partition::with_limit(3);
    let at = |seconds: i64| Timestamp(NOW.get() + seconds * 1000);
    let send = |id, sequence| header(id, 0, sequence, 1, Kind::Plain);
    for id in 1..=3 {
        assert_eq!(partition.append_at(&send(id, 0), at(id)), None);
    }
    assert_eq!(partition.append_at(&send(1, 1), at(4)), None);
    assert_eq!(partition.append_at(&send(9, 0), at(5)), Some(ProducerId(2)));
    assert_eq!(partition.states.len(), 3);
    assert_eq!(partition.append_at(&send(8, 0), at(6)), Some(ProducerId(3)));
    assert_eq!(partition.append_at(&send(7, 0), at(7)), Some(ProducerId(1)));
}

#[test]
fn an_open_transaction_is_neither_expired_nor_displaced() {
    let mut partition = Partition::with_limit(1);
    partition.append(&header(ID.0, 0, 0, 1, Kind::Transactional));
    assert_eq!(partition.append(&header(8, 0, 0, 1, Kind::Plain)), Some(ProducerId(8)));
    let much_later = Timestamp(NOW.get() + 10 * DAY_MS);
    assert!(partition.states.expire(much_later).is_empty());
    let next = partition.states.check(&header(ID.0, 0, 5, 1, Kind::Transactional), much_later);
    assert!(next.is_err(), "still known");
    partition.append(&marker(0));
    assert_eq!(partition.states.expire(much_later), [ID]);
}

/// Snapshot somewhere, crash, replay from somewhere at or before it: nothing is lost or doubled.
#[test]
fn rows_and_replay_together_restore_what_was() {
    let log = [
        batch(0, 0, 3),
        batch(0, 3, 1),
        header(8, 4, 100, 2, Kind::Transactional),
        batch(1, 0, 2),
        header(8, 4, -1, 1, Kind::Marker),
        header(8, 4, 102, 2, Kind::Transactional),
        header(8, 5, -1, 1, Kind::Marker),
        batch(1, 2, 1),
        header(8, 5, 0, 1, Kind::Transactional),
    ];
    let mut live = Partition::new();
    let mut offsets = Vec::new();
    let mut snapshots = vec![Vec::new()];
    for batch in &log {
        offsets.push(Offset(live.next));
        live.append(batch);
        snapshots.push(live.states.entries().map(ProducerEntry::encode).collect::<Vec<_>>());
    }
    for (taken_after, rows) in snapshots.iter().enumerate() {
        for start in 0..=taken_after {
            let mut restored = Partition::new();
            for row in rows {
                restored.states.restore(ProducerEntry::decode(row).expect("decodes"));
            }
            for (batch, offset) in log.iter().zip(&offsets).skip(start) {
                restored.states.replay(batch, *offset, NOW);
            }
            for entry in live.states.entries() {
                let found = restored.states.entry(entry.producer_id());
                assert_eq!(found, Some(entry), "snapshot {taken_after}, replay from {start}");
            }
            assert_eq!(restored.states.len(), live.states.len());
        }
    }
}

#[test]
fn replay_counts_as_use() {
    let mut partition = Partition::new();
    partition.append(&batch(0, 0, 1));
    let row = partition.states.entry(ID).expect("known").encode();
    let restart = Timestamp(NOW.get() + 3 * DAY_MS);
    let mut restored = Partition::new();
    restored.states.restore(ProducerEntry::decode(&row).expect("decodes"));
    restored.states.replay(&batch(0, 1, 1), Offset(1), restart);
    let again = restored.states.check(&batch(0, 0, 1), restart);
    assert!(matches!(again, Ok(Check::Duplicate(_))), "{again:?}");
}

#[test]
fn rows_that_cannot_be_are_refused() {
    let mut partition = Partition::new();
    partition.append(&batch(0, 0, 1));
    let row = partition.states.entry(ID).expect("known").encode();
    assert_eq!(row.len(), 60);
    for length in 0..row.len() {
        assert!(matches!(ProducerEntry::decode(&row[..length]), Err(RowError::Length { .. })));
    }
    let with = |at: usize, value: u8| {
        let mut row = row.clone();
        row[at] = value;
        ProducerEntry::decode(&row)
    };
    assert_eq!(with(0, 2), Err(RowError::Version { version: 2 }));
    assert_eq!(with(35, 6), Err(RowError::Field { field: "batch count", value: 6 }));
    assert!(matches!(with(35, 2), Err(RowError::Length { expected: 84, found: 60 })));
    for (at, field) in [
        (1, "producer id"),
        (9, "producer epoch"),
        (19, "last offset"),
        (36, "base offset"),
        (44, "last offset delta"),
        (48, "first sequence"),
    ] {
        let refused = with(at, 0x80);
        assert!(matches!(refused, Err(RowError::Field { field: f, .. }) if f == field), "{field}");
    }
}

proptest! {
    #[test]
    fn arbitrary_rows_never_panic(bytes: Vec<u8>) {
        let _ = ProducerEntry::decode(&bytes);
        let _ = ProducerEntry::decode(&[&[1], bytes.as_slice()].concat());
    }

    #[test]
    fn rows_round_trip(batches in prop::collection::vec((1..50i32, any::<bool>()), 1..20)) {
        let mut partition = Partition::new();
        let mut sequence = i32::MAX - 60;
        for (count, transactional) in batches {
            let kind = if transactional { Kind::Transactional } else { Kind::Plain };
            let batch = header(ID.0, 3, sequence, count, kind);
            partition.append(&batch);
            sequence = batch.last_sequence().advance(1).0;
        }
        let entry = partition.states.entry(ID).expect("known");
        prop_assert_eq!(ProducerEntry::decode(&entry.encode()), Ok(entry.clone()));
    }
}
