//! Records as they come out of a batch.

use antiphon_common::Timestamp;
use antiphon_records::{BatchBuilder, Header, NewRecord, OpenBatch, Record};

/// What a batch may unfold to here.
const DECOMPRESSED_BYTES_MAX: usize = 1 << 20;

/// Headers as a client sends them: name and bytes, in order.
pub(crate) type Sent<'a> = &'a [(&'a str, &'a [u8])];

/// Puts a record with these headers into a batch and hands it over as read from there.
pub(crate) fn with_record<T>(
    key: Option<&[u8]>,
    sent: Sent<'_>,
    act: impl FnOnce(Record<'_>) -> T,
) -> T {
    let headers: Vec<_> = sent
        .iter()
        .map(|(name, value)| Header { key: name.as_bytes(), value: Some(value) })
        .collect();
    let timestamp = Timestamp(1_763_796_000_000);
    let mut builder = BatchBuilder::new();
    builder.push(NewRecord { timestamp, key, value: Some(b"v"), headers: &headers }).unwrap();
    let batch = builder.build().unwrap();
    let open = OpenBatch::open(&batch, DECOMPRESSED_BYTES_MAX).unwrap();
    let record = open.records().next().unwrap().unwrap();
    act(record)
}
