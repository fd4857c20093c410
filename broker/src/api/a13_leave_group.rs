//! LeaveGroup (key 13), versions 0-5: members leave, one up to version 2, several from version 3.

use antiphon_coordinator::{GroupError, GroupId, LeaveGroup, LeavingMember, Reply};
use antiphon_protocol::ErrorCode;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{LeaveGroupRequest, LeaveGroupResponse};

use super::{RequestContext, codes};

const FIRST_WITH_MEMBERS: i16 = 3;

pub(super) async fn handle(
    context: RequestContext,
    request: LeaveGroupRequest,
) -> LeaveGroupResponse {
    let group = GroupId::from(request.group_id.as_str());
    let batched = context.version() >= FIRST_WITH_MEMBERS;
    let members = if batched {
        request.members
    } else {
        vec![
            MemberIdentity::default()
                .with_member_id(request.member_id)
                .with_group_instance_id(None),
        ]
    };
    let leaving = members.iter().map(|member| LeavingMember {
        member_id: member.member_id.as_str().into(),
        group_instance_id: member.group_instance_id.as_deref().map(Into::into),
    });
    let leave = LeaveGroup { group_id: group.clone(), members: leaving.collect() };
    let asked =
        context.broker.ask_group(&group, |shard, token, now| shard.leave(token, &leave, now));
    let results = match asked.await {
        Some(Reply::Leave(results)) => results,
        _ => Err(GroupError::NotCoordinator),
    };
    let code = |result: Result<(), GroupError>| {
        result.map_or_else(codes::of_group, |()| ErrorCode::NONE).get()
    };
    let response = LeaveGroupResponse::default();
    match results {
        Err(error) => response.with_error_code(codes::of_group(error).get()),
        Ok(results) if batched => {
            let members = members.into_iter().zip(results).map(|(member, result)| {
                MemberResponse::default()
                    .with_member_id(member.member_id)
                    .with_group_instance_id(member.group_instance_id)
                    .with_error_code(code(result))
            });
            response.with_members(members.collect())
        }
        Ok(results) => {
            let first = results.into_iter().next().unwrap_or(Err(GroupError::UnknownMemberId));
            response.with_error_code(code(first))
        }
    }
}
