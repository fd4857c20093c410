//! Making batches, for the records the broker itself writes (its internal topics, transaction
//! markers) and for tests. Produced batches are never rebuilt.

use antiphon_common::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};
use bytes::{BufMut, BytesMut};
use thiserror::Error;

use crate::batch::{Attributes, BatchHeader, BatchMut, HEADER_BYTES, HeaderError, MAGIC, Sequence};
use crate::compression::{CompressError, Compression, compress};
use crate::record::Header;
use crate::varint::{put_varint, put_varlong};

/// Why no batch can be made.
#[derive(Debug, Error)]
pub enum BuildError {
    /// A batch has at least one record.
    #[error("a batch without records")]
    Empty,
    /// A key, value, header or the batch has 2 GiB or more, or there are 2^31 records.
    #[error("{what} does not fit 31 bits")]
    TooLarge {
        /// What is too large.
        what: &'static str,
    },
    /// Offsets within a batch only grow.
    #[error("offset delta {delta} does not follow {previous}")]
    OffsetDelta {
        /// The delta that does not fit.
        delta: i32,
        /// The one before it.
        previous: i32,
    },
    /// The codec failed.
    #[error("the batch cannot be compressed")]
    Compress(#[from] CompressError),
}

/// A record to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewRecord<'a> {
    /// Its time.
    pub timestamp: Timestamp,
    /// The key, or null.
    pub key: Option<&'a [u8]>,
    /// The value, or null.
    pub value: Option<&'a [u8]>,
    /// The headers, in order, duplicates allowed.
    pub headers: &'a [Header<'a>],
}

impl<'a> NewRecord<'a> {
    /// A record without headers.
    pub fn new(timestamp: Timestamp, key: Option<&'a [u8]>, value: Option<&'a [u8]>) -> Self {
        Self { timestamp, key, value, headers: &[] }
    }
}

/// Collects records and makes a batch of them.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    header: BatchHeader,
    compression: Compression,
    append_time: Option<Timestamp>,
    body: Vec<u8>,
    /// One record's fields, kept to be written after their length.
    scratch: Vec<u8>,
}

