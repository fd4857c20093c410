//! Records that say what they are, so that whoever reads one knows where it belongs.
//!
//! In a partition that is compacted a record has a key, which follows from what it is, and may be a
//! tombstone. Those have no value, so there the name stands in a header, too.

use std::fmt;

use antiphon_common::{ProducerEpoch, ProducerId, Timestamp};
use antiphon_records::{
    BatchBuilder, Compression, Header, NewRecord, OpenBatch, Record, Sequence, compute_crc,
};
use bytes::Bytes;

use super::keyed;

/// What a reader unpacks of one batch at most.
const DECOMPRESSED_BYTES_MAX: usize = 1 << 20;
/// The longest filling of a record.
const FILLING_BYTES_MAX: u64 = 700;
/// Keys of a partition. As few as compaction's map of keys does not quite hold.
const KEYS: u64 = 10;
/// One record in so many is a tombstone.
const TOMBSTONE_EACH: u64 = 4;
/// The header that has the record's name.
const NAME: &[u8] = b"name";

/// One record: the `sequence`th of `producer`, sent to `partition`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Value {
    pub(crate) partition: usize,
    pub(crate) producer: usize,
    pub(crate) sequence: i32,
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}/w{}/s{}", self.partition, self.producer, self.sequence)
    }
}

impl Value {
    /// This record and those that its producer sends after it, `count` in all.
    pub(crate) fn run(self, count: i32) -> impl Iterator<Item = Self> {
        (self.sequence..self.sequence + count).map(move |sequence| Self { sequence, ..self })
    }

    /// A number that follows from the name alone.
    fn seed(self) -> u64 {
        (self.sequence as u64).wrapping_mul(0x9e37_79b9) ^ (self.producer as u64) << 7
    }

    /// The number of its key, in a partition that is compacted.
    pub(crate) fn key(self) -> u64 {
        (self.seed() >> 5) % KEYS
    }

    /// Whether it has no value, in a partition that is compacted.
    pub(crate) fn is_tombstone(self) -> bool {
        (self.seed() >> 11).is_multiple_of(TOMBSTONE_EACH)
    }

    /// The record's bytes: its name, then a filling whose length and letters follow from it.
    fn to_bytes(self) -> Vec<u8> {
        let seed = self.seed();
        let length = (seed >> 3) % FILLING_BYTES_MAX;
        let mut bytes = format!("{self}/").into_bytes();
        bytes.extend((0..length).map(|at| b'a' + ((seed ^ at.wrapping_mul(at)) % 26) as u8));
        bytes
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let value = Self::named(bytes)?;
        (value.to_bytes() == bytes).then_some(value)
    }

    fn named(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut parts = text.split('/');
        let mut number = |tag: char| parts.next()?.strip_prefix(tag)?.parse::<u32>().ok();
        let (partition, producer) = (number('p')? as usize, number('w')? as usize);
        Some(Self { partition, producer, sequence: i32::try_from(number('s')?).ok()? })
    }
}

/// How records are given their keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Keys {
    #[default]
    OfTheirOwn,
    /// A deliberate defect: pairs of keys are one to compaction, as if their hashes collided.
    Confused,
}

impl Keys {
    fn bytes_of(self, value: Value) -> Vec<u8> {
        let number = match self {
            Self::OfTheirOwn => value.key(),
            Self::Confused => value.key() / 2,
        };
        format!("k{number}").into_bytes()
    }
}

/// A record as a reader finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) offset: i64,
    pub(crate) timestamp: Timestamp,
    pub(crate) value: Value,
}

/// A batch of `count` records from `first` on, as a producer sends it.
pub(crate) fn batch(
    first: Value,
    count: i32,
    identity: Option<ProducerId>,
    now: Timestamp,
    (codec, keys): (Compression, Keys),
) -> Bytes {
    let mut builder = BatchBuilder::new().compression(codec);
    if let Some(id) = identity {
        builder = builder.producer(id, ProducerEpoch(0), Sequence(first.sequence));
    }
    first.run(count).for_each(|value| push(&mut builder, value, now, keys));
    builder.build().expect("a small batch is built").freeze()
}

fn push(builder: &mut BatchBuilder, value: Value, now: Timestamp, keys: Keys) {
    let bytes = value.to_bytes();
    let (key, name) = (keys.bytes_of(value), value.to_string());
    let headers = [Header { key: NAME, value: Some(name.as_bytes()) }];
    let record = match keyed::promises_of(value.partition) {
        None => NewRecord::new(now, None, Some(&bytes)),
        Some(_) => NewRecord {
            timestamp: now,
            key: Some(&key),
            value: (!value.is_tombstone()).then_some(&bytes[..]),
            headers: &headers,
        },
    };
    builder.push(record).expect("a small record fits");
}

/// The records of a stored batch, or what is wrong with it.
pub(crate) fn records_of(batch: &[u8]) -> Result<Vec<Found>, String> {
    let open = OpenBatch::open(batch, DECOMPRESSED_BYTES_MAX).map_err(|error| error.to_string())?;
    if compute_crc(batch) != open.header().crc {
        return Err("the CRC does not match".to_owned());
    }
    let mut found = Vec::new();
    for record in open.records() {
        let record = record.map_err(|error| error.to_string())?;
        found.push(Found {
            offset: record.offset(open.header()).get(),
            timestamp: record.timestamp(open.header()),
            value: value_of(&record).ok_or("a record nobody sent")?,
        });
    }
    Ok(found)
}

fn value_of(record: &Record<'_>) -> Option<Value> {
    let Some(key) = record.key else { return record.value.and_then(Value::parse) };
    let name = record.headers().find(|header| header.key == NAME)?;
    let value = Value::named(name.value?)?;
    let has_key = [Keys::OfTheirOwn, Keys::Confused].iter().any(|keys| keys.bytes_of(value) == key);
    let holds = match record.value {
        Some(bytes) => Value::parse(bytes) == Some(value),
        None => value.is_tombstone(),
    };
    (has_key && holds).then_some(value)
}
