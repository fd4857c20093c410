//! The shape check: walks a request body against its schema before kafka-protocol decodes it.
//!
//! kafka-protocol allocates an array by the count on the wire. Five bytes that claim two billion
//! topics make the allocation fail, and a failed allocation aborts the process: it is no panic, and
//! nothing can catch it. Counts that are merely large cost memory instead, up to 36 times the
//! request. So a body is walked here first, without allocating anything, and passes only if
//!
//! 1. every length fits the bytes that remain, and every count leaves each element the fewest bytes
//!    it can have;
//! 2. all arrays and unknown tags together decode into less than 32 MiB;
//! 3. nothing is null that the schema says cannot be, and no length is otherwise negative;
//! 4. varints fit 32 bits, tags grow, and a known tag's content takes the bytes it claims.
//!
//! Rule 4 is stricter than kafka-protocol and never refuses what Kafka's own clients write. Bytes
//! after the end of the message are left alone, as Kafka and kafka-protocol leave them. Depth is
//! bounded by the schema, which has no recursive types.
//!
//! The tables are generated from the schemas inside Kafka's client library, for every API of the
//! broker listener in every version that kafka-protocol decodes.

#[cfg(any(test, feature = "test-util"))]
mod sample;
mod schema;
mod tables;
#[cfg(test)]
mod tests;
mod walk;

use antiphon_common::ErrorKind;
use thiserror::Error;

use crate::wire::{DECODED_BYTES_MAX, Malformed, Reader};
#[cfg(any(test, feature = "test-util"))]
pub use sample::{SampleRequest, sample_request};
use schema::Message;
use walk::Walk;

/// What a body that passed the check is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShapeReport {
    /// Elements of all arrays together.
    pub elements: usize,
    /// Memory that the decoded arrays and unknown tags take, in bytes, as an estimate from above.
    pub decoded_bytes: usize,
    /// Bytes after the end of the message.
    pub trailing_bytes: usize,
}

/// Why a body is not the request it claims to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ShapeError {
    /// There is no schema for this API and version.
    #[error("there is no request with api key {api_key} in version {version}")]
    Unknown {
        /// The API.
        api_key: i16,
        /// The version.
        version: i16,
    },
    /// The bytes do not follow the schema.
    #[error("malformed {message} version {version} in {field}: {source}")]
    Malformed {
        /// The message.
        message: &'static str,
        /// The version.
        version: i16,
        /// The field that has the defect.
        field: &'static str,
        /// Where and how.
        source: Malformed,
    },
}

impl ShapeError {
    /// What the caller should do: the bytes are wrong and will stay wrong.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Unknown { .. } | Self::Malformed { .. } => ErrorKind::Invalid,
        }
    }
}

/// Checks the body of a request, with 32 MiB for its decoded form.
pub fn check_request(api_key: i16, version: i16, body: &[u8]) -> Result<ShapeReport, ShapeError> {
    check_request_within(api_key, version, body, DECODED_BYTES_MAX)
}

/// Checks the body of a request whose decoded form may take `budget` bytes.
pub fn check_request_within(
    api_key: i16,
    version: i16,
    body: &[u8],
    budget: usize,
) -> Result<ShapeReport, ShapeError> {
    let found = tables::REQUESTS.binary_search_by_key(&api_key, |message| message.api_key);
    let message = found.ok().and_then(|index| tables::REQUESTS.get(index));
    let message = message.ok_or(ShapeError::Unknown { api_key, version })?;
    check(message, version, body, budget)
}

/// Checks a `ConsumerProtocolSubscription`, without the version in front of it.
pub(crate) fn check_subscription(version: i16, body: &[u8]) -> Result<ShapeReport, ShapeError> {
    check(&tables::CONSUMER_SUBSCRIPTION, version, body, DECODED_BYTES_MAX)
}

/// Checks a `ConsumerProtocolAssignment`, without the version in front of it.
pub(crate) fn check_assignment(version: i16, body: &[u8]) -> Result<ShapeReport, ShapeError> {
    check(&tables::CONSUMER_ASSIGNMENT, version, body, DECODED_BYTES_MAX)
}

fn check(
    message: &'static Message,
    version: i16,
    body: &[u8],
    budget: usize,
) -> Result<ShapeReport, ShapeError> {
    let unknown = ShapeError::Unknown { api_key: message.api_key, version };
    let layout = message.layout(version).ok_or(unknown)?;
    let mut reader = Reader::with_budget(body, budget);
    let mut walk = Walk::new(layout);
    walk.fields(message.fields, &mut reader).map_err(|source| ShapeError::Malformed {
        message: message.name,
        version,
        field: walk.field(),
        source,
    })?;
    Ok(ShapeReport {
        elements: reader.elements(),
        decoded_bytes: reader.charged(),
        trailing_bytes: reader.remaining(),
    })
}
