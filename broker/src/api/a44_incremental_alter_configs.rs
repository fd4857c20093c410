//! IncrementalAlterConfigs (key 44), versions 0-1 (KIP-339): changes settings of a resource, all of
//! its changes or none.
//!
//! SET, DELETE (back to the default), APPEND and SUBTRACT (lists only). The same setting twice in
//! one resource is refused. Broker settings may be changed where they give a default to topics.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};
use kafka_protocol::protocol::StrBytes;

use super::a32_describe_configs::{BROKER, TOPIC};
use super::{RequestContext, codes};
use crate::admin::AdminError;
use crate::config::{BrokerConfigs, ConfigType, Definition, InvalidConfig, topic_definition};

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

pub(super) async fn handle(
    context: RequestContext,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in request.resources {
        let outcome = alter(&context, &resource, request.validate_only).await;
        let response = AlterConfigsResourceResponse::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name);
        responses.push(match outcome {
            Ok(()) => response,
            Err(error) => response
                .with_error_code(codes::of_admin(&error).get())
                .with_error_message(Some(StrBytes::from_string(error.to_string()))),
        });
    }
    IncrementalAlterConfigsResponse::default().with_responses(responses)
}

async fn alter(
    context: &RequestContext,
    resource: &AlterConfigsResource,
    validate_only: bool,
) -> Result<(), AdminError> {
    let mut seen = BTreeSet::new();
    if !resource.configs.iter().all(|config| seen.insert(config.name.as_str())) {
        let reason = "Error due to duplicate config keys".to_owned();
        return Err(AdminError::InvalidRequest(reason));
    }
    let configs = &resource.configs;
    match resource.resource_type {
        TOPIC => {
            let change = |before: &BTreeMap<_, _>| apply_all(before, configs, topic_definition);
            let name = &resource.resource_name;
            context.broker.change_topic_configs(name, validate_only, change).await
        }
        BROKER => {
            let find = BrokerConfigs::dynamic_definition;
            let change = |before: &BTreeMap<_, _>| {
                let after = apply_all(before, configs, find)?;
                let checked = after
                    .iter()
                    .map(|(name, value)| Ok((name.clone(), broker_value(name, value)?)));
                checked.collect()
            };
            context.broker.change_broker_configs(validate_only, change).await
        }
        other => Err(AdminError::InvalidRequest(format!("Unsupported resource type: {other}"))),
    }
}

/// Checks a value of a broker setting that may change while the broker runs.
pub(super) fn broker_value(name: &str, value: &str) -> Result<String, AdminError> {
    let Some(definition) = BrokerConfigs::dynamic_definition(name) else {
        let reason = format!("Cannot update these configs dynamically: {name}");
        return Err(AdminError::InvalidRequest(reason));
    };
    Ok(definition.parse(value)?)
}

fn apply_all(
    before: &BTreeMap<String, String>,
    changes: &[AlterableConfig],
    find: impl Fn(&str) -> Option<&'static Definition>,
) -> Result<BTreeMap<String, String>, AdminError> {
    let mut after = before.clone();
    for change in changes {
        let name = change.name.as_str();
        let unknown = || InvalidConfig::Unknown { name: name.to_owned() };
        let definition = find(name).ok_or_else(unknown)?;
        apply(&mut after, name, definition, change)?;
    }
    Ok(after)
}

fn apply(
    configs: &mut BTreeMap<String, String>,
    name: &str,
    definition: &Definition,
    change: &AlterableConfig,
) -> Result<(), AdminError> {
    let value = change.value.as_ref().map(|value| value.as_str().to_owned());
    let current = configs.get(name).map_or(definition.default, String::as_str);
    let items = |text: &str| -> Vec<String> {
        crate::config::list_items(text).map(str::to_owned).collect()
    };
    let new = match (change.config_operation, value) {
        (DELETE, _) => {
            configs.remove(name);
            return Ok(());
        }
        (SET, Some(value)) => value,
        (APPEND | SUBTRACT, Some(_)) if definition.kind != ConfigType::List => {
            let reason =
                format!("Config value append or subtract is not allowed for config key: {name}");
            return Err(AdminError::InvalidRequest(reason));
        }
        (APPEND, Some(value)) => {
            let mut list = items(current);
            list.extend(
                items(&value)
                    .into_iter()
                    .filter(|item| !current.split(',').any(|c| c.trim() == item)),
            );
            list.join(",")
        }
        (SUBTRACT, Some(value)) => {
            let gone = items(&value);
            items(current)
                .into_iter()
                .filter(|item| !gone.contains(item))
                .collect::<Vec<_>>()
                .join(",")
        }
        (_, None) => {
            let reason = format!("Null value not supported for config key: {name}");
            return Err(AdminError::InvalidRequest(reason));
        }
        (other, _) => {
            return Err(AdminError::InvalidRequest(format!("Unknown operation {other}")));
        }
    };
    configs.insert(name.to_owned(), new);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(name: &'static str, operation: i8, value: Option<&'static str>) -> AlterableConfig {
        AlterableConfig::default()
            .with_name(StrBytes::from_static_str(name))
            .with_config_operation(operation)
            .with_value(value.map(StrBytes::from_static_str))
    }

    fn apply_to_empty(changes: &[AlterableConfig]) -> Result<BTreeMap<String, String>, AdminError> {
        apply_all(&BTreeMap::new(), changes, topic_definition)
    }

    #[test]
    fn lists_grow_and_shrink() {
        let after = apply_to_empty(&[change("cleanup.policy", APPEND, Some("compact"))]).unwrap();
        assert_eq!(after["cleanup.policy"], "delete,compact");
        let after = apply_all(
            &after,
            &[change("cleanup.policy", SUBTRACT, Some("delete"))],
            topic_definition,
        );
        assert_eq!(after.unwrap()["cleanup.policy"], "compact");
    }

    #[test]
    fn only_lists_may_be_appended_to_and_nothing_may_be_null() {
        assert!(apply_to_empty(&[change("retention.ms", APPEND, Some("1"))]).is_err());
        assert!(apply_to_empty(&[change("retention.ms", SET, None)]).is_err());
        assert!(apply_to_empty(&[change("retention.ms", DELETE, None)]).is_ok());
        assert!(apply_to_empty(&[change("no.such", SET, Some("1"))]).is_err());
    }
}
