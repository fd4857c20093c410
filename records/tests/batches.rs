//! Headers, patches, runs of batches and the builder.

use antiphon_common::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};
use antiphon_records::{
    BatchBuilder, BatchHeader, BatchMut, Batches, BatchesError, BuildError, Compression,
    HEADER_BYTES, Header, HeaderError, NewRecord, OpenBatch, ReadError, Records, Sequence,
    TimestampType, batches_in, compute_crc, first_record_at_or_after, first_record_from,
    max_timestamp_record,
};
use bytes::Bytes;
use proptest::prelude::*;

fn batch_of(values: &[&str]) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    for (index, value) in values.iter().enumerate() {
        let record = NewRecord::new(Timestamp(1000 + index as i64), None, Some(value.as_bytes()));
        builder.push(record).expect("fits");
    }
    builder.build().expect("builds").to_vec()
}

fn crc_in(batch: &[u8]) -> u32 {
    BatchHeader::parse(batch).expect("parses").crc
}

/// The check values of RFC 3720 appendix B.4, placed where a batch's checksummed part begins.
#[test]
fn the_crc_is_castagnolis() {
    let crc_of = |checked: &[u8]| compute_crc(&[&[0xee; 21], checked].concat());
    assert_eq!(crc_of(b"123456789"), 0xe306_9283);
    assert_eq!(crc_of(&[0x00; 32]), 0x8a91_36aa);
    assert_eq!(crc_of(&[0xff; 32]), 0x62a8_ab43);
    let ascending: Vec<u8> = (0..32).collect();
    assert_eq!(crc_of(&ascending), 0x46dd_794e);
    assert_eq!(compute_crc(&[1, 2, 3]), 0, "too short for a batch");
}

/// Every length takes another path through the vectorised code; this is the definition.
#[test]
fn the_crc_agrees_with_its_definition_at_every_length() {
    let bytes: Vec<u8> = (0..2100u32).map(|i| (i * 7 % 251) as u8).collect();
    for length in (0..600).chain([1021, 1022, 1023, 1024, 1045, 2079, 2100]) {
        let batch = &bytes[..length];
        let mut crc = u32::MAX;
        for byte in batch.get(21..).unwrap_or_default() {
            crc ^= u32::from(*byte);
            for _ in 0..8 {
                crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
            }
        }
        assert_eq!(compute_crc(batch), !crc, "length {length}");
    }
}

#[test]
fn offsets_and_epochs_are_patched_outside_the_crc() {
    let mut bytes = batch_of(&["a", "b", "c"]);
    let before = bytes.clone();
    let mut batch = BatchMut::first_in(&mut bytes).expect("a batch");
    batch.set_base_offset(Offset(1 << 40));
    batch.set_partition_leader_epoch(LeaderEpoch(7));
    let header = batch.header();
    assert_eq!(BatchHeader::parse(&bytes), Ok(header));
    assert_eq!(header.last_offset(), Offset((1 << 40) + 2));
    assert_eq!(header.next_offset(), Offset((1 << 40) + 3));
    assert_eq!(header.partition_leader_epoch, LeaderEpoch(7));
    assert_eq!(bytes[16..], before[16..], "nothing else has changed");
    assert_eq!(crc_in(&bytes), compute_crc(&bytes));
}

#[test]
fn the_append_time_is_stamped_and_checksummed_and_the_next_batch_left_alone() {
    let mut bytes = batch_of(&["a", "b"]);
    let (size, next) = (bytes.len(), batch_of(&["next"]));
    bytes.extend_from_slice(&next);
    let mut batch = BatchMut::first_in(&mut bytes).expect("a batch");
    batch.stamp_log_append_time(Timestamp(5000));
    let stamped = &bytes[..size];
    assert_eq!(crc_in(stamped), compute_crc(stamped));
    let open = OpenBatch::open(stamped, 1000).expect("opens");
    assert_eq!(open.header().timestamp_type(), TimestampType::LogAppendTime);
    for record in open.records() {
        assert_eq!(record.expect("reads").timestamp(open.header()), Timestamp(5000));
    }
    assert_eq!(bytes[size..], next);
}

#[test]
fn sequences_wrap_from_the_largest_to_zero() {
    let max = Sequence(i32::MAX);
    assert_eq!(max.advance(1), Sequence::ZERO);
    assert_eq!(Sequence(i32::MAX - 1).advance(3), Sequence(1));
    assert_eq!(Sequence::ZERO.back(1), max);
    assert_eq!(Sequence::NONE.advance(5), Sequence::NONE);
    let mut builder =
        BatchBuilder::new().producer(ProducerId(1), ProducerEpoch(0), Sequence(i32::MAX - 1));
    for _ in 0..4 {
        builder.push(NewRecord::new(Timestamp(0), None, None)).expect("fits");
    }
    let batch = builder.build().expect("builds");
    let header = BatchHeader::parse(&batch).expect("parses");
    assert_eq!(header.last_sequence(), Sequence(1));
}

