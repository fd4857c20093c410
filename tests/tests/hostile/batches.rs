//! Record batches that are not what they claim: whatever is stored is trusted by every consumer.

use antiphon_protocol::ErrorCode;
use antiphon_records::Compression;
use antiphon_tests::{
    Batch, BrokerSetup, Kafka, Producer, RawClient, alone, figure, produce_request, shared, text,
};
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{BrokerId, ListOffsetsRequest, ProduceRequest, TopicName};

use crate::siege::Siege;

// Where the fields of a batch's header are.
const BASE_OFFSET: usize = 0;
const BATCH_LENGTH: usize = 8;
const MAGIC: usize = 16;
const CRC: usize = 17;
const ATTRIBUTES: usize = 21;
const LAST_OFFSET_DELTA: usize = 23;
const FIRST_TIMESTAMP: usize = 27;
const MAX_TIMESTAMP: usize = 35;
const PRODUCER_ID: usize = 43;
const BASE_SEQUENCE: usize = 53;
const RECORD_COUNT: usize = 57;
const BODY: usize = 61;

/// Two batches unpacked to the limit of 256 MiB at a time, and what else a broker holds.
const PEAK_BYTES_MAX: u64 = 640 << 20;

/// A good batch of three records with some bytes replaced, and a CRC that matches.
fn forged(at: usize, bytes: &[u8]) -> Bytes {
    let mut batch = BytesMut::from(&Batch::of(&["a", "b", "c"]).bytes()[..]);
    batch[at..at + bytes.len()].copy_from_slice(bytes);
    sealed(batch)
}

fn sealed(mut batch: BytesMut) -> Bytes {
    let crc = antiphon_records::compute_crc(&batch);
    batch[CRC..CRC + 4].copy_from_slice(&crc.to_be_bytes());
    batch.freeze()
}

/// A header of a compressed batch that claims three records, with any body.
fn compressed(codec: u8, body: &[u8]) -> Bytes {
    let good = Batch::of(&["a", "b", "c"]).bytes();
    let mut batch = BytesMut::from(&good[..BODY]);
    batch.extend_from_slice(body);
    batch[ATTRIBUTES + 1] = codec;
    let length = (batch.len() - 12) as i32;
    batch[BATCH_LENGTH..BATCH_LENGTH + 4].copy_from_slice(&length.to_be_bytes());
    sealed(batch)
}

fn expect_refusals(client: &mut Kafka, topic: &str, cases: Vec<(&str, Bytes)>) {
    let end = client.end_offset(topic, 0);
    for (name, bytes) in cases {
        let code = client.refused(topic, 0, bytes);
        let fitting = [
            ErrorCode::CORRUPT_MESSAGE,
            ErrorCode::INVALID_RECORD,
            ErrorCode::MESSAGE_TOO_LARGE,
            ErrorCode::UNSUPPORTED_COMPRESSION_TYPE,
            ErrorCode::INVALID_TIMESTAMP,
        ];
        assert!(fitting.contains(&code), "{name}: {code:?}");
    }
    assert_eq!(client.end_offset(topic, 0), end, "something was appended");
}

#[test]
fn broken_batches() {
    let _turn = shared();
    let mut siege = Siege::begin("broken-batches");
    let good = Batch::of(&["a", "b", "c"]).bytes();
    let mut flipped = BytesMut::from(&good[..]);
    let last = flipped.len() - 2;
    flipped[last] ^= 1;
    let two = [&good[..], &good[..]].concat();
    let trailing = [&good[..], b"x"].concat();
    let cases = vec![
        ("a flipped bit", flipped.freeze()),
        ("nothing", Bytes::new()),
        ("one byte", Bytes::from_static(b"x")),
        ("half a header", good.slice(..30)),
        ("half a batch", good.slice(..good.len() - 3)),
        ("two batches", two.into()),
        ("trailing bytes", trailing.into()),
        ("length beyond the end", forged(BATCH_LENGTH, &1_000_i32.to_be_bytes())),
        ("negative length", forged(BATCH_LENGTH, &(-1_i32).to_be_bytes())),
        ("length of nothing", forged(BATCH_LENGTH, &0_i32.to_be_bytes())),
        ("largest length", forged(BATCH_LENGTH, &i32::MAX.to_be_bytes())),
        ("format 0", forged(MAGIC, &[0])),
        ("format 1", forged(MAGIC, &[1])),
        ("format 3", forged(MAGIC, &[3])),
    ];
    let mut client = siege.broker.client();
    expect_refusals(&mut client, "t", cases);
    drop(client);
    siege.survived("broken batches");
}

