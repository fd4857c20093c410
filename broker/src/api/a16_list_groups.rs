//! ListGroups (key 16), versions 0-5: all groups, filtered by state (v4) and type (v5).

use antiphon_coordinator::ListFilter;
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{GroupId as WireId, ListGroupsRequest, ListGroupsResponse};
use kafka_protocol::protocol::StrBytes;

use super::{RequestContext, codes};

const FIRST_WITH_STATE: i16 = 4;
const FIRST_WITH_TYPE: i16 = 5;

pub(super) async fn handle(
    context: RequestContext,
    request: ListGroupsRequest,
) -> ListGroupsResponse {
    let owned = |list: &[StrBytes]| list.iter().map(|text| text.as_str().to_owned()).collect();
    let filter =
        ListFilter { states: owned(&request.states_filter), types: owned(&request.types_filter) };
    let version = context.version();
    match context.broker.list_groups(&filter) {
        Err(error) => ListGroupsResponse::default().with_error_code(codes::of_group(error).get()),
        Ok(found) => {
            let groups = found.into_iter().map(|group| {
                let id = StrBytes::from_string(group.group_id.as_str().to_owned());
                let listed = ListedGroup::default()
                    .with_group_id(WireId(id))
                    .with_protocol_type(StrBytes::from_string(group.protocol_type));
                let listed = if version >= FIRST_WITH_STATE {
                    listed.with_group_state(StrBytes::from_static_str(group.state.name()))
                } else {
                    listed
                };
                if version >= FIRST_WITH_TYPE {
                    listed.with_group_type(StrBytes::from_static_str("classic"))
                } else {
                    listed
                }
            });
            ListGroupsResponse::default().with_groups(groups.collect())
        }
    }
}
