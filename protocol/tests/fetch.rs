//! Fetch, version by version, against kafka-protocol's own encoder and decoder.

use antiphon_common::{BrokerId, LeaderEpoch, Offset, PartitionIndex, TopicId};
use antiphon_protocol::{
    AbortedTransaction, ApiKey, CurrentLeader, Defect, DivergingEpoch, ErrorCode, FetchDecodeError,
    FetchPartitionResponse, FetchRequest, FetchResponse, FetchTopicResponse, NodeEndpoint,
    SnapshotId, StrBytes, TopicRef, encode_response,
};
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::fetch_request as their_request;
use kafka_protocol::messages::fetch_response as theirs;
use kafka_protocol::messages::{FetchRequest as TheirRequest, FetchResponse as TheirResponse};
use kafka_protocol::protocol::{Decodable, Encodable};
use proptest::prelude::*;

const VERSIONS: std::ops::RangeInclusive<i16> = 4..=18;

fn text(text: &'static str) -> StrBytes {
    StrBytes::from_static_str(text)
}

fn id(number: u128) -> uuid::Uuid {
    uuid::Uuid::from_u128(number)
}

fn topic_ref(version: i16, name: &'static str, number: u128) -> TopicRef {
    if version >= 13 { TopicRef::Id(TopicId(id(number))) } else { TopicRef::Name(text(name)) }
}

/// A request that sets every field the version has; fields that may not be set are left alone.
fn their_request(version: i16) -> TheirRequest {
    let mut partition = their_request::FetchPartition::default()
        .with_partition(5)
        .with_current_leader_epoch(8)
        .with_fetch_offset(1 << 40)
        .with_log_start_offset(3)
        .with_partition_max_bytes(1 << 20)
        .with_replica_directory_id(id(9))
        .with_high_watermark(77);
    if version >= 12 {
        partition = partition.with_last_fetched_epoch(6);
    }
    let topic = their_request::FetchTopic::default()
        .with_topic(text("orders").into())
        .with_topic_id(id(1))
        .with_partitions(vec![partition]);
    let mut request = TheirRequest::default()
        .with_cluster_id(Some(text("cluster")))
        .with_max_wait_ms(500)
        .with_min_bytes(1)
        .with_max_bytes(50 << 20)
        .with_isolation_level(1)
        .with_session_id(321)
        .with_session_epoch(4)
        .with_topics(vec![topic])
        .with_rack_id(text("zone-a"));
    if version >= 7 {
        let forgotten = their_request::ForgottenTopic::default()
            .with_topic(text("replies").into())
            .with_topic_id(id(2))
            .with_partitions(vec![1, 2]);
        request = request.with_forgotten_topics_data(vec![forgotten]);
    }
    if version >= 15 {
        let state = their_request::ReplicaState::default().with_replica_id(3.into());
        return request.with_replica_state(state.with_replica_epoch(2));
    }
    request.with_replica_id(3.into())
}

fn encoded(request: &TheirRequest, version: i16) -> Bytes {
    let mut body = BytesMut::new();
    request.encode(&mut body, version).unwrap();
    body.freeze()
}

#[test]
fn requests_of_every_version_are_read() {
    for version in VERSIONS {
        let body = encoded(&their_request(version), version);
        let request = FetchRequest::decode(version, &body).unwrap();
        assert_eq!(request.replica_id, BrokerId(3), "v{version}");
        assert_eq!((request.max_wait_ms, request.min_bytes), (500, 1));
        assert_eq!((request.max_bytes, request.isolation_level), (50 << 20, 1));
        let session = if version >= 7 { (321, 4) } else { (0, -1) };
        assert_eq!((request.session_id, request.session_epoch), session, "v{version}");
        assert_eq!(&*request.rack_id, if version >= 11 { "zone-a" } else { "" });
        assert_eq!(request.topics[0].topic, topic_ref(version, "orders", 1));
        let partition = request.topics[0].partitions[0];
        assert_eq!((partition.partition, partition.max_bytes), (PartitionIndex(5), 1 << 20));
        assert_eq!(partition.fetch_offset, Offset(1 << 40));
        let since = |first, value| if version >= first { value } else { -1 };
        assert_eq!(partition.current_leader_epoch, LeaderEpoch(since(9, 8)), "v{version}");
        assert_eq!(partition.last_fetched_epoch, LeaderEpoch(since(12, 6)), "v{version}");
        let log_start_offset = if version >= 5 { 3 } else { -1 };
        assert_eq!(partition.log_start_offset, Offset(log_start_offset), "v{version}");
    }
}

#[test]
fn forgotten_topics_are_read() {
    for version in VERSIONS {
        let body = encoded(&their_request(version), version);
        let forgotten = FetchRequest::decode(version, &body).unwrap().forgotten_topics;
        if version < 7 {
            assert_eq!(forgotten, []);
            continue;
        }
        assert_eq!(forgotten[0].topic, topic_ref(version, "replies", 2), "v{version}");
        assert_eq!(forgotten[0].partitions, [PartitionIndex(1), PartitionIndex(2)]);
    }
}

