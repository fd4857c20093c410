//! Fetch: limits, ranges, long polls, and history out of objects.

use std::thread;
use std::time::Duration;

use antiphon_protocol::ErrorCode;
use antiphon_records::Compression;
use antiphon_tests::{
    Batch, BrokerSetup, Fetch, Kafka, Stopwatch, TestBroker, eventually, fetch_request, shared,
};
use kafka_protocol::messages::TopicName;
use uuid::Uuid;

const SMALL: Fetch = Fetch { wait_ms: 0, min_bytes: 1, max_bytes: 1024, partition_max_bytes: 1024 };

/// Waits until everything is in objects, then restarts so that memory is empty: what is read from
/// now on is history.
pub(crate) fn into_history(broker: &mut TestBroker) {
    broker.restart();
}

fn offsets(client: &mut Kafka, topic: &str, offset: i64) -> Vec<i64> {
    client.fetch(topic, 0, offset).stored().iter().map(|record| record.offset).collect()
}

#[test]
fn a_batch_larger_than_every_limit_still_arrives() {
    let _turn = shared();
    let mut broker = TestBroker::start("large-batch");
    let mut client = broker.client();
    client.create_topic_with("t", 2, &[("max.message.bytes", "4000000")]);
    client.produce("t", 0, &Batch::of_size(2 << 20));
    client.produce("t", 1, &Batch::of_size(2 << 20));
    let check = |client: &mut Kafka| {
        let found = client.fetch_many("t", &[(0, 0), (1, 0)], SMALL);
        let lengths: Vec<usize> = found.iter().map(|one| one.records.len()).collect();
        assert!(lengths[0] > 2 << 20, "the first partition gives a whole batch: {lengths:?}");
        assert_eq!(lengths[1], 0, "the second obeys the limits");
        assert!(found.iter().all(|one| one.error == ErrorCode::NONE && one.high_watermark == 1));
        // The request's order decides which one is first.
        let found = client.fetch_many("t", &[(1, 0), (0, 0)], SMALL);
        assert_eq!(found[0].partition, 1);
        assert!(found[0].records.len() > 2 << 20 && found[1].records.is_empty());
    };
    check(&mut client);
    into_history(&mut broker);
    check(&mut broker.client());
}

#[test]
fn an_offset_inside_a_batch_gives_that_batch() {
    let _turn = shared();
    let mut broker = TestBroker::start("inside");
    let mut client = broker.client();
    client.create_topic("t", 1);
    client.produce("t", 0, &Batch::of(&["a", "b", "c"]));
    client.produce("t", 0, &Batch::of(&["d", "e", "f"]).compressed(Compression::Zstd));
    let check = |client: &mut Kafka| {
        assert_eq!(offsets(client, "t", 1), [0, 1, 2, 3, 4, 5]);
        assert_eq!(offsets(client, "t", 2), [0, 1, 2, 3, 4, 5]);
        assert_eq!(offsets(client, "t", 5), [3, 4, 5]);
    };
    check(&mut client);
    into_history(&mut broker);
    check(&mut broker.client());
}

#[test]
fn ranges_end_where_the_log_does() {
    let _turn = shared();
    let mut broker = TestBroker::start("ranges");
    let mut client = broker.client();
    client.create_topic("t", 1);
    client.produce("t", 0, &Batch::of(&["a", "b", "c", "d"]));
    client.produce("t", 0, &Batch::of(&["e"]));
    assert_eq!(client.delete_records("t", 0, 2), (ErrorCode::NONE, 2));
    let check = |client: &mut Kafka| {
        for offset in [0, 1, 6, 1 << 40, -1] {
            let found = client.fetch("t", 0, offset);
            assert_eq!(found.error, ErrorCode::OFFSET_OUT_OF_RANGE, "at {offset}");
            let positions = (found.high_watermark, found.last_stable, found.log_start);
            assert_eq!(positions, (5, 5, 2), "positions stand in errors too");
            assert!(found.records.is_empty());
        }
        let at_the_end = client.fetch("t", 0, 5);
        assert_eq!(at_the_end.error, ErrorCode::NONE);
        assert!(at_the_end.records.is_empty());
        assert_eq!(client.fetch("t", 0, 2).stored().len(), 5);
    };
    check(&mut client);
    into_history(&mut broker);
    check(&mut broker.client());
}

#[test]
fn unknown_partitions_and_topics_are_named() {
    let _turn = shared();
    let broker = TestBroker::start("unknown");
    let mut client = broker.client();
    client.create_topic("t", 1);
    let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
    assert_eq!(client.fetch("t", 7, 0).error, unknown);
    assert_eq!(client.fetch("t", -1, 0).error, unknown);
    assert_eq!(client.fetch("nothing", 0, 0).error, unknown);
    // From version 13 on topics go by id.
    let mut request = fetch_request("", &[(0, 0)], Fetch::default());
    request.topics[0].topic_id = Uuid::from_u128(7);
    let answer = client.call(13, &request);
    assert_eq!(answer.responses[0].partitions[0].error_code, ErrorCode::UNKNOWN_TOPIC_ID.0);
    request.topics[0].topic_id = client.topic("t").id;
    let answer = client.call(17, &request);
    assert_eq!(answer.responses[0].partitions[0].error_code, 0);
}

