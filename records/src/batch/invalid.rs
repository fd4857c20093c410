//! Everything that can be wrong with a batch that a client sent.

use antiphon_common::{Offset, ProducerEpoch, ProducerId, Timestamp};
use thiserror::Error;

use super::header::{HEADER_BYTES, HeaderError, Sequence};
use crate::compression::DecompressError;
use crate::record::RecordError;

/// What kind of wrong a batch is, for whoever chooses the wire's error code.
///
/// The difference that matters most to clients: they resend after [`CorruptMessage`], split the batch
/// after [`MessageTooLarge`], and give up after the others.
///
/// [`CorruptMessage`]: Self::CorruptMessage
/// [`MessageTooLarge`]: Self::MessageTooLarge
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BatchFault {
    /// Damaged on its way: sending it again may help.
    CorruptMessage,
    /// Made wrong: sending it again cannot help.
    InvalidRecord,
    /// Over the topic's `max.message.bytes`, or over the memory allowed for reading it.
    MessageTooLarge,
    /// A codec that this request's version must not carry.
    UnsupportedCompressionType,
    /// A timestamp out of the topic's range, or of a type producers must not set.
    InvalidTimestamp,
    /// A format older than version 2. Kafka 4 answers INVALID_RECORD to these.
    UnsupportedForMessageFormat,
}

