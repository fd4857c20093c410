//! Valid inputs to start from, made by our own encoders, so that they never grow stale.

use antiphon_common::{LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId, Timestamp};
use antiphon_coordinator::{CommittedOffset, GroupRecord, OffsetCommitKey, TopicPartition};
use antiphon_protocol::{Api, sample_request};
use antiphon_records::{
    BatchBuilder, BatchHeader, Compression, Header, NewRecord, ProducerStateLimits, ProducerStates,
    Sequence, compress,
};
use antiphon_wal::{FileWal, Wal};

use crate::targets::wal as wal_folder;

const CODECS: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];
const NOW: Timestamp = Timestamp(1_700_000_000_000);

/// Every served API in every version: key, version, body.
fn samples() -> impl Iterator<Item = (i16, i16, Vec<u8>)> {
    (0..=80)
        .flat_map(|key| (0..=20).map(move |version| (key, version)))
        .filter_map(|(key, version)| Some((key, version, sample_request(key, version)?.body)))
}

/// Whole frames: header version 1 and 2 alike begin with key, version, correlation, client.
fn frame(key: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let flexible = Api::find(key).is_some_and(|api| api.is_flexible(version));
    let mut header = [&key.to_be_bytes()[..], &version.to_be_bytes(), &7i32.to_be_bytes()].concat();
    header.extend_from_slice(&[0, 2, b'm', b'e']);
    header.extend(flexible.then_some(0));
    header.extend_from_slice(body);
    header
}

pub fn headers() -> Vec<Vec<u8>> {
    samples().step_by(5).map(|(key, version, body)| frame(key, version, &body)).collect()
}

pub fn frames() -> Vec<Vec<u8>> {
    let sized = headers().into_iter().enumerate().map(|(number, frame)| {
        let size = (frame.len() as i32).to_be_bytes();
        [&[number as u8 * 2 + 1][..], &size, &frame, &size, &frame].concat()
    });
    sized.collect()
}

fn of_api(wanted: i16) -> Vec<Vec<u8>> {
    let found = samples().filter(|(key, ..)| *key == wanted);
    found.map(|(_, version, body)| [&[version as u8][..], &body].concat()).collect()
}

pub fn produce() -> Vec<Vec<u8>> {
    of_api(0)
}

pub fn fetch() -> Vec<Vec<u8>> {
    of_api(1)
}

pub fn requests() -> Vec<Vec<u8>> {
    let tagged =
        samples().map(|(key, version, body)| [&[key as u8, version as u8][..], &body].concat());
    tagged.collect()
}

fn batch(codec: Compression) -> Vec<u8> {
    let mut builder = BatchBuilder::new().compression(codec).producer(
        ProducerId(9),
        ProducerEpoch(1),
        Sequence(40),
    );
    for number in 0..4u8 {
        let value = [number; 40];
        let record = NewRecord::new(NOW, Some(b"key"), Some(&value));
        builder.push(record).expect("a small record fits");
    }
    builder.build().expect("a small batch is built").to_vec()
}

pub fn batches() -> Vec<Vec<u8>> {
    CODECS.into_iter().map(batch).collect()
}

pub fn compressed() -> Vec<Vec<u8>> {
    let text = b"one batch, two batches, three batches, ".repeat(20);
    let packed = CODECS.into_iter().map(|codec| {
        [vec![codec.id()], compress(codec, &text).expect("text can be packed")].concat()
    });
    packed.collect()
}

/// Choices of what stays, a delete horizon, and a batch with tombstones.
pub fn thinned() -> Vec<Vec<u8>> {
    let choices = [0, 0b0101, 0b0110, u64::MAX].into_iter();
    let horizon = (NOW.get() + 86_400_000).to_be_bytes();
    let seeds = choices.flat_map(|choice: u64| {
        CODECS.map(|codec| [&choice.to_be_bytes()[..], &horizon, &keyed_batch(codec)].concat())
    });
    seeds.collect()
}

fn keyed_batch(codec: Compression) -> Vec<u8> {
    let mut builder = BatchBuilder::new().compression(codec).base_offset(Offset(70));
    for number in 0..4u8 {
        let value = [number; 20];
        let headers = [Header { key: b"h", value: None }];
        let record = NewRecord {
            timestamp: Timestamp(NOW.get() + i64::from(number)),
            key: Some(&[number % 3]),
            value: (number % 2 == 0).then_some(&value[..]),
            headers: &headers,
        };
        builder.push(record).expect("a small record fits");
    }
    builder.build().expect("a small batch is built").to_vec()
}

pub fn producers() -> Vec<Vec<u8>> {
    let mut states = ProducerStates::new(ProducerStateLimits::default());
    let header = BatchHeader::parse(&batch(Compression::None)).expect("our own batch");
    let mut rows = Vec::new();
    for number in 0..6 {
        let next = BatchHeader { base_sequence: Sequence(40 + number * 4), ..header };
        states.record_append(&next, Offset(i64::from(number) * 4), NOW);
        rows.extend(states.entry(ProducerId(9)).map(|entry| entry.encode()));
    }
    rows
}

