//! Thinning batches: what stays is what was there, and nothing else changes.

use antiphon_common::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};
use antiphon_records::{
    BatchBuilder, BatchHeader, Compression, Header, NewRecord, OpenBatch, RetainError, Retained,
    Sequence, compute_crc, emptied, retain_records,
};
use proptest::prelude::*;

const LIMIT: usize = 1 << 20;
const HORIZON: Timestamp = Timestamp(9_000_000);

/// What a consumer sees of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    offset: i64,
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

#[derive(Clone, Debug)]
struct Given {
    timestamp: i64,
    key: Vec<u8>,
    value: Option<Vec<u8>>,
    header: Option<Vec<u8>>,
    kept: bool,
}

fn given() -> impl Strategy<Value = Given> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..20);
    let value = prop::option::weighted(0.7, bytes());
    let header = prop::option::of(bytes());
    (0..10_000i64, bytes(), value, header, any::<bool>()).prop_map(
        |(timestamp, key, value, header, kept)| Given { timestamp, key, value, header, kept },
    )
}

fn codec() -> impl Strategy<Value = Compression> {
    (0..5u8).prop_map(|id| Compression::from_id(id).expect("one of the five"))
}

fn build(records: &[Given], codec: Compression, append_time: Option<Timestamp>) -> Vec<u8> {
    let builder = BatchBuilder::new()
        .base_offset(Offset(1000))
        .leader_epoch(LeaderEpoch(4))
        .producer(ProducerId(77), ProducerEpoch(2), Sequence(30))
        .compression(codec);
    let mut builder = match append_time {
        Some(now) => builder.log_append_time(now),
        None => builder,
    };
    for record in records {
        let header = [Header { key: b"h", value: record.header.as_deref() }];
        let new =
            NewRecord::new(Timestamp(record.timestamp), Some(&record.key), record.value.as_deref());
        builder.push(NewRecord { headers: &header, ..new }).expect("small");
    }
    builder.build().expect("not empty").to_vec()
}

fn seen(batch: &[u8]) -> Vec<Seen> {
    let open = OpenBatch::open(batch, LIMIT).expect("it opens");
    let header = *open.header();
    let owned = |bytes: &[u8]| bytes.to_vec();
    let records = open.records().map(|record| {
        let record = record.expect("it reads");
        Seen {
            offset: record.offset(&header).get(),
            timestamp: record.timestamp(&header).get(),
            key: record.key.map(owned),
            value: record.value.map(owned),
            headers: record.headers().map(|h| (h.key.to_vec(), h.value.map(owned))).collect(),
        }
    });
    records.collect()
}

fn retain(batch: &[u8], records: &[Given]) -> Retained {
    let kept = |offset: Offset| records[(offset.get() - 1000) as usize].kept;
    retain_records(batch, HORIZON, LIMIT, |_, offset| kept(offset)).expect("it can be thinned")
}

fn record(value: Option<&[u8]>, kept: bool) -> Given {
    let value = value.map(<[u8]>::to_vec);
    Given { timestamp: 5, key: b"k".to_vec(), value, header: None, kept }
}

