//! DeleteGroups (key 42), versions 0-2: removes empty groups with their offsets.

use antiphon_coordinator::{GroupError, GroupId, Reply};
use antiphon_protocol::ErrorCode;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse};

use super::{RequestContext, codes};

pub(super) async fn handle(
    context: RequestContext,
    request: DeleteGroupsRequest,
) -> DeleteGroupsResponse {
    let mut results = Vec::with_capacity(request.groups_names.len());
    for id in request.groups_names {
        let group = GroupId::from(id.as_str());
        let asked = context
            .broker
            .ask_group(&group, |shard, token, now| shard.delete_group(token, &group, now));
        let result = match asked.await {
            Some(Reply::DeleteGroup(result)) => result,
            _ => Err(GroupError::NotCoordinator),
        };
        let code = result.map_or_else(codes::of_group, |()| ErrorCode::NONE);
        results.push(DeletableGroupResult::default().with_group_id(id).with_error_code(code.get()));
    }
    DeleteGroupsResponse::default().with_results(results)
}
