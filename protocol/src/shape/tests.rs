//! The shape check against every message that its tables know.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::Request;
use proptest::prelude::*;

use super::sample::Sample;
use super::schema::{Kind, Message};
use super::*;
use crate::wire::Defect;
use crate::{Api, DecodeError, decode_request};

/// Calls `$visit::<T>()` for every request that kafka-protocol shares with the tables.
macro_rules! every_request {
    ($visit:ident) => {
        every_request! { $visit:
            ProduceRequest FetchRequest ListOffsetsRequest MetadataRequest OffsetCommitRequest
            OffsetFetchRequest FindCoordinatorRequest JoinGroupRequest HeartbeatRequest
            LeaveGroupRequest SyncGroupRequest DescribeGroupsRequest ListGroupsRequest
            SaslHandshakeRequest ApiVersionsRequest CreateTopicsRequest DeleteTopicsRequest
            DeleteRecordsRequest InitProducerIdRequest OffsetForLeaderEpochRequest
            AddPartitionsToTxnRequest AddOffsetsToTxnRequest EndTxnRequest WriteTxnMarkersRequest
            TxnOffsetCommitRequest DescribeAclsRequest CreateAclsRequest DeleteAclsRequest
            DescribeConfigsRequest AlterConfigsRequest AlterReplicaLogDirsRequest
            DescribeLogDirsRequest SaslAuthenticateRequest CreatePartitionsRequest
            CreateDelegationTokenRequest RenewDelegationTokenRequest ExpireDelegationTokenRequest
            DescribeDelegationTokenRequest DeleteGroupsRequest ElectLeadersRequest
            IncrementalAlterConfigsRequest AlterPartitionReassignmentsRequest
            ListPartitionReassignmentsRequest OffsetDeleteRequest DescribeClientQuotasRequest
            AlterClientQuotasRequest DescribeUserScramCredentialsRequest
            AlterUserScramCredentialsRequest DescribeQuorumRequest UpdateFeaturesRequest
            DescribeClusterRequest DescribeProducersRequest UnregisterBrokerRequest
            DescribeTransactionsRequest ListTransactionsRequest ConsumerGroupHeartbeatRequest
            ConsumerGroupDescribeRequest GetTelemetrySubscriptionsRequest PushTelemetryRequest
            ListConfigResourcesRequest DescribeTopicPartitionsRequest ShareGroupHeartbeatRequest
            ShareGroupDescribeRequest ShareFetchRequest ShareAcknowledgeRequest
            AddRaftVoterRequest RemoveRaftVoterRequest InitializeShareGroupStateRequest
            ReadShareGroupStateRequest WriteShareGroupStateRequest DeleteShareGroupStateRequest
            ReadShareGroupStateSummaryRequest DescribeShareGroupOffsetsRequest
            AlterShareGroupOffsetsRequest DeleteShareGroupOffsetsRequest
        }
    };
    ($visit:ident: $($request:ident)*) => {
        vec![$($visit::<$request>(),)*]
    };
}

/// What the tests need to know of a request type.
struct Known {
    api_key: i16,
    versions: (i16, i16),
    decode: fn(i16, Bytes) -> Result<(), DecodeError>,
    default: fn(i16) -> Option<Bytes>,
}

fn known<T: Request + Default>() -> Known {
    Known {
        api_key: T::KEY,
        versions: (T::VERSIONS.min, T::VERSIONS.max),
        decode: |version, body| decode_request::<T>(version, body).map(drop),
        default: |version| {
            let mut buffer = BytesMut::new();
            T::default().encode(&mut buffer, version).ok()?;
            Some(buffer.freeze())
        },
    }
}

fn message_of(api_key: i16) -> &'static Message {
    tables::REQUESTS.iter().find(|message| message.api_key == api_key).unwrap()
}

#[test]
fn the_tables_cover_what_the_decoder_decodes() {
    let known = every_request!(known);
    let keys: Vec<i16> = known.iter().map(|known| known.api_key).collect();
    let tables: Vec<i16> = tables::REQUESTS.iter().map(|message| message.api_key).collect();
    assert_eq!(keys, tables);
    for (known, message) in known.iter().zip(tables::REQUESTS) {
        assert_eq!(known.versions, (message.min, message.max), "{}", message.name);
        let api = Api::find(message.api_key).unwrap();
        for version in message.min..=message.max {
            let flexible = message.layout(version).unwrap().flexible;
            assert_eq!(flexible, api.is_flexible(version), "{} v{version}", message.name);
        }
    }
}

/// Every field of every version: if the tables had one too many, too few or of a wrong size, either
/// the check or the decoder would stumble over the body, or bytes would be left.
#[test]
fn a_body_with_everything_in_it_passes_and_decodes() {
    for known in every_request!(known) {
        let message = message_of(known.api_key);
        for version in message.min..=message.max {
            let sample = Sample::of(message, message.layout(version).unwrap());
            let label = format!("{} v{version}", message.name);
            let report = check_request(known.api_key, version, &sample.body).expect(&label);
            assert_eq!((report.elements, report.trailing_bytes), (sample.counts.len(), 0));
            (known.decode)(version, sample.body.clone().into()).expect(&label);
            for length in 0..sample.body.len() {
                let cut = check_request(known.api_key, version, &sample.body[..length]);
                assert!(cut.is_err(), "{label} cut at {length}");
            }
        }
    }
}

