//! AlterConfigs (key 33), versions 0-2: replaces all settings of a resource. Old clients use it;
//! newer ones use IncrementalAlterConfigs.

use std::collections::BTreeMap;

use antiphon_protocol::ErrorCode;
use kafka_protocol::messages::alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse};
use kafka_protocol::protocol::StrBytes;

use super::a32_describe_configs::{BROKER, TOPIC};
use super::a44_incremental_alter_configs::broker_value;
use super::{RequestContext, codes};
use crate::admin::AdminError;

pub(super) async fn handle(
    context: RequestContext,
    request: AlterConfigsRequest,
) -> AlterConfigsResponse {
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in request.resources {
        let outcome = replace(&context, &resource, request.validate_only).await;
        let response = AlterConfigsResourceResponse::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name)
            .with_error_code(ErrorCode::NONE.get());
        responses.push(match outcome {
            Ok(()) => response,
            Err(error) => response
                .with_error_code(codes::of_admin(&error).get())
                .with_error_message(Some(StrBytes::from_string(error.to_string()))),
        });
    }
    AlterConfigsResponse::default().with_responses(responses)
}

async fn replace(
    context: &RequestContext,
    resource: &AlterConfigsResource,
    validate_only: bool,
) -> Result<(), AdminError> {
    let set = resource.configs.iter().filter_map(|config| {
        let value = config.value.as_ref()?;
        Some((config.name.as_str().to_owned(), value.as_str().to_owned()))
    });
    let set: BTreeMap<String, String> = set.collect();
    match resource.resource_type {
        TOPIC => {
            let name = &resource.resource_name;
            context.broker.change_topic_configs(name, validate_only, |_| Ok(set)).await
        }
        BROKER => {
            let checked: Result<BTreeMap<_, _>, AdminError> = set
                .iter()
                .map(|(name, value)| Ok((name.clone(), broker_value(name, value)?)))
                .collect();
            let checked = checked?;
            context.broker.change_broker_configs(validate_only, |_| Ok(checked)).await
        }
        other => Err(AdminError::InvalidRequest(format!("Unsupported resource type: {other}"))),
    }
}
