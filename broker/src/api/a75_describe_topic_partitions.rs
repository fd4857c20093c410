//! DescribeTopicPartitions (key 75), version 0 (KIP-966): topics page by page.
//!
//! - Topics are sorted by name; no list means all. A page has at most `response_partition_limit`
//!   partitions, and never more than 2000.
//! - Lists of eligible leaders are empty, never null: Java's admin client does not expect null.
//! - The cursor says where the next page begins, perhaps in the middle of a topic.

use antiphon_common::PartitionIndex;
use antiphon_protocol::ErrorCode;
use kafka_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use kafka_protocol::messages::{
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use super::RequestContext;
use crate::topics::{Topic, check_name};

/// Kafka's `max.request.partition.size.limit`.
const PARTITIONS_MAX: usize = 2000;

pub(super) async fn handle(
    context: RequestContext,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let mut names: Vec<StrBytes> = if request.topics.is_empty() {
        context.broker.topics().all().iter().map(|topic| topic.name.clone()).collect()
    } else {
        request.topics.into_iter().map(|topic| topic.name.0).collect()
    };
    names.sort();
    names.dedup();
    let (from_name, mut from_index) = match &request.cursor {
        Some(cursor) => (cursor.topic_name.as_str(), cursor.partition_index.max(0)),
        None => ("", 0),
    };
    let limit = usize::try_from(request.response_partition_limit).unwrap_or(1);
    let mut room = limit.clamp(1, PARTITIONS_MAX);
    let mut response = DescribeTopicPartitionsResponse::default().with_next_cursor(None);
    for name in names.into_iter().filter(|name| name.as_str() >= from_name) {
        let first = if name.as_str() == from_name { std::mem::take(&mut from_index) } else { 0 };
        if room == 0 {
            let cursor =
                Cursor::default().with_topic_name(TopicName(name)).with_partition_index(first);
            return response.with_next_cursor(Some(cursor));
        }
        let Some(topic) = context.broker.topics().by_name(&name) else {
            response.topics.push(missing(name));
            continue;
        };
        let described = describe(&context, &topic, first, room);
        let next = first + described.partitions.len() as i32;
        room -= described.partitions.len();
        response.topics.push(described);
        if next < topic.partition_count() {
            let cursor =
                Cursor::default().with_topic_name(TopicName(name)).with_partition_index(next);
            return response.with_next_cursor(Some(cursor));
        }
    }
    response
}

fn missing(name: StrBytes) -> DescribeTopicPartitionsResponseTopic {
    let code = match check_name(&name) {
        Ok(()) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        Err(_) => ErrorCode::INVALID_TOPIC_EXCEPTION,
    };
    DescribeTopicPartitionsResponseTopic::default()
        .with_error_code(code.get())
        .with_name(Some(TopicName(name)))
        .with_topic_authorized_operations(i32::MIN)
}

fn describe(
    context: &RequestContext,
    topic: &Topic,
    first: i32,
    limit: usize,
) -> DescribeTopicPartitionsResponseTopic {
    let me = context.broker_id();
    let partitions = (first..topic.partition_count()).take(limit).map(|index| {
        let log = topic.partition(PartitionIndex(index));
        let epoch = log.map_or(-1, |log| log.positions().leader_epoch.get());
        DescribeTopicPartitionsResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(me)
            .with_leader_epoch(epoch)
            .with_replica_nodes(vec![me])
            .with_isr_nodes(vec![me])
            .with_eligible_leader_replicas(Some(Vec::new()))
            .with_last_known_elr(Some(Vec::new()))
    });
    DescribeTopicPartitionsResponseTopic::default()
        .with_name(Some(TopicName(topic.name.clone())))
        .with_topic_id(topic.id.0)
        .with_is_internal(topic.internal)
        .with_partitions(partitions.collect())
        .with_topic_authorized_operations(i32::MIN)
}
