//! Metadata (key 3), versions 0-13: brokers, topics, leaders.
//!
//! - No list means all topics; an empty list means all at version 0 and none after it.
//! - A missing topic is created if the request (v4+) and the broker allow it.
//! - Topics may be asked for by id from version 12.
//! - This broker leads every partition and is its only replica: durability is the store's.

use std::collections::BTreeMap;
use std::sync::Arc;

use antiphon_common::TopicId;
use antiphon_protocol::ErrorCode;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::{RequestContext, codes};
use crate::admin::TopicRequest;
use crate::topics::{Topic, check_name};

/// "Not asked for", in fields of authorized operations.
const OPERATIONS_UNKNOWN: i32 = i32::MIN;
const FIRST_WITH_CREATE_FLAG: i16 = 4;

pub(super) async fn handle(context: RequestContext, request: MetadataRequest) -> MetadataResponse {
    let topics = match &request.topics {
        None => all(&context),
        Some(list) if list.is_empty() && context.version() == 0 => all(&context),
        Some(list) => {
            create_missing(&context, &request, list).await;
            list.iter().map(|asked| lookup(&context, asked)).collect()
        }
    };
    let advertised = context.broker.advertised();
    let broker = MetadataResponseBroker::default()
        .with_node_id(context.broker_id())
        .with_host(StrBytes::from_string(advertised.host))
        .with_port(i32::from(advertised.port));
    MetadataResponse::default()
        .with_brokers(vec![broker])
        .with_cluster_id(Some(StrBytes::from_string(context.broker.cluster_id().to_string())))
        .with_controller_id(context.broker_id())
        .with_cluster_authorized_operations(OPERATIONS_UNKNOWN)
        .with_topics(topics)
}

fn all(context: &RequestContext) -> Vec<MetadataResponseTopic> {
    context.broker.topics().all().iter().map(|topic| describe(context, topic)).collect()
}

async fn create_missing(
    context: &RequestContext,
    request: &MetadataRequest,
    list: &[MetadataRequestTopic],
) {
    let asked = request.allow_auto_topic_creation || context.version() < FIRST_WITH_CREATE_FLAG;
    if !asked || !context.broker.options().auto_create_topics {
        return;
    }
    let topics = context.broker.topics();
    let mut missing: BTreeMap<String, TopicRequest> = BTreeMap::new();
    for name in list.iter().filter_map(|topic| topic.name.as_ref()) {
        if topics.by_name(name).is_none() && check_name(name).is_ok() {
            let name = name.as_str().to_owned();
            missing.entry(name.clone()).or_insert_with(|| TopicRequest {
                name,
                partitions: context.broker.options().default_partitions,
                overrides: BTreeMap::new(),
                internal: false,
            });
        }
    }
    if missing.is_empty() {
        return;
    }
    // Whoever fails shows as missing below; clients ask again.
    for outcome in context.broker.create_topics(missing.into_values().collect()).await {
        if let Err(error) = outcome {
            tracing::debug!(%error, code = codes::of_admin(&error).get(), "topic not auto-created");
        }
    }
}

fn lookup(context: &RequestContext, asked: &MetadataRequestTopic) -> MetadataResponseTopic {
    let topics = context.broker.topics();
    let (found, missing) = match &asked.name {
        Some(name) => (topics.by_name(name), missing_code(name)),
        None => (topics.by_id(TopicId(asked.topic_id)), ErrorCode::UNKNOWN_TOPIC_ID),
    };
    match found {
        Some(topic) => describe(context, &topic),
        None => absent(context, asked.name.clone(), asked.topic_id, missing),
    }
}

fn missing_code(name: &TopicName) -> ErrorCode {
    match check_name(name) {
        Ok(()) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        Err(_) => ErrorCode::INVALID_TOPIC_EXCEPTION,
    }
}

fn absent(
    context: &RequestContext,
    name: Option<TopicName>,
    id: Uuid,
    code: ErrorCode,
) -> MetadataResponseTopic {
    // Before version 12 a name is mandatory.
    let name = name.or_else(|| (context.version() < 12).then(TopicName::default));
    MetadataResponseTopic::default()
        .with_error_code(code.get())
        .with_name(name)
        .with_topic_id(id)
        .with_topic_authorized_operations(OPERATIONS_UNKNOWN)
}

fn describe(context: &RequestContext, topic: &Arc<Topic>) -> MetadataResponseTopic {
    let me = context.broker_id();
    let partitions = topic.partitions.iter().enumerate().map(|(index, log)| {
        MetadataResponsePartition::default()
            .with_partition_index(index as i32)
            .with_leader_id(me)
            .with_leader_epoch(log.positions().leader_epoch.get())
            .with_replica_nodes(vec![me])
            .with_isr_nodes(vec![me])
    });
    MetadataResponseTopic::default()
        .with_name(Some(TopicName(topic.name.clone())))
        .with_topic_id(topic.id.0)
        .with_is_internal(topic.internal)
        .with_partitions(partitions.collect())
        .with_topic_authorized_operations(OPERATIONS_UNKNOWN)
}
