//! Compacted topics, as clients see them.

use antiphon_protocol::ErrorCode;
use antiphon_records::{BatchBuilder, Compression, NewRecord};
use antiphon_tests::{BrokerSetup, Kafka, Stored, TestBroker, eventually, now_ms, shared};
use bytes::Bytes;

/// Compacts whatever is in history at every look.
const EAGER: [(&str, &str); 3] =
    [("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "0"), ("segment.ms", "1")];
const OFFSETS_TOPIC: &str = "__consumer_offsets";
const SET: i8 = 0;

fn broker(name: &str) -> TestBroker {
    let setup = BrokerSetup::named(name).with_http();
    setup.flag("--flush-interval", "0.1").flag("--compaction-interval", "0.1").start()
}

/// One batch with these keys and values; no value is a tombstone.
fn keyed(records: &[(&str, Option<&str>)], codec: Compression) -> Bytes {
    let mut builder = BatchBuilder::new().compression(codec);
    for (key, value) in records {
        let time = antiphon_common::Timestamp(now_ms());
        let (key, value) = (Some(key.as_bytes()), value.map(str::as_bytes));
        builder.push(NewRecord::new(time, key, value)).expect("a small record");
    }
    builder.build().expect("a batch").freeze()
}

fn produce(client: &mut Kafka, topic: &str, records: &[(&str, Option<&str>)]) {
    let code = client.refused(topic, 0, keyed(records, Compression::Zstd));
    assert_eq!(code, ErrorCode::NONE);
}

/// Waits until `records` more were removed than `before`.
fn await_removal(broker: &TestBroker, before: u64, records: u64) {
    eventually("compaction", || {
        let removed = broker.metric("antiphon_compaction_removed_records_total") - before;
        (removed >= records).then_some(())
    });
}

fn texts(records: &[Stored]) -> Vec<(i64, String)> {
    records.iter().map(|record| (record.offset, record.text())).collect()
}

fn owned(records: &[(i64, &str)]) -> Vec<(i64, String)> {
    records.iter().map(|(offset, text)| (*offset, (*text).to_owned())).collect()
}

#[test]
fn the_newest_value_of_each_key_stays_at_its_offset() {
    let _turn = shared();
    let mut broker = broker("compacted");
    let mut client = broker.client();
    client.create_topic_with("t", 1, &EAGER);
    produce(&mut client, "t", &[("a", Some("a1")), ("b", Some("b1")), ("c", Some("c1"))]);
    produce(&mut client, "t", &[("a", Some("a2")), ("c", None)]);
    produce(&mut client, "t", &[("a", Some("a3")), ("d", Some("d1"))]);
    await_removal(&broker, 0, 3);
    // What the tail still has in memory is served as it was produced; after a restart there is
    // nothing but history.
    broker.restart();
    let mut client = broker.client();
    let expected = owned(&[(1, "b1"), (4, ""), (5, "a3"), (6, "d1")]);
    assert_eq!(texts(&client.read_all("t", 0)), expected);
    assert_eq!((client.start_offset("t", 0), client.end_offset("t", 0)), (0, 7));
    // Offsets go on where they were, and the next round goes on where the last one ended.
    produce(&mut client, "t", &[("b", Some("b2"))]);
    await_removal(&broker, 0, 1);
    broker.restart();
    let expected = owned(&[(4, ""), (5, "a3"), (6, "d1"), (7, "b2")]);
    assert_eq!(texts(&broker.client().read_all("t", 0)), expected);
    broker.kill_9();
    broker.start_again();
    assert_eq!(texts(&broker.client().read_all("t", 0)), expected);
}

#[test]
fn tombstones_go_after_their_retention() {
    let _turn = shared();
    let mut broker = broker("tombstones");
    let mut client = broker.client();
    let settings = [&EAGER[..], &[("delete.retention.ms", "0")]].concat();
    client.create_topic_with("t", 1, &settings);
    produce(&mut client, "t", &[("a", Some("a1"))]);
    produce(&mut client, "t", &[("a", None)]);
    await_removal(&broker, 0, 1);
    // The tombstone has its horizon now; the next round takes it.
    produce(&mut client, "t", &[("b", Some("b1"))]);
    await_removal(&broker, 0, 2);
    broker.restart();
    assert_eq!(texts(&broker.client().read_all("t", 0)), owned(&[(2, "b1")]));
}

#[test]
fn compact_and_delete_does_both() {
    let _turn = shared();
    let setup = BrokerSetup::named("compact-delete").with_http();
    let setup = setup.flag("--flush-interval", "0.1").flag("--compaction-interval", "0.1");
    let broker = setup.flag("--retention-interval", "0.1").start();
    let mut client = broker.client();
    let both = [("cleanup.policy", "compact,delete"), EAGER[1], EAGER[2]];
    client.create_topic_with("t", 1, &both);
    produce(&mut client, "t", &[("a", Some("a1")), ("b", Some("b1")), ("a", Some("a2"))]);
    await_removal(&broker, 0, 1);
    let code = client.alter_topic_config("t", "retention.ms", SET, Some("1"));
    assert_eq!(code, ErrorCode::NONE);
    eventually("retention", || (client.start_offset("t", 0) == 3).then_some(()));
    assert!(client.read_all("t", 0).is_empty());
}

#[test]
fn groups_are_the_same_after_their_partition_was_compacted() {
    let _turn = shared();
    let mut broker = broker("compacted-groups");
    let mut client = broker.client();
    client.create_topic("t", 3);
    client.commit("g", "t", 0, 1);
    for (name, value) in [EAGER[1], EAGER[2]] {
        let code = client.alter_topic_config(OFFSETS_TOPIC, name, SET, Some(value));
        assert_eq!(code, ErrorCode::NONE);
    }
    for round in 1..=40 {
        (0..2).for_each(|partition| client.commit("g", "t", partition, 100 * round));
    }
    await_removal(&broker, 0, 70);
    broker.restart();
    let committed = |client: &mut Kafka| [0, 1, 2].map(|p| client.committed("g", "t", p));
    assert_eq!(committed(&mut broker.client()), [4000, 4000, -1]);
    broker.client().commit("g", "t", 2, 7);
    broker.kill_9();
    broker.start_again();
    assert_eq!(committed(&mut broker.client()), [4000, 4000, 7]);
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let _turn = shared();
    let broker = TestBroker::start("lags");
    let mut client = broker.client();
    client.create_topic_with("t", 1, &[("max.compaction.lag.ms", "1000")]);
    let alter = |client: &mut Kafka, value| {
        client.alter_topic_config("t", "min.compaction.lag.ms", SET, Some(value))
    };
    assert_eq!(alter(&mut client, "1001"), ErrorCode::INVALID_CONFIG);
    assert_eq!(alter(&mut client, "1000"), ErrorCode::NONE);
    assert_eq!(client.topic_config("t", "min.cleanable.dirty.ratio").0, "0.5");
    assert_eq!(client.topic_config("t", "delete.retention.ms").0, "86400000");
}
