//! The Fetch request.

use antiphon_common::{BrokerId, ErrorKind, LeaderEpoch, Offset, PartitionIndex};
use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;
use thiserror::Error;

use super::{
    FIRST_FLEXIBLE, FIRST_WITH_DIRECTORY, FIRST_WITH_HIGH_WATERMARK, FIRST_WITH_LEADER_EPOCH,
    FIRST_WITH_LOG_START_OFFSET, FIRST_WITH_RACK, FIRST_WITH_REPLICA_STATE, FIRST_WITH_SESSIONS,
    VERSIONS,
};
use crate::topic::{TopicRef, text};
use crate::wire::{Malformed, Reader};

/// What a reader may see of transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IsolationLevel {
    /// Everything up to the high watermark.
    ReadUncommitted,
    /// Everything up to the last stable offset, with the list of aborted transactions.
    ReadCommitted,
}

impl IsolationLevel {
    /// Kafka's `IsolationLevel.forId`, which knows only 0 and 1.
    pub const fn from_wire(raw: i8) -> Option<Self> {
        match raw {
            0 => Some(Self::ReadUncommitted),
            1 => Some(Self::ReadCommitted),
            _ => None,
        }
    }
}

/// A Fetch request. Fields that the version lacks have the default that Kafka's schema gives them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchRequest {
    /// -1 for a consumer. No follower ever talks to us, so any other value is an impostor.
    pub replica_id: BrokerId,
    /// How long to wait for `min_bytes`, in milliseconds.
    pub max_wait_ms: i32,
    /// Bytes to collect before answering early.
    pub min_bytes: i32,
    /// Bytes to answer with at most, one whole batch excepted.
    pub max_bytes: i32,
    /// The isolation level as sent; see [`IsolationLevel::from_wire`].
    pub isolation_level: i8,
    /// 0 for no session.
    pub session_id: i32,
    /// 0 opens a session, -1 closes it or does without.
    pub session_epoch: i32,
    /// In the order of the request, which is the order in which to serve them.
    pub topics: Vec<FetchTopic>,
    /// Partitions that leave the session.
    pub forgotten_topics: Vec<ForgottenTopic>,
    /// The consumer's rack, empty if it did not say.
    pub rack_id: StrBytes,
}

/// What to fetch of one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchTopic {
    /// The topic.
    pub topic: TopicRef,
    /// In the order of the request.
    pub partitions: Vec<FetchPartition>,
}

/// What to fetch of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchPartition {
    /// The partition.
    pub partition: PartitionIndex,
    /// The epoch the consumer believes in, or [`LeaderEpoch::NONE`].
    pub current_leader_epoch: LeaderEpoch,
    /// The first offset wanted.
    pub fetch_offset: Offset,
    /// The epoch of the last record the consumer has, or [`LeaderEpoch::NONE`].
    pub last_fetched_epoch: LeaderEpoch,
    /// A follower's log start offset; consumers send -1.
    pub log_start_offset: Offset,
    /// Bytes to return of this partition at most, one whole batch excepted.
    pub max_bytes: i32,
}

/// Partitions of one topic that leave the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForgottenTopic {
    /// The topic.
    pub topic: TopicRef,
    /// The partitions.
    pub partitions: Vec<PartitionIndex>,
}

/// Why a body is no Fetch request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FetchDecodeError {
    /// Not one of versions 4-18.
    #[error("fetch version {version} is not supported")]
    UnsupportedVersion {
        /// The version.
        version: i16,
    },
    /// The bytes do not follow the schema, or there are too many topics and partitions.
    #[error("malformed fetch request: {0}")]
    Malformed(#[from] Malformed),
}

impl FetchDecodeError {
    /// What the caller should do: the bytes are wrong and will stay wrong.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::UnsupportedVersion { .. } | Self::Malformed(_) => ErrorKind::Invalid,
        }
    }
}

