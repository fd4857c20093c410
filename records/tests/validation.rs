//! Produced batches: every field wrong in turn, and what is done about records.

use antiphon_common::{Offset, ProducerEpoch, ProducerId, Timestamp};
use antiphon_records::{
    BatchBuilder, BatchFault, BatchMut, Compression, ContentRules, Contents, HEADER_BYTES,
    InvalidBatch, NewRecord, ProduceRules, Sequence, TimestampRules, compute_crc,
    validate_contents, validate_produced,
};
use proptest::prelude::*;

const NOW: i64 = 1_700_000_000_000;
const HOUR: i64 = 3_600_000;

const CONTENTS: ContentRules = ContentRules {
    timestamps: TimestampRules::CreateTime {
        now: Timestamp(NOW),
        before_max_ms: i64::MAX,
        after_max_ms: HOUR,
    },
    key_required: false,
    decompressed_bytes_max: 1 << 20,
};
const RULES: ProduceRules =
    ProduceRules { batch_bytes_max: 1 << 20, zstd_allowed: true, contents: CONTENTS };
const KEYED: ContentRules = ContentRules { key_required: true, ..CONTENTS };

fn build(codec: Compression, records: &[(i64, Option<&[u8]>)]) -> Vec<u8> {
    let mut builder = BatchBuilder::new().compression(codec).producer(
        ProducerId(5),
        ProducerEpoch(0),
        Sequence::ZERO,
    );
    for (timestamp, key) in records {
        let record = NewRecord::new(Timestamp(*timestamp), *key, Some(b"value"));
        builder.push(record).expect("fits");
    }
    builder.build().expect("builds").to_vec()
}

fn good() -> Vec<u8> {
    build(Compression::None, &[(NOW, Some(b"a")), (NOW + 5, None), (NOW + 2, Some(b"c"))])
}

/// `batch` with `value` at `at`, and the CRC that a producer would have computed over that.
fn forged(batch: &[u8], at: usize, value: &[u8]) -> Vec<u8> {
    let mut bytes = batch.to_vec();
    bytes[at..at + value.len()].copy_from_slice(value);
    resealed(bytes)
}

fn resealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let crc = compute_crc(&bytes);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// An uncompressed batch of `count` records whose body is `body`.
fn with_body(count: i32, body: &[u8]) -> Vec<u8> {
    let mut bytes = [&good()[..HEADER_BYTES], body].concat();
    bytes[8..12].copy_from_slice(&(body.len() as i32 + 49).to_be_bytes());
    bytes[23..27].copy_from_slice(&(count - 1).to_be_bytes());
    bytes[57..61].copy_from_slice(&count.to_be_bytes());
    resealed(bytes)
}

fn refused(bytes: &[u8], rules: &ProduceRules) -> InvalidBatch {
    validate_produced(bytes, rules).expect_err("refused")
}

macro_rules! assert_refused {
    ($bytes:expr, $rules:expr, $error:pat, $fault:ident) => {
        let error = refused($bytes, $rules);
        assert!(matches!(error, $error), "{error:?}");
        assert_eq!(error.fault(), BatchFault::$fault, "{error}");
    };
}

#[test]
fn a_good_batch_is_accepted_and_summarised() {
    let validated = validate_produced(&good(), &RULES).expect("valid");
    let Contents::Read(summary) = validated.contents else { panic!("uncompressed is read") };
    assert_eq!(summary.max_timestamp, Timestamp(NOW + 5));
    assert_eq!(summary.offset_of_max_timestamp, Offset(1));
    assert_eq!(validated.corrected_max_timestamp(), None);
}

#[test]
fn one_batch_no_more_no_less() {
    let batch = good();
    assert_refused!(&[], &RULES, InvalidBatch::Empty, InvalidRecord);
    let two = [batch.clone(), batch.clone()].concat();
    assert_refused!(&two, &RULES, InvalidBatch::NotOneBatch { .. }, InvalidRecord);
    let trailing = [batch.clone(), vec![0]].concat();
    assert_refused!(&trailing, &RULES, InvalidBatch::NotOneBatch { .. }, InvalidRecord);
    for length in 1..batch.len() {
        let cut = &batch[..length];
        assert_refused!(cut, &RULES, InvalidBatch::Truncated { .. }, InvalidRecord);
    }
}

#[test]
fn formats_other_than_two_are_told_apart() {
    for magic in [0u8, 1] {
        let old = forged(&good(), 16, &[magic]);
        let fault = UNSUPPORTED;
        assert!(matches!(refused(&old, &RULES), InvalidBatch::OldFormat { .. }));
        assert_eq!(refused(&old, &RULES).fault(), fault);
    }
    for magic in [3u8, 127, 255] {
        let unknown = forged(&good(), 16, &[magic]);
        assert_refused!(&unknown, &RULES, InvalidBatch::UnknownFormat { .. }, CorruptMessage);
    }
}

