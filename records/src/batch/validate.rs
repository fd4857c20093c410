//! Judging a batch that a client sent, on the hot path.
//!
//! What is checked, in this order, so that the cheapest reason to refuse comes first and a damaged
//! batch is called damaged (clients resend it) before anything else is held against it:
//!
//! 1. exactly one batch, of format 2, whose length is that of the bytes;
//! 2. not larger than the topic allows;
//! 3. its CRC;
//! 4. the header's fields: codec, offsets and count, flags, producer fields;
//! 5. the records, if they are not compressed: their structure, offsets, keys and timestamps.
//!
//! Step 5 on an uncompressed batch reads seven small numbers per record and two per header. Measured
//! on a Xeon with AVX-512, optimised: 15 ns per record and 7 ns per header, whatever the record's
//! size; of a batch of 60 records of 1 KiB, the CRC takes 1.1 us and the walk 0.9 us. On a compressed
//! batch it would cost a decompression, so there the header stands for the records:
//!
//! - The largest timestamp any record may have is the header's `max_timestamp`, and the first record
//!   has `first_timestamp`; both are held to the topic's bounds. A producer that lies in a compressed
//!   batch misleads only the look-ups and the retention of its own topic, and never beyond
//!   `after_max_ms` into the future, since that is checked on the header's word.
//! - Some clients leave `max_timestamp` unset, and a value below `first_timestamp` cannot be true.
//!   Taking it as it is would make retention delete the batch at once, or never. Then, and on a
//!   compacted topic (whose keys the header cannot vouch for), the verdict is
//!   [`Contents::MustBeRead`]: the caller runs [`validate_contents`](super::validate_contents) where
//!   such work is limited.

use antiphon_common::{Offset, Timestamp};

use super::contents::{ContentRules, ContentSummary, TimestampRules, judge_records};
use super::header::{Attributes, BatchHeader, HEADER_BYTES};
use super::invalid::InvalidBatch;
use super::patch::compute_crc;
use crate::compression::Compression;

/// What a topic, and the version of the request, demand of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProduceRules {
    /// The topic's `max.message.bytes`, counted over the whole batch as it came, compressed.
    pub batch_bytes_max: usize,
    /// Whether the request's version may carry zstd (Produce 7 and later, KIP-110).
    pub zstd_allowed: bool,
    /// What is demanded of the records.
    pub contents: ContentRules,
}

/// What is known about the records of an accepted batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    /// They were read, and all is well.
    Read(ContentSummary),
    /// They are compressed, and the header says enough about them.
    Trusted,
    /// They are compressed, and the header does not say enough: the batch may be appended only after
    /// [`validate_contents`](super::validate_contents) has accepted it too.
    MustBeRead,
}

/// A batch that may be appended, once [`Contents::MustBeRead`] is seen to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validated {
    /// The batch's header as the client sent it.
    pub header: BatchHeader,
    /// What is known about its records.
    pub contents: Contents,
}

impl Validated {
    /// The true max timestamp, where the header's is wrong and has to be
    /// [set](super::BatchMut::set_max_timestamp) before the append.
    /// Of no interest on a topic with log append time: stamping the batch sets it anyway.
    pub fn corrected_max_timestamp(&self) -> Option<Timestamp> {
        match self.contents {
            Contents::Read(summary) => (summary.max_timestamp != self.header.max_timestamp)
                .then_some(summary.max_timestamp),
            Contents::Trusted | Contents::MustBeRead => None,
        }
    }
}

/// Judges `bytes`, which should be exactly one batch from a client. Never decompresses, never
/// allocates but for an error.
pub fn validate_produced(bytes: &[u8], rules: &ProduceRules) -> Result<Validated, InvalidBatch> {
    let header = exactly_one_batch(bytes)?;
    check_size(bytes, rules)?;
    check_crc(bytes, &header)?;
    let codec = check_codec(&header, rules)?;
    check_offsets(&header)?;
    check_flags(&header)?;
    check_producer(&header)?;
    let contents = match codec {
        Compression::None => {
            let body = bytes.get(HEADER_BYTES..).unwrap_or_default();
            Contents::Read(judge_records(&header, body, &rules.contents)?)
        }
        _ => judge_by_header(&header, &rules.contents)?,
    };
    Ok(Validated { header, contents })
}