/// Why a produced batch is refused. Nothing of it may be appended.
///
/// `index` counts records within the batch from zero, which is what a Produce response's record
/// errors carry (KIP-467).
#[derive(Debug, Error)]
pub enum InvalidBatch {
    /// No bytes at all.
    #[error("no batch")]
    Empty,
    /// The bytes end before the batch does.
    #[error("the batch needs {declared} bytes, only {available} came")]
    Truncated {
        /// The batch's size by its header, or the header's own.
        declared: usize,
        /// The bytes that came.
        available: usize,
    },
    /// The length field cannot be right.
    #[error("batch length {batch_length} does not cover a batch header")]
    Length {
        /// The length field as found.
        batch_length: i32,
    },
    /// Message format 0 or 1, which nothing has written by default since Kafka 0.11.
    #[error("message format {magic} is no longer supported")]
    OldFormat {
        /// The version found.
        magic: i8,
    },
    /// A format that does not exist.
    #[error("unknown batch format {magic}")]
    UnknownFormat {
        /// The version found.
        magic: i8,
    },
    /// More bytes than one batch: a second batch, or rubbish.
    #[error("expected one batch of {first} bytes, {total} bytes came")]
    NotOneBatch {
        /// The first batch's size by its header.
        first: usize,
        /// The bytes that came.
        total: usize,
    },
    /// Larger than the topic allows.
    #[error("the batch has {size} bytes, the topic allows {limit}")]
    TooLarge {
        /// The batch's size.
        size: usize,
        /// The topic's `max.message.bytes`.
        limit: usize,
    },
    /// The bytes are not those the producer checksummed.
    #[error("checksum {computed:#010x} instead of {declared:#010x}")]
    Crc {
        /// The CRC in the header.
        declared: u32,
        /// The CRC of the bytes.
        computed: u32,
    },
    /// One of the codec numbers that mean nothing (5 to 7).
    #[error("unknown codec {id}")]
    UnknownCodec {
        /// The codec bits.
        id: u8,
    },
    /// zstd in a request version that predates it (KIP-110: Produce 7).
    #[error("zstd is not allowed in this version of Produce")]
    ZstdNotAllowed,
    /// Producers send 0; the leader assigns the offset.
    #[error("base offset {base_offset} instead of 0")]
    BaseOffset {
        /// The base offset found.
        base_offset: Offset,
    },
    /// Count and offset range contradict each other, or there is nothing in the batch.
    #[error("{record_count} records do not fit a last offset delta of {last_offset_delta}")]
    Count {
        /// The count found.
        record_count: i32,
        /// The delta found.
        last_offset_delta: i32,
    },
    /// A transaction marker from a client.
    #[error("clients must not write control batches")]
    Control,
    /// A mark that only compaction sets; it would change what the first timestamp means.
    #[error("clients must not set a delete horizon")]
    DeleteHorizon,
    /// The timestamp type is the topic's to choose.
    #[error("clients must not set the timestamp type to log append time")]
    LogAppendTime,
    /// An idempotent batch without a sequence or an epoch.
    #[error("producer {producer_id} sent epoch {producer_epoch} and sequence {base_sequence}")]
    ProducerFields {
        /// Who claims to have produced it.
        producer_id: ProducerId,
        /// The epoch found.
        producer_epoch: ProducerEpoch,
        /// The sequence found.
        base_sequence: Sequence,
    },
    /// A transactional batch of nobody's transaction.
    #[error("a transactional batch without a producer id")]
    TransactionalWithoutProducer,
    /// The codec refuses the body.
    #[error("the records cannot be decompressed")]
    Decompress(#[from] DecompressError),
    /// A record cannot be read.
    #[error("record {index} is malformed")]
    Record {
        /// Which record.
        index: usize,
        /// What is wrong with it.
        source: RecordError,
    },
    /// The body holds another number of records than the header says.
    #[error("{found} records, the header says {declared}")]
    RecordCount {
        /// The header's count.
        declared: i32,
        /// Records read, at most one more than declared.
        found: usize,
    },
    /// Offsets within a produced batch are consecutive from zero.
    #[error("record {index} has offset delta {found}")]
    OffsetDelta {
        /// Which record.
        index: usize,
        /// The delta found.
        found: i32,
    },
    /// Compaction could not tell which record this one replaces.
    #[error("record {index} has no key, which a compacted topic needs")]
    NullKey {
        /// Which record.
        index: usize,
    },
    /// Outside what `message.timestamp.before.max.ms` and `.after.max.ms` allow (KIP-937).
    #[error("timestamp {timestamp} is not between {earliest} and {latest}")]
    Timestamp {
        /// Which record, if the records were read; the header's timestamps name none.
        index: Option<usize>,
        /// The timestamp found.
        timestamp: Timestamp,
        /// The earliest allowed.
        earliest: Timestamp,
        /// The latest allowed.
        latest: Timestamp,
    },
    /// First timestamp plus delta does not fit 64 bits.
    #[error("the timestamp of record {index} overflows")]
    TimestampOverflow {
        /// Which record.
        index: usize,
    },
}

impl InvalidBatch {
    /// What kind of wrong this is.
    pub fn fault(&self) -> BatchFault {
        match self {
            Self::Length { .. } | Self::UnknownFormat { .. } | Self::Crc { .. } => {
                BatchFault::CorruptMessage
            }
            Self::OldFormat { .. } => BatchFault::UnsupportedForMessageFormat,
            Self::TooLarge { .. } => BatchFault::MessageTooLarge,
            Self::Decompress(DecompressError::TooLarge { .. }) => BatchFault::MessageTooLarge,
            Self::ZstdNotAllowed => BatchFault::UnsupportedCompressionType,
            Self::LogAppendTime | Self::Timestamp { .. } | Self::TimestampOverflow { .. } => {
                BatchFault::InvalidTimestamp
            }
            Self::Empty
            | Self::Truncated { .. }
            | Self::NotOneBatch { .. }
            | Self::UnknownCodec { .. }
            | Self::BaseOffset { .. }
            | Self::Count { .. }
            | Self::Control
            | Self::DeleteHorizon
            | Self::ProducerFields { .. }
            | Self::TransactionalWithoutProducer
            | Self::Decompress(DecompressError::Malformed { .. })
            | Self::Record { .. }
            | Self::RecordCount { .. }
            | Self::OffsetDelta { .. }
            | Self::NullKey { .. } => BatchFault::InvalidRecord,
        }
    }

    /// Which record is to blame, if it is one record's fault.
    pub fn record_index(&self) -> Option<usize> {
        match self {
            Self::Record { index, .. }
            | Self::OffsetDelta { index, .. }
            | Self::NullKey { index }
            | Self::TimestampOverflow { index } => Some(*index),
            Self::Timestamp { index, .. } => *index,
            _ => None,
        }
    }
}

impl From<HeaderError> for InvalidBatch {
    fn from(error: HeaderError) -> Self {
        match error {
            HeaderError::TooShort { available } => {
                Self::Truncated { declared: HEADER_BYTES, available }
            }
            HeaderError::Magic { magic: magic @ 0..=1 } => Self::OldFormat { magic },
            HeaderError::Magic { magic } => Self::UnknownFormat { magic },
            HeaderError::Length { batch_length } => Self::Length { batch_length },
        }
    }
}
