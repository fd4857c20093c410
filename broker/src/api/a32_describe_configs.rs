//! DescribeConfigs (key 32), versions 1-4: every setting of a topic or of this broker, where it comes
//! from, and what it would be otherwise.
//!
//! - Topic settings come from the topic itself, else from the broker's dynamic settings, else from
//!   the default. Broker settings from the command line are read-only; the defaults for topics can
//!   be changed while the broker runs.
//! - Resources: TOPIC (2) and BROKER (4). Others get INVALID_REQUEST.

use std::collections::BTreeMap;

use antiphon_protocol::ErrorCode;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use kafka_protocol::protocol::StrBytes;

use super::RequestContext;
use crate::config::{BROKER_CONFIGS, BrokerConfigs, ConfigType, Definition, TOPIC_CONFIGS};
use crate::topics::check_name;

/// Kafka's resource types.
pub(super) const TOPIC: i8 = 2;
pub(super) const BROKER: i8 = 4;

/// Where a value comes from (KIP-226), with Kafka's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub(super) enum Source {
    Topic = 1,
    DynamicDefaultBroker = 3,
    StaticBroker = 4,
    Default = 5,
}

/// One resolved setting.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) definition: &'static Definition,
    pub(super) value: String,
    pub(super) source: Source,
    synonyms: Vec<(&'static str, String, Source)>,
}

pub(super) async fn handle(
    context: RequestContext,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let detail =
        Detail { synonyms: request.include_synonyms, documentation: request.include_documentation };
    let results = request.resources.iter().map(|resource| describe(&context, resource, detail));
    DescribeConfigsResponse::default().with_results(results.collect())
}

#[derive(Clone, Copy)]
struct Detail {
    synonyms: bool,
    documentation: bool,
}

fn describe(
    context: &RequestContext,
    resource: &DescribeConfigsResource,
    detail: Detail,
) -> DescribeConfigsResult {
    let result = DescribeConfigsResult::default()
        .with_resource_type(resource.resource_type)
        .with_resource_name(resource.resource_name.clone());
    let wanted = |name: &str| {
        let keys = resource.configuration_keys.as_ref().filter(|keys| !keys.is_empty());
        keys.is_none_or(|keys| keys.iter().any(|key| key.as_str() == name))
    };
    let configs = match resource.resource_type {
        TOPIC => topic_results(context, &resource.resource_name, detail),
        BROKER => broker_results(context, &resource.resource_name, detail),
        other => Err((ErrorCode::INVALID_REQUEST, format!("Unsupported resource type: {other}"))),
    };
    match configs {
        Ok(mut configs) => {
            configs.retain(|config| wanted(&config.name));
            result.with_configs(configs)
        }
        Err((code, message)) => result
            .with_error_code(code.get())
            .with_error_message(Some(StrBytes::from_string(message))),
    }
}

type Described = Result<Vec<DescribeConfigsResourceResult>, (ErrorCode, String)>;

fn topic_results(context: &RequestContext, name: &str, detail: Detail) -> Described {
    let Some(topic) = context.broker.topics().by_name(name) else {
        let (code, message) = match check_name(name) {
            Ok(()) => (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, format!("Unknown topic: {name}")),
            Err(reason) => (ErrorCode::INVALID_TOPIC_EXCEPTION, reason),
        };
        return Err((code, message));
    };
    let entries = topic_entries(&topic.overrides, &context.broker.configs());
    Ok(entries.into_iter().map(|entry| topic_result(entry, detail)).collect())
}

/// Every setting of a topic, resolved.
pub(super) fn topic_entries(
    overrides: &BTreeMap<String, String>,
    broker: &BrokerConfigs,
) -> Vec<Entry> {
    TOPIC_CONFIGS.iter().map(|definition| topic_entry(definition, overrides, broker)).collect()
}

