//! librdkafka behind a small safe wall.
//!
//! All `unsafe` of the hot loops lives in this folder. The safe `rdkafka` crate allocates and looks
//! up a topic per record, which on a small machine would measure the client; here a record costs
//! one C call, and delivery reports come back as one C callback each.

mod config;
mod consumer;
mod handle;
mod producer;

use rdkafka_sys::types::{RDKafkaErrorCode, RDKafkaRespErr};

pub(crate) use config::Config;
pub(crate) use consumer::{Consumer, Start, Watermarks};
pub(crate) use producer::{Payloads, Producer, Tally};

/// Why a client call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// librdkafka does not know the setting or refuses the value.
    #[error("setting {name}={value}: {reason}")]
    Setting {
        /// The property.
        name: String,
        /// The value.
        value: String,
        /// librdkafka's words.
        reason: String,
    },
    /// No client could be made of the settings.
    #[error("client did not start: {0}")]
    Start(String),
    /// A name holds a NUL byte.
    #[error("{0:?} holds a NUL byte")]
    Name(String),
    /// A call on a topic failed.
    #[error("{what}: {reason}")]
    Call {
        /// What was tried.
        what: String,
        /// librdkafka's words.
        reason: String,
    },
    /// A thread of the client could not be started.
    #[error("thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// librdkafka's words for an error code, whether or not these bindings know it.
fn describe(code: i32) -> String {
    match RDKafkaRespErr::try_from(code) {
        Ok(known) => RDKafkaErrorCode::from(known).to_string(),
        Err(_) => format!("Kafka error code {code}"),
    }
}
