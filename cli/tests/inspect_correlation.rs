//! `antiphon inspect object --correlation`, on objects with the records of several clients.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use antiphon_common::{
    BrokerEpoch, BrokerId, LeaderEpoch, ObjectId, Offset, PartitionId, Timestamp,
};
use antiphon_records::{BatchBuilder, BatchHeader, Compression, Header, NewRecord};
use antiphon_storage::object::{BatchSlice, ObjectBuilder, WriterIdentity};
use tempfile::TempDir;

const UUID_TEXT: &str = "9b2e6f3c-41d7-4e0a-8c55-0f1e2d3c4b5a";
const UUID: [u8; 16] = [
    0x9b, 0x2e, 0x6f, 0x3c, 0x41, 0xd7, 0x4e, 0x0a, 0x8c, 0x55, 0x0f, 0x1e, 0x2d, 0x3c, 0x4b, 0x5a,
];
const TIME: i64 = 1_763_796_000_000;
const REQUESTS: PartitionId = PartitionId(7);
const REPLIES: PartitionId = PartitionId(8);

/// A record's headers.
type Sent<'a> = Vec<(&'a str, &'a [u8])>;

fn spring_request<'a>(id: &'a [u8]) -> Sent<'a> {
    vec![
        ("kafka_replyTopic", b"orders.replies"),
        ("kafka_replyPartition", &[0, 0, 0, 2]),
        ("kafka_correlationId", id),
    ]
}

fn reply(id: &[u8]) -> Sent<'_> {
    vec![("kafka_correlationId", id)]
}

