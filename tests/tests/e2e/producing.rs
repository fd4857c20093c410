//! Produce: acks, versions, codecs, timestamps.

use std::time::Duration;

use antiphon_protocol::ErrorCode;
use antiphon_records::Compression;
use antiphon_tests::{
    Batch, BrokerSetup, Reaction, TestBroker, eventually, now_ms, produce_request, shared,
};
use kafka_protocol::messages::TopicName;

const QUIET: Duration = Duration::from_millis(200);

#[test]
fn without_acks_there_is_no_answer() {
    let _turn = shared();
    let setup = BrokerSetup::named("acks-0").expect_log("Produce with acks=0");
    let broker = setup.start();
    broker.client().create_topic("t", 1);
    let mut raw = broker.raw();
    raw.send(9, &produce_request("t", 0, Batch::of(&["silent"]).bytes(), 0)).expect("sent");
    assert_eq!(raw.reaction_within(QUIET), Reaction::Nothing);
    eventually("the record", || (broker.client().values("t", 0) == ["silent"]).then_some(()));
    // The only way to say that something failed.
    raw.send(9, &produce_request("missing", 0, Batch::of(&["lost"]).bytes(), 0)).expect("sent");
    assert_eq!(raw.reaction_within(Duration::from_secs(5)), Reaction::Closed);
}

#[test]
fn acks_are_minus_one_zero_or_one() {
    let _turn = shared();
    let broker = TestBroker::start("acks");
    let mut client = broker.client();
    client.create_topic("t", 1);
    for (acks, code) in [
        (-1, ErrorCode::NONE),
        (1, ErrorCode::NONE),
        (2, ErrorCode::INVALID_REQUIRED_ACKS),
        (-2, ErrorCode::INVALID_REQUIRED_ACKS),
    ] {
        let answer = client.call(9, &produce_request("t", 0, Batch::of(&["a"]).bytes(), acks));
        let found = answer.responses[0].partition_responses[0].error_code;
        assert_eq!(ErrorCode(found), code, "acks={acks}");
    }
    assert_eq!(client.end_offset("t", 0), 2);
}

#[test]
fn every_version_and_codec_is_stored_and_read() {
    let _turn = shared();
    let mut broker = TestBroker::start("produce-versions");
    let mut client = broker.client();
    client.create_topic("t", 1);
    let id = client.topic("t").id;
    let codecs = [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ];
    let mut expected = Vec::new();
    for version in 3..=13 {
        for codec in codecs {
            let value = format!("v{version} {codec:?}");
            let batch = Batch::of(&[&value]).compressed(codec).bytes();
            let mut request = produce_request("t", 0, batch, -1);
            if version >= 13 {
                request.topic_data[0].name = TopicName::default();
                request.topic_data[0].topic_id = id;
            }
            let answer = client.call(version, &request);
            let partition = &answer.responses[0].partition_responses[0];
            if codec == Compression::Zstd && version < 7 {
                let refused = ErrorCode::UNSUPPORTED_COMPRESSION_TYPE;
                assert_eq!(ErrorCode(partition.error_code), refused, "version {version}");
                continue;
            }
            assert_eq!((partition.error_code, partition.base_offset), (0, expected.len() as i64));
            expected.push(value);
        }
    }
    assert_eq!(client.values("t", 0), expected);
    broker.restart();
    assert_eq!(broker.client().values("t", 0), expected);
}

#[test]
fn produces_in_a_pipeline_are_answered_in_order() {
    let _turn = shared();
    let broker = TestBroker::start("pipeline");
    let mut client = broker.client();
    client.create_topic("t", 1);
    let producer = client.init_producer();
    let mut raw = broker.raw();
    let ids: Vec<i32> = (0..50)
        .map(|number| {
            let batch = Batch::of(&[&format!("{number}")]).by(producer, number);
            let request = produce_request("t", 0, batch.bytes(), -1);
            raw.send(9, &request).expect("sent")
        })
        .collect();
    for (id, offset) in ids.into_iter().zip(0..) {
        let answer = raw.receive::<kafka_protocol::messages::ProduceRequest>(9, id);
        let answer = answer.expect("an answer in order");
        let partition = &answer.responses[0].partition_responses[0];
        assert_eq!((partition.error_code, partition.base_offset), (0, offset));
    }
}

#[test]
fn the_brokers_clock_counts_where_the_topic_says_so() {
    let _turn = shared();
    let broker = TestBroker::start("append-time");
    let mut client = broker.client();
    let config = [("message.timestamp.type", "LogAppendTime")];
    client.create_topic_with("t", 1, &config);
    let before = now_ms();
    let batch = Batch::of(&["a", "b"]).at(1_000, 1).bytes();
    let answer = client.call(9, &produce_request("t", 0, batch, -1));
    let stamped = answer.responses[0].partition_responses[0].log_append_time_ms;
    assert!((before..=now_ms()).contains(&stamped), "{stamped}");
    // The CRC was computed anew; reading verifies it.
    assert_eq!(client.read_all("t", 0).len(), 2);
    assert_eq!(client.offset_at("t", 0, before).0, 0);
}

#[test]
fn limits_of_a_topic_hold() {
    let _turn = shared();
    let broker = TestBroker::start("limits");
    let mut client = broker.client();
    client.create_topic_with("small", 1, &[("max.message.bytes", "1000")]);
    let large = Batch::of_size(2_000).bytes();
    assert_eq!(client.refused("small", 0, large), ErrorCode::MESSAGE_TOO_LARGE);
    client.create_topic_with("keyed", 1, &[("cleanup.policy", "compact")]);
    let keyless = Batch::of_size(10).bytes();
    assert_eq!(client.refused("keyed", 0, keyless), ErrorCode::INVALID_RECORD);
    client.produce("keyed", 0, &Batch::of(&["key"]));
    client.create_topic("timely", 1);
    let tomorrow = Batch::of(&["early"]).at(now_ms() + 86_400_000, 0).bytes();
    assert_eq!(client.refused("timely", 0, tomorrow), ErrorCode::INVALID_TIMESTAMP);
    assert_eq!((client.end_offset("small", 0), client.end_offset("timely", 0)), (0, 0));
}
