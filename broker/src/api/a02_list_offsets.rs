//! ListOffsets (key 2), versions 1-10: offsets by time and by meaning.
//!
//! - -1 latest (the high watermark), -2 earliest, -3 newest timestamp (KIP-734), -4 earliest local
//!   (equals earliest: there is no second tier below the broker), -5 latest tiered (KIP-1005; answered
//!   -1: history in the bucket is the log itself, not a tier of it).
//! - By time: the first record at or after it, looked up inside the batch, else -1.

use std::sync::Arc;

use antiphon_common::{LeaderEpoch, Offset, PartitionIndex, Timestamp};
use antiphon_protocol::ErrorCode;
use antiphon_storage::{LookupError, OffsetAndTimestamp, PartitionLog};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};
use tracing::warn;

use super::a01_fetch::check_epoch;
use super::{RequestContext, codes};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const NEWEST_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;

/// The first version that carries a leader epoch.
const FIRST_WITH_EPOCH: i16 = 4;

pub(super) async fn handle(
    context: RequestContext,
    request: ListOffsetsRequest,
) -> ListOffsetsResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        topics.push(answer_topic(&context, topic).await);
    }
    ListOffsetsResponse::default().with_topics(topics)
}

async fn answer_topic(
    context: &RequestContext,
    asked: ListOffsetsTopic,
) -> ListOffsetsTopicResponse {
    let topic = context.broker.topics().by_name(&asked.name);
    let mut partitions = Vec::with_capacity(asked.partitions.len());
    for wanted in &asked.partitions {
        let index = PartitionIndex(wanted.partition_index);
        let log = topic.as_ref().and_then(|topic| topic.partition(index));
        partitions.push(match log {
            Some(log) => answer_partition(context, log, wanted).await,
            None => failed(wanted.partition_index, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        });
    }
    ListOffsetsTopicResponse::default().with_name(asked.name).with_partitions(partitions)
}

async fn answer_partition(
    context: &RequestContext,
    log: &Arc<PartitionLog>,
    wanted: &ListOffsetsPartition,
) -> ListOffsetsPartitionResponse {
    let index = wanted.partition_index;
    let positions = log.positions();
    let theirs = LeaderEpoch(wanted.current_leader_epoch);
    if let Some(code) = check_epoch(theirs, positions.leader_epoch) {
        return failed(index, code);
    }
    let found = match find(log, wanted.timestamp).await {
        Ok(Found::Position(found)) => found,
        Ok(Found::Unsupported) => return failed(index, ErrorCode::UNSUPPORTED_VERSION),
        Err(error) => {
            warn!(partition = log.id().0, error = %crate::Chain(&error), "offset lookup failed");
            return failed(index, codes::of_lookup(&error));
        }
    };
    let epoch = match found.offset {
        Offset::NONE => LeaderEpoch::NONE,
        offset => log.epoch_at(offset),
    };
    let response = failed(index, ErrorCode::NONE)
        .with_offset(found.offset.get())
        .with_timestamp(found.timestamp.get());
    if context.version() >= FIRST_WITH_EPOCH {
        response.with_leader_epoch(epoch.get())
    } else {
        response
    }
}

enum Found {
    Position(OffsetAndTimestamp),
    Unsupported,
}

async fn find(log: &Arc<PartitionLog>, timestamp: i64) -> Result<Found, LookupError> {
    let positions = log.positions();
    let at = |offset| OffsetAndTimestamp { offset, timestamp: Timestamp::NONE };
    let found = match timestamp {
        LATEST => at(positions.high_watermark),
        EARLIEST | EARLIEST_LOCAL => at(positions.log_start),
        LATEST_TIERED => at(Offset::NONE),
        NEWEST_TIMESTAMP => log.find_newest().await?.unwrap_or(at(Offset::NONE)),
        time if time >= 0 => {
            log.find_by_timestamp(Timestamp(time)).await?.unwrap_or(at(Offset::NONE))
        }
        _ => return Ok(Found::Unsupported),
    };
    Ok(Found::Position(found))
}

fn failed(index: i32, code: ErrorCode) -> ListOffsetsPartitionResponse {
    ListOffsetsPartitionResponse::default()
        .with_partition_index(index)
        .with_error_code(code.get())
        .with_offset(-1)
        .with_timestamp(-1)
        .with_leader_epoch(-1)
}
