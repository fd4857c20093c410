//! The vocabulary: what tests do with a broker, one word each.
//!
//! Words panic when the broker refuses; those that start with `try_` say what it answered.

use antiphon_protocol::ErrorCode;
use bytes::Bytes;
use kafka_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::{
    BrokerId, DeleteRecordsRequest, DeleteTopicsRequest, DescribeConfigsRequest,
    FindCoordinatorRequest, GroupId, IncrementalAlterConfigsRequest, InitProducerIdRequest,
    ListOffsetsRequest, MetadataRequest, OffsetCommitRequest, OffsetFetchRequest, ProducerId,
    TopicName,
};
use kafka_protocol::protocol::Request;
use uuid::Uuid;

use crate::requests::{Fetch, create_topics, fetch_request, produce_request, text};
use crate::{Batch, CallError, Producer, RawClient, Stored, eventually, stored};

/// The newest versions that name topics, so that tests need not know ids.
const PRODUCE: i16 = 11;
const FETCH: i16 = 12;
/// Kafka's number for a topic in requests about settings.
const TOPIC_RESOURCE: i8 = 2;

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// What the broker says.
    pub error: ErrorCode,
    /// Where the first record is.
    pub base_offset: i64,
    /// Where the log starts.
    pub log_start: i64,
}

/// What a fetch found in one partition.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Which.
    pub partition: i32,
    /// What the broker says.
    pub error: ErrorCode,
    /// The end of what consumers may see.
    pub high_watermark: i64,
    /// The end of what `read_committed` consumers may see.
    pub last_stable: i64,
    /// Where the log starts.
    pub log_start: i64,
    /// Batches, as they are.
    pub records: Bytes,
}

impl Fetched {
    /// The records.
    pub fn stored(&self) -> Vec<Stored> {
        stored(&self.records)
    }
}

/// What Metadata says of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicInfo {
    /// What the broker says.
    pub error: ErrorCode,
    /// Its id.
    pub id: Uuid,
    /// The leader epoch of each partition.
    pub leader_epochs: Vec<i32>,
}

/// A client that asks for one thing at a time.
#[derive(Debug)]
pub struct Kafka {
    raw: RawClient,
}

impl Kafka {
    /// Over a connection.
    pub fn new(raw: RawClient) -> Self {
        Self { raw }
    }

    /// The connection.
    pub fn raw(&mut self) -> &mut RawClient {
        &mut self.raw
    }

