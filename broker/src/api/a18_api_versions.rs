//! ApiVersions (key 18), versions 0-4: what this broker speaks. The first request of every client.
//!
//! - An unknown version is answered in version 0 with UNSUPPORTED_VERSION (KIP-511), and the
//!   connection lives on.
//! - From version 3 a client that names its software badly gets INVALID_REQUEST.
//! - No finalized features yet: transactions and the group protocol of KIP-848 are not served.

use antiphon_protocol::{
    ErrorCode, Features, api_versions_error, api_versions_response, decode_request,
    encode_response, names_its_software, unsupported_api_versions_response,
};
use bytes::Bytes;
use kafka_protocol::messages::ApiVersionsRequest;

use super::RequestContext;
use crate::net::Outcome;

pub(super) fn handle(context: &RequestContext, body: Bytes) -> Outcome {
    let header = &context.header;
    if header.wants_fallback() {
        let response = unsupported_api_versions_response();
        let encoded = encode_response(header.api.key, 0, header.correlation_id, &response);
        return encoded.map_or_else(|error| Outcome::Close(error.to_string()), Outcome::reply);
    }
    let version = context.version();
    let request = match decode_request::<ApiVersionsRequest>(version, body) {
        Ok(request) => request,
        Err(error) => return Outcome::Close(format!("ApiVersions: {error}")),
    };
    if !names_its_software(&request, version) {
        return context.outcome(&api_versions_error(ErrorCode::INVALID_REQUEST));
    }
    let features = Features { supported: &[], finalized: &[], epoch: 0 };
    context.outcome(&api_versions_response(version, features))
}
