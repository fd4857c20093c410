//! DescribeCluster (key 60), versions 0-2 (KIP-700): this broker, which is also the controller.

use antiphon_protocol::ErrorCode;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::{DescribeClusterRequest, DescribeClusterResponse};
use kafka_protocol::protocol::StrBytes;

use super::RequestContext;

/// Asked of a broker; 2 would mean controllers (KIP-919), which have no listener of their own here.
const BROKERS: i8 = 1;

pub(super) async fn handle(
    context: RequestContext,
    request: DescribeClusterRequest,
) -> DescribeClusterResponse {
    let response = DescribeClusterResponse::default()
        .with_cluster_id(StrBytes::from_string(context.broker.cluster_id().to_string()))
        .with_cluster_authorized_operations(i32::MIN);
    if context.version() >= 1 && request.endpoint_type != BROKERS {
        let message = "The request was sent to an endpoint of type BROKER.";
        return response
            .with_error_code(ErrorCode::MISMATCHED_ENDPOINT_TYPE.get())
            .with_error_message(Some(StrBytes::from_static_str(message)));
    }
    let advertised = context.broker.advertised();
    let broker = DescribeClusterBroker::default()
        .with_broker_id(context.broker_id())
        .with_host(StrBytes::from_string(advertised.host))
        .with_port(i32::from(advertised.port));
    response.with_controller_id(context.broker_id()).with_brokers(vec![broker])
}
