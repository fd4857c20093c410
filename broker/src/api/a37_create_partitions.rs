//! CreatePartitions (key 37), versions 0-3: gives topics more partitions; one result for each topic
//! asked for.

use std::collections::HashMap;

use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse};
use kafka_protocol::protocol::StrBytes;

use super::{RequestContext, codes};
use crate::admin::AdminError;

pub(super) async fn handle(
    context: RequestContext,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let mut named: HashMap<String, usize> = HashMap::new();
    for topic in &request.topics {
        *named.entry(topic.name.as_str().to_owned()).or_default() += 1;
    }
    let mut results = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let outcome = match named.get(topic.name.as_str()) {
            Some(1) => grow(&context, &topic, request.validate_only).await,
            _ => Err(AdminError::InvalidRequest("Duplicate topic name.".to_owned())),
        };
        let result = CreatePartitionsTopicResult::default().with_name(topic.name);
        results.push(match outcome {
            Ok(()) => result,
            Err(error) => result
                .with_error_code(codes::of_admin(&error).get())
                .with_error_message(Some(StrBytes::from_string(error.to_string()))),
        });
    }
    CreatePartitionsResponse::default().with_results(results)
}

async fn grow(
    context: &RequestContext,
    topic: &CreatePartitionsTopic,
    validate_only: bool,
) -> Result<(), AdminError> {
    if let Some(assignments) = &topic.assignments {
        let ours = |id: &kafka_protocol::messages::BrokerId| *id == context.broker_id();
        let known =
            assignments.iter().all(|a| a.broker_ids.len() == 1 && a.broker_ids.iter().all(ours));
        if !known {
            return Err(AdminError::InvalidAssignment(
                "The assignment names brokers that this cluster does not have.".to_owned(),
            ));
        }
    }
    context.broker.add_partitions(&topic.name, topic.count, validate_only).await
}
