//! Every advertised version of every served API can be encoded.
//!
//! kafka-protocol refuses, at run time, a response in which a field is set that the version lacks
//! and that the schema does not call ignorable. The builders here set every field that a version
//! has, and their `since` and `until` are the list of fields that a handler must not set earlier or
//! later. Produce and Fetch have codecs and tests of their own.

mod admin;
mod groups;
mod topics;

use std::fmt::Debug;

use antiphon_protocol::{Api, ApiKey, ErrorCode, StrBytes, encode_response};
use bytes::Bytes;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Request};

/// What `authorized_operations` holds if nobody asked for it.
const NOT_ASKED: i32 = i32::MIN;

fn text(text: &'static str) -> StrBytes {
    StrBytes::from_static_str(text)
}

fn some(message: &'static str) -> Option<StrBytes> {
    Some(text(message))
}

/// `value` from version `first` on, and before that what the schema gives.
fn since<T>(version: i16, first: i16, value: T, before: T) -> T {
    if version >= first { value } else { before }
}

/// `value` up to version `last`, and after that the default.
fn until<T: Default>(version: i16, last: i16, value: T) -> T {
    if version <= last { value } else { T::default() }
}

/// Encodes the response that `build` makes for each served version, decodes it as a client would
/// and encodes it again.
fn round_trips<R>(build: fn(i16) -> R::Response) -> ApiKey
where
    R: Request,
    R::Response: Debug + PartialEq,
{
    let api = Api::find(R::KEY).unwrap();
    for version in (api.min..=api.max).filter(|version| api.serves(*version)) {
        let (response, label) = (build(version), format!("{} v{version}", api.name));
        let frame = encode_response(api.key, version, 7, &response).expect(&label);
        let read = read::<R>(api, version, &frame);
        let again = encode_response(api.key, version, 7, &read).expect(&label);
        assert_eq!(frame, again, "{label}");
        if version == api.max {
            assert_eq!(read, response, "{label}");
        }
    }
    api.key
}

fn read<R: Request>(api: &Api, version: i16, frame: &Bytes) -> R::Response {
    let header = if api.has_flexible_response_header(version) { 4 + 4 + 1 } else { 4 + 4 };
    assert_eq!(frame[..4], (frame.len() as i32 - 4).to_be_bytes(), "{} v{version}", api.name);
    assert_eq!(frame[4..8], [0, 0, 0, 7], "{} v{version}", api.name);
    let mut body = frame.slice(header..);
    let response = R::Response::decode(&mut body, version).unwrap();
    assert!(body.is_empty(), "{} v{version} leaves bytes", api.name);
    response
}

#[test]
fn every_served_version_round_trips() {
    let mut covered = vec![ApiKey::Produce, ApiKey::Fetch];
    covered.extend(topics::round_trip());
    covered.extend(groups::round_trip());
    covered.extend(admin::round_trip());
    for api in Api::served() {
        assert!(covered.contains(&api.key), "no response of {} is tested", api.name);
    }
}

/// The trap itself: if kafka-protocol ever stops refusing, these builders are needless caution.
#[test]
fn a_field_the_version_lacks_is_refused() {
    let response = JoinGroupResponse::default().with_skip_assignment(true);
    let error = encode_response(ApiKey::JoinGroup, 8, 7, &response).unwrap_err();
    assert!(error.to_string().contains("JoinGroup version 8"), "{error}");
    assert!(encode_response(ApiKey::JoinGroup, 9, 7, &response).is_ok());
}

/// Response headers as they stand on the wire, for one API on each side of its first flexible
/// version.
#[test]
fn response_headers_follow_the_version() {
    let response = HeartbeatResponse::default().with_error_code(ErrorCode::ILLEGAL_GENERATION.0);
    let plain = encode_response(ApiKey::Heartbeat, 3, 9, &response).unwrap();
    assert_eq!(plain[..], [0, 0, 0, 10, 0, 0, 0, 9, 0, 0, 0, 0, 0, 22]);
    let flexible = encode_response(ApiKey::Heartbeat, 4, 9, &response).unwrap();
    assert_eq!(flexible[..], [0, 0, 0, 12, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 22, 0]);
}