#[test]
fn every_default_request_passes() {
    let mut passed = 0;
    for known in every_request!(known) {
        for version in known.versions.0..=known.versions.1 {
            let Some(body) = (known.default)(version) else { continue };
            let report = check_request(known.api_key, version, &body);
            assert_eq!(report.map(|report| report.trailing_bytes), Ok(0), "{}", known.api_key);
            passed += 1;
        }
    }
    assert!(passed > 200, "{passed}");
}

#[test]
fn a_bomb_in_any_array_of_any_version_is_refused() {
    let mut bombs = 0;
    for message in tables::REQUESTS {
        for version in message.min..=message.max {
            let layout = message.layout(version).unwrap();
            let sample = Sample::of(message, message.layout(version).unwrap());
            for at in &sample.counts {
                let bomb = sample.bomb(*at, layout.flexible);
                let refused = check_request(message.api_key, version, &bomb).unwrap_err();
                let ShapeError::Malformed { source, .. } = refused else { panic!("{refused}") };
                assert!(
                    matches!(source.defect, Defect::CountTooLarge { count, .. } if count > 1 << 29),
                    "{} v{version} at {at}: {source}",
                    message.name
                );
                bombs += 1;
            }
        }
    }
    assert!(bombs > 350, "{bombs}");
}

#[test]
fn large_but_honest_counts_run_into_the_budget() {
    // Metadata v0: an array of a million empty strings takes 2 MB and decodes to 72 MB.
    let mut body = 1_000_000_i32.to_be_bytes().to_vec();
    body.resize(4 + 2_000_000, 0);
    let error = check_request(3, 0, &body).unwrap_err();
    let expected = "malformed Metadata version 0 in Topics: at byte 4: \
                    the decoded request would exceed 33554432 bytes";
    assert_eq!(error.to_string(), expected);
    let report = check_request_within(3, 0, &body, 1 << 30).unwrap();
    assert_eq!((report.elements, report.decoded_bytes), (1_000_000, 72_000_000));
}

#[test]
fn bytes_after_the_end_are_counted_and_allowed() {
    let report = check_request(12, 0, &[0, 0, 0, 0, 0, 0, 0, 0, 9, 9]).unwrap();
    assert_eq!(report.trailing_bytes, 2);
}

#[test]
fn unknown_apis_and_versions_have_no_shape() {
    for (api_key, version) in [(4, 0), (-1, 0), (3, 14), (3, -1), (52, 0)] {
        let refused = check_request(api_key, version, &[]);
        assert_eq!(refused, Err(ShapeError::Unknown { api_key, version }));
    }
}

#[test]
fn a_nullable_struct_is_marked_with_1_or_minus_1() {
    // DescribeTopicPartitions v0: no topics, limit 0, cursor.
    let body = |marker: u8| [1, 0, 0, 0, 0, marker, 0];
    assert!(check_request(75, 0, &body(0xff)).is_ok());
    let refused = check_request(75, 0, &body(0)).unwrap_err();
    assert!(
        refused.to_string().ends_with("in Cursor: at byte 5: a nullable struct is marked with 0")
    );
}

/// The weights of the tables are the sizes of the decoded types.
#[test]
fn weights_are_the_sizes_of_the_decoded_types() {
    let weights = [
        ("Metadata", "Topics", size_of::<metadata_request::MetadataRequestTopic>()),
        ("Fetch", "Topics", size_of::<fetch_request::FetchTopic>()),
        ("Produce", "TopicData", size_of::<produce_request::TopicProduceData>()),
        ("CreateTopics", "Topics", size_of::<create_topics_request::CreatableTopic>()),
        ("JoinGroup", "Protocols", size_of::<join_group_request::JoinGroupRequestProtocol>()),
        ("OffsetCommit", "Topics", size_of::<offset_commit_request::OffsetCommitRequestTopic>()),
        ("OffsetFetch", "Groups", size_of::<offset_fetch_request::OffsetFetchRequestGroup>()),
        ("CreateAcls", "Creations", size_of::<create_acls_request::AclCreation>()),
        ("AlterConfigs", "Resources", size_of::<alter_configs_request::AlterConfigsResource>()),
        ("DescribeGroups", "Groups", size_of::<GroupId>()),
        ("ShareFetch", "Topics", size_of::<share_fetch_request::FetchTopic>()),
    ];
    for (name, array, size) in weights {
        let message = tables::REQUESTS.iter().find(|message| message.name == name).unwrap();
        let field = message.fields.iter().find(|field| field.name == array).unwrap();
        let Kind::Array(_, weight) = field.kind else { panic!("{name}.{array} is no array") };
        assert_eq!(weight, size, "{name}.{array}");
    }
}

/// A request, a version it has, and a full body of that version.
fn sampled() -> impl Strategy<Value = (usize, i16, Vec<u8>)> {
    (0..tables::REQUESTS.len()).prop_flat_map(|index| {
        let message = &tables::REQUESTS[index];
        (message.min..=message.max).prop_map(move |version| {
            (index, version, Sample::of(message, message.layout(version).unwrap()).body)
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_096))]

    #[test]
    fn any_bytes_are_survived(
        (index, version, _) in sampled(),
        body in prop::collection::vec(any::<u8>(), 0..96),
    ) {
        let known = &every_request!(known)[index];
        let _ = (known.decode)(version, body.into());
    }

    /// Damaged bodies get further than noise does. What the check lets through goes to the decoder,
    /// which must come back.
    #[test]
    fn damaged_bodies_are_survived(
        (index, version, mut body) in sampled(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        for (at, byte) in damage {
            if !body.is_empty() {
                let at = at.index(body.len());
                body[at] = byte;
            }
        }
        let known = &every_request!(known)[index];
        let _ = (known.decode)(version, body.into());
    }
}
