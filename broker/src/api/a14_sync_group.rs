//! SyncGroup (key 14), versions 0-5: the leader hands out assignments, everybody gets theirs.

use antiphon_coordinator::{Generation, GroupError, GroupId, Reply, SyncGroup};
use bytes::Bytes;
use kafka_protocol::messages::{SyncGroupRequest, SyncGroupResponse};
use kafka_protocol::protocol::StrBytes;

use super::{RequestContext, codes};

const FIRST_WITH_PROTOCOL: i16 = 5;

pub(super) async fn handle(
    context: RequestContext,
    request: SyncGroupRequest,
) -> SyncGroupResponse {
    let group = GroupId::from(request.group_id.as_str());
    let has_protocol = context.version() >= FIRST_WITH_PROTOCOL;
    let given = |text: &Option<StrBytes>| {
        text.as_ref().filter(|_| has_protocol).map(|text| text.as_str().to_owned())
    };
    let assignments = request.assignments.iter().map(|assignment| {
        let bytes = Bytes::copy_from_slice(&assignment.assignment);
        (assignment.member_id.as_str().into(), bytes)
    });
    let sync = SyncGroup {
        group_id: group.clone(),
        member_id: request.member_id.as_str().into(),
        group_instance_id: request.group_instance_id.as_deref().map(Into::into),
        generation: Generation(request.generation_id),
        protocol_type: given(&request.protocol_type),
        protocol_name: given(&request.protocol_name),
        assignments: assignments.collect(),
    };
    let asked = context.broker.ask_group(&group, |shard, token, now| shard.sync(token, sync, now));
    let result = match asked.await {
        Some(Reply::Sync(result)) => result,
        _ => Err(GroupError::NotCoordinator),
    };
    let response = SyncGroupResponse::default().with_protocol_type(None).with_protocol_name(None);
    match result {
        Err(error) => response.with_error_code(codes::of_group(error).get()),
        Ok(synced) => {
            let response = response.with_assignment(synced.assignment);
            if !has_protocol {
                return response;
            }
            response
                .with_protocol_type(synced.protocol_type.map(StrBytes::from_string))
                .with_protocol_name(synced.protocol_name.map(StrBytes::from_string))
        }
    }
}