#[test]
fn headers_that_contradict_the_records() {
    let _turn = shared();
    let mut siege = Siege::begin("lying-headers");
    let delta = |delta: i32| forged(LAST_OFFSET_DELTA, &delta.to_be_bytes());
    let count = |count: i32| forged(RECORD_COUNT, &count.to_be_bytes());
    let mut cases = vec![
        ("base offset", forged(BASE_OFFSET, &5_i64.to_be_bytes())),
        ("delta too small", delta(1)),
        ("delta too large", delta(3)),
        ("delta of 2^31-1", delta(i32::MAX)),
        ("negative delta", delta(-1)),
        ("no records", count(0)),
        ("negative count", count(-1)),
        ("count of 2^31-1", count(i32::MAX)),
        ("control batch", forged(ATTRIBUTES, &0x20_i16.to_be_bytes())),
        ("sequence without producer", forged(PRODUCER_ID, &9_i64.to_be_bytes())),
    ];
    // Both lie in the same way, so only the records can tell.
    let mut both = BytesMut::from(&forged(RECORD_COUNT, &7_i32.to_be_bytes())[..]);
    both[LAST_OFFSET_DELTA..LAST_OFFSET_DELTA + 4].copy_from_slice(&6_i32.to_be_bytes());
    cases.push(("seven records that are three", sealed(both)));
    for (name, byte) in [("a length that lies", 0), ("deltas out of order", 3)] {
        let mut batch = BytesMut::from(&Batch::of(&["a", "b", "c"]).bytes()[..]);
        batch[BODY + byte] = 0x7e;
        cases.push((name, sealed(batch)));
    }
    let mut client = siege.broker.client();
    expect_refusals(&mut client, "t", cases);
    // A sequence of -1 with a producer id.
    let producer = client.init_producer();
    let mut batch = BytesMut::from(&Batch::of(&["a"]).by(producer, 0).bytes()[..]);
    batch[BASE_SEQUENCE..BASE_SEQUENCE + 4].copy_from_slice(&(-1_i32).to_be_bytes());
    expect_refusals(&mut client, "t", vec![("negative sequence", sealed(batch))]);
    drop(client);
    siege.survived("lying headers");
}

#[test]
fn compressed_bodies_that_explode_or_are_none() {
    let _turn = shared();
    let mut siege = Siege::begin("compressed");
    let mut client = siege.broker.client();
    // On such a topic the broker has to look into every batch.
    let config = [("cleanup.policy", "compact"), ("max.message.bytes", "2000000")];
    client.create_topic_with("keyed", 1, &config);
    let zeros = vec![0; 256 << 20];
    let mut cases = vec![
        ("snappy that claims 2 GiB", compressed(2, &[0xff, 0xff, 0xff, 0xff, 0x07, 0, 0])),
        ("snappy, xerial, negative chunk", compressed(2, XERIAL_NEGATIVE)),
        ("lz4 that is none", compressed(3, &[0x04, 0x22, 0x4d, 0x18, 0xff, 0xff, 0xff])),
        ("zstd that is none", compressed(4, &[0x28, 0xb5, 0x2f, 0xfd, 0xff, 0xff, 0xff])),
        ("gzip that is none", compressed(1, &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0])),
        ("codec 5", compressed(5, b"x")),
        ("codec 7", compressed(7, b"x")),
    ];
    for codec in [Compression::Gzip, Compression::Zstd, Compression::Lz4] {
        let bomb = antiphon_records::compress(codec, &zeros).expect("zeros compress");
        if bomb.len() < 1_900_000 {
            cases.push(("a bomb", compressed(codec.id(), &bomb)));
        }
    }
    drop(zeros);
    expect_refusals(&mut client, "keyed", cases.clone());
    // Elsewhere nothing is unpacked on the way in, so no bomb goes off; codecs that do not exist are
    // still refused.
    for (name, bytes) in cases.into_iter().filter(|(name, _)| name.starts_with("codec")) {
        let code = client.refused("t", 0, bytes);
        assert_ne!(code, ErrorCode::NONE, "{name}");
    }
    drop(client);
    siege.survived("compressed bodies");
}

/// The framing of snappy-java with one chunk of a negative length.
const XERIAL_NEGATIVE: &[u8] =
    &[0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xf0];

/// Bombs that are stored unseen must not go off when somebody asks for a time either, not even when
/// many ask at once.
#[test]
fn a_stored_bomb_does_not_go_off_in_lookups() {
    let _turn = alone();
    let setup = BrokerSetup::named("stored-bomb").expect_log("offset lookup failed");
    let mut siege = Siege::against(setup);
    let zeros = vec![0; 512 << 20];
    let bomb = antiphon_records::compress(Compression::Zstd, &zeros).expect("zeros compress");
    drop(zeros);
    let mut client = siege.broker.client();
    let batch = compressed(Compression::Zstd.id(), &bomb);
    let appended = client.try_produce("t", 0, batch).expect("no answer");
    assert_eq!(appended.error, ErrorCode::NONE, "the header alone does not give it away");
    let asking: Vec<(RawClient, i32)> = (0..24)
        .map(|_| {
            let mut raw = siege.raw();
            let id = raw.send(9, &list_request()).expect("sent");
            (raw, id)
        })
        .collect();
    siege.canary_sings();
    for (mut raw, id) in asking {
        let answer = raw.receive::<ListOffsetsRequest>(9, id).expect("no answer");
        assert_ne!(answer.topics[0].partitions[0].error_code, 0);
    }
    let peak = siege.broker.footprint().peak;
    figure(&format!("peak memory with 24 lookups into a bomb: {peak} bytes"));
    assert!(peak < PEAK_BYTES_MAX, "{peak}");
    drop(client);
    siege.survived("a stored bomb");
}

