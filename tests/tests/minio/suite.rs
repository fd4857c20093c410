//! The same story over every server.

use antiphon_records::Compression;
use antiphon_tests::{Batch, Kafka, Stored, TestBroker, eventually, now_ms, shared};

use crate::minio::MinIo;
use crate::s3s_server::S3s;
use crate::server::Server;

const PARTITIONS: i32 = 3;

#[test]
fn minio_keeps_everything() {
    let _turn = shared();
    everything_comes_back(&MinIo::start(), "minio");
}

#[test]
fn s3s_keeps_everything() {
    let _turn = shared();
    everything_comes_back(&S3s::start(), "s3s");
}

#[test]
fn minio_refuses_what_it_must() {
    let _turn = shared();
    starts_are_refused(&MinIo::start(), "minio");
}

/// Not asked of `s3s-fs`, which makes a bucket of any folder that something is written to.
#[test]
fn a_missing_bucket_is_refused() {
    let _turn = shared();
    let minio = MinIo::start();
    expect_one_line(
        &minio.broker_in("missing-bucket", "no-such-bucket").prepare(),
        "no-such-bucket",
    );
}

#[test]
fn s3s_refuses_what_it_must() {
    let _turn = shared();
    starts_are_refused(&S3s::start(), "s3s");
}

/// Produce, flush, read back through S3; stop, lose the disk, start, read; then crash and go on.
fn everything_comes_back(server: &dyn Server, name: &str) {
    let setup = server.broker(&format!("{name}-everything"));
    let mut broker = setup.flag("--flush-interval", "0.3").start();
    let mut client = broker.client();
    client.create_topic_with("t", PARTITIONS, &[("retention.ms", "777777777")]);
    let producer = client.init_producer();
    let first = now_ms() - 1_000_000;
    for round in 0..20 {
        for partition in 0..PARTITIONS {
            produce_some(&mut client, partition, round, first);
        }
    }
    let last = Batch::of(&["idempotent"]).by(producer, 0);
    let last_offset = client.produce("t", 0, &last);
    client.commit("group", "t", 2, 17);
    let before = read(&mut client);
    wait_for_upload(&broker);
    // Now mostly out of objects, while the broker still runs.
    assert_eq!(read(&mut broker.client()), before);

    assert!(broker.terminate().success());
    broker.delete_data_dir();
    broker.start_again();
    let mut client = broker.client();
    assert_eq!(read(&mut client), before, "after the loss of the disk");
    assert_eq!(client.offset_at("t", 1, first + 10_000).0, 40, "by time, out of objects");
    assert_eq!(client.produce("t", 0, &last), last_offset, "the producer's state");
    assert_eq!(client.committed("group", "t", 2), 17);
    assert_eq!(client.topic_config("t", "retention.ms").0, "777777777");

    client.produce("t", 1, &Batch::of(&["after the move"]));
    broker.kill_9();
    broker.start_again();
    let after = read(&mut broker.client());
    assert_eq!(after[1].last().map(Stored::text).as_deref(), Some("after the move"));
    assert!(broker.terminate().success());
}

/// Four records a round, ten of each second's worth, in alternating codecs, and one large one.
fn produce_some(client: &mut Kafka, partition: i32, round: i64, first: i64) {
    let codec = if round % 2 == 0 { Compression::None } else { Compression::Zstd };
    let values: Vec<String> = (0..3).map(|index| format!("{partition}/{round}/{index}")).collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    let batch = Batch::of(&values).at(first + round * 1_000, 0).compressed(codec);
    client.produce("t", partition, &batch);
    client.produce("t", partition, &Batch::of_size(100_000).at(first + round * 1_000, 0));
}

fn read(client: &mut Kafka) -> Vec<Vec<Stored>> {
    (0..PARTITIONS).map(|partition| client.read_all("t", partition)).collect()
}

fn wait_for_upload(broker: &TestBroker) {
    let store = format!("s3://{}/some/prefix", crate::server::BUCKET);
    eventually("an upload", || {
        // The last line is the number of rows.
        let rows = broker.inspect(&["catalog", "--kind", "object", &store]);
        (rows.lines().count() > 1).then_some(())
    });
}

fn starts_are_refused(server: &dyn Server, name: &str) {
    let wrong = server.broker(&format!("{name}-secret")).env("AWS_SECRET_ACCESS_KEY", "wrong");
    expect_one_line(&wrong.prepare(), "");

    // A bucket that another broker writes to, and whose disk is somewhere else.
    let first = server.broker(&format!("{name}-first")).start();
    first.client().create_topic("t", 1);
    let second = server.broker(&format!("{name}-second")).prepare();
    expect_one_line(&second, "data folder");
    first.client().produce("t", 0, &Batch::of(&["not disturbed"]));
    assert_eq!(first.client().values("t", 0), ["not disturbed"]);
}

/// Exit code 1, one line on standard error that says `what`, and no data folder.
fn expect_one_line(broker: &TestBroker, what: &str) {
    let refused = broker.refused_start();
    assert_eq!(refused.code, 1, "{refused:?}");
    assert_eq!(refused.stderr.lines().count(), 1, "{}", refused.stderr);
    assert!(refused.stderr.contains(what), "{}", refused.stderr);
}
