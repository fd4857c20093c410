//! OffsetFetch (key 9), versions 1-9: how far groups have come.
//!
//! One group up to version 7, many from version 8. No list of topics means all. A partition without
//! a commit is answered with -1 and no error. `require_stable` (KIP-447) has nothing to wait for
//! until transactions are served.

use antiphon_common::PartitionIndex;
use antiphon_coordinator::{CommittedOffset, GroupError, GroupId, TopicName, TopicPartition};
use antiphon_protocol::ErrorCode;
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{OffsetFetchRequest, OffsetFetchResponse, TopicName as WireName};
use kafka_protocol::protocol::StrBytes;

use super::{RequestContext, codes};

const FIRST_WITH_GROUPS: i16 = 8;
const FIRST_WITH_TOP_LEVEL_ERROR: i16 = 2;

pub(super) async fn handle(
    context: RequestContext,
    request: OffsetFetchRequest,
) -> OffsetFetchResponse {
    if context.version() >= FIRST_WITH_GROUPS {
        let groups = request.groups.into_iter().map(|group| fetch_group(&context, group));
        return OffsetFetchResponse::default().with_groups(groups.collect());
    }
    let topics = request.topics.map(|topics| {
        let topics = topics.into_iter().map(|topic| {
            OffsetFetchRequestTopics::default()
                .with_name(topic.name)
                .with_partition_indexes(topic.partition_indexes)
        });
        topics.collect()
    });
    let group =
        OffsetFetchRequestGroup::default().with_group_id(request.group_id).with_topics(topics);
    flat(&context, fetch_group(&context, group))
}

/// The shape of versions 1-7; version 1 has errors on partitions only.
fn flat(context: &RequestContext, group: OffsetFetchResponseGroup) -> OffsetFetchResponse {
    let on_partitions = context.version() < FIRST_WITH_TOP_LEVEL_ERROR;
    let topics = group.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.into_iter().map(|partition| {
            let code = if on_partitions { group.error_code } else { partition.error_code };
            OffsetFetchResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_committed_offset(partition.committed_offset)
                .with_committed_leader_epoch(partition.committed_leader_epoch)
                .with_metadata(partition.metadata)
                .with_error_code(code)
        });
        let partitions = partitions.collect();
        OffsetFetchResponseTopic::default().with_name(topic.name).with_partitions(partitions)
    });
    let response = OffsetFetchResponse::default().with_topics(topics.collect());
    if on_partitions { response } else { response.with_error_code(group.error_code) }
}

fn fetch_group(
    context: &RequestContext,
    wanted: OffsetFetchRequestGroup,
) -> OffsetFetchResponseGroup {
    let group = GroupId::from(wanted.group_id.as_str());
    let fetched = match &wanted.topics {
        None => fetch_all(context, &group),
        Some(topics) => fetch_some(context, &group, topics),
    };
    let response = OffsetFetchResponseGroup::default().with_group_id(wanted.group_id);
    match fetched {
        Ok(topics) => response.with_topics(topics),
        Err(error) => {
            let topics = wanted.topics.unwrap_or_default().into_iter().map(|topic| {
                let partitions = topic.partition_indexes.iter();
                let partitions = partitions.map(|index| partition(*index, None)).collect();
                OffsetFetchResponseTopics::default()
                    .with_name(topic.name)
                    .with_partitions(partitions)
            });
            let topics = topics.collect();
            response.with_error_code(codes::of_group(error).get()).with_topics(topics)
        }
    }
}

fn fetch_some(
    context: &RequestContext,
    group: &GroupId,
    topics: &[OffsetFetchRequestTopics],
) -> Result<Vec<OffsetFetchResponseTopics>, GroupError> {
    let mut wanted = Vec::new();
    for topic in topics {
        let name = TopicName::from(topic.name.as_str());
        wanted.extend(topic.partition_indexes.iter().map(|index| TopicPartition {
            topic: name.clone(),
            partition: PartitionIndex(*index),
        }));
    }
    let found = context.broker.with_group(group, |shard, _| shard.fetch_offsets(group, &wanted))?;
    let mut found = found.into_iter();
    let answers = topics.iter().map(|topic| {
        let partitions = topic
            .partition_indexes
            .iter()
            .map(|index| partition(*index, found.next().flatten()))
            .collect();
        OffsetFetchResponseTopics::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions)
    });
    Ok(answers.collect())
}

fn fetch_all(
    context: &RequestContext,
    group: &GroupId,
) -> Result<Vec<OffsetFetchResponseTopics>, GroupError> {
    let found = context.broker.with_group(group, |shard, _| shard.fetch_all_offsets(group))?;
    let mut topics: Vec<OffsetFetchResponseTopics> = Vec::new();
    for (place, committed) in found {
        let name = place.topic.as_str();
        let same = topics.last().is_some_and(|topic| topic.name.as_str() == name);
        if !same {
            let name = WireName(StrBytes::from_string(name.to_owned()));
            topics.push(OffsetFetchResponseTopics::default().with_name(name));
        }
        if let Some(topic) = topics.last_mut() {
            topic.partitions.push(partition(place.partition.0, Some(committed)));
        }
    }
    Ok(topics)
}

fn partition(index: i32, committed: Option<CommittedOffset>) -> OffsetFetchResponsePartitions {
    let answer = OffsetFetchResponsePartitions::default()
        .with_partition_index(index)
        .with_error_code(ErrorCode::NONE.get());
    match committed {
        Some(committed) => answer
            .with_committed_offset(committed.offset.get())
            .with_committed_leader_epoch(committed.leader_epoch.get())
            .with_metadata(Some(StrBytes::from_string(committed.metadata))),
        None => answer
            .with_committed_offset(-1)
            .with_committed_leader_epoch(-1)
            .with_metadata(Some(StrBytes::from_static_str(""))),
    }
}