impl FetchRequest {
    /// Reads a body. Bytes after its end are ignored, as Kafka ignores them. Topic names and the
    /// rack are slices of `body` and keep its frame in memory.
    pub fn decode(version: i16, body: &Bytes) -> Result<Self, FetchDecodeError> {
        if !VERSIONS.contains(&version) {
            return Err(FetchDecodeError::UnsupportedVersion { version });
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
    fn request(&self, reader: &mut Reader<'_>) -> Result<FetchRequest, Malformed> {
        let has_replica_id = self.version < FIRST_WITH_REPLICA_STATE;
        let mut request = FetchRequest {
            replica_id: BrokerId(if has_replica_id { reader.i32()? } else { -1 }),
            max_wait_ms: reader.i32()?,
            min_bytes: reader.i32()?,
            max_bytes: reader.i32()?,
            isolation_level: reader.i8()?,
            session_id: self.i32_since(FIRST_WITH_SESSIONS, reader, 0)?,
            session_epoch: self.i32_since(FIRST_WITH_SESSIONS, reader, -1)?,
            topics: self.topics(reader)?,
            forgotten_topics: self.forgotten_topics(reader)?,
            rack_id: self.rack(reader)?,
        };
        if self.flexible {
            reader.tagged_fields(|reader, tag| self.top_level_tag(reader, tag, &mut request))?;
        }
        Ok(request)
    }

    /// A field that the message has from version `first` on.
    fn i32_since(&self, first: i16, reader: &mut Reader<'_>, or: i32) -> Result<i32, Malformed> {
        if self.version >= first { reader.i32() } else { Ok(or) }
    }

    fn topics(&self, reader: &mut Reader<'_>) -> Result<Vec<FetchTopic>, Malformed> {
        let count = reader.array_of(self.flexible, self.topic_bytes(), size_of::<FetchTopic>())?;
        (0..count).map(|_| self.topic(reader)).collect()
    }

    /// The fewest bytes that a topic with a list of partitions takes.
    fn topic_bytes(&self) -> usize {
        let list_and_tags = if self.flexible { 1 + 1 } else { 4 };
        TopicRef::wire_bytes_min(self.version, self.flexible) + list_and_tags
    }

    fn topic(&self, reader: &mut Reader<'_>) -> Result<FetchTopic, Malformed> {
        let topic = TopicRef::read(self.body, reader, self.version, self.flexible)?;
        // Partition, offset and size limit are in every version.
        let element = 4 + 8 + 4;
        let count = reader.array_of(self.flexible, element, size_of::<FetchPartition>())?;
        let partitions = (0..count).map(|_| self.partition(reader)).collect::<Result<_, _>>()?;
        self.no_known_tags(reader)?;
        Ok(FetchTopic { topic, partitions })
    }

    fn partition(&self, reader: &mut Reader<'_>) -> Result<FetchPartition, Malformed> {
        let has_log_start = self.version >= FIRST_WITH_LOG_START_OFFSET;
        let partition = FetchPartition {
            partition: PartitionIndex(reader.i32()?),
            current_leader_epoch: self.i32_since(FIRST_WITH_LEADER_EPOCH, reader, -1)?.into(),
            fetch_offset: Offset(reader.i64()?),
            last_fetched_epoch: self.i32_since(FIRST_FLEXIBLE, reader, -1)?.into(),
            log_start_offset: Offset(if has_log_start { reader.i64()? } else { -1 }),
            max_bytes: reader.i32()?,
        };
        if self.flexible {
            reader.tagged_fields(|reader, tag| self.partition_tag(reader, tag))?;
        }
        Ok(partition)
    }

    /// Both tags belong to followers; they are read to be skipped.
    fn partition_tag(&self, reader: &mut Reader<'_>, tag: u32) -> Result<bool, Malformed> {
        match tag {
            0 if self.version >= FIRST_WITH_DIRECTORY => reader.uuid().map(|_| true),
            1 if self.version >= FIRST_WITH_HIGH_WATERMARK => reader.i64().map(|_| true),
            _ => Ok(false),
        }
    }

    fn forgotten_topics(&self, reader: &mut Reader<'_>) -> Result<Vec<ForgottenTopic>, Malformed> {
        if self.version < FIRST_WITH_SESSIONS {
            return Ok(Vec::new());
        }
        let decoded = size_of::<ForgottenTopic>();
        let count = reader.array_of(self.flexible, self.topic_bytes(), decoded)?;
        (0..count).map(|_| self.forgotten_topic(reader)).collect()
    }

    fn forgotten_topic(&self, reader: &mut Reader<'_>) -> Result<ForgottenTopic, Malformed> {
        let topic = TopicRef::read(self.body, reader, self.version, self.flexible)?;
        let count = reader.array_of(self.flexible, 4, size_of::<PartitionIndex>())?;
        let partitions =
            (0..count).map(|_| reader.i32().map(PartitionIndex)).collect::<Result<_, _>>()?;
        self.no_known_tags(reader)?;
        Ok(ForgottenTopic { topic, partitions })
    }

    fn rack(&self, reader: &mut Reader<'_>) -> Result<StrBytes, Malformed> {
        if self.version < FIRST_WITH_RACK {
            return Ok(StrBytes::new());
        }
        let rack = reader.string(self.flexible)?;
        text(self.body, reader, rack)
    }

    fn top_level_tag(
        &self,
        reader: &mut Reader<'_>,
        tag: u32,
        request: &mut FetchRequest,
    ) -> Result<bool, Malformed> {
        match tag {
            // The cluster id, which only a raft voter sends.
            0 => reader.nullable_string(true).map(|_| true),
            1 if self.version >= FIRST_WITH_REPLICA_STATE => {
                request.replica_id = BrokerId(reader.i32()?);
                reader.i64()?;
                self.no_known_tags(reader)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn no_known_tags(&self, reader: &mut Reader<'_>) -> Result<(), Malformed> {
        if self.flexible { reader.tagged_fields(|_, _| Ok(false)) } else { Ok(()) }
    }
}
