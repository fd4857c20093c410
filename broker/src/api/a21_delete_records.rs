//! DeleteRecords (key 21), versions 0-2: moves the start of a partition's log; -1 means its end.

use antiphon_common::{Offset, PartitionIndex};
use antiphon_protocol::ErrorCode;
use kafka_protocol::messages::delete_records_request::DeleteRecordsTopic;
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};

use super::{RequestContext, codes};

pub(super) async fn handle(
    context: RequestContext,
    request: DeleteRecordsRequest,
) -> DeleteRecordsResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        topics.push(delete(&context, topic).await);
    }
    DeleteRecordsResponse::default().with_topics(topics)
}

async fn delete(context: &RequestContext, wanted: DeleteRecordsTopic) -> DeleteRecordsTopicResult {
    let topic = context.broker.topics().by_name(&wanted.name);
    let mut partitions = Vec::with_capacity(wanted.partitions.len());
    for partition in wanted.partitions {
        let index = PartitionIndex(partition.partition_index);
        let outcome = match topic.as_ref().and_then(|topic| topic.partition(index)) {
            None => Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
            Some(log) => {
                let deleted = log.delete_records(Offset(partition.offset)).await;
                deleted.map_err(|error| codes::of_trim(&error))
            }
        };
        let result =
            DeleteRecordsPartitionResult::default().with_partition_index(partition.partition_index);
        partitions.push(match outcome {
            Ok(log_start) => result.with_low_watermark(log_start.get()),
            Err(code) => result.with_low_watermark(-1).with_error_code(code.get()),
        });
    }
    DeleteRecordsTopicResult::default().with_name(wanted.name).with_partitions(partitions)
}