pub fn groups() -> Vec<Vec<u8>> {
    let partition =
        TopicPartition { topic: "orders".to_owned().into(), partition: PartitionIndex(3) };
    let key = OffsetCommitKey { group_id: "billing".to_owned().into(), partition };
    let value = CommittedOffset {
        offset: Offset(71),
        leader_epoch: LeaderEpoch(2),
        metadata: "mine".to_owned(),
        commit_timestamp: NOW,
        expire_timestamp: None,
    };
    let expiring = CommittedOffset { expire_timestamp: Some(NOW), ..value.clone() };
    let values = [None, Some(value), Some(expiring)];
    let mut seeds: Vec<_> = values
        .into_iter()
        .map(|value| GroupRecord::OffsetCommit { key: key.clone(), value }.encode())
        .map(|record| joined(&record.key, record.value.as_deref().unwrap_or_default()))
        .collect();
    seeds.push(joined(&[0, 2, 0, 1, b'g'], &group_metadata()));
    seeds
}

/// A group of one member, version 3, as Apache Kafka writes it.
fn group_metadata() -> Vec<u8> {
    let mut value = vec![0, 3, 0, 8];
    value.extend_from_slice(b"consumer");
    value.extend_from_slice(&[0, 0, 0, 5, 0, 5]);
    value.extend_from_slice(b"range");
    value.extend_from_slice(&[0, 1, b'm']);
    value.extend_from_slice(&NOW.get().to_be_bytes());
    value.extend_from_slice(&[0, 0, 0, 1, 0, 1, b'm', 0xff, 0xff, 0, 1, b'c', 0, 1, b'h']);
    value.extend_from_slice(&[0, 0, 0x75, 0x30, 0, 0, 0x75, 0x30]);
    value.extend_from_slice(&[0, 0, 0, 2, 1, 2, 0, 0, 0, 2, 3, 4]);
    value
}

fn joined(key: &[u8], value: &[u8]) -> Vec<u8> {
    [&[key.len() as u8][..], key, value].concat()
}

/// A log of a few frames, closed and not closed.
pub fn segments() -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (log, _) = FileWal::open(wal_folder::options(folder.path(), 1), &mut |_| {})
        .expect("an empty folder opens");
    let mut before_close = Vec::new();
    for (number, length) in [3usize, 700, 5000].into_iter().enumerate() {
        let (done, durable) = std::sync::mpsc::channel();
        let mut fill = |frame: &mut [u8]| frame.fill(number as u8);
        let completion = Box::new(move |written: Result<_, _>| {
            done.send(written.is_ok()).expect("the test waits");
        });
        log.append(length, &mut fill, completion).expect("a small frame fits");
        assert_eq!(durable.recv(), Ok(true));
        before_close = segment_of(folder.path());
    }
    log.close();
    vec![before_close, segment_of(folder.path())]
}

fn segment_of(folder: &std::path::Path) -> Vec<u8> {
    std::fs::read(folder.join(wal_folder::segment_name(1))).unwrap_or_default()
}

#[cfg(feature = "bucket")]
pub use bucket::{objects, rows};

#[cfg(feature = "bucket")]
mod bucket {
    use antiphon_common::{BrokerEpoch, BrokerId, ObjectId, PartitionId};
    use antiphon_storage::object::{BatchSlice, ObjectBuilder, WriterIdentity};

    use super::*;

    pub fn objects() -> Vec<Vec<u8>> {
        let (object, broker, broker_epoch) = (ObjectId(5), BrokerId(1), BrokerEpoch(2));
        let mut builder = ObjectBuilder::new(WriterIdentity { object, broker, broker_epoch });
        for partition in 1..=2 {
            let slice = BatchSlice {
                bytes: batch(Compression::None).into(),
                base_offset: Offset(0),
                last_offset: Offset(3),
                max_timestamp: NOW,
                record_count: 4,
                leader_epoch: LeaderEpoch(0),
            };
            builder.section(PartitionId(partition), [slice]).expect("one batch is a section");
        }
        let built = builder.finish().expect("two sections are an object");
        vec![built.payload.iter().flat_map(|piece| piece.to_vec()).collect()]
    }

    /// One key of each kind with values of several lengths; the fuzzer finds the rest.
    pub fn rows() -> Vec<Vec<u8>> {
        let kinds = antiphon_catalog::RowKind::ALL.into_iter();
        kinds
            .flat_map(|kind| [8, 16, 40].map(|length| [vec![kind.tag()], vec![0; length]].concat()))
            .flat_map(|key| [0, 20, 80].map(|length| joined(&key, &vec![1; length])))
            .collect()
    }
}
