//! The Fetch response, written as a rope.
//!
//! ```text
//! [size | header | ... topic | partition | records length] [batch] [batch] [partition | ...] [...]
//!  one buffer, cut at every run of records                  the log's own bytes, not copied
//! ```
//!
//! All metadata goes into one buffer. Because the lengths of the records are known, the size prefix
//! is known before anything is sent, and the buffer is then cut into slices with the batches
//! between them. The result is written to the socket with vectored writes.

use std::collections::VecDeque;

use antiphon_common::{BrokerId, LeaderEpoch, Offset, PartitionIndex};
use bytes::Bytes;

use super::{
    FIRST_FLEXIBLE, FIRST_WITH_ENDPOINTS, FIRST_WITH_LOG_START_OFFSET, FIRST_WITH_RACK,
    FIRST_WITH_SESSIONS,
};
use crate::codes::ErrorCode;
use crate::encode::EncodeError;
use crate::topic::{CurrentLeader, NodeEndpoint, TopicRef};
use crate::wire::Writer;

/// The answer to a Fetch request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FetchResponse {
    /// How long a quota holds the client back, in milliseconds (KIP-219).
    pub throttle_time_ms: i32,
    /// An error of the session. Left out before version 7.
    pub error_code: ErrorCode,
    /// 0 for no session, which is always legal. Left out before version 7.
    pub session_id: i32,
    /// The partitions to tell about.
    pub topics: Vec<FetchTopicResponse>,
    /// Addresses of the leaders that partitions name. Left out before version 16.
    pub node_endpoints: Vec<NodeEndpoint>,
}

/// The answer for one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchTopicResponse {
    /// Echoes the request's.
    pub topic: TopicRef,
    /// The partitions to tell about.
    pub partitions: Vec<FetchPartitionResponse>,
}

/// The answer for one partition. The three offsets are to be set in every answer, errors included,
/// wherever they are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchPartitionResponse {
    /// The partition.
    pub partition: PartitionIndex,
    /// The outcome.
    pub error_code: ErrorCode,
    /// The offset after the last one that consumers may read, or [`Offset::NONE`].
    pub high_watermark: Offset,
    /// The offset before which every transaction is decided, or [`Offset::NONE`].
    pub last_stable_offset: Offset,
    /// The first offset there is, or [`Offset::NONE`]. Left out before version 5.
    pub log_start_offset: Offset,
    /// Where the consumer's log parts from ours. Left out before version 12.
    pub diverging_epoch: Option<DivergingEpoch>,
    /// Who leads the partition, if not this broker. Left out before version 12.
    pub current_leader: Option<CurrentLeader>,
    /// The snapshot to fetch instead. Left out before version 12.
    pub snapshot_id: Option<SnapshotId>,
    /// The aborted transactions that overlap `records`; `None` under read_uncommitted, for which
    /// Kafka sends null.
    pub aborted_transactions: Option<Vec<AbortedTransaction>>,
    /// The broker to read from instead. Left out before version 11.
    pub preferred_read_replica: Option<BrokerId>,
    /// Whole batches, in the order of their offsets. Empty means none, and is sent as an empty run
    /// of records, not as null.
    pub records: Vec<Bytes>,
}

impl FetchPartitionResponse {
    /// An answer without records that knows nothing of the partition.
    pub fn failed(partition: PartitionIndex, error_code: ErrorCode) -> Self {
        Self {
            partition,
            error_code,
            high_watermark: Offset::NONE,
            last_stable_offset: Offset::NONE,
            log_start_offset: Offset::NONE,
            diverging_epoch: None,
            current_leader: None,
            snapshot_id: None,
            aborted_transactions: None,
            preferred_read_replica: None,
            records: Vec::new(),
        }
    }

    /// The length of `records` in bytes.
    pub fn records_bytes(&self) -> usize {
        self.records.iter().map(Bytes::len).sum()
    }
}

/// The end of the last epoch that both logs share (KIP-595).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DivergingEpoch {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// Its end.
    pub end_offset: Offset,
}

/// A metadata snapshot (KIP-630).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotId {
    /// The offset it ends at.
    pub end_offset: Offset,
    /// The epoch it ends in.
    pub epoch: LeaderEpoch,
}

/// A transaction whose records a reader of committed data must skip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Who wrote it.
    pub producer_id: i64,
    /// Its first offset, which may lie before the fetch offset.
    pub first_offset: Offset,
}

/// Where the metadata is cut to let a run of records in.
struct Cut<'a> {
    at: usize,
    records: &'a [Bytes],
}