const UNSUPPORTED: BatchFault = BatchFault::UnsupportedForMessageFormat;

#[test]
fn lengths_that_lie_are_refused() {
    for length in [-1i32, i32::MIN, 0, 48] {
        let short = forged(&good(), 8, &length.to_be_bytes());
        assert_refused!(&short, &RULES, InvalidBatch::Length { .. }, CorruptMessage);
    }
    let long = forged(&good(), 8, &i32::MAX.to_be_bytes());
    assert_refused!(&long, &RULES, InvalidBatch::Truncated { .. }, InvalidRecord);
}

#[test]
fn the_topics_size_limit_counts_the_whole_batch() {
    let batch = good();
    let exact = ProduceRules { batch_bytes_max: batch.len(), ..RULES };
    assert!(validate_produced(&batch, &exact).is_ok());
    let tight = ProduceRules { batch_bytes_max: batch.len() - 1, ..RULES };
    assert_refused!(&batch, &tight, InvalidBatch::TooLarge { .. }, MessageTooLarge);
}

#[test]
fn every_flipped_bit_under_the_crc_is_noticed() {
    let batch = good();
    for at in 17..batch.len() {
        for bit in 0..8 {
            let mut damaged = batch.clone();
            damaged[at] ^= 1 << bit;
            assert_refused!(&damaged, &RULES, InvalidBatch::Crc { .. }, CorruptMessage);
        }
    }
}

#[test]
fn header_fields_are_checked_one_by_one() {
    let batch = good();
    let base = forged(&batch, 0, &1i64.to_be_bytes());
    assert_refused!(&base, &RULES, InvalidBatch::BaseOffset { .. }, InvalidRecord);
    for count in [0, -1, 2, 4, i32::MIN, i32::MAX] {
        let wrong = forged(&batch, 57, &count.to_be_bytes());
        assert_refused!(&wrong, &RULES, InvalidBatch::Count { .. }, InvalidRecord);
    }
    for delta in [-1, 0, 1, 3, i32::MIN, i32::MAX] {
        let wrong = forged(&batch, 23, &delta.to_be_bytes());
        assert_refused!(&wrong, &RULES, InvalidBatch::Count { .. }, InvalidRecord);
    }
    let both = forged(&forged(&batch, 57, &0i32.to_be_bytes()), 23, &(-1i32).to_be_bytes());
    assert_refused!(&both, &RULES, InvalidBatch::Count { .. }, InvalidRecord);
    for codec in 5..=7u8 {
        let wrong = forged(&batch, 22, &[codec]);
        assert_refused!(&wrong, &RULES, InvalidBatch::UnknownCodec { .. }, InvalidRecord);
    }
    let control = forged(&batch, 22, &[0x20]);
    assert_refused!(&control, &RULES, InvalidBatch::Control, InvalidRecord);
    let horizon = forged(&batch, 22, &[0x40]);
    assert_refused!(&horizon, &RULES, InvalidBatch::DeleteHorizon, InvalidRecord);
    let stamped = forged(&batch, 22, &[0x08]);
    assert_refused!(&stamped, &RULES, InvalidBatch::LogAppendTime, InvalidTimestamp);
}

#[test]
fn producer_fields_belong_together() {
    let batch = good();
    let sequence = forged(&batch, 53, &(-1i32).to_be_bytes());
    assert_refused!(&sequence, &RULES, InvalidBatch::ProducerFields { .. }, InvalidRecord);
    let epoch = forged(&batch, 51, &(-1i16).to_be_bytes());
    assert_refused!(&epoch, &RULES, InvalidBatch::ProducerFields { .. }, InvalidRecord);
    let nobody = forged(&batch, 43, &(-1i64).to_be_bytes());
    assert!(validate_produced(&nobody, &RULES).is_ok(), "sequences of nobody mean nothing");
    assert!(validate_produced(&forged(&batch, 22, &[0x10]), &RULES).is_ok(), "transactional");
    let orphan = forged(&nobody, 22, &[0x10]);
    assert_refused!(&orphan, &RULES, InvalidBatch::TransactionalWithoutProducer, InvalidRecord);
}

#[test]
fn zstd_needs_a_request_that_may_carry_it() {
    let batch = build(Compression::Zstd, &[(NOW, None)]);
    assert!(validate_produced(&batch, &RULES).is_ok());
    let old = ProduceRules { zstd_allowed: false, ..RULES };
    assert_refused!(&batch, &old, InvalidBatch::ZstdNotAllowed, UnsupportedCompressionType);
}

