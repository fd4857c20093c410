//! DescribeGroups (key 15), versions 0-6: groups in full. A group that does not exist is `Dead`, and
//! from version 6 an error.

use antiphon_coordinator::{DescribedMember, GroupDescription, GroupError, GroupId};
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse, GroupId as WireId};
use kafka_protocol::protocol::StrBytes;

use super::{RequestContext, codes};

const FIRST_WITH_NOT_FOUND: i16 = 6;
const FIRST_WITH_INSTANCE_ID: i16 = 4;

pub(super) async fn handle(
    context: RequestContext,
    request: DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    let groups = request.groups.into_iter().map(|id| describe(&context, id));
    DescribeGroupsResponse::default().with_groups(groups.collect())
}

fn describe(context: &RequestContext, id: WireId) -> DescribedGroup {
    let group = GroupId::from(id.as_str());
    let found = context.broker.with_group(&group, |shard, _| shard.describe(&group));
    let answer = DescribedGroup::default().with_group_id(id).with_authorized_operations(i32::MIN);
    let answer = answer.with_error_message(None);
    match found {
        Ok(found) => fill(context, answer, found),
        Err(GroupError::GroupIdNotFound) => {
            let answer = answer.with_group_state(StrBytes::from_static_str("Dead"));
            if context.version() < FIRST_WITH_NOT_FOUND {
                return answer;
            }
            let message = format!("Group {} not found.", group.as_str());
            answer
                .with_error_code(codes::of_group(GroupError::GroupIdNotFound).get())
                .with_error_message(Some(StrBytes::from_string(message)))
        }
        Err(error) => answer.with_error_code(codes::of_group(error).get()),
    }
}

fn fill(
    context: &RequestContext,
    answer: DescribedGroup,
    found: GroupDescription,
) -> DescribedGroup {
    let members = found.members.into_iter().map(|member| describe_member(context, member));
    answer
        .with_group_state(StrBytes::from_static_str(found.state.name()))
        .with_protocol_type(StrBytes::from_string(found.protocol_type))
        .with_protocol_data(StrBytes::from_string(found.protocol_name))
        .with_members(members.collect())
}

fn describe_member(context: &RequestContext, member: DescribedMember) -> DescribedGroupMember {
    let instance = member.group_instance_id.filter(|_| context.version() >= FIRST_WITH_INSTANCE_ID);
    DescribedGroupMember::default()
        .with_member_id(StrBytes::from_string(member.member_id.as_str().to_owned()))
        .with_group_instance_id(instance.map(|id| StrBytes::from_string(id.as_str().to_owned())))
        .with_client_id(StrBytes::from_string(member.client_id))
        .with_client_host(StrBytes::from_string(member.client_host))
        .with_member_metadata(member.metadata)
        .with_member_assignment(member.assignment)
}
