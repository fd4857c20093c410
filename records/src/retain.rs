//! Thinning a batch, for compaction: some records stay as they are, the others go.
//!
//! What stays keeps its offset, key, value, headers and timestamp byte for byte; the batch keeps its
//! base and last offset, producer, epoch, sequence, leader epoch and codec. A batch that loses
//! nothing is not touched at all.
//!
//! A batch with tombstones (null values) gets a *delete horizon* the first time it is cleaned
//! (KIP-534): attribute bit 6 says that `first_timestamp` holds the time from which the tombstones
//! may go. The records' timestamp deltas are then written anew, relative to the horizon, so that
//! readers see the timestamps they always saw.

use antiphon_common::{Offset, Timestamp};
use bytes::{BufMut, BytesMut};
use thiserror::Error;

use crate::batch::{
    Attributes, BatchHeader, HEADER_BYTES, HeaderError, LENGTH_PREFIX_BYTES, OpenBatch, ReadError,
    TimestampType, compute_crc,
};
use crate::compression::{CompressError, Compression, compress};
use crate::record::Record;
use crate::varint::{Reader, put_varint, put_varlong};

/// Why a batch cannot be thinned.
#[derive(Debug, Error)]
pub enum RetainError {
    /// Its records cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It holds another number of records than its header says.
    #[error("{found} records in a batch that declares {declared}")]
    RecordCount {
        /// By the header.
        declared: i32,
        /// In the body.
        found: i32,
    },
    /// What stays cannot be compressed again.
    #[error("the batch cannot be compressed")]
    Compress(#[from] CompressError),
    /// What stays, compressed again, has 2 GiB or more.
    #[error("the batch does not fit 31 bits")]
    TooLarge,
}

impl From<HeaderError> for RetainError {
    fn from(error: HeaderError) -> Self {
        Self::Read(error.into())
    }
}

/// What is left of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Retained {
    /// Every record, and no horizon was missing: the batch stands as it is.
    Whole,
    /// Some records, or all of them with a new delete horizon.
    Thinned {
        /// The batch that replaces the old one.
        batch: BytesMut,
        /// How many records are gone.
        removed: i32,
    },
    /// Nothing: the batch may go, or stay as [`emptied`].
    Nothing,
}

