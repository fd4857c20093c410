//! The header of a request: who asks for what, in which version.

use antiphon_common::ErrorKind;
use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;
use thiserror::Error;

use crate::versions::{Api, ApiKey};
use crate::wire::{Defect, Malformed, Reader};

/// A request header. Built from a frame without copying: `client_id` is a slice of the frame and
/// keeps it in memory, so copy the text before storing it.
#[derive(Clone, Debug)]
pub struct RequestHeader {
    /// The API that is asked for; always a served one.
    pub api: &'static Api,
    /// The version of the request. Always a served one, except as
    /// [`RequestHeader::wants_fallback`] says.
    pub version: i16,
    /// Comes back in the response.
    pub correlation_id: i32,
    /// What the client calls itself.
    pub client_id: Option<StrBytes>,
}

impl RequestHeader {
    /// Whether this is an ApiVersions request of a version we do not serve. It is answered with
    /// [`unsupported_api_versions_response`](crate::unsupported_api_versions_response) in version
    /// 0, and its body must not be read. Any other API in such a version is an error already.
    pub fn wants_fallback(&self) -> bool {
        !self.api.serves(self.version)
    }
}

/// Why a frame has no usable request header. Each of these ends the connection: Kafka sends no
/// response either, because it cannot know a layout that the client would understand.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HeaderError {
    /// Nothing with this key is served here.
    #[error("api key {api_key} (version {version}) is not served")]
    UnknownApi {
        /// The key.
        api_key: i16,
        /// The version asked for.
        version: i16,
    },
    /// The API is served, in other versions.
    #[error("{} version {version} is not served", api.name)]
    UnsupportedVersion {
        /// The API.
        api: &'static Api,
        /// The version asked for.
        version: i16,
    },
    /// The bytes are no header.
    #[error("malformed request header: {0}")]
    Malformed(#[from] Malformed),
}

impl HeaderError {
    /// What the caller should do: the bytes are wrong and will stay wrong.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::UnknownApi { .. } | Self::UnsupportedVersion { .. } | Self::Malformed(_) => {
                ErrorKind::Invalid
            }
        }
    }
}

/// Splits a frame into its header and its body, both slices of `frame`.
pub fn split_request(frame: &Bytes) -> Result<(RequestHeader, Bytes), HeaderError> {
    let mut reader = Reader::new(frame);
    let (api_key, version) = (reader.i16()?, reader.i16()?);
    let api = Api::find(api_key).filter(|api| api.is_served());
    let api = api.ok_or(HeaderError::UnknownApi { api_key, version })?;
    let correlation_id = reader.i32()?;
    if !api.serves(version) {
        return fallback(api, version, correlation_id);
    }
    let client_id = client_id(frame, &mut reader)?;
    if api.is_flexible(version) {
        reader.tagged_fields(|_, _| Ok(false))?;
    }
    let body = frame.slice(reader.position()..);
    Ok((RequestHeader { api, version, correlation_id, client_id }, body))
}

/// A future ApiVersions may have a header we cannot read past the correlation id, which is all that
/// its answer needs.
fn fallback(
    api: &'static Api,
    version: i16,
    correlation_id: i32,
) -> Result<(RequestHeader, Bytes), HeaderError> {
    if api.key != ApiKey::ApiVersions {
        return Err(HeaderError::UnsupportedVersion { api, version });
    }
    Ok((RequestHeader { api, version, correlation_id, client_id: None }, Bytes::new()))
}

