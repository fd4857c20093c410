//! Frames and headers.

use antiphon_protocol::{Api, ErrorCode};
use antiphon_tests::{Reaction, shared};

use crate::siege::{SOON, Siege};

fn frame(body: &[u8]) -> Vec<u8> {
    let size = i32::try_from(body.len()).expect("a small frame").to_be_bytes();
    [&size, body].concat()
}

fn header(api_key: i16, version: i16) -> Vec<u8> {
    [&api_key.to_be_bytes()[..], &version.to_be_bytes(), &7_i32.to_be_bytes()].concat()
}

#[test]
fn sizes_that_no_frame_has() {
    let _turn = shared();
    let mut siege = Siege::begin("sizes");
    for size in [-1, i32::MIN, 0, 3, 7, i32::MAX, (100 << 20) + 1] {
        // The rest of the header, so that even a size of seven is complete.
        let bytes = [&i32::to_be_bytes(size)[..], &[0; 8]].concat();
        assert_eq!(siege.reaction_to(&bytes), Reaction::Closed, "size {size}");
    }
    siege.survived("sizes");
}

#[test]
fn other_protocols() {
    let _turn = shared();
    let mut siege = Siege::begin("protocols");
    let hello = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[0x5a; 500]].concat();
    for (name, bytes) in [
        ("TLS", &hello[..]),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("HTTP POST", b"POST /topics HTTP/1.1\r\n\r\n"),
        ("SSH", b"SSH-2.0-OpenSSH_9.6\r\n"),
        ("Redis", b"*1\r\n$4\r\nPING\r\n"),
    ] {
        assert_eq!(siege.reaction_to(bytes), Reaction::Closed, "{name}");
    }
    siege.survived("other protocols");
}

#[test]
fn keys_and_versions_that_do_not_exist() {
    let _turn = shared();
    let mut siege = Siege::begin("keys");
    for key in [-1, 4, 5, 17, 24, 71, 88, 999, i16::MAX, i16::MIN] {
        let body = [header(key, 0), vec![0; 16]].concat();
        assert_eq!(siege.reaction_to(&frame(&body)), Reaction::Closed, "key {key}");
    }
    for api in Api::served() {
        let name = api.name;
        for version in [-1, api.max + 1, i16::MAX] {
            let body = [header(api.key as i16, version), vec![0; 16]].concat();
            let reaction = siege.reaction_to(&frame(&body));
            if name == "ApiVersions" {
                assert_fallback(&reaction, version);
            } else {
                assert_eq!(reaction, Reaction::Closed, "{name} v{version}");
            }
        }
    }
    let old_produce = [header(0, 2), vec![0; 16]].concat();
    assert_eq!(siege.reaction_to(&frame(&old_produce)), Reaction::Closed);
    siege.survived("keys and versions");
}

/// KIP-511: version 0, error 35, and the versions of ApiVersions itself.
fn assert_fallback(reaction: &Reaction, version: i16) {
    let Reaction::Answer(answer) = reaction else { panic!("ApiVersions v{version}: {reaction:?}") };
    let expected = [0, 0, 0, 7, 0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 4];
    assert_eq!(answer[..], expected, "ApiVersions v{version}");
}

#[test]
fn a_connection_outlives_an_unknown_version_of_api_versions() {
    let _turn = shared();
    let siege = Siege::begin("api-versions-99");
    let mut raw = siege.raw();
    raw.send_bytes(&frame(&[header(18, 99), vec![0xff; 40]].concat())).expect("sent");
    assert_fallback(&raw.reaction_within(SOON), 99);
    assert!(raw.answers(), "the connection must stay open");
}

#[test]
fn software_names_are_checked() {
    let _turn = shared();
    let siege = Siege::begin("software");
    for (name, code) in [("librdkafka", 0), ("a b", ErrorCode::INVALID_REQUEST.0), ("", 42)] {
        let mut body = vec![name.len() as u8 + 1];
        body.extend(name.as_bytes());
        body.extend([2, b'1', 0]);
        let reaction = siege.reaction_to_body(18, 3, &body);
        let Reaction::Answer(answer) = reaction else { panic!("{name:?}: {reaction:?}") };
        assert_eq!(i16::from_be_bytes([answer[4], answer[5]]), code, "{name:?}");
    }
}

#[test]
fn headers_that_lie() {
    let _turn = shared();
    let mut siege = Siege::begin("headers");
    let with_client_id =
        |length: i16| frame(&[header(3, 1), length.to_be_bytes().to_vec(), vec![b'x'; 4]].concat());
    for length in [-2, i16::MIN, 5, i16::MAX] {
        assert_eq!(siege.reaction_to(&with_client_id(length)), Reaction::Closed, "{length}");
    }
    let not_text = frame(&[header(3, 1), vec![0, 2, 0xff, 0xfe]].concat());
    assert_eq!(siege.reaction_to(&not_text), Reaction::Closed);
    assert_eq!(siege.reaction_to(&frame(&header(3, 1))), Reaction::Closed, "nothing but a header");
    // 2^32 - 1 tagged fields, and a varint that does not end.
    for tags in [&[0xff, 0xff, 0xff, 0xff, 0x0f][..], &[0xff; 16]] {
        let lying = frame(&[header(3, 9), vec![0xff, 0xff], tags.to_vec()].concat());
        assert_eq!(siege.reaction_to(&lying), Reaction::Closed, "{tags:?}");
    }
    siege.survived("headers");
}