fn exactly_one_batch(bytes: &[u8]) -> Result<BatchHeader, InvalidBatch> {
    if bytes.is_empty() {
        return Err(InvalidBatch::Empty);
    }
    let header = BatchHeader::parse(bytes)?;
    let (first, total) = (header.size_in_bytes(), bytes.len());
    match first.cmp(&total) {
        std::cmp::Ordering::Less => Err(InvalidBatch::NotOneBatch { first, total }),
        std::cmp::Ordering::Greater => {
            Err(InvalidBatch::Truncated { declared: first, available: total })
        }
        std::cmp::Ordering::Equal => Ok(header),
    }
}

fn check_size(bytes: &[u8], rules: &ProduceRules) -> Result<(), InvalidBatch> {
    let (size, limit) = (bytes.len(), rules.batch_bytes_max);
    if size > limit { Err(InvalidBatch::TooLarge { size, limit }) } else { Ok(()) }
}

fn check_crc(bytes: &[u8], header: &BatchHeader) -> Result<(), InvalidBatch> {
    let (declared, computed) = (header.crc, compute_crc(bytes));
    if declared == computed { Ok(()) } else { Err(InvalidBatch::Crc { declared, computed }) }
}

fn check_codec(header: &BatchHeader, rules: &ProduceRules) -> Result<Compression, InvalidBatch> {
    match header.compression() {
        Ok(Compression::Zstd) if !rules.zstd_allowed => Err(InvalidBatch::ZstdNotAllowed),
        Ok(codec) => Ok(codec),
        Err(unknown) => Err(InvalidBatch::UnknownCodec { id: unknown.id }),
    }
}

fn check_offsets(header: &BatchHeader) -> Result<(), InvalidBatch> {
    let BatchHeader { base_offset, record_count, last_offset_delta, .. } = *header;
    if base_offset != Offset::ZERO {
        return Err(InvalidBatch::BaseOffset { base_offset });
    }
    if record_count <= 0 || last_offset_delta != record_count - 1 {
        return Err(InvalidBatch::Count { record_count, last_offset_delta });
    }
    Ok(())
}

fn check_flags(header: &BatchHeader) -> Result<(), InvalidBatch> {
    if header.is_control() {
        return Err(InvalidBatch::Control);
    }
    if header.has_delete_horizon() {
        return Err(InvalidBatch::DeleteHorizon);
    }
    if header.attributes.has(Attributes::LOG_APPEND_TIME) {
        return Err(InvalidBatch::LogAppendTime);
    }
    Ok(())
}

fn check_producer(header: &BatchHeader) -> Result<(), InvalidBatch> {
    let BatchHeader { producer_id, producer_epoch, base_sequence, .. } = *header;
    if !header.has_producer_id() {
        return if header.is_transactional() {
            Err(InvalidBatch::TransactionalWithoutProducer)
        } else {
            Ok(())
        };
    }
    if producer_epoch.0 < 0 || base_sequence.0 < 0 {
        return Err(InvalidBatch::ProducerFields { producer_id, producer_epoch, base_sequence });
    }
    Ok(())
}

/// What the header alone lets one say about compressed records.
fn judge_by_header(header: &BatchHeader, rules: &ContentRules) -> Result<Contents, InvalidBatch> {
    let BatchHeader { first_timestamp, max_timestamp, .. } = *header;
    rules.timestamps.check(first_timestamp, None)?;
    rules.timestamps.check(max_timestamp, None)?;
    let timestamps_matter = rules.timestamps != TimestampRules::LogAppendTime;
    let unset = max_timestamp == Timestamp::NONE || max_timestamp < first_timestamp;
    if rules.key_required || (timestamps_matter && unset) {
        Ok(Contents::MustBeRead)
    } else {
        Ok(Contents::Trusted)
    }
}
