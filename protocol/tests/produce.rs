//! Produce, version by version, against kafka-protocol's own encoder and decoder.

use antiphon_common::{BrokerId, LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId};
use antiphon_protocol::{
    ApiKey, CurrentLeader, Defect, ErrorCode, NodeEndpoint, ProduceDecodeError,
    ProducePartitionResponse, ProduceRequest, ProduceResponse, ProduceTopicResponse, RecordError,
    StrBytes, TopicRef, encode_response,
};
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response as theirs;
use kafka_protocol::messages::{ProduceRequest as TheirRequest, ProduceResponse as TheirResponse};
use kafka_protocol::protocol::{Decodable, Encodable};
use proptest::prelude::*;

const VERSIONS: std::ops::RangeInclusive<i16> = 3..=13;

fn text(text: &'static str) -> StrBytes {
    StrBytes::from_static_str(text)
}

fn id(number: u128) -> uuid::Uuid {
    uuid::Uuid::from_u128(number)
}

fn topic_ref(version: i16, name: &'static str, number: u128) -> TopicRef {
    if version >= 13 { TopicRef::Id(TopicId(id(number))) } else { TopicRef::Name(text(name)) }
}

fn their_request() -> TheirRequest {
    let partition = |index, records: Option<&'static [u8]>| {
        PartitionProduceData::default()
            .with_index(index)
            .with_records(records.map(Bytes::from_static))
    };
    let topic = |name, number, partitions| {
        TopicProduceData::default()
            .with_name(text(name).into())
            .with_topic_id(id(number))
            .with_partition_data(partitions)
    };
    TheirRequest::default()
        .with_transactional_id(Some(text("tx").into()))
        .with_acks(-1)
        .with_timeout_ms(30_000)
        .with_topic_data(vec![
            topic("orders", 1, vec![partition(0, Some(b"batch")), partition(7, Some(b""))]),
            topic("replies", 2, vec![partition(3, None)]),
        ])
}

fn encoded(request: &TheirRequest, version: i16) -> Bytes {
    let mut body = BytesMut::new();
    request.encode(&mut body, version).unwrap();
    body.freeze()
}

#[test]
fn requests_of_every_version_are_walked() {
    for version in VERSIONS {
        let body = encoded(&their_request(), version);
        let request = ProduceRequest::decode(version, &body).unwrap();
        assert_eq!(request.transactional_id.as_deref(), Some("tx"));
        assert_eq!((request.acks, request.timeout_ms), (-1, 30_000));
        let topics: Vec<_> = request.topics.iter().map(|topic| topic.topic.clone()).collect();
        let expected = [topic_ref(version, "orders", 1), topic_ref(version, "replies", 2)];
        assert_eq!(topics, expected, "v{version}");
        let partitions: Vec<_> = request
            .topics
            .iter()
            .flat_map(|topic| &topic.partitions)
            .map(|partition| (partition.partition.0, partition.records.as_deref()))
            .collect();
        assert_eq!(partitions, [(0, Some(&b"batch"[..])), (7, Some(&b""[..])), (3, None)]);
    }
}

#[test]
fn records_are_slices_of_the_frame() {
    for version in VERSIONS {
        let body = encoded(&their_request(), version);
        let request = ProduceRequest::decode(version, &body).unwrap();
        let records = request.topics[0].partitions[0].records.as_ref().unwrap();
        assert!(body.as_ptr_range().contains(&records.as_ptr()), "v{version} copies");
    }
}

#[test]
fn counts_that_lie_are_refused() {
    // v3: no transactional id, acks, timeout, then 2^31-1 topics.
    let bomb = Bytes::from_static(&[0xff, 0xff, 0, 1, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0]);
    let Err(ProduceDecodeError::Malformed(malformed)) = ProduceRequest::decode(3, &bomb) else {
        panic!("accepted");
    };
    assert_eq!(malformed.defect, Defect::CountTooLarge { count: i32::MAX as usize, room: 0 });
}

#[test]
fn many_tiny_partitions_run_into_the_budget() {
    // v3: one topic with an empty name and a million partitions with null records: 8 MB of frame.
    let mut body = vec![0xff, 0xff, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0];
    body.extend(1_000_000_i32.to_be_bytes());
    body.extend([0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff].repeat(1_000_000));
    let Err(ProduceDecodeError::Malformed(malformed)) = ProduceRequest::decode(3, &body.into())
    else {
        panic!("accepted");
    };
    assert_eq!(malformed.defect, Defect::OverBudget { budget: 32 << 20 });
}

#[test]
fn other_versions_are_not_touched() {
    for version in [-1, 0, 2, 14, i16::MAX] {
        let refused = ProduceRequest::decode(version, &Bytes::new());
        assert_eq!(refused, Err(ProduceDecodeError::UnsupportedVersion { version }));
    }
}