#[test]
fn headers_that_cannot_be_are_refused() {
    let good = batch_of(&["a"]);
    for available in 0..HEADER_BYTES {
        let found = BatchHeader::parse(&good[..available]);
        assert_eq!(found, Err(HeaderError::TooShort { available }));
    }
    let with = |at: usize, value: &[u8]| {
        let mut bytes = good.clone();
        bytes[at..at + value.len()].copy_from_slice(value);
        BatchHeader::parse(&bytes)
    };
    for magic in [0, 1, 3, -1i8] {
        assert_eq!(with(16, &magic.to_be_bytes()), Err(HeaderError::Magic { magic }));
    }
    for batch_length in [-1, i32::MIN, 0, 48] {
        let found = with(8, &batch_length.to_be_bytes());
        assert_eq!(found, Err(HeaderError::Length { batch_length }));
    }
    assert!(with(8, &49i32.to_be_bytes()).is_ok());
    assert!(with(8, &i32::MAX.to_be_bytes()).is_ok(), "how much is there is for others to check");
}

#[test]
fn a_run_of_batches_is_walked_and_a_short_last_one_is_told() {
    let all = [batch_of(&["a"]), batch_of(&["b", "c"]), batch_of(&["d"])];
    let bytes = all.concat();
    let walked: Vec<_> =
        Batches::whole(&bytes).map(|batch| batch.expect("whole").bytes.to_vec()).collect();
    assert_eq!(walked, all);

    let position = all[0].len() + all[1].len();
    for missing in 1..all[2].len() {
        let cut = &bytes[..bytes.len() - missing];
        let mut batches = Batches::tolerating_truncation(cut);
        assert_eq!(batches.by_ref().filter_map(Result::ok).count(), 2);
        assert_eq!(batches.position(), position);
        let last = Batches::whole(cut).last().expect("an error");
        assert!(matches!(
            last,
            Err(BatchesError::Truncated { position: p, .. } | BatchesError::Header { position: p, .. })
                if p == position
        ));
    }
}

#[test]
fn rubbish_after_a_batch_is_an_error_even_when_truncation_is_not() {
    let mut bytes = batch_of(&["a"]);
    let position = bytes.len();
    bytes.extend_from_slice(&[0xff; 100]);
    let mut batches = Batches::tolerating_truncation(&bytes);
    assert!(batches.next().is_some_and(|batch| batch.is_ok()));
    let source = HeaderError::Magic { magic: -1 };
    assert_eq!(batches.next(), Some(Err(BatchesError::Header { position, source })));
    assert_eq!(batches.next(), None);
}

#[test]
fn owned_slices_share_the_run() {
    let bytes = Bytes::from([batch_of(&["a"]), batch_of(&["b"])].concat());
    let slices: Vec<_> = batches_in(&bytes).map(|batch| batch.expect("whole").1).collect();
    assert_eq!(slices.concat(), bytes);
    assert_eq!(slices[0].as_ptr(), bytes.as_ptr());
}

#[test]
fn a_stamped_batch_answers_time_searches_from_its_header() {
    let mut bytes = batch_of(&["a", "b"]);
    let mut batch = BatchMut::first_in(&mut bytes).expect("a batch");
    batch.set_base_offset(Offset(40));
    batch.stamp_log_append_time(Timestamp(5000));
    // Only the header is left: reading a record would fail.
    let header = &bytes[..HEADER_BYTES];
    let found = Some((Offset(40), Timestamp(5000)));
    assert_eq!(first_record_at_or_after(header, Timestamp(4999), 0).expect("reads"), found);
    assert_eq!(first_record_at_or_after(header, Timestamp(5001), 0).expect("reads"), None);
    assert_eq!(max_timestamp_record(header, 0).expect("reads"), found);
    let from = |offset| first_record_from(header, Offset(offset), Timestamp(1), 0).expect("reads");
    assert_eq!(from(41), Some((Offset(41), Timestamp(5000))));
    assert_eq!(from(42), None, "behind the batch");
}

#[test]
fn what_lies_before_the_start_of_the_log_is_not_found() {
    let mut builder = BatchBuilder::new().base_offset(Offset(100));
    for time in [7, 3, 5] {
        builder.push(NewRecord::new(Timestamp(time), Some(b"k"), None)).expect("fits");
    }
    let batch = builder.build().expect("builds");
    let find = |from, time| {
        let found = first_record_from(&batch, Offset(from), Timestamp(time), 0).expect("reads");
        found.map(|(offset, time)| (offset.get(), time.get()))
    };
    assert_eq!(find(0, 4), Some((100, 7)));
    assert_eq!(find(101, 4), Some((102, 5)));
    assert_eq!(find(101, 1), Some((101, 3)));
    assert_eq!(find(101, 6), None);
}

