//! Topics: creating, looking at, configuring, growing, deleting.

use antiphon_protocol::ErrorCode;
use antiphon_tests::{Batch, BrokerSetup, Kafka, TestBroker, create_topics, shared, text};
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    CreatePartitionsRequest, DescribeConfigsRequest, MetadataRequest, TopicName,
};

/// Where a setting comes from, by DescribeConfigs.
const FROM_TOPIC: i8 = 1;
const FROM_DEFAULT: i8 = 5;
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

fn create(client: &mut Kafka, name: &str, partitions: i32, configs: &[(&str, &str)]) -> ErrorCode {
    let answer = client.call(7, &create_topics(&[name], partitions, configs));
    ErrorCode(answer.topics[0].error_code)
}

#[test]
fn bad_topics_are_refused_one_by_one() {
    let _turn = shared();
    let broker = TestBroker::start("bad-topics");
    let mut client = broker.client();
    let long = "x".repeat(250);
    for name in ["", ".", "..", "a/b", "a b", "nul\0", "ümlaut", long.as_str()] {
        let refused = create(&mut client, name, 1, &[]);
        assert_eq!(refused, ErrorCode::INVALID_TOPIC_EXCEPTION, "{name:?}");
    }
    assert_eq!(create(&mut client, &"x".repeat(249), 1, &[]), ErrorCode::NONE);
    assert_eq!(create(&mut client, "zero", 0, &[]), ErrorCode::INVALID_PARTITIONS);
    assert_eq!(create(&mut client, "many", i32::MAX, &[]), ErrorCode::POLICY_VIOLATION);
    let unknown = [("no.such.setting", "1")];
    assert_eq!(create(&mut client, "c", 1, &unknown), ErrorCode::INVALID_CONFIG);
    let wrong = [("retention.ms", "soon")];
    assert_eq!(create(&mut client, "c", 1, &wrong), ErrorCode::INVALID_CONFIG);
    assert_eq!(create(&mut client, "a.b", 1, &[]), ErrorCode::NONE);
    assert_eq!(create(&mut client, "a.b", 1, &[]), ErrorCode::TOPIC_ALREADY_EXISTS);
    assert_eq!(create(&mut client, "a_b", 1, &[]), ErrorCode::INVALID_TOPIC_EXCEPTION);
}

#[test]
fn validating_only_changes_nothing() {
    let _turn = shared();
    let broker = TestBroker::start("validate-only");
    let mut client = broker.client();
    let request = create_topics(&["t"], 3, &[]).with_validate_only(true);
    let answer = client.call(7, &request);
    assert_eq!((answer.topics[0].error_code, answer.topics[0].num_partitions), (0, 3));
    let request = MetadataRequest::default().with_topics(None);
    assert!(client.call(9, &request).topics.is_empty());
}

#[test]
fn metadata_lists_all_some_or_none() {
    let _turn = shared();
    let broker = BrokerSetup::named("metadata").start();
    let mut client = broker.client();
    client.create_topic("one", 2);
    client.create_topic("two", 1);
    let count = |client: &mut Kafka, version, topics: Option<Vec<MetadataRequestTopic>>| {
        client.call(version, &MetadataRequest::default().with_topics(topics)).topics.len()
    };
    assert_eq!(count(&mut client, 0, Some(Vec::new())), 2, "version 0: an empty list is all");
    for version in 1..=12 {
        assert_eq!(count(&mut client, version, Some(Vec::new())), 0, "version {version}");
        assert_eq!(count(&mut client, version, None), 2, "version {version}");
    }
    let answer = client.call(1, &MetadataRequest::default().with_topics(None));
    assert_eq!(answer.brokers.len(), 1);
    assert_eq!(answer.brokers[0].port, i32::from(broker.address().port()));
}

