//! JoinGroup (key 11), versions 0-9: become or stay a member of a group. Answered when the group has
//! settled who is in.
//!
//! From version 4 a new dynamic member is told its id first (KIP-394); older clients never are, or
//! they could not join at all.

use antiphon_coordinator::{
    GroupError, GroupId, JoinGroup, JoinRefused, JoinedGroup, Protocol, Reply,
};
use bytes::Bytes;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::{JoinGroupRequest, JoinGroupResponse};
use kafka_protocol::protocol::StrBytes;

use super::{RequestContext, codes};

const FIRST_WITH_REBALANCE_TIMEOUT: i16 = 1;
const FIRST_WITH_MEMBER_ID_REQUIRED: i16 = 4;
const FIRST_WITH_PROTOCOL_TYPE: i16 = 7;
const FIRST_WITH_SKIP_ASSIGNMENT: i16 = 9;

pub(super) async fn handle(
    context: RequestContext,
    request: JoinGroupRequest,
) -> JoinGroupResponse {
    let version = context.version();
    let group = GroupId::from(request.group_id.as_str());
    let asked_as = request.member_id.as_str().to_owned();
    let join = to_domain(&context, &group, request);
    let asked =
        context.broker.ask_group(&group, |shard, token, now| shard.join(token, &join, now)).await;
    match asked {
        Some(Reply::Join(Ok(joined))) => accepted(joined, version),
        Some(Reply::Join(Err(JoinRefused { error, member_id }))) => {
            refused(error, member_id.as_str(), version)
        }
        _ => refused(GroupError::NotCoordinator, &asked_as, version),
    }
}

fn to_domain(context: &RequestContext, group: &GroupId, request: JoinGroupRequest) -> JoinGroup {
    let version = context.version();
    let protocols = request.protocols.iter().map(|protocol| Protocol {
        name: protocol.name.as_str().to_owned(),
        // The frame must not live as long as the group.
        metadata: Bytes::copy_from_slice(&protocol.metadata),
    });
    JoinGroup {
        group_id: group.clone(),
        member_id: request.member_id.as_str().into(),
        group_instance_id: request.group_instance_id.as_deref().map(Into::into),
        client_id: context.client_id(),
        client_host: format!("/{}", context.connection.peer.ip()),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: if version >= FIRST_WITH_REBALANCE_TIMEOUT {
            request.rebalance_timeout_ms
        } else {
            -1
        },
        protocol_type: request.protocol_type.as_str().to_owned(),
        protocols: protocols.collect(),
        require_known_member_id: version >= FIRST_WITH_MEMBER_ID_REQUIRED,
        skip_assignment_supported: version >= FIRST_WITH_SKIP_ASSIGNMENT,
        fresh_uuid: context.broker.environment().entropy.uuid(),
    }
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn accepted(joined: JoinedGroup, version: i16) -> JoinGroupResponse {
    let members = joined.members.into_iter().map(|member| {
        JoinGroupResponseMember::default()
            .with_member_id(text(member.member_id.as_str()))
            .with_group_instance_id(member.group_instance_id.map(|id| text(id.as_str())))
            .with_metadata(member.metadata)
    });
    let response = JoinGroupResponse::default()
        .with_generation_id(joined.generation.0)
        .with_protocol_name(Some(text(joined.protocol_name.as_deref().unwrap_or(""))))
        .with_leader(text(joined.leader.as_str()))
        .with_member_id(text(joined.member_id.as_str()))
        .with_members(members.collect());
    let response = if version >= FIRST_WITH_PROTOCOL_TYPE {
        response.with_protocol_type(joined.protocol_type.as_deref().map(text))
    } else {
        response
    };
    response.with_skip_assignment(joined.skip_assignment && version >= FIRST_WITH_SKIP_ASSIGNMENT)
}

fn refused(error: GroupError, member_id: &str, version: i16) -> JoinGroupResponse {
    // The protocol name may be null from version 7 only.
    let protocol_name = (version < FIRST_WITH_PROTOCOL_TYPE).then(|| text(""));
    JoinGroupResponse::default()
        .with_error_code(codes::of_group(error).get())
        .with_generation_id(-1)
        .with_protocol_type(None)
        .with_protocol_name(protocol_name)
        .with_member_id(text(member_id))
}
