//! Topics, offsets and producers.

use antiphon_protocol::{
    ApiKey, ErrorCode, Features, FinalizedFeature, SupportedFeature, api_versions_response,
};
use kafka_protocol::messages::*;
use uuid::Uuid;

use super::{NOT_ASKED, round_trips, since, some, text};

pub(super) fn round_trip() -> Vec<ApiKey> {
    vec![
        round_trips::<ApiVersionsRequest>(api_versions),
        round_trips::<ListOffsetsRequest>(list_offsets),
        round_trips::<MetadataRequest>(metadata),
        round_trips::<InitProducerIdRequest>(init_producer_id),
        round_trips::<OffsetForLeaderEpochRequest>(offset_for_leader_epoch),
        round_trips::<CreateTopicsRequest>(create_topics),
        round_trips::<DeleteTopicsRequest>(delete_topics),
        round_trips::<DeleteRecordsRequest>(delete_records),
        round_trips::<CreatePartitionsRequest>(create_partitions),
        round_trips::<DescribeTopicPartitionsRequest>(describe_topic_partitions),
        round_trips::<ListPartitionReassignmentsRequest>(list_partition_reassignments),
    ]
}

fn orders() -> TopicName {
    text("orders").into()
}

fn api_versions(version: i16) -> ApiVersionsResponse {
    let features = Features {
        supported: &[SupportedFeature { name: "group.version", min: 0, max: 1 }],
        finalized: &[FinalizedFeature { name: "group.version", level: 1 }],
        epoch: 12,
    };
    // Features are tagged fields of version 3; earlier versions drop them without complaint.
    api_versions_response(version, features).with_throttle_time_ms(3)
}

fn list_offsets(version: i16) -> ListOffsetsResponse {
    use list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
    let partition = ListOffsetsPartitionResponse::default()
        .with_partition_index(3)
        .with_timestamp(1_700_000_000_000)
        .with_offset(42)
        .with_leader_epoch(since(version, 4, 8, -1));
    let topic =
        ListOffsetsTopicResponse::default().with_name(orders()).with_partitions(vec![partition]);
    ListOffsetsResponse::default().with_throttle_time_ms(3).with_topics(vec![topic])
}

fn metadata(version: i16) -> MetadataResponse {
    use metadata_response::{
        MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
    };
    let broker = MetadataResponseBroker::default()
        .with_node_id(1.into())
        .with_host(text("localhost"))
        .with_port(9092)
        .with_rack(some("zone-a"));
    let partition = MetadataResponsePartition::default()
        .with_leader_id(1.into())
        .with_leader_epoch(8)
        .with_replica_nodes(vec![1.into(), 2.into()])
        .with_isr_nodes(vec![1.into()])
        .with_offline_replicas(vec![2.into()]);
    let topic = MetadataResponseTopic::default()
        .with_name(Some(orders()))
        .with_topic_id(Uuid::from_u128(5))
        .with_is_internal(true)
        .with_partitions(vec![partition])
        .with_topic_authorized_operations(since(version, 8, 0b1111, NOT_ASKED));
    let in_8_to_10 = (8..=10).contains(&version);
    MetadataResponse::default()
        .with_throttle_time_ms(3)
        .with_brokers(vec![broker])
        .with_cluster_id(some("cluster"))
        .with_controller_id(1.into())
        .with_topics(vec![topic])
        .with_cluster_authorized_operations(if in_8_to_10 { 0b1111 } else { NOT_ASKED })
}

/// The two fields of an ongoing transaction belong to version 6, which is not served.
fn init_producer_id(_version: i16) -> InitProducerIdResponse {
    InitProducerIdResponse::default()
        .with_throttle_time_ms(3)
        .with_producer_id(4_000.into())
        .with_producer_epoch(7)
}

fn offset_for_leader_epoch(_version: i16) -> OffsetForLeaderEpochResponse {
    use offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
    let partition = EpochEndOffset::default()
        .with_error_code(ErrorCode::FENCED_LEADER_EPOCH.get())
        .with_partition(3)
        .with_leader_epoch(8)
        .with_end_offset(42);
    let topic =
        OffsetForLeaderTopicResult::default().with_topic(orders()).with_partitions(vec![partition]);
    OffsetForLeaderEpochResponse::default().with_throttle_time_ms(3).with_topics(vec![topic])
}

