//! DeleteTopics (key 20), versions 1-6: removes topics by name, or by id from version 6.
//!
//! Objects go after the grace period of the deletion queue. Internal topics may be deleted, as in
//! Kafka; their coordinator starts empty.

use antiphon_common::TopicId;
use antiphon_protocol::ErrorCode;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse};
use kafka_protocol::protocol::StrBytes;

use super::{RequestContext, codes};

const FIRST_WITH_ID: i16 = 6;

pub(super) async fn handle(
    context: RequestContext,
    request: DeleteTopicsRequest,
) -> DeleteTopicsResponse {
    let wanted = if context.version() >= FIRST_WITH_ID {
        request.topics
    } else {
        let named = request.topic_names.into_iter();
        named.map(|name| DeleteTopicState::default().with_name(Some(name))).collect()
    };
    let mut responses = Vec::with_capacity(wanted.len());
    for topic in wanted {
        responses.push(delete(&context, topic).await);
    }
    DeleteTopicsResponse::default().with_responses(responses)
}

async fn delete(context: &RequestContext, wanted: DeleteTopicState) -> DeletableTopicResult {
    let topics = context.broker.topics();
    let (found, missing) = match &wanted.name {
        Some(name) => (topics.by_name(name), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        None => (topics.by_id(TopicId(wanted.topic_id)), ErrorCode::UNKNOWN_TOPIC_ID),
    };
    let result =
        DeletableTopicResult::default().with_name(wanted.name).with_topic_id(wanted.topic_id);
    let Some(topic) = found else {
        let message = StrBytes::from_static_str("This server does not host this topic-partition.");
        return result.with_error_code(missing.get()).with_error_message(Some(message));
    };
    let result = result
        .with_name(Some(kafka_protocol::messages::TopicName(topic.name.clone())))
        .with_topic_id(topic.id.0);
    match context.broker.delete_topic(topic.id).await {
        Ok(()) => result,
        Err(error) => result
            .with_error_code(codes::of_admin(&error).get())
            .with_error_message(Some(StrBytes::from_string(error.to_string()))),
    }
}
