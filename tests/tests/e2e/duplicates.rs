//! Batches that are sent twice are stored once (KIP-98), whatever happened in between.

use antiphon_protocol::ErrorCode;
use antiphon_tests::{Batch, BrokerSetup, Kafka, Producer, TestBroker, shared};
use bytes::Bytes;

const TOPIC: &str = "once";

/// Six batches of two records each, in sequence; their bytes and offsets.
fn six_batches(client: &mut Kafka, producer: Producer) -> Vec<(Bytes, i64)> {
    let send = |number: i32| {
        let values = [format!("{number}a"), format!("{number}b")];
        let batch = Batch::of(&[&values[0], &values[1]]).by(producer, number * 2);
        (batch.bytes(), client.produce(TOPIC, 0, &batch))
    };
    (0..6).map(send).collect()
}

/// The last five are known, with their original offsets; the sixth oldest is not.
fn expect_remembered(client: &mut Kafka, sent: &[(Bytes, i64)]) {
    let end = client.end_offset(TOPIC, 0);
    for (bytes, offset) in &sent[1..] {
        let again = client.try_produce(TOPIC, 0, bytes.clone()).expect("no answer");
        assert_eq!((again.error, again.base_offset), (ErrorCode::NONE, *offset));
    }
    let forgotten = client.refused(TOPIC, 0, sent[0].0.clone());
    assert_eq!(forgotten, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    assert_eq!(client.end_offset(TOPIC, 0), end, "a duplicate was appended");
}

/// The next batch in sequence is accepted, and a gap is not.
fn expect_sequence_goes_on(client: &mut Kafka, producer: Producer, next: i32) {
    let gap = Batch::of(&["gap"]).by(producer, next + 1);
    let refused = client.refused(TOPIC, 0, gap.bytes());
    assert_eq!(refused, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    client.produce(TOPIC, 0, &Batch::of(&["next"]).by(producer, next));
}

#[test]
fn the_last_five_batches_are_recognised() {
    let _turn = shared();
    let broker = TestBroker::start("five-batches");
    let mut client = broker.client();
    client.create_topic(TOPIC, 1);
    let producer = client.init_producer();
    let sent = six_batches(&mut client, producer);
    expect_remembered(&mut client, &sent);
    expect_sequence_goes_on(&mut client, producer, 12);
}

#[test]
fn they_are_recognised_after_kill_9() {
    let _turn = shared();
    let mut broker = TestBroker::start("five-batches-killed");
    broker.client().create_topic(TOPIC, 1);
    let producer = broker.client().init_producer();
    let sent = six_batches(&mut broker.client(), producer);
    broker.kill_9();
    broker.start_again();
    expect_remembered(&mut broker.client(), &sent);
    expect_sequence_goes_on(&mut broker.client(), producer, 12);
}

#[test]
fn they_are_recognised_after_a_clean_restart_and_a_kill() {
    let _turn = shared();
    let mut broker = TestBroker::start("five-batches-restarted");
    broker.client().create_topic(TOPIC, 1);
    let producer = broker.client().init_producer();
    let sent = six_batches(&mut broker.client(), producer);
    broker.restart();
    expect_remembered(&mut broker.client(), &sent);
    expect_sequence_goes_on(&mut broker.client(), producer, 12);
    // Now the state is a row in the catalog plus what the log says since.
    broker.kill_9();
    broker.start_again();
    expect_sequence_goes_on(&mut broker.client(), producer, 13);
}

#[test]
fn they_are_recognised_from_the_store_alone() {
    let _turn = shared();
    let store = tempfile::tempdir().expect("a folder for the store");
    let url = format!("file://{}", store.path().display());
    let mut broker = BrokerSetup::named("five-batches-moved").flag("--store", url).start();
    broker.client().create_topic(TOPIC, 1);
    let producer = broker.client().init_producer();
    let sent = six_batches(&mut broker.client(), producer);
    assert!(broker.terminate().success());
    broker.delete_data_dir();
    broker.start_again();
    expect_remembered(&mut broker.client(), &sent);
    expect_sequence_goes_on(&mut broker.client(), producer, 12);
    let other = broker.client().init_producer();
    assert_ne!(other.id, producer.id, "a producer id was given out twice");
}

#[test]
fn epochs_fence_zombies_and_start_at_zero() {
    let _turn = shared();
    let broker = TestBroker::start("epochs");
    let mut client = broker.client();
    client.create_topic(TOPIC, 1);
    let old = client.init_producer();
    let new = Producer { epoch: old.epoch + 1, ..old };
    client.produce(TOPIC, 0, &Batch::of(&["old"]).by(old, 0));
    let late_start = Batch::of(&["late"]).by(new, 1).bytes();
    assert_eq!(client.refused(TOPIC, 0, late_start), ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    client.produce(TOPIC, 0, &Batch::of(&["new"]).by(new, 0));
    let zombie = Batch::of(&["zombie"]).by(old, 1).bytes();
    assert_eq!(client.refused(TOPIC, 0, zombie), ErrorCode::INVALID_PRODUCER_EPOCH);
    assert_eq!(client.values(TOPIC, 0), ["old", "new"]);
}

#[test]
fn sequences_wrap_and_unknown_producers_may_start_anywhere() {
    let _turn = shared();
    let mut broker = TestBroker::start("wrap");
    let mut client = broker.client();
    client.create_topic(TOPIC, 1);
    let producer = client.init_producer();
    client.produce(TOPIC, 0, &Batch::of(&["last"]).by(producer, i32::MAX));
    client.produce(TOPIC, 0, &Batch::of(&["first"]).by(producer, 0));
    // A batch may also contain the wrap.
    let other = client.init_producer();
    let across = Batch::of(&["a", "b", "c"]).by(other, i32::MAX - 1);
    let offset = client.produce(TOPIC, 0, &across);
    assert_eq!(client.produce(TOPIC, 0, &across), offset);
    client.produce(TOPIC, 0, &Batch::of(&["d"]).by(other, 1));
    broker.kill_9();
    broker.start_again();
    let mut client = broker.client();
    assert_eq!(client.produce(TOPIC, 0, &across), offset);
    assert_eq!(client.end_offset(TOPIC, 0), 6);
}
