//! Positions in a log: by time, by meaning, after deletions and retention.

use antiphon_protocol::ErrorCode;
use antiphon_records::Compression;
use antiphon_tests::{Batch, BrokerSetup, Kafka, TestBroker, eventually, now_ms, shared};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const NEWEST: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;

/// Ten records, ten seconds apart, in batches of several codecs; the time of the first.
fn ten_records(client: &mut Kafka) -> i64 {
    client.create_topic("t", 1);
    let first = now_ms() - 3_600_000;
    let three = ["x", "y", "z"];
    let codecs = [Compression::None, Compression::Gzip, Compression::Zstd];
    for (batch, codec) in (0..).zip(codecs) {
        let values = Batch::of(&three).at(first + batch * 30_000, 10_000).compressed(codec);
        client.produce("t", 0, &values);
    }
    client.produce("t", 0, &Batch::of(&["last"]).at(first + 90_000, 0));
    first
}

#[test]
fn records_are_found_by_time_inside_batches() {
    let _turn = shared();
    let mut broker = TestBroker::start("by-time");
    let first = ten_records(&mut broker.client());
    let check = |client: &mut Kafka| {
        assert_eq!(client.offset_at("t", 0, 0), (0, first));
        for record in 0..10 {
            let time = first + record * 10_000;
            assert_eq!(client.offset_at("t", 0, time), (record, time), "exactly at {record}");
            if record > 0 {
                assert_eq!(client.offset_at("t", 0, time - 1), (record, time), "before {record}");
            }
        }
        assert_eq!(client.offset_at("t", 0, first + 90_001), (-1, -1), "after the last");
        assert_eq!(client.offset_at("t", 0, LATEST).0, 10);
        assert_eq!(client.offset_at("t", 0, EARLIEST).0, 0);
        assert_eq!(client.offset_at("t", 0, EARLIEST_LOCAL).0, 0);
        assert_eq!(client.offset_at("t", 0, LATEST_TIERED).0, -1);
        assert_eq!(client.offset_at("t", 0, NEWEST), (9, first + 90_000));
    };
    check(&mut broker.client());
    super::fetching::into_history(&mut broker);
    check(&mut broker.client());
    // Half history, half tail: the newest record is the one just written.
    let mut client = broker.client();
    client.produce("t", 0, &Batch::of(&["newer"]).at(first + 100_000, 0));
    assert_eq!(client.offset_at("t", 0, NEWEST), (10, first + 100_000));
    assert_eq!(client.offset_at("t", 0, first + 50_000), (5, first + 50_000));
}

#[test]
fn an_empty_partition_has_positions_and_no_records() {
    let _turn = shared();
    let broker = TestBroker::start("empty");
    let mut client = broker.client();
    client.create_topic("t", 1);
    assert_eq!(client.offset_at("t", 0, LATEST).0, 0);
    assert_eq!(client.offset_at("t", 0, EARLIEST).0, 0);
    assert_eq!(client.offset_at("t", 0, 0), (-1, -1));
    assert_eq!(client.offset_at("t", 0, NEWEST), (-1, -1));
}

#[test]
fn deleted_records_are_gone_for_good() {
    let _turn = shared();
    let mut broker = TestBroker::start("delete-records");
    let mut client = broker.client();
    ten_records(&mut client);
    // Inside a batch: the log starts there, although the batch is stored whole.
    assert_eq!(client.delete_records("t", 0, 4), (ErrorCode::NONE, 4));
    assert_eq!(client.start_offset("t", 0), 4);
    assert_eq!(client.read_all("t", 0).first().map(|record| record.offset), Some(4));
    assert_eq!(client.delete_records("t", 0, 2), (ErrorCode::NONE, 4), "never backwards");
    assert_eq!(client.delete_records("t", 0, 11).0, ErrorCode::OFFSET_OUT_OF_RANGE);
    assert_eq!(client.delete_records("t", 3, 0).0, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    broker.kill_9();
    broker.start_again();
    let mut client = broker.client();
    assert_eq!((client.start_offset("t", 0), client.end_offset("t", 0)), (4, 10));
    broker.restart();
    let mut client = broker.client();
    assert_eq!(client.delete_records("t", 0, -1), (ErrorCode::NONE, 10), "-1 is the end");
    assert!(client.read_all("t", 0).is_empty());
    broker.restart();
    let mut client = broker.client();
    assert_eq!((client.start_offset("t", 0), client.end_offset("t", 0)), (10, 10));
    assert_eq!(client.produce("t", 0, &Batch::of(&["goes on"])), 10);
}

fn short_intervals(name: &str) -> TestBroker {
    let setup = BrokerSetup::named(name);
    setup.flag("--flush-interval", "0.2").flag("--retention-interval", "0.2").start()
}

#[test]
fn retention_by_time_moves_the_start() {
    let _turn = shared();
    let mut broker = short_intervals("retention-time");
    let mut client = broker.client();
    client.create_topic_with("t", 1, &[("retention.ms", "60000")]);
    let old = now_ms() - 3_600_000;
    client.produce("t", 0, &Batch::of(&["old", "older"]).at(old, 1));
    let start = |broker: &TestBroker| broker.client().start_offset("t", 0);
    eventually("retention", || (start(&broker) == 2).then_some(()));
    client.produce("t", 0, &Batch::of(&["young"]));
    assert_eq!(client.values("t", 0), ["young"]);
    assert_eq!(client.fetch("t", 0, 0).error, ErrorCode::OFFSET_OUT_OF_RANGE);
    // The objects wait out their grace period; the queue says so.
    let queued = broker.inspect(&[
        "catalog",
        "--kind",
        "deletion",
        &broker.data_dir().display().to_string(),
    ]);
    assert!(queued.lines().count() > 1, "nothing is queued for deletion:\n{queued}");
    broker.restart();
    assert_eq!((start(&broker), broker.client().end_offset("t", 0)), (2, 3));
    assert_eq!(broker.client().values("t", 0), ["young"]);
}

#[test]
fn retention_by_size_keeps_the_newest() {
    let _turn = shared();
    let broker = short_intervals("retention-size");
    let mut client = broker.client();
    client.create_topic_with("t", 1, &[("retention.bytes", "100000")]);
    for _ in 0..30 {
        client.produce("t", 0, &Batch::of_size(20_000));
        // Segments are what retention deletes, and each flush makes one.
        std::thread::sleep(std::time::Duration::from_millis(30));
    }
    eventually("retention", || (broker.client().start_offset("t", 0) > 0).then_some(()));
    let kept = client.read_all("t", 0);
    assert_eq!(kept.last().map(|record| record.offset), Some(29));
    let bytes: usize = kept.iter().map(|record| record.value.len()).sum();
    assert!(bytes >= 100_000 - 20_200, "retention deleted too much: {bytes} bytes are left");
}
