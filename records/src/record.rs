//! Records inside a batch's decompressed body.
//!
//! ```text
//! record   length varint          bytes after this field
//!          attributes i8          unused
//!          timestamp delta varlong  relative to the batch's first timestamp
//!          offset delta varint      relative to the batch's base offset
//!          key length varint, key      -1: null
//!          value length varint, value  -1: null (a tombstone)
//!          header count varint, headers
//! header   key length varint, key
//!          value length varint, value  -1: null
//! ```
//!
//! A [`Record`] borrows from the body and allocates nothing. Headers come in wire order with
//! duplicates and null values kept: Kafka's headers are a list, not a map, and clients rely on it.

use antiphon_common::{Offset, Timestamp};
use thiserror::Error;

use crate::batch::{BatchHeader, TimestampType};
use crate::varint::{Reader, VarintError};

/// The least a header takes: an empty key and a null value.
const HEADER_BYTES_MIN: usize = 2;

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    /// The bytes end before the field does.
    #[error("the record ends inside its {field}")]
    Truncated {
        /// Which field.
        field: &'static str,
    },
    /// The field's varint is longer than its type allows.
    #[error("the {field} is not a valid varint")]
    Varint {
        /// Which field.
        field: &'static str,
    },
    /// A length below -1, or -1 where null is not allowed.
    #[error("the {field} is {length}")]
    NegativeLength {
        /// Which field.
        field: &'static str,
        /// The length found.
        length: i32,
    },
    /// More headers are claimed than the record has room for.
    #[error("{count} headers do not fit in {available} bytes")]
    HeaderCount {
        /// The count found.
        count: i32,
        /// Bytes left in the record.
        available: usize,
    },
    /// The fields end before the record does.
    #[error("{extra} bytes follow the record's last header")]
    ExtraBytes {
        /// How many.
        extra: usize,
    },
}

/// One record, borrowed from its batch's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its timestamp, relative to the batch's first timestamp.
    pub timestamp_delta: i64,
    /// Its offset, relative to the batch's base offset.
    pub offset_delta: i32,
    /// The key, or null.
    pub key: Option<&'a [u8]>,
    /// The value, or null.
    pub value: Option<&'a [u8]>,
    headers: Headers<'a>,
}

impl<'a> Record<'a> {
    /// Reads one record from the front of `reader`. All of it is checked, headers included.
    #[inline]
    pub(crate) fn read(reader: &mut Reader<'a>) -> Result<Self, RecordError> {
        let body = bytes(reader, "length")?;
        let mut fields = Reader::new(body);
        fields.byte().ok_or(RecordError::Truncated { field: "attributes" })?;
        let timestamp_delta =
            fields.varlong().map_err(|error| varint_error("timestamp delta", error))?;
        let offset_delta = varint(&mut fields, "offset delta")?;
        let key = nullable_bytes(&mut fields, "key length")?;
        let value = nullable_bytes(&mut fields, "value length")?;
        let headers = Headers::read(&mut fields)?;
        match fields.remaining() {
            0 => Ok(Self { timestamp_delta, offset_delta, key, value, headers }),
            extra => Err(RecordError::ExtraBytes { extra }),
        }
    }

    /// The headers, in wire order, duplicates included.
    pub fn headers(&self) -> Headers<'a> {
        self.headers
    }

    /// The record's offset in its partition. `batch` is the header of the batch it came from.
    pub fn offset(&self, batch: &BatchHeader) -> Offset {
        Offset(batch.base_offset.get().saturating_add(i64::from(self.offset_delta)))
    }

    /// The record's timestamp as a consumer sees it. `batch` is the header of the batch it came from.
    pub fn timestamp(&self, batch: &BatchHeader) -> Timestamp {
        match batch.timestamp_type() {
            TimestampType::LogAppendTime => batch.max_timestamp,
            TimestampType::CreateTime => {
                Timestamp(batch.first_timestamp.get().saturating_add(self.timestamp_delta))
            }
        }
    }
}

/// A key and a value beside a record's own (KIP-82).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// UTF-8 by convention; the broker does not check it.
    pub key: &'a [u8],
    /// The value, or null.
    pub value: Option<&'a [u8]>,
}

impl<'a> Header<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, RecordError> {
        let key = bytes(reader, "header key length")?;
        let value = nullable_bytes(reader, "header value length")?;
        Ok(Self { key, value })
    }
}

/// The headers of one record, checked when the record was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers<'a> {
    bytes: &'a [u8],
    count: usize,
}

impl<'a> Headers<'a> {
    #[inline]
    fn read(reader: &mut Reader<'a>) -> Result<Self, RecordError> {
        let claimed = varint(reader, "header count")?;
        let available = reader.remaining();
        let count = usize::try_from(claimed)
            .ok()
            .filter(|count| *count <= available / HEADER_BYTES_MIN)
            .ok_or(RecordError::HeaderCount { count: claimed, available })?;
        let all = reader.rest();
        for _ in 0..count {
            Header::read(reader)?;
        }
        let length = available - reader.remaining();
        Ok(Self { bytes: all.get(..length).unwrap_or_default(), count })
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        self.count = self.count.checked_sub(1)?;
        let mut reader = Reader::new(self.bytes);
        let header = Header::read(&mut reader).ok()?;
        self.bytes = reader.rest();
        Some(header)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.count, Some(self.count))
    }
}

impl ExactSizeIterator for Headers<'_> {}

/// The records of a decompressed body, in order. Ends after the first error.
///
/// The batch's record count is not consulted: the bytes decide. Whoever must know that both agree
/// validates the batch.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    reader: Reader<'a>,
}

impl<'a> Records<'a> {
    /// The records of `body`, which is what follows a batch's header, decompressed.
    pub fn new(body: &'a [u8]) -> Self {
        Self { reader: Reader::new(body) }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, RecordError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.remaining() == 0 {
            return None;
        }
        let record = Record::read(&mut self.reader);
        if record.is_err() {
            self.reader = Reader::new(&[]);
        }
        Some(record)
    }
}

impl std::iter::FusedIterator for Records<'_> {}

#[inline]
fn varint(reader: &mut Reader<'_>, field: &'static str) -> Result<i32, RecordError> {
    reader.varint().map_err(|error| varint_error(field, error))
}

fn varint_error(field: &'static str, error: VarintError) -> RecordError {
    match error {
        VarintError::Truncated => RecordError::Truncated { field },
        VarintError::Overflow => RecordError::Varint { field },
    }
}

#[inline]
fn bytes<'a>(reader: &mut Reader<'a>, field: &'static str) -> Result<&'a [u8], RecordError> {
    let length = varint(reader, field)?;
    let unsigned =
        usize::try_from(length).map_err(|_| RecordError::NegativeLength { field, length })?;
    reader.take(unsigned).ok_or(RecordError::Truncated { field })
}

/// Null is -1. Kafka reads every negative length as null, but nobody writes another than this one.
#[inline]
fn nullable_bytes<'a>(
    reader: &mut Reader<'a>,
    field: &'static str,
) -> Result<Option<&'a [u8]>, RecordError> {
    match varint(reader, field)? {
        -1 => Ok(None),
        length => {
            let unsigned = usize::try_from(length)
                .map_err(|_| RecordError::NegativeLength { field, length })?;
            reader.take(unsigned).map(Some).ok_or(RecordError::Truncated { field })
        }
    }
}
