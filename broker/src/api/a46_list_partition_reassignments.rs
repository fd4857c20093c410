//! ListPartitionReassignments (key 46), version 0 (KIP-455): always none. Partitions have no replicas
//! to move; `kafka-topics --describe` asks nevertheless.

use kafka_protocol::messages::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};

use super::RequestContext;

pub(super) async fn handle(
    _context: RequestContext,
    _request: ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    ListPartitionReassignmentsResponse::default().with_error_message(None)
}