#[test]
fn counts_that_lie_are_refused() {
    let mut bomb = vec![0; 4 + 4 + 4 + 4 + 1];
    bomb.extend([0x7f, 0xff, 0xff, 0xff]);
    let refused = FetchRequest::decode(4, &bomb.into());
    let Err(FetchDecodeError::Malformed(malformed)) = refused else { panic!("accepted") };
    assert_eq!(malformed.defect, Defect::CountTooLarge { count: i32::MAX as usize, room: 0 });
}

#[test]
fn other_versions_are_not_touched() {
    for version in [-1, 3, 19] {
        let refused = FetchRequest::decode(version, &Bytes::new());
        assert_eq!(refused, Err(FetchDecodeError::UnsupportedVersion { version }));
    }
}

fn partition(index: i32, records: Vec<Bytes>) -> FetchPartitionResponse {
    FetchPartitionResponse {
        high_watermark: Offset(90),
        last_stable_offset: Offset(80),
        log_start_offset: Offset(10),
        records,
        ..FetchPartitionResponse::failed(PartitionIndex(index), ErrorCode::NONE)
    }
}

/// Two batches; none; and an error with every hint.
fn our_response(version: i16, batches: &[Bytes]) -> FetchResponse {
    let mut committed = partition(0, batches.to_vec());
    let aborted = AbortedTransaction { producer_id: 33, first_offset: Offset(70) };
    committed.aborted_transactions = Some(vec![aborted]);
    let mut moved =
        FetchPartitionResponse::failed(PartitionIndex(2), ErrorCode::NOT_LEADER_OR_FOLLOWER);
    moved.diverging_epoch = Some(DivergingEpoch { epoch: LeaderEpoch(3), end_offset: Offset(44) });
    moved.current_leader = Some(CurrentLeader { leader: BrokerId(4), epoch: LeaderEpoch(9) });
    moved.snapshot_id = Some(SnapshotId { end_offset: Offset(55), epoch: LeaderEpoch(2) });
    moved.preferred_read_replica = (version >= 11).then_some(BrokerId(6));
    let endpoint =
        NodeEndpoint { node: BrokerId(4), host: text("four.example"), port: 9092, rack: None };
    FetchResponse {
        throttle_time_ms: 250,
        error_code: ErrorCode::NONE,
        session_id: if version >= 7 { 321 } else { 0 },
        topics: vec![
            FetchTopicResponse {
                topic: topic_ref(version, "orders", 1),
                partitions: vec![committed, partition(1, Vec::new())],
            },
            FetchTopicResponse {
                topic: topic_ref(version, "replies", 2),
                partitions: vec![moved, partition(3, batches.to_vec())],
            },
        ],
        node_endpoints: vec![endpoint],
    }
}

fn their_partition(index: i32, records: &[Bytes]) -> theirs::PartitionData {
    theirs::PartitionData::default()
        .with_partition_index(index)
        .with_high_watermark(90)
        .with_last_stable_offset(80)
        .with_log_start_offset(10)
        .with_aborted_transactions(None)
        .with_preferred_read_replica((-1).into())
        .with_records(Some(records.concat().into()))
}

fn their_moved(version: i16) -> theirs::PartitionData {
    let leader = theirs::LeaderIdAndEpoch::default().with_leader_id(4.into()).with_leader_epoch(9);
    their_partition(2, &[])
        .with_error_code(ErrorCode::NOT_LEADER_OR_FOLLOWER.get())
        .with_high_watermark(-1)
        .with_last_stable_offset(-1)
        .with_log_start_offset(-1)
        .with_diverging_epoch(theirs::EpochEndOffset::default().with_epoch(3).with_end_offset(44))
        .with_current_leader(leader)
        .with_snapshot_id(theirs::SnapshotId::default().with_end_offset(55).with_epoch(2))
        .with_preferred_read_replica(if version >= 11 { 6 } else { -1 }.into())
}

fn their_response(version: i16, batches: &[Bytes]) -> TheirResponse {
    let aborted =
        theirs::AbortedTransaction::default().with_producer_id(33.into()).with_first_offset(70);
    let committed = their_partition(0, batches).with_aborted_transactions(Some(vec![aborted]));
    let topic = |name, number, partitions| {
        theirs::FetchableTopicResponse::default()
            .with_topic(text(name).into())
            .with_topic_id(id(number))
            .with_partitions(partitions)
    };
    let endpoint = theirs::NodeEndpoint::default()
        .with_node_id(4.into())
        .with_host(text("four.example"))
        .with_port(9092)
        .with_rack(None);
    TheirResponse::default()
        .with_throttle_time_ms(250)
        .with_session_id(if version >= 7 { 321 } else { 0 })
        .with_responses(vec![
            topic("orders", 1, vec![committed, their_partition(1, &[])]),
            topic("replies", 2, vec![their_moved(version), their_partition(3, batches)]),
        ])
        .with_node_endpoints(vec![endpoint])
}