proptest! {
    #[test]
    fn what_stays_is_what_was_there(
        records in prop::collection::vec(given(), 1..30), codec in codec(), stamped: bool,
    ) {
        let batch = build(&records, codec, stamped.then_some(Timestamp(20_000)));
        let before = BatchHeader::parse(&batch).unwrap();
        let expected: Vec<Seen> = seen(&batch)
            .into_iter()
            .filter(|seen| records[(seen.offset - 1000) as usize].kept)
            .collect();
        let tombstones = expected.iter().any(|seen| seen.value.is_none());
        match retain(&batch, &records) {
            Retained::Nothing => prop_assert!(expected.is_empty()),
            Retained::Whole => {
                prop_assert_eq!(expected.len(), records.len());
                prop_assert!(!tombstones, "a batch with tombstones gets a horizon");
            }
            Retained::Thinned { batch: thinned, removed } => {
                prop_assert_eq!(removed as usize, records.len() - expected.len());
                prop_assert!(removed > 0 || tombstones);
                prop_assert_eq!(seen(&thinned), expected.clone());
                let after = BatchHeader::parse(&thinned).unwrap();
                prop_assert_eq!(after.size_in_bytes(), thinned.len());
                prop_assert_eq!(after.crc, compute_crc(&thinned));
                prop_assert_eq!(after.delete_horizon(), tombstones.then_some(HORIZON));
                prop_assert_eq!(after.compression(), before.compression());
                prop_assert_eq!(after.record_count as usize, expected.len());
                let newest = expected.iter().map(|seen| seen.timestamp).max();
                prop_assert_eq!(Some(after.max_timestamp.get()), newest);
                prop_assert_eq!(identity_of(&after), identity_of(&before));
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(body: Vec<u8>, codec in codec(), count: i32) {
        let mut batch = build(&[record(Some(b"v"), true)], codec, None);
        batch.truncate(61);
        batch.extend_from_slice(&body);
        batch[8..12].copy_from_slice(&(body.len() as i32 + 49).to_be_bytes());
        batch[57..61].copy_from_slice(&count.to_be_bytes());
        let _ = retain_records(&batch, HORIZON, 10_000, |_, offset| offset.get() % 2 == 0);
    }
}

/// What compaction must never change.
fn identity_of(header: &BatchHeader) -> impl PartialEq + std::fmt::Debug {
    (
        (header.base_offset, header.last_offset_delta, header.partition_leader_epoch),
        (header.producer_id, header.producer_epoch, header.base_sequence),
        (header.timestamp_type(), header.is_transactional(), header.is_control()),
    )
}

#[test]
fn a_batch_that_has_a_horizon_keeps_it() {
    let records = [record(None, true), record(Some(b"v"), true), record(Some(b"w"), false)];
    let batch = build(&records, Compression::Lz4, None);
    let Retained::Thinned { batch, .. } = retain(&batch, &records) else { panic!("thinned") };
    let again = retain_records(&batch, Timestamp(1), LIMIT, |_, _| true).unwrap();
    assert_eq!(again, Retained::Whole);
    let thinner = retain_records(&batch, Timestamp(1), LIMIT, |r, _| r.value.is_none()).unwrap();
    let Retained::Thinned { batch: thinner, removed: 1 } = thinner else { panic!("{thinner:?}") };
    let header = BatchHeader::parse(&thinner).unwrap();
    assert_eq!(header.delete_horizon(), Some(HORIZON));
    assert_eq!(seen(&thinner), seen(&batch)[..1]);
}

#[test]
fn a_timestamp_too_far_from_the_horizon_leaves_the_batch_without_one() {
    let records = [Given { timestamp: i64::MIN + 1, ..record(None, true) }];
    let batch = build(&records, Compression::None, None);
    assert_eq!(retain(&batch, &records), Retained::Whole);
}

#[test]
fn an_emptied_batch_keeps_offsets_and_producer() {
    let records = [record(None, true), record(Some(b"v"), true)];
    let batch = build(&records, Compression::Zstd, None);
    let before = BatchHeader::parse(&batch).unwrap();
    let empty = emptied(&before);
    let after = BatchHeader::parse(&empty).unwrap();
    assert_eq!((empty.len(), after.size_in_bytes(), after.record_count), (61, 61, 0));
    assert_eq!(after.crc, compute_crc(&empty));
    assert_eq!(identity_of(&after), identity_of(&before));
    assert_eq!(after.max_timestamp, before.max_timestamp);
    assert_eq!(
        (after.newest_timestamp(), before.newest_timestamp()),
        (Timestamp::NONE, Timestamp(5))
    );
    assert_eq!(seen(&empty), []);
    assert_eq!(retain_records(&empty, HORIZON, LIMIT, |_, _| true).unwrap(), Retained::Nothing);
}

#[test]
fn a_batch_that_lies_about_its_records_is_refused() {
    let records = [record(Some(b"v"), true)];
    let mut batch = build(&records, Compression::None, None);
    batch[57..61].copy_from_slice(&2i32.to_be_bytes());
    let refused = retain_records(&batch, HORIZON, LIMIT, |_, _| true);
    assert!(matches!(refused, Err(RetainError::RecordCount { declared: 2, found: 1 })));
}
