//! ApiVersions (key 18): the first exchange of every connection.
//!
//! Served in v0-v4. v3 adds the client's name and version (KIP-511) and features (KIP-584); v4 may
//! list features whose lowest level is zero (KAFKA-17011).

use kafka_protocol::messages::api_versions_response::{
    ApiVersion, FinalizedFeatureKey, SupportedFeatureKey,
};
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse};
use kafka_protocol::protocol::StrBytes;

use crate::{Api, ErrorCode};

/// The first version that names the client's software.
const FIRST_WITH_SOFTWARE: i16 = 3;
/// The first version whose readers accept a feature that starts at level zero.
const FIRST_WITH_LEVEL_ZERO: i16 = 4;

/// A feature and the levels this broker supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SupportedFeature {
    /// Kafka's name, such as `transaction.version`.
    pub name: &'static str,
    /// The lowest supported level.
    pub min: i16,
    /// The highest supported level.
    pub max: i16,
}

/// A feature and the level in force. Clients act on these: Java and franz-go use the second
/// transaction protocol only where `transaction.version` is finalized at 2 or higher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FinalizedFeature {
    /// Kafka's name.
    pub name: &'static str,
    /// The level in force, at least 1.
    pub level: i16,
}

/// What ApiVersions tells about features (KIP-584).
#[derive(Clone, Copy, Debug)]
pub struct Features<'a> {
    /// What this broker could do.
    pub supported: &'a [SupportedFeature],
    /// What the cluster does.
    pub finalized: &'a [FinalizedFeature],
    /// Grows whenever `finalized` changes; -1 means unknown, and clients then ignore `finalized`.
    pub epoch: i64,
}

/// The answer to a valid request of a served version.
pub fn api_versions_response(version: i16, features: Features<'_>) -> ApiVersionsResponse {
    let supported = features
        .supported
        .iter()
        .filter(|feature| feature.min > 0 || version >= FIRST_WITH_LEVEL_ZERO)
        .map(supported_key)
        .collect();
    ApiVersionsResponse::default()
        .with_api_keys(Api::served().map(advertisement).collect())
        .with_supported_features(supported)
        .with_finalized_features_epoch(features.epoch)
        .with_finalized_features(features.finalized.iter().map(finalized_key).collect())
}

/// The answer to a version we do not know. Whoever sent it cannot know which layout we can write,
/// so it must be encoded as **version 0**; its one entry tells the client what to ask for instead
/// (KIP-511). The connection stays open.
pub fn unsupported_api_versions_response() -> ApiVersionsResponse {
    let own = Api::served().filter(|api| api.key == ApiKey::ApiVersions).map(advertisement);
    api_versions_error(ErrorCode::UNSUPPORTED_VERSION).with_api_keys(own.collect())
}

/// An answer that carries an error and nothing else.
pub fn api_versions_error(code: ErrorCode) -> ApiVersionsResponse {
    ApiVersionsResponse::default().with_error_code(code.get())
}

/// Whether the request names its software properly; otherwise the answer is INVALID_REQUEST.
pub fn names_its_software(request: &ApiVersionsRequest, version: i16) -> bool {
    version < FIRST_WITH_SOFTWARE
        || (is_software_name(&request.client_software_name)
            && is_software_name(&request.client_software_version))
}

/// Letters and digits, with dashes and dots between them (KIP-511).
fn is_software_name(name: &str) -> bool {
    let is_inner = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    let (first, last) = (name.bytes().next(), name.bytes().next_back());
    first.is_some_and(|byte| byte.is_ascii_alphanumeric())
        && last.is_some_and(|byte| byte.is_ascii_alphanumeric())
        && name.as_bytes().iter().all(is_inner)
}

fn advertisement(api: &Api) -> ApiVersion {
    ApiVersion::default()
        .with_api_key(api.key as i16)
        .with_min_version(api.min)
        .with_max_version(api.max)
}

fn supported_key(feature: &SupportedFeature) -> SupportedFeatureKey {
    SupportedFeatureKey::default()
        .with_name(StrBytes::from_static_str(feature.name))
        .with_min_version(feature.min)
        .with_max_version(feature.max)
}

fn finalized_key(feature: &FinalizedFeature) -> FinalizedFeatureKey {
    FinalizedFeatureKey::default()
        .with_name(StrBytes::from_static_str(feature.name))
        .with_min_version_level(feature.level)
        .with_max_version_level(feature.level)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode_response;

    const FEATURES: Features<'static> = Features {
        supported: &[
            SupportedFeature { name: "metadata.version", min: 7, max: 27 },
            SupportedFeature { name: "group.version", min: 0, max: 1 },
        ],
        finalized: &[FinalizedFeature { name: "group.version", level: 1 }],
        epoch: 5,
    };

    fn supported_names(version: i16) -> Vec<String> {
        let response = api_versions_response(version, FEATURES);
        response.supported_features.iter().map(|feature| feature.name.to_string()).collect()
    }

    #[test]
    fn features_from_level_zero_are_for_version_4() {
        assert_eq!(supported_names(3), ["metadata.version"]);
        assert_eq!(supported_names(4), ["metadata.version", "group.version"]);
    }

    #[test]
    fn only_served_apis_are_advertised_in_order() {
        let response = api_versions_response(4, FEATURES);
        let keys: Vec<i16> = response.api_keys.iter().map(|api| api.api_key).collect();
        assert!(keys.is_sorted() && keys.contains(&0) && keys.contains(&75));
        assert!(!keys.contains(&71) && !keys.contains(&4));
        let produce = response.api_keys.first().unwrap();
        assert_eq!((produce.min_version, produce.max_version), (0, 13));
    }

    /// The bytes a client with a newer ApiVersions gets back: size, correlation id, error 35, one
    /// entry {18, 0, 4}.
    #[test]
    fn an_unknown_version_is_answered_in_version_0() {
        let response = unsupported_api_versions_response();
        let frame = encode_response(ApiKey::ApiVersions, 0, 9, &response).unwrap();
        let expected = [0, 0, 0, 16, 0, 0, 0, 9, 0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 4];
        assert_eq!(frame[..], expected);
    }

    /// Response header v0 (no tag byte after the correlation id), flexible body.
    #[test]
    fn version_3_has_a_plain_header_and_a_flexible_body() {
        let response = api_versions_error(ErrorCode::INVALID_REQUEST);
        let frame = encode_response(ApiKey::ApiVersions, 3, 9, &response).unwrap();
        let (header, body) = (&frame[4..8], &frame[8..]);
        assert_eq!((header, &body[..3]), (&[0, 0, 0, 9][..], &[0, 42, 1][..]));
    }

    #[test]
    fn software_names_follow_kip_511() {
        for good in ["a", "apache-kafka-java", "4.1.1", "librdkafka.2-x"] {
            assert!(is_software_name(good), "{good}");
        }
        for bad in ["", "a b", "-a", "a-", "a.", "é", "a/b"] {
            assert!(!is_software_name(bad), "{bad}");
        }
        assert!(names_its_software(&ApiVersionsRequest::default(), 2));
        assert!(!names_its_software(&ApiVersionsRequest::default(), 3));
    }
}