/// length 6, attributes, timestamp delta 0, offset delta, null key, null value, no headers.
const fn small_record(offset_delta: u8) -> [u8; 7] {
    [12, 0, 0, offset_delta * 2, 1, 1, 0]
}

#[test]
fn records_are_counted_and_their_offsets_are_consecutive() {
    let body =
        |deltas: &[u8]| -> Vec<u8> { deltas.iter().flat_map(|d| small_record(*d)).collect() };
    assert!(validate_produced(&with_body(3, &body(&[0, 1, 2])), &RULES).is_ok());
    for deltas in [&[0, 2, 1][..], &[0, 0, 1], &[1, 2, 3]] {
        let wrong = with_body(3, &body(deltas));
        assert_refused!(&wrong, &RULES, InvalidBatch::OffsetDelta { .. }, InvalidRecord);
    }
    for deltas in [&[0, 1][..], &[], &[0, 1, 2, 3], &[0, 1, 2, 3, 4]] {
        let wrong = with_body(3, &body(deltas));
        assert_refused!(
            &wrong,
            &RULES,
            InvalidBatch::RecordCount { declared: 3, .. },
            InvalidRecord
        );
    }
}

#[test]
fn malformed_records_are_refused_with_their_index() {
    let first = small_record(0);
    for (what, second) in [
        ("trailing bytes", &[0xff][..]),
        ("a length beyond the batch", &[14, 0, 0, 2, 1, 1, 0]),
        ("a length short of its fields", &[10, 0, 0, 2, 1, 1, 0]),
        ("a length beyond its fields", &[14, 0, 0, 2, 1, 1, 0, 0]),
        ("a negative length", &[1, 0, 0, 2, 1, 1, 0]),
        ("an empty record", &[0]),
        ("a key length of -2", &[12, 0, 0, 2, 3, 1, 0]),
        ("a key beyond the record", &[12, 0, 0, 2, 20, 1, 0]),
        ("a huge header count", &[20, 0, 0, 2, 1, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f]),
        ("a negative header count", &[12, 0, 0, 2, 1, 1, 1]),
        ("a null header key", &[16, 0, 0, 2, 1, 1, 2, 1, 1]),
        ("an overlong varint", &[22, 0, 0, 0x82, 0x80, 0x80, 0x80, 0x80, 0x00, 1, 1, 0]),
    ] {
        let batch = with_body(2, &[&first, second].concat());
        let error = refused(&batch, &RULES);
        assert!(matches!(error, InvalidBatch::Record { index: 1, .. }), "{what}: {error:?}");
        assert_eq!((error.fault(), error.record_index()), (BatchFault::InvalidRecord, Some(1)));
    }
}

#[test]
fn a_compacted_topic_needs_keys() {
    let records = [(NOW, Some(&b"a"[..])), (NOW, None)];
    let keyed = ProduceRules { contents: KEYED, ..RULES };
    let plain = build(Compression::None, &records);
    assert_refused!(&plain, &keyed, InvalidBatch::NullKey { index: 1 }, InvalidRecord);
    assert_eq!(refused(&plain, &keyed).record_index(), Some(1));
    for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let batch = build(codec, &records);
        let validated = validate_produced(&batch, &keyed).expect("the header is fine");
        assert_eq!(validated.contents, Contents::MustBeRead);
        let error = validate_contents(&batch, &KEYED).expect_err("refused");
        assert!(matches!(error, InvalidBatch::NullKey { index: 1 }), "{error:?}");
    }
}

#[test]
fn timestamps_out_of_range_are_refused() {
    for codec in [Compression::None, Compression::Lz4] {
        let check = |timestamps: &[i64], contents: ContentRules| {
            let records: Vec<_> = timestamps.iter().map(|t| (*t, None)).collect();
            validate_produced(&build(codec, &records), &ProduceRules { contents, ..RULES })
        };
        let week = ContentRules {
            timestamps: TimestampRules::CreateTime {
                now: Timestamp(NOW),
                before_max_ms: 168 * HOUR,
                after_max_ms: HOUR,
            },
            ..CONTENTS
        };
        assert!(check(&[NOW, NOW + HOUR], CONTENTS).is_ok());
        assert!(check(&[0, NOW], CONTENTS).is_ok(), "any age by default");
        assert!(check(&[i64::MIN / 2], CONTENTS).is_ok());
        assert!(check(&[-1], week).is_ok(), "no timestamp is always in range");
        for (timestamps, rules) in [
            (&[NOW, NOW + HOUR + 1][..], CONTENTS),
            (&[i64::MAX], CONTENTS),
            (&[NOW - 168 * HOUR - 1, NOW], week),
        ] {
            let error = check(timestamps, rules).expect_err("refused");
            assert_eq!(error.fault(), BatchFault::InvalidTimestamp);
            assert_eq!(error.record_index().is_some(), codec == Compression::None);
        }
        let stamped = ContentRules { timestamps: TimestampRules::LogAppendTime, ..CONTENTS };
        assert!(check(&[i64::MAX], stamped).is_ok(), "the broker's time replaces it");
    }
}

