//! Configs, log directories and the cluster.

use antiphon_protocol::{ApiKey, ErrorCode};
use kafka_protocol::messages::*;

use super::{round_trips, since, some, text};

pub(super) fn round_trip() -> Vec<ApiKey> {
    vec![
        round_trips::<DescribeConfigsRequest>(describe_configs),
        round_trips::<AlterConfigsRequest>(alter_configs),
        round_trips::<IncrementalAlterConfigsRequest>(incremental_alter_configs),
        round_trips::<DescribeLogDirsRequest>(describe_log_dirs),
        round_trips::<DescribeClusterRequest>(describe_cluster),
    ]
}

/// Kafka's number for a topic among config resources.
const TOPIC: i8 = 2;

fn describe_configs(_version: i16) -> DescribeConfigsResponse {
    use describe_configs_response::{
        DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
    };
    let synonym = DescribeConfigsSynonym::default()
        .with_name(text("log.retention.ms"))
        .with_value(some("1000"))
        .with_source(4);
    let config = DescribeConfigsResourceResult::default()
        .with_name(text("retention.ms"))
        .with_value(some("1000"))
        .with_read_only(true)
        .with_config_source(1)
        .with_is_sensitive(true)
        .with_synonyms(vec![synonym])
        .with_config_type(5)
        .with_documentation(some("how long"));
    let result = DescribeConfigsResult::default()
        .with_error_message(None)
        .with_resource_type(TOPIC)
        .with_resource_name(text("orders"))
        .with_configs(vec![config]);
    DescribeConfigsResponse::default().with_throttle_time_ms(3).with_results(vec![result])
}

fn alter_configs(_version: i16) -> AlterConfigsResponse {
    let result = alter_configs_response::AlterConfigsResourceResponse::default()
        .with_error_code(ErrorCode::INVALID_CONFIG.get())
        .with_error_message(some("unknown key"))
        .with_resource_type(TOPIC)
        .with_resource_name(text("orders"));
    AlterConfigsResponse::default().with_throttle_time_ms(3).with_responses(vec![result])
}

fn incremental_alter_configs(_version: i16) -> IncrementalAlterConfigsResponse {
    let result = incremental_alter_configs_response::AlterConfigsResourceResponse::default()
        .with_error_code(ErrorCode::INVALID_CONFIG.get())
        .with_error_message(some("unknown key"))
        .with_resource_type(TOPIC)
        .with_resource_name(text("orders"));
    IncrementalAlterConfigsResponse::default().with_throttle_time_ms(3).with_responses(vec![result])
}

fn describe_log_dirs(version: i16) -> DescribeLogDirsResponse {
    use describe_log_dirs_response::{
        DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
    };
    let partition = DescribeLogDirsPartition::default()
        .with_partition_index(3)
        .with_partition_size(1 << 40)
        .with_offset_lag(2)
        .with_is_future_key(true);
    let topic = DescribeLogDirsTopic::default()
        .with_name(text("orders").into())
        .with_partitions(vec![partition]);
    let result = DescribeLogDirsResult::default()
        .with_log_dir(text("/data"))
        .with_topics(vec![topic])
        .with_total_bytes(since(version, 4, 1 << 42, -1))
        .with_usable_bytes(since(version, 4, 1 << 41, -1));
    DescribeLogDirsResponse::default().with_throttle_time_ms(3).with_results(vec![result])
}

fn describe_cluster(version: i16) -> DescribeClusterResponse {
    let broker = describe_cluster_response::DescribeClusterBroker::default()
        .with_broker_id(1.into())
        .with_host(text("localhost"))
        .with_port(9092)
        .with_rack(some("zone-a"))
        .with_is_fenced(since(version, 2, true, false));
    DescribeClusterResponse::default()
        .with_throttle_time_ms(3)
        .with_error_message(None)
        .with_endpoint_type(since(version, 1, 2, 1))
        .with_cluster_id(text("cluster"))
        .with_controller_id(1.into())
        .with_brokers(vec![broker])
        .with_cluster_authorized_operations(0b1111)
}