impl FetchResponse {
    /// One whole frame, size prefix included, as a rope: metadata and, between it, the very
    /// `records` of the partitions. `version` must be one of 4-18. No segment is empty.
    pub fn encode(
        &self,
        version: i16,
        correlation_id: i32,
    ) -> Result<VecDeque<Bytes>, EncodeError> {
        let mut cuts = Vec::new();
        let mut writer =
            Writer::response(correlation_id, version >= FIRST_FLEXIBLE, self.capacity());
        self.write_session(&mut writer, version);
        writer.length(Some(self.topics.len()))?;
        for topic in &self.topics {
            topic.write(&mut writer, version, &mut cuts)?;
        }
        let endpoints = version >= FIRST_WITH_ENDPOINTS;
        NodeEndpoint::write_section(&self.node_endpoints, &mut writer, endpoints)?;
        let outside = cuts.iter().flat_map(|cut| cut.records).map(Bytes::len).sum();
        Ok(splice(writer.finish(outside)?.freeze(), &cuts))
    }

    fn write_session(&self, writer: &mut Writer, version: i16) {
        writer.i32(self.throttle_time_ms);
        if version >= FIRST_WITH_SESSIONS {
            writer.i16(self.error_code.get());
            writer.i32(self.session_id);
        }
    }

    /// Enough for a response without errors and with short names.
    fn capacity(&self) -> usize {
        let partitions: usize = self.topics.iter().map(|topic| topic.partitions.len()).sum();
        32 + 64 * self.topics.len() + 64 * partitions
    }
}

/// Cuts `metadata` and puts the records in.
fn splice(metadata: Bytes, cuts: &[Cut<'_>]) -> VecDeque<Bytes> {
    let batches: usize = cuts.iter().map(|cut| cut.records.len()).sum();
    let mut rope = VecDeque::with_capacity(batches + cuts.len() + 1);
    let mut rest = metadata;
    let mut sent = 0;
    for cut in cuts {
        rope.push_back(rest.split_to(cut.at - sent));
        rope.extend(cut.records.iter().filter(|batch| !batch.is_empty()).cloned());
        sent = cut.at;
    }
    rope.push_back(rest);
    rope.retain(|segment| !segment.is_empty());
    rope
}

impl FetchTopicResponse {
    fn write<'a>(
        &'a self,
        writer: &mut Writer,
        version: i16,
        cuts: &mut Vec<Cut<'a>>,
    ) -> Result<(), EncodeError> {
        self.topic.write(writer, version)?;
        writer.length(Some(self.partitions.len()))?;
        for partition in &self.partitions {
            partition.write(writer, version)?;
            if partition.records_bytes() > 0 {
                cuts.push(Cut { at: writer.len(), records: &partition.records });
            }
            partition.write_tagged_fields(writer, version);
        }
        writer.no_tagged_fields();
        Ok(())
    }
}

impl FetchPartitionResponse {
    /// Everything up to and including the length of the records.
    fn write(&self, writer: &mut Writer, version: i16) -> Result<(), EncodeError> {
        writer.i32(self.partition.0);
        writer.i16(self.error_code.get());
        writer.i64(self.high_watermark.get());
        writer.i64(self.last_stable_offset.get());
        if version >= FIRST_WITH_LOG_START_OFFSET {
            writer.i64(self.log_start_offset.get());
        }
        self.write_aborted_transactions(writer)?;
        if version >= FIRST_WITH_RACK {
            writer.i32(self.preferred_read_replica.map_or(-1, |broker| broker.0));
        }
        writer.length(Some(self.records_bytes()))
    }

    fn write_aborted_transactions(&self, writer: &mut Writer) -> Result<(), EncodeError> {
        writer.length(self.aborted_transactions.as_ref().map(Vec::len))?;
        for transaction in self.aborted_transactions.iter().flatten() {
            writer.i64(transaction.producer_id);
            writer.i64(transaction.first_offset.get());
            writer.no_tagged_fields();
        }
        Ok(())
    }

    fn write_tagged_fields(&self, writer: &mut Writer, version: i16) {
        if version < FIRST_FLEXIBLE {
            return;
        }
        let present = [
            self.diverging_epoch.is_some(),
            self.current_leader.is_some(),
            self.snapshot_id.is_some(),
        ];
        writer.tagged_field_count(present.into_iter().map(u32::from).sum());
        if let Some(diverging) = self.diverging_epoch {
            writer.tagged_field(0, 4 + 8 + 1);
            writer.i32(diverging.epoch.get());
            writer.i64(diverging.end_offset.get());
            writer.no_tagged_fields();
        }
        if let Some(leader) = self.current_leader {
            leader.write_tagged(writer, 1);
        }
        if let Some(snapshot) = self.snapshot_id {
            writer.tagged_field(2, 8 + 4 + 1);
            writer.i64(snapshot.end_offset.get());
            writer.i32(snapshot.epoch.get());
            writer.no_tagged_fields();
        }
    }
}