#[test]
fn topics_are_created_by_asking_only_if_allowed() {
    let _turn = shared();
    let ask = |client: &mut Kafka, version: i16, allowed: bool| {
        let topic = MetadataRequestTopic::default().with_name(Some(TopicName(text("asked"))));
        let request = MetadataRequest::default()
            .with_topics(Some(vec![topic]))
            .with_allow_auto_topic_creation(allowed);
        ErrorCode(client.call(version, &request).topics[0].error_code)
    };
    let broker = BrokerSetup::named("auto-create").flag("--default-partitions", 3).start();
    let mut client = broker.client();
    assert_eq!(ask(&mut client, 9, false), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    assert_eq!(ask(&mut client, 9, true), ErrorCode::NONE);
    assert_eq!(client.topic("asked").leader_epochs.len(), 3);
    let broker = BrokerSetup::named("no-auto-create").flag("--auto-create-topics", false).start();
    assert_eq!(ask(&mut broker.client(), 9, true), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
}

#[test]
fn a_topic_created_again_is_another_topic() {
    let _turn = shared();
    let mut broker = TestBroker::start("recreate");
    let mut client = broker.client();
    client.create_topic("t", 1);
    client.produce("t", 0, &Batch::of(&["of the first"]));
    broker.restart();
    let mut client = broker.client();
    let first = client.topic("t");
    client.delete_topic("t");
    assert_eq!(client.topic("t").error, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    client.create_topic("t", 1);
    let second = client.topic("t");
    assert_ne!(second.id, first.id);
    // librdkafka and franz-go ignore metadata whose epoch went back.
    assert!(second.leader_epochs >= first.leader_epochs, "{first:?} then {second:?}");
    assert_eq!(client.end_offset("t", 0), 0);
    client.produce("t", 0, &Batch::of(&["of the second"]));
    broker.kill_9();
    broker.start_again();
    let mut client = broker.client();
    assert_eq!(client.values("t", 0), ["of the second"]);
    assert_eq!(client.topic("t").id, second.id);
    broker.restart();
    assert_eq!(broker.client().values("t", 0), ["of the second"]);
}

#[test]
fn settings_have_sources_and_survive() {
    let _turn = shared();
    let mut broker = TestBroker::start("settings");
    let mut client = broker.client();
    client.create_topic_with("t", 1, &[("cleanup.policy", "compact")]);
    let own = |value: &str| (value.to_owned(), FROM_TOPIC);
    assert_eq!(client.topic_config("t", "cleanup.policy"), own("compact"));
    assert_eq!(client.topic_config("t", "retention.ms"), ("604800000".to_owned(), FROM_DEFAULT));
    let alter = |client: &mut Kafka, name, operation, value| {
        client.alter_topic_config("t", name, operation, value)
    };
    assert_eq!(alter(&mut client, "retention.ms", SET, Some("1000")), ErrorCode::NONE);
    assert_eq!(alter(&mut client, "cleanup.policy", APPEND, Some("delete")), ErrorCode::NONE);
    assert_eq!(client.topic_config("t", "cleanup.policy"), own("compact,delete"));
    assert_eq!(alter(&mut client, "cleanup.policy", SUBTRACT, Some("compact")), ErrorCode::NONE);
    // Set to what is the default, it is still the topic's own.
    assert_eq!(client.topic_config("t", "cleanup.policy"), own("delete"));
    assert_eq!(alter(&mut client, "nonsense", SET, Some("1")), ErrorCode::INVALID_CONFIG);
    assert_eq!(alter(&mut client, "retention.ms", SET, Some("x")), ErrorCode::INVALID_CONFIG);
    let on_a_number = alter(&mut client, "retention.ms", APPEND, Some("1"));
    assert_ne!(on_a_number, ErrorCode::NONE);
    broker.kill_9();
    broker.start_again();
    let mut client = broker.client();
    assert_eq!(client.topic_config("t", "retention.ms"), own("1000"));
    assert_eq!(alter(&mut client, "retention.ms", DELETE, None), ErrorCode::NONE);
    assert_eq!(client.topic_config("t", "retention.ms").1, FROM_DEFAULT);
    let missing = client.alter_topic_config("missing", "retention.ms", SET, Some("1"));
    assert_eq!(missing, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
}

#[test]
fn the_brokers_settings_are_told() {
    let _turn = shared();
    let broker = TestBroker::start("broker-settings");
    let resource = DescribeConfigsResource::default()
        .with_resource_type(4)
        .with_resource_name(text("0"))
        .with_configuration_keys(None);
    let request = DescribeConfigsRequest::default()
        .with_resources(vec![resource])
        .with_include_synonyms(true);
    for version in 1..=4 {
        let answer = broker.client().call(version, &request);
        let result = &answer.results[0];
        assert_eq!(result.error_code, 0);
        let has = |name: &str| result.configs.iter().any(|config| config.name.as_str() == name);
        assert!(has("auto.create.topics.enable") && has("num.partitions"), "version {version}");
    }
}

#[test]
fn partitions_can_be_added_and_not_removed() {
    let _turn = shared();
    let mut broker = TestBroker::start("grow");
    let mut client = broker.client();
    client.create_topic("t", 2);
    client.produce("t", 1, &Batch::of(&["before"]));
    let grow = |client: &mut Kafka, name: &str, count: i32| {
        let topic = CreatePartitionsTopic::default()
            .with_name(TopicName(text(name)))
            .with_count(count)
            .with_assignments(None);
        let request =
            CreatePartitionsRequest::default().with_topics(vec![topic]).with_timeout_ms(30_000);
        ErrorCode(client.call(3, &request).results[0].error_code)
    };
    assert_eq!(grow(&mut client, "t", 5), ErrorCode::NONE);
    for refused in [5, 1, 0, -1] {
        assert_eq!(grow(&mut client, "t", refused), ErrorCode::INVALID_PARTITIONS, "{refused}");
    }
    assert_eq!(grow(&mut client, "none", 5), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    client.produce("t", 4, &Batch::of(&["in the new one"]));
    broker.kill_9();
    broker.start_again();
    let mut client = broker.client();
    assert_eq!(client.topic("t").leader_epochs.len(), 5);
    assert_eq!(client.values("t", 4), ["in the new one"]);
    assert_eq!(client.values("t", 1), ["before"]);
}