#[test]
fn a_thinned_batch_answers_with_records_that_still_exist() {
    let mut builder = BatchBuilder::new().base_offset(Offset(100)).log_append_time(Timestamp(9));
    builder.push_at(3, NewRecord::new(Timestamp(1), Some(b"k"), None)).expect("fits");
    builder.push_at(7, NewRecord::new(Timestamp(2), Some(b"k"), None)).expect("fits");
    let again = builder.push_at(7, NewRecord::new(Timestamp(2), Some(b"k"), None));
    assert!(matches!(again, Err(BuildError::OffsetDelta { delta: 7, previous: 7 })));
    let batch = builder.build().expect("builds");
    let found = Some((Offset(103), Timestamp(9)));
    assert_eq!(first_record_at_or_after(&batch, Timestamp(9), 1000).expect("reads"), found);
    assert_eq!(max_timestamp_record(&batch, 1000).expect("reads"), found);
}

#[test]
fn a_batch_without_records_is_not_made() {
    assert!(matches!(BatchBuilder::new().build(), Err(BuildError::Empty)));
}

#[test]
fn a_batch_that_unfolds_too_far_is_not_read() {
    let value = vec![0; 1 << 20];
    let mut builder = BatchBuilder::new().compression(Compression::Zstd);
    builder.push(NewRecord::new(Timestamp(1), None, Some(&value))).expect("fits");
    let batch = builder.build().expect("builds");
    assert!(matches!(OpenBatch::open(&batch, 1000), Err(ReadError::Decompress(_))));
}

/// A key and value, both nullable, headers (key, nullable value) and a time.
type OwnedRecord = (Option<Vec<u8>>, Option<Vec<u8>>, Vec<(Vec<u8>, Option<Vec<u8>>)>, i64);

fn any_record() -> impl Strategy<Value = OwnedRecord> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..80);
    let headers = prop::collection::vec((bytes(), prop::option::of(bytes())), 0..4);
    (prop::option::of(bytes()), prop::option::of(bytes()), headers, -1..i64::MAX / 2)
}

fn any_codec() -> impl Strategy<Value = Compression> {
    (0..5u8).prop_map(|id| Compression::from_id(id).expect("known"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_built_is_what_is_read(
        records in prop::collection::vec(any_record(), 1..20),
        codec in any_codec(),
    ) {
        let mut builder = BatchBuilder::new().base_offset(Offset(9)).compression(codec);
        for (key, value, headers, timestamp) in &records {
            let headers: Vec<_> = headers
                .iter()
                .map(|(key, value)| Header { key, value: value.as_deref() })
                .collect();
            let (key, value) = (key.as_deref(), value.as_deref());
            let timestamp = Timestamp(*timestamp);
            builder.push(NewRecord { timestamp, key, value, headers: &headers }).expect("fits");
        }
        let batch = builder.build().expect("builds");
        let open = OpenBatch::open(&batch, 1 << 20).expect("opens");
        prop_assert_eq!(open.header().crc, compute_crc(&batch));
        prop_assert_eq!(open.header().record_count as usize, records.len());
        let read: Vec<_> = open.records().collect::<Result<_, _>>().expect("reads");
        for (index, (read, (key, value, headers, timestamp))) in read.iter().zip(&records).enumerate() {
            prop_assert_eq!(read.offset(open.header()), Offset(9 + index as i64));
            prop_assert_eq!(read.timestamp(open.header()), Timestamp(*timestamp));
            prop_assert_eq!((read.key, read.value), (key.as_deref(), value.as_deref()));
            let expected = headers.iter().map(|(k, v)| (k.as_slice(), v.as_deref()));
            prop_assert!(read.headers().map(|h| (h.key, h.value)).eq(expected));
        }
        let latest = records.iter().map(|record| Timestamp(record.3)).max();
        let found = max_timestamp_record(&batch, 1 << 20).expect("reads");
        prop_assert_eq!(found.map(|(_, timestamp)| timestamp), latest);
    }

    #[test]
    fn headers_round_trip(bytes: [u8; HEADER_BYTES]) {
        let mut bytes = bytes;
        bytes[16] = 2;
        bytes[8] &= 0x7f;
        bytes[11] |= 49;
        let header = BatchHeader::parse(&bytes).expect("parses");
        prop_assert_eq!(header.encode(), bytes);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>, tail: Vec<u8>, codec in 0..8u8) {
        let _ = Records::new(&bytes).count();
        let _ = Batches::whole(&bytes).count();
        let _ = BatchMut::first_in(&mut bytes.clone()).map(|mut batch| {
            batch.stamp_log_append_time(Timestamp(1));
        });
        // A header that is right, with arbitrary records.
        let mut batch = batch_of(&["x"])[..HEADER_BYTES].to_vec();
        batch.extend_from_slice(&tail);
        batch[8..12].copy_from_slice(&(tail.len() as i32 + 49).to_be_bytes());
        batch[22] = codec;
        let _ = first_record_at_or_after(&batch, Timestamp(1000), 1000);
        let _ = max_timestamp_record(&batch, 1000);
        let _ = Batches::tolerating_truncation(&batch).count();
    }
}
