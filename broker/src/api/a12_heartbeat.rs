//! Heartbeat (key 12), versions 0-4: a member's sign of life.

use antiphon_coordinator::{Generation, GroupId, Heartbeat};
use antiphon_protocol::ErrorCode;
use kafka_protocol::messages::{HeartbeatRequest, HeartbeatResponse};

use super::{RequestContext, codes};

pub(super) async fn handle(
    context: RequestContext,
    request: HeartbeatRequest,
) -> HeartbeatResponse {
    let group = GroupId::from(request.group_id.as_str());
    let beat = Heartbeat {
        group_id: group.clone(),
        member_id: request.member_id.as_str().into(),
        group_instance_id: request.group_instance_id.as_deref().map(Into::into),
        generation: Generation(request.generation_id),
    };
    let result = context.broker.with_group(&group, |shard, now| shard.heartbeat(&beat, now));
    let code = result.map_or_else(codes::of_group, |()| ErrorCode::NONE);
    HeartbeatResponse::default().with_error_code(code.get())
}
