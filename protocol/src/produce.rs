//! Produce (key 0), versions 3-13: the request without copying its records, and the response.
//!
//! | version | request and response |
//! |--------:|----------------------|
//! | 5 | `log_start_offset` |
//! | 8 | `record_errors`, `error_message` (KIP-467) |
//! | 9 | flexible (KIP-482) |
//! | 10 | `current_leader`, `node_endpoints` (KIP-951) |
//! | 13 | topics by id (KIP-516) |

use antiphon_common::{ErrorKind, Offset, PartitionIndex, Timestamp};
use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;
use thiserror::Error;

use crate::codes::ErrorCode;
use crate::encode::EncodeError;
use crate::topic::{CurrentLeader, NodeEndpoint, TopicRef, text};
use crate::wire::{Malformed, Reader, Writer};

const VERSIONS: std::ops::RangeInclusive<i16> = 3..=13;
const FIRST_WITH_LOG_START_OFFSET: i16 = 5;
const FIRST_WITH_RECORD_ERRORS: i16 = 8;
const FIRST_FLEXIBLE: i16 = 9;
const FIRST_WITH_LEADER_HINTS: i16 = 10;

/// A Produce request whose records are slices of its frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProduceRequest {
    /// The transactional id, or null for a producer without transactions. Authorise what the
    /// *batches* say as well: this field may be null while a batch is transactional.
    pub transactional_id: Option<StrBytes>,
    /// -1 for all, 1 for the leader, 0 for no response at all; anything else is an error.
    pub acks: i16,
    /// How long the producer waits, in milliseconds.
    pub timeout_ms: i32,
    /// In the order of the request.
    pub topics: Vec<ProduceTopic>,
}

/// What a Produce request has for one topic. Nothing stops a client from listing a topic twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProduceTopic {
    /// The topic.
    pub topic: TopicRef,
    /// In the order of the request.
    pub partitions: Vec<ProducePartition>,
}

/// What a Produce request has for one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducePartition {
    /// The partition.
    pub partition: PartitionIndex,
    /// What the client calls records: not checked in any way, and a slice of the frame.
    pub records: Option<Bytes>,
}

/// Why a body is no Produce request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProduceDecodeError {
    /// Not one of versions 3-13.
    #[error("produce version {version} is not supported")]
    UnsupportedVersion {
        /// The version.
        version: i16,
    },
    /// The bytes do not follow the schema, or there are too many topics and partitions.
    #[error("malformed produce request: {0}")]
    Malformed(#[from] Malformed),
}

impl ProduceDecodeError {
    /// What the caller should do: the bytes are wrong and will stay wrong.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::UnsupportedVersion { .. } | Self::Malformed(_) => ErrorKind::Invalid,
        }
    }
}

impl ProduceRequest {
    /// Reads a body. Bytes after its end are ignored, as Kafka ignores them.
    pub fn decode(version: i16, body: &Bytes) -> Result<Self, ProduceDecodeError> {
        if !VERSIONS.contains(&version) {
            return Err(ProduceDecodeError::UnsupportedVersion { version });
        }
        let walker = Walker { body, version, flexible: version >= FIRST_FLEXIBLE };
        Ok(walker.request(&mut Reader::new(body))?)
    }
}

struct Walker<'a> {
    body: &'a Bytes,
    version: i16,
    flexible: bool,
}

impl Walker<'_> {
    fn request(&self, reader: &mut Reader<'_>) -> Result<ProduceRequest, Malformed> {
        let transactional_id = reader.nullable_string(self.flexible)?;
        let transactional_id =
            transactional_id.map(|id| text(self.body, reader, id)).transpose()?;
        let (acks, timeout_ms) = (reader.i16()?, reader.i32()?);
        let topics = self.topics(reader)?;
        self.no_known_tags(reader)?;
        Ok(ProduceRequest { transactional_id, acks, timeout_ms, topics })
    }

    fn topics(&self, reader: &mut Reader<'_>) -> Result<Vec<ProduceTopic>, Malformed> {
        let list_and_tags = if self.flexible { 1 + 1 } else { 4 };
        let element = TopicRef::wire_bytes_min(self.version, self.flexible) + list_and_tags;
        let count = reader.array_of(self.flexible, element, size_of::<ProduceTopic>())?;
        (0..count).map(|_| self.topic(reader)).collect()
    }

    fn topic(&self, reader: &mut Reader<'_>) -> Result<ProduceTopic, Malformed> {
        let topic = TopicRef::read(self.body, reader, self.version, self.flexible)?;
        let records_and_tags = if self.flexible { 1 + 1 } else { 4 };
        let element = 4 + records_and_tags;
        let count = reader.array_of(self.flexible, element, size_of::<ProducePartition>())?;
        let partitions = (0..count).map(|_| self.partition(reader)).collect::<Result<_, _>>()?;
        self.no_known_tags(reader)?;
        Ok(ProduceTopic { topic, partitions })
    }

    fn partition(&self, reader: &mut Reader<'_>) -> Result<ProducePartition, Malformed> {
        let partition = PartitionIndex(reader.i32()?);
        let records = reader.nullable_bytes(self.flexible)?;
        self.no_known_tags(reader)?;
        Ok(ProducePartition { partition, records: records.map(|slice| self.body.slice_ref(slice)) })
    }

    fn no_known_tags(&self, reader: &mut Reader<'_>) -> Result<(), Malformed> {
        if self.flexible { reader.tagged_fields(|_, _| Ok(false)) } else { Ok(()) }
    }
}

