//! A record batch as bytes: reading its header, patching it in place, judging it, walking a run of
//! them.

mod body;
mod contents;
mod header;
mod invalid;
mod iter;
mod patch;
mod validate;

pub use body::{OpenBatch, ReadError};
pub use contents::{ContentRules, ContentSummary, TimestampRules, validate_contents};
pub(crate) use header::LENGTH_PREFIX_BYTES;
pub use header::{
    Attributes, BatchHeader, HEADER_BYTES, HeaderError, MAGIC, Sequence, TimestampType,
};
pub use invalid::{BatchFault, InvalidBatch};
pub use iter::{Batch, Batches, BatchesError, batches_in};
pub use patch::{BatchMut, compute_crc};
pub use validate::{Contents, ProduceRules, Validated, validate_produced};
