//! Groups and their offsets.

use antiphon_protocol::{ApiKey, ErrorCode};
use bytes::Bytes;
use kafka_protocol::messages::*;

use super::{NOT_ASKED, round_trips, since, some, text, until};

pub(super) fn round_trip() -> Vec<ApiKey> {
    vec![
        round_trips::<OffsetCommitRequest>(offset_commit),
        round_trips::<OffsetFetchRequest>(offset_fetch),
        round_trips::<FindCoordinatorRequest>(find_coordinator),
        round_trips::<JoinGroupRequest>(join_group),
        round_trips::<HeartbeatRequest>(heartbeat),
        round_trips::<LeaveGroupRequest>(leave_group),
        round_trips::<SyncGroupRequest>(sync_group),
        round_trips::<DescribeGroupsRequest>(describe_groups),
        round_trips::<ListGroupsRequest>(list_groups),
        round_trips::<DeleteGroupsRequest>(delete_groups),
        round_trips::<OffsetDeleteRequest>(offset_delete),
    ]
}

fn orders() -> TopicName {
    text("orders").into()
}

fn workers() -> GroupId {
    text("workers").into()
}

fn offset_commit(_version: i16) -> OffsetCommitResponse {
    use offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
    let partition = OffsetCommitResponsePartition::default()
        .with_partition_index(3)
        .with_error_code(ErrorCode::OFFSET_METADATA_TOO_LARGE.get());
    let topic =
        OffsetCommitResponseTopic::default().with_name(orders()).with_partitions(vec![partition]);
    OffsetCommitResponse::default().with_throttle_time_ms(3).with_topics(vec![topic])
}

/// One response, two shapes: one group's topics up to version 7, a list of groups from 8 on.
fn offset_fetch(version: i16) -> OffsetFetchResponse {
    OffsetFetchResponse::default()
        .with_throttle_time_ms(3)
        .with_error_code(until(version, 7, ErrorCode::NOT_COORDINATOR.get()))
        .with_topics(until(version, 7, vec![offsets_of_one_group(version)]))
        .with_groups(since(version, 8, vec![offsets_among_groups()], Vec::new()))
}

fn offsets_of_one_group(version: i16) -> offset_fetch_response::OffsetFetchResponseTopic {
    let partition = offset_fetch_response::OffsetFetchResponsePartition::default()
        .with_partition_index(3)
        .with_committed_offset(42)
        .with_committed_leader_epoch(since(version, 5, 8, -1))
        .with_metadata(some("checkpoint"));
    offset_fetch_response::OffsetFetchResponseTopic::default()
        .with_name(orders())
        .with_partitions(vec![partition])
}

fn offsets_among_groups() -> offset_fetch_response::OffsetFetchResponseGroup {
    let partition = offset_fetch_response::OffsetFetchResponsePartitions::default()
        .with_partition_index(3)
        .with_committed_offset(42)
        .with_committed_leader_epoch(8)
        .with_metadata(some("checkpoint"));
    let topic = offset_fetch_response::OffsetFetchResponseTopics::default()
        .with_name(orders())
        .with_partitions(vec![partition]);
    offset_fetch_response::OffsetFetchResponseGroup::default()
        .with_group_id(workers())
        .with_topics(vec![topic])
}

/// One response, two shapes: one coordinator up to version 3, one for each key from 4 on.
fn find_coordinator(version: i16) -> FindCoordinatorResponse {
    let response = FindCoordinatorResponse::default().with_throttle_time_ms(3);
    if version <= 3 {
        return response
            .with_error_message(some("found"))
            .with_node_id(1.into())
            .with_host(text("localhost"))
            .with_port(9092);
    }
    let coordinator = find_coordinator_response::Coordinator::default()
        .with_key(text("workers"))
        .with_node_id(1.into())
        .with_host(text("localhost"))
        .with_port(9092)
        .with_error_message(None);
    response.with_coordinators(vec![coordinator])
}

fn join_group(version: i16) -> JoinGroupResponse {
    let member = join_group_response::JoinGroupResponseMember::default()
        .with_member_id(text("m-1"))
        .with_group_instance_id(some("rack-3"))
        .with_metadata(Bytes::from_static(b"subscription"));
    JoinGroupResponse::default()
        .with_throttle_time_ms(3)
        .with_generation_id(9)
        .with_protocol_type(some("consumer"))
        .with_protocol_name(some("range"))
        .with_leader(text("m-1"))
        .with_skip_assignment(since(version, 9, true, false))
        .with_member_id(text("m-1"))
        .with_members(vec![member])
}

fn heartbeat(_version: i16) -> HeartbeatResponse {
    HeartbeatResponse::default()
        .with_throttle_time_ms(3)
        .with_error_code(ErrorCode::REBALANCE_IN_PROGRESS.get())
}

fn leave_group(version: i16) -> LeaveGroupResponse {
    let member = leave_group_response::MemberResponse::default()
        .with_member_id(text("m-1"))
        .with_group_instance_id(some("rack-3"))
        .with_error_code(ErrorCode::UNKNOWN_MEMBER_ID.get());
    LeaveGroupResponse::default().with_throttle_time_ms(3).with_members(since(
        version,
        3,
        vec![member],
        Vec::new(),
    ))
}

fn sync_group(_version: i16) -> SyncGroupResponse {
    SyncGroupResponse::default()
        .with_throttle_time_ms(3)
        .with_protocol_type(some("consumer"))
        .with_protocol_name(some("range"))
        .with_assignment(Bytes::from_static(b"assignment"))
}

fn describe_groups(version: i16) -> DescribeGroupsResponse {
    let member = describe_groups_response::DescribedGroupMember::default()
        .with_member_id(text("m-1"))
        .with_group_instance_id(some("rack-3"))
        .with_client_id(text("worker"))
        .with_client_host(text("/127.0.0.1"))
        .with_member_metadata(Bytes::from_static(b"subscription"))
        .with_member_assignment(Bytes::from_static(b"assignment"));
    let group = describe_groups_response::DescribedGroup::default()
        .with_error_message(since(version, 6, some("fine"), None))
        .with_group_id(workers())
        .with_group_state(text("Stable"))
        .with_protocol_type(text("consumer"))
        .with_protocol_data(text("range"))
        .with_members(vec![member])
        .with_authorized_operations(since(version, 3, 0b1111, NOT_ASKED));
    DescribeGroupsResponse::default().with_throttle_time_ms(3).with_groups(vec![group])
}

fn list_groups(_version: i16) -> ListGroupsResponse {
    let group = list_groups_response::ListedGroup::default()
        .with_group_id(workers())
        .with_protocol_type(text("consumer"))
        .with_group_state(text("Stable"))
        .with_group_type(text("classic"));
    ListGroupsResponse::default().with_throttle_time_ms(3).with_groups(vec![group])
}

fn delete_groups(_version: i16) -> DeleteGroupsResponse {
    let result = delete_groups_response::DeletableGroupResult::default()
        .with_group_id(workers())
        .with_error_code(ErrorCode::NON_EMPTY_GROUP.get());
    DeleteGroupsResponse::default().with_throttle_time_ms(3).with_results(vec![result])
}

fn offset_delete(_version: i16) -> OffsetDeleteResponse {
    use offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
    let partition = OffsetDeleteResponsePartition::default()
        .with_partition_index(3)
        .with_error_code(ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC.get());
    let topic =
        OffsetDeleteResponseTopic::default().with_name(orders()).with_partitions(vec![partition]);
    OffsetDeleteResponse::default().with_throttle_time_ms(3).with_topics(vec![topic])
}