/// The answer to a Produce request with acks other than 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProduceResponse {
    /// One entry for each topic of the request.
    pub topics: Vec<ProduceTopicResponse>,
    /// How long a quota holds the client back, in milliseconds (KIP-219).
    pub throttle_time_ms: i32,
    /// Addresses of the leaders that partitions name. Left out before version 10.
    pub node_endpoints: Vec<NodeEndpoint>,
}

/// The outcome for one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProduceTopicResponse {
    /// Echoes the request's.
    pub topic: TopicRef,
    /// One entry for each partition of the request.
    pub partitions: Vec<ProducePartitionResponse>,
}

/// The outcome for one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducePartitionResponse {
    /// The partition.
    pub partition: PartitionIndex,
    /// The outcome.
    pub error_code: ErrorCode,
    /// The offset given to the first record, or [`Offset::NONE`].
    pub base_offset: Offset,
    /// The broker's time if the topic uses LogAppendTime, else [`Timestamp::NONE`].
    pub log_append_time: Timestamp,
    /// The partition's first offset, or [`Offset::NONE`]. Left out before version 5.
    pub log_start_offset: Offset,
    /// The records that caused a rejection. Left out before version 8.
    pub record_errors: Vec<RecordError>,
    /// The cause of a rejection. Left out before version 8.
    pub error_message: Option<StrBytes>,
    /// Who leads the partition, if not this broker. Left out before version 10.
    pub current_leader: Option<CurrentLeader>,
}

impl ProducePartitionResponse {
    /// A failure with nothing to say but its code.
    pub fn failed(partition: PartitionIndex, error_code: ErrorCode) -> Self {
        Self {
            partition,
            error_code,
            base_offset: Offset::NONE,
            log_append_time: Timestamp::NONE,
            log_start_offset: Offset::NONE,
            record_errors: Vec::new(),
            error_message: None,
            current_leader: None,
        }
    }

    /// A success.
    pub fn appended(
        partition: PartitionIndex,
        base_offset: Offset,
        log_append_time: Timestamp,
        log_start_offset: Offset,
    ) -> Self {
        Self {
            base_offset,
            log_append_time,
            log_start_offset,
            ..Self::failed(partition, ErrorCode::NONE)
        }
    }
}

/// One record that caused its batch to be rejected (KIP-467).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordError {
    /// The record's position in its batch, counted from zero.
    pub batch_index: i32,
    /// What is wrong with it.
    pub message: Option<StrBytes>,
}

impl ProduceResponse {
    /// One whole frame, size prefix included. `version` must be one of 3-13.
    pub fn encode(&self, version: i16, correlation_id: i32) -> Result<Bytes, EncodeError> {
        let flexible = version >= FIRST_FLEXIBLE;
        let mut writer = Writer::response(correlation_id, flexible, self.capacity());
        writer.length(Some(self.topics.len()))?;
        for topic in &self.topics {
            topic.write(&mut writer, version)?;
        }
        writer.i32(self.throttle_time_ms);
        let hints = version >= FIRST_WITH_LEADER_HINTS;
        NodeEndpoint::write_section(&self.node_endpoints, &mut writer, hints)?;
        Ok(writer.finish(0)?.freeze())
    }

    /// Enough for a response without errors and with short names.
    fn capacity(&self) -> usize {
        let partitions: usize = self.topics.iter().map(|topic| topic.partitions.len()).sum();
        32 + 64 * self.topics.len() + 48 * partitions
    }
}

impl ProduceTopicResponse {
    fn write(&self, writer: &mut Writer, version: i16) -> Result<(), EncodeError> {
        self.topic.write(writer, version)?;
        writer.length(Some(self.partitions.len()))?;
        for partition in &self.partitions {
            partition.write(writer, version)?;
        }
        writer.no_tagged_fields();
        Ok(())
    }
}

impl ProducePartitionResponse {
    fn write(&self, writer: &mut Writer, version: i16) -> Result<(), EncodeError> {
        writer.i32(self.partition.0);
        writer.i16(self.error_code.get());
        writer.i64(self.base_offset.get());
        writer.i64(self.log_append_time.get());
        if version >= FIRST_WITH_LOG_START_OFFSET {
            writer.i64(self.log_start_offset.get());
        }
        if version >= FIRST_WITH_RECORD_ERRORS {
            self.write_record_errors(writer)?;
        }
        match self.current_leader {
            Some(leader) if version >= FIRST_WITH_LEADER_HINTS => {
                writer.tagged_field_count(1);
                leader.write_tagged(writer, 0);
            }
            _ => writer.no_tagged_fields(),
        }
        Ok(())
    }

    fn write_record_errors(&self, writer: &mut Writer) -> Result<(), EncodeError> {
        writer.length(Some(self.record_errors.len()))?;
        for error in &self.record_errors {
            writer.i32(error.batch_index);
            writer.nullable_string(error.message.as_deref())?;
            writer.no_tagged_fields();
        }
        writer.nullable_string(self.error_message.as_deref())
    }
}