fn create_topics(version: i16) -> CreateTopicsResponse {
    use create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
    let config = CreatableTopicConfigs::default()
        .with_name(text("cleanup.policy"))
        .with_value(some("compact"))
        .with_read_only(true)
        .with_config_source(1)
        .with_is_sensitive(true);
    // Configs are ignorable as a whole, so earlier versions drop them without complaint.
    let created = CreatableTopicResult::default()
        .with_name(orders())
        .with_topic_id(Uuid::from_u128(5))
        .with_error_message(None)
        .with_num_partitions(6)
        .with_replication_factor(1)
        .with_configs(Some(vec![config]));
    let refused = CreatableTopicResult::default()
        .with_name(text("..").into())
        .with_error_code(ErrorCode::INVALID_TOPIC_EXCEPTION.get())
        .with_error_message(some("a topic cannot be called .."))
        .with_topic_config_error_code(since(version, 5, 29, 0))
        .with_configs(None);
    CreateTopicsResponse::default().with_throttle_time_ms(3).with_topics(vec![created, refused])
}

fn delete_topics(version: i16) -> DeleteTopicsResponse {
    let deleted = delete_topics_response::DeletableTopicResult::default()
        .with_name(Some(orders()))
        .with_topic_id(Uuid::from_u128(5))
        .with_error_message(None);
    // A topic asked for by id and not found has no name; names are not nullable before that.
    let missing = delete_topics_response::DeletableTopicResult::default()
        .with_name(since(version, 6, None, Some(orders())))
        .with_topic_id(Uuid::from_u128(6))
        .with_error_code(ErrorCode::UNKNOWN_TOPIC_ID.get())
        .with_error_message(some("no such topic"));
    DeleteTopicsResponse::default().with_throttle_time_ms(3).with_responses(vec![deleted, missing])
}

fn delete_records(_version: i16) -> DeleteRecordsResponse {
    use delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
    let partition =
        DeleteRecordsPartitionResult::default().with_partition_index(3).with_low_watermark(42);
    let topic =
        DeleteRecordsTopicResult::default().with_name(orders()).with_partitions(vec![partition]);
    DeleteRecordsResponse::default().with_throttle_time_ms(3).with_topics(vec![topic])
}

fn create_partitions(_version: i16) -> CreatePartitionsResponse {
    let result = create_partitions_response::CreatePartitionsTopicResult::default()
        .with_name(orders())
        .with_error_code(ErrorCode::INVALID_PARTITIONS.get())
        .with_error_message(some("the topic has 6 partitions already"));
    CreatePartitionsResponse::default().with_throttle_time_ms(3).with_results(vec![result])
}

fn list_partition_reassignments(_version: i16) -> ListPartitionReassignmentsResponse {
    ListPartitionReassignmentsResponse::default()
        .with_throttle_time_ms(3)
        .with_error_code(ErrorCode::NONE.get())
        .with_error_message(None)
}

fn describe_topic_partitions(_version: i16) -> DescribeTopicPartitionsResponse {
    use describe_topic_partitions_response::{
        Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
    };
    let partition = DescribeTopicPartitionsResponsePartition::default()
        .with_partition_index(3)
        .with_leader_id(1.into())
        .with_leader_epoch(8)
        .with_replica_nodes(vec![1.into()])
        .with_isr_nodes(vec![1.into()])
        .with_eligible_leader_replicas(None)
        .with_last_known_elr(Some(vec![1.into()]));
    let topic = DescribeTopicPartitionsResponseTopic::default()
        .with_name(Some(orders()))
        .with_topic_id(Uuid::from_u128(5))
        .with_partitions(vec![partition])
        .with_topic_authorized_operations(0b1111);
    let cursor = Cursor::default().with_topic_name(orders()).with_partition_index(4);
    DescribeTopicPartitionsResponse::default()
        .with_throttle_time_ms(3)
        .with_topics(vec![topic])
        .with_next_cursor(Some(cursor))
}
