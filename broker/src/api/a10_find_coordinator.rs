//! FindCoordinator (key 10), versions 0-6: who coordinates a group. This broker, for every group.
//!
//! - Key type 0 (groups) creates `__consumer_offsets` at the first request.
//! - Key type 1 (transactions) and 2 (share groups, v6) are refused: they are not served yet.
//! - From version 4 each key is answered by itself.

use antiphon_coordinator::GroupError;
use antiphon_protocol::ErrorCode;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;

use super::{RequestContext, codes};

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const FIRST_WITH_KEYS: i16 = 4;

pub(super) async fn handle(
    context: RequestContext,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    let keys = if context.version() >= FIRST_WITH_KEYS {
        request.coordinator_keys
    } else {
        vec![request.key]
    };
    let ready = match request.key_type {
        GROUP => context.broker.ensure_offsets_topic().await.map_err(codes::of_group),
        TRANSACTION => Err(ErrorCode::COORDINATOR_NOT_AVAILABLE),
        _ => Err(ErrorCode::INVALID_REQUEST),
    };
    let answers = keys.into_iter().map(|key| answer(&context, key, ready));
    let mut answers: Vec<Coordinator> = answers.collect();
    let response = FindCoordinatorResponse::default();
    if context.version() >= FIRST_WITH_KEYS {
        return response.with_coordinators(answers);
    }
    let Some(only) = answers.pop() else { return response };
    let response = if context.version() >= 1 {
        response.with_error_message(only.error_message)
    } else {
        response
    };
    response
        .with_error_code(only.error_code)
        .with_node_id(only.node_id)
        .with_host(only.host)
        .with_port(only.port)
}

fn answer(context: &RequestContext, key: StrBytes, ready: Result<(), ErrorCode>) -> Coordinator {
    let answer = Coordinator::default().with_key(key.clone());
    // A group id may be empty only for offsets of ancient clients, which Kafka still stores.
    let outcome = ready.and(if key.len() > antiphon_coordinator::limits::NAME_BYTES_MAX {
        Err(codes::of_group(GroupError::InvalidGroupId))
    } else {
        Ok(())
    });
    match outcome {
        Ok(()) => {
            let advertised = context.broker.advertised();
            answer
                .with_node_id(context.broker_id())
                .with_host(StrBytes::from_string(advertised.host))
                .with_port(i32::from(advertised.port))
                .with_error_message(None)
        }
        Err(code) => {
            let message = code.name().unwrap_or("UNKNOWN").to_owned();
            answer
                .with_node_id(BrokerId(-1))
                .with_port(-1)
                .with_error_code(code.get())
                .with_error_message(Some(StrBytes::from_string(message)))
        }
    }
}