fn topic_entry(
    definition: &'static Definition,
    overrides: &BTreeMap<String, String>,
    broker: &BrokerConfigs,
) -> Entry {
    let mut synonyms = Vec::with_capacity(3);
    if let Some(value) = overrides.get(definition.name) {
        synonyms.push((definition.name, value.clone(), Source::Topic));
    }
    if let Some(value) = broker.dynamic.get(definition.synonym) {
        synonyms.push((definition.synonym, value.clone(), Source::DynamicDefaultBroker));
    }
    synonyms.push((definition.synonym, definition.default.to_owned(), Source::Default));
    let (_, value, source) = synonyms[0].clone();
    Entry { definition, value, source, synonyms }
}

fn topic_result(entry: Entry, detail: Detail) -> DescribeConfigsResourceResult {
    let definition = entry.definition;
    let synonyms = if detail.synonyms { entry.synonyms } else { Vec::new() };
    base(definition.name, definition.kind, definition.doc, detail)
        .with_value(Some(StrBytes::from_string(entry.value)))
        .with_config_source(entry.source as i8)
        .with_synonyms(synonyms.into_iter().map(synonym).collect())
}

fn base(
    name: &'static str,
    kind: ConfigType,
    doc: &'static str,
    detail: Detail,
) -> DescribeConfigsResourceResult {
    let documentation = detail.documentation.then(|| StrBytes::from_static_str(doc));
    DescribeConfigsResourceResult::default()
        .with_name(StrBytes::from_static_str(name))
        .with_config_type(kind as i8)
        .with_documentation(documentation)
}

fn synonym((name, value, source): (&'static str, String, Source)) -> DescribeConfigsSynonym {
    DescribeConfigsSynonym::default()
        .with_name(StrBytes::from_static_str(name))
        .with_value(Some(StrBytes::from_string(value)))
        .with_source(source as i8)
}

fn broker_results(context: &RequestContext, name: &str, detail: Detail) -> Described {
    let ours = context.broker.options().broker_id.to_string();
    // The empty name means the defaults for all brokers: only what was set dynamically.
    if !name.is_empty() && name != ours {
        let message =
            format!("Unexpected broker id, expected {ours} or empty string, but received {name}");
        return Err((ErrorCode::INVALID_REQUEST, message));
    }
    let configs = context.broker.configs();
    let mut results = Vec::new();
    if !name.is_empty() {
        results.extend(BROKER_CONFIGS.iter().map(|(name, kind, doc)| {
            let value = configs.fixed.get(*name).cloned();
            let synonyms = value.clone().map(|value| synonym((name, value, Source::StaticBroker)));
            base(name, *kind, doc, detail)
                .with_value(value.map(StrBytes::from_string))
                .with_read_only(true)
                .with_config_source(Source::StaticBroker as i8)
                .with_synonyms(synonyms.into_iter().filter(|_| detail.synonyms).collect())
        }));
    }
    let none = BTreeMap::new();
    let defaults = BrokerConfigs::topic_defaults().map(|def| topic_entry(def, &none, &configs));
    let defaults = defaults.filter(|entry| {
        let shadowed = BROKER_CONFIGS.iter().any(|(name, ..)| *name == entry.definition.synonym);
        !shadowed && (!name.is_empty() || entry.source == Source::DynamicDefaultBroker)
    });
    results.extend(defaults.map(|entry| {
        let name = StrBytes::from_static_str(entry.definition.synonym);
        topic_result(entry, detail).with_name(name)
    }));
    Ok(results)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(name: &str, value: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn a_value_set_to_the_default_is_still_the_topics_own() {
        let entries = topic_entries(&map("retention.ms", "604800000"), &BrokerConfigs::default());
        let entry = entries.iter().find(|entry| entry.definition.name == "retention.ms");
        let entry = entry.expect("it is a topic setting");
        assert_eq!(entry.source, Source::Topic);
        assert_eq!(entry.synonyms.len(), 2);
    }

    #[test]
    fn a_dynamic_broker_value_is_the_default_of_topics() {
        let broker = BrokerConfigs { dynamic: map("log.retention.ms", "5"), ..Default::default() };
        let entries = topic_entries(&BTreeMap::new(), &broker);
        let entry = entries.iter().find(|entry| entry.definition.name == "retention.ms");
        let entry = entry.expect("it is a topic setting");
        assert_eq!((entry.value.as_str(), entry.source), ("5", Source::DynamicDefaultBroker));
    }
}
