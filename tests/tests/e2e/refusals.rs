//! Starts that must not happen: exit code 1, one line that says what to change, nothing changed on
//! disk. Wrong usage is exit code 2.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;

use antiphon_tests::{Batch, BrokerSetup, Exited, TestBroker, free_port, shared};

/// The one line that a refused start says on standard error.
pub(crate) fn only_line(exited: &Exited) -> &str {
    let mut lines = exited.stderr.lines();
    let line = lines.next().unwrap_or_default();
    assert!(line.starts_with("antiphon: "), "{exited:?}");
    assert_eq!(lines.next(), None, "more than one line: {}", exited.stderr);
    line
}

/// Every file under a folder and its content.
fn content(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path.clone());
            }
            let bytes = std::fs::read(&path).unwrap_or_default();
            found.insert(path.display().to_string(), bytes);
        }
    }
    found
}

/// Starts a broker that must refuse with exactly one line about `what`, and leave no trace.
fn expect_refusal(broker: &TestBroker, what: &str) {
    let before = content(broker.folder());
    let refused = broker.refused_start();
    assert_eq!(refused.code, 1, "{refused:?}");
    let line = only_line(&refused);
    assert!(line.contains(what), "`{line}` does not say `{what}`");
    let changed: Vec<_> = content(broker.folder())
        .into_iter()
        .filter(|(path, bytes)| before.get(path) != Some(bytes))
        .map(|(path, _)| path)
        .collect();
    assert!(changed.is_empty(), "the refused start left {changed:?}");
}

#[test]
fn wrong_flags_are_wrong_usage() {
    let _turn = shared();
    for (flag, value) in [("--no-such-flag", "1"), ("--wal", "paper"), ("--listen", "nowhere")] {
        let refused = BrokerSetup::named("usage").flag(flag, value).prepare().refused_start();
        assert_eq!(refused.code, 2, "{flag} {value}: {refused:?}");
    }
}

#[test]
fn values_that_make_no_sense_are_refused() {
    let _turn = shared();
    for (flag, value) in [("--tail-memory", "many"), ("--store", "ftp://x"), ("--wal", "object")] {
        let broker = BrokerSetup::named("values").flag(flag, value).prepare();
        expect_refusal(&broker, "");
    }
}

#[test]
fn an_occupied_port_is_refused() {
    let _turn = shared();
    let port = free_port();
    let _holder = TcpListener::bind(("127.0.0.1", port)).expect("the port was free");
    let mut broker = BrokerSetup::named("http-port").prepare();
    let kafka = TcpListener::bind(broker.address()).expect("the port was free");
    expect_refusal(&broker, "cannot listen on");
    drop(kafka);
    broker.add_flag("--flush-interval", 1);
    broker.start_again();
}

#[test]
fn an_unreachable_bucket_is_refused() {
    let _turn = shared();
    let broker = BrokerSetup::named("no-bucket")
        .flag("--store", "s3://nowhere/at-all")
        .env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", free_port()))
        .env("AWS_ACCESS_KEY_ID", "key")
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .env("AWS_REGION", "us-east-1")
        .prepare();
    expect_refusal(&broker, "127.0.0.1");
}

#[test]
fn a_data_folder_in_use_is_refused() {
    let _turn = shared();
    let first = TestBroker::start("in-use");
    first.client().create_topic("t", 1);
    let mut second = BrokerSetup::named("in-use-second").prepare();
    std::os::unix::fs::symlink(first.data_dir(), second.data_dir()).expect("a link");
    expect_refusal(&second, "in use");
    // The owner noticed nothing.
    first.client().produce("t", 0, &Batch::of(&["still here"]));
    drop(first);
    std::fs::remove_file(second.data_dir()).expect("the link");
    second.start_again();
}

#[test]
fn a_foreign_folder_is_refused() {
    let _turn = shared();
    let broker = BrokerSetup::named("foreign").prepare();
    std::fs::create_dir(broker.data_dir()).expect("a folder");
    std::fs::write(broker.data_dir().join("thesis.txt"), "precious").expect("a file");
    expect_refusal(&broker, "not an antiphon data folder");
}

#[test]
fn a_newer_data_folder_is_refused() {
    let _turn = shared();
    let broker = BrokerSetup::named("newer-folder").prepare();
    std::fs::create_dir(broker.data_dir()).expect("a folder");
    let marker = "antiphon data folder, format 99, id 0190163d-8694-739b-aea5-966c26f8ad91\n";
    std::fs::write(broker.data_dir().join("antiphon"), marker).expect("a file");
    expect_refusal(&broker, "newer antiphon");
}

#[test]
fn a_newer_store_is_refused() {
    let _turn = shared();
    let mut broker = TestBroker::start("newer-store");
    broker.client().create_topic("t", 1);
    assert!(broker.terminate().success());
    raise_catalog_format(&broker.data_dir().join("store").join("catalog").join("cluster"));
    expect_refusal(&broker, "format");
}

/// The catalog's identity begins with eight bytes of magic and its format version.
fn raise_catalog_format(path: &Path) {
    let mut bytes = std::fs::read(path).expect("the catalog's identity");
    bytes[8..12].fill(99);
    std::fs::write(path, bytes).expect("the catalog's identity");
}
