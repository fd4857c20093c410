//! Record batches and what is remembered of their producers.

use antiphon_common::Timestamp;
use antiphon_records::{
    BatchHeader, Batches, Compression, ContentRules, OpenBatch, ProduceRules, ProducerEntry,
    TimestampRules, compute_crc, first_record_at_or_after, max_timestamp_record, validate_contents,
    validate_produced,
};

pub(super) const UNPACKED_BYTES_MAX: usize = 1 << 20;
const CRC: std::ops::Range<usize> = 17..21;

const CONTENTS: ContentRules = ContentRules {
    timestamps: TimestampRules::CreateTime {
        now: Timestamp(1_700_000_000_000),
        before_max_ms: i64::MAX,
        after_max_ms: 3_600_000,
    },
    key_required: false,
    decompressed_bytes_max: UNPACKED_BYTES_MAX,
};

/// The batch with a right checksum, which no fuzzer guesses.
pub(super) fn with_crc(data: &[u8]) -> Vec<u8> {
    let mut batch = data.to_vec();
    if batch.len() >= antiphon_records::HEADER_BYTES {
        let crc = compute_crc(&batch).to_be_bytes();
        batch[CRC].copy_from_slice(&crc);
    }
    batch
}

/// What a producer sends: an accepted batch is one whose every promise holds.
pub fn batches(data: &[u8]) {
    let batch = with_crc(data);
    let rules = ProduceRules { batch_bytes_max: 1 << 20, zstd_allowed: true, contents: CONTENTS };
    if let Ok(validated) = validate_produced(&batch, &rules) {
        assert_eq!(validated.header.size_in_bytes(), batch.len());
        assert_eq!(validated.header.record_count - 1, validated.header.last_offset_delta);
        if validated.header.compression() == Ok(Compression::None) {
            assert_eq!(count_records(&batch), Some(validated.header.record_count));
        }
    }
    let walked: usize = Batches::whole(data).flatten().map(|batch| batch.bytes.len()).sum();
    assert!(walked <= data.len());
}

fn count_records(batch: &[u8]) -> Option<i32> {
    let open = OpenBatch::open(batch, UNPACKED_BYTES_MAX).ok()?;
    open.records().try_fold(0, |count, record| record.ok().map(|_| count + 1))
}

/// What a reader unpacks: never more than it allows, whatever the batch claims.
pub fn bodies(data: &[u8]) {
    if let Ok(open) = OpenBatch::open(data, UNPACKED_BYTES_MAX) {
        for record in open.records().map_while(Result::ok) {
            let _ = record.offset(open.header());
            let _ = record.timestamp(open.header());
            assert!(record.headers().count() <= UNPACKED_BYTES_MAX);
        }
    }
    let _ = max_timestamp_record(data, UNPACKED_BYTES_MAX);
    let _ = first_record_at_or_after(data, Timestamp(1_700_000_000_000), UNPACKED_BYTES_MAX);
    if let Ok(header) = BatchHeader::parse(data) {
        assert_eq!(BatchHeader::parse(&header.encode()), Ok(header));
        let _ = validate_contents(data, &CONTENTS);
    }
}

/// The first byte is the codec.
pub fn decompress(data: &[u8]) {
    let Some((codec, packed)) = data.split_first() else { return };
    if let Ok(codec) = Compression::from_id(codec % 5)
        && let Ok(unpacked) = antiphon_records::decompress(codec, packed, UNPACKED_BYTES_MAX)
    {
        assert!(unpacked.len() <= UNPACKED_BYTES_MAX);
    }
}

/// A row of the catalog. What decodes is what would be written again.
pub fn producers(data: &[u8]) {
    if let Ok(entry) = ProducerEntry::decode(data) {
        let again = ProducerEntry::decode(&entry.encode());
        assert_eq!(again.map(|entry| entry.encode()), Ok(entry.encode()));
    }
}
