//! The shape check: walks a request body against its schema before kafka-protocol decodes it.

use thiserror::Error;

use crate::wire::Malformed;

/// What a body that passed the check is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShapeReport {
    /// Elements of all arrays together.
    pub elements: usize,
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
    #[error("malformed request (api key {api_key}, version {version}): {source}")]
    Malformed {
        /// The API.
        api_key: i16,
        /// The version.
        version: i16,
        /// Where and how.
        source: Malformed,
    },
}

/// PLACEHOLDER
pub fn check_request(api_key: i16, version: i16, _body: &[u8]) -> Result<ShapeReport, ShapeError> {
    Err(ShapeError::Unknown { api_key, version })
}
