//! From a batch to the records in it.

use std::borrow::Cow;

use thiserror::Error;

use super::header::{BatchHeader, HEADER_BYTES, HeaderError};
use crate::compression::{Compression, DecompressError, UnknownCodec, decompress};
use crate::record::{RecordError, Records};

/// Why a stored batch cannot be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The bytes are not a batch.
    #[error("not a batch")]
    Header(#[from] HeaderError),
    /// The codec bits mean nothing.
    #[error("the batch cannot be decompressed")]
    Codec(#[from] UnknownCodec),
    /// The body does not decompress, or not within the limit.
    #[error("the batch cannot be decompressed")]
    Decompress(#[from] DecompressError),
    /// A record is malformed.
    #[error("the batch holds a malformed record")]
    Record(#[from] RecordError),
}

/// A batch opened for reading its records.
#[derive(Clone, Debug)]
pub struct OpenBatch<'a> {
    header: BatchHeader,
    body: Cow<'a, [u8]>,
}

impl<'a> OpenBatch<'a> {
    /// Opens the batch at the start of `bytes`, decompressing its body into at most
    /// `decompressed_bytes_max` bytes. A body that is not compressed is borrowed.
    pub fn open(bytes: &'a [u8], decompressed_bytes_max: usize) -> Result<Self, ReadError> {
        let header = BatchHeader::parse(bytes)?;
        let too_short = HeaderError::TooShort { available: bytes.len() };
        let body = bytes.get(HEADER_BYTES..header.size_in_bytes()).ok_or(too_short)?;
        let body = decompressed_body(header.compression()?, body, decompressed_bytes_max)?;
        Ok(Self { header, body })
    }

    /// The batch's header.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The records' bytes, decompressed.
    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    /// The records, in order.
    pub fn records(&self) -> Records<'_> {
        Records::new(&self.body)
    }
}

/// `body` without its compression.
pub(super) fn decompressed_body(
    codec: Compression,
    body: &[u8],
    limit: usize,
) -> Result<Cow<'_, [u8]>, DecompressError> {
    match codec {
        Compression::None => Ok(Cow::Borrowed(body)),
        codec => decompress(codec, body, limit).map(Cow::Owned),
    }
}
