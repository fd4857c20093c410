//! OffsetForLeaderEpoch (key 23), versions 2-4: where a leader's reign ended (KIP-101, KIP-320).

use antiphon_common::{LeaderEpoch, PartitionIndex};
use antiphon_protocol::ErrorCode;
use kafka_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};

use super::RequestContext;
use super::a01_fetch::check_epoch;
use crate::topics::Topic;

pub(super) async fn handle(
    context: RequestContext,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.into_iter().map(|asked| {
        let topic = context.broker.topics().by_name(&asked.topic);
        let partitions = asked.partitions.iter().map(|wanted| answer(topic.as_deref(), wanted));
        let partitions = partitions.collect();
        OffsetForLeaderTopicResult::default().with_topic(asked.topic).with_partitions(partitions)
    });
    OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
}

fn answer(topic: Option<&Topic>, wanted: &OffsetForLeaderPartition) -> EpochEndOffset {
    let undefined = EpochEndOffset::default()
        .with_partition(wanted.partition)
        .with_leader_epoch(-1)
        .with_end_offset(-1);
    let Some(log) = topic.and_then(|topic| topic.partition(PartitionIndex(wanted.partition)))
    else {
        return undefined.with_error_code(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.get());
    };
    let theirs = LeaderEpoch(wanted.current_leader_epoch);
    if let Some(code) = check_epoch(theirs, log.positions().leader_epoch) {
        return undefined.with_error_code(code.get());
    }
    match log.end_of_epoch(LeaderEpoch(wanted.leader_epoch)) {
        Some(end) => {
            undefined.with_leader_epoch(end.epoch.get()).with_end_offset(end.end_offset.get())
        }
        None => undefined,
    }
}
