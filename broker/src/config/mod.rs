//! Topic and broker settings: Kafka's names, types, defaults and rules.

mod broker;
mod definition;
mod topic;

pub use broker::{BROKER_CONFIGS, BrokerConfigs, BrokerDefinition};
pub(crate) use definition::list_items;
pub use definition::{Check, ConfigType, Definition, InvalidConfig};
pub use topic::{TOPIC_CONFIGS, TopicSettings, topic_definition, validate_overrides};