fn our_response(version: i16) -> ProduceResponse {
    let mut failed = ProducePartitionResponse::failed(PartitionIndex(7), ErrorCode::INVALID_RECORD);
    failed.record_errors = vec![
        RecordError { batch_index: 2, message: Some(text("no key")) },
        RecordError { batch_index: 5, message: None },
    ];
    failed.error_message = Some(text("keys are required"));
    let mut moved =
        ProducePartitionResponse::failed(PartitionIndex(3), ErrorCode::NOT_LEADER_OR_FOLLOWER);
    moved.current_leader = Some(CurrentLeader { leader: BrokerId(4), epoch: LeaderEpoch(9) });
    let appended = ProducePartitionResponse::appended(
        PartitionIndex(0),
        Offset(1 << 40),
        Timestamp(1_700_000_000_000),
        Offset(12),
    );
    let topics = vec![
        ProduceTopicResponse {
            topic: topic_ref(version, "orders", 1),
            partitions: vec![appended, failed],
        },
        ProduceTopicResponse { topic: topic_ref(version, "replies", 2), partitions: vec![moved] },
    ];
    ProduceResponse { topics, throttle_time_ms: 250, node_endpoints: endpoints() }
}

fn endpoints() -> Vec<NodeEndpoint> {
    let endpoint = |node, host, rack| NodeEndpoint {
        node: BrokerId(node),
        host: text(host),
        port: 9092,
        rack,
    };
    vec![endpoint(4, "four.example", Some(text("zone-a"))), endpoint(5, "five.example", None)]
}

fn their_partition(index: i32, code: ErrorCode) -> theirs::PartitionProduceResponse {
    theirs::PartitionProduceResponse::default()
        .with_index(index)
        .with_error_code(code.get())
        .with_base_offset(-1)
        .with_log_append_time_ms(-1)
        .with_log_start_offset(-1)
        .with_error_message(None)
}

fn their_topics() -> Vec<theirs::TopicProduceResponse> {
    let error = |index, message| {
        theirs::BatchIndexAndErrorMessage::default()
            .with_batch_index(index)
            .with_batch_index_error_message(message)
    };
    let appended = their_partition(0, ErrorCode::NONE)
        .with_base_offset(1 << 40)
        .with_log_append_time_ms(1_700_000_000_000)
        .with_log_start_offset(12);
    let failed = their_partition(7, ErrorCode::INVALID_RECORD)
        .with_record_errors(vec![error(2, Some(text("no key"))), error(5, None)])
        .with_error_message(Some(text("keys are required")));
    let leader = theirs::LeaderIdAndEpoch::default().with_leader_id(4.into()).with_leader_epoch(9);
    let moved = their_partition(3, ErrorCode::NOT_LEADER_OR_FOLLOWER).with_current_leader(leader);
    let topic = |name, number, partitions| {
        theirs::TopicProduceResponse::default()
            .with_name(text(name).into())
            .with_topic_id(id(number))
            .with_partition_responses(partitions)
    };
    vec![topic("orders", 1, vec![appended, failed]), topic("replies", 2, vec![moved])]
}

fn their_response() -> TheirResponse {
    let endpoint = |node: i32, host, rack| {
        theirs::NodeEndpoint::default()
            .with_node_id(node.into())
            .with_host(text(host))
            .with_port(9092)
            .with_rack(rack)
    };
    TheirResponse::default()
        .with_responses(their_topics())
        .with_throttle_time_ms(250)
        .with_node_endpoints(vec![
            endpoint(4, "four.example", Some(text("zone-a"))),
            endpoint(5, "five.example", None),
        ])
}

#[test]
fn responses_are_those_of_kafka_protocol_byte_for_byte() {
    for version in VERSIONS {
        let ours = our_response(version).encode(version, 77).unwrap();
        let theirs = encode_response(ApiKey::Produce, version, 77, &their_response()).unwrap();
        assert_eq!(ours, theirs, "v{version}");
        let empty = ProduceResponse::default().encode(version, 1).unwrap();
        let their_empty =
            encode_response(ApiKey::Produce, version, 1, &TheirResponse::default()).unwrap();
        assert_eq!(empty, their_empty, "v{version}");
    }
}

#[test]
fn clients_read_what_is_written() {
    for version in VERSIONS {
        let mut frame = our_response(version).encode(version, 77).unwrap();
        let header = if version >= 9 { 4 + 4 + 1 } else { 4 + 4 };
        let mut body = frame.split_off(header);
        let read = TheirResponse::decode(&mut body, version).unwrap();
        assert!(body.is_empty(), "v{version}");
        let appended = &read.responses[0].partition_responses[0];
        assert_eq!((appended.base_offset, read.throttle_time_ms), (1 << 40, 250));
        let moved = &read.responses[1].partition_responses[0];
        let leader = if version >= 10 { 4 } else { -1 };
        assert_eq!(moved.current_leader.leader_id.0, leader, "v{version}");
    }
}

#[test]
fn a_topic_identified_the_wrong_way_is_an_error() {
    assert!(our_response(13).encode(12, 0).is_err());
    assert!(our_response(12).encode(13, 0).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_survived(
        version in VERSIONS,
        body in prop::collection::vec(any::<u8>(), 0..96),
    ) {
        let _ = ProduceRequest::decode(version, &body.into());
    }

    /// Damaged requests: whatever the walker lets through has its records inside the frame.
    #[test]
    fn damage_is_survived(
        version in VERSIONS,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut body = BytesMut::from(&encoded(&their_request(), version)[..]);
        for (at, byte) in damage {
            let at = at.index(body.len());
            body[at] = byte;
        }
        let body = body.freeze();
        let Ok(request) = ProduceRequest::decode(version, &body) else { return Ok(()) };
        let records: usize = request
            .topics
            .iter()
            .flat_map(|topic| &topic.partitions)
            .map(|partition| partition.records.as_ref().map_or(0, Bytes::len))
            .sum();
        prop_assert!(records < body.len());
    }
}