/// Where the broker must look into a batch at once, many bombs at a time are no worse.
#[test]
fn many_bombs_at_once_are_unpacked_in_turn() {
    let _turn = alone();
    let mut siege = Siege::begin("bombs-at-once");
    let config = [("cleanup.policy", "compact"), ("max.message.bytes", "2000000")];
    siege.broker.client().create_topic_with("keyed", 1, &config);
    let zeros = vec![0; 256 << 20];
    let bomb = antiphon_records::compress(Compression::Zstd, &zeros).expect("zeros compress");
    drop(zeros);
    let batch = compressed(Compression::Zstd.id(), &bomb);
    let sent: Vec<(RawClient, i32)> = (0..24)
        .map(|_| {
            let mut raw = siege.raw();
            let id = raw.send(9, &produce_request("keyed", 0, batch.clone(), -1)).expect("sent");
            (raw, id)
        })
        .collect();
    siege.canary_sings();
    for (mut raw, id) in sent {
        let answer = raw.receive::<ProduceRequest>(9, id).expect("no answer");
        assert_ne!(answer.responses[0].partition_responses[0].error_code, 0);
    }
    let peak = siege.broker.footprint().peak;
    figure(&format!("peak memory with 24 bombs produced at once: {peak} bytes"));
    assert!(peak < PEAK_BYTES_MAX, "{peak}");
    siege.survived("bombs at once");
}

fn list_request() -> ListOffsetsRequest {
    let partition = ListOffsetsPartition::default().with_current_leader_epoch(-1).with_timestamp(1);
    let topic = ListOffsetsTopic::default()
        .with_name(TopicName(text("t")))
        .with_partitions(vec![partition]);
    ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic])
}

#[test]
fn timestamps_at_the_ends_of_time() {
    let _turn = shared();
    let mut siege = Siege::begin("timestamps");
    let mut client = siege.broker.client();
    let good = client.produce("t", 0, &Batch::of(&["good"]));
    let mut outcomes = Vec::new();
    for first in [i64::MIN, i64::MAX, -1, -2, 0] {
        for max in [i64::MIN, i64::MAX, -1, 0] {
            let mut batch = BytesMut::from(&Batch::of(&["x"]).bytes()[..]);
            batch[FIRST_TIMESTAMP..FIRST_TIMESTAMP + 8].copy_from_slice(&first.to_be_bytes());
            batch[MAX_TIMESTAMP..MAX_TIMESTAMP + 8].copy_from_slice(&max.to_be_bytes());
            outcomes.push(client.try_produce("t", 0, sealed(batch)).expect("an answer").error);
        }
    }
    assert!(outcomes.contains(&ErrorCode::INVALID_TIMESTAMP), "{outcomes:?}");
    // Nothing was poisoned: the good record is found by its time and nothing was deleted.
    assert_eq!(client.start_offset("t", 0), 0);
    assert!(client.read_all("t", 0).iter().any(|record| record.offset == good));
    let time = client.read_all("t", 0)[good as usize].timestamp;
    assert_eq!(client.offset_at("t", 0, time).0, good);
    drop(client);
    siege.survived("timestamps");
}

#[test]
fn producers_nobody_knows() {
    let _turn = shared();
    let mut siege = Siege::begin("producers");
    let mut client = siege.broker.client();
    // Never given out: accepted, as its state may just have expired (KIP-360).
    let stranger = Producer { id: i64::MAX, epoch: i16::MAX };
    client.produce("t", 0, &Batch::of(&["a"]).by(stranger, 0));
    let stale = Producer { epoch: 0, ..stranger };
    let batch = Batch::of(&["b"]).by(stale, 1).bytes();
    assert_eq!(client.refused("t", 0, batch), ErrorCode::INVALID_PRODUCER_EPOCH);
    // A flood of ids costs a bounded amount of memory.
    for id in 0..12_000 {
        let flood = Producer { id: 1_000_000 + id, epoch: 0 };
        let batch = Batch::of(&["f"]).by(flood, 0).bytes();
        client.raw().send(9, &produce_request("t", 0, batch, 0)).expect("sent");
    }
    client.produce("t", 0, &Batch::of(&["last"]));
    drop(client);
    siege.survived("unknown producers");
}
