//! Records that say what they are, so that whoever reads one knows where it belongs.

use std::fmt;

use antiphon_common::{ProducerEpoch, ProducerId, Timestamp};
use antiphon_records::{BatchBuilder, Compression, NewRecord, OpenBatch, Sequence, compute_crc};
use bytes::Bytes;

/// What a reader unpacks of one batch at most.
const DECOMPRESSED_BYTES_MAX: usize = 1 << 20;
/// The longest filling of a record.
const FILLING_BYTES_MAX: u64 = 700;

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
    /// The record's bytes: its name, then a filling whose length and letters follow from it.
    fn to_bytes(self) -> Vec<u8> {
        let seed = (self.sequence as u64).wrapping_mul(0x9e37_79b9) ^ (self.producer as u64) << 7;
        let length = (seed >> 3) % FILLING_BYTES_MAX;
        let mut bytes = format!("{self}/").into_bytes();
        bytes.extend((0..length).map(|at| b'a' + ((seed ^ at.wrapping_mul(at)) % 26) as u8));
        bytes
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut parts = text.split('/');
        let mut number = |tag: char| parts.next()?.strip_prefix(tag)?.parse::<u32>().ok();
        let (partition, producer) = (number('p')? as usize, number('w')? as usize);
        let value = Self { partition, producer, sequence: i32::try_from(number('s')?).ok()? };
        (value.to_bytes() == bytes).then_some(value)
    }
}

/// A batch of `count` records from `first` on, as a producer sends it.
pub(crate) fn batch(
    first: Value,
    count: i32,
    identity: Option<ProducerId>,
    codec: Compression,
    now: Timestamp,
) -> Bytes {
    let mut builder = BatchBuilder::new().compression(codec);
    if let Some(id) = identity {
        builder = builder.producer(id, ProducerEpoch(0), Sequence(first.sequence));
    }
    for sequence in first.sequence..first.sequence + count {
        let value = Value { sequence, ..first }.to_bytes();
        builder.push(NewRecord::new(now, None, Some(&value))).expect("a small record fits");
    }
    builder.build().expect("a small batch is built").freeze()
}

/// The records of a stored batch with their offsets, or what is wrong with it.
pub(crate) fn records_of(batch: &[u8]) -> Result<Vec<(i64, Value)>, String> {
    let open = OpenBatch::open(batch, DECOMPRESSED_BYTES_MAX).map_err(|error| error.to_string())?;
    if compute_crc(batch) != open.header().crc {
        return Err("the CRC does not match".to_owned());
    }
    let mut found = Vec::new();
    for record in open.records() {
        let record = record.map_err(|error| error.to_string())?;
        let value = record.value.and_then(Value::parse).ok_or("a value nobody sent")?;
        found.push((record.offset(open.header()).get(), value));
    }
    Ok(found)
}
