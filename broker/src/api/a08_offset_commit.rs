//! OffsetCommit (key 8), versions 2-9: how far a group has come. Answered when durable.

use antiphon_common::{LeaderEpoch, Offset, PartitionIndex};
use antiphon_coordinator::{
    Generation, GroupError, GroupId, OffsetCommit, OffsetToCommit, Reply, TopicName, TopicPartition,
};
use antiphon_protocol::ErrorCode;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};

use super::{RequestContext, codes};

/// Versions 2-4 may ask for a retention of their own; -1 means the broker's.
const LAST_WITH_RETENTION: i16 = 4;

pub(super) async fn handle(
    context: RequestContext,
    request: OffsetCommitRequest,
) -> OffsetCommitResponse {
    let group = GroupId::from(request.group_id.as_str());
    let known = |topic: &str, partition: i32| {
        let topic = context.broker.topics().by_name(topic);
        topic.is_some_and(|topic| topic.partition(PartitionIndex(partition)).is_some())
    };
    let mut offsets = Vec::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            if known(&topic.name, partition.partition_index) {
                offsets.push(OffsetToCommit {
                    partition: TopicPartition {
                        topic: TopicName::from(topic.name.as_str()),
                        partition: PartitionIndex(partition.partition_index),
                    },
                    offset: Offset(partition.committed_offset),
                    leader_epoch: LeaderEpoch(partition.committed_leader_epoch),
                    metadata: partition.committed_metadata.as_deref().unwrap_or("").to_owned(),
                });
            }
        }
    }
    let retention = (context.version() <= LAST_WITH_RETENTION && request.retention_time_ms >= 0)
        .then_some(request.retention_time_ms);
    let commit = OffsetCommit {
        group_id: group.clone(),
        member_id: request.member_id.as_str().into(),
        group_instance_id: request.group_instance_id.as_deref().map(Into::into),
        generation: Generation(request.generation_id_or_member_epoch),
        retention_ms: retention,
        offsets,
    };
    let asked = context
        .broker
        .ask_group(&group, |shard, token, now| shard.commit_offsets(token, commit, now));
    let mut results = match asked.await {
        Some(Reply::OffsetCommit(results)) => results,
        _ => Vec::new(),
    }
    .into_iter();
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            let index = partition.partition_index;
            let code = if known(&topic.name, index) {
                let result = results.next().unwrap_or(Err(GroupError::NotCoordinator));
                result.map_or_else(codes::of_group, |()| ErrorCode::NONE)
            } else {
                ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
            };
            OffsetCommitResponsePartition::default()
                .with_partition_index(index)
                .with_error_code(code.get())
        });
        let partitions = partitions.collect();
        OffsetCommitResponseTopic::default().with_name(topic.name).with_partitions(partitions)
    });
    OffsetCommitResponse::default().with_topics(topics.collect())
}
