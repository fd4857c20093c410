//! DescribeLogDirs (key 35), versions 1-4: one folder, the write-ahead log's, with the true size of
//! each partition: what is in the bucket plus what is not there yet.

use antiphon_common::PartitionIndex;
use kafka_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_protocol::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::RequestContext;
use crate::topics::Topic;

pub(super) async fn handle(
    context: RequestContext,
    request: DescribeLogDirsRequest,
) -> DescribeLogDirsResponse {
    let topics = match request.topics {
        None => {
            let all = context.broker.topics().all();
            all.iter().map(|topic| describe(topic, 0..topic.partition_count())).collect()
        }
        Some(wanted) => {
            let known = wanted.iter().filter_map(|asked| {
                let topic = context.broker.topics().by_name(&asked.topic)?;
                Some(describe(&topic, asked.partitions.iter().copied()))
            });
            known.collect()
        }
    };
    let (total, usable) = context.broker.storage().disk_space();
    let folder = context.broker.storage().wal_dir().display().to_string();
    let result = DescribeLogDirsResult::default()
        .with_log_dir(StrBytes::from_string(folder))
        .with_topics(topics)
        .with_total_bytes(total)
        .with_usable_bytes(usable);
    DescribeLogDirsResponse::default().with_results(vec![result])
}

fn describe(topic: &Topic, indexes: impl Iterator<Item = i32>) -> DescribeLogDirsTopic {
    let partitions = indexes.filter_map(|index| {
        let log = topic.partition(PartitionIndex(index))?;
        let size = i64::try_from(log.size_bytes()).unwrap_or(i64::MAX);
        let partition = DescribeLogDirsPartition::default().with_partition_index(index);
        Some(partition.with_partition_size(size))
    });
    DescribeLogDirsTopic::default()
        .with_name(TopicName(topic.name.clone()))
        .with_partitions(partitions.collect())
}
