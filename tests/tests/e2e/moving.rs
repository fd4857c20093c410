//! Clean stops: after one, the store alone brings everything back. After any other end, the data
//! folder holds acked records that nothing else has, and another folder is refused.

use antiphon_tests::{Batch, BrokerSetup, TestBroker, shared};
use tempfile::TempDir;

fn broker_with_store(name: &str) -> (TestBroker, TempDir) {
    let store = tempfile::tempdir().expect("a folder for the store");
    let url = format!("file://{}", store.path().display());
    (BrokerSetup::named(name).flag("--store", url).start(), store)
}

#[test]
fn after_a_clean_stop_the_store_has_everything() {
    let _turn = shared();
    let (mut broker, _store) = broker_with_store("moving");
    let mut client = broker.client();
    client.create_topic_with("flights", 3, &[("retention.ms", "123456789")]);
    for partition in 0..3 {
        let values: Vec<String> = (0..100).map(|n| format!("{partition}-{n}")).collect();
        let names: Vec<&str> = values.iter().map(String::as_str).collect();
        for chunk in names.chunks(10) {
            client.produce("flights", partition, &Batch::of(chunk));
        }
    }
    client.commit("readers", "flights", 1, 42);
    let before: Vec<_> = (0..3).map(|partition| client.read_all("flights", partition)).collect();
    let topic = client.topic("flights");
    assert!(broker.terminate().success());
    broker.delete_data_dir();
    broker.start_again();

    let mut client = broker.client();
    let after: Vec<_> = (0..3).map(|partition| client.read_all("flights", partition)).collect();
    assert_eq!(after, before);
    assert_eq!(client.topic_config("flights", "retention.ms"), ("123456789".to_owned(), 1));
    assert_eq!(client.committed("readers", "flights", 1), 42);
    assert_eq!(client.topic("flights").id, topic.id);
    assert_eq!(client.produce("flights", 0, &Batch::of(&["more"])), 100);
}

#[test]
fn after_a_crash_another_data_folder_is_refused_until_told_otherwise() {
    let _turn = shared();
    let (mut broker, _store) = broker_with_store("not-clean");
    let mut client = broker.client();
    client.create_topic("t", 1);
    client.produce("t", 0, &Batch::of(&["only in the first folder"]));
    broker.kill_9();

    broker.use_data_dir("second");
    let refused = broker.refused_start();
    assert_eq!(refused.code, 1, "{refused:?}");
    let line = super::refusals::only_line(&refused);
    assert!(line.contains("data folder"), "{line}");

    // The first folder still works, and nothing was lost by asking.
    broker.use_data_dir("data");
    broker.start_again();
    assert_eq!(broker.client().values("t", 0), ["only in the first folder"]);
    broker.client().produce("t", 0, &Batch::of(&["also only there"]));
    broker.kill_9();

    broker.use_data_dir("third");
    broker.add_flag("--give-up-other-data-dir", "true");
    broker.start_again();
    let mut client = broker.client();
    assert_eq!(client.end_offset("t", 0), client.start_offset("t", 0));
    client.produce("t", 0, &Batch::of(&["a new beginning"]));
    assert_eq!(client.values("t", 0), ["a new beginning"]);
}

#[test]
fn many_clean_restarts_change_nothing() {
    let _turn = shared();
    let (mut broker, _store) = broker_with_store("restarts");
    broker.client().create_topic("t", 1);
    let mut expected = Vec::new();
    for round in 0..5 {
        let value = format!("round {round}");
        let offset = broker.client().produce("t", 0, &Batch::of(&[&value]));
        assert_eq!(offset, round);
        expected.push(value);
        broker.restart();
        assert_eq!(broker.client().values("t", 0), expected);
    }
    let epochs = broker.client().topic("t").leader_epochs;
    assert!(epochs[0] >= 5, "each start is a new leader epoch: {epochs:?}");
}
