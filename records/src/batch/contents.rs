//! Judging the records of a produced batch.
//!
//! The broker stores a batch as opaque bytes, and everybody who reads it later trusts it: consumers,
//! compaction, time look-ups, indexing. So the records are walked once, on their way in, without
//! allocation. Of a compressed batch that costs a decompression, which is why it is left to
//! [`validate_contents`] and to the topics that need it.

use antiphon_common::{Offset, Timestamp};

use super::body::decompressed_body;
use super::header::{BatchHeader, HEADER_BYTES};
use super::invalid::InvalidBatch;
use crate::record::{Record, Records};

/// What a topic demands of timestamps (`message.timestamp.type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampRules {
    /// The broker will stamp the batch; what the producer wrote does not matter.
    LogAppendTime,
    /// The producer's timestamps count, within bounds. -1 ("none") is always within them.
    CreateTime {
        /// The broker's clock.
        now: Timestamp,
        /// How many milliseconds before `now` (`message.timestamp.before.max.ms`).
        before_max_ms: i64,
        /// How many milliseconds after `now` (`message.timestamp.after.max.ms`).
        after_max_ms: i64,
    },
}

impl TimestampRules {
    /// Checks one timestamp, of the record at `index` or of the header.
    pub(super) fn check(
        &self,
        timestamp: Timestamp,
        index: Option<usize>,
    ) -> Result<(), InvalidBatch> {
        let Self::CreateTime { now, before_max_ms, after_max_ms } = *self else { return Ok(()) };
        // Saturating: with the default "any age" limit the earliest is the end of time itself.
        let earliest = Timestamp(now.get().saturating_sub(before_max_ms));
        let latest = Timestamp(now.get().saturating_add(after_max_ms));
        if timestamp == Timestamp::NONE || (earliest..=latest).contains(&timestamp) {
            return Ok(());
        }
        Err(InvalidBatch::Timestamp { index, timestamp, earliest, latest })
    }
}

/// What a topic demands of the records in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRules {
    /// The timestamps' range.
    pub timestamps: TimestampRules,
    /// Whether every record needs a key: the topic is compacted.
    pub key_required: bool,
    /// The most bytes a compressed batch may unfold to when it has to be read.
    pub decompressed_bytes_max: usize,
}

/// What the records themselves say, as opposed to the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentSummary {
    /// The largest timestamp of any record.
    pub max_timestamp: Timestamp,
    /// The offset of the first record that has it, by the header's base offset.
    pub offset_of_max_timestamp: Offset,
}

/// Decompresses a batch and judges every record, reporting the first bad one.
///
/// `batch` is exactly one batch whose header [`validate_produced`] has accepted. Costs a
/// decompression: whoever calls this for clients limits how many run at once.
///
/// [`validate_produced`]: super::validate_produced
pub fn validate_contents(
    batch: &[u8],
    rules: &ContentRules,
) -> Result<ContentSummary, InvalidBatch> {
    let header = BatchHeader::parse(batch)?;
    let codec =
        header.compression().map_err(|unknown| InvalidBatch::UnknownCodec { id: unknown.id })?;
    let compressed = batch.get(HEADER_BYTES..).unwrap_or_default();
    let body = decompressed_body(codec, compressed, rules.decompressed_bytes_max)?;
    judge_records(&header, &body, rules)
}

/// Judges the records of a decompressed body.
pub(super) fn judge_records(
    header: &BatchHeader,
    body: &[u8],
    rules: &ContentRules,
) -> Result<ContentSummary, InvalidBatch> {
    let declared = header.record_count;
    let mut found = 0;
    let mut summary = ContentSummary {
        max_timestamp: Timestamp(i64::MIN),
        offset_of_max_timestamp: header.base_offset,
    };
    for record in Records::new(body) {
        let record = record.map_err(|source| InvalidBatch::Record { index: found, source })?;
        let timestamp = judge_record(header, &record, found, rules)?;
        if timestamp > summary.max_timestamp {
            summary.max_timestamp = timestamp;
            summary.offset_of_max_timestamp = record.offset(header);
        }
        found += 1;
        if found > declared as usize {
            break;
        }
    }
    if found == declared as usize {
        Ok(summary)
    } else {
        Err(InvalidBatch::RecordCount { declared, found })
    }
}

/// Judges one record and returns its timestamp.
fn judge_record(
    header: &BatchHeader,
    record: &Record<'_>,
    index: usize,
    rules: &ContentRules,
) -> Result<Timestamp, InvalidBatch> {
    if usize::try_from(record.offset_delta) != Ok(index) {
        return Err(InvalidBatch::OffsetDelta { index, found: record.offset_delta });
    }
    if rules.key_required && record.key.is_none() {
        return Err(InvalidBatch::NullKey { index });
    }
    let timestamp = header
        .first_timestamp
        .get()
        .checked_add(record.timestamp_delta)
        .map(Timestamp)
        .ok_or(InvalidBatch::TimestampOverflow { index })?;
    rules.timestamps.check(timestamp, Some(index))?;
    Ok(timestamp)
}
