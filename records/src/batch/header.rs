//! The 61-byte header of a record batch, format version ("magic") 2 (KIP-98).
//!
//! ```text
//! offset  bytes  field
//!      0      8  base offset            assigned by the leader; outside the CRC
//!      8      4  batch length           bytes after this field (whole batch = 12 + length)
//!     12      4  partition leader epoch assigned by the leader; outside the CRC
//!     16      1  magic                  2
//!     17      4  crc                    CRC-32C of everything from offset 21 to the end
//!     21      2  attributes             see below
//!     23      4  last offset delta      last offset - base offset
//!     27      8  first timestamp        what the records' timestamp deltas are relative to
//!     35      8  max timestamp
//!     43      8  producer id            -1: not idempotent
//!     51      2  producer epoch         -1: not idempotent
//!     53      4  base sequence          -1: not idempotent
//!     57      4  record count
//!     61      .  records, compressed as a whole
//!
//! attributes   bit 0-2  codec: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd
//!              bit 3    timestamp type: 0 create time, 1 log append time
//!              bit 4    transactional
//!              bit 5    control (transaction markers; never written by clients)
//!              bit 6    first timestamp is a delete horizon (written by compaction only, KIP-534)
//! ```
//!
//! All numbers are big-endian and signed. Because base offset and leader epoch lie before the CRC,
//! the leader assigns them without touching it.

use antiphon_common::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};
use thiserror::Error;

use crate::compression::{Compression, UnknownCodec};

/// The size of a batch without its records.
pub const HEADER_BYTES: usize = 61;
/// The only batch format this broker stores. Versions 0 and 1 are gone since Kafka 4.0 (KIP-724).
pub const MAGIC: i8 = 2;

pub(crate) const BASE_OFFSET: usize = 0;
pub(crate) const BATCH_LENGTH: usize = 8;
pub(crate) const PARTITION_LEADER_EPOCH: usize = 12;
pub(crate) const MAGIC_AT: usize = 16;
pub(crate) const CRC: usize = 17;
pub(crate) const ATTRIBUTES: usize = 21;
pub(crate) const LAST_OFFSET_DELTA: usize = 23;
pub(crate) const FIRST_TIMESTAMP: usize = 27;
pub(crate) const MAX_TIMESTAMP: usize = 35;
pub(crate) const PRODUCER_ID: usize = 43;
pub(crate) const PRODUCER_EPOCH: usize = 51;
pub(crate) const BASE_SEQUENCE: usize = 53;
pub(crate) const RECORD_COUNT: usize = 57;

/// Bytes before and including the length field, which the length does not count.
pub(crate) const LENGTH_PREFIX_BYTES: usize = 12;

const _: () = assert!(RECORD_COUNT + 4 == HEADER_BYTES);
const _: () = assert!(BATCH_LENGTH + 4 == LENGTH_PREFIX_BYTES);

/// Why bytes cannot be the header of a version 2 batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HeaderError {
    /// Not enough bytes for a header.
    #[error("a batch header is {HEADER_BYTES} bytes, only {available} are there")]
    TooShort {
        /// The bytes at hand.
        available: usize,
    },
    /// Another format version; its other fields were not read, since they lie elsewhere.
    #[error("batch format version {magic}, only {MAGIC} is supported")]
    Magic {
        /// The version found.
        magic: i8,
    },
    /// The length field is negative or too small to hold the header itself.
    #[error("batch length {batch_length} is too small for a batch header")]
    Length {
        /// The length field as found.
        batch_length: i32,
    },
}

/// A position in a producer's sequence of records within one partition: 0 to `i32::MAX`, then 0
/// again; -1 for "none".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sequence(pub i32);

impl Sequence {
    /// Kafka's "no sequence".
    pub const NONE: Self = Self(-1);
    /// Where every epoch of a producer starts.
    pub const ZERO: Self = Self(0);

    /// The sequence `records` further on, stepping from `i32::MAX` to 0. [`Sequence::NONE`] stays
    /// where it is.
    pub const fn advance(self, records: i32) -> Self {
        if self.0 < 0 { self } else { Self(self.0.wrapping_add(records) & i32::MAX) }
    }

    /// The sequence `records` before this one, stepping from 0 to `i32::MAX`.
    pub const fn back(self, records: i32) -> Self {
        self.advance(records.wrapping_neg())
    }
}