/// Keeps the records of the first batch in `bytes` that `keep` chooses. If a tombstone is among them
/// and the batch has no delete horizon yet, it gets `horizon`.
///
/// The body is decompressed to at most `decompressed_bytes_max` bytes.
pub fn retain_records(
    bytes: &[u8],
    horizon: Timestamp,
    decompressed_bytes_max: usize,
    mut keep: impl FnMut(&Record<'_>, Offset) -> bool,
) -> Result<Retained, RetainError> {
    let open = OpenBatch::open(bytes, decompressed_bytes_max)?;
    let header = open.header();
    let mut kept = Kept::default();
    let mut found = 0;
    let mut reader = Reader::new(open.body());
    while reader.remaining() > 0 {
        let before = reader.rest();
        let record = Record::read(&mut reader).map_err(ReadError::Record)?;
        let raw = before.get(..before.len() - reader.remaining()).unwrap_or_default();
        if keep(&record, record.offset(header)) {
            kept.push(&record, raw);
        }
        found += 1;
    }
    if found != header.record_count {
        return Err(RetainError::RecordCount { declared: header.record_count, found });
    }
    let horizon = (kept.has_tombstone && !header.has_delete_horizon())
        .then(|| kept.relative_to(header, horizon))
        .flatten();
    match (kept.records.len() as i32, horizon) {
        (0, _) => Ok(Retained::Nothing),
        (count, None) if count == found => Ok(Retained::Whole),
        (count, horizon) => {
            let batch = rebuild(header, &kept, horizon)?;
            Ok(Retained::Thinned { batch, removed: found - count })
        }
    }
}

/// The batch that `header` stands on, without any record: what keeps a producer's last sequence
/// number, and the end of a log, when compaction has taken all records around it.
pub fn emptied(header: &BatchHeader) -> BytesMut {
    let codec = Attributes::CODEC_MASK | Attributes::DELETE_HORIZON;
    let empty = BatchHeader {
        attributes: Attributes(header.attributes.0 & !codec),
        record_count: 0,
        first_timestamp: Timestamp::NONE,
        ..*header
    };
    // A header always fits.
    assemble(empty, &[]).unwrap_or_default()
}

/// The records that stay, each with its bytes as they are stored.
#[derive(Default)]
struct Kept<'a> {
    records: Vec<(i64, &'a [u8])>,
    has_tombstone: bool,
}

impl<'a> Kept<'a> {
    fn push(&mut self, record: &Record<'_>, raw: &'a [u8]) {
        self.has_tombstone |= record.value.is_none();
        self.records.push((record.timestamp_delta, raw));
    }

    /// `horizon`, if every timestamp can be written relative to it. Timestamps at the far ends of
    /// the number range cannot; their tombstones then stay.
    fn relative_to(&self, header: &BatchHeader, horizon: Timestamp) -> Option<Timestamp> {
        let shift = header.first_timestamp.get().checked_sub(horizon.get())?;
        let fits = self.records.iter().all(|(delta, _)| delta.checked_add(shift).is_some());
        fits.then_some(horizon)
    }

    fn max_timestamp(&self, header: &BatchHeader) -> Timestamp {
        let deltas = self.records.iter().map(|(delta, _)| *delta);
        let newest = deltas.max().map(|delta| header.first_timestamp.get().saturating_add(delta));
        newest.map_or(Timestamp::NONE, Timestamp)
    }

    fn body(&self, shift: Option<i64>) -> Vec<u8> {
        let mut body = Vec::with_capacity(self.records.iter().map(|(_, raw)| raw.len() + 10).sum());
        for (delta, raw) in &self.records {
            match shift {
                None => body.extend_from_slice(raw),
                Some(shift) => put_shifted(&mut body, raw, delta.wrapping_add(shift)),
            }
        }
        body
    }
}

/// Appends the record `raw` with another timestamp delta; what follows the delta stays as it is.
fn put_shifted(body: &mut Vec<u8>, raw: &[u8], delta: i64) {
    let mut fields = Reader::new(raw);
    // The record was read whole a moment ago, so none of these can fail.
    let (_length, attributes) = (fields.varint(), fields.byte());
    let _old_delta = fields.varlong();
    let mut head = vec![attributes.unwrap_or(0)];
    put_varlong(&mut head, delta);
    put_varint(body, (head.len() + fields.remaining()) as i32);
    body.extend_from_slice(&head);
    body.extend_from_slice(fields.rest());
}

fn rebuild(
    header: &BatchHeader,
    kept: &Kept<'_>,
    horizon: Option<Timestamp>,
) -> Result<BytesMut, RetainError> {
    let shift = horizon.map(|horizon| header.first_timestamp.get().wrapping_sub(horizon.get()));
    let body = kept.body(shift);
    let body = match header.compression().map_err(ReadError::Codec)? {
        Compression::None => body,
        codec => compress(codec, &body)?,
    };
    let mut thinned = BatchHeader { record_count: kept.records.len() as i32, ..*header };
    if header.timestamp_type() == TimestampType::CreateTime {
        thinned.max_timestamp = kept.max_timestamp(header);
    }
    if let Some(horizon) = horizon {
        thinned.attributes = thinned.attributes.with(Attributes::DELETE_HORIZON);
        thinned.first_timestamp = horizon;
    }
    assemble(thinned, &body).ok_or(RetainError::TooLarge)
}

/// Header and body as one batch, with length and CRC filled in.
fn assemble(mut header: BatchHeader, body: &[u8]) -> Option<BytesMut> {
    let length = body.len().checked_add(HEADER_BYTES - LENGTH_PREFIX_BYTES)?;
    header.batch_length = i32::try_from(length).ok()?;
    let mut batch = BytesMut::with_capacity(header.size_in_bytes());
    batch.put_slice(&header.encode());
    batch.put_slice(body);
    header.crc = compute_crc(&batch);
    if let Some(encoded) = batch.get_mut(..HEADER_BYTES) {
        encoded.copy_from_slice(&header.encode());
    }
    Some(batch)
}