#[test]
fn a_timestamp_that_overflows_is_refused() {
    // First timestamp i64::MAX - 1, second record 2 ms later.
    let body = [&small_record(0)[..], &[12, 0, 4, 2, 1, 1, 0]].concat();
    let batch = forged(&with_body(2, &body), 27, &(i64::MAX - 1).to_be_bytes());
    let contents = ContentRules { timestamps: TimestampRules::LogAppendTime, ..CONTENTS };
    let rules = ProduceRules { contents, ..RULES };
    assert_refused!(&batch, &rules, InvalidBatch::TimestampOverflow { index: 1 }, InvalidTimestamp);
}

#[test]
fn a_max_timestamp_that_was_left_unset_is_found_in_the_records() {
    let records = [(NOW, None), (NOW + 7, None)];
    for unset in [-1i64, NOW - 1] {
        let plain = forged(&build(Compression::None, &records), 35, &unset.to_be_bytes());
        let validated = validate_produced(&plain, &RULES).expect("valid");
        assert_eq!(validated.corrected_max_timestamp(), Some(Timestamp(NOW + 7)));

        let mut packed = forged(&build(Compression::Gzip, &records), 35, &unset.to_be_bytes());
        let validated = validate_produced(&packed, &RULES).expect("valid");
        assert_eq!(validated.contents, Contents::MustBeRead);
        let summary = validate_contents(&packed, &CONTENTS).expect("valid");
        assert_eq!(summary.max_timestamp, Timestamp(NOW + 7));
        let mut batch = BatchMut::first_in(&mut packed).expect("a batch");
        batch.set_max_timestamp(summary.max_timestamp);
        let corrected = validate_produced(&packed, &RULES).expect("valid");
        assert_eq!(corrected.contents, Contents::Trusted);

        let stamped = ContentRules { timestamps: TimestampRules::LogAppendTime, ..CONTENTS };
        let validated = validate_produced(&packed, &ProduceRules { contents: stamped, ..RULES });
        assert_eq!(validated.expect("valid").contents, Contents::Trusted);
    }
}

#[test]
fn a_bomb_is_refused_as_too_large() {
    let mut builder = BatchBuilder::new().compression(Compression::Zstd);
    let zeros = vec![0; 4 << 20];
    builder.push(NewRecord::new(Timestamp(NOW), Some(b"k"), Some(&zeros))).expect("fits");
    let bomb = builder.build().expect("builds");
    let error = validate_contents(&bomb, &CONTENTS).expect_err("refused");
    assert_eq!(error.fault(), BatchFault::MessageTooLarge);
}

#[test]
fn a_body_that_is_not_what_the_codec_writes_is_refused_when_it_is_read() {
    for codec in 1..=4u8 {
        let batch = forged(&good(), 22, &[codec]);
        let error = validate_contents(&batch, &CONTENTS).expect_err("refused");
        assert!(matches!(error, InvalidBatch::Decompress(_)), "{error:?}");
        assert_eq!(error.fault(), BatchFault::InvalidRecord);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        let _ = validate_produced(&bytes, &RULES);
        let _ = validate_contents(&bytes, &CONTENTS);
    }

    #[test]
    fn arbitrary_records_under_a_true_crc_never_panic(
        body in prop::collection::vec(any::<u8>(), 0..200),
        count in 1..5i32,
        codec in 0..8u8,
    ) {
        let batch = forged(&with_body(count, &body), 22, &[codec]);
        let _ = validate_produced(&batch, &RULES);
        let _ = validate_contents(&batch, &CONTENTS);
    }

    #[test]
    fn one_wrong_byte_among_the_records_never_passes_for_another_count(
        at: prop::sample::Index,
        flip in 1..=255u8,
    ) {
        let mut batch = good();
        let at = HEADER_BYTES + at.index(batch.len() - HEADER_BYTES);
        batch[at] ^= flip;
        let batch = resealed(batch);
        if let Ok(validated) = validate_produced(&batch, &RULES) {
            prop_assert_eq!(validated.header.record_count, 3);
        }
    }
}
