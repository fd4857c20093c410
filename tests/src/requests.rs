//! Requests that many tests send, with the fields that differ as arguments.

use bytes::Bytes;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    BrokerId, CreateTopicsRequest, FetchRequest, ProduceRequest, TopicName,
};
use kafka_protocol::protocol::StrBytes;

/// A string of the protocol.
pub fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// One batch for one partition, acknowledged by `acks`.
pub fn produce_request(topic: &str, partition: i32, records: Bytes, acks: i16) -> ProduceRequest {
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(records));
    let topic = TopicProduceData::default()
        .with_name(TopicName(text(topic)))
        .with_partition_data(vec![data]);
    // The default is an empty id, which is not the same as none.
    ProduceRequest::default()
        .with_transactional_id(None)
        .with_acks(acks)
        .with_timeout_ms(30_000)
        .with_topic_data(vec![topic])
}

/// What to fetch and how long to wait for it.
#[derive(Clone, Copy, Debug)]
pub struct Fetch {
    /// `max_wait_ms`.
    pub wait_ms: i32,
    /// `min_bytes`.
    pub min_bytes: i32,
    /// `max_bytes`.
    pub max_bytes: i32,
    /// `partition_max_bytes`.
    pub partition_max_bytes: i32,
}

impl Default for Fetch {
    /// Everything that is there, at once.
    fn default() -> Self {
        Self { wait_ms: 0, min_bytes: 1, max_bytes: 50 << 20, partition_max_bytes: 50 << 20 }
    }
}

/// A fetch of these partitions of one topic from these offsets.
pub fn fetch_request(topic: &str, positions: &[(i32, i64)], how: Fetch) -> FetchRequest {
    let partition = |&(partition, offset): &(i32, i64)| {
        FetchPartition::default()
            .with_partition(partition)
            .with_current_leader_epoch(-1)
            .with_fetch_offset(offset)
            .with_last_fetched_epoch(-1)
            .with_log_start_offset(-1)
            .with_partition_max_bytes(how.partition_max_bytes)
    };
    let topic = FetchTopic::default()
        .with_topic(TopicName(text(topic)))
        .with_partitions(positions.iter().map(partition).collect());
    FetchRequest::default()
        .with_cluster_id(None)
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(how.wait_ms)
        .with_min_bytes(how.min_bytes)
        .with_max_bytes(how.max_bytes)
        .with_session_epoch(-1)
        .with_topics(vec![topic])
}

/// Topics with as many partitions each, and with these settings.
pub fn create_topics(
    names: &[&str],
    partitions: i32,
    configs: &[(&str, &str)],
) -> CreateTopicsRequest {
    let config = |(name, value): &(&str, &str)| {
        CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)))
    };
    let topic = |name: &&str| {
        CreatableTopic::default()
            .with_name(TopicName(text(name)))
            .with_num_partitions(partitions)
            .with_replication_factor(1)
            .with_configs(configs.iter().map(config).collect())
    };
    CreateTopicsRequest::default()
        .with_topics(names.iter().map(topic).collect())
        .with_timeout_ms(30_000)
}
