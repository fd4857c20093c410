//! CreateTopics (key 19), versions 2-7: creates topics, all that are valid in one transaction.
//!
//! - -1 partitions means the broker's default; a replication factor is accepted and reported as 1
//!   (durability is the store's). Manual assignments count as partitions; their brokers are ignored
//!   if they are this broker, and refused otherwise.
//! - `validate_only` changes nothing and answers as if it had.

use std::collections::{BTreeMap, HashMap};

use antiphon_protocol::ErrorCode;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult,
};
use kafka_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::a32_describe_configs::topic_entries;
use super::{RequestContext, codes};
use crate::admin::{AdminError, TopicRequest};
use crate::config::TopicSettings;

pub(super) async fn handle(
    context: RequestContext,
    request: CreateTopicsRequest,
) -> CreateTopicsResponse {
    let mut named: HashMap<String, usize> = HashMap::new();
    for topic in &request.topics {
        *named.entry(topic.name.as_str().to_owned()).or_default() += 1;
    }
    let parsed: Vec<_> = request
        .topics
        .iter()
        .map(|topic| match named.get(topic.name.as_str()) {
            Some(1) => parse(&context, topic),
            _ => Err(AdminError::InvalidRequest("Duplicate topic name.".to_owned())),
        })
        .collect();
    let outcomes = if request.validate_only {
        parsed.into_iter().map(|topic| validated(&context, topic)).collect()
    } else {
        created(&context, parsed).await
    };
    let topics = request.topics.iter().zip(outcomes);
    let topics = topics.map(|(asked, outcome)| result(&context, asked, outcome)).collect();
    CreateTopicsResponse::default().with_topics(topics)
}

/// What a created topic looks like.
struct Outcome {
    id: Uuid,
    partitions: i32,
    overrides: BTreeMap<String, String>,
}

fn validated(
    context: &RequestContext,
    topic: Result<TopicRequest, AdminError>,
) -> Result<Outcome, AdminError> {
    let topic = topic?;
    context.broker.check_topic(&topic)?;
    Ok(Outcome { id: Uuid::nil(), partitions: topic.partitions, overrides: topic.overrides })
}

async fn created(
    context: &RequestContext,
    parsed: Vec<Result<TopicRequest, AdminError>>,
) -> Vec<Result<Outcome, AdminError>> {
    let wanted = parsed.iter().filter_map(|topic| topic.as_ref().ok().cloned()).collect();
    let mut outcomes = context.broker.create_topics(wanted).await.into_iter();
    let answers = parsed.into_iter().map(|topic| {
        topic?;
        let topic = outcomes.next().unwrap_or(Err(AdminError::UnknownTopic))?;
        Ok(Outcome {
            id: topic.id.0,
            partitions: topic.partition_count(),
            overrides: topic.overrides.clone(),
        })
    });
    answers.collect()
}

fn parse(context: &RequestContext, topic: &CreatableTopic) -> Result<TopicRequest, AdminError> {
    let mut overrides = BTreeMap::new();
    for config in &topic.configs {
        let Some(value) = &config.value else {
            return Err(AdminError::InvalidConfig(crate::config::InvalidConfig::Value {
                name: config.name.as_str().to_owned(),
                value: "null".to_owned(),
                reason: "Null value not supported for topic configs".to_owned(),
            }));
        };
        overrides.insert(config.name.as_str().to_owned(), value.as_str().to_owned());
    }
    Ok(TopicRequest {
        name: topic.name.as_str().to_owned(),
        partitions: partitions(context, topic)?,
        overrides,
        internal: false,
    })
}

fn partitions(context: &RequestContext, topic: &CreatableTopic) -> Result<i32, AdminError> {
    if topic.assignments.is_empty() {
        return match (topic.num_partitions, topic.replication_factor) {
            (_, factor) if factor == 0 || factor < -1 => Err(AdminError::InvalidReplication(
                "Replication factor must be larger than 0, or -1 to use the default value."
                    .to_owned(),
            )),
            (-1, _) => Ok(context.broker.options().default_partitions),
            (count, _) => Ok(count),
        };
    }
    if topic.num_partitions != -1 || topic.replication_factor != -1 {
        return Err(AdminError::InvalidRequest(
            "A manual partition assignment was specified, but numPartitions or replicationFactor \
             was not set to -1."
                .to_owned(),
        ));
    }
    let mut indexes: Vec<i32> = topic.assignments.iter().map(|a| a.partition_index).collect();
    indexes.sort_unstable();
    let consecutive = indexes.iter().enumerate().all(|(at, index)| at as i32 == *index);
    let ours = |id: &kafka_protocol::messages::BrokerId| *id == context.broker_id();
    let known =
        topic.assignments.iter().all(|a| a.broker_ids.len() == 1 && a.broker_ids.iter().all(ours));
    if consecutive && known {
        return Ok(topic.assignments.len() as i32);
    }
    Err(AdminError::InvalidAssignment(
        "The manual partition assignment must number its partitions from 0 and name only brokers \
         of this cluster."
            .to_owned(),
    ))
}

fn result(
    context: &RequestContext,
    asked: &CreatableTopic,
    outcome: Result<Outcome, AdminError>,
) -> CreatableTopicResult {
    let named = CreatableTopicResult::default().with_name(asked.name.clone());
    match outcome {
        Ok(topic) => {
            let result = named
                .with_topic_id(topic.id)
                .with_num_partitions(topic.partitions)
                .with_replication_factor(1);
            result.with_configs(Some(configs(context, &topic.overrides)))
        }
        Err(error) => named
            .with_error_code(codes::of_admin(&error).get())
            .with_error_message(Some(StrBytes::from_string(error.to_string())))
            .with_topic_config_error_code(ErrorCode::NONE.get())
            .with_num_partitions(-1)
            .with_replication_factor(-1)
            .with_configs(None),
    }
}

fn configs(
    context: &RequestContext,
    overrides: &BTreeMap<String, String>,
) -> Vec<CreatableTopicConfigs> {
    debug_assert!(TopicSettings::resolve(overrides, &BTreeMap::new()).batch_bytes_max > 0);
    let entries = topic_entries(overrides, &context.broker.configs());
    let configs = entries.into_iter().map(|entry| {
        CreatableTopicConfigs::default()
            .with_name(StrBytes::from_static_str(entry.definition.name))
            .with_value(Some(StrBytes::from_string(entry.value)))
            .with_config_source(entry.source as i8)
    });
    configs.collect()
}