    /// A request and its answer.
    pub fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        self.raw.call(version, request).expect("no answer")
    }

    /// Creates a topic.
    pub fn create_topic(&mut self, name: &str, partitions: i32) {
        self.create_topic_with(name, partitions, &[]);
    }

    /// Creates a topic with settings.
    pub fn create_topic_with(&mut self, name: &str, partitions: i32, configs: &[(&str, &str)]) {
        let answer = self.call(7, &create_topics(&[name], partitions, configs));
        let created = answer.topics.first().expect("an answer for the topic");
        let (code, why) = (created.error_code, &created.error_message);
        assert_eq!(ErrorCode(code), ErrorCode::NONE, "{name}: {why:?}");
    }

    /// Deletes a topic.
    pub fn delete_topic(&mut self, name: &str) {
        let request = DeleteTopicsRequest::default()
            .with_topic_names(vec![TopicName(text(name))])
            .with_timeout_ms(30_000);
        let answer = self.call(5, &request);
        assert!(answer.responses.iter().all(|topic| topic.error_code == 0), "{answer:?}");
    }

    /// What Metadata says of a topic, without creating it.
    pub fn topic(&mut self, name: &str) -> TopicInfo {
        let asked = MetadataRequestTopic::default().with_name(Some(TopicName(text(name))));
        let request = MetadataRequest::default()
            .with_topics(Some(vec![asked]))
            .with_allow_auto_topic_creation(false);
        let answer = self.call(12, &request);
        let topic = answer.topics.into_iter().next().expect("an answer for the topic");
        let mut partitions = topic.partitions;
        partitions.sort_by_key(|partition| partition.partition_index);
        TopicInfo {
            error: ErrorCode(topic.error_code),
            id: topic.topic_id,
            leader_epochs: partitions.iter().map(|partition| partition.leader_epoch).collect(),
        }
    }

    /// Produces a batch with acks=all; the offset of its first record.
    pub fn produce(&mut self, topic: &str, partition: i32, batch: &Batch) -> i64 {
        let appended = self.try_produce(topic, partition, batch.bytes()).expect("no answer");
        assert_eq!(appended.error, ErrorCode::NONE, "{topic}-{partition}");
        appended.base_offset
    }

    /// Produces bytes with acks=all.
    pub fn try_produce(
        &mut self,
        topic: &str,
        partition: i32,
        records: Bytes,
    ) -> Result<Appended, CallError> {
        let request = produce_request(topic, partition, records, -1);
        let answer = self.raw.call(PRODUCE, &request)?;
        let mut partitions = answer.responses.into_iter().flat_map(|t| t.partition_responses);
        let found = partitions.next().ok_or_else(|| CallError::Decode("no partition".into()))?;
        Ok(Appended {
            error: ErrorCode(found.error_code),
            base_offset: found.base_offset,
            log_start: found.log_start_offset,
        })
    }

    /// Produces bytes that the broker has to refuse; why it does.
    pub fn refused(&mut self, topic: &str, partition: i32, records: Bytes) -> ErrorCode {
        self.try_produce(topic, partition, records).expect("no answer").error
    }

    /// Everything of one partition from an offset on that one answer holds.
    pub fn fetch(&mut self, topic: &str, partition: i32, offset: i64) -> Fetched {
        let mut found = self.fetch_many(topic, &[(partition, offset)], Fetch::default());
        found.remove(0)
    }

    /// A fetch of several partitions.
    pub fn fetch_many(
        &mut self,
        topic: &str,
        positions: &[(i32, i64)],
        how: Fetch,
    ) -> Vec<Fetched> {
        let answer = self.call(FETCH, &fetch_request(topic, positions, how));
        assert_eq!(answer.error_code, 0);
        let partitions = answer.responses.into_iter().flat_map(|topic| topic.partitions);
        let fetched = partitions.map(|found| Fetched {
            partition: found.partition_index,
            error: ErrorCode(found.error_code),
            high_watermark: found.high_watermark,
            last_stable: found.last_stable_offset,
            log_start: found.log_start_offset,
            records: found.records.unwrap_or_default(),
        });
        fetched.collect()
    }

    /// Every record of a partition from the start of its log to its end.
    pub fn read_all(&mut self, topic: &str, partition: i32) -> Vec<Stored> {
        let mut offset = self.start_offset(topic, partition);
        let end = self.end_offset(topic, partition);
        let mut all: Vec<Stored> = Vec::new();
        while offset < end {
            let fetched = self.fetch(topic, partition, offset);
            assert_eq!(fetched.error, ErrorCode::NONE, "{topic}-{partition} at {offset}");
            let found = fetched.stored().into_iter().filter(|record| record.offset >= offset);
            let before = all.len();
            all.extend(found);
            assert!(all.len() > before, "{topic}-{partition}: nothing at {offset}, end {end}");
            offset = all.last().map_or(end, |record| record.offset + 1);
        }
        all
    }

    /// The values of every record of a partition.
    pub fn values(&mut self, topic: &str, partition: i32) -> Vec<String> {
        self.read_all(topic, partition).iter().map(Stored::text).collect()
    }

    /// (offset, timestamp) that ListOffsets finds for a timestamp, or one of its special values.
    pub fn offset_at(&mut self, topic: &str, partition: i32, timestamp: i64) -> (i64, i64) {
        let asked = ListOffsetsPartition::default()
            .with_partition_index(partition)
            .with_current_leader_epoch(-1)
            .with_timestamp(timestamp);
        let topics = ListOffsetsTopic::default()
            .with_name(TopicName(text(topic)))
            .with_partitions(vec![asked]);
        let request =
            ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topics]);
        let answer = self.call(9, &request);
        let mut partitions = answer.topics.into_iter().flat_map(|topic| topic.partitions);
        let found = partitions.next().expect("an answer for the partition");
        assert_eq!(found.error_code, 0, "{topic}-{partition} at {timestamp}");
        (found.offset, found.timestamp)
    }

    /// The high watermark.
    pub fn end_offset(&mut self, topic: &str, partition: i32) -> i64 {
        self.offset_at(topic, partition, -1).0
    }

    /// Where the log starts.
    pub fn start_offset(&mut self, topic: &str, partition: i32) -> i64 {
        self.offset_at(topic, partition, -2).0
    }

    /// A new idempotent producer.
    pub fn init_producer(&mut self) -> Producer {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(None)
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1);
        let answer = self.call(4, &request);
        assert_eq!(answer.error_code, 0);
        Producer { id: answer.producer_id.0, epoch: answer.producer_epoch }
    }

    /// Deletes records before an offset; -1 for all. The error and the start of the log.
    pub fn delete_records(&mut self, topic: &str, partition: i32, offset: i64) -> (ErrorCode, i64) {
        let asked =
            DeleteRecordsPartition::default().with_partition_index(partition).with_offset(offset);
        let topics = DeleteRecordsTopic::default()
            .with_name(TopicName(text(topic)))
            .with_partitions(vec![asked]);
        let request =
            DeleteRecordsRequest::default().with_topics(vec![topics]).with_timeout_ms(30_000);
        let answer = self.call(2, &request);
        let mut partitions = answer.topics.into_iter().flat_map(|topic| topic.partitions);
        let found = partitions.next().expect("an answer for the partition");
        (ErrorCode(found.error_code), found.low_watermark)
    }

    /// A topic's setting and where it comes from.
    pub fn topic_config(&mut self, topic: &str, name: &str) -> (String, i8) {
        let resource = DescribeConfigsResource::default()
            .with_resource_type(TOPIC_RESOURCE)
            .with_resource_name(text(topic))
            .with_configuration_keys(Some(vec![text(name)]));
        let answer =
            self.call(4, &DescribeConfigsRequest::default().with_resources(vec![resource]));
        let result = answer.results.into_iter().next().expect("an answer for the topic");
        assert_eq!(result.error_code, 0, "{topic}");
        let config = result.configs.into_iter().next().expect("the setting");
        (config.value.unwrap_or_default().to_string(), config.config_source)
    }

    /// Changes a topic's setting: 0 set, 1 delete, 2 append, 3 subtract.
    pub fn alter_topic_config(
        &mut self,
        topic: &str,
        name: &str,
        operation: i8,
        value: Option<&str>,
    ) -> ErrorCode {
        let config = AlterableConfig::default()
            .with_name(text(name))
            .with_config_operation(operation)
            .with_value(value.map(text));
        let resource = AlterConfigsResource::default()
            .with_resource_type(TOPIC_RESOURCE)
            .with_resource_name(text(topic))
            .with_configs(vec![config]);
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
        let answer = self.call(1, &request);
        ErrorCode(answer.responses.first().expect("an answer for the topic").error_code)
    }

    /// Waits until the broker coordinates a group. Looking for a coordinator is what creates the
    /// topic that groups live in.
    pub fn find_coordinator(&mut self, group: &str) {
        let request = FindCoordinatorRequest::default().with_coordinator_keys(vec![text(group)]);
        eventually("a coordinator", || {
            let answer = self.call(4, &request);
            let found = settled(ErrorCode(answer.coordinators.first()?.error_code));
            found.map(|code| assert_eq!(code, ErrorCode::NONE))
        });
    }

    /// Commits an offset for a group without members, waiting for its coordinator.
    pub fn commit(&mut self, group: &str, topic: &str, partition: i32, offset: i64) {
        let asked = OffsetCommitRequestPartition::default()
            .with_partition_index(partition)
            .with_committed_offset(offset)
            .with_committed_metadata(Some(text("by hand")));
        let topics = OffsetCommitRequestTopic::default()
            .with_name(TopicName(text(topic)))
            .with_partitions(vec![asked]);
        let request = OffsetCommitRequest::default()
            .with_group_id(GroupId(text(group)))
            .with_generation_id_or_member_epoch(-1)
            .with_group_instance_id(None)
            .with_topics(vec![topics]);
        self.find_coordinator(group);
        eventually("the coordinator to commit", || {
            let answer = self.call(8, &request);
            let code = answer.topics.first()?.partitions.first()?.error_code;
            settled(ErrorCode(code)).map(|code| assert_eq!(code, ErrorCode::NONE))
        });
    }

    /// The offset a group committed; -1 for none.
    pub fn committed(&mut self, group: &str, topic: &str, partition: i32) -> i64 {
        let topics = OffsetFetchRequestTopic::default()
            .with_name(TopicName(text(topic)))
            .with_partition_indexes(vec![partition]);
        let request = OffsetFetchRequest::default()
            .with_group_id(GroupId(text(group)))
            .with_topics(Some(vec![topics]));
        self.find_coordinator(group);
        eventually("the coordinator to tell", || {
            let answer = self.call(7, &request);
            let code = settled(ErrorCode(answer.error_code))?;
            assert_eq!(code, ErrorCode::NONE);
            Some(answer.topics.first()?.partitions.first()?.committed_offset)
        })
    }
}

/// `None` while the coordinator still loads or its topic is being created.
fn settled(code: ErrorCode) -> Option<ErrorCode> {
    let passing = [
        ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
        ErrorCode::COORDINATOR_NOT_AVAILABLE,
        ErrorCode::NOT_COORDINATOR,
    ];
    (!passing.contains(&code)).then_some(code)
}
