//! The settings of the broker that clients may see, and the few that may change while it runs.

use std::collections::BTreeMap;

use super::definition::{ConfigType, Definition};
use super::topic::TOPIC_CONFIGS;

/// A broker setting as DescribeConfigs shows it.
#[derive(Clone, Debug)]
pub struct BrokerDefinition {
    /// Kafka's name.
    pub name: &'static str,
    /// Its type.
    pub kind: ConfigType,
    /// Its value now.
    pub value: String,
    /// Its value when nobody set it.
    pub default: String,
    /// Whether IncrementalAlterConfigs refuses it.
    pub read_only: bool,
    /// What it does here.
    pub doc: &'static str,
}

/// Names of broker settings that are not defaults for topics, with type and documentation.
pub const BROKER_CONFIGS: &[(&str, ConfigType, &str)] = &[
    ("advertised.listeners", ConfigType::String, "The address that clients are told to use."),
    ("auto.create.topics.enable", ConfigType::Boolean, "Whether Metadata creates missing topics."),
    ("broker.id", ConfigType::Int, "This broker's id."),
    ("default.replication.factor", ConfigType::Int, "Accepted; durability is the store's."),
    ("delete.topic.enable", ConfigType::Boolean, "Whether topics can be deleted."),
    ("fetch.max.bytes", ConfigType::Int, "The largest fetch response."),
    (
        "group.initial.rebalance.delay.ms",
        ConfigType::Int,
        "How long a new group waits for members.",
    ),
    ("group.max.session.timeout.ms", ConfigType::Int, "The longest session timeout of a member."),
    ("group.min.session.timeout.ms", ConfigType::Int, "The shortest session timeout of a member."),
    ("listeners", ConfigType::String, "The address that the broker listens on."),
    ("log.dirs", ConfigType::String, "The folder of the write-ahead log."),
    ("node.id", ConfigType::Int, "This broker's id."),
    ("num.partitions", ConfigType::Int, "Partitions of a topic whose creator did not say."),
    ("offsets.retention.minutes", ConfigType::Int, "How long an empty group keeps its offsets."),
    ("offsets.topic.num.partitions", ConfigType::Int, "Partitions of __consumer_offsets."),
    ("offsets.topic.replication.factor", ConfigType::Int, "Accepted; durability is the store's."),
    ("producer.id.expiration.ms", ConfigType::Int, "How long an idle producer is remembered."),
    ("socket.request.max.bytes", ConfigType::Int, "The largest Produce request."),
    (
        "transaction.state.log.replication.factor",
        ConfigType::Int,
        "Accepted; durability is the store's.",
    ),
];

/// Broker settings: fixed ones from the command line and dynamic ones from the catalog.
#[derive(Clone, Debug, Default)]
pub struct BrokerConfigs {
    /// Values that the process was started with, by Kafka's name.
    pub fixed: BTreeMap<String, String>,
    /// Values set through AlterConfigs for all brokers; they outlive restarts.
    pub dynamic: BTreeMap<String, String>,
}

impl BrokerConfigs {
    /// The topic settings whose defaults a broker setting gives, under the broker's name.
    pub fn topic_defaults() -> impl Iterator<Item = &'static Definition> {
        TOPIC_CONFIGS.iter()
    }

    /// The topic setting that the broker setting `name` gives the default of. These are the
    /// settings that may change while the broker runs.
    pub fn dynamic_definition(name: &str) -> Option<&'static Definition> {
        TOPIC_CONFIGS.iter().find(|definition| definition.synonym == name)
    }
}
