//! Requests as clients send them pass the shape check and decode to what was sent.

use std::fmt::Debug;

use antiphon_protocol::{DecodeError, StrBytes, check_request, decode_request};
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::Request;
use uuid::Uuid;

fn text(text: &'static str) -> StrBytes {
    StrBytes::from_static_str(text)
}

/// Encodes what `build` makes for each version, checks it and decodes it. Returns how many array
/// elements the latest version has.
fn passes<R: Request + Debug + PartialEq>(build: fn(i16) -> R) -> usize {
    let mut elements = 0;
    for version in R::VERSIONS.min..=R::VERSIONS.max {
        let mut body = BytesMut::new();
        build(version).encode(&mut body, version).unwrap();
        let report = check_request(R::KEY, version, &body).unwrap();
        assert_eq!(report.trailing_bytes, 0, "{} v{version}", R::KEY);
        let read = decode_request::<R>(version, body.clone().freeze()).unwrap();
        let mut again = BytesMut::new();
        read.encode(&mut again, version).unwrap();
        assert_eq!(body, again, "{} v{version}", R::KEY);
        elements = report.elements;
    }
    elements
}

#[test]
fn metadata() {
    let topic = |name, id| {
        metadata_request::MetadataRequestTopic::default()
            .with_name(Some(text(name).into()))
            .with_topic_id(id)
    };
    assert_eq!(
        passes::<MetadataRequest>(|version| {
            let request = MetadataRequest::default();
            // Null means all topics, and is not possible in version 0.
            request.with_topics((version == 0).then(Vec::new))
        }),
        0
    );
    let two = move |version| {
        let id = if version >= 10 { Uuid::from_u128(7) } else { Uuid::nil() };
        vec![topic("orders", id), topic("replies", Uuid::nil())]
    };
    for version in 0..=13 {
        let mut body = BytesMut::new();
        let request = MetadataRequest::default().with_topics(Some(two(version)));
        kafka_protocol::protocol::Encodable::encode(&request, &mut body, version).unwrap();
        let read = decode_request::<MetadataRequest>(version, body.freeze()).unwrap();
        assert_eq!(read.topics, Some(two(version)), "v{version}");
    }
}

#[test]
fn join_group() {
    let elements = passes::<JoinGroupRequest>(|version| {
        let protocol = |name| {
            join_group_request::JoinGroupRequestProtocol::default()
                .with_name(text(name))
                .with_metadata(Bytes::from_static(b"opaque"))
        };
        let instance = (version >= 5).then(|| text("rack-3"));
        JoinGroupRequest::default()
            .with_group_id(text("workers").into())
            .with_session_timeout_ms(45_000)
            .with_rebalance_timeout_ms(300_000)
            .with_group_instance_id(instance)
            .with_protocol_type(text("consumer"))
            .with_protocols(vec![protocol("range"), protocol("cooperative-sticky")])
            .with_reason(Some(text("starting")))
    });
    assert_eq!(elements, 2);
}

#[test]
fn offset_commit() {
    let elements = passes::<OffsetCommitRequest>(|version| {
        use offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
        let partition = OffsetCommitRequestPartition::default()
            .with_partition_index(3)
            .with_committed_offset(42)
            .with_committed_leader_epoch(8)
            .with_committed_metadata(None);
        let topic = OffsetCommitRequestTopic::default()
            .with_name(text("orders").into())
            .with_partitions(vec![partition.clone(), partition]);
        let instance = (version >= 7).then(|| text("rack-3"));
        OffsetCommitRequest::default()
            .with_group_id(text("workers").into())
            .with_group_instance_id(instance)
            .with_topics(vec![topic])
    });
    assert_eq!(elements, 3);
}

#[test]
fn create_topics() {
    let elements = passes::<CreateTopicsRequest>(|_| {
        use create_topics_request::{CreatableReplicaAssignment, CreatableTopic};
        let config = create_topics_request::CreatableTopicConfig::default()
            .with_name(text("cleanup.policy"))
            .with_value(Some(text("compact")));
        let assignment = CreatableReplicaAssignment::default()
            .with_partition_index(0)
            .with_broker_ids(vec![1.into(), 2.into()]);
        let topic = CreatableTopic::default()
            .with_name(text("orders").into())
            .with_num_partitions(-1)
            .with_replication_factor(-1)
            .with_assignments(vec![assignment])
            .with_configs(vec![config]);
        CreateTopicsRequest::default().with_topics(vec![topic]).with_validate_only(true)
    });
    assert_eq!(elements, 5);
}

#[test]
fn describe_topic_partitions() {
    for cursor in [false, true] {
        let build: fn(i16) -> DescribeTopicPartitionsRequest = match cursor {
            false => |_| DescribeTopicPartitionsRequest::default().with_cursor(None),
            true => |_| {
                let cursor = describe_topic_partitions_request::Cursor::default()
                    .with_topic_name(text("orders").into())
                    .with_partition_index(4);
                DescribeTopicPartitionsRequest::default().with_cursor(Some(cursor))
            },
        };
        assert_eq!(passes(build), 0);
    }
}

/// KIP-482 lets a newer client send tags we do not know.
#[test]
fn unknown_tags_are_carried() {
    passes::<ApiVersionsRequest>(|version| {
        let request = ApiVersionsRequest::default()
            .with_client_software_name(text("client"))
            .with_client_software_version(text("9.9"));
        if version < 3 {
            return request;
        }
        request
            .with_unknown_tagged_field(9, Bytes::from_static(b"nine"))
            .with_unknown_tagged_field(200, Bytes::new())
    });
}

#[test]
fn what_the_decoder_refuses_is_no_shape_error() {
    // Heartbeat v0 with a group id that is not UTF-8.
    let body = Bytes::from_static(&[0, 1, 0xff, 0, 0, 0, 0, 0, 0]);
    let error = decode_request::<HeartbeatRequest>(0, body).unwrap_err();
    assert!(matches!(error, DecodeError::Content { message: "Heartbeat", version: 0, .. }));
}

#[test]
fn a_bomb_ends_in_an_error_that_names_the_field() {
    let bomb = Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff]);
    let error = decode_request::<MetadataRequest>(0, bomb).unwrap_err();
    let expected = "malformed Metadata version 0 in Topics: at byte 4: \
                    an array claims 2147483647 elements and at most 0 fit";
    assert_eq!(error.to_string(), expected);
}
