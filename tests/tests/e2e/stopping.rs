//! SIGTERM while clients are at work, and what HTTP says meanwhile.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::thread;

use antiphon_protocol::ErrorCode;
use antiphon_tests::{Batch, BrokerSetup, Kafka, RawClient, TestBroker, eventually, shared};

/// Produces numbered records until the broker no longer takes them; how many were acked.
fn produce_until_refused(address: SocketAddr, acked: &Mutex<i64>) {
    let Ok(raw) = RawClient::connect(address) else { return };
    let mut client = Kafka::new(raw);
    for number in 0.. {
        let batch = Batch::of(&[&format!("{number}")]);
        match client.try_produce("t", 0, batch.bytes()) {
            Ok(appended) if appended.error == ErrorCode::NONE => {
                assert_eq!(appended.base_offset, number);
                *acked.lock().expect("not poisoned") = number + 1;
            }
            _ => return,
        }
    }
}

#[test]
fn a_clean_stop_in_mid_produce_uploads_every_ack() {
    let _turn = shared();
    let store = tempfile::tempdir().expect("a folder for the store");
    let url = format!("file://{}", store.path().display());
    let mut broker = BrokerSetup::named("stop-busy").flag("--store", url).start();
    broker.client().create_topic("t", 1);
    let acked = Mutex::new(0);
    let address = broker.address();
    thread::scope(|scope| {
        scope.spawn(|| produce_until_refused(address, &acked));
        let count = || *acked.lock().expect("not poisoned");
        eventually("traffic", || (count() > 100).then_some(()));
        assert!(broker.terminate().success());
    });
    let acked = acked.into_inner().expect("not poisoned");
    assert_eq!(broker.journal().count("the store is complete"), 1);
    broker.delete_data_dir();
    broker.start_again();
    let values = broker.client().values("t", 0);
    // A last record may have been stored whose ack nobody heard.
    let stored = values.len() as i64;
    assert!(stored == acked || stored == acked + 1, "{acked} acked, {stored} stored");
    assert!(values.iter().zip(0..).all(|(value, number)| *value == format!("{number}")));
}

#[test]
fn a_stop_without_work_is_clean_and_says_so() {
    let _turn = shared();
    let mut broker = TestBroker::start("stop-idle");
    let idle = broker.raw();
    assert_eq!(broker.terminate().code(), Some(0));
    assert!(RawClient::connect(broker.address()).is_err(), "the port is still open");
    drop(idle);
    broker.start_again();
    let opened = "previous_stop_clean=true";
    assert_eq!(broker.journal().count(opened), 2);
    broker.kill_9();
    broker.start_again();
    assert_eq!(broker.journal().count("previous_stop_clean=false"), 1);
}

#[test]
fn http_tells_health_and_figures() {
    let _turn = shared();
    let broker = BrokerSetup::named("http").with_http().start();
    let mut client = broker.client();
    client.create_topic("t", 1);
    client.produce("t", 0, &Batch::of(&["a"]));
    for path in ["/health/live", "/health/ready"] {
        assert!(broker.http(path).starts_with("HTTP/1.1 200"), "{path}");
    }
    let metrics = broker.http("/metrics");
    assert!(metrics.contains("# TYPE") && metrics.trim_end().ends_with("# EOF"), "{metrics}");
    assert!(broker.http("/nothing").starts_with("HTTP/1.1 404"));
}