fn batches() -> [Bytes; 2] {
    [Bytes::from(vec![1; 100]), Bytes::from(vec![2; 300])]
}

#[test]
fn responses_are_those_of_kafka_protocol_byte_for_byte() {
    for version in VERSIONS {
        let rope = our_response(version, &batches()).encode(version, 77).unwrap();
        let ours: Vec<u8> = rope.iter().flatten().copied().collect();
        let theirs = their_response(version, &batches());
        let theirs = encode_response(ApiKey::Fetch, version, 77, &theirs).unwrap();
        assert_eq!(ours, theirs, "v{version}");
    }
}

#[test]
fn an_empty_response_is_one_segment() {
    for version in VERSIONS {
        let rope = FetchResponse::default().encode(version, 1).unwrap();
        let theirs = encode_response(ApiKey::Fetch, version, 1, &TheirResponse::default());
        assert_eq!(rope, [theirs.unwrap()], "v{version}");
    }
}

#[test]
fn clients_read_what_is_written() {
    for version in VERSIONS {
        let rope = our_response(version, &batches()).encode(version, 77).unwrap();
        let frame: Vec<u8> = rope.iter().flatten().copied().collect();
        let header = if version >= 12 { 4 + 4 + 1 } else { 4 + 4 };
        let mut body = Bytes::from(frame).split_off(header);
        let read = TheirResponse::decode(&mut body, version).unwrap();
        assert!(body.is_empty(), "v{version}");
        let [first, second] = &read.responses[0].partitions[..] else { panic!("v{version}") };
        assert_eq!(first.records.as_deref(), Some(&batches().concat()[..]));
        assert_eq!(second.records.as_deref(), Some(&b""[..]), "empty, not null");
        assert_eq!(second.aborted_transactions, None);
        let moved = &read.responses[1].partitions[0];
        let leader = if version >= 12 { 4 } else { -1 };
        assert_eq!(moved.current_leader.leader_id.0, leader, "v{version}");
    }
}

#[test]
fn records_are_never_copied() {
    for version in VERSIONS {
        let batches = batches();
        let rope = our_response(version, &batches).encode(version, 77).unwrap();
        // Metadata, two batches, metadata, the same two batches, metadata; the last only if there
        // are tags behind the records.
        assert_eq!(rope.len(), if version >= 12 { 7 } else { 6 }, "v{version}");
        for (at, batch) in [(1, 0), (2, 1), (4, 0), (5, 1)] {
            assert_eq!(rope[at].as_ptr(), batches[batch].as_ptr(), "v{version}");
        }
    }
}

#[test]
fn a_topic_identified_the_wrong_way_is_an_error() {
    assert!(our_response(13, &[]).encode(12, 0).is_err());
    assert!(our_response(12, &[]).encode(13, 0).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_survived(
        version in VERSIONS,
        body in prop::collection::vec(any::<u8>(), 0..96),
    ) {
        let _ = FetchRequest::decode(version, &body.into());
    }

    /// What we accept of a damaged request, kafka-protocol reads the same way.
    #[test]
    fn damage_is_survived(
        version in VERSIONS,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut body = BytesMut::from(&encoded(&their_request(version), version)[..]);
        for (at, byte) in damage {
            let at = at.index(body.len());
            body[at] = byte;
        }
        let body = body.freeze();
        let Ok(ours) = FetchRequest::decode(version, &body) else { return Ok(()) };
        let Ok(theirs) = TheirRequest::decode(&mut body.clone(), version) else { return Ok(()) };
        prop_assert_eq!(ours.session_epoch, theirs.session_epoch);
        prop_assert_eq!(ours.topics.len(), theirs.topics.len());
        prop_assert_eq!(ours.forgotten_topics.len(), theirs.forgotten_topics_data.len());
    }

    #[test]
    fn the_size_prefix_is_the_length_of_the_rope(
        version in VERSIONS,
        lengths in prop::collection::vec(0_usize..2_000, 0..5),
    ) {
        let batches: Vec<Bytes> = lengths.iter().map(|length| vec![0; *length].into()).collect();
        let rope = our_response(version, &batches).encode(version, 7).unwrap();
        let frame: Vec<u8> = rope.iter().flatten().copied().collect();
        let prefix = i32::from_be_bytes(*frame.first_chunk().unwrap());
        prop_assert_eq!(prefix as usize, frame.len() - 4);
        prop_assert!(rope.iter().all(|segment| !segment.is_empty()));
    }
}