/// The client id is never compact, not even in flexible headers: a broker must be able to read it
/// before it knows whether the version is one it supports (KIP-482).
fn client_id(frame: &Bytes, reader: &mut Reader<'_>) -> Result<Option<StrBytes>, Malformed> {
    let Some(text) = reader.nullable_string(false)? else { return Ok(None) };
    let text = StrBytes::from_utf8(frame.slice_ref(text));
    text.map(Some).map_err(|_| reader.fail(Defect::NotUtf8))
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use kafka_protocol::messages::RequestHeader as TheirHeader;
    use kafka_protocol::protocol::encode_request_header_into_buffer;
    use proptest::prelude::*;

    use super::*;

    fn frame(api_key: i16, version: i16, client_id: Option<&'static str>, body: &[u8]) -> Bytes {
        let header = TheirHeader::default()
            .with_request_api_key(api_key)
            .with_request_api_version(version)
            .with_correlation_id(77)
            .with_client_id(client_id.map(StrBytes::from_static_str));
        let mut buffer = BytesMut::new();
        encode_request_header_into_buffer(&mut buffer, &header).unwrap();
        buffer.extend_from_slice(body);
        buffer.freeze()
    }

    #[test]
    fn every_served_version_is_split_where_its_header_ends() {
        for api in Api::served() {
            for version in (api.min..=api.max).filter(|version| api.serves(*version)) {
                for client_id in [Some("it's me"), Some(""), None] {
                    let frame = frame(api.key as i16, version, client_id, b"body");
                    let (header, body) = split_request(&frame).unwrap();
                    assert_eq!((header.api.key, header.version), (api.key, version));
                    assert_eq!((header.correlation_id, &body[..]), (77, &b"body"[..]));
                    assert_eq!(header.client_id.as_deref(), client_id);
                    assert!(!header.wants_fallback());
                }
            }
        }
    }

    #[test]
    fn a_future_api_versions_keeps_its_correlation_id() {
        let bytes = Bytes::from_static(&[0, 18, 0, 99, 0, 0, 0, 77]);
        let (header, body) = split_request(&bytes).unwrap();
        assert!(header.wants_fallback() && body.is_empty());
        assert_eq!((header.version, header.correlation_id), (99, 77));
    }

    #[test]
    fn unknown_keys_and_versions_end_the_connection() {
        for api_key in [-1, 4, 71, 88, 999] {
            let mut bytes = i16::to_be_bytes(api_key).to_vec();
            bytes.extend_from_slice(&[0; 16]);
            let error = split_request(&bytes.into()).unwrap_err();
            assert_eq!(error, HeaderError::UnknownApi { api_key, version: 0 });
        }
        for (api_key, version) in [(0, 2), (1, 3), (3, 14), (3, -1)] {
            let bytes = frame(api_key, version, None, b"");
            let unsupported = matches!(
                split_request(&bytes),
                Err(HeaderError::UnsupportedVersion { version: refused, .. }) if refused == version
            );
            assert!(unsupported, "{api_key} v{version}");
        }
    }

    #[test]
    fn broken_client_ids_and_tags_are_refused() {
        let metadata = |rest: &[u8]| {
            let mut bytes = vec![0, 3, 0, 9, 0, 0, 0, 1];
            bytes.extend_from_slice(rest);
            split_request(&bytes.into()).unwrap_err()
        };
        let defect = |error| match error {
            HeaderError::Malformed(Malformed { defect, .. }) => defect,
            other => panic!("{other}"),
        };
        assert_eq!(defect(metadata(&[0xff, 0xfe])), Defect::NegativeLength(-2));
        let truncated = Defect::Truncated { wanted: 9, remaining: 1 };
        assert_eq!(defect(metadata(&[0, 9, b'x'])), truncated);
        assert_eq!(defect(metadata(&[0, 1, 0xff])), Defect::NotUtf8);
        let tags = defect(metadata(&[0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f]));
        assert_eq!(tags, Defect::CountTooLarge { count: u32::MAX as usize, room: 0 });
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = split_request(&bytes.into());
        }

        #[test]
        fn any_header_of_a_served_api_is_survived(
            api_key in 0_i16..76, version in 0_i16..14,
            rest in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            let mut bytes = api_key.to_be_bytes().to_vec();
            bytes.extend_from_slice(&version.to_be_bytes());
            bytes.extend_from_slice(&rest);
            let _ = split_request(&bytes.into());
        }
    }
}
