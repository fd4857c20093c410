//! One file for each Kafka API, its key first: the listing of this folder is the list of what is
//! served. Each file opens with the versions, what the API does here, and what is missing.

mod a00_produce;
mod a01_fetch;
mod a02_list_offsets;
mod a03_metadata;
mod a08_offset_commit;
mod a09_offset_fetch;
mod a10_find_coordinator;
mod a11_join_group;
mod a12_heartbeat;
mod a13_leave_group;
mod a14_sync_group;
mod a15_describe_groups;
mod a16_list_groups;
mod a18_api_versions;
mod a19_create_topics;
mod a20_delete_topics;
mod a21_delete_records;
mod a22_init_producer_id;
mod a23_offset_for_leader_epoch;
mod a32_describe_configs;
mod a33_alter_configs;
mod a35_describe_log_dirs;
mod a37_create_partitions;
mod a42_delete_groups;
mod a44_incremental_alter_configs;
mod a46_list_partition_reassignments;
mod a47_offset_delete;
mod a60_describe_cluster;
mod a75_describe_topic_partitions;
mod codes;

use std::future::Future;
use std::sync::Arc;

use antiphon_protocol::{ApiKey, RequestHeader, decode_request, encode_response};
use bytes::Bytes;
use kafka_protocol::messages::BrokerId;
use kafka_protocol::protocol::{Encodable, HeaderVersion, Request, StrBytes};
use tracing::error;

use crate::broker::Broker;
use crate::net::{ConnectionContext, Outcome, Side};

/// What a handler knows about the request it answers.
#[derive(Clone, Debug)]
pub(crate) struct RequestContext {
    pub(crate) broker: Arc<Broker>,
    pub(crate) connection: Arc<ConnectionContext>,
    pub(crate) side: Side,
    pub(crate) header: RequestHeader,
}

impl RequestContext {
    /// The version of the request and so of its answer.
    pub(crate) fn version(&self) -> i16 {
        self.header.version
    }

    /// What the client calls itself, copied out of the frame.
    pub(crate) fn client_id(&self) -> String {
        self.header.client_id.as_deref().unwrap_or_default().to_owned()
    }

    /// This broker as responses name it.
    pub(crate) fn broker_id(&self) -> BrokerId {
        BrokerId(self.broker.options().broker_id.0)
    }

    /// Encodes an answer; a response that cannot be encoded is a defect and ends the connection.
    fn outcome<T: Encodable + HeaderVersion>(&self, response: &T) -> Outcome {
        let header = &self.header;
        match encode_response(header.api.key, header.version, header.correlation_id, response) {
            Ok(bytes) => Outcome::reply(bytes),
            Err(error) => {
                error!(api = header.api.name, version = header.version, %error, "response does not encode");
                Outcome::Close("a response could not be encoded".to_owned())
            }
        }
    }
}

/// Decodes a body after the shape check, runs a handler, encodes what it returns.
async fn answer<Q, A, F>(
    context: RequestContext,
    body: Bytes,
    handler: impl FnOnce(RequestContext, Q) -> F,
) -> Outcome
where
    Q: Request,
    A: Encodable + HeaderVersion,
    F: Future<Output = A>,
{
    match decode_request::<Q>(context.version(), body) {
        Ok(request) => {
            let response = handler(context.clone(), request).await;
            context.outcome(&response)
        }
        Err(error) => Outcome::Close(format!("{}: {error}", context.header.api.name)),
    }
}

/// Handles one request of a served API and version.
pub(crate) async fn handle(context: RequestContext, body: Bytes) -> Outcome {
    context.broker.metrics().request(context.header.api.name);
    let key = context.header.api.key;
    match key {
        ApiKey::Produce => a00_produce::handle(&context, &body).await,
        ApiKey::Fetch => a01_fetch::handle(&context, body).await,
        ApiKey::ApiVersions => a18_api_versions::handle(&context, body),
        _ => Box::pin(control(context, key, body)).await,
    }
}

#[rustfmt::skip]
async fn control(context: RequestContext, key: ApiKey, body: Bytes) -> Outcome {
    match key {
        ApiKey::ListOffsets => answer(context, body, a02_list_offsets::handle).await,
        ApiKey::Metadata => answer(context, body, a03_metadata::handle).await,
        ApiKey::OffsetCommit => answer(context, body, a08_offset_commit::handle).await,
        ApiKey::OffsetFetch => answer(context, body, a09_offset_fetch::handle).await,
        ApiKey::FindCoordinator => answer(context, body, a10_find_coordinator::handle).await,
        ApiKey::JoinGroup => answer(context, body, a11_join_group::handle).await,
        ApiKey::Heartbeat => answer(context, body, a12_heartbeat::handle).await,
        ApiKey::LeaveGroup => answer(context, body, a13_leave_group::handle).await,
        ApiKey::SyncGroup => answer(context, body, a14_sync_group::handle).await,
        ApiKey::DescribeGroups => answer(context, body, a15_describe_groups::handle).await,
        ApiKey::ListGroups => answer(context, body, a16_list_groups::handle).await,
        ApiKey::CreateTopics => answer(context, body, a19_create_topics::handle).await,
        ApiKey::DeleteTopics => answer(context, body, a20_delete_topics::handle).await,
        ApiKey::DeleteRecords => answer(context, body, a21_delete_records::handle).await,
        ApiKey::InitProducerId => answer(context, body, a22_init_producer_id::handle).await,
        ApiKey::OffsetForLeaderEpoch => answer(context, body, a23_offset_for_leader_epoch::handle).await,
        ApiKey::DescribeConfigs => answer(context, body, a32_describe_configs::handle).await,
        ApiKey::AlterConfigs => answer(context, body, a33_alter_configs::handle).await,
        ApiKey::DescribeLogDirs => answer(context, body, a35_describe_log_dirs::handle).await,
        ApiKey::CreatePartitions => answer(context, body, a37_create_partitions::handle).await,
        ApiKey::DeleteGroups => answer(context, body, a42_delete_groups::handle).await,
        ApiKey::IncrementalAlterConfigs => answer(context, body, a44_incremental_alter_configs::handle).await,
        ApiKey::ListPartitionReassignments => answer(context, body, a46_list_partition_reassignments::handle).await,
        ApiKey::OffsetDelete => answer(context, body, a47_offset_delete::handle).await,
        ApiKey::DescribeCluster => answer(context, body, a60_describe_cluster::handle).await,
        ApiKey::DescribeTopicPartitions => answer(context, body, a75_describe_topic_partitions::handle).await,
        // The header would have been refused; a new entry in the version table needs an arm here.
        _ => Outcome::Close(format!("{key:?} has no handler")),
    }
}

/// Text that outlives the frame it came in.
fn owned(text: &StrBytes) -> StrBytes {
    StrBytes::from_string(text.as_str().to_owned())
}
