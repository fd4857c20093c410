//! Record batches as producers make them, and records as consumers read them.

use antiphon_common::{Clock, ProducerEpoch, ProducerId, SystemClock, Timestamp};
use antiphon_records::{BatchBuilder, Batches, Compression, NewRecord, OpenBatch, Sequence};
use bytes::Bytes;

/// What a batch may unfold to here.
const DECOMPRESSED_BYTES_MAX: usize = 256 << 20;

/// Milliseconds since 1970.
pub fn now_ms() -> i64 {
    SystemClock::default().now().get()
}

/// An idempotent producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Producer {
    /// Its id.
    pub id: i64,
    /// Its epoch.
    pub epoch: i16,
}

/// A batch to be produced.
#[derive(Clone, Debug)]
pub struct Batch {
    values: Vec<Vec<u8>>,
    first_timestamp: i64,
    step_ms: i64,
    keyed: bool,
    codec: Compression,
    producer: Option<(Producer, i32)>,
}

impl Batch {
    /// Records with these values, keys equal to them, all of now.
    pub fn of(values: &[&str]) -> Self {
        Self::of_bytes(values.iter().map(|value| value.as_bytes().to_vec()).collect())
    }

    /// One record of `size` bytes that do not compress to nothing.
    pub fn of_size(size: usize) -> Self {
        let noise = |index: usize| (index as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0];
        let batch = Self::of_bytes(vec![(0..size).map(noise).collect()]);
        Self { keyed: false, ..batch }
    }

    /// Records with these values.
    pub fn of_bytes(values: Vec<Vec<u8>>) -> Self {
        let first_timestamp = now_ms();
        let codec = Compression::None;
        Self { values, first_timestamp, step_ms: 0, keyed: true, codec, producer: None }
    }

    /// Compressed.
    #[must_use]
    pub fn compressed(self, codec: Compression) -> Self {
        Self { codec, ..self }
    }

    /// The first record at this time, each further one `step_ms` later.
    #[must_use]
    pub fn at(self, first_timestamp: i64, step_ms: i64) -> Self {
        Self { first_timestamp, step_ms, ..self }
    }

    /// By an idempotent producer, starting at this sequence.
    #[must_use]
    pub fn by(self, producer: Producer, sequence: i32) -> Self {
        Self { producer: Some((producer, sequence)), ..self }
    }

    /// How many records.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The bytes to send.
    pub fn bytes(&self) -> Bytes {
        let mut builder = BatchBuilder::new().compression(self.codec);
        if let Some((Producer { id, epoch }, sequence)) = self.producer {
            builder = builder.producer(ProducerId(id), ProducerEpoch(epoch), Sequence(sequence));
        }
        for (value, index) in self.values.iter().zip(0..) {
            let time = Timestamp(self.first_timestamp + self.step_ms * index);
            let key = self.keyed.then_some(value.as_slice());
            builder.push(NewRecord::new(time, key, Some(value))).expect("a valid record");
        }
        builder.build().expect("a valid batch").freeze()
    }
}

/// A record as a consumer reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Where it is.
    pub offset: i64,
    /// Its time.
    pub timestamp: i64,
    /// Its value.
    pub value: Vec<u8>,
    /// The epoch of the leader that appended it.
    pub leader_epoch: i32,
}

impl Stored {
    /// Its value as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.value).into_owned()
    }
}

/// The records of all whole batches in a fetch response's bytes. Every CRC is verified.
pub fn stored(records: &[u8]) -> Vec<Stored> {
    let mut found = Vec::new();
    for batch in Batches::tolerating_truncation(records) {
        let batch = batch.expect("the broker sent something that is no batch");
        let crc = antiphon_records::compute_crc(batch.bytes);
        assert_eq!(crc, batch.header.crc, "CRC at offset {}", batch.header.base_offset);
        let open = OpenBatch::open(batch.bytes, DECOMPRESSED_BYTES_MAX).expect("a readable batch");
        for record in open.records() {
            let record = record.expect("a readable record");
            found.push(Stored {
                offset: record.offset(open.header()).get(),
                timestamp: open.header().first_timestamp.get() + record.timestamp_delta,
                value: record.value.unwrap_or_default().to_vec(),
                leader_epoch: open.header().partition_leader_epoch.get(),
            });
        }
    }
    found
}
