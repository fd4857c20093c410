//! The bucket goes away while the broker runs. Acknowledged is what the local log holds, so acks go
//! on; uploads wait, and catch up when the bucket is back.

use std::time::Duration;

use antiphon_tests::{Batch, Stopwatch, TestBroker, shared, within};

use crate::minio::MinIo;
use crate::server::Server;

/// An ack during an outage takes no longer than one without.
const ACK_LIMIT: Duration = Duration::from_secs(2);
/// A frozen server is noticed by timeouts, the longest of which is for uploads.
const RECOVERY: Duration = Duration::from_secs(120);

fn broker(minio: &MinIo, name: &str) -> TestBroker {
    let setup = minio.broker(name).flag("--flush-interval", "0.3");
    // What the operator should read about an outage, and nothing worse.
    setup
        .expect_log("flush failed")
        .expect_log("the catalog was not compacted")
        .expect_log("object store")
        .start()
}

fn produce(broker: &TestBroker, from: usize, count: usize, expected: &mut Vec<String>) {
    let mut client = broker.client();
    for number in from..from + count {
        let value = format!("record {number}");
        let watch = Stopwatch::start();
        client.produce("t", 0, &Batch::of(&[&value]));
        assert!(watch.elapsed() < ACK_LIMIT, "an ack took {:?}", watch.elapsed());
        expected.push(value);
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Everything is in the bucket: a broker without a disk reads all of it.
fn expect_all_from_the_bucket(broker: &mut TestBroker, expected: &[String]) {
    within(RECOVERY, "a clean stop", || {
        assert!(broker.terminate().success());
        Some(())
    });
    let stopped = broker.journal().count("the store is complete");
    assert_eq!(stopped, 1, "the stop did not upload everything");
    broker.delete_data_dir();
    broker.start_again();
    assert_eq!(broker.client().values("t", 0), expected);
}

#[test]
fn acks_go_on_while_the_bucket_is_gone() {
    let _turn = shared();
    let mut minio = MinIo::start();
    let mut broker = broker(&minio, "gone");
    broker.client().create_topic("t", 1);
    let mut expected = Vec::new();
    produce(&broker, 0, 50, &mut expected);
    minio.stop();
    produce(&broker, 50, 200, &mut expected);
    within(RECOVERY, "the outage in the log", || {
        (broker.journal().count("flush failed") > 0).then_some(())
    });
    minio.start_again();
    produce(&broker, 250, 50, &mut expected);
    assert_eq!(broker.client().values("t", 0), expected);
    expect_all_from_the_bucket(&mut broker, &expected);
}

#[test]
fn acks_go_on_while_the_bucket_hangs() {
    let _turn = shared();
    let minio = MinIo::start();
    let mut broker = broker(&minio, "hangs");
    broker.client().create_topic("t", 1);
    let mut expected = Vec::new();
    produce(&broker, 0, 20, &mut expected);
    minio.freeze();
    produce(&broker, 20, 200, &mut expected);
    minio.thaw();
    produce(&broker, 220, 20, &mut expected);
    assert_eq!(broker.client().values("t", 0), expected);
    expect_all_from_the_bucket(&mut broker, &expected);
}

#[test]
fn a_crash_during_an_outage_loses_nothing() {
    let _turn = shared();
    let mut minio = MinIo::start();
    let mut broker = broker(&minio, "crash-in-outage");
    broker.client().create_topic("t", 1);
    let mut expected = Vec::new();
    produce(&broker, 0, 20, &mut expected);
    minio.stop();
    produce(&broker, 20, 50, &mut expected);
    broker.kill_9();
    // Without its bucket a broker does not start: it would not know whether it may.
    let refused = broker.refused_start();
    assert_eq!((refused.code, refused.stderr.lines().count()), (1, 1), "{refused:?}");
    minio.start_again();
    broker.start_again();
    assert_eq!(broker.client().values("t", 0), expected);
    expect_all_from_the_bucket(&mut broker, &expected);
}
