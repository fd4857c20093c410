//! Batches made by real clients; `golden/README.md` says how.

use antiphon_common::{Offset, ProducerEpoch, ProducerId, Timestamp};
use antiphon_records::{
    BatchBuilder, Compression, ContentRules, Contents, Header, NewRecord, OpenBatch, ProduceRules,
    Sequence, TimestampRules, first_record_at_or_after, max_timestamp_record, validate_contents,
    validate_produced,
};

const JAVA: [(Compression, &[u8]); 5] = [
    (Compression::None, include_bytes!("golden/java-none.batch")),
    (Compression::Gzip, include_bytes!("golden/java-gzip.batch")),
    (Compression::Snappy, include_bytes!("golden/java-snappy.batch")),
    (Compression::Lz4, include_bytes!("golden/java-lz4.batch")),
    (Compression::Zstd, include_bytes!("golden/java-zstd.batch")),
];
const PYTHON: &[u8] = include_bytes!("golden/python-none.batch");

const FIRST: i64 = 1_700_000_000_000;
const LIMIT: usize = 64 * 1024;

const RULES: ProduceRules = ProduceRules {
    batch_bytes_max: 1024 * 1024,
    zstd_allowed: true,
    contents: ContentRules {
        timestamps: TimestampRules::CreateTime {
            now: Timestamp(FIRST),
            before_max_ms: i64::MAX,
            after_max_ms: 3_600_000,
        },
        key_required: false,
        decompressed_bytes_max: LIMIT,
    },
};

fn big_value() -> Vec<u8> {
    (0..40_000).map(|i| b"abcdefgh"[(i / 7) % 8]).collect()
}

fn first_headers() -> [Header<'static>; 3] {
    [
        Header { key: b"dup", value: Some(b"first") },
        Header { key: b"dup", value: Some(b"second") },
        Header { key: b"null", value: None },
    ]
}

fn expected_records(big: &[u8]) -> [NewRecord<'_>; 4] {
    let at = |delta| Timestamp(FIRST + delta);
    [
        NewRecord::new(at(0), Some(b"key-0"), Some(b"value-0")),
        NewRecord::new(at(500), None, Some(b"value-1")),
        NewRecord::new(at(250), Some(b"key-2"), None),
        NewRecord::new(at(499), Some(b"big"), Some(big)),
    ]
}

fn assert_records(batch: &[u8], expected: &[NewRecord<'_>]) {
    let open = OpenBatch::open(batch, LIMIT).expect("opens");
    let records: Vec<_> = open.records().collect::<Result<_, _>>().expect("reads");
    assert_eq!(records.len(), expected.len());
    for (index, (record, expected)) in records.iter().zip(expected).enumerate() {
        assert_eq!(record.offset(open.header()), Offset(index as i64));
        assert_eq!(record.timestamp(open.header()), expected.timestamp);
        assert_eq!((record.key, record.value), (expected.key, expected.value));
    }
    assert!(records[0].headers().eq(first_headers()), "duplicates and nulls survive");
    assert!(records[1..].iter().all(|record| record.headers().len() == 0));
}

#[test]
fn javas_batches_are_valid_and_read_back() {
    let big = big_value();
    for (codec, batch) in JAVA {
        let validated = validate_produced(batch, &RULES).expect("valid");
        let header = validated.header;
        assert_eq!(header.compression(), Ok(codec));
        assert_eq!(header.producer_id, ProducerId(4711));
        assert_eq!(header.producer_epoch, ProducerEpoch(3));
        assert_eq!((header.base_sequence, header.last_sequence()), (Sequence(17), Sequence(20)));
        assert_eq!(header.max_timestamp, Timestamp(FIRST + 500));
        assert_eq!(header.size_in_bytes(), batch.len());
        assert_eq!(validated.corrected_max_timestamp(), None);
        assert_eq!(validated.contents == Contents::Trusted, codec != Compression::None);
        let summary = validate_contents(batch, &RULES.contents).expect("valid contents");
        assert_eq!(summary.max_timestamp, Timestamp(FIRST + 500));
        assert_eq!(summary.offset_of_max_timestamp, Offset(1));
        assert_records(batch, &expected_records(&big));
    }
}

#[test]
fn pythons_batch_is_valid_and_reads_back() {
    assert!(validate_produced(PYTHON, &RULES).is_ok());
    assert_records(PYTHON, &expected_records(&[])[..3]);
}

#[test]
fn the_builder_writes_the_bytes_java_writes() {
    let big = big_value();
    let headers = first_headers();
    let mut expected = expected_records(&big);
    expected[0].headers = &headers;
    let mut builder =
        BatchBuilder::new().producer(ProducerId(4711), ProducerEpoch(3), Sequence(17));
    for record in expected {
        builder.push(record).expect("fits");
    }
    assert_eq!(builder.build().expect("builds"), JAVA[0].1);
}

#[test]
fn times_are_found_inside_the_batch() {
    for (_, batch) in JAVA {
        let find = |delta| {
            first_record_at_or_after(batch, Timestamp(FIRST + delta), LIMIT).expect("reads")
        };
        assert_eq!(find(-1), Some((Offset(0), Timestamp(FIRST))));
        assert_eq!(find(0), Some((Offset(0), Timestamp(FIRST))));
        assert_eq!(find(1), Some((Offset(1), Timestamp(FIRST + 500))));
        assert_eq!(find(500), Some((Offset(1), Timestamp(FIRST + 500))));
        assert_eq!(find(501), None);
        let latest = max_timestamp_record(batch, LIMIT).expect("reads");
        assert_eq!(latest, Some((Offset(1), Timestamp(FIRST + 500))));
    }
}
