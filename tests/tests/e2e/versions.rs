//! Every version of every API is answered with what that version says, and nothing more: the client
//! decodes each answer to its last byte.

use antiphon_protocol::Api;
use antiphon_tests::{Kafka, TestBroker, shared};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::Request;

/// Sends the emptiest request there is in every version and returns the API's key.
fn in_every_version<R: Request + Default>(client: &mut Kafka) -> i16 {
    let api = Api::find(R::KEY).expect("an API of the broker listener");
    for version in (api.min..=api.max).filter(|version| api.serves(*version)) {
        let answer = client.raw().call(version, &R::default());
        assert!(answer.is_ok(), "{} v{version}: {:?}", api.name, answer.err());
    }
    R::KEY
}

macro_rules! every_request {
    ($client:ident: $($request:ident)*) => {
        vec![$(in_every_version::<$request>(&mut $client),)*]
    };
}

#[test]
fn the_emptiest_requests_are_answered_in_their_version() {
    let _turn = shared();
    let broker = TestBroker::start("versions");
    let mut client = broker.client();
    client.create_topic("t", 3);
    client.commit("group", "t", 0, 1);
    let asked = every_request! { client:
        ListOffsetsRequest MetadataRequest OffsetCommitRequest OffsetFetchRequest
        FindCoordinatorRequest JoinGroupRequest HeartbeatRequest LeaveGroupRequest SyncGroupRequest
        DescribeGroupsRequest ListGroupsRequest ApiVersionsRequest CreateTopicsRequest
        DeleteTopicsRequest DeleteRecordsRequest InitProducerIdRequest OffsetForLeaderEpochRequest
        DescribeConfigsRequest AlterConfigsRequest DescribeLogDirsRequest CreatePartitionsRequest
        DeleteGroupsRequest IncrementalAlterConfigsRequest ListPartitionReassignmentsRequest
        OffsetDeleteRequest DescribeClusterRequest DescribeTopicPartitionsRequest
    };
    // Produce and Fetch have tests of their own; whatever else is served must be listed above.
    let served: Vec<i16> = Api::served().map(|api| api.key as i16).filter(|key| *key > 1).collect();
    assert_eq!(asked, served);
}

#[test]
fn what_is_advertised_is_what_is_served() {
    let _turn = shared();
    let broker = TestBroker::start("advertised");
    let mut client = broker.client();
    for version in 0..=4 {
        let answer = client.call(version, &api_versions_request());
        let found: Vec<_> = answer
            .api_keys
            .iter()
            .map(|api| (api.api_key, api.min_version, api.max_version))
            .collect();
        let expected: Vec<_> =
            Api::served().map(|api| (api.key as i16, api.min, api.max)).collect();
        assert_eq!(found, expected, "version {version}");
        assert_eq!(answer.error_code, 0, "version {version}");
    }
}

fn api_versions_request() -> ApiVersionsRequest {
    ApiVersionsRequest::default()
        .with_client_software_name(antiphon_tests::text("antiphon-tests"))
        .with_client_software_version(antiphon_tests::text("1.0"))
}