#[test]
fn leader_epochs_are_checked() {
    let _turn = shared();
    let mut broker = TestBroker::start("fetch-epochs");
    broker.client().create_topic("t", 1);
    broker.restart();
    let mut client = broker.client();
    let epoch = client.topic("t").leader_epochs[0];
    let mut ask = |theirs: i32| {
        let mut request = fetch_request("t", &[(0, 0)], Fetch::default());
        request.topics[0].partitions[0].current_leader_epoch = theirs;
        ErrorCode(client.call(12, &request).responses[0].partitions[0].error_code)
    };
    assert_eq!(ask(epoch), ErrorCode::NONE);
    assert_eq!(ask(epoch - 1), ErrorCode::FENCED_LEADER_EPOCH);
    assert_eq!(ask(epoch + 1), ErrorCode::UNKNOWN_LEADER_EPOCH);
}

#[test]
fn a_long_poll_waits_for_bytes_and_no_longer() {
    let _turn = shared();
    let broker = TestBroker::start("long-poll");
    let mut client = broker.client();
    client.create_topic("t", 2);
    let poll = |wait_ms, min_bytes| Fetch { wait_ms, min_bytes, ..Fetch::default() };
    let everywhere = [(0, 0), (1, 0)];

    let watch = Stopwatch::start();
    let found = client.fetch_many("t", &everywhere, poll(300, 1));
    assert!(found.iter().all(|one| one.records.is_empty() && one.error == ErrorCode::NONE));
    assert!(watch.elapsed() >= Duration::from_millis(290), "{:?}", watch.elapsed());

    // A record in any of the partitions ends the wait, long before the 20 seconds are over.
    let watch = Stopwatch::start();
    let found = thread::scope(|scope| {
        let reader = scope.spawn(|| client.fetch_many("t", &everywhere, poll(20_000, 1)));
        thread::sleep(Duration::from_millis(100));
        broker.client().produce("t", 1, &Batch::of(&["woken"]));
        reader.join().expect("the poll failed")
    });
    assert_eq!(found[1].stored().len(), 1);
    assert!(watch.elapsed() < Duration::from_secs(10), "{:?}", watch.elapsed());

    // Not enough bytes: the wait goes on to its end, and gives what there is.
    let watch = Stopwatch::start();
    let found = client.fetch_many("t", &everywhere, poll(400, 1 << 20));
    assert!(watch.elapsed() >= Duration::from_millis(390), "{:?}", watch.elapsed());
    assert_eq!(found[1].stored().len(), 1);

    // An error ends it at once.
    let watch = Stopwatch::start();
    let found = client.fetch_many("t", &[(0, 0), (1, 99)], poll(20_000, 1 << 20));
    assert_eq!(found[1].error, ErrorCode::OFFSET_OUT_OF_RANGE);
    assert!(watch.elapsed() < Duration::from_secs(10), "{:?}", watch.elapsed());
}

#[test]
fn a_reader_that_waits_sees_its_topic_go() {
    let _turn = shared();
    let broker = TestBroker::start("poll-deleted");
    let mut client = broker.client();
    client.create_topic("t", 1);
    let found = thread::scope(|scope| {
        let how = Fetch { wait_ms: 20_000, ..Fetch::default() };
        let reader = scope.spawn(move || client.fetch_many("t", &[(0, 0)], how));
        thread::sleep(Duration::from_millis(100));
        broker.client().delete_topic("t");
        reader.join().expect("the poll failed")
    });
    assert_eq!(found[0].error, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
}

#[test]
fn sessions_are_declined_and_foreign_ones_refused() {
    let _turn = shared();
    let broker = TestBroker::start("sessions");
    let mut client = broker.client();
    client.create_topic("t", 1);
    let ask = |id, epoch| {
        let request = fetch_request("t", &[(0, 0)], Fetch::default());
        request.with_session_id(id).with_session_epoch(epoch)
    };
    let answer = client.call(12, &ask(0, 0));
    assert_eq!((answer.error_code, answer.session_id), (0, 0));
    let answer = client.call(12, &ask(77, 3));
    assert_eq!(answer.error_code, ErrorCode::FETCH_SESSION_ID_NOT_FOUND.0);
}

#[test]
fn every_version_reads_the_same() {
    let _turn = shared();
    let broker = TestBroker::start("fetch-versions");
    let mut client = broker.client();
    client.create_topic("t", 1);
    client.produce("t", 0, &Batch::of(&["a", "b"]));
    let id = client.topic("t").id;
    for version in 4..=18 {
        let mut request = fetch_request("t", &[(0, 0)], Fetch::default());
        if version >= 13 {
            request.topics[0].topic = TopicName::default();
            request.topics[0].topic_id = id;
        }
        let answer = client.call(version, &request);
        let partition = &answer.responses[0].partitions[0];
        let records = partition.records.as_deref().unwrap_or_default();
        assert_eq!(antiphon_tests::stored(records).len(), 2, "version {version}");
        assert_eq!((partition.error_code, partition.high_watermark), (0, 2), "version {version}");
    }
}

/// Records go to objects while they are produced; a reader of everything crosses from history to
/// the tail without noticing.
#[test]
fn history_and_tail_are_one_log() {
    let _turn = shared();
    let broker = BrokerSetup::named("flushing").flag("--flush-interval", "0.2").start();
    let mut client = broker.client();
    client.create_topic("t", 1);
    let mut expected = Vec::new();
    for round in 0..40 {
        let values = [format!("{round}-a"), format!("{round}-b")];
        client.produce("t", 0, &Batch::of(&[&values[0], &values[1]]));
        expected.extend(values);
        thread::sleep(Duration::from_millis(20));
        assert_eq!(client.values("t", 0), expected);
    }
    eventually("objects in the store", || {
        let rows = broker.inspect(&["catalog", "--kind", "segment", &path(&broker)]);
        (rows.lines().count() > 3).then_some(())
    });
    assert_eq!(client.values("t", 0), expected);
}

fn path(broker: &TestBroker) -> String {
    broker.data_dir().display().to_string()
}
