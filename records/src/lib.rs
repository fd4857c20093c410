//! Kafka's record batches, format 2, as bytes.
//!
//! A batch is the unit of everything: clients compress, checksum and send it as a whole, the leader
//! gives it an offset, and from there on the same bytes go to the log, to the bucket and to every
//! consumer. So this crate works on bytes in place and decodes as little as possible:
//!
//! ```text
//!             bytes from a client
//!                    |
//!        validate_produced   61-byte header, CRC-32C, records if uncompressed
//!                    |
//!  ProducerStates::check     duplicate? zombie? gap?
//!                    |
//!            BatchMut        base offset and leader epoch, outside the CRC
//!                    |
//!              the log  -->  Batches           a run of bytes as batches
//!                            OpenBatch         decompress, then Record by Record, borrowed
//!                            first_record_at_or_after
//! ```
//!
//! Above the line "the log", nothing is allocated, nothing decompressed, and no key, value or header
//! is looked at. Below it, work is per batch that somebody asked for, with the output of every
//! decompression capped by the caller.
//!
//! Batches are made, not patched, in two cases: those the broker writes itself ([`BatchBuilder`]), and
//! what compaction leaves of a batch ([`retain_records`]).
//!
//! Neighbours: `storage` keeps the bytes and the [`ProducerStates`] of each partition; `coordinator`
//! builds the batches of the internal topics; `broker` decides which of Kafka's error codes a
//! [`BatchFault`] or [`SequenceFault`] becomes.

mod batch;
mod builder;
mod compression;
mod producer_state;
mod record;
mod retain;
mod search;
mod varint;

pub use batch::{
    Attributes, Batch, BatchFault, BatchHeader, BatchMut, Batches, BatchesError, ContentRules,
    ContentSummary, Contents, HEADER_BYTES, HeaderError, InvalidBatch, MAGIC, OpenBatch,
    ProduceRules, ReadError, Sequence, TimestampRules, TimestampType, Validated, batches_in,
    compute_crc, validate_contents, validate_produced,
};
pub use builder::{BatchBuilder, BuildError, NewRecord};
pub use compression::{
    CompressError, Compression, DecompressError, UnknownCodec, compress, decompress,
};
pub use producer_state::{
    AppendedBatch, BATCHES_REMEMBERED, Check, ProducerEntry, ProducerStateLimits, ProducerStates,
    RowError, SequenceFault,
};
pub use record::{Header, Headers, Record, RecordError, Records};
pub use retain::{RetainError, Retained, emptied, retain_records};
pub use search::{first_record_at_or_after, first_record_from, max_timestamp_record};
