//! Finding a record by time inside one batch, for ListOffsets.
//!
//! An index leads to the batch; the answer must be the record *inside* it, or a consumer that seeks
//! by time starts with records older than it asked for (KIP-79).

use antiphon_common::{Offset, Timestamp};

use crate::batch::{BatchHeader, OpenBatch, ReadError, TimestampType};

/// The first record in the batch whose timestamp is `timestamp` or later, with its own timestamp.
///
/// Reads only the header if that already decides it, else decompresses to at most
/// `decompressed_bytes_max` bytes.
pub fn first_record_at_or_after(
    batch: &[u8],
    timestamp: Timestamp,
    decompressed_bytes_max: usize,
) -> Result<Option<(Offset, Timestamp)>, ReadError> {
    first_record_from(batch, Offset(i64::MIN), timestamp, decompressed_bytes_max)
}

/// As [`first_record_at_or_after`], of the records at or after the offset `from`: the log may start
/// inside a batch (DeleteRecords), and what lies before its start is not there.
pub fn first_record_from(
    batch: &[u8],
    from: Offset,
    timestamp: Timestamp,
    decompressed_bytes_max: usize,
) -> Result<Option<(Offset, Timestamp)>, ReadError> {
    let header = BatchHeader::parse(batch)?;
    if header.max_timestamp < timestamp || header.last_offset() < from {
        return Ok(None);
    }
    if let Some(offset) = offset_if_all_alike(&header) {
        return Ok(Some((offset.max(from), header.max_timestamp)));
    }
    let open = OpenBatch::open(batch, decompressed_bytes_max)?;
    for record in open.records() {
        let record = record?;
        let (offset, found) = (record.offset(&header), record.timestamp(&header));
        if found >= timestamp && offset >= from {
            return Ok(Some((offset, found)));
        }
    }
    Ok(None)
}

/// The first of the records with the batch's largest timestamp; `None` for a batch that compaction
/// has emptied.
pub fn max_timestamp_record(
    batch: &[u8],
    decompressed_bytes_max: usize,
) -> Result<Option<(Offset, Timestamp)>, ReadError> {
    let header = BatchHeader::parse(batch)?;
    if let Some(offset) = offset_if_all_alike(&header) {
        return Ok(Some((offset, header.max_timestamp)));
    }
    let open = OpenBatch::open(batch, decompressed_bytes_max)?;
    let mut latest: Option<(Offset, Timestamp)> = None;
    for record in open.records() {
        let record = record?;
        let found = record.timestamp(&header);
        if latest.is_none_or(|(_, timestamp)| found > timestamp) {
            latest = Some((record.offset(&header), found));
        }
    }
    Ok(latest)
}

/// The first record's offset, if the header gives it and gives every record the same timestamp: the
/// broker stamped the batch and compaction has not thinned it.
fn offset_if_all_alike(header: &BatchHeader) -> Option<Offset> {
    let stamped = header.timestamp_type() == TimestampType::LogAppendTime;
    let whole = header.record_count > 0 && header.last_offset_delta == header.record_count - 1;
    (stamped && whole).then_some(header.base_offset)
}
