//! What compaction leaves of a batch.

use antiphon_common::{Offset, Timestamp};
use antiphon_records::{
    BatchHeader, OpenBatch, Record, Retained, compute_crc, emptied, retain_records,
};

use super::records::{UNPACKED_BYTES_MAX, with_crc};

/// The first eight bytes choose what stays, bit by bit and again from the first.
pub const CHOICE_BYTES: usize = 8;
/// The next choose the delete horizon: any, because a record's time may be any, too.
pub const HORIZON_BYTES: usize = 8;
/// By how much a timestamp that is told from the horizon may be longer.
const DELTA_BYTES_MAX: usize = 10;

/// Choice, horizon, batch. What stays is what was chosen, as it was; and thinning what is thin already
/// changes nothing.
pub fn retain(data: &[u8]) {
    let Some((choice, rest)) = data.split_first_chunk::<CHOICE_BYTES>() else { return };
    let Some((horizon, batch)) = rest.split_first_chunk::<HORIZON_BYTES>() else { return };
    let (choice, horizon) = (u64::from_be_bytes(*choice), i64::from_be_bytes(*horizon));
    let batch = with_crc(batch);
    let mut position = 0;
    let keep = |_: &Record<'_>, _: Offset| {
        position += 1;
        choice >> ((position - 1) % 64) & 1 == 1
    };
    let horizon = Timestamp(horizon);
    let Ok(retained) = retain_records(&batch, horizon, UNPACKED_BYTES_MAX, keep) else { return };
    let header = BatchHeader::parse(&batch).expect("it was read a moment ago");
    let before = records_of(&batch, UNPACKED_BYTES_MAX);
    let chosen = before.iter().zip(0..).filter(|(_, at)| choice >> (at % 64) & 1 == 1);
    let chosen: Vec<_> = chosen.map(|(record, _)| record.clone()).collect();
    match retained {
        Retained::Whole => assert_eq!(chosen, before),
        Retained::Nothing => assert!(chosen.is_empty()),
        Retained::Thinned { batch: thinned, removed } => {
            assert_eq!(before.len() - chosen.len(), removed as usize);
            let room = UNPACKED_BYTES_MAX + chosen.len() * DELTA_BYTES_MAX;
            assert_eq!(records_of(&thinned, room), chosen);
            check_header(&header, &thinned, chosen.len());
            let again = retain_records(&thinned, horizon, room, |_, _| true);
            assert!(matches!(again, Ok(Retained::Whole)), "{again:?}");
        }
    }
    check_header(&header, &emptied(&header), 0);
    assert_eq!(records_of(&emptied(&header), 0), Vec::new());
}

/// Everything that a batch is known by is still what it was.
fn check_header(before: &BatchHeader, batch: &[u8], records: usize) {
    let after = BatchHeader::parse(batch).expect("what was written parses");
    assert_eq!(after.size_in_bytes(), batch.len());
    assert_eq!(after.crc, compute_crc(batch));
    assert_eq!(after.record_count as usize, records);
    let known_by = |header: &BatchHeader| {
        let BatchHeader { base_offset, last_offset_delta, partition_leader_epoch, .. } = *header;
        let BatchHeader { producer_id, producer_epoch, base_sequence, .. } = *header;
        let place = (base_offset, last_offset_delta, partition_leader_epoch);
        (place, (producer_id, producer_epoch, base_sequence), header.timestamp_type())
    };
    assert_eq!(known_by(&after), known_by(before));
    if records > 0 {
        assert_eq!(after.compression(), before.compression());
    }
}

type Seen = (Offset, Timestamp, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(Vec<u8>, Option<Vec<u8>>)>);

/// The records of a batch as a consumer sees them.
fn records_of(batch: &[u8], unpacked_bytes_max: usize) -> Vec<Seen> {
    let open = OpenBatch::open(batch, unpacked_bytes_max).expect("a batch");
    let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    let records = open.records().map(|record| {
        let record = record.expect("a record");
        let headers = record.headers().map(|header| (header.key.to_vec(), owned(header.value)));
        let header = open.header();
        let (offset, timestamp) = (record.offset(header), record.timestamp(header));
        (offset, timestamp, owned(record.key), owned(record.value), headers.collect())
    });
    records.collect()
}
