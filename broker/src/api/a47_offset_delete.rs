//! OffsetDelete (key 47), version 0 (KIP-496): forgets positions of topics that the group no longer
//! consumes.

use antiphon_common::PartitionIndex;
use antiphon_coordinator::{GroupError, GroupId, OffsetDelete, Reply, TopicName, TopicPartition};
use antiphon_protocol::ErrorCode;
use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};

use super::{RequestContext, codes};

pub(super) async fn handle(
    context: RequestContext,
    request: OffsetDeleteRequest,
) -> OffsetDeleteResponse {
    let group = GroupId::from(request.group_id.as_str());
    let mut partitions = Vec::new();
    for topic in &request.topics {
        let name = TopicName::from(topic.name.as_str());
        partitions.extend(topic.partitions.iter().map(|partition| TopicPartition {
            topic: name.clone(),
            partition: PartitionIndex(partition.partition_index),
        }));
    }
    let delete = OffsetDelete { group_id: group.clone(), partitions };
    let asked = context
        .broker
        .ask_group(&group, |shard, token, now| shard.delete_offsets(token, delete, now));
    let results = match asked.await {
        Some(Reply::OffsetDelete(results)) => results,
        _ => Err(GroupError::NotCoordinator),
    };
    match results {
        Err(error) => OffsetDeleteResponse::default().with_error_code(codes::of_group(error).get()),
        Ok(results) => {
            let mut results = results.into_iter();
            let topics = request.topics.into_iter().map(|topic| {
                let partitions = topic.partitions.iter().map(|partition| {
                    let result = results.next().unwrap_or(Err(GroupError::UnknownServerError));
                    let code = result.map_or_else(codes::of_group, |()| ErrorCode::NONE);
                    OffsetDeleteResponsePartition::default()
                        .with_partition_index(partition.partition_index)
                        .with_error_code(code.get())
                });
                let partitions = partitions.collect();
                OffsetDeleteResponseTopic::default()
                    .with_name(topic.name)
                    .with_partitions(partitions)
            });
            OffsetDeleteResponse::default().with_topics(topics.collect())
        }
    }
}