impl Default for BatchBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl BatchBuilder {
    /// An empty, uncompressed batch at offset 0, of no producer.
    pub fn new() -> Self {
        Self {
            header: BatchHeader {
                base_offset: Offset::ZERO,
                batch_length: 0,
                partition_leader_epoch: LeaderEpoch::NONE,
                magic: MAGIC,
                crc: 0,
                attributes: Attributes::default(),
                last_offset_delta: -1,
                first_timestamp: Timestamp::NONE,
                max_timestamp: Timestamp::NONE,
                producer_id: ProducerId::NONE,
                producer_epoch: ProducerEpoch::NONE,
                base_sequence: Sequence::NONE,
                record_count: 0,
            },
            compression: Compression::None,
            append_time: None,
            body: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// The offset of the first record; 0 is what a producer sends.
    #[must_use]
    pub fn base_offset(mut self, offset: Offset) -> Self {
        self.header.base_offset = offset;
        self
    }

    /// The epoch of the appending leader.
    #[must_use]
    pub fn leader_epoch(mut self, epoch: LeaderEpoch) -> Self {
        self.header.partition_leader_epoch = epoch;
        self
    }

    /// The codec.
    #[must_use]
    pub fn compression(mut self, codec: Compression) -> Self {
        self.compression = codec;
        self
    }

    /// The idempotent producer whose batch this is.
    #[must_use]
    pub fn producer(mut self, id: ProducerId, epoch: ProducerEpoch, base: Sequence) -> Self {
        self.header.producer_id = id;
        self.header.producer_epoch = epoch;
        self.header.base_sequence = base;
        self
    }

    /// Marks the batch as part of its producer's transaction.
    #[must_use]
    pub fn transactional(mut self) -> Self {
        self.header.attributes = self.header.attributes.with(Attributes::TRANSACTIONAL);
        self
    }

    /// Marks the batch as a marker for consumers rather than data.
    #[must_use]
    pub fn control(mut self) -> Self {
        self.header.attributes = self.header.attributes.with(Attributes::CONTROL);
        self
    }

    /// Gives every record the broker's time instead of its own.
    #[must_use]
    pub fn log_append_time(mut self, now: Timestamp) -> Self {
        self.append_time = Some(now);
        self
    }

    /// How many records there are so far.
    pub fn record_count(&self) -> usize {
        self.header.record_count as usize
    }

    /// How many bytes the records take so far, before compression.
    pub fn body_bytes(&self) -> usize {
        self.body.len()
    }

    /// Adds a record at the next offset.
    pub fn push(&mut self, record: NewRecord<'_>) -> Result<(), BuildError> {
        let next = self.header.last_offset_delta.checked_add(1);
        let delta = next.ok_or(BuildError::TooLarge { what: "the offset delta" })?;
        self.push_at(delta, record)
    }

    /// Adds a record `delta` offsets after the base offset, leaving a gap as compaction does.
    pub fn push_at(&mut self, delta: i32, record: NewRecord<'_>) -> Result<(), BuildError> {
        let previous = self.header.last_offset_delta;
        if delta <= previous {
            return Err(BuildError::OffsetDelta { delta, previous });
        }
        let header = &mut self.header;
        if header.record_count == 0 {
            header.first_timestamp = record.timestamp;
            header.max_timestamp = record.timestamp;
        }
        let timestamp_delta = record.timestamp.get().wrapping_sub(header.first_timestamp.get());
        self.scratch.clear();
        put_fields(&mut self.scratch, delta, timestamp_delta, &record)?;
        put_bytes(&mut self.body, &self.scratch, "a record")?;
        header.max_timestamp = header.max_timestamp.max(record.timestamp);
        header.last_offset_delta = delta;
        header.record_count += 1;
        Ok(())
    }

    /// The batch, in a buffer that can still be patched.
    pub fn build(self) -> Result<BytesMut, BuildError> {
        if self.header.record_count == 0 {
            return Err(BuildError::Empty);
        }
        let body = match self.compression {
            Compression::None => self.body,
            codec => compress(codec, &self.body)?,
        };
        let mut header = self.header;
        header.attributes = header.attributes.with(i16::from(self.compression.id()));
        header.batch_length = batch_length(body.len())?;
        let mut batch = BytesMut::with_capacity(header.size_in_bytes());
        batch.put_slice(&header.encode());
        batch.put_slice(&body);
        seal(&mut batch, header.max_timestamp, self.append_time)
            .map_err(|_| BuildError::TooLarge { what: "the batch" })?;
        Ok(batch)
    }
}

/// Writes the CRC, which setting the max timestamp does in passing.
fn seal(
    batch: &mut BytesMut,
    max_timestamp: Timestamp,
    append_time: Option<Timestamp>,
) -> Result<(), HeaderError> {
    let mut batch = BatchMut::first_in(batch)?;
    match append_time {
        Some(now) => batch.stamp_log_append_time(now),
        None => batch.set_max_timestamp(max_timestamp),
    }
    Ok(())
}

fn batch_length(body: usize) -> Result<i32, BuildError> {
    i32::try_from(body + HEADER_BYTES - crate::batch::LENGTH_PREFIX_BYTES)
        .map_err(|_| BuildError::TooLarge { what: "the batch" })
}

fn put_fields(
    out: &mut Vec<u8>,
    offset_delta: i32,
    timestamp_delta: i64,
    record: &NewRecord<'_>,
) -> Result<(), BuildError> {
    const ATTRIBUTES: u8 = 0;
    out.push(ATTRIBUTES);
    put_varlong(out, timestamp_delta);
    put_varint(out, offset_delta);
    put_nullable(out, record.key, "a key")?;
    put_nullable(out, record.value, "a value")?;
    put_varint(out, length(record.headers.len(), "the header count")?);
    for header in record.headers {
        put_bytes(out, header.key, "a header key")?;
        put_nullable(out, header.value, "a header value")?;
    }
    Ok(())
}

fn put_nullable(
    out: &mut Vec<u8>,
    bytes: Option<&[u8]>,
    what: &'static str,
) -> Result<(), BuildError> {
    match bytes {
        Some(bytes) => put_bytes(out, bytes, what),
        None => {
            put_varint(out, -1);
            Ok(())
        }
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8], what: &'static str) -> Result<(), BuildError> {
    put_varint(out, length(bytes.len(), what)?);
    out.extend_from_slice(bytes);
    Ok(())
}

fn length(length: usize, what: &'static str) -> Result<i32, BuildError> {
    i32::try_from(length).map_err(|_| BuildError::TooLarge { what })
}
