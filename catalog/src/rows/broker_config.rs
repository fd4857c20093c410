//! One broker setting that was changed at run time (KIP-226).
//!
//! ```text
//! key    06 | scope u8 (0 every broker, 1 one broker) | broker_id u32 (0 for every) | name, to the end
//! value  01 | value text, to the end
//! ```

use antiphon_common::BrokerId;

use super::codec::{Decoder, Encoder};
use super::{Row, RowError, RowKind};

const VERSION: u8 = 1;
const SCOPE_CLUSTER: u8 = 0;
const SCOPE_BROKER: u8 = 1;

/// Whom a setting concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConfigScope {
    /// Every broker that has no setting of its own.
    Cluster,
    /// One broker.
    Broker(BrokerId),
}

/// One broker setting that was changed at run time (KIP-226).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerConfigRow {
    /// Whom it concerns.
    pub scope: ConfigScope,
    /// Kafka's name of the setting.
    pub name: String,
    /// Its value.
    pub value: String,
}

impl BrokerConfigRow {
    pub(crate) fn key_of(scope: ConfigScope, name: &str) -> Vec<u8> {
        let (tag, broker) = match scope {
            ConfigScope::Cluster => (SCOPE_CLUSTER, 0),
            ConfigScope::Broker(id) => (SCOPE_BROKER, id.0 as u32),
        };
        Encoder::key(Self::KIND.tag()).u8(tag).u32(broker).raw(name.as_bytes()).finish()
    }
}

impl Row for BrokerConfigRow {
    const KIND: RowKind = RowKind::BrokerConfig;

    fn key(&self) -> Vec<u8> {
        Self::key_of(self.scope, &self.name)
    }

    fn value(&self) -> Vec<u8> {
        Encoder::value(VERSION).raw(self.value.as_bytes()).finish()
    }

    fn decode(key: &[u8], value: &[u8]) -> Result<Self, RowError> {
        let mut key = Decoder::key(key, Self::KIND.tag())?;
        let tag = key.u8("scope")?;
        let broker_id = key.unsigned_i32("broker_id")?;
        let scope = match (tag, broker_id) {
            (SCOPE_CLUSTER, 0) => ConfigScope::Cluster,
            (SCOPE_BROKER, id) => ConfigScope::Broker(BrokerId(id)),
            _ => return Err(RowError::OutOfRange { field: "scope", found: u64::from(tag) }),
        };
        let value = Decoder::value(value, VERSION)?;
        Ok(Self { scope, name: key.rest_as_text("name")?, value: value.rest_as_text("value")? })
    }
}
