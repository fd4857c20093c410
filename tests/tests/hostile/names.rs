//! Free text that clients choose, numbers that ask for too much.

use antiphon_protocol::ErrorCode;
use antiphon_tests::{Batch, Fetch, create_topics, fetch_request, shared, text};
use kafka_protocol::messages::fetch_request::FetchPartition;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{MetadataRequest, TopicName};

use crate::siege::Siege;

#[test]
fn topic_names_never_become_paths() {
    let _turn = shared();
    let mut siege = Siege::begin("paths");
    let before = files(&siege);
    let long = "y".repeat(30_000);
    for name in ["..", ".", "../../etc/passwd", "a/../../b", "nul\0byte", "\u{202e}evil", &long] {
        let mut client = siege.broker.client();
        let answer = client.call(5, &create_topics(&[name], 1, &[]));
        let code = ErrorCode(answer.topics[0].error_code);
        assert_eq!(code, ErrorCode::INVALID_TOPIC_EXCEPTION, "{name:?}");
        let topic = MetadataRequestTopic::default().with_name(Some(TopicName(text(name))));
        let answer = client.call(9, &MetadataRequest::default().with_topics(Some(vec![topic])));
        assert_eq!(ErrorCode(answer.topics[0].error_code), code, "{name:?}");
    }
    assert_eq!(files(&siege), before, "files beside the data folder");
    siege.survived("topic names");
}

/// What stands beside the data folder.
fn files(siege: &Siege) -> usize {
    std::fs::read_dir(siege.broker.folder()).expect("the folder").count()
}

#[test]
fn group_names_are_free_text() {
    let _turn = shared();
    let mut siege = Siege::begin("group-names");
    let before = files(&siege);
    let long = "g".repeat(20_000);
    for (name, offset) in ["../../x", "a\u{0}b", "ünï/cödé", " ", &long].into_iter().zip(1..) {
        let mut client = siege.broker.client();
        client.commit(name, "t", 0, offset);
        assert_eq!(client.committed(name, "t", 0), offset, "{name:?}");
    }
    assert_eq!(files(&siege), before);
    siege.survived("group names");
}

#[test]
fn requests_that_ask_for_too_much() {
    let _turn = shared();
    let mut siege = Siege::begin("too-much");
    let mut client = siege.broker.client();
    let answer = client.call(5, &create_topics(&["huge"], i32::MAX, &[]));
    assert_ne!(answer.topics[0].error_code, 0);
    let names: Vec<String> = (0..200).map(|number| format!("n{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let answer = client.call(5, &create_topics(&names, 20_000, &[]));
    assert!(answer.topics.iter().any(|topic| topic.error_code != 0), "four million partitions");
    // A hundred thousand times the same partition, each with 50 MiB.
    client.produce("t", 0, &Batch::of_size(500_000));
    let mut request = fetch_request("t", &[], Fetch { max_bytes: i32::MAX, ..Fetch::default() });
    let partition = FetchPartition::default()
        .with_partition_max_bytes(i32::MAX)
        .with_current_leader_epoch(-1)
        .with_last_fetched_epoch(-1);
    request.topics[0].partitions = vec![partition; 100_000];
    // Refusing it is as good as answering within the limits.
    if let Ok(answer) = client.raw().call(12, &request) {
        let partitions = answer.responses.iter().flat_map(|topic| &topic.partitions);
        let bytes: usize =
            partitions.filter_map(|found| found.records.as_ref()).map(|r| r.len()).sum();
        assert!(bytes <= 60 << 20, "{bytes} bytes in one answer");
    }
    drop(client);
    siege.survived("requests that ask for too much");
}