/// A batch at offset `base`, one record a millisecond.
fn batch(base: i64, codec: Compression, records: &[Sent<'_>]) -> BatchSlice {
    let mut builder = BatchBuilder::new().base_offset(Offset(base)).compression(codec);
    for (sent, delta) in records.iter().zip(0..) {
        let headers: Vec<_> =
            sent.iter().map(|(k, v)| Header { key: k.as_bytes(), value: Some(v) }).collect();
        let timestamp = Timestamp(TIME + delta);
        let record = NewRecord { timestamp, key: None, value: Some(b"v"), headers: &headers };
        builder.push(record).unwrap();
    }
    let bytes = builder.build().unwrap().freeze();
    let header = BatchHeader::parse(&bytes).unwrap();
    BatchSlice {
        base_offset: header.base_offset,
        last_offset: header.last_offset(),
        max_timestamp: header.max_timestamp,
        record_count: records.len() as u64,
        leader_epoch: LeaderEpoch(0),
        bytes,
    }
}

fn object(folder: &TempDir, sections: Vec<(PartitionId, Vec<BatchSlice>)>) -> PathBuf {
    let identity =
        WriterIdentity { broker: BrokerId(0), broker_epoch: BrokerEpoch(1), object: ObjectId(1) };
    let mut builder = ObjectBuilder::new(identity);
    for (partition, batches) in sections {
        builder.section(partition, batches).unwrap();
    }
    let bytes: Vec<u8> = builder.finish().unwrap().payload.iter().flatten().copied().collect();
    let path = folder.path().join("object");
    std::fs::write(&path, bytes).unwrap();
    path
}

/// A Spring requester, of which one request's id is sent as text, and two replies, one of them to it.
fn conversation(folder: &TempDir) -> PathBuf {
    let other = [0x9c; 16];
    let requests = vec![
        batch(40, Compression::Zstd, &[spring_request(&other), spring_request(&UUID)]),
        batch(42, Compression::None, &[spring_request(UUID_TEXT.as_bytes()), vec![]]),
    ];
    let replies = vec![batch(3, Compression::Gzip, &[reply(&other), reply(&UUID)])];
    object(folder, vec![(REQUESTS, requests), (REPLIES, replies)])
}

fn inspect(object: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_antiphon"));
    command.args(["inspect", "object"]).arg(object).args(arguments).output().unwrap()
}

fn lines(output: &Output) -> Vec<&str> {
    std::str::from_utf8(&output.stdout).unwrap().lines().collect()
}

#[test]
fn every_form_of_an_id_finds_requests_and_replies_in_any_codec() {
    let folder = tempfile::tempdir().unwrap();
    let object = conversation(&folder);
    let upper = UUID_TEXT.to_uppercase();
    let hex = format!("hex:{}", UUID_TEXT.replace('-', ""));
    for id in [UUID_TEXT, &upper, &hex, "b64:my5vPEHXTgqMVQ8eLTxLWg=="] {
        let output = inspect(&object, &["--correlation", id]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let address = "role request profile spring reply topic orders.replies reply partition 2";
        assert_eq!(
            lines(&output),
            [
                &format!("partition 7 offset 41 timestamp {} {address}", TIME + 1),
                &format!("partition 7 offset 42 timestamp {TIME} {address}"),
                "partition 7 mixes encodings: kafka_correlationId is raw bytes at offset 40 \
                 and text at offset 42",
                &format!("partition 8 offset 4 timestamp {} role reply profile spring", TIME + 1),
                &format!("3 of 6 records belong to {UUID_TEXT}"),
            ]
        );
    }
}

#[test]
fn an_id_that_is_not_there_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let output = inspect(&conversation(&folder), &["--correlation", "order-1"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(lines(&output).last(), Some(&"0 of 6 records belong to order-1"));
}

#[test]
fn clashes_are_told_although_their_ids_are_not_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let echoed = String::from_utf8_lossy(&UUID);
    let replies = vec![batch(0, Compression::None, &[reply(b"1"), reply(echoed.as_bytes())])];
    let object = object(&folder, vec![(REPLIES, replies)]);
    let output = inspect(&object, &["--correlation", "1"]);
    let expected = "partition 8 has 1 clashes, the first at offset 1: \
                    kafka_correlationId holds replacement characters: raw bytes went through UTF-8";
    assert!(lines(&output).contains(&expected), "{output:?}");
}

#[test]
fn headers_of_ones_own_are_named_by_a_profile() {
    let folder = tempfile::tempdir().unwrap();
    let request: Sent<'_> = vec![("x-id", b"order-1"), ("x-to", b"answers"), ("x-part", b"300")];
    let batches = vec![batch(0, Compression::Lz4, &[request])];
    let object = object(&folder, vec![(REQUESTS, batches)]);
    let fields = "correlation=x-id,reply-topic=x-to,reply-partition=x-part";
    let output = inspect(&object, &["--correlation", "order-1", "--profile", fields]);
    let expected = format!(
        "partition 7 offset 0 timestamp {TIME} role request profile custom \
         reply topic answers reply partition 300"
    );
    assert_eq!(lines(&output), [&expected, "1 of 1 records belong to order-1"]);
}

#[test]
fn damage_is_told_skipped_and_makes_the_command_fail() {
    let folder = tempfile::tempdir().unwrap();
    let path = conversation(&folder);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[70] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let output = inspect(&path, &["--correlation", UUID_TEXT]);
    assert_eq!(output.status.code(), Some(1));
    let told = lines(&output);
    assert!(told[0].starts_with("partition 7 block") && told[0].ends_with("checksum WRONG"));
    assert_eq!(told.last(), Some(&format!("1 of 2 records belong to {UUID_TEXT}").as_str()));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(error, "antiphon: 1 blocks or batches are damaged and were not searched\n");
}

#[test]
fn what_is_no_id_no_profile_or_no_object_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let object = conversation(&folder);
    for wrong in [
        &["--correlation", ""][..],
        &["--correlation", "hex:abc"],
        &["--correlation", "1", "--batches"],
        &["--correlation", "1", "--profile", "reply-topic=x"],
        &["--profile", "correlation=x"],
    ] {
        assert_eq!(inspect(&object, wrong).status.code(), Some(2), "{wrong:?}");
    }
    let text = folder.path().join("text");
    for (content, why) in [(&[b'x'; 10][..], "too short"), (&[b'x'; 100], "footer: ")] {
        std::fs::write(&text, content).unwrap();
        let output = inspect(&text, &["--correlation", "1"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&output.stderr).contains(why), "{output:?}");
    }
    assert_eq!(
        inspect(&folder.path().join("none"), &["--correlation", "1"]).status.code(),
        Some(1)
    );
}

/// The layout, as it is printed without an id, reads the same file piece by piece.
#[test]
fn the_layout_is_printed_with_every_checksum() {
    let folder = tempfile::tempdir().unwrap();
    let output = inspect(&conversation(&folder), &["--batches"]);
    assert_eq!(output.status.code(), Some(0));
    let told = lines(&output);
    assert_eq!(told.last(), Some(&"2 sections"));
    assert_eq!(told.iter().filter(|line| line.ends_with("checksum ok")).count(), 2 + 3);
}