impl std::fmt::Display for Sequence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Whose clock stamped the records of a batch (KIP-32).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimestampType {
    /// The producer's: each record carries its own.
    CreateTime,
    /// The broker's: every record has the batch's max timestamp, whatever its own delta says.
    LogAppendTime,
}

/// The attribute bits of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Attributes(pub i16);

impl Attributes {
    pub(crate) const CODEC_MASK: i16 = 0b111;
    pub(crate) const LOG_APPEND_TIME: i16 = 1 << 3;
    pub(crate) const TRANSACTIONAL: i16 = 1 << 4;
    pub(crate) const CONTROL: i16 = 1 << 5;
    pub(crate) const DELETE_HORIZON: i16 = 1 << 6;

    /// Whether all bits of `mask` are set.
    pub(crate) const fn has(self, mask: i16) -> bool {
        self.0 & mask == mask
    }

    /// These attributes with the bits of `mask` set.
    pub(crate) const fn with(self, mask: i16) -> Self {
        Self(self.0 | mask)
    }
}

/// A batch's header, read once and passed by value: every decision about a batch on the hot path is
/// made from this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// The offset of the first record (producers send 0, the leader assigns it).
    pub base_offset: Offset,
    /// Bytes after the length field; at least 49.
    pub batch_length: i32,
    /// The epoch of the leader that appended the batch.
    pub partition_leader_epoch: LeaderEpoch,
    /// The format version, always [`MAGIC`].
    pub magic: i8,
    /// CRC-32C of the batch from its attributes to its end.
    pub crc: u32,
    /// Codec, timestamp type and flags.
    pub attributes: Attributes,
    /// The last record's offset, relative to the base offset. Survives compaction of that record.
    pub last_offset_delta: i32,
    /// What the records' timestamp deltas are relative to.
    pub first_timestamp: Timestamp,
    /// The largest timestamp of any record; the append time of all of them if
    /// [`TimestampType::LogAppendTime`].
    pub max_timestamp: Timestamp,
    /// Who produced it.
    pub producer_id: ProducerId,
    /// The producer's epoch.
    pub producer_epoch: ProducerEpoch,
    /// The first record's place in the producer's sequence.
    pub base_sequence: Sequence,
    /// How many records there are; compaction may leave fewer than `last_offset_delta + 1`.
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`, which may hold more or less than the whole batch.
    ///
    /// Nothing is checked but what reading needs: the format version, and a length that covers the
    /// header, so that [`size_in_bytes`](Self::size_in_bytes) always moves forward.
    pub fn parse(bytes: &[u8]) -> Result<Self, HeaderError> {
        let too_short = HeaderError::TooShort { available: bytes.len() };
        let magic = bytes.get(MAGIC_AT).ok_or(too_short)?.cast_signed();
        if magic != MAGIC {
            return Err(HeaderError::Magic { magic });
        }
        let header = Self::read(bytes.first_chunk().ok_or(too_short)?, magic);
        if header.size_in_bytes() < HEADER_BYTES {
            return Err(HeaderError::Length { batch_length: header.batch_length });
        }
        Ok(header)
    }

    fn read(bytes: &[u8; HEADER_BYTES], magic: i8) -> Self {
        Self {
            base_offset: Offset(i64::from_be_bytes(field::<BASE_OFFSET, _>(bytes))),
            batch_length: i32::from_be_bytes(field::<BATCH_LENGTH, _>(bytes)),
            partition_leader_epoch: LeaderEpoch(i32::from_be_bytes(field::<
                PARTITION_LEADER_EPOCH,
                _,
            >(bytes))),
            magic,
            crc: u32::from_be_bytes(field::<CRC, _>(bytes)),
            attributes: Attributes(i16::from_be_bytes(field::<ATTRIBUTES, _>(bytes))),
            last_offset_delta: i32::from_be_bytes(field::<LAST_OFFSET_DELTA, _>(bytes)),
            first_timestamp: Timestamp(i64::from_be_bytes(field::<FIRST_TIMESTAMP, _>(bytes))),
            max_timestamp: Timestamp(i64::from_be_bytes(field::<MAX_TIMESTAMP, _>(bytes))),
            producer_id: ProducerId(i64::from_be_bytes(field::<PRODUCER_ID, _>(bytes))),
            producer_epoch: ProducerEpoch(i16::from_be_bytes(field::<PRODUCER_EPOCH, _>(bytes))),
            base_sequence: Sequence(i32::from_be_bytes(field::<BASE_SEQUENCE, _>(bytes))),
            record_count: i32::from_be_bytes(field::<RECORD_COUNT, _>(bytes)),
        }
    }

    /// The header's bytes, as [`BatchHeader::parse`] reads them.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        put(&mut bytes, BASE_OFFSET, self.base_offset.get().to_be_bytes());
        put(&mut bytes, BATCH_LENGTH, self.batch_length.to_be_bytes());
        let epoch = self.partition_leader_epoch.get().to_be_bytes();
        put(&mut bytes, PARTITION_LEADER_EPOCH, epoch);
        put(&mut bytes, MAGIC_AT, self.magic.to_be_bytes());
        put(&mut bytes, CRC, self.crc.to_be_bytes());
        put(&mut bytes, ATTRIBUTES, self.attributes.0.to_be_bytes());
        put(&mut bytes, LAST_OFFSET_DELTA, self.last_offset_delta.to_be_bytes());
        put(&mut bytes, FIRST_TIMESTAMP, self.first_timestamp.get().to_be_bytes());
        put(&mut bytes, MAX_TIMESTAMP, self.max_timestamp.get().to_be_bytes());
        put(&mut bytes, PRODUCER_ID, self.producer_id.0.to_be_bytes());
        put(&mut bytes, PRODUCER_EPOCH, self.producer_epoch.0.to_be_bytes());
        put(&mut bytes, BASE_SEQUENCE, self.base_sequence.0.to_be_bytes());
        put(&mut bytes, RECORD_COUNT, self.record_count.to_be_bytes());
        bytes
    }

    /// The codec of the records.
    pub const fn compression(&self) -> Result<Compression, UnknownCodec> {
        Compression::from_id((self.attributes.0 & Attributes::CODEC_MASK) as u8)
    }

    /// Whose clock stamped the records.
    pub const fn timestamp_type(&self) -> TimestampType {
        if self.attributes.has(Attributes::LOG_APPEND_TIME) {
            TimestampType::LogAppendTime
        } else {
            TimestampType::CreateTime
        }
    }

    /// Whether the batch belongs to a transaction.
    pub const fn is_transactional(&self) -> bool {
        self.attributes.has(Attributes::TRANSACTIONAL)
    }

    /// Whether the batch is a marker for consumers rather than data.
    pub const fn is_control(&self) -> bool {
        self.attributes.has(Attributes::CONTROL)
    }

    /// Whether `first_timestamp` is the time at which compaction may drop this batch's tombstones.
    pub const fn has_delete_horizon(&self) -> bool {
        self.attributes.has(Attributes::DELETE_HORIZON)
    }

    /// The time from which compaction may drop this batch's tombstones, once it has one (KIP-534).
    pub fn delete_horizon(&self) -> Option<Timestamp> {
        self.has_delete_horizon().then_some(self.first_timestamp)
    }

    /// Whether an idempotent producer wrote the batch, so that its sequence means something.
    pub const fn has_producer_id(&self) -> bool {
        self.producer_id.is_some()
    }

    /// The offset of the last record (or of the one that compaction removed).
    pub const fn last_offset(&self) -> Offset {
        Offset(self.base_offset.0.saturating_add(self.last_offset_delta as i64))
    }

    /// The offset that follows this batch.
    pub const fn next_offset(&self) -> Offset {
        self.last_offset().next()
    }

    /// The newest timestamp of any record. An emptied batch has none, whatever `max_timestamp`
    /// remembers of the records that compaction took.
    pub const fn newest_timestamp(&self) -> Timestamp {
        if self.record_count > 0 { self.max_timestamp } else { Timestamp::NONE }
    }

    /// The last record's place in the producer's sequence, or [`Sequence::NONE`].
    pub const fn last_sequence(&self) -> Sequence {
        self.base_sequence.advance(self.last_offset_delta)
    }

    /// The size of the whole batch, header included.
    pub const fn size_in_bytes(&self) -> usize {
        // A negative length, which `parse` refuses, would read as an empty batch.
        if self.batch_length < 0 { 0 } else { self.batch_length as usize + LENGTH_PREFIX_BYTES }
    }
}

/// The `N` bytes at offset `AT`, which the compiler proves to lie inside the header.
fn field<const AT: usize, const N: usize>(bytes: &[u8; HEADER_BYTES]) -> [u8; N] {
    const { assert!(AT + N <= HEADER_BYTES) };
    std::array::from_fn(|index| bytes[AT + index])
}

fn put<const N: usize>(bytes: &mut [u8; HEADER_BYTES], at: usize, value: [u8; N]) {
    bytes[at..at + N].copy_from_slice(&value);
}
